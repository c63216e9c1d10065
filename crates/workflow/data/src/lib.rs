//! Data: sources become typed tables, tables become dataset versions, SQL makes new ones and answers questions.
//!
//! [`ingest`] reads workbooks and text files into a content-addressed version, [`transform`] makes one from others by
//! SQL, [`query`] asks, [`read_table`] reads, and the catalogue's table of versions is kept by [`version_record`] and
//! its fellows. A version is a tree in the store: `data/part-NNNN.parquet`, `quarantine.parquet` when rows did not fit,
//! and `report.json`. The same source or SQL gives the same version on every machine.
//!
//! This is the only crate that knows DataFusion. It never drops a row in silence, never changes a version, and lets
//! no SQL write.

// The functions that do long work are plain ones that return boxed futures. An `async fn` is compiled by whoever awaits
// it: every caller would compile DataFusion's machinery again, for minutes.

mod blocking;
mod column;
mod dataset;
mod error;
mod ingest;
mod part;
mod publish;
mod query;
mod report;
mod scratch;
mod similar;
mod sql;
mod table;
mod transform;

pub use column::{Column, ColumnType};
pub use dataset::{DatasetVersion, MIGRATIONS, version_list, version_record, version_resolve};
pub use error::{DataError, Place};
pub use ingest::{
    Checkpoints, IngestProgress, IngestSettings, Ingested, Limits, NoProgress, SourceFile, StoreCheckpoints, ingest,
};
pub use query::{NamedTable, QueryLimits, QueryResult, query};
pub use report::{ColumnReport, FileReport, REPORT_FORMAT, Skipped, TableReport};
pub use table::{quarantine, read_table, report, table_schema};
pub use transform::{TransformSettings, Transformed, transform};

#[cfg(test)]
mod tests;
