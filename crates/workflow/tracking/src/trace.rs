//! Traces: trees of spans with tags, metadata and assessments, after MLflow 3.17 (`mlflow/entities/trace_info.py`,
//! `mlflow/store/tracking/sqlalchemy_store.py`).

mod assessment;
mod delete;
mod error;
mod link;
mod preview;
mod read;
mod search;
mod span;
mod start;
mod tag;
mod takeover;
#[cfg(test)]
mod tests;
mod usage;
mod used;

use std::collections::BTreeMap;

use ropewalk_types::{ExperimentId, RunId, Timestamp};

pub use assessment::{Assessment, AssessmentFault, AssessmentUpdate, AssessmentValue};
pub use delete::TraceSelection;
pub use error::TraceError;
pub use search::{TRACES, TracePage, TraceSearch};
pub use span::{NewSpan, SpanStatus};
pub use takeover::TakenTrace;

use crate::{Tag, Tracking, TrackingError};

/// Most traces in one page of a search, and in one reading by ids.
pub const TRACE_PAGE: usize = 500;
/// Most spans that are taken at once.
pub const SPAN_BATCH: usize = 10_000;
/// Most traces that are linked to a run at once.
pub const TRACE_LINKS: usize = 100;
/// A preview of a request or response is cut here, in characters.
pub const PREVIEW_CHARACTERS: usize = 1_000;
/// A value of a trace's metadata is cut here, in characters.
pub const TRACE_METADATA_CHARACTERS: usize = 250;
/// A trace tag's value is cut here, in characters.
pub const TRACE_TAG_CHARACTERS: usize = 4_096;

/// The tag that holds a trace's name.
pub const TRACE_NAME_TAG: &str = "mlflow.traceName";
/// The tag that says where a trace's artifacts lie.
pub const TRACE_ARTIFACT_TAG: &str = "mlflow.artifactLocation";
/// The tag that says where a trace's spans lie; clients choose by it how they read them.
const SPANS_TAG: &str = "mlflow.trace.spansLocation";
/// The value of [`SPANS_TAG`] for spans that lie in the catalogue.
const SPANS_HERE: &str = "TRACKING_STORE";
/// The metadata that names the run in which a trace was made.
const SOURCE_RUN: &str = "mlflow.sourceRun";
/// The metadata that says that the client has given the whole of the info; spans that come later do not change it.
const FINALIZED: &str = "mlflow.trace.infoFinalized";
const SESSION: &str = "mlflow.trace.session";
const USER: &str = "mlflow.trace.user";
const SIZE_STATS: &str = "mlflow.trace.sizeStats";

type Result<T> = std::result::Result<T, TrackingError>;

/// A trace's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceState {
    /// Nothing is known.
    #[default]
    Unspecified,
    /// It ended well.
    Ok,
    /// It ended with an error.
    Error,
    /// Its root span has not come yet.
    InProgress,
}

impl TraceState {
    /// All states, in the order of MLflow's numbers from 0.
    pub const ALL: [Self; 4] = [Self::Unspecified, Self::Ok, Self::Error, Self::InProgress];

    /// MLflow's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "STATE_UNSPECIFIED",
            Self::Ok => "OK",
            Self::Error => "ERROR",
            Self::InProgress => "IN_PROGRESS",
        }
    }

    /// The state of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What a trace is, apart from its spans.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceInfo {
    /// Its id, `tr-` and the 32 hexadecimal digits of OpenTelemetry's trace id; clients may choose another.
    pub id: String,
    /// The experiment that it belongs to.
    pub experiment: ExperimentId,
    /// When it began.
    pub requested: Timestamp,
    /// How long it took, in milliseconds; none while it goes on.
    pub duration: Option<i64>,
    /// Its state.
    pub state: TraceState,
    /// The id that the client's own client gave.
    pub client_request_id: Option<String>,
    /// The beginning of the request.
    pub request_preview: Option<String>,
    /// The beginning of the response.
    pub response_preview: Option<String>,
    /// What was known when it was made; never changes afterwards but by more spans.
    pub metadata: BTreeMap<String, String>,
    /// Remarks: may be set and deleted.
    pub tags: BTreeMap<String, String>,
    /// What people, judges and code think of it, in the order of their coming.
    pub assessments: Vec<Assessment>,
}

impl TraceInfo {
    /// A trace of which nothing more is known.
    pub fn new(id: impl Into<String>, experiment: ExperimentId, requested: Timestamp) -> Self {
        Self {
            id: id.into(),
            experiment,
            requested,
            duration: None,
            state: TraceState::default(),
            client_request_id: None,
            request_preview: None,
            response_preview: None,
            metadata: BTreeMap::new(),
            tags: BTreeMap::new(),
            assessments: Vec::new(),
        }
    }
}

/// A trace with its spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// What it is.
    pub info: TraceInfo,
    /// Its spans as [`NewSpan::content`], roots first, then by their start.
    pub spans: Vec<String>,
}

impl Tracking {
    /// Records a trace's info, which the client sends when the trace has ended; gives it as it is then.
    ///
    /// Spans may have come before: what they told is replaced, except that tags and metadata are added to.
    pub async fn trace_start(&self, mut info: TraceInfo) -> Result<TraceInfo> {
        for assessment in &mut info.assessments {
            if assessment.id.is_empty() {
                assessment.id = self.assessment_id();
            }
        }
        self.catalog.write(move |connection| Box::pin(async move { start::start(connection, &info).await })).await
    }

