mod journals;
mod old_table;
mod scan;

use ropewalk_types::{ModelName, PredictionId, Timestamp};

pub(crate) use old_table::{OldRows, old_rows};
pub use scan::PredictionScan;

use crate::segment::Wanted;
use crate::{PredictionHome, PredictionRecord, PredictionsError};

/// Records of one page at most.
const PAGE_RECORDS: usize = 1000;
/// A page ends after the record with which its text goes over this.
const PAGE_TEXT: usize = 16 << 20;

/// Reads the log, in any process and whoever writes it; writes nothing.
///
/// It sees what is in journals of this machine and in segments of all.
#[derive(Clone, Debug)]
pub struct PredictionReader {
    home: PredictionHome,
}

/// Which predictions are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PredictionFilter {
    /// Only those of this model, and of this version of it if one is given.
    pub model: Option<(ModelName, Option<u64>)>,
    /// Only those whose [`at`](PredictionRecord::at) is this moment or later.
    pub from: Option<Timestamp>,
    /// Only those whose [`at`](PredictionRecord::at) is before this moment.
    pub to: Option<Timestamp>,
}

/// Some of the predictions that were asked for, in the order of their ids, which is the order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionPage {
    /// The records.
    pub records: Vec<PredictionRecord>,
    /// Give this to get the next page; none after the last one.
    pub next: Option<PredictionId>,
}

impl PredictionFilter {
    /// None where nothing can be wanted.
    fn wanted(&self, after: Option<PredictionId>) -> Option<Wanted> {
        // An id begins with its moment in 48 bits.
        let moment = |at: Timestamp| at.millis().clamp(0, (1 << 48) - 1).cast_unsigned();
        let from = self.from.map_or(0, |from| u128::from(moment(from)) << 80);
        let after = match after {
            Some(after) => after.bits().checked_add(1)?,
            None => 0,
        };
        let high = match self.to {
            Some(to) => (u128::from(moment(to)) << 80).checked_sub(1)?,
            None => u128::MAX,
        };
        let (model, version) = self.model.clone().map_or((None, None), |(model, version)| (Some(model), version));
        let low = from.max(after);
        (low <= high).then(|| Wanted { low, high, model: model.map(|model| model.to_string()), version })
    }
}

impl PredictionReader {
    /// A reader of the log at `home`.
    pub fn new(home: PredictionHome) -> Self {
        Self { home }
    }

    /// One record. It is there a few milliseconds after the answer.
    pub async fn prediction_get(&self, prediction: PredictionId) -> Result<PredictionRecord, PredictionsError> {
        let mut scan = PredictionScan::open(&self.home, Wanted::one(prediction)).await?;
        match scan.next_stored().await? {
            Some(stored) => stored.try_into(),
            None => Err(PredictionsError::UnknownPrediction(prediction)),
        }
    }

    /// The records that `filter` wants, after the prediction `after`, as they are now, page by page.
    ///
    /// An id is given between the arrival of a request and its answer, so at the end that is still being written a record can
    /// appear before one that was read already: pages up to a moment lack those whose requests were under way at that moment,
    /// or had been answered no longer than [`linger`](crate::LogSettings::linger) before. Whoever goes on later from the last
    /// one that was read misses them for good, and must begin as far before it as a request can take.
    pub async fn scan(
        &self,
        filter: &PredictionFilter,
        after: Option<PredictionId>,
    ) -> Result<PredictionScan, PredictionsError> {
        match filter.wanted(after) {
            Some(wanted) => PredictionScan::open(&self.home, wanted).await,
            None => Ok(PredictionScan::empty(&self.home)),
        }
    }

    /// A page of what [`PredictionReader::scan`] gives: at most `limit` and at most 1000 records, fewer where they are
    /// large. To read many pages, scan: each page looks at all journals anew.
    pub async fn prediction_list(
        &self,
        filter: &PredictionFilter,
        after: Option<PredictionId>,
        limit: usize,
    ) -> Result<PredictionPage, PredictionsError> {
        self.scan(filter, after).await?.page(limit).await
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_types::ManualAmbient;

    use super::*;

    #[test]
    fn a_moment_bounds_the_ids_of_its_millisecond() {
        let ambient = ManualAmbient::starting_at(Timestamp(1_000));
        let [before, inside, after] = [(); 3].map(|()| PredictionId::new(&ambient).bits());
        let filter = PredictionFilter { from: Some(Timestamp(1_001)), to: Some(Timestamp(1_002)), model: None };
        let wanted = filter.wanted(None).unwrap();
        assert!(before < wanted.low && inside > wanted.low && inside < wanted.high && after > wanted.high);
        let inside = PredictionId::from_bits(inside);
        let wanted = PredictionFilter::default().wanted(Some(inside)).unwrap();
        assert_eq!((wanted.low, wanted.high), (inside.bits() + 1, u128::MAX));
        assert_eq!(PredictionFilter::default().wanted(Some(PredictionId::from_bits(u128::MAX))), None);
        let nothing = PredictionFilter { from: Some(Timestamp(2)), to: Some(Timestamp(1)), model: None };
        assert_eq!(nothing.wanted(None), None);
        let before_all = PredictionFilter { to: Some(Timestamp(0)), ..PredictionFilter::default() };
        assert_eq!(before_all.wanted(None), None);
    }
}
