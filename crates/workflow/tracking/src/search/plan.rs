use ropewalk_catalog::{CatalogError, Connection, Dialect};

use super::condition::has_index;
use super::question::{MISSING, NUMBER, Question};
use super::sift::is_set;
use super::statement::{Driver, count, count_runs, names_runs};
use crate::filter::{Comparison, Entity, Operator};

/// Rows of an index that are counted at most: of more of them a sort would cost more than other ways.
const COUNTED: i64 = 8_000;
/// Runs that are counted at most.
const COUNTED_RUNS: i64 = 100_000;
/// So few runs are read whole: nothing is worth counting.
const FEW_RUNS: i64 = 100;

/// Microseconds, measured over 100,000 runs with 50 metrics each: a look-up by primary key, an entry read along an
/// index, a row of the runs read along, a row of a join, a row of a sort.
const LOOK_UP: f64 = 2.5;
const ENTRY: f64 = 0.12;
const RUN: f64 = 0.3;
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
    if question.conditions.iter().any(names_runs) {
        return Ok(vec![Driver::Runs]);
    }
    if dialect == Dialect::Postgres || !question.conditions.iter().any(is_set) {
        return Ok(walk);
    }
    let runs: i64 = count_runs(question, dialect, COUNTED_RUNS).query().fetch_one(connection).await?;
    if runs <= FEW_RUNS {
        return Ok(vec![Driver::Runs]);
    }
    let mut costs = Costs::new(question, runs, wanted, walk == [Driver::Runs]);
    for (position, comparison) in question.conditions.iter().enumerate() {
        let counted = if has_index(comparison) {
            Some(count(question, dialect, comparison, COUNTED).query().fetch_one(connection).await?)
        } else {
            None
        };
        costs.condition(position, comparison, counted);
    }
    Ok(costs.least().map_or(walk, |driver| vec![driver]))
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
#[derive(Debug)]
struct Costs {
    runs: f64,
    wanted: f64,
    /// Of the conditions of one run.
    checks: f64,
    /// Of what one run is ordered by.
    joins: f64,
    /// The runs come in no order.
    sorted: bool,
    /// The part of the runs that passes, as far as it is known.
    passing: f64,
    /// How much more than by that part a walk may cost: nobody knows how conditions hang together.
    doubt: f64,
    /// Of the sets, if they lead to the page.
    sets: Option<f64>,
    best: Option<(usize, f64)>,
}

impl Costs {
    fn new(question: &Question, runs: i64, wanted: u64, over_runs: bool) -> Self {
        let joins = question.orders.iter().filter(|order| order.entity != Entity::Attribute).count();
        let (runs, wanted) = (runs as f64, wanted as f64);
        Self {
            runs,
            wanted,
            checks: question.conditions.len() as f64 * LOOK_UP,
            joins: joins as f64 * LOOK_UP,
            sorted: over_runs && (!question.orders.is_empty() || question.experiments.len() > 1),
            passing: 1.0,
            doubt: 1.0,
            // The order is read along, at worst to its end and once more for what is missing.
            sets: (!over_runs && question.by_place()).then_some(runs * ENTRY + wanted.min(runs) * LOOK_UP),
            best: None,
        }
    }

    fn condition(&mut self, position: usize, comparison: &Comparison, counted: Option<i64>) {
        // Between what was counted and all.
        let many = (COUNTED as f64 / self.runs).min(1.0).sqrt();
        let (part, doubt, set) = match counted {
            Some(rows) if rows < COUNTED => {
                // Its own check is saved, its run is looked up instead.
                let cost = rows as f64 * (STEP + self.checks + self.joins + SORT);
                if self.best.is_none_or(|(_, best)| cost < best) {
                    self.best = Some((position, cost));
                }
                ((rows as f64 / self.runs).min(1.0), 1.5, rows as f64 * ENTRY)
            }
            Some(_) => (many, 2.0, self.runs * many * ENTRY),
            None if comparison.entity == Entity::Attribute => (0.4, 60.0, self.runs * RUN),
            None if comparison.operator == Operator::NotEqual => (0.9, 1.0, 0.0),
            None => (0.4, 2.0, 0.0),
        };
        self.passing *= part;
        self.doubt *= doubt;
        self.sets = self.sets.map(|sets| sets + set);
    }

    /// The way that is cheaper than the walk, if one is.
    fn least(&self) -> Option<Driver> {
        let walk = if self.sorted {
            self.runs * (STEP + LOOK_UP + self.checks + self.joins + SORT)
        } else {
            // Most runs fail at the first checks.
            let steps = (self.wanted / self.passing.max(1e-9) * self.doubt).min(self.runs);
            steps * (STEP + LOOK_UP + self.checks / 2.0)
        };
        let condition = self.best.map(|(position, cost)| (Driver::Condition(position), cost));
        let sets = self.sets.map(|cost| (Driver::Sets, cost));
        let ways = condition.into_iter().chain(sets);
        let (driver, cost) = ways.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (cost < walk).then_some(driver)
    }
}
