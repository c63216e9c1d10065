use ropewalk_types::ModelName;
use serde::Serialize;

/// Whether a version of a model can answer, in the words of Triton's repository index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ModelState {
    /// It is being loaded or warmed up.
    Loading,
    /// It answers.
    Ready,
    /// It does not: it could not be loaded, was unloaded, or none of its workers is up.
    Unavailable,
}

impl ModelState {
    /// The state as Triton spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "LOADING",
            Self::Ready => "READY",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

/// One version that the host knows: for the repository index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionState {
    /// The model.
    pub model: ModelName,
    /// Its version.
    pub version: u64,
    /// Whether it can answer.
    pub state: ModelState,
    /// Why it cannot, or empty. Of a ready version: why a later load of the same version failed.
    pub reason: String,
    /// What else the operator should know: settings that have no effect on this model, a warm-up that failed.
    pub notes: Vec<String>,
}
