use std::collections::BTreeMap;

use ropewalk_types::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// Where some data came from: what an importer keeps beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The source's URL, without secrets.
    pub location: String,
    /// When the source was opened or the file had been received.
    pub retrieved_at: Timestamp,
    /// What was asked of the source, in its own language.
    pub query: Option<String>,
    /// Rows that it gave; none for files, and not known when a table is opened.
    pub rows: Option<u64>,
    /// Digest of the bytes of a file.
    pub digest: Option<Digest>,
    /// What else the source said about itself: `etag`, `last-modified`, `server`, `snapshot`.
    pub facts: BTreeMap<String, String>,
}

impl Provenance {
    pub(crate) fn new(location: String, retrieved_at: Timestamp) -> Self {
        Self { location, retrieved_at, query: None, rows: None, digest: None, facts: BTreeMap::new() }
    }

    pub(crate) fn fact(&mut self, name: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.facts.insert(name.to_owned(), value.into());
        }
    }
}
