use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, RowFilter};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder, RowGroupMetaData};
use ropewalk_store::Store;
use ropewalk_types::Digest;

use super::{Segment, Wanted};
use crate::PredictionsError;
use crate::record::StoredRecord;

/// Columns by which records are chosen, by their places in a segment.
const PREDICTION: usize = 0;
const MODEL: usize = 2;
const VERSION: usize = 3;
/// Of a segment's end, read at once: as a rule all that is known of its row groups and pages.
const END: u64 = 64 << 10;
/// Ranges are read together that lie no further apart.
const GAP: u64 = 64 << 10;
/// Bytes that are decoded at once, about.
const BATCH_BYTES: u64 = 4 << 20;
/// Records that are decoded at once.
const BATCH_ROWS: u64 = 1024;

/// The wanted records of a segment, one after another; holds one row group as it is stored and a part of it decoded.
pub(crate) struct SegmentCursor {
    source: Source,
    decoder: Option<ParquetPushDecoder>,
    batch: Option<(RecordBatch, usize)>,
}

/// The bytes of a segment.
struct Source {
    store: Store,
    digest: Digest,
    length: u64,
}

impl SegmentCursor {
    /// Reads what is known of the segment's row groups, and chooses among them.
    pub(crate) async fn open(store: &Store, segment: &Segment, wanted: &Wanted) -> Result<Self, PredictionsError> {
        let source = Source { store: store.clone(), digest: segment.digest, length: segment.bytes };
        let metadata = source.metadata().await?;
        let decoder = decoder(&Arc::new(metadata), segment, wanted);
        let decoder = decoder.map_err(|problem| PredictionsError::of_segment(&segment.digest, &problem))?;
        Ok(Self { source, decoder: Some(decoder), batch: None })
    }

    /// The segment.
    pub(crate) fn digest(&self) -> Digest {
        self.source.digest
    }

    /// The next record, in the order of ids; none after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<StoredRecord>, PredictionsError> {
        loop {
            if let Some((batch, row)) = &mut self.batch {
                if *row < batch.num_rows() {
                    let record = record(batch, *row);
                    *row += 1;
                    return record.map(Some).ok_or_else(|| self.source.damaged("it lacks columns of a segment"));
                }
                self.batch = None;
            }
            let Some(batch) = self.next_batch().await? else { return Ok(None) };
            self.batch = Some((batch, 0));
        }
    }

    async fn next_batch(&mut self) -> Result<Option<RecordBatch>, PredictionsError> {
        while let Some(mut decoder) = self.decoder.take() {
            let decode = move || (decoder.try_decode(), decoder);
            let (decoded, mut decoder) = tokio::task::spawn_blocking(decode).await?;
            match decoded.map_err(|problem| self.source.damaged(problem))? {
                DecodeResult::Finished => break,
                DecodeResult::Data(batch) => {
                    self.decoder = Some(decoder);
                    return Ok(Some(batch));
                }
                DecodeResult::NeedsData(ranges) => {
                    let bytes = self.source.read(&ranges).await?;
                    decoder.push_ranges(ranges, bytes).map_err(|problem| self.source.damaged(problem))?;
                    self.decoder = Some(decoder);
                }
            }
        }
        Ok(None)
    }
}

impl Source {
    fn damaged(&self, problem: impl std::fmt::Display) -> PredictionsError {
        PredictionsError::of_segment(&self.digest, &problem)
    }

    async fn metadata(&self) -> Result<ParquetMetaData, PredictionsError> {
        let decoder = ParquetMetaDataPushDecoder::try_new(self.length).map_err(|problem| self.damaged(problem))?;
        let mut decoder = decoder.with_page_index_policy(PageIndexPolicy::Optional);
        let mut ranges: Vec<_> = std::iter::once(self.length.saturating_sub(END)..self.length).collect();
        loop {
            let bytes = self.read(&ranges).await?;
            decoder.push_ranges(ranges, bytes).map_err(|problem| self.damaged(problem))?;
            match decoder.try_decode().map_err(|problem| self.damaged(problem))? {
                DecodeResult::Data(metadata) => return Ok(metadata),
                DecodeResult::NeedsData(more) => ranges = more,
                DecodeResult::Finished => return Err(self.damaged("it has no end")),
            }
        }
    }

    /// The bytes of each range; neighbours are read together.
    async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, PredictionsError> {
        let mut read: Vec<(Range<u64>, Bytes)> = Vec::new();
        for range in together(ranges) {
            let stream = self.store.blob_stream(&self.digest, range.clone());
            let capacity = (range.end - range.start) as usize;
            let collected = stream.try_fold(BytesMut::with_capacity(capacity), |mut all, part| {
                all.extend_from_slice(&part);
                std::future::ready(Ok(all))
            });
            read.push((range, collected.await?.freeze()));
        }
        let part = |range: &Range<u64>| {
            let (whole, bytes) = read.iter().find(|(whole, _)| whole.start <= range.start && range.end <= whole.end)?;
            let (start, end) = ((range.start - whole.start) as usize, (range.end - whole.start) as usize);
            (end <= bytes.len()).then(|| bytes.slice(start..end))
        };
        ranges.iter().map(|range| part(range).ok_or_else(|| self.damaged("it is shorter than it says"))).collect()
    }
}

