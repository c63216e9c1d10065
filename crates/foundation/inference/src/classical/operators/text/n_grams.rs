use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use bytes::Bytes;
use ropewalk_types::ElementType;

use super::super::{Built, Definition, Operator};
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, values};
use crate::{Tensor, TensorData};

/// The most columns of the output.
const COLUMNS_LIMIT: usize = 1 << 24;

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Tf,
    Idf,
    TfIdf,
}

/// A trie of n-grams: for each prefix, by its number, and each next word, the prefix with that word.
#[derive(Debug)]
struct NGrams<T> {
    next: HashMap<(usize, T), usize>,
    /// The column of each prefix that is an n-gram.
    columns: Vec<Option<usize>>,
}

#[derive(Debug)]
enum Pool {
    Integers(NGrams<i64>),
    Strings(NGrams<Bytes>),
}

#[derive(Debug)]
struct TfIdfVectorizer {
    pool: Pool,
    /// Least and most words of an n-gram.
    lengths: (usize, usize),
    skips: usize,
    mode: Mode,
    /// One for each column, or none.
    weights: Vec<f32>,
    columns: usize,
}

impl<T: Clone + Eq + Hash + Debug> NGrams<T> {
    /// `starts` has the start in `pool` of the n-grams of 1, 2… words; `columns` one for each n-gram.
    fn new(pool: &[T], starts: &[i64], columns: &[usize]) -> Result<Self, Fault> {
        let mut grams = Self { next: HashMap::new(), columns: vec![None] };
        let starts: Result<Vec<usize>, _> = starts.iter().map(|start| usize::try_from(*start)).collect();
        let starts = starts.map_err(|_| Fault::invalid("a negative value of `ngram_counts`"))?;
        let ends = starts.iter().skip(1).copied().chain([pool.len()]);
        let mut numbers = columns.iter();
        for (length, (start, end)) in (1..).zip(starts.iter().copied().zip(ends)) {
            let words = pool.get(start..end).ok_or_else(|| Fault::invalid("`ngram_counts` does not fit the pool"))?;
            if words.len() % length != 0 {
                return Err(Fault::invalid(format!("{} words in n-grams of {length}", words.len())));
            }
            for gram in words.chunks(length) {
                let column = numbers.next().ok_or_else(|| Fault::invalid("`ngram_indexes` is too short"))?;
                grams.insert(gram, *column)?;
            }
        }
        match numbers.next() {
            None if starts.first() == Some(&0) => Ok(grams),
            None => Err(Fault::invalid("`ngram_counts` does not start with 0")),
            Some(_) => Err(Fault::invalid("`ngram_indexes` is too long")),
        }
    }

    fn insert(&mut self, gram: &[T], column: usize) -> Result<(), Fault> {
        let mut at = 0;
        for word in gram {
            let fresh = self.columns.len();
            at = *self.next.entry((at, word.clone())).or_insert(fresh);
            if at == fresh {
                self.columns.push(None);
            }
        }
        match self.columns.get_mut(at).map(|slot| slot.replace(column)) {
            Some(None) => Ok(()),
            _ => Err(Fault::unsupported(format!("the n-gram {gram:?} twice in the pool"))),
        }
    }
}

/// `TfIdfVectorizer`: counts of the n-grams of a pool in [C] or [N, C] words, as [columns] or [N, columns].
///
/// With skips, the words of an n-gram stand 1, 2… places apart; n-grams of one word are counted once. The
/// specification gives a weight to each n-gram of the pool, onnxruntime and the specification's reference to each
/// column: where the two differ the model is refused.
pub(in super::super) fn tfidf_vectorizer(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let input = definition.input_of(0, &[ElementType::Bytes, ElementType::Int64, ElementType::Int32])?;
    let attributes = &mut definition.attributes;
    let mut count = |name: &str| {
        let value = attributes.int(name)?.ok_or_else(|| Fault::invalid(format!("attribute `{name}` is missing")))?;
        usize::try_from(value).map_err(|_| Fault::invalid(format!("`{name}` is negative")))
    };
    let lengths = (count("min_gram_length")?, count("max_gram_length")?);
    let skips = count("max_skip_count")?;
    let mode = match attributes.text("mode")?.as_deref() {
        Some("TF") => Mode::Tf,
        Some("IDF") => Mode::Idf,
        Some("TFIDF") => Mode::TfIdf,
        other => return Err(Fault::invalid(format!("mode {other:?}"))),
    };
    let starts = attributes.ints("ngram_counts")?.unwrap_or_default();
    let indexes = attributes.ints("ngram_indexes")?.unwrap_or_default();
    let integers = attributes.ints("pool_int64s")?.filter(|pool| !pool.is_empty());
    let strings = attributes.byte_strings("pool_strings")?.filter(|pool| !pool.is_empty());
    let weights = attributes.floats("weights")?.unwrap_or_default();
    if lengths.0 == 0 || lengths.0 > lengths.1 || lengths.1 > starts.len() {
        return Err(Fault::invalid(format!("n-grams of {} to {} words of {}", lengths.0, lengths.1, starts.len())));
    }
    let columns: Result<Vec<usize>, _> = indexes.iter().map(|index| usize::try_from(*index)).collect();
    let columns = columns.map_err(|_| Fault::invalid("a negative value of `ngram_indexes`"))?;
    check_weights(&weights, &columns)?;
    let pool = match (integers, strings) {
        (Some(pool), None) if input != ElementType::Bytes => Pool::Integers(NGrams::new(&pool, &starts, &columns)?),
        (None, Some(pool)) if input == ElementType::Bytes => Pool::Strings(NGrams::new(&pool, &starts, &columns)?),
        _ => return Err(Fault::invalid(format!("the pool does not fit an input of type {input}"))),
    };
    let columns = columns.iter().max().map_or(0, |last| last.saturating_add(1));
    if columns > COLUMNS_LIMIT {
        let (size, limit) = (columns as u64, COLUMNS_LIMIT as u64);
        return Err(Fault::TooLarge { what: "output in columns".to_owned(), size, limit });
    }
    let vectorizer = TfIdfVectorizer { pool, lengths, skips, mode, weights, columns };
    Ok(Built::new(vectorizer, vec![ElementType::Fp32]))
}

