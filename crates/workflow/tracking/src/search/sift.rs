//! A way for SQLite to the runs that pass several conditions, in the order of a metric: each condition's runs are read
//! from its index as a set, and the metric's index gives the order in which the runs of all sets are met.
//!
//! An index is read along at a tenth of a microsecond an entry; the same question by look-ups costs one to three for
//! each run and condition. So this is slower where a walk ends soon, and bounded where it would not.

use std::cmp::Ordering;
use std::collections::HashMap;

use ropewalk_catalog::{CatalogError, Connection};

use super::question::{MISSING, NOT_A_NUMBER, NUMBER, Place, Question};
use super::statement::{self, Driver};
use super::{condition, runs};
use crate::filter::{Comparison, Entity, Order, SqlBuilder};

/// Runs that are looked up in one statement.
const CHUNK: usize = 500;
/// Runs without the metric that are looked up and sorted; more of them are left to a walk over the runs.
const SORTED: usize = 8_000;

/// A set of the numbers of runs, which are counted from 1.
#[derive(Debug, Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn place(number: i64) -> (usize, u64) {
        let number = usize::try_from(number).unwrap_or_default();
        (number / 64, 1 << (number % 64))
    }

    fn insert(&mut self, number: i64) {
        let (word, bit) = Self::place(number);
        if word >= self.0.len() {
            self.0.resize((word + 1).next_power_of_two(), 0);
        }
        self.0[word] |= bit;
    }

    fn remove(&mut self, number: i64) {
        let (word, bit) = Self::place(number);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    fn contains(&self, number: i64) -> bool {
        let (word, bit) = Self::place(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    fn intersect(&mut self, other: &Self) {
        self.0.truncate(other.0.len());
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn iter(&self) -> impl Iterator<Item = i64> {
        let bits = |(place, word): (usize, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| (word >> bit) & 1 == 1).map(move |bit| (place * 64) as i64 + bit)
        };
        self.0.iter().enumerate().flat_map(bits)
    }
}

/// Whether an index gives the runs that pass, or the rows of the runs do.
pub(super) fn is_set(comparison: &Comparison) -> bool {
    condition::has_index(comparison) || comparison.entity == Entity::Attribute
}

/// The places that come after the page before, at most `wanted`; the question is ordered by one metric alone.
pub(super) async fn places(
    connection: &mut Connection,
    question: &Question,
    wanted: u64,
) -> Result<Vec<Place>, CatalogError> {
    let Some(order) = question.metric_first() else { return Ok(Vec::new()) };
    let mut passing = passing(connection, question).await?;
    let first = question.after().map_or(NUMBER, |place| place.class);
    let wanted = wanted as usize;
    let mut found = Vec::new();
    if first == NUMBER {
        with_numbers(connection, question, order, &passing, wanted, &mut found).await?;
    }
    if first <= NOT_A_NUMBER && found.len() < wanted {
        let met = along(connection, question, order, NOT_A_NUMBER, None, &passing, usize::MAX).await?;
        found.append(&mut looked_up(connection, question, NOT_A_NUMBER, &met.runs).await?);
    }
    if found.len() < wanted {
        without(connection, question, order, &mut passing).await?;
        if passing.len() > SORTED {
            let missing = (wanted - found.len()) as u64;
            found.append(&mut runs::fetch(connection, question, Driver::Class(MISSING), missing, 0).await?);
        } else {
            let left: Vec<(i64, f64)> = passing.iter().map(|number| (number, 0.0)).collect();
            found.append(&mut looked_up(connection, question, MISSING, &left).await?);
        }
    }
    found.truncate(wanted);
    Ok(found)
}

/// The runs that pass all conditions that are sets.
async fn passing(connection: &mut Connection, question: &Question) -> Result<Numbers, CatalogError> {
    let dialect = connection.dialect();
    let mut statements = Vec::new();
    for comparison in question.conditions.iter().filter(|comparison| condition::has_index(comparison)) {
        let mut builder = SqlBuilder::new(dialect);
        builder.push("SELECT d.run FROM ").push(condition::table(comparison.entity)).push(" d WHERE ");
        condition::append_by_index(&mut builder, comparison, &question.experiments);
        statements.push(builder);
    }
    let attributes: Vec<&Comparison> =
        question.conditions.iter().filter(|comparison| comparison.entity == Entity::Attribute).collect();
    if !attributes.is_empty() {
        let mut builder = SqlBuilder::new(dialect);
        builder.push("SELECT r.number FROM run r WHERE ");
        statement::scope(&mut builder, question);
        for comparison in attributes {
            builder.push(" AND ");
            condition::append(&mut builder, comparison, "r.number");
        }
        statements.push(builder);
    }
    let mut all: Option<Numbers> = None;
    for builder in statements {
        let mut set = Numbers::default();
        let each = builder.query().for_each(connection, |row| {
            set.insert(row.get(0)?);
            Ok(())
        });
        each.await?;
        all = Some(match all {
            Some(mut all) => {
                all.intersect(&set);
                all
            }
            None => set,
        });
    }
    Ok(all.unwrap_or_default())
}

/// What is met along the index of a metric.
struct Met {
    runs: Vec<(i64, f64)>,
    whole: bool,
}

/// At least `need` runs that pass, if there are so many, in the order of the metric and with all that share a value;
/// `from` is where to begin, and whether its own value counts.
async fn along(
    connection: &mut Connection,
    question: &Question,
    order: &Order,
    class: i64,
    from: Option<(f64, bool)>,
    passing: &Numbers,
    need: usize,
) -> Result<Met, CatalogError> {
    let mut builder = SqlBuilder::new(connection.dialect());
    builder.push("SELECT m.run, m.value FROM metric_series m WHERE ");
    condition::within(&mut builder, "m.experiment_id", &question.experiments);
    builder.push(" AND m.key = ").bind(&order.key).push(" AND m.not_a_number = ").bind(class);
    if let Some((value, inclusive)) = from {
        let sign = match (order.descending, inclusive) {
            (true, true) => " <= ",
            (true, false) => " < ",
            (false, true) => " >= ",
            (false, false) => " > ",
        };
        builder.push(" AND m.value").push(sign).bind(value);
    }
    builder.push(" ORDER BY m.value").push(if order.descending { " DESC" } else { "" });
    let mut runs: Vec<(i64, f64)> = Vec::new();
    let walked = builder.query().for_each(connection, |row| {
        let number: i64 = row.get(0)?;
        if !passing.contains(number) {
            return Ok(());
        }
        let value: f64 = row.get(1)?;
        if runs.len() >= need && runs.last().is_some_and(|(_, last)| last.total_cmp(&value).is_ne()) {
            // Rows cannot be stopped otherwise.
            return Err(CatalogError::RowAbsent);
        }
        runs.push((number, value));
        Ok(())
    });
    match walked.await {
        Ok(()) => Ok(Met { runs, whole: true }),
        Err(CatalogError::RowAbsent) => Ok(Met { runs, whole: false }),
        Err(error) => Err(error),
    }
}

async fn with_numbers(
    connection: &mut Connection,
    question: &Question,
    order: &Order,
    passing: &Numbers,
    wanted: usize,
    found: &mut Vec<Place>,
) -> Result<(), CatalogError> {
    let mut from = question.after().map(|place| (place.value, true));
    let mut need = wanted;
    loop {
        let met = along(connection, question, order, NUMBER, from, passing, need).await?;
        found.append(&mut looked_up(connection, question, NUMBER, &met.runs).await?);
        from = met.runs.last().map(|(_, value)| (*value, false));
        if met.whole || found.len() >= wanted {
            return Ok(());
        }
        // Some were deleted or do not pass what is no set: there may be many of those.
        need *= 2;
    }
}

/// Takes the runs that have the metric out of a set.
async fn without(
    connection: &mut Connection,
    question: &Question,
    order: &Order,
    passing: &mut Numbers,
) -> Result<(), CatalogError> {
    let mut builder = SqlBuilder::new(connection.dialect());
    builder.push("SELECT m.run FROM metric_series m WHERE ");
    condition::within(&mut builder, "m.experiment_id", &question.experiments);
    builder.push(" AND m.key = ").bind(&order.key);
    let each = builder.query().for_each(connection, |row| {
        passing.remove(row.get(0)?);
        Ok(())
    });
    each.await
}

/// The places of runs of one class that pass the rest of the conditions and come after the page before, in order.
async fn looked_up(
    connection: &mut Connection,
    question: &Question,
    class: i64,
    runs: &[(i64, f64)],
) -> Result<Vec<Place>, CatalogError> {
    let mut found: Vec<Place> = Vec::with_capacity(runs.len());
    for chunk in runs.chunks(CHUNK) {
        let mut builder = SqlBuilder::new(connection.dialect());
        builder.push("SELECT r.number, r.started_at, r.id FROM run r WHERE r.number IN ");
        builder.bind_list(chunk.iter().map(|(number, _)| *number)).push(" AND +");
        statement::scope(&mut builder, question);
        for comparison in question.conditions.iter().filter(|comparison| !is_set(comparison)) {
            builder.push(" AND ");
            condition::append(&mut builder, comparison, "r.number");
        }
        let values: HashMap<i64, f64> = chunk.iter().copied().collect();
        let rows: Vec<(i64, i64, String)> = builder.query().fetch_all(connection).await?;
        found.extend(rows.into_iter().map(|(number, start, id)| {
            let value = values.get(&number).copied().unwrap_or_default();
            Place { number, class, value, start, id }
        }));
    }
    let descending = question.metric_first().is_some_and(|order| order.descending);
    found.sort_by(|a, b| compare(a, b, descending));
    if let Some(after) = question.after().filter(|place| place.class == class) {
        let end = found.partition_point(|place| compare(place, after, descending).is_le());
        found.drain(..end);
    }
    Ok(found)
}

/// The order of two places of one class.
fn compare(a: &Place, b: &Place, descending: bool) -> Ordering {
    let value = a.value.partial_cmp(&b.value).unwrap_or(Ordering::Equal);
    let value = if descending { value.reverse() } else { value };
    value.then(b.start.cmp(&a.start)).then_with(|| a.id.cmp(&b.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[i64]) -> Numbers {
        let mut set = Numbers::default();
        for number in numbers {
            set.insert(*number);
        }
        set
    }

    #[test]
    fn numbers_are_a_set() {
        let mut some = set(&[1, 63, 64, 500, 1]);
        assert_eq!((some.len(), some.iter().collect::<Vec<_>>()), (4, vec![1, 63, 64, 500]));
        some.remove(63);
        some.remove(100_000);
        assert!(some.contains(64) && !some.contains(63) && !some.contains(100_000));
        some.intersect(&set(&[1, 2, 64]));
        assert_eq!(some.iter().collect::<Vec<_>>(), [1, 64]);
    }
}
