use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ropewalk_catalog::{Catalog, query};
use ropewalk_store::{Store, files};
use tempfile::TempDir;

use super::compaction::compact;
use super::journal::journal_seal;
use super::schedule::Went;
use super::troubles::Troubles;
use super::*;
use crate::journal::tests::{journal, record};
use crate::journal::{JournalName, WriterName, list_journals};
use crate::segment::{Segment, segment_register, segments};
use crate::{MIGRATIONS, PredictionFilter, PredictionHome, PredictionReader};
use bytes::Bytes;
use ropewalk_types::{Digest, ManualAmbient, PredictionId, Timestamp};

const AT: Timestamp = Timestamp(7);
const FIRST: WriterName = WriterName(1);
const SECOND: WriterName = WriterName(2);

/// Lets a future go on so many times, and drops it then: what it did is done, as when its process is killed.
struct Killed<F> {
    work: Option<Pin<Box<F>>>,
    steps: u32,
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.steps == 0 {
            self.work = None;
            return Poll::Ready(None);
        }
        self.steps -= 1;
        match &mut self.work {
            Some(work) => work.as_mut().poll(context).map(Some),
            None => Poll::Ready(None),
        }
    }
}

fn killed<F: Future>(work: F, steps: u32) -> Killed<F> {
    Killed { work: Some(Box::pin(work)), steps }
}

async fn home(folder: &TempDir) -> PredictionHome {
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
    PredictionHome { folder: folder.path().to_owned(), store: Store::open("memory:").await.unwrap(), catalog }
}

/// Writes the journal `number` of the first writer with the records of these ids.
fn write(home: &PredictionHome, number: u64, ids: &[u128]) -> JournalName {
    write_as(home, JournalName { writer: FIRST, number }, ids)
}

fn write_as(home: &PredictionHome, name: JournalName, ids: &[u128]) -> JournalName {
    let records: Vec<_> = ids.iter().map(|id| record(*id)).collect();
    files::write_atomic(&name.path(&home.folder), &journal(&records).0).unwrap();
    name
}

/// Writes a journal of another version, which cannot be read.
fn write_other(home: &PredictionHome, writer: WriterName, number: u64) -> JournalName {
    let name = JournalName { writer, number };
    files::write_atomic(&name.path(&home.folder), b"RWPJ\x02\0\0\0").unwrap();
    name
}

/// Lists a segment that is this blob, whatever is in it.
async fn list_blob(home: &PredictionHome, digest: Digest, bytes: u64, first: u128, last: u128) {
    let [first, last] = [first, last].map(PredictionId::from_bits);
    let segment = Segment { digest, first, last, rows: 2, bytes, models: None };
    segment_register(&home.catalog, digest.to_string(), Arc::new(segment), AT).await.unwrap();
}

fn sealer(home: &PredictionHome) -> Sealer {
    Sealer {
        home: home.clone(),
        writer: SECOND,
        ambient: Arc::new(ManualAmbient::default()),
        keep: None,
        retry: Duration::from_millis(1),
        finished: Arc::default(),
    }
}

async fn ids(home: &PredictionHome) -> Vec<u128> {
    let reader = PredictionReader::new(home.clone());
    let page = reader.prediction_list(&PredictionFilter::default(), None, 1000).await.unwrap();
    assert_eq!(page.next, None);
    page.records.iter().map(|record| record.prediction.bits()).collect()
}

async fn notes(home: &PredictionHome) -> i64 {
    query("SELECT COUNT(*) FROM prediction_journal").read_one(&home.catalog).await.unwrap()
}

/// How many of its steps the sealing waits for hangs on the machine, so that it is done again where they were few.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_journal_is_sealed_once_whatever_step_it_is_killed_at() {
    let mut most = 0;
    for _ in 0..50 {
        most = most.max(sealed_once_whatever_step_it_is_killed_at().await);
        if most > 5 {
            return;
        }
    }
    panic!("{most}: it was killed at few steps");
}

