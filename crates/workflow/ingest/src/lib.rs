//! Box "data", first half: foreign data becomes a dataset version.
//!
//! [`ingest`] reads files (workbooks, separated values, JSON, Parquet, Arrow IPC, images, audio; alone, in folders, in
//! archives) into a content-addressed version: a tree in the store of `data/part-NNNN.parquet`, `quarantine.parquet`
//! when rows did not fit, `report.json`, and `files/` when the files themselves are kept. The same local files give the
//! same version on every machine. [`scan`] reads files in the same way without keeping anything. [`report`], [`quarantine`], [`table_schema`] and [`parts`] read such a version again.
//!
//! This crate knows no SQL and no catalogue; `data` above it does. It never drops a row in silence, never changes a
//! version, and never holds more of foreign bytes than [`Limits`] say.

// The functions that do long work are plain ones that return boxed futures: an `async fn` is compiled by whoever
// awaits it.

mod blocking;
mod column;
mod error;
mod ingest;
mod inspect;
mod part;
mod publish;
mod report;
mod scratch;
mod settings;
mod table_writer;
mod version;
mod workers;

pub use blocking::blocking;
pub use column::{Column, ColumnType};
pub use error::IngestError;
pub use ingest::{
    Checkpoints, FileScan, IngestProgress, Ingested, Limits, NoProgress, READ_ITSELF, ScannedFile, SourceFile,
    StoreCheckpoints, TableFormat, file_check, ingest, left_out, link_target, plain_format, read_once, scan,
    source_files, source_fingerprint,
};
pub use inspect::{Inspected, inspect};
pub use part::PartWriter;
pub use publish::publish;
pub use report::{ColumnReport, FileReport, Import, Origin, REPORT_FORMAT, Skipped, TableReport};
pub use scratch::Scratch;
pub use settings::{Content, Dialect, HeaderRow, IngestSettings, Network, SheetName, Sheets, Source};
pub use table_writer::{TableWriter, WrittenTable};
pub use version::{parts, quarantine, report, table_schema};

#[cfg(test)]
mod tests;
