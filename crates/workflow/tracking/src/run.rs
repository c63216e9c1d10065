mod cursor;
pub(crate) mod model_history;
pub(crate) mod name;
mod pairs;
pub(crate) mod read;
pub(crate) mod write;

use ropewalk_types::{ExperimentId, RunId, RunStatus, Timestamp};
use serde::Serialize;

pub(crate) use cursor::number;
pub use cursor::{CursorError, RunCursor};
pub use pairs::{Pairs, PairsIter};

use crate::{DatasetInput, Metric, ModelOutput, Tag};

/// The tag that is kept equal to a run's name.
pub const RUN_NAME_TAG: &str = "mlflow.runName";
/// The tag that names the run under which a run is nested.
pub const PARENT_RUN_TAG: &str = "mlflow.parentRunId";

/// A run to begin.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The experiment that it belongs to.
    pub experiment: ExperimentId,
    /// Its name; without one it gets a name such as `tarred-hawser-417`.
    pub name: Option<String>,
    /// The run under which it is nested, of the same catalogue.
    pub parent: Option<RunId>,
    /// Its first tags.
    pub tags: Vec<Tag>,
    /// When it began.
    pub start: Timestamp,
    /// Who began it.
    pub user: String,
    /// Who will end it: a text by which [`Tracking::run_abandoned_mark`](crate::Tracking::run_abandoned_mark) finds
    /// the runs that a dead process left behind. None where nobody can answer for it, as for a foreign client's run.
    pub owner: Option<String>,
}

impl NewRun {
    /// A run without name, parent, tags, user and owner.
    pub fn new(experiment: ExperimentId, start: Timestamp) -> Self {
        Self { experiment, name: None, parent: None, tags: Vec::new(), start, user: String::new(), owner: None }
    }
}

/// What is to change about a run; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct RunUpdate {
    /// Its state.
    pub status: Option<RunStatus>,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// Its name; an empty one changes nothing, as in MLflow.
    pub name: Option<String>,
}

/// What a run is, apart from what was logged to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunInfo {
    /// Its id.
    pub id: RunId,
    /// The experiment that it belongs to.
    pub experiment: ExperimentId,
    /// Its name, not unique.
    pub name: String,
    /// Who began it.
    pub user: String,
    /// Its state.
    pub status: RunStatus,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; a resumed run keeps the end that it had.
    pub end: Option<Timestamp>,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Where the experiment keeps artifacts, if that is not the server's own store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_location: Option<String>,
}

/// A run and what was logged to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// What it is.
    pub info: RunInfo,
    /// Its params, by key.
    pub params: Pairs,
    /// The latest point of each metric, sorted by key.
    pub metrics: Vec<Metric>,
    /// Its tags, by key.
    pub tags: Pairs,
    /// The dataset versions that it read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<DatasetInput>,
    /// The ids of the logged models that it read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models_read: Vec<String>,
    /// The logged models that it made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models_made: Vec<ModelOutput>,
}

impl Run {
    /// A run to which nothing was logged.
    pub(crate) fn bare(info: RunInfo) -> Self {
        Self {
            info,
            params: Pairs::default(),
            metrics: Vec::new(),
            tags: Pairs::default(),
            datasets: Vec::new(),
            models_read: Vec::new(),
            models_made: Vec::new(),
        }
    }

    /// The latest point of a metric.
    pub fn metric(&self, key: &str) -> Option<&Metric> {
        let place = self.metrics.binary_search_by(|metric| metric.key.as_str().cmp(key)).ok()?;
        self.metrics.get(place)
    }

    /// The run under which it is nested.
    pub fn parent(&self) -> Option<RunId> {
        self.tags.get(PARENT_RUN_TAG).and_then(|id| id.parse().ok())
    }
}

/// Which runs a listing is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// Those that were not deleted.
    #[default]
    Active,
    /// Those that were.
    Deleted,
    /// Both.
    Any,
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// The experiments whose runs are wanted; `None` for all, an empty list for none.
    pub experiments: Option<Vec<ExperimentId>>,
    /// The state that is wanted.
    pub status: Option<RunStatus>,
    /// Whether deleted runs are wanted.
    pub lifecycle: Lifecycle,
    /// Where the page before ended.
    pub after: Option<RunCursor>,
}

/// Some runs, newest first; of runs that began in the same millisecond the smaller id comes first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<Run>,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<RunCursor>,
}
