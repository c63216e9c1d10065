use ropewalk_types::{Diagnose, StageName};
use serde::de::DeserializeOwned;

use crate::{Failure, StageSpec};

/// Settings that a kind of stage cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the settings of stage `{stage}` cannot be read: {reason}")]
struct SettingsError {
    stage: StageName,
    reason: String,
}

impl Diagnose for SettingsError {
    fn code(&self) -> &'static str {
        "pipeline.settings"
    }
}

impl StageSpec {
    /// The settings as the type that the stage's kind reads.
    ///
    /// # Errors
    /// A key is unknown, missing or of the wrong type.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_value(self.settings.clone())
            .map_err(|error| SettingsError { stage: self.name.clone(), reason: error.to_string() }.into())
    }
}
