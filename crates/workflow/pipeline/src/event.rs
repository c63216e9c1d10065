use ropewalk_types::StageName;

use crate::StageReport;

/// What happens while a pipeline runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A stage has begun to work.
    Started {
        /// Which.
        stage: StageName,
        /// Its kind.
        kind: &'static str,
    },
    /// A stage is `done` of `total` pieces far.
    Progress {
        /// Which.
        stage: StageName,
        /// What it is at.
        text: String,
        /// Pieces behind it.
        done: u64,
        /// Pieces in all; 0 if it cannot tell.
        total: u64,
    },
    /// Bytes of a stage's source came in.
    Received {
        /// Which.
        stage: StageName,
        /// Bytes that are here.
        bytes: u64,
        /// Those of them that an earlier run had received.
        before: u64,
        /// Bytes that will be here, where the source says.
        total: Option<u64>,
    },
    /// The work of a stage said something.
    Said {
        /// Which.
        stage: StageName,
        /// One line.
        text: String,
    },
    /// A stage has ended, or did not have to begin.
    Ended(StageReport),
}

/// Watches a pipeline; called from several tasks at once and must not block.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event);
}
