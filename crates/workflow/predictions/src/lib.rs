//! The prediction log: what models were asked and what they answered, as Parquet in the store.
//!
//! ```text
//! record ─> memory (bounded) ─every 20 ms─> journal (a file of the home) ─large or old─> segment (a blob of the store)
//! ```
//!
//! [`PredictionLog`] is the [`PredictionSink`](ropewalk_serving::PredictionSink) of a server. A record is in a journal within
//! [`LogSettings::linger`] of its answer, and survives the death of the process from then on; a loss of power survives what is
//! older than [`LogSettings::sync`]. What there is no room for is given up and counted, and no request ever waits.
//! A journal becomes one *segment*: a Parquet file, sorted by id, named by its digest, that the catalogue lists.
//! [`PredictionReader`] merges segments and journals by id, in any process, and writes nothing.
//!
//! # What must hold
//! - A journal goes only after the catalogue lists the segment of its records. Whatever step a process is killed at, the next
//!   one to open the log ends the work, and no record is listed twice.
//! - What is to be left out ([`PayloadSettings`]) is left out before anything is written.
//! - The segments' digests ([`segment_digests`]) are roots of the store: whoever collects must be told of them.
//!
//! # Lineage of a prediction
//! A record holds the model's name and version, and that is the whole link: no row of the lineage table is written for a
//! prediction. A million predictions are a million facts that the log states already; from the version on, lineage knows the
//! rest of the way.

mod encode;
mod error;
mod journal;
mod log;
mod reader;
mod record;
mod seal;
mod segment;
mod settings;

pub use error::PredictionsError;
pub use log::{LogReport, LogState, PredictionLog};
pub use reader::{PredictionFilter, PredictionPage, PredictionReader, PredictionScan};
pub use record::PredictionRecord;
pub use seal::{Pruned, Sealed, prune};
pub use segment::{Segment, segment_digests, segment_forget, segment_list};
pub use settings::{LogSettings, PayloadSettings};

use std::path::PathBuf;

use ropewalk_catalog::{Catalog, Migration, MigrationSet};
use ropewalk_store::Store;

/// The tables of this crate; they bear the name of the crate that had the first of them.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    owner: "serving",
    steps: &[
        Migration { number: 1, name: "prediction", sql: include_str!("../migrations/001_prediction.sql") },
        Migration { number: 2, name: "segment", sql: include_str!("../migrations/002_segment.sql") },
    ],
};

/// Where predictions are kept.
#[derive(Clone, Debug)]
pub struct PredictionHome {
    /// The folder of the journals, on this machine; made when the first record is written.
    pub folder: PathBuf,
    /// The store of the segments.
    pub store: Store,
    /// The list of the segments; it has this crate's [`MIGRATIONS`].
    pub catalog: Catalog,
}
