use std::collections::HashMap;

use bytes::Bytes;
use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, values};
use crate::{Tensor, TensorData};

/// Category to column.
#[derive(Debug)]
enum Categories {
    Integers(HashMap<i64, usize>),
    Strings(HashMap<Bytes, usize>),
}

#[derive(Debug)]
struct OneHotEncoder {
    categories: Categories,
    count: usize,
    unknown_is_zeros: bool,
}

const TYPES: [ElementType; 5] =
    [ElementType::Bytes, ElementType::Int64, ElementType::Int32, ElementType::Fp32, ElementType::Fp64];

/// `OneHotEncoder`: a new last dimension with 1 at the category; numbers are cut to integers first.
pub(super) fn one_hot_encoder(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let input = definition.input_of(0, &TYPES)?;
    let integers = definition.attributes.ints("cats_int64s")?.filter(|values| !values.is_empty());
    let strings = definition.attributes.byte_strings("cats_strings")?.filter(|values| !values.is_empty());
    let unknown_is_zeros = definition.attributes.flag("zeros", true)?;
    let (categories, count) = match (integers, strings) {
        (Some(list), None) if input != ElementType::Bytes => (Categories::Integers(columns(&list)?), list.len()),
        (None, Some(list)) if input == ElementType::Bytes => (Categories::Strings(columns(&list)?), list.len()),
        _ => return Err(Fault::invalid(format!("categories do not fit an input of type {input}"))),
    };
    Ok(Built::new(OneHotEncoder { categories, count, unknown_is_zeros }, vec![ElementType::Fp32]))
}

fn columns<T: Clone + Eq + std::hash::Hash + std::fmt::Debug>(list: &[T]) -> Result<HashMap<T, usize>, Fault> {
    let mut columns = HashMap::with_capacity(list.len());
    for (column, category) in list.iter().enumerate() {
        if columns.insert(category.clone(), column).is_some() {
            return Err(Fault::invalid(format!("category {category:?} is given twice")));
        }
    }
    Ok(columns)
}

impl OneHotEncoder {
    /// The column of each element; none if its category is not known.
    fn places(&self, input: &Tensor) -> Result<Vec<Option<usize>>, Fault> {
        let known = match &self.categories {
            Categories::Strings(known) => {
                return Ok(values::<Bytes>(input)?.iter().map(|value| known.get(value).copied()).collect());
            }
            Categories::Integers(known) => known,
        };
        // NaN is no category, although a cast would make an integer of it.
        let real = |value: f64| if value.is_nan() { None } else { known.get(&(value as i64)).copied() };
        Ok(match &input.data {
            TensorData::Int32(values) => values.iter().map(|value| known.get(&i64::from(*value)).copied()).collect(),
            TensorData::Fp32(values) => values.iter().map(|value| real(f64::from(*value))).collect(),
            TensorData::Fp64(values) => values.iter().map(|value| real(*value)).collect(),
            _ => values::<i64>(input)?.iter().map(|value| known.get(value).copied()).collect(),
        })
    }
}

impl Operator for OneHotEncoder {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let mut shape = input.shape.clone();
        shape.push(self.count);
        let mut encoded = vec![0.0_f32; checked_count(&shape)?];
        for (index, (row, place)) in encoded.chunks_mut(self.count).zip(self.places(input)?).enumerate() {
            match place.and_then(|place| row.get_mut(place)) {
                Some(cell) => *cell = 1.0,
                None if self.unknown_is_zeros => {}
                None => return Err(Fault::invalid(format!("element {index} is of an unknown category"))),
            }
        }
        Ok(vec![Tensor { shape, data: encoded.into() }])
    }
}
