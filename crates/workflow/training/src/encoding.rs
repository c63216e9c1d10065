//! Strings become codes: the place of the category when categories are ordered by their share of the target.
//!
//! With this order, one threshold of a tree divides the categories as well as any division of them could at the root
//! (Fisher 1958; Breiman et al. 1984, "Classification and Regression Trees", section 4.2.2). Only the training part
//! is looked at, and rare categories are drawn towards the average so that chance does not put them at the ends.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::array::LargeStringArray;

use crate::table::{Column, Table, Values};
use crate::{Feature, FeatureKind, Part, TrainingError};

/// A category counts as if it had this many more rows of the average target (Micci-Barreca 2001).
const SMOOTHING_ROWS: f64 = 20.0;

/// Most categories of a column: more of them are a key, not a category.
pub(crate) const CATEGORY_LIMIT: usize = 10_000;

/// How each column is read, learned from the training part.
pub(crate) fn learn(table: &Table) -> Result<Vec<Feature>, TrainingError> {
    let rows = table.rows(Part::Train);
    table.columns.iter().map(|column| feature(column, &table.labels, &rows)).collect()
}

fn feature(column: &Column, labels: &[bool], rows: &[usize]) -> Result<Feature, TrainingError> {
    let kind = match &column.values {
        Values::Numeric(values) => {
            if rows.iter().all(|row| values.get(*row).is_none_or(|value| value.is_nan())) {
                return Err(TrainingError::AllNull { column: column.name.clone() });
            }
            FeatureKind::Numeric
        }
        Values::Text(values) => {
            FeatureKind::Categorical { categories: categories(&column.name, values, labels, rows)? }
        }
    };
    Ok(Feature { name: column.name.clone(), kind })
}

fn categories(
    name: &str,
    values: &LargeStringArray,
    labels: &[bool],
    rows: &[usize],
) -> Result<Vec<String>, TrainingError> {
    let mut counts: HashMap<&str, (u64, u64)> = HashMap::new();
    for row in rows {
        let (Some(text), Some(label)) = (present(values, *row), labels.get(*row)) else { continue };
        let (positives, total) = counts.entry(text).or_default();
        *positives += u64::from(*label);
        *total += 1;
    }
    if counts.is_empty() {
        return Err(TrainingError::AllNull { column: name.to_owned() });
    }
    if counts.len() > CATEGORY_LIMIT {
        let distinct = counts.len();
        return Err(TrainingError::TooManyCategories { column: name.to_owned(), distinct, limit: CATEGORY_LIMIT });
    }
    let positives = rows.iter().filter(|row| labels.get(**row) == Some(&true)).count();
    let average = positives as f64 / rows.len() as f64;
    let share = |(positives, total): (u64, u64)| {
        (positives as f64 + SMOOTHING_ROWS * average) / (total as f64 + SMOOTHING_ROWS)
    };
    let mut ordered: Vec<(f64, &str)> = counts.into_iter().map(|(text, count)| (share(count), text)).collect();
    ordered.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    Ok(ordered.into_iter().map(|(_, text)| text.to_owned()).collect())
}

/// The string in `row`; a request cannot say null, so the empty string stands for it, here as there.
fn present(values: &LargeStringArray, row: usize) -> Option<&str> {
    use arrow::array::Array;
    (row < values.len() && values.is_valid(row)).then(|| values.value(row)).filter(|text| !text.is_empty())
}

/// The column as the trees see it: NaN where it is missing.
pub(crate) fn encode<'a>(column: &'a Column, feature: &Feature) -> Cow<'a, [f32]> {
    match (&column.values, &feature.kind) {
        (Values::Text(values), FeatureKind::Categorical { categories }) => {
            let codes: HashMap<&str, f32> =
                categories.iter().enumerate().map(|(code, text)| (text.as_str(), code as f32)).collect();
            let code = |text: Option<&str>| text.and_then(|text| codes.get(text)).copied().unwrap_or(f32::NAN);
            Cow::Owned(values.iter().map(code).collect())
        }
        (Values::Numeric(values), _) => Cow::Borrowed(values),
        // `learn` gives every text column its categories.
        (Values::Text(values), FeatureKind::Numeric) => Cow::Owned(values.iter().map(|_| f32::NAN).collect()),
    }
}

/// `rows` of the encoded columns, row after row.
pub(crate) fn matrix(columns: &[Cow<'_, [f32]>], rows: &[usize]) -> Vec<f32> {
    let mut values = Vec::with_capacity(columns.len() * rows.len());
    for row in rows {
        values.extend(columns.iter().map(|column| column.get(*row).copied().unwrap_or(f32::NAN)));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(values: &[Option<&str>], labels: &[u8]) -> Result<Vec<String>, TrainingError> {
        let labels: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
        let rows: Vec<usize> = (0..values.len()).collect();
        categories("c", &LargeStringArray::from(values.to_vec()), &labels, &rows)
    }

    #[test]
    fn categories_are_ordered_by_their_share_and_then_by_bytes() {
        let values = [Some("high"), Some("low"), Some("high"), Some("low"), Some("b"), Some("a"), None, Some("")];
        assert_eq!(learned(&values, &[1, 0, 1, 0, 1, 1, 0, 0]).unwrap(), ["low", "a", "b", "high"]);
    }

    #[test]
    fn a_rare_category_is_drawn_towards_the_average() {
        let mut values = vec![Some("often"); 100];
        let mut labels = vec![1; 90];
        labels.extend([0; 10]);
        values.push(Some("once"));
        labels.push(1);
        // "once" has the larger share, but one row proves little.
        assert_eq!(learned(&values, &labels).unwrap(), ["often", "once"]);
        values.extend([Some("never"); 50]);
        labels.extend([0; 50]);
        assert_eq!(learned(&values, &labels).unwrap(), ["never", "once", "often"]);
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert!(matches!(learned(&[None, Some("")], &[0, 1]), Err(TrainingError::AllNull { .. })));
        let keys: Vec<String> = (0..=CATEGORY_LIMIT).map(|key| format!("k{key}")).collect();
        let values: Vec<Option<&str>> = keys.iter().map(|key| Some(key.as_str())).collect();
        let error = learned(&values, &vec![0; values.len()]).unwrap_err();
        assert!(matches!(error, TrainingError::TooManyCategories { distinct: 10_001, .. }), "{error}");
    }

    #[test]
    fn what_the_training_part_did_not_show_is_missing() {
        let column = Column {
            name: "c".to_owned(),
            values: Values::Text(LargeStringArray::from(vec![Some("b"), None, Some(""), Some("new"), Some("a")])),
        };
        let kind = FeatureKind::Categorical { categories: vec!["a".to_owned(), "b".to_owned()] };
        let codes = encode(&column, &Feature { name: "c".to_owned(), kind });
        assert_eq!(codes.iter().map(|code| code.is_nan()).collect::<Vec<_>>(), [false, true, true, true, false]);
        assert_eq!((codes[0], codes[4]), (1.0, 0.0));
    }
}