fn check_weights(weights: &[f32], columns: &[usize]) -> Result<(), Fault> {
    if weights.is_empty() {
        return Ok(());
    }
    if weights.len() != columns.len() {
        return Err(Fault::invalid(format!("{} weights for {} n-grams", weights.len(), columns.len())));
    }
    match columns.iter().zip(weights).find(|(column, weight)| weights.get(**column) != Some(weight)) {
        None => Ok(()),
        Some((column, _)) => Err(Fault::unsupported(format!("a weight of its own for the n-gram of column {column}"))),
    }
}

impl TfIdfVectorizer {
    /// Counts the n-grams of one row.
    fn count<T: Clone + Eq + Hash>(&self, grams: &NGrams<T>, words: &[T], counts: &mut [f32]) {
        let (least, most) = self.lengths;
        for distance in 1..=self.skips.saturating_add(1).min(words.len().max(1)) {
            // N-grams of one word do not depend on the distance.
            let least = if distance > 1 { least.max(2) } else { least };
            if least > most {
                break;
            }
            for start in 0..words.len() {
                let mut at = 0;
                for (length, word) in (1..=most).zip(words.iter().skip(start).step_by(distance)) {
                    let Some(next) = grams.next.get(&(at, word.clone())) else { break };
                    at = *next;
                    let column = grams.columns.get(at).copied().flatten().filter(|_| length >= least);
                    if let Some(cell) = column.and_then(|column| counts.get_mut(column)) {
                        *cell += 1.0;
                    }
                }
            }
        }
    }

    fn weigh(&self, row: &mut [f32]) {
        if self.mode == Mode::Idf {
            for value in row.iter_mut() {
                *value = if *value > 0.0 { 1.0 } else { 0.0 };
            }
        }
        if self.mode != Mode::Tf {
            row.iter_mut().zip(&self.weights).for_each(|(value, weight)| *value *= weight);
        }
    }
}

impl Operator for TfIdfVectorizer {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        // From each word the longest n-gram, at each distance; one word has none.
        let width = inputs.optional(0).and_then(|tensor| tensor.shape.last()).copied().unwrap_or(0);
        let most = self.lengths.1;
        let distances = if most > 1 { self.skips.saturating_add(1).min(width.max(1)) } else { 1 };
        inputs.count().saturating_mul(distances as u64).saturating_mul(most as u64)
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let (rows, width, shape) = match input.shape.as_slice() {
            [width] => (1, *width, vec![self.columns]),
            [rows, width] => (*rows, *width, vec![*rows, self.columns]),
            other => return Err(Fault::invalid(format!("expected [C] or [N, C], found shape {other:?}"))),
        };
        checked_count(&shape)?;
        let mut counts = vec![0.0_f32; rows * self.columns];
        let widened: Vec<i64> = match &input.data {
            TensorData::Int32(words) => words.iter().map(|word| i64::from(*word)).collect(),
            TensorData::Int64(words) => words.clone(),
            _ => Vec::new(),
        };
        for (row, counts) in counts.chunks_mut(self.columns.max(1)).enumerate() {
            let range = row * width..(row + 1) * width;
            match &self.pool {
                Pool::Integers(grams) => self.count(grams, widened.get(range).unwrap_or_default(), counts),
                Pool::Strings(grams) => {
                    self.count(grams, values::<Bytes>(input)?.get(range).unwrap_or_default(), counts);
                }
            }
            self.weigh(counts);
        }
        Ok(vec![Tensor { shape, data: counts.into() }])
    }
}
