//! Segments: Parquet files of records, sorted by id, that are blobs of the store and that the catalogue lists.

mod read;
mod table;
mod write;

pub(crate) use read::SegmentCursor;
pub use table::{Segment, segment_digests, segment_forget, segment_list};
pub(crate) use table::{insert, segment_register, segment_replace, segments, segments_in};
pub(crate) use write::SegmentWriter;

use ropewalk_types::PredictionId;

/// Which records are wanted, by their ids and who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The lowest id.
    pub(crate) low: u128,
    /// The highest id.
    pub(crate) high: u128,
    pub(crate) model: Option<String>,
    pub(crate) version: Option<u64>,
}

impl Wanted {
    /// All of them.
    pub(crate) const ALL: Self = Self { low: 0, high: u128::MAX, model: None, version: None };

    /// One of them.
    pub(crate) fn one(prediction: PredictionId) -> Self {
        Self { low: prediction.bits(), high: prediction.bits(), ..Self::ALL }
    }

    /// Whether a record is wanted.
    pub(crate) fn takes(&self, prediction: PredictionId, model: &str, version: u64) -> bool {
        (self.low..=self.high).contains(&prediction.bits()) && self.takes_model(model, version)
    }

    fn takes_model(&self, model: &str, version: u64) -> bool {
        self.model.as_deref().is_none_or(|wanted| wanted == model)
            && self.version.is_none_or(|wanted| wanted == version)
    }

    /// Whether a segment may hold a record that is wanted.
    pub(crate) fn takes_some_of(&self, segment: &Segment) -> bool {
        let meets = segment.first.bits() <= self.high && segment.last.bits() >= self.low;
        meets
            && segment
                .models
                .as_ref()
                .is_none_or(|models| models.iter().any(|(model, version)| self.takes_model(model, *version)))
    }
}
