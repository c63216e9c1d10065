//! Search of runs and experiments with MLflow's filters and orders, as SQL.
//!
//! A page is found in two steps: first the numbers of its runs, by narrow rows and indexes alone, then the runs
//! themselves. SQLite joins by nested loops only, so that the order of a join is chosen here, by counting
//! ([`plan`]); PostgreSQL chooses itself.

mod condition;
mod experiments;
mod plan;
mod profile;
mod question;
mod runs;
mod sift;
mod statement;
#[cfg(test)]
mod tests;

use ropewalk_types::ExperimentId;

pub use profile::{EXPERIMENTS, RUNS};

use crate::run::Lifecycle;
use crate::tracking::reading;
use crate::{Experiment, Run, Tracking, TrackingError};

/// Which runs are wanted.
#[derive(Clone, Debug)]
pub struct RunSearch {
    /// The experiments whose runs are wanted; of none there are no runs.
    pub experiments: Vec<ExperimentId>,
    /// The filter that they must pass; see [`crate::filter`].
    pub filter: String,
    /// What they are ordered by, before start (latest first) and id.
    pub order: Vec<String>,
    /// Whether deleted runs are wanted.
    pub lifecycle: Lifecycle,
    /// Most runs in the page; not more than [`RUN_PAGE`](crate::RUN_PAGE) are given.
    pub limit: usize,
    /// [`RunSearchPage::next`] of the page before.
    pub page: Option<String>,
}

impl RunSearch {
    /// All runs of the experiments that were not deleted, 1000 in a page.
    pub fn new(experiments: Vec<ExperimentId>) -> Self {
        let (filter, order) = (String::new(), Vec::new());
        Self { experiments, filter, order, lifecycle: Lifecycle::Active, limit: 1_000, page: None }
    }
}

/// Some of the runs that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSearchPage {
    /// The runs, in order.
    pub runs: Vec<Run>,
    /// Where the next page begins, opaque; `None` if this was the last.
    pub next: Option<String>,
}

/// Which experiments are wanted.
#[derive(Clone, Debug)]
pub struct ExperimentSearch {
    /// The filter that they must pass; see [`crate::filter`].
    pub filter: String,
    /// What they are ordered by; nothing is the latest created first.
    pub order: Vec<String>,
    /// Whether deleted experiments are wanted.
    pub lifecycle: Lifecycle,
    /// Most experiments in the page; not more than [`RUN_PAGE`](crate::RUN_PAGE) are given.
    pub limit: usize,
    /// [`ExperimentSearchPage::next`] of the page before.
    pub page: Option<String>,
}

impl Default for ExperimentSearch {
    fn default() -> Self {
        let (filter, order) = (String::new(), Vec::new());
        Self { filter, order, lifecycle: Lifecycle::Active, limit: 1_000, page: None }
    }
}

/// Some of the experiments that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct ExperimentSearchPage {
    /// The experiments, in order.
    pub experiments: Vec<Experiment>,
    /// Where the next page begins, opaque; `None` if this was the last.
    pub next: Option<String>,
}

impl Tracking {
    /// A page of the runs that pass a filter.
    ///
    /// Runs without what they are ordered by come last in both directions, those whose metric is NaN before them;
    /// at the end start (latest first) and id decide. A page token of another search is refused.
    pub async fn run_search(&self, search: RunSearch) -> Result<RunSearchPage, TrackingError> {
        let question = question::Question::read(search)?;
        if question.experiments.is_empty() {
            return Ok(RunSearchPage { runs: Vec::new(), next: None });
        }
        reading!(self, |connection| runs::page(connection, &question))
    }

    /// A page of the experiments that pass a filter.
    pub async fn experiment_search(&self, search: ExperimentSearch) -> Result<ExperimentSearchPage, TrackingError> {
        let question = experiments::Question::read(&search)?;
        reading!(self, |connection| experiments::page(connection, &question))
    }
}