    /// Takes spans, of one trace or many, all or none; a span that is there already is replaced. Gives the traces
    /// whose root was among them.
    ///
    /// A trace that is not there yet begins in `experiment`. At most [`SPAN_BATCH`] spans.
    pub async fn spans_log(&self, experiment: ExperimentId, spans: Vec<NewSpan>) -> Result<Vec<String>> {
        self.catalog
            .write(move |connection| Box::pin(async move { span::log(connection, experiment, spans).await }))
            .await
    }

    /// A trace without its spans.
    pub async fn trace_info(&self, trace: &str) -> Result<TraceInfo> {
        let trace = trace.to_owned();
        self.catalog.read(move |connection| Box::pin(async move { read::info(connection, &trace).await })).await
    }

    /// A trace with its spans. Unless `partial`, one whose spans are not all here is [`TraceError::Unfinished`].
    pub async fn trace_get(&self, trace: &str, partial: bool) -> Result<Trace> {
        let trace = trace.to_owned();
        self.catalog.read(move |connection| Box::pin(async move { read::get(connection, &trace, partial).await })).await
    }

    /// How many bytes the spans of these traces have, at most [`TRACE_PAGE`] of them: what it costs to read them.
    pub async fn trace_bytes(&self, traces: Vec<String>) -> Result<u64> {
        self.catalog.read(move |connection| Box::pin(async move { read::bytes(connection, &traces).await })).await
    }

    /// The traces of these ids without their spans, in this order; those that are not there, or in none of
    /// `experiments`, are left out. At most [`TRACE_PAGE`].
    pub async fn trace_infos(
        &self,
        traces: Vec<String>,
        experiments: Option<Vec<ExperimentId>>,
    ) -> Result<Vec<TraceInfo>> {
        self.catalog
            .read(move |connection| {
                Box::pin(async move { read::by_ids(connection, &traces, experiments.as_deref()).await })
            })
            .await
    }

    /// As [`Tracking::trace_infos`], with the spans; traces whose spans are not all here are left out too.
    pub async fn trace_get_many(
        &self,
        traces: Vec<String>,
        experiments: Option<Vec<ExperimentId>>,
    ) -> Result<Vec<Trace>> {
        self.catalog
            .read(move |connection| {
                Box::pin(async move { read::whole(connection, &traces, experiments.as_deref()).await })
            })
            .await
    }

    /// One page of the traces that a filter matches; without an order the latest come first.
    pub async fn trace_search(&self, search: TraceSearch) -> Result<TracePage> {
        self.catalog.read(move |connection| Box::pin(async move { search::page(connection, &search).await })).await
    }

    /// Sets a tag of a trace, in place of one that has its key.
    pub async fn trace_tag_set(&self, trace: &str, tag: Tag) -> Result<()> {
        let trace = trace.to_owned();
        self.catalog.write(move |connection| Box::pin(async move { tag::set(connection, &trace, &tag).await })).await
    }

    /// Deletes a tag of a trace.
    pub async fn trace_tag_delete(&self, trace: &str, key: &str) -> Result<()> {
        let (trace, key) = (trace.to_owned(), key.to_owned());
        self.catalog.write(move |connection| Box::pin(async move { tag::delete(connection, &trace, &key).await })).await
    }

    /// Links traces to a run, so that the filter `run_id = '…'` finds them; they need not be there yet.
    ///
    /// At most [`TRACE_LINKS`].
    pub async fn trace_link(&self, run: RunId, traces: Vec<String>) -> Result<()> {
        self.catalog.write(move |connection| Box::pin(async move { link::run(connection, run, &traces).await })).await
    }

    /// Links versions of prompts, as `name/version`, to a trace, so that the filter `prompt = '…'` finds it.
    pub async fn trace_prompts_link(&self, trace: &str, prompts: Vec<String>) -> Result<()> {
        let trace = trace.to_owned();
        self.catalog
            .write(move |connection| Box::pin(async move { link::prompts(connection, &trace, &prompts).await }))
            .await
    }

    /// Records an assessment of the trace that it names; one that overrides another makes that one invalid.
    ///
    /// Without an id it gets one.
    pub async fn assessment_create(&self, mut assessment: Assessment) -> Result<Assessment> {
        if assessment.id.is_empty() {
            assessment.id = self.assessment_id();
        }
        self.catalog
            .write(move |connection| Box::pin(async move { assessment::create(connection, assessment).await }))
            .await
    }

    /// An assessment of a trace.
    pub async fn assessment_get(&self, trace: &str, id: &str) -> Result<Assessment> {
        let (trace, id) = (trace.to_owned(), id.to_owned());
        self.catalog
            .read(move |connection| Box::pin(async move { assessment::get(connection, &trace, &id).await }))
            .await
    }

    /// Changes an assessment; its metadata is added to.
    pub async fn assessment_update(&self, trace: &str, id: &str, update: AssessmentUpdate) -> Result<Assessment> {
        let (trace, id, at) = (trace.to_owned(), id.to_owned(), self.ambient.now());
        self.catalog
            .write(move |connection| {
                Box::pin(async move { assessment::update(connection, &trace, &id, update, at).await })
            })
            .await
    }

    /// Deletes an assessment, if it is there; one that it overrode is valid again.
    pub async fn assessment_delete(&self, trace: &str, id: &str) -> Result<()> {
        let (trace, id) = (trace.to_owned(), id.to_owned());
        self.catalog
            .write(move |connection| Box::pin(async move { assessment::delete(connection, &trace, &id).await }))
            .await
    }

    fn assessment_id(&self) -> String {
        format!("a-{:032x}", self.ambient.random())
    }
}
