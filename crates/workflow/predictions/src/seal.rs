//! What becomes of journals: segments, which grow larger, and are let go when they are old.
//!
//! A journal is sealed in steps: a Parquet file is made of it, the file becomes a blob, the catalogue lists the blob and notes
//! the journal, the journal is removed, the note is removed. A process may be killed before or after each: the next one begins
//! anew, makes the same bytes and so the same blob, and sees by the note what was listed.

mod compaction;
mod journal;
mod old_table;
mod presence;
mod sealer;

pub(crate) use presence::{writer_begin, writer_end};
pub(crate) use sealer::{Finished, Sealer};

pub use compaction::{Pruned, prune};

/// What was sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Journals that became segments.
    pub journals: u64,
    /// Records in them.
    pub records: u64,
    /// Journals at whose end a record was not whole, because its writer was stopped while it wrote.
    pub torn: u64,
    /// Journals that were put aside because a part of them cannot be read.
    pub damaged: u64,
    /// Records that were moved from the table of earlier versions.
    pub moved: u64,
}

impl Sealed {
    fn add(&mut self, other: Self) {
        self.journals += other.journals;
        self.records += other.records;
        self.torn += other.torn;
        self.damaged += other.damaged;
        self.moved += other.moved;
    }
}

#[cfg(test)]
mod tests;
