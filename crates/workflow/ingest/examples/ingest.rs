//! Ingests a source into a new store and says what it took:
//! `cargo run --release -p ropewalk-ingest --example ingest -- SOURCE [--threads N] [--again]`.
//!
//! Run it under `time` for the CPU seconds and the largest memory, which hold also on a busy machine;
//! `benches/compare/ingest` does so beside other readers.
#![expect(clippy::print_stdout, reason = "a benchmark's result is its output")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use ropewalk_ingest::{IngestSettings, NoProgress, StoreCheckpoints, ingest};
use ropewalk_store::Store;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let source = std::path::absolute(arguments.next().ok_or("give a SOURCE")?)?;
    let directory = tempfile::tempdir()?;
    let url = format!("file:{}", directory.path().join("store").display());
    let store = Store::open(&url).await?.with_cache(directory.path().join("cache"));
    let mut settings = IngestSettings::new(source, directory.path().join("scratch"));
    let mut rounds = vec!["first"];
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--threads" => settings.parallelism = arguments.next().ok_or("give a number of threads")?.parse()?,
            "--again" => rounds.push("again"),
            other => return Err(format!("`{other}` is no argument").into()),
        }
    }
    let checkpoints = StoreCheckpoints::new(store.clone());
    for round in rounds {
        let start = Instant::now();
        let made = ingest(&settings, Path::new("/"), &store, &checkpoints, &NoProgress).await?;
        println!(
            "{round}: {:.2} s, {} files read, {} reused, {} rows, {} bytes, version {}",
            start.elapsed().as_secs_f64(),
            made.executed_pieces,
            made.reused_pieces,
            made.report.rows,
            made.bytes,
            made.tree.short()
        );
    }
    Ok(())
}
