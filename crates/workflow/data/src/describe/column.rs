use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::datatypes::Field;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;
use ropewalk_ingest::Column;
use serde_json::Value;

use super::ColumnDescription;
use super::distinct::DistinctSketch;
use super::frequent::FrequentSketch;
use super::histogram::{Bins, Histogram};
use super::moments::Moments;
use super::quantiles::{QuantileSketch, Quantiles};
use super::value::{Kind, figure, first, numbers};
use crate::DataError;
use crate::sql::Translation;

/// Always the same, so that the same table has the same description.
const SEED: u64 = 0x726f_7065_7761_6c6b;
/// The narrowest bins of numbers that are not whole, as a power of two.
const NARROWEST: i32 = -1000;

/// What is known of a column so far.
pub(super) struct ColumnSketch {
    field: Arc<Field>,
    kind: Kind,
    values: u64,
    nulls: u64,
    not_finite: u64,
    distinct: DistinctSketch,
    ends: Option<(MinAccumulator, MaxAccumulator)>,
    numeric_ends: Option<(f64, f64)>,
    moments: Moments,
    quantiles: QuantileSketch,
    frequent: FrequentSketch,
    bins: Bins,
    hashes: Vec<u64>,
}

impl ColumnSketch {
    pub(super) fn new(field: &Arc<Field>, exact: usize) -> Result<Self, DataError> {
        let kind = Kind::of(field.data_type());
        let ends = match kind {
            Kind::Nested => None,
            // They leave out what is not finite, and are read with the other figures.
            Kind::Number if !field.data_type().is_decimal() => None,
            _ => Some((
                MinAccumulator::try_new(field.data_type()).map_err(says)?,
                MaxAccumulator::try_new(field.data_type()).map_err(says)?,
            )),
        };
        Ok(Self {
            field: Arc::clone(field),
            kind,
            values: 0,
            nulls: 0,
            not_finite: 0,
            distinct: DistinctSketch::new(exact),
            ends,
            numeric_ends: None,
            moments: Moments::default(),
            quantiles: QuantileSketch::new(exact),
            frequent: FrequentSketch::new(exact),
            bins: Bins::new(if kind == Kind::Number { NARROWEST } else { 0 }),
            hashes: Vec::new(),
        })
    }

    pub(super) fn update(&mut self, array: &ArrayRef) -> Result<(), DataError> {
        let nulls = array.logical_nulls();
        let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let missing = nulls.as_ref().map_or(0, arrow::buffer::NullBuffer::null_count);
        self.nulls += missing as u64;
        self.values += (array.len() - missing) as u64;
        self.hashes.clear();
        self.hashes.resize(array.len(), 0);
        let state = QualityRandomState::with_seed(SEED);
        create_hashes([array], &state, &mut self.hashes).map_err(says)?;
        let hashes = self.hashes.iter().enumerate().filter(|(row, _)| !is_null(*row)).map(|(_, hash)| *hash);
        self.distinct.add(hashes.collect())?;
        if let Some((min, max)) = &mut self.ends {
            min.update_batch(std::slice::from_ref(array)).map_err(says)?;
            max.update_batch(std::slice::from_ref(array)).map_err(says)?;
        }
        match self.kind {
            Kind::Word => self.count_words(array),
            kind if kind.counts() => self.count_numbers(array)?,
            _ => {}
        }
        Ok(())
    }

    fn count_words(&mut self, array: &ArrayRef) {
        if let Some(texts) = array.as_string_opt::<i32>() {
            for (text, hash) in texts.iter().zip(&self.hashes) {
                if let Some(text) = text {
                    self.frequent.add(*hash, text);
                }
            }
        } else if let Some(truths) = array.as_boolean_opt() {
            for (truth, hash) in truths.iter().zip(&self.hashes) {
                if let Some(truth) = truth {
                    self.frequent.add(*hash, if truth { "true" } else { "false" });
                }
            }
        }
    }

    fn count_numbers(&mut self, array: &ArrayRef) -> Result<(), DataError> {
        let mut values = numbers(array, self.kind)?;
        let all = values.len();
        values.retain(|value| value.is_finite());
        self.not_finite += (all - values.len()) as u64;
        for value in &values {
            let (low, high) = self.numeric_ends.get_or_insert((*value, *value));
            *low = low.min(*value);
            *high = high.max(*value);
            self.bins.add(*value);
        }
        self.moments.add(&values);
        self.quantiles.add(&values)
    }

    pub(super) fn finish(mut self) -> Result<ColumnDescription, DataError> {
        let Column { name, data_type } = Column::of(&self.field);
        let (min, max) = self.least_and_greatest()?;
        let unit = self.field.data_type();
        let figure = |number| figure(number, self.kind, unit);
        let quantiles = self.quantiles.finish()?.map(|([q25, q50, q75], exact)| Quantiles {
            q25: figure(q25),
            q50: figure(q50),
            q75: figure(q75),
            exact,
        });
        let histogram = self
            .bins
            .finish()
            .map(|(edges, counts)| Histogram { edges: edges.into_iter().map(figure).collect(), counts });
        let spread = if self.kind == Kind::Time { None } else { self.moments.standard_deviation() };
        Ok(ColumnDescription {
            name,
            data_type,
            nulls: self.nulls,
            not_finite: self.not_finite,
            distinct: self.distinct.finish()?.at_most(self.values),
            min,
            max,
            mean: self.moments.mean().map(figure),
            standard_deviation: spread,
            quantiles,
            frequent: (self.kind == Kind::Word).then(|| self.frequent.finish()),
            histogram,
        })
    }

    fn least_and_greatest(&mut self) -> Result<(Option<Value>, Option<Value>), DataError> {
        let Some((min, max)) = &mut self.ends else {
            // Lists and structs have no numbers either.
            let ends = self.numeric_ends.map(|(low, high)| (Value::from(low), Value::from(high)));
            return Ok(ends.unzip());
        };
        let (min, max) = (end(min)?, end(max)?);
        Ok((Some(min).filter(|value| !value.is_null()), Some(max).filter(|value| !value.is_null())))
    }
}

fn end(accumulator: &mut dyn Accumulator) -> Result<Value, DataError> {
    let value = accumulator.evaluate().map_err(says)?;
    Ok(first(&value.to_array().map_err(says)?))
}

fn says(error: impl std::borrow::Borrow<datafusion::error::DataFusionError>) -> DataError {
    Translation::UNLIMITED.error(error.borrow())
}
