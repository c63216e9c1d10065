//! Journals: files of frames, one for each record, to which one process appends.
//!
//! A writer has a random name and holds the lock `NAME.lock` as long as it lives; its journals are `NAME.NUMBER.journal`. What
//! lies there without a lock is a dead writer's. A journal of which a part cannot be read is put aside as
//! `NAME.NUMBER.damaged`, and never removed.

pub(crate) mod frame;
mod name;
mod read;

pub(crate) use name::{JournalName, WriterName, list_journals, list_writers};
pub(crate) use read::{Frames, Tail, read_journal};

/// First bytes of a journal: what it is, and of which version (4 bytes, little-endian).
pub(crate) const MARK: [u8; 8] = *b"RWPJ\x01\0\0\0";

/// Whether these are the first bytes of a journal of another version.
pub(crate) fn is_other_version(mark: &[u8]) -> bool {
    let kind = MARK.first_chunk::<4>();
    mark.len() == MARK.len() && mark != MARK && mark.first_chunk::<4>() == kind
}