/// Says at how many steps it was killed until it was not.
async fn sealed_once_whatever_step_it_is_killed_at() -> u32 {
    let all = [1, 2, 3, 5];
    for steps in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let home = home(&folder).await;
        let name = write(&home, 1, &[3, 1, 2, 5, 3]);
        let ended = killed(journal_seal(&home, name, FIRST, AT), steps).await;
        assert_eq!(ids(&home).await, all, "{steps}: read before the work is ended");
        let again = journal_seal(&home, name, SECOND, AT).await.unwrap();
        assert_eq!(ids(&home).await, all, "{steps}");
        let listed = segments(&home.catalog).await.unwrap();
        assert_eq!((listed.len(), listed[0].rows), (1, 4), "{steps}");
        assert!(list_journals(&home.folder).unwrap().is_empty(), "{steps}");
        assert_eq!(notes(&home).await, 0, "{steps}");
        if let Some(sealed) = ended {
            assert_eq!(sealed.unwrap(), Sealed { journals: 1, records: 4, ..Sealed::default() });
            assert_eq!(again, Sealed::default(), "there was nothing left to do");
            return steps;
        }
    }
    unreachable!("it ends when it is killed at no step")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn segments_are_joined_or_not_whatever_step_that_is_killed_at() {
    let all: Vec<u128> = (1..=16).collect();
    for steps in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let home = home(&folder).await;
        for number in 1..=8 {
            let name = write(&home, number, &[u128::from(number), u128::from(number) + 8]);
            journal_seal(&home, name, FIRST, AT).await.unwrap();
        }
        let (mut passed, mut troubles) = (HashSet::new(), Troubles::default());
        let ended = killed(compact(&home, FIRST, AT, &mut passed, &mut troubles), steps).await;
        assert_eq!(ids(&home).await, all, "{steps}");
        compact(&home, SECOND, AT, &mut passed, &mut troubles).await.unwrap();
        assert_eq!((passed.len(), troubles.told()), (0, None), "{steps}");
        assert_eq!(ids(&home).await, all, "{steps}");
        let listed = segments(&home.catalog).await.unwrap();
        assert_eq!((listed.len(), listed[0].rows, listed[0].first.bits(), listed[0].last.bits()), (1, 16, 1, 16));
        if let Some(joined) = ended {
            assert_eq!(joined.unwrap(), 8);
            return;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_put_aside_and_what_is_torn_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(&folder).await;
    let (bytes, ends) = journal(&[record(1), record(2), record(3)]);
    let [damaged, torn, other] = [1, 2, 3].map(|number| JournalName { writer: FIRST, number });
    let mut changed = bytes.clone();
    changed[ends[0] + 20] ^= 1;
    files::write_atomic(&damaged.path(&home.folder), &changed).unwrap();
    files::write_atomic(&torn.path(&home.folder), &bytes[..bytes.len() - 1]).unwrap();
    let mut newer = bytes.clone();
    newer[4] = 2;
    files::write_atomic(&other.path(&home.folder), &newer).unwrap();
    let sealed = journal_seal(&home, damaged, FIRST, AT).await.unwrap();
    assert_eq!((sealed.records, sealed.damaged, sealed.torn), (1, 1, 0));
    assert!(files::read(&damaged.damaged_path(&home.folder)).unwrap() == changed, "nothing of it is gone");
    let sealed = journal_seal(&home, torn, FIRST, AT).await.unwrap();
    assert_eq!((sealed.records, sealed.damaged, sealed.torn), (2, 0, 1));
    let error = journal_seal(&home, other, FIRST, AT).await.unwrap_err();
    assert!(error.to_string().contains("another version"), "{error}");
    files::remove_file(&other.path(&home.folder)).unwrap();
    assert_eq!(ids(&home).await, [1, 2]);
}

#[tokio::test]
async fn what_cannot_be_sealed_keeps_nothing_else_from_being_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(&folder).await;
    let sealer = sealer(&home);
    let finished = Arc::clone(&sealer.finished);
    // Of the dead: one journal cannot be read, another of the same writer and that of a third can.
    let dead = write_other(&home, FIRST, 1);
    write(&home, 2, &[1, 2]);
    write_as(&home, JournalName { writer: WriterName(3), number: 1 }, &[3]);
    let mut passed = HashSet::new();
    assert_eq!(sealer.work(true, &mut passed).await, Went::Partly);
    assert!(finished.problem().unwrap().contains("another version"));
    assert_eq!((finished.unsealed(), finished.sealed().records), (None, 3));
    assert_eq!(list_journals(&home.folder).unwrap(), [dead]);
    assert!(FIRST.lock_path(&home.folder).exists(), "it is looked for again");
    // What is not tried again is told still.
    assert_eq!(sealer.work(false, &mut passed).await, Went::Well);
    assert!(finished.problem().is_some());

    let own = write_other(&home, SECOND, 1);
    finished.push(own, 8);
    finished.push(write_as(&home, JournalName { writer: SECOND, number: 2 }, &[4]), 8);
    assert_eq!(sealer.work(false, &mut passed).await, Went::Stuck);
    assert_eq!((finished.sealed().records, finished.waiting()), (4, (1, 8)));
    assert!(finished.unsealed().unwrap().contains("another version"));
    for bad in [dead, own] {
        files::remove_file(&bad.path(&home.folder)).unwrap();
    }
    finished.end();
    sealer.run().await;
    assert_eq!((finished.unsealed(), finished.problem()), (None, None));
    assert_eq!(ids(&home).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_sealer_that_ends_tries_all_its_journals() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(&folder).await;
    let sealer = sealer(&home);
    let finished = Arc::clone(&sealer.finished);
    finished.push(write_other(&home, SECOND, 1), 8);
    finished.push(write_as(&home, JournalName { writer: SECOND, number: 2 }, &[4]), 8);
    finished.end();
    sealer.run().await;
    assert_eq!((finished.sealed().records, finished.waiting()), (1, (1, 8)));
    assert!(finished.unsealed().is_some());
}

#[tokio::test]
async fn notes_go_that_a_killed_process_left_and_those_of_other_machines_stay() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(&folder).await;
    let note = async |name: JournalName| {
        let segment = Segment {
            digest: Digest::of(name.to_string().as_bytes()),
            first: PredictionId::from_bits(1),
            last: PredictionId::from_bits(1),
            rows: 1,
            bytes: 1,
            models: None,
        };
        segment_register(&home.catalog, name.to_string(), Arc::new(segment), AT).await.unwrap();
    };
    // The first was killed when its journal was gone; of the other there is nothing in this folder.
    note(JournalName { writer: FIRST, number: 1 }).await;
    note(JournalName { writer: WriterName(3), number: 1 }).await;
    files::write_atomic(&FIRST.lock_path(&home.folder), b"").unwrap();
    assert_eq!(sealer(&home).work(true, &mut HashSet::new()).await, Went::Well);
    let left: Vec<String> = query("SELECT name FROM prediction_journal").read_all(&home.catalog).await.unwrap();
    assert_eq!(left, [JournalName { writer: WriterName(3), number: 1 }.to_string()]);
    assert!(!FIRST.lock_path(&home.folder).exists());
}

