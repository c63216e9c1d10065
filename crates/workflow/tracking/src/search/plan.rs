use ropewalk_catalog::{CatalogError, Connection, Dialect};

use super::condition::has_index;
use super::question::{MISSING, NUMBER, Question};
use super::statement::{Driver, count, count_runs, names_runs};
use crate::filter::{Comparison, Entity, Operator};

/// Rows of an index that are counted at most: of more of them a sort would cost more than a walk.
const COUNTED: i64 = 8_000;
/// Runs that are counted at most.
const COUNTED_RUNS: i64 = 100_000;
/// So few runs are read whole: nothing is worth counting.
const FEW_RUNS: i64 = 100;

/// Microseconds, measured over 100,000 runs with 50 metrics each: a look-up by primary key, a step along an index, a
/// row of a sort.
const LOOK_UP: f64 = 1.3;
const STEP: f64 = 0.3;
const SORT: f64 = 0.5;

/// What to read first, in turn until the page is full.
///
/// PostgreSQL orders joins itself; it is only told to go by the value of a metric, one class after the other.
pub(super) async fn drivers(
    connection: &mut Connection,
    question: &Question,
    wanted: u64,
) -> Result<Vec<Driver>, CatalogError> {
    let dialect = connection.dialect();
    let walk = walk(question);
    let indexed = question.conditions.iter().any(has_index);
    if question.conditions.iter().any(names_runs) {
        return Ok(vec![Driver::Runs]);
    }
    if dialect == Dialect::Postgres || !indexed {
        return Ok(walk);
    }
    let runs: i64 = count_runs(question, dialect, COUNTED_RUNS).query().fetch_one(connection).await?;
    if runs <= FEW_RUNS {
        return Ok(vec![Driver::Runs]);
    }
    let mut costs = Costs::new(question, runs, wanted);
    for (position, comparison) in question.conditions.iter().enumerate() {
        let counted = if has_index(comparison) {
            Some(count(question, dialect, comparison, COUNTED).query().fetch_one(connection).await?)
        } else {
            None
        };
        costs.condition(position, comparison, counted);
    }
    Ok(match costs.cheaper_than_walk(walk == [Driver::Runs]) {
        Some(position) => vec![Driver::Condition(position)],
        None => walk,
    })
}

/// The runs in their order or, if a metric orders those of one experiment, its classes from the one that is reached.
fn walk(question: &Question) -> Vec<Driver> {
    if question.metric_first().is_none() || question.experiments.len() > 1 {
        return vec![Driver::Runs];
    }
    let first = question.after().map_or(NUMBER, |place| place.class);
    (first..=MISSING).map(Driver::Class).collect()
}

/// What the ways to a page cost, in microseconds.
struct Costs {
    runs: f64,
    wanted: f64,
    checks: f64,
    joins: f64,
    sorted: bool,
    passing: f64,
    best: Option<(usize, f64)>,
}

impl Costs {
    fn new(question: &Question, runs: i64, wanted: u64) -> Self {
        let joins = question.orders.iter().filter(|order| order.entity != Entity::Attribute).count();
        Self {
            runs: runs as f64,
            wanted: wanted as f64,
            checks: question.conditions.len() as f64 * LOOK_UP,
            joins: joins as f64 * LOOK_UP,
            sorted: !question.orders.is_empty() || question.experiments.len() > 1,
            passing: 1.0,
            best: None,
        }
    }

    fn condition(&mut self, position: usize, comparison: &Comparison, counted: Option<i64>) {
        let part = match counted {
            Some(rows) if rows < COUNTED => {
                // Its own check is saved, its run is looked up instead.
                let cost = rows as f64 * (STEP + self.checks + self.joins + SORT);
                if self.best.is_none_or(|(_, best)| cost < best) {
                    self.best = Some((position, cost));
                }
                (rows as f64 / self.runs).min(1.0)
            }
            Some(_) => 0.4,
            None if comparison.operator == Operator::NotEqual => 0.9,
            None => 0.4,
        };
        self.passing *= part;
    }

    /// The condition that leads to the page with less work than the walk, if one does.
    fn cheaper_than_walk(&self, over_runs: bool) -> Option<usize> {
        let (position, cost) = self.best?;
        let walk = if over_runs && self.sorted {
            self.runs * (STEP + LOOK_UP + self.checks + self.joins + SORT)
        } else {
            // Conditions that go together pass more or fewer runs than their parts say; the first check mostly decides.
            let steps = (self.wanted / self.passing.max(1e-9)).min(self.runs);
            steps * (STEP + LOOK_UP + self.checks / 2.0)
        };
        (cost < walk).then_some(position)
    }
}
