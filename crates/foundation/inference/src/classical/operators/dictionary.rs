use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use bytes::Bytes;
use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, values};
use crate::tensor::{Element, for_any_type};
use crate::{Tensor, TensorData};

/// The column of each key.
#[derive(Debug)]
enum Vocabulary {
    Texts(HashMap<Bytes, usize>),
    Numbers(HashMap<i64, usize>),
}

#[derive(Debug)]
struct DictVectorizer {
    vocabulary: Vocabulary,
}

/// `DictVectorizer` over the entries of maps, keys [N, K] and values [N, K] (a map is no tensor): a row [C] for each map,
/// with the value of each key of the vocabulary at its place, zero or the empty text where the map has none. Keys that
/// the vocabulary has not are passed over.
pub(super) fn dict_vectorizer(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    use ElementType::{Bytes as Text, Fp32, Fp64, Int64};
    if definition.inputs.len() == 1 {
        return Err(Fault::unsupported("its input is not a map that only such nodes take"));
    }
    definition.input_count(2, 2)?;
    let texts = definition.attributes.byte_strings("string_vocabulary")?.filter(|keys| !keys.is_empty());
    let numbers = definition.attributes.ints("int64_vocabulary")?.filter(|keys| !keys.is_empty());
    let (vocabulary, keys, allowed) = match (texts, numbers) {
        (Some(keys), None) => (Vocabulary::Texts(columns(keys)?), Text, [Int64, Fp32, Fp64]),
        (None, Some(keys)) => (Vocabulary::Numbers(columns(keys)?), Int64, [Text, Fp32, Fp64]),
        _ => return Err(Fault::invalid("it needs either `string_vocabulary` or `int64_vocabulary`")),
    };
    definition.input_of(0, &[keys])?;
    let output = definition.input_of(1, &allowed)?;
    Ok(Built::new(DictVectorizer { vocabulary }, vec![output]))
}

fn columns<K: Hash + Eq + Debug + Clone>(keys: Vec<K>) -> Result<HashMap<K, usize>, Fault> {
    let mut columns = HashMap::with_capacity(keys.len());
    for (column, key) in keys.into_iter().enumerate() {
        if columns.insert(key.clone(), column).is_some() {
            return Err(Fault::invalid(format!("its vocabulary has the key {key:?} twice")));
        }
    }
    Ok(columns)
}

/// Where each value goes: its place among the entries and its place in the output.
type Moves = Vec<(usize, usize)>;

fn moves<K: Hash + Eq + Debug>(keys: &[K], entries: usize, columns: &HashMap<K, usize>) -> Result<Moves, Fault> {
    let mut moves = Moves::with_capacity(keys.len());
    // The row that gave each column last, counted from 1.
    let mut given = vec![0; columns.len()];
    for (row, line) in keys.chunks(entries.max(1)).enumerate() {
        for (place, key) in line.iter().enumerate() {
            let Some(column) = columns.get(key) else { continue };
            if given.get_mut(*column).is_some_and(|last| std::mem::replace(last, row + 1) == row + 1) {
                return Err(Fault::invalid(format!("row {row} has the key {key:?} twice")));
            }
            moves.push((row * entries + place, row * columns.len() + column));
        }
    }
    Ok(moves)
}

fn placed<T: Element>(elements: &[T], moves: &Moves, count: usize, empty: &TensorData) -> Result<TensorData, Fault> {
    let empty = T::slice(empty).and_then(<[T]>::first).ok_or_else(|| Fault::invalid("it has no empty value"))?;
    let mut out = vec![empty.clone(); count];
    for (from, to) in moves {
        if let (Some(value), Some(place)) = (elements.get(*from), out.get_mut(*to)) {
            *place = value.clone();
        }
    }
    Ok(T::wrap(out))
}

impl Operator for DictVectorizer {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let (keys, entries) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let [rows, width] = keys.shape.as_slice() else {
            return Err(Fault::invalid(format!("keys of shape {:?}, expected a row for each map", keys.shape)));
        };
        if keys.shape != entries.shape {
            return Err(Fault::invalid(format!("keys of shape {:?} for values of {:?}", keys.shape, entries.shape)));
        }
        let (moves, columns) = match &self.vocabulary {
            Vocabulary::Texts(columns) => (moves(values::<Bytes>(keys)?, *width, columns)?, columns.len()),
            Vocabulary::Numbers(columns) => (moves(values::<i64>(keys)?, *width, columns)?, columns.len()),
        };
        let shape = vec![*rows, columns];
        let count = checked_count(&shape)?;
        let empty = match entries.element_type() {
            ElementType::Bytes => vec![Bytes::new()].into(),
            other => Tensor::zeros(other, &[1], 1, 1).ok_or_else(|| Fault::invalid("it has no zero"))?.data,
        };
        let data = for_any_type!(&entries.data, elements => placed(elements, &moves, count, &empty))?;
        Ok(vec![Tensor { shape, data }])
    }
}