#[tokio::test]
async fn segments_that_cannot_be_read_are_passed_over_when_others_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(&folder).await;
    let absent = Digest::of(b"nobody has it");
    list_blob(&home, absent, 100, 1, 2).await;
    let damaged = home.store.put_bytes(Bytes::from_static(b"this is no table of predictions")).await.unwrap();
    list_blob(&home, damaged.digest, damaged.size, 3, 4).await;
    for number in 1..=8 {
        let name = write(&home, number, &[u128::from(number) + 10]);
        journal_seal(&home, name, FIRST, AT).await.unwrap();
    }
    let (mut passed, mut troubles) = (HashSet::new(), Troubles::default());
    assert_eq!(compact(&home, FIRST, AT, &mut passed, &mut troubles).await.unwrap(), 8);
    assert_eq!(passed, HashSet::from([absent, damaged.digest]));
    assert!(troubles.told().unwrap().ends_with("; and 1 more"));
    let rows: Vec<u64> = segments(&home.catalog).await.unwrap().iter().map(|segment| segment.rows).collect();
    assert_eq!(rows, [2, 2, 8]);
}

#[tokio::test]
async fn what_is_old_goes_past_a_segment_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(&folder).await;
    let at = |millis: u128| millis << 80;
    // One that is old as a whole need not be read to be let go; of the other it is not known what is in it.
    list_blob(&home, Digest::of(b"all of it is old"), 100, at(1), at(2)).await;
    list_blob(&home, Digest::of(b"a part of it is old"), 100, at(3), at(20)).await;
    let name = write(&home, 1, &[at(4), at(5), at(12)]);
    journal_seal(&home, name, FIRST, AT).await.unwrap();
    prune(&home, Timestamp(10), &ManualAmbient::default()).await.unwrap_err();
    let left: Vec<_> =
        segments(&home.catalog).await.unwrap().iter().map(|segment| (segment.first.bits(), segment.rows)).collect();
    assert_eq!(left, [(at(3), 2), (at(12), 1)]);
}

#[tokio::test]
async fn what_seals_has_one_thread_whatever_breaks_off() {
    let here = || super::apart(|| Ok(std::thread::current().id()));
    let first = here().await.unwrap();
    let broken = super::apart::<()>(|| panic!("a rope broke")).await.unwrap_err();
    assert!(broken.to_string().contains("the work broke off"), "{broken}");
    assert_eq!(here().await.unwrap(), first);
}
