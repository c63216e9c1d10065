use std::path::Path;
use std::sync::Arc;

use ropewalk_catalog::{CatalogError, query};
use ropewalk_store::{FileError, files};
use ropewalk_types::Timestamp;

use super::{Sealed, apart};
use crate::journal::{JournalName, Sorted, Tail, WriterName};
use crate::segment::{SegmentWriter, segment_register};
use crate::{PredictionHome, PredictionsError};

/// Seals a journal to which nobody appends any more: its records are in a listed segment then, and it is gone. One that is not
/// there was sealed before, by someone who may have been killed before its note was removed.
///
/// `sealer` is who makes the segment's file.
pub(super) async fn journal_seal(
    home: &PredictionHome,
    name: JournalName,
    sealer: WriterName,
    at: Timestamp,
) -> Result<Sealed, PredictionsError> {
    let (path, scratch) = (name.path(&home.folder), sealer.scratch(&home.folder).join(name.to_string()));
    let draft = move || {
        let Some((records, tail)) = Sorted::open(&path)? else { return Ok(None) };
        let mut writer = SegmentWriter::create(&scratch)?;
        let mut count = 0;
        for record in records {
            writer.push(&record?)?;
            count += 1;
        }
        Ok(Some((writer.finish()?, tail, count)))
    };
    let Some((draft, tail, records)) = apart(draft).await? else {
        end(home, name, false).await?;
        return Ok(Sealed::default());
    };
    if let Some(draft) = draft {
        let segment = draft.store(&home.store).await?;
        segment_register(&home.catalog, name.to_string(), Arc::new(segment), at).await?;
    }
    let damaged = matches!(tail, Tail::Damaged { .. });
    end(home, name, damaged).await?;
    let torn = u64::from(matches!(tail, Tail::Torn { .. }));
    Ok(Sealed { journals: u64::from(records > 0), records, torn, damaged: u64::from(damaged), moved: 0 })
}

/// Takes a sealed journal away, and then its note: a journal that came back after a loss of power, and had no note any more,
/// would be listed twice.
async fn end(home: &PredictionHome, name: JournalName, damaged: bool) -> Result<(), PredictionsError> {
    let (path, aside) = (name.path(&home.folder), name.damaged_path(&home.folder));
    tokio::task::spawn_blocking(move || take_away(&path, &aside, damaged)).await??;
    forget(home, name).await?;
    Ok(())
}

/// Durably. A journal of which a part cannot be read is never removed.
fn take_away(path: &Path, aside: &Path, damaged: bool) -> Result<(), FileError> {
    if damaged { files::rename(path, aside) } else { files::remove_file_durably(path).map(|_| ()) }
}

/// Removes the note of a journal that is gone.
async fn forget(home: &PredictionHome, name: JournalName) -> Result<(), CatalogError> {
    let name = name.to_string();
    let write = home.catalog.write(move |connection| {
        Box::pin(async move {
            query("DELETE FROM prediction_journal WHERE name = $1").bind(name).execute(connection).await?;
            Ok::<_, CatalogError>(())
        })
    });
    write.await
}

/// The journals of a writer of which there is a note; sealed once more, they have none.
pub(super) async fn noted(home: &PredictionHome, writer: WriterName) -> Result<Vec<JournalName>, CatalogError> {
    let prefix = format!("{writer}.");
    let select = query("SELECT name FROM prediction_journal WHERE substr(name, 1, 33) = $1").bind(prefix);
    let names: Vec<String> = select.read_all(&home.catalog).await?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}
