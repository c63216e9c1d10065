use ropewalk_types::ExperimentId;

use crate::ErrorKind;

/// What went wrong with a trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// No trace has this id.
    #[error("there is no trace `{0}`")]
    Absent(String),
    /// The trace has no such tag.
    #[error("trace `{trace}` has no tag `{key}`")]
    TagAbsent {
        /// The trace.
        trace: String,
        /// The tag's key.
        key: String,
    },
    /// The tag says where the server keeps the trace.
    #[error("tag `{0}` of a trace is kept by the server and cannot be changed")]
    TagKept(String),
    /// The trace has no such assessment.
    #[error("trace `{trace}` has no assessment `{assessment}`")]
    AssessmentAbsent {
        /// The trace.
        trace: String,
        /// The assessment's id.
        assessment: String,
    },
    /// The trace has such an assessment already.
    #[error("trace `{trace}` has an assessment `{assessment}` already")]
    AssessmentExists {
        /// The trace.
        trace: String,
        /// The assessment's id.
        assessment: String,
    },
    /// An assessment keeps its kind.
    #[error("assessment `{assessment}` is of the kind {kind} and cannot take a value of the kind {given}")]
    AssessmentKind {
        /// The assessment's id.
        assessment: String,
        /// What it is.
        kind: &'static str,
        /// What was given.
        given: &'static str,
    },
    /// Some spans are still on their way.
    #[error("trace `{trace}` is not whole yet: {found} of {expected} spans have come, try again later")]
    Unfinished {
        /// The trace.
        trace: String,
        /// How many spans have come.
        found: usize,
        /// How many it has.
        expected: usize,
    },
    /// No span ever came: the client put them among the artifacts.
    #[error(
        "the spans of trace `{0}` are not in the catalogue: its artifact `traces.json` holds them, if anything does"
    )]
    SpansElsewhere(String),
    /// The experiment takes no traces.
    #[error("experiment {0} is deleted and takes no traces")]
    ExperimentDeleted(ExperimentId),
    /// More at once than is taken.
    #[error("the request holds {count} {kind}: at most {limit} are taken at once")]
    TooMany {
        /// What there is too much of.
        kind: &'static str,
        /// How many.
        count: usize,
        /// How many are taken.
        limit: usize,
    },
}

impl TraceError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Absent(_)
            | Self::TagAbsent { .. }
            | Self::AssessmentAbsent { .. }
            | Self::Unfinished { .. }
            | Self::SpansElsewhere(_) => ErrorKind::Absent,
            Self::AssessmentExists { .. } => ErrorKind::Exists,
            Self::TagKept(_) | Self::AssessmentKind { .. } | Self::ExperimentDeleted(_) | Self::TooMany { .. } => {
                ErrorKind::Invalid
            }
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Absent(_) => "tracking.trace_absent",
            Self::TagAbsent { .. } => "tracking.trace_tag_absent",
            Self::TagKept(_) => "tracking.trace_tag_kept",
            Self::AssessmentAbsent { .. } => "tracking.assessment_absent",
            Self::AssessmentExists { .. } => "tracking.assessment_exists",
            Self::AssessmentKind { .. } => "tracking.assessment_kind",
            Self::Unfinished { .. } => "tracking.trace_unfinished",
            Self::SpansElsewhere(_) => "tracking.trace_spans_elsewhere",
            Self::ExperimentDeleted(_) => "tracking.trace_experiment_deleted",
            Self::TooMany { .. } => "tracking.trace_too_many",
        }
    }
}
