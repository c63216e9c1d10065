//! Ingests a source once into a new store and says what it took: `cargo bench -p ropewalk-data --bench ingest -- SOURCE`.
//!
//! Run it under `time` for the CPU seconds and the largest memory, which hold also on a busy machine.
#![expect(clippy::print_stdout, reason = "a benchmark's result is its output")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use ropewalk_data::{IngestSettings, NoProgress, StoreCheckpoints, ingest};
use ropewalk_store::Store;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let source = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).ok_or("give a SOURCE")?;
    let directory = tempfile::tempdir()?;
    let url = format!("file:{}", directory.path().join("store").display());
    let store = Store::open(&url).await?.with_cache(directory.path().join("cache"));
    let settings = IngestSettings::new(std::path::absolute(source)?, directory.path().join("scratch"));
    let checkpoints = StoreCheckpoints::new(store.clone());
    for round in ["first", "again"] {
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
