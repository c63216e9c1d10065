use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ropewalk_types::ModelName;

/// Largest [`PayloadSettings::limit`], in bytes.
pub(crate) const PAYLOAD_LIMIT: usize = 32 << 20;

/// How the log gathers, writes and keeps records.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSettings {
    /// How long the first record waits for others: what a killed process can lose, at most.
    pub linger: Duration,
    /// Records that may wait in memory; what comes then is lost, and counted.
    pub waiting: usize,
    /// Bytes of tensors that may wait in memory; what comes then is lost, and counted.
    pub waiting_bytes: usize,
    /// How often a journal is forced to the disk: what a loss of power can lose, at most, beside `linger`.
    pub sync: Duration,
    /// Pause before what could not be written is tried again. Where something could not be sealed the pauses grow: each is twice
    /// the one before, up to half a minute while journals of this process cannot be sealed or the catalogue or the store cannot
    /// be asked, and up to 15 minutes else.
    pub retry: Duration,
    /// Records of a journal, at which it is sealed.
    pub journal_records: u64,
    /// Bytes of a journal, at which it is sealed.
    pub journal_bytes: u64,
    /// Age of a journal at which it is sealed.
    pub journal_age: Duration,
    /// Bytes of journals of this process that may wait to be sealed, while the store or the catalogue cannot be written; what
    /// comes then waits in memory.
    pub unsealed_bytes: u64,
    /// How long records are kept; for ever if absent.
    pub keep: Option<Duration>,
    /// What of a record is written.
    pub payload: PayloadSettings,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(20),
            waiting: 65_536,
            waiting_bytes: 64 << 20,
            sync: Duration::from_secs(1),
            retry: Duration::from_millis(500),
            journal_records: 100_000,
            journal_bytes: 32 << 20,
            journal_age: Duration::from_mins(10),
            unsealed_bytes: 4 << 30,
            keep: None,
            payload: PayloadSettings::default(),
        }
    }
}

/// What of a record is written.
#[derive(Clone, Debug, PartialEq)]
pub struct PayloadSettings {
    /// The share of answers, from 0 to 1, of which a record is written. The id of a prediction decides, so that all who see
    /// it decide alike.
    pub sample: f64,
    /// The share of single models, where it is another.
    pub sample_of: BTreeMap<ModelName, f64>,
    /// Inputs and outputs whose values are not written: `null` is in their place.
    pub redact: BTreeSet<String>,
    /// Bytes of tensors of one record; of a larger one neither inputs nor outputs are written, and that is counted. 32 MiB at
    /// most.
    pub limit: usize,
}

impl Default for PayloadSettings {
    fn default() -> Self {
        Self { sample: 1.0, sample_of: BTreeMap::new(), redact: BTreeSet::new(), limit: 4 << 20 }
    }
}
