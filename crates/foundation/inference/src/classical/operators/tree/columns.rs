use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::attributes::Set;
use super::walk::BLOCK;
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::{as_f32, as_f64};

/// Where a missing value goes: below or above every threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Missing {
    /// To the first child.
    First,
    /// To the second child.
    Second,
}

impl Missing {
    #[inline]
    const fn key(self) -> i32 {
        match self {
            Self::First => i32::MIN,
            Self::Second => i32::MAX,
        }
    }
}

/// The keys of numbers that a threshold may have are between these, so that a missing value passes no test that it is
/// not sent through.
pub(super) const LEAF_THRESHOLD: i32 = i32::MAX;

/// How the key of a column is made from the value of its feature.
#[derive(Debug)]
enum Test {
    /// The order of f32 as an integer: [`ordered`].
    Ordered,
    /// The number of thresholds below the value, so that `value <= cuts[i]` is `key <= i`.
    Rank(Arc<[f64]>),
    /// 0 if equal, else 1.
    Equal(f64),
    /// 0 if in the set, else 1.
    Member(Arc<Set>),
}

#[derive(Debug)]
struct Column {
    feature: usize,
    test: Test,
    missing: Missing,
}

/// The integers that nodes compare, made from a row once: whatever a node tests in whatever type becomes
/// `key <= threshold`, so that the walk knows one node and no special case.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    /// Compared as f64, else as f32.
    double: bool,
}

/// The elements of an input in the type in which they are compared.
pub(super) enum Values<'a> {
    Single(Cow<'a, [f32]>),
    Double(Cow<'a, [f64]>),
}

/// An integer in the order of the numbers: -0 is 0, and what is next to a number is next to its key.
#[inline]
pub(super) const fn ordered(value: f32) -> i32 {
    let bits = value.to_bits().cast_signed();
    if bits < 0 { i32::MIN.wrapping_sub(bits) } else { bits }
}

impl Columns {
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn values<'a>(&self, input: &'a Tensor) -> Result<Values<'a>, Fault> {
        Ok(if self.double { Values::Double(as_f64(input)?) } else { Values::Single(as_f32(input)?) })
    }

    /// The keys of `rows`, each of `width` values: column after column, `ROWS` places each.
    pub(super) fn keys<const ROWS: usize, V: Value>(&self, rows: &[V], width: usize, keys: &mut [i32]) {
        for (column, keys) in self.columns.iter().zip(keys.chunks_mut(ROWS)) {
            let values = rows.iter().skip(column.feature).step_by(width);
            let missing = column.missing.key();
            match &column.test {
                Test::Ordered => fill(keys, values, missing, V::ordered),
                Test::Rank(cuts) => {
                    fill(keys, values, missing, |value| cuts.partition_point(|cut| *cut < value.widened()) as i32);
                }
                Test::Equal(wanted) => fill(keys, values, missing, |value| unlike(value.widened(), *wanted)),
                Test::Member(set) => {
                    fill(keys, values, missing, |value| i32::from(!set.contains(value.widened())));
                }
            }
        }
    }
}

#[expect(clippy::float_cmp, reason = "the test is for equality")]
fn unlike(value: f64, wanted: f64) -> i32 {
    i32::from(value != wanted)
}

#[inline]
fn fill<'a, V: Value>(keys: &mut [i32], values: impl Iterator<Item = &'a V>, missing: i32, key: impl Fn(V) -> i32) {
    for (place, value) in keys.iter_mut().zip(values) {
        *place = if value.widened().is_nan() { missing } else { key(*value) };
    }
}

/// A type in which an input is compared.
pub(super) trait Value: Copy + Sync + 'static {
    fn widened(self) -> f64;
    fn ordered(self) -> i32;
}
impl Value for f32 {
    #[inline]
    fn widened(self) -> f64 {
        f64::from(self)
    }
    #[inline]
    fn ordered(self) -> i32 {
        ordered(self)
    }
}
impl Value for f64 {
    #[inline]
    fn widened(self) -> f64 {
        self
    }
    /// Never asked for: f64 are ranked.
    #[inline]
    fn ordered(self) -> i32 {
        ordered(self as f32)
    }
}

/// What identifies a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Identity {
    Order,
    Equal(u64),
    Member(u32),
}

/// Collects the columns that an ensemble needs.
pub(super) struct ColumnsBuilder<'a> {
    sets: &'a [Arc<Set>],
    double: bool,
    cuts: HashMap<usize, Arc<[f64]>>,
    columns: Vec<Column>,
    known: HashMap<(usize, Identity, Missing), u32>,
}

impl<'a> ColumnsBuilder<'a> {
    /// `cuts` are the thresholds by feature, which matter if values are compared as f64.
    pub(super) fn new(sets: &'a [Arc<Set>], double: bool, cuts: HashMap<usize, Vec<f64>>) -> Self {
        let sorted = |mut cuts: Vec<f64>| {
            cuts.sort_unstable_by(f64::total_cmp);
            cuts.dedup();
            Arc::from(cuts)
        };
        let cuts = cuts.into_iter().map(|(feature, cuts)| (feature, sorted(cuts))).collect();
        Self { sets, double, cuts, columns: Vec::new(), known: HashMap::new() }
    }

    #[inline]
    fn column(&mut self, feature: usize, identity: Identity, missing: Missing, test: Test) -> u32 {
        let next = self.columns.len() as u32;
        let column = *self.known.entry((feature, identity, missing)).or_insert(next);
        if column == next {
            self.columns.push(Column { feature, test, missing });
        }
        column
    }

    /// Column and threshold of `value <= threshold`; of `value < infinity's negative` if there is none.
    pub(super) fn at_most(&mut self, feature: usize, threshold: Option<f64>, missing: Missing) -> (u32, i32) {
        let (test, key) = if self.double {
            let cuts = self.cuts.entry(feature).or_default();
            let key = threshold.map(|threshold| cuts.partition_point(|cut| *cut < threshold) as i32);
            (Test::Rank(Arc::clone(cuts)), key)
        } else {
            (Test::Ordered, threshold.map(|threshold| ordered(threshold as f32)))
        };
        (self.column(feature, Identity::Order, missing, test), key.unwrap_or(i32::MIN))
    }

    /// Column and threshold of `value == wanted`.
    pub(super) fn equal(&mut self, feature: usize, wanted: f64, missing: Missing) -> (u32, i32) {
        // Both zeros are equal.
        let bits = (wanted + 0.0).to_bits();
        (self.column(feature, Identity::Equal(bits), missing, Test::Equal(wanted)), 0)
    }

    /// Column and threshold of membership in a set.
    pub(super) fn member(&mut self, feature: usize, set: u32, missing: Missing) -> Result<(u32, i32), Fault> {
        let found = self.sets.get(set as usize).ok_or_else(|| Fault::invalid("a node without its set of members"))?;
        Ok((self.column(feature, Identity::Member(set), missing, Test::Member(Arc::clone(found))), 0))
    }

    pub(super) fn finish(mut self) -> Columns {
        if self.columns.is_empty() {
            // Leaves look at a column too.
            self.columns.push(Column { feature: 0, test: Test::Equal(0.0), missing: Missing::First });
        }
        Columns { columns: self.columns, double: self.double }
    }
}

/// Room for the keys of a block.
pub(super) fn key_count(columns: &Columns) -> usize {
    columns.len() * BLOCK
}
