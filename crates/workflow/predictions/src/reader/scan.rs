use std::collections::HashSet;

use futures::FutureExt as _;
use ropewalk_types::{Digest, PredictionId};

use super::journals::{JournalCursor, open_journals};
use super::{OldRows, PAGE_RECORDS, PAGE_TEXT, PredictionPage, old_rows};
use crate::record::StoredRecord;
use crate::segment::{Segment, SegmentCursor, Wanted, segments_in};
use crate::{PredictionHome, PredictionRecord, PredictionsError};

/// Rows of the old table that are read at once.
const OLD_ROWS: usize = 256;

/// Records of segments and journals, merged in the order of their ids, each id once.
///
/// A segment is opened when its first record may be the next one, and of it a row group is held; of a journal it is known
/// where its records lie, and some of them are held.
pub struct PredictionScan {
    home: PredictionHome,
    wanted: Wanted,
    /// Not opened yet, the one with the lowest first id at the end.
    waiting: Vec<Segment>,
    /// All that were ever waiting.
    known: HashSet<Digest>,
    sources: Vec<Source>,
    last: Option<PredictionId>,
    /// A record that did not fit into the page before.
    over: Option<StoredRecord>,
    /// The segment that could not be read.
    unreadable: Option<Digest>,
}

/// Where records come from, and the next one of there.
struct Source {
    head: StoredRecord,
    rest: Rest,
}

enum Rest {
    Segment(Box<SegmentCursor>),
    Journal(JournalCursor),
    Old { rows: std::vec::IntoIter<StoredRecord>, next: Option<u128> },
}

impl std::fmt::Debug for PredictionScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PredictionScan").field("wanted", &self.wanted).field("last", &self.last).finish_non_exhaustive()
    }
}

impl PredictionScan {
    pub(super) fn empty(home: &PredictionHome) -> Self {
        Self {
            home: home.clone(),
            wanted: Wanted { low: 1, high: 0, model: None, version: None },
            waiting: Vec::new(),
            known: HashSet::new(),
            sources: Vec::new(),
            last: None,
            over: None,
            unreadable: None,
        }
    }

    /// Everything that is wanted and is there now.
    pub(super) async fn open(home: &PredictionHome, wanted: Wanted) -> Result<Self, PredictionsError> {
        let mut scan = Self { wanted, ..Self::empty(home) };
        // Journals first: one that is sealed after this is in a segment, too, and each record is given once.
        let (folder, wanted) = (home.folder.clone(), scan.wanted.clone());
        let journals = tokio::task::spawn_blocking(move || open_journals(&folder, &wanted)).await??;
        for journal in journals {
            scan.add(Rest::Journal(journal)).await?;
        }
        let (old, listed) = old(home, scan.wanted.clone(), scan.wanted.low).await?;
        scan.wait_for(listed);
        scan.add(Rest::Old { rows: old.rows.into_iter(), next: old.next }).await?;
        Ok(scan)
    }

    /// Only what is in these segments.
    pub(crate) fn of_segments(home: &PredictionHome, segments: Vec<Segment>, wanted: Wanted) -> Self {
        let mut scan = Self { wanted, ..Self::empty(home) };
        scan.wait_for(segments);
        scan
    }

    /// The next records: at most `limit` and at most 1000, fewer where they are large.
    pub async fn page(&mut self, limit: usize) -> Result<PredictionPage, PredictionsError> {
        let limit = limit.clamp(1, PAGE_RECORDS);
        let mut page = PredictionPage { records: Vec::new(), next: None };
        let mut text = 0;
        while let Some(stored) = self.next_stored().await? {
            if page.records.len() == limit || text > PAGE_TEXT {
                self.over = Some(stored);
                page.next = page.records.last().map(|record| record.prediction);
                break;
            }
            text += stored.text();
            page.records.push(PredictionRecord::try_from(stored)?);
        }
        Ok(page)
    }

    /// The next record; none after the last one.
    pub(crate) async fn next_stored(&mut self) -> Result<Option<StoredRecord>, PredictionsError> {
        if let Some(over) = self.over.take() {
            return Ok(Some(over));
        }
        loop {
            self.open_waiting().await?;
            let heads = self.sources.iter().enumerate();
            let Some((at, _)) = heads.min_by_key(|(_, source)| source.head.prediction) else { return Ok(None) };
            let Source { head, rest } = self.sources.swap_remove(at);
            self.add(rest).await?;
            if self.last.is_none_or(|last| head.prediction > last) {
                self.last = Some(head.prediction);
                return Ok(Some(head));
            }
        }
    }

    /// The segment because of which there is no next record.
    pub(crate) fn unreadable(&self) -> Option<Digest> {
        self.unreadable
    }

    fn wait_for(&mut self, listed: Vec<Segment>) {
        let last = self.last.map_or(0, PredictionId::bits);
        let (wanted, known) = (&self.wanted, &mut self.known);
        let new = listed.into_iter().filter(|one| one.last.bits() >= last && wanted.takes_some_of(one));
        self.waiting.extend(new.filter(|one| known.insert(one.digest)));
        self.waiting.sort_by_key(|segment| std::cmp::Reverse(segment.first));
    }

    /// Opens the segments that may hold the next record.
    async fn open_waiting(&mut self) -> Result<(), PredictionsError> {
        loop {
            let next = self.sources.iter().map(|source| source.head.prediction).min();
            let first = self.waiting.last().map(|segment| segment.first.bits().max(self.wanted.low));
            let due = first.is_some_and(|first| next.is_none_or(|next| first <= next.bits()));
            let Some(segment) = self.waiting.pop_if(|_| due) else { return Ok(()) };
            let opened = SegmentCursor::open(&self.home.store, &segment, &self.wanted).await;
            let cursor = opened.inspect_err(|_| self.unreadable = Some(segment.digest))?;
            self.add(Rest::Segment(Box::new(cursor))).await?;
        }
    }

    /// Takes the next record of a source, and lets go of the source if it has none.
    async fn add(&mut self, mut rest: Rest) -> Result<(), PredictionsError> {
        let head = loop {
            match &mut rest {
                Rest::Segment(cursor) => {
                    let next = cursor.next().await;
                    break next.inspect_err(|_| self.unreadable = Some(cursor.digest()))?;
                }
                Rest::Journal(cursor) => break cursor.next().await?,
                Rest::Old { rows, next } => match (rows.next(), *next) {
                    // Of those that were read none was wanted.
                    (None, Some(low)) => {
                        // Whoever moves rows into a segment takes them away here: that segment is listed when they are gone.
                        let (old, listed) = old(&self.home, self.wanted.clone(), low).await?;
                        self.wait_for(listed);
                        (*rows, *next) = (old.rows.into_iter(), old.next);
                    }
                    (row, _) => break row,
                },
            }
        };
        if let Some(head) = head {
            self.sources.push(Source { head, rest });
        }
        Ok(())
    }
}

/// Rows of the old table from `low` on, and the segments of the same moment.
async fn old(home: &PredictionHome, wanted: Wanted, low: u128) -> Result<(OldRows, Vec<Segment>), PredictionsError> {
    let read = home.catalog.read(move |connection| {
        async move {
            let mut old = old_rows(connection, low, wanted.high, OLD_ROWS).await?;
            old.rows.retain(|row| wanted.takes(row.prediction, &row.model, row.version));
            Ok::<_, PredictionsError>((old, segments_in(connection).await?))
        }
        .boxed()
    });
    read.await
}