/// The ranges in order, joined where little lies between them.
fn together(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut ranges = ranges.to_vec();
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn decoder(
    metadata: &Arc<ParquetMetaData>,
    segment: &Segment,
    wanted: &Wanted,
) -> Result<ParquetPushDecoder, parquet::errors::ParquetError> {
    let groups = metadata.row_groups();
    let chosen: Vec<usize> =
        groups.iter().enumerate().filter(|(_, group)| may_hold(group, wanted)).map(|(index, _)| index).collect();
    let bytes: u64 = groups.iter().map(|group| group.total_byte_size().cast_unsigned()).sum();
    let rows = (BATCH_BYTES.saturating_mul(segment.rows.max(1)) / bytes.max(1)).clamp(1, BATCH_ROWS);
    let mut builder = ParquetPushDecoderBuilder::try_new_decoder(Arc::clone(metadata))?
        .with_row_groups(chosen)
        .with_batch_size(rows as usize);
    let whole = wanted.low <= segment.first.bits() && segment.last.bits() <= wanted.high;
    if !whole || wanted.model.is_some() {
        let columns = ProjectionMask::roots(metadata.file_metadata().schema_descr(), [PREDICTION, MODEL, VERSION]);
        let wanted = wanted.clone();
        let choose = move |batch: RecordBatch| chosen_rows(&batch, &wanted);
        builder = builder.with_row_filter(RowFilter::new(vec![Box::new(ArrowPredicateFn::new(columns, choose))]));
    }
    builder.build()
}

fn chosen_rows(batch: &RecordBatch, wanted: &Wanted) -> Result<BooleanArray, ArrowError> {
    let columns = batch.columns();
    let [prediction, model, version] = columns else {
        return Err(ArrowError::SchemaError("three columns choose".to_owned()));
    };
    let (Some(prediction), Some(model)) = (prediction.as_string_opt::<i32>(), model.as_string_opt::<i32>()) else {
        return Err(ArrowError::SchemaError("ids and models are texts".to_owned()));
    };
    let Some(version) = version.as_primitive_opt::<Int64Type>() else {
        return Err(ArrowError::SchemaError("versions are numbers".to_owned()));
    };
    let rows = prediction.iter().zip(model).zip(version);
    Ok(rows
        .map(|row| match row {
            ((Some(prediction), Some(model)), Some(version)) => {
                prediction.parse().is_ok_and(|id| wanted.takes(id, model, version.cast_unsigned()))
            }
            _ => false,
        })
        .map(Some)
        .collect())
}

/// Whether a row group may hold a record that is wanted, by its statistics.
fn may_hold(group: &RowGroupMetaData, wanted: &Wanted) -> bool {
    let ends = |column: usize| {
        let statistics = group.columns().get(column)?.statistics()?;
        Some((statistics.min_bytes_opt()?.to_vec(), statistics.max_bytes_opt()?.to_vec()))
    };
    let between = |column: usize, low: &str, high: &str| {
        ends(column)
            .is_none_or(|(least, most)| least.as_slice() <= high.as_bytes() && most.as_slice() >= low.as_bytes())
    };
    let version = |wanted: u64| {
        let number = |bytes: Vec<u8>| <[u8; 8]>::try_from(bytes).ok().map(i64::from_le_bytes);
        let ends = ends(VERSION).and_then(|(least, most)| Some((number(least)?, number(most)?)));
        ends.is_none_or(|(least, most)| (least..=most).contains(&wanted.cast_signed()))
    };
    between(PREDICTION, &format!("{:032x}", wanted.low), &format!("{:032x}", wanted.high))
        && wanted.model.as_deref().is_none_or(|model| between(MODEL, model, model))
        && wanted.version.is_none_or(version)
}

/// The record in a row; none where the table is no segment.
fn record(batch: &RecordBatch, row: usize) -> Option<StoredRecord> {
    let text = |column: usize| {
        let array = batch.columns().get(column)?.as_string_opt::<i32>()?;
        Some(array.is_valid(row).then(|| array.value(row).to_owned()))
    };
    let number = |column: usize| {
        let array = batch.columns().get(column)?.as_primitive_opt::<Int64Type>()?;
        Some(array.value(row).cast_unsigned())
    };
    Some(StoredRecord {
        prediction: text(PREDICTION)??.parse().ok()?,
        request: text(1)?,
        model: text(MODEL)??,
        version: number(VERSION)?,
        latency_us: number(5)?,
        rows: number(6)?,
        inputs: text(7)?,
        outputs: text(8)?,
        client: text(9)?,
    })
}
