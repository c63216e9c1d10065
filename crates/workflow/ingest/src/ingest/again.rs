//! A source that is asked once more, and holds what it held.

use ropewalk_connectors::Note;
use ropewalk_store::{Store, StoreError, TreeEntry};
use ropewalk_types::Digest;

use super::IngestProgress;
use crate::publish::{REPORT, VersionContent};
use crate::{IngestError, TableReport, report};

/// The version `latest` as it is, if what came makes the same rows of the same place: the moment at which they were asked
/// for is in the report, and would make another version of them.
pub(crate) async fn given_again(
    latest: &Digest,
    store: &Store,
    content: &VersionContent,
    made: &TableReport,
) -> Result<Option<(Digest, u64, TableReport)>, IngestError> {
    let tree = match store.tree_get(latest).await.map_err(IngestError::from) {
        Err(error) if is_lost(&error) => return Ok(None),
        tree => tree?,
    };
    let Some(TreeEntry::File { size, .. }) = tree.get(REPORT) else { return Ok(None) };
    if !tree.iter().filter(|(name, _)| *name != REPORT).eq(content.tree.iter()) {
        return Ok(None);
    }
    let known = match report(store, latest).await {
        Err(error) if is_lost(&error) => return Ok(None),
        known => known?,
    };
    Ok(known.tells_the_same(made).then_some((*latest, content.bytes + size, known)))
}

/// Whether an error says that a version cannot be read, so that nothing can be compared with it and another is made.
fn is_lost(error: &IngestError) -> bool {
    use StoreError::{Damaged, Malformed, NotFound};
    matches!(
        error,
        IngestError::Damaged { .. } | IngestError::Store(NotFound { .. } | Damaged { .. } | Malformed { .. })
    )
}

/// Says those of `notes`, with the column that each is about, that the report of a version which stays as it is has not.
pub(crate) fn tell_unknown<'a>(
    known: &TableReport,
    notes: impl Iterator<Item = (Option<&'a str>, &'a str)>,
    progress: &dyn IngestProgress,
) {
    // How many rows have no value in the cursor is said by each read.
    for (name, text) in notes.filter(|(_, text)| !Note::is_cursorless(text)) {
        let column = known.columns.iter().find(|column| Some(column.name.as_str()) == name);
        if !column.map_or(&known.notes, |column| &column.notes).iter().any(|note| note == text) {
            tell(name, text, progress);
        }
    }
}

/// Says a note, with the column that it is about.
pub(crate) fn tell(column: Option<&str>, text: &str, progress: &dyn IngestProgress) {
    let about = column.map(|name| format!("column `{name}`: ")).unwrap_or_default();
    progress.noted(&format!("{about}{text}"));
}
