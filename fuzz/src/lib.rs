//! What the fuzz targets share: an ingest of foreign bytes as a file of a given name.

use std::path::Path;
use std::sync::OnceLock;

use ropewalk_ingest::{IngestError, IngestSettings, Ingested, Limits, NoProgress, StoreCheckpoints, ingest};
use ropewalk_store::Store;
use ropewalk_store::files;
use tokio::runtime::{Builder, Runtime};

/// Small enough that a bomb that gets past a guard is seen as memory or time.
pub fn limits() -> Limits {
    Limits { entries: 100, total_bytes: 8 << 20, held_bytes: 8 << 20, ..Limits::default() }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(1).build().expect("threads can be started"))
}

/// Ingests `bytes` as the file `name`, with what `change` sets, into a store of its own in memory.
///
/// An error is an answer like any other; a panic, on whatever thread, is what a fuzzer looks for.
pub fn ingest_as(name: &str, bytes: &[u8], change: impl FnOnce(&mut IngestSettings)) -> Result<Ingested, IngestError> {
    let project = tempfile::tempdir().expect("there is a place for temporary files");
    files::write_atomic(&project.path().join(name), bytes).expect("a file can be written");
    let mut settings = IngestSettings::new(Path::new(name), project.path().join("scratch"));
    settings.limits = limits();
    change(&mut settings);
    runtime().block_on(async {
        let store = Store::open("memory:").await.expect("memory is always there");
        let store = store.with_cache(project.path().join("cache"));
        let checkpoints = StoreCheckpoints::new(store.clone());
        ingest(&settings, project.path(), &store, &checkpoints, &NoProgress).await
    })
}

/// Checks what holds for every version that is made of one table: each row of the source is in it, or listed.
pub fn check(made: &Ingested) {
    let files: u64 = made.report.files.iter().map(|file| file.rows).sum();
    assert_eq!(files, made.report.rows, "the files and the table disagree about the rows");
    let quarantined: u64 = made.report.files.iter().map(|file| file.quarantined).sum();
    assert_eq!(quarantined, made.report.quarantined, "the files and the table disagree about the quarantine");
}
