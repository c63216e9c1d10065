use std::path::Path;
use std::sync::Arc;

use ropewalk_catalog::{CatalogError, query};
use ropewalk_store::files;
use ropewalk_types::Timestamp;

use super::{Sealed, apart};
use crate::journal::{JournalName, Sorted, Tail, WriterName};
use crate::segment::{SegmentWriter, segment_register};
use crate::{PredictionHome, PredictionsError};

/// Seals a journal to which nobody appends any more: its records are in a listed segment then, and it is gone. One that is not
/// there was sealed before.
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
    let Some((draft, tail, records)) = apart(draft).await? else { return Ok(Sealed::default()) };
    if let Some(draft) = draft {
        let segment = draft.store(&home.store).await?;
        segment_register(&home.catalog, name.to_string(), Arc::new(segment), at).await?;
    }
    let damaged = matches!(tail, Tail::Damaged { .. });
    let (path, aside) = (name.path(&home.folder), name.damaged_path(&home.folder));
    tokio::task::spawn_blocking(move || take_away(&path, &aside, damaged)).await??;
    forget(home, name).await?;
    let torn = u64::from(matches!(tail, Tail::Torn { .. }));
    Ok(Sealed { journals: u64::from(records > 0), records, torn, damaged: u64::from(damaged), moved: 0 })
}

/// A journal of which a part cannot be read is never removed.
fn take_away(path: &Path, aside: &Path, damaged: bool) -> Result<(), PredictionsError> {
    if damaged {
        files::rename(path, aside)?;
    } else {
        files::remove_file(path)?;
    }
    Ok(())
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
