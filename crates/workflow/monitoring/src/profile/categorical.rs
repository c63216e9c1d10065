use std::collections::{BTreeMap, HashMap};

use ropewalk_types::Digest;

/// So many different values of a categorical column are kept.
pub const VALUES_LIMIT: usize = 1_000;
/// A longer value is kept by its beginning and its digest, so that a profile of long texts stays small.
const LONGEST: usize = 200;

/// What is known of a categorical column: how often each value occurs.
///
/// Up to [`VALUES_LIMIT`] different values are counted exactly. Beyond that only the commonest are kept, by the rule of
/// Misra and Gries in its mergeable form (Agarwal et al., "Mergeable summaries", 2012): a count is at most
/// `count / (VALUES_LIMIT + 1)` too low, never too high, and what is not kept is `other`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CategoricalSummary {
    pub(crate) count: u64,
    pub(crate) exact: bool,
    pub(crate) values: BTreeMap<String, u64>,
}

impl CategoricalSummary {
    /// Rows with a value.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether every value is listed with its exact count.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Rows by value.
    pub fn values(&self) -> &BTreeMap<String, u64> {
        &self.values
    }

    /// Rows with values that are not listed.
    pub fn other(&self) -> u64 {
        self.count.saturating_sub(self.values.values().sum())
    }
}

/// A categorical column while rows are still coming.
#[derive(Clone, Debug, PartialEq)]
pub struct CategoricalColumn {
    count: u64,
    exact: bool,
    values: HashMap<String, u64>,
}

impl Default for CategoricalColumn {
    fn default() -> Self {
        Self { count: 0, exact: true, values: HashMap::new() }
    }
}

impl CategoricalColumn {
    /// The column's summary.
    pub fn summary(&self) -> CategoricalSummary {
        let mut kept = self.clone();
        kept.prune(VALUES_LIMIT);
        CategoricalSummary { count: kept.count, exact: kept.exact, values: kept.values.into_iter().collect() }
    }

    pub(crate) fn present(&self) -> u64 {
        self.count
    }

    pub(crate) fn from_summary(summary: CategoricalSummary) -> Self {
        Self { count: summary.count, exact: summary.exact, values: summary.values.into_iter().collect() }
    }

    pub(crate) fn take(&mut self, value: &str, rows: u64) {
        self.count += rows;
        if value.len() > LONGEST {
            self.add(&shortened(value), rows);
        } else {
            self.add(value, rows);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.exact &= other.exact;
        for (value, rows) in &other.values {
            self.add(value, *rows);
        }
    }

    fn add(&mut self, value: &str, rows: u64) {
        if let Some(count) = self.values.get_mut(value) {
            *count += rows;
            return;
        }
        self.values.insert(value.to_owned(), rows);
        // Pruning at twice the limit spreads its cost over as many new values.
        if self.values.len() > 2 * VALUES_LIMIT {
            self.prune(VALUES_LIMIT);
        }
    }

    /// Takes the count of the first value beyond the limit off every count and drops what is left with none.
    fn prune(&mut self, limit: usize) {
        let mut counts: Vec<u64> = self.values.values().copied().collect();
        if counts.len() <= limit {
            return;
        }
        let (_, pivot, _) = counts.select_nth_unstable_by(limit, |a, b| b.cmp(a));
        let pivot = *pivot;
        self.values.retain(|_, count| {
            *count = count.saturating_sub(pivot);
            *count > 0
        });
        self.exact = false;
    }
}

fn shortened(value: &str) -> String {
    let beginning: String = value.chars().take(40).collect();
    format!("{beginning}… ({} bytes, {})", value.len(), Digest::of(value.as_bytes()).short())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_values_are_exact() {
        let mut column = CategoricalColumn::default();
        for round in 0..3 {
            for value in 0..VALUES_LIMIT {
                column.take(&format!("v{value}"), 1 + u64::from(round == 0 && value == 7));
            }
        }
        let summary = column.summary();
        assert!(summary.is_exact());
        assert_eq!((summary.count(), summary.other(), summary.values()["v7"]), (3001, 0, 4));
    }

    #[test]
    fn beyond_the_limit_common_values_stay_within_the_bound() {
        let mut column = CategoricalColumn::default();
        for row in 0..100_000_u32 {
            match row % 4 {
                0 => column.take("common", 1),
                _ => column.take(&format!("id{row}"), 1),
            }
        }
        let summary = column.summary();
        assert!(!summary.is_exact());
        assert!(summary.values().len() <= VALUES_LIMIT);
        assert_eq!(summary.count(), 100_000);
        let common = summary.values()["common"];
        assert!((25_000 - 100_000 / 1_001 - 1..=25_000).contains(&common), "{common}");
        assert_eq!(summary.other() + summary.values().values().sum::<u64>(), 100_000);
    }

    #[test]
    fn merging_keeps_the_bound() {
        let mut whole = CategoricalColumn::default();
        for part in 0..10 {
            let mut column = CategoricalColumn::default();
            for row in 0..5_000 {
                column.take(&format!("id{part}-{row}"), 1);
            }
            column.take("common", 1_000);
            whole.merge(&column);
        }
        let common = whole.summary().values()["common"];
        assert!((10_000 - 60_000 / 1_001 - 1..=10_000).contains(&common), "{common}");
    }

    #[test]
    fn long_texts_are_told_apart_and_kept_short() {
        let mut column = CategoricalColumn::default();
        column.take(&("é".repeat(5_000) + "a"), 1);
        column.take(&("é".repeat(5_000) + "b"), 2);
        let summary = column.summary();
        assert_eq!(summary.values().len(), 2);
        assert!(summary.values().keys().all(|value| value.len() <= LONGEST));
    }
}
