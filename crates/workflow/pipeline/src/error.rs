use ropewalk_catalog::CatalogError;
use ropewalk_lineage::LineageError;
use ropewalk_store::StoreError;
use ropewalk_store::files::FileError;
use ropewalk_types::{Diagnose, StageName};

/// Why a stage's work failed: the error of the box that did it.
pub type Failure = Box<dyn Diagnose + Send + Sync>;

/// A pipeline that cannot be planned, or whose results cannot be kept.
///
/// A stage that fails is no such error: it is told in the [`crate::RunReport`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// Stages wait for each other.
    #[error("stages wait for each other in a circle: {}", join(.0))]
    Cycle(Vec<StageName>),
    /// A stage needs a stage that is not there.
    #[error("stage `{stage}` needs `{needs}`, which no stage of this project makes")]
    UnknownInput {
        /// The stage.
        stage: StageName,
        /// What it needs.
        needs: String,
    },
    /// A stage asks for an output that another does not make.
    #[error("stage `{stage}` needs output `{output}` of `{from}`, which makes {}", made.join(", "))]
    UnknownOutput {
        /// The stage.
        stage: StageName,
        /// The output it needs.
        output: String,
        /// The stage that should make it.
        from: StageName,
        /// What that stage makes.
        made: Vec<String>,
    },
    /// A kind asked for an input that its stage was not given.
    #[error("stage `{stage}` has no input `{input}`")]
    MissingInput {
        /// The stage.
        stage: StageName,
        /// The input.
        input: String,
    },
    /// Two stages have one name.
    #[error("there are two stages `{0}`")]
    Duplicate(StageName),
    /// No kind of this name is registered.
    #[error("stage `{stage}` is of the unknown kind `{kind}`")]
    UnknownKind {
        /// The stage.
        stage: StageName,
        /// Its kind.
        kind: String,
    },
    /// What the catalogue holds of an outcome cannot be read.
    #[error("the outcome of stage `{stage}` in the catalogue cannot be read: {reason}")]
    Outcome {
        /// The stage.
        stage: String,
        /// Why.
        reason: String,
    },
    /// Another box refused to record what a stage made.
    #[error("{0}")]
    Record(Failure),
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Lineage could not be written.
    #[error(transparent)]
    Lineage(#[from] LineageError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
}

fn join(names: &[StageName]) -> String {
    names.iter().map(StageName::as_str).collect::<Vec<_>>().join(" -> ")
}

impl Diagnose for PipelineError {
    fn code(&self) -> &'static str {
        match self {
            Self::Cycle(_) => "pipeline.cycle",
            Self::UnknownInput { .. } => "pipeline.unknown_input",
            Self::UnknownOutput { .. } => "pipeline.unknown_output",
            Self::MissingInput { .. } => "pipeline.missing_input",
            Self::Duplicate(_) => "pipeline.duplicate",
            Self::UnknownKind { .. } => "pipeline.unknown_kind",
            Self::Outcome { .. } => "pipeline.outcome",
            Self::Record(error) => error.code(),
            Self::Catalog(error) => error.code(),
            Self::Lineage(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::File(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Cycle(_) => Some("a stage may not need what is made from it".to_owned()),
            Self::Record(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::Lineage(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::File(error) => error.hint(),
            _ => None,
        }
    }
}
