use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use ropewalk_store::files;
use ropewalk_types::PredictionId;

use crate::PredictionsError;
use crate::journal::{Frames, is_other_version, list_journals, record_at};
use crate::record::StoredRecord;
use crate::segment::Wanted;

/// Records that are read at once, and bytes of their texts after which no more are.
const READ_RECORDS: usize = 64;
const READ_TEXT: usize = 256 << 10;

/// Where a record lies.
type Place = (PredictionId, u64);

/// The wanted records of a journal, in the order of ids: where they lie, and a few of them.
pub(super) struct JournalCursor {
    file: Arc<File>,
    places: std::vec::IntoIter<Place>,
    ready: std::vec::IntoIter<StoredRecord>,
}

/// The journals in `folder` that hold what is wanted. What is behind their last whole frame is being written, or was when its
/// writer was stopped: it is no record yet, or never became one.
pub(super) fn open_journals(folder: &Path, wanted: &Wanted) -> Result<Vec<JournalCursor>, PredictionsError> {
    let mut cursors = Vec::new();
    for name in list_journals(folder)? {
        let path = name.path(folder);
        let file = match files::open(&path) {
            // Sealed meanwhile: the catalogue is read later than this, and lists its segment.
            Err(error) if error.is_not_found() => continue,
            opened => opened?,
        };
        let failed = |source| PredictionsError::Broken(format!("cannot read `{}`: {source}", path.display()));
        let places =
            places(&file, wanted).map_err(failed)?.ok_or_else(|| PredictionsError::OtherVersion(path.clone()))?;
        if !places.is_empty() {
            let (file, places) = (Arc::new(file), places.into_iter());
            cursors.push(JournalCursor { file, places, ready: Vec::new().into_iter() });
        }
    }
    Ok(cursors)
}

fn places(file: &File, wanted: &Wanted) -> std::io::Result<Option<Vec<Place>>> {
    let mut places = Vec::new();
    let mut frames = match Frames::begin(BufReader::with_capacity(256 << 10, file))? {
        Ok(frames) => frames,
        // What is no journal is put aside, and counted, when journals are sealed.
        Err(mark) => return Ok((!is_other_version(&mark)).then_some(places)),
    };
    while let Some(found) = frames.next()? {
        let record = found.record;
        if wanted.takes(record.prediction, &record.model, record.version) {
            places.push((record.prediction, found.offset));
        }
    }
    places.sort_unstable();
    Ok(Some(places))
}

impl JournalCursor {
    /// The next record; none after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<StoredRecord>, PredictionsError> {
        if let Some(record) = self.ready.next() {
            return Ok(Some(record));
        }
        let places: Vec<_> = self.places.as_slice().iter().take(READ_RECORDS).copied().collect();
        if places.is_empty() {
            return Ok(None);
        }
        let file = Arc::clone(&self.file);
        let records = tokio::task::spawn_blocking(move || some(&file, &places)).await??;
        for _ in &records {
            self.places.next();
        }
        self.ready = records.into_iter();
        Ok(self.ready.next())
    }
}

/// The records at the first of `places`; one that is damaged is an error when it is the first.
fn some(file: &File, places: &[Place]) -> Result<Vec<StoredRecord>, PredictionsError> {
    let (mut records, mut text) = (Vec::with_capacity(places.len()), 0);
    for (prediction, offset) in places {
        match record_at(file, *prediction, *offset) {
            Ok(record) => {
                text += record.text();
                records.push(record);
            }
            Err(problem) if records.is_empty() => return Err(problem),
            // Those before it are given first.
            Err(_) => break,
        }
        if text > READ_TEXT {
            break;
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::frame::PREFIX;
    use crate::journal::tests::{journal, record};

    /// The ids that a cursor gives before its end, and whether that is an error.
    async fn ids(cursor: &mut JournalCursor) -> (Vec<u128>, bool) {
        let mut ids = Vec::new();
        loop {
            match cursor.next().await {
                Ok(Some(record)) => ids.push(record.prediction.bits()),
                ended => return (ids, ended.is_err()),
            }
        }
    }

    #[tokio::test]
    async fn records_are_read_some_at_a_time_and_those_before_a_damaged_one_are_given() {
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<_> = (1..=150).map(record).collect();
        let (mut bytes, ends) = journal(&records);
        let path = folder.path().join(format!("{:032x}.000000001.journal", 7));
        files::write_atomic(&path, &bytes).unwrap();
        let mut cursors = open_journals(folder.path(), &Wanted::ALL).unwrap();
        let [cursor] = cursors.as_mut_slice() else { panic!("one journal") };
        assert_eq!(cursor.next().await.unwrap().unwrap().prediction.bits(), 1);
        assert_eq!(cursor.ready.len(), READ_RECORDS - 1, "they are read by one work off the reactor");
        assert_eq!(ids(cursor).await, ((2..=150).collect(), false));

        let mut cursors = open_journals(folder.path(), &Wanted::ALL).unwrap();
        let [cursor] = cursors.as_mut_slice() else { panic!("one journal") };
        // Changed in its place after it was opened.
        bytes[ends[99] + PREFIX] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(ids(cursor).await, ((1..=100).collect(), true));
    }
}
