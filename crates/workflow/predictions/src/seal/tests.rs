use std::pin::Pin;
use std::task::{Context, Poll};

use ropewalk_catalog::{Catalog, query};
use ropewalk_store::{Store, files};
use tempfile::TempDir;

use super::compaction::compact;
use super::journal::journal_seal;
use super::*;
use crate::journal::tests::{journal, record};
use crate::journal::{JournalName, WriterName, list_journals};
use crate::segment::segments;
use crate::{MIGRATIONS, PredictionFilter, PredictionHome, PredictionReader};
use ropewalk_types::Timestamp;

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

/// Writes the journal `number` of a writer with the records of these ids.
fn write(home: &PredictionHome, number: u64, ids: &[u128]) -> JournalName {
    let name = JournalName { writer: FIRST, number };
    let records: Vec<_> = ids.iter().map(|id| record(*id)).collect();
    files::write_atomic(&name.path(&home.folder), &journal(&records).0).unwrap();
    name
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

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_journal_is_sealed_once_whatever_step_it_is_killed_at() {
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
            assert!(steps > 5, "{steps}: it was killed at no step");
            return;
        }
    }
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
        let ended = killed(compact(&home, FIRST, AT), steps).await;
        assert_eq!(ids(&home).await, all, "{steps}");
        compact(&home, SECOND, AT).await.unwrap();
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
async fn what_seals_has_one_thread_whatever_breaks_off() {
    let here = || super::apart(|| Ok(std::thread::current().id()));
    let first = here().await.unwrap();
    let broken = super::apart::<()>(|| panic!("a rope broke")).await.unwrap_err();
    assert!(broken.to_string().contains("the work broke off"), "{broken}");
    assert_eq!(here().await.unwrap(), first);
}
