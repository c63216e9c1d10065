use std::fmt;
use std::str::FromStr;

use ropewalk_types::{Alias, NameError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Stage;

/// What a version can become: the one behind an alias, or one in a stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// `champion`.
    Alias(Alias),
    /// `stage:Production`.
    Stage(Stage),
}

/// A text that names neither an alias nor a stage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// What follows `stage:` is none.
    #[error(transparent)]
    Stage(#[from] crate::stage::UnknownStage),
    /// It cannot be an alias.
    #[error(transparent)]
    Alias(#[from] NameError),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias(alias) => f.write_str(alias.as_str()),
            Self::Stage(stage) => write!(f, "stage:{}", stage.as_str()),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // An alias holds no colon.
        match text.strip_prefix("stage:") {
            Some(stage) => Ok(Self::Stage(stage.parse()?)),
            None => Ok(Self::Alias(text.parse()?)),
        }
    }
}

impl From<Alias> for Target {
    fn from(alias: Alias) -> Self {
        Self::Alias(alias)
    }
}

impl From<Stage> for Target {
    fn from(stage: Stage) -> Self {
        Self::Stage(stage)
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_alias_or_a_stage() {
        for text in ["champion", "Production", "stage:Production"] {
            assert_eq!(text.parse::<Target>().expect(text).to_string(), text);
        }
        assert_eq!("stage:production".parse(), Ok(Target::Stage(Stage::Production)));
        assert!("stage:x".parse::<Target>().is_err() && "latest".parse::<Target>().is_err());
    }
}
