//! Journals: files of frames, one for each record, to which one process appends.
//!
//! A writer has a random name and holds the lock `NAME.lock` as long as it lives; its journals are `NAME.NUMBER.journal`. What
//! lies there without a lock is a dead writer's. A journal of which a part cannot be read is put aside as
//! `NAME.NUMBER.damaged`, and never removed.

pub(crate) mod frame;
mod name;
mod read;

pub(crate) use name::{JournalName, WriterName, list_journals, list_writers};
pub(crate) use read::{Frames, Sorted, Tail, record_at};

/// First bytes of a journal: what it is, and of which version (4 bytes, little-endian).
pub(crate) const MARK: [u8; 8] = *b"RWPJ\x01\0\0\0";

/// Whether these are the first bytes of a journal of another version.
pub(crate) fn is_other_version(mark: &[u8]) -> bool {
    let kind = MARK.first_chunk::<4>();
    mark.len() == MARK.len() && mark != MARK && mark.first_chunk::<4>() == kind
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use ropewalk_store::files::{self, AppendFile};
    use ropewalk_types::PredictionId;

    use super::frame::{FrameHead, push_frame};
    use super::*;
    use crate::PredictionsError;
    use crate::record::StoredRecord;

    /// Appends the frame of a record.
    pub(crate) fn push(record: &StoredRecord, frames: &mut Vec<u8>) {
        let head = FrameHead {
            prediction: record.prediction,
            version: record.version,
            latency_us: record.latency_us,
            rows: record.rows,
        };
        let StoredRecord { request, model, client, inputs, outputs, .. } = record;
        let texts = [request.as_deref(), Some(model), client.as_deref(), inputs.as_deref(), outputs.as_deref()];
        push_frame(&head, texts, frames);
    }

    /// The bytes of a journal of these records, and where each of them ends.
    pub(crate) fn journal(records: &[StoredRecord]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = MARK.to_vec();
        let end = |record| {
            push(record, &mut bytes);
            bytes.len()
        };
        let ends = records.iter().map(end).collect();
        (bytes, ends)
    }

    /// What is sealed of a journal, and what is behind it.
    fn read_journal(path: &Path) -> Result<Option<(Vec<StoredRecord>, Tail)>, PredictionsError> {
        let Some((records, tail)) = Sorted::open(path)? else { return Ok(None) };
        Ok(Some((records.collect::<Result<_, _>>()?, tail)))
    }

    fn texts() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(".{0,40}")
    }

    prop_compose! {
        fn any_record()(
            id in any::<u128>(), numbers in any::<[u64; 3]>(), model in "[a-z]{1,9}",
            request in texts(), client in texts(), inputs in texts(), outputs in texts(),
        ) -> StoredRecord {
            let [version, latency_us, rows] = numbers;
            let prediction = PredictionId::from_bits(id);
            StoredRecord { prediction, request, model, version, latency_us, rows, inputs, outputs, client }
        }
    }

    proptest! {
        #[test]
        fn records_read_back_in_order_as_they_were(records in proptest::collection::vec(any_record(), 0..6)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal");
            AppendFile::create(&path).unwrap().append(&journal(&records).0).unwrap();
            // In the order of ids, of which each counts once.
            let mut sorted = records;
            sorted.sort_by_key(|record| record.prediction);
            sorted.dedup_by_key(|record| record.prediction);
            prop_assert_eq!(read_journal(&path).unwrap(), Some((sorted, Tail::Whole)));
        }
    }

    pub(crate) fn record(id: u128) -> StoredRecord {
        StoredRecord {
            prediction: PredictionId::from_bits(id),
            request: Some(format!("r{id}")),
            model: "m".to_owned(),
            version: 1,
            latency_us: 5,
            rows: 1,
            inputs: Some("{\"x\":[1]}".to_owned()),
            outputs: Some("{\"y\":[2]}".to_owned()),
            client: None,
        }
    }

    #[test]
    fn a_journal_that_ends_anywhere_has_its_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let records = [record(1), record(2), record(3)];
        let (bytes, ends) = journal(&records);
        for end in 0..=bytes.len() {
            files::write_atomic(&path, &bytes[..end]).unwrap();
            let (read, tail) = read_journal(&path).unwrap().unwrap();
            let whole = ends.iter().filter(|whole| **whole <= end).count();
            assert_eq!(read, records[..whole], "{end}");
            let at_an_end = end == 0 || end == MARK.len() || ends.contains(&end);
            assert_eq!(tail == Tail::Whole, at_an_end, "{end}: {tail:?}");
            assert!(!matches!(tail, Tail::Damaged { .. }), "{end}: {tail:?}");
        }
        // What a loss of power leaves of a part that was not written yet.
        files::write_atomic(&path, &[&bytes[..], &[0; 100]].concat()).unwrap();
        assert_eq!(read_journal(&path).unwrap().unwrap(), (records.to_vec(), Tail::Torn { bytes: 100 }));
        assert_eq!(read_journal(&folder.path().join("none")).unwrap(), None);
    }

    #[test]
    fn a_changed_byte_is_noticed_and_never_becomes_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let records = [record(1), record(2)];
        let (bytes, _) = journal(&records);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            files::write_atomic(&path, &changed).unwrap();
            match read_journal(&path) {
                Ok(read) => {
                    let (read, tail) = read.unwrap();
                    assert!(read.len() < 2 && records.starts_with(&read) && tail != Tail::Whole, "{at}");
                }
                Err(error) => assert!((4..8).contains(&at), "{at}: {error}"),
            }
        }
    }
}
