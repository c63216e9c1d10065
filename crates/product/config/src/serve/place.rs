use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ropewalk_types::{ModelName, Uri};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where a model is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelPlace {
    /// In the registry, or among the artifacts of a run.
    Uri(Uri),
    /// A file of ONNX, or a folder.
    Path {
        /// The name under which it is served; none takes that of the file or folder.
        name: Option<ModelName>,
        /// The file or folder.
        path: PathBuf,
    },
}

/// A text that names no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a model: {reason}")]
pub struct ModelPlaceError {
    text: String,
    reason: String,
}

impl FromStr for ModelPlace {
    type Err = ModelPlaceError;

    fn from_str(text: &str) -> Result<Self, ModelPlaceError> {
        let wrong = |reason: &str| ModelPlaceError { text: text.to_owned(), reason: reason.to_owned() };
        if let Ok(uri) = text.parse::<Uri>() {
            return match uri {
                Uri::ModelVersion { .. } | Uri::ModelAlias { .. } | Uri::Run { .. } => Ok(Self::Uri(uri)),
                _ => Err(wrong("use models:/NAME/VERSION, models:/NAME@ALIAS, runs:/RUN_ID/PATH, a file or a folder")),
            };
        }
        if text.starts_with("models:") || text.starts_with("runs:") {
            return Err(wrong("use models:/NAME/VERSION, models:/NAME@ALIAS or runs:/RUN_ID/PATH"));
        }
        // `./a=b.onnx` is a file: no model's name has a slash.
        let (name, path) = match text.split_once('=') {
            Some((name, path)) if !name.contains('/') => {
                (Some(ModelName::new(name).map_err(|error| wrong(&error.to_string()))?), path)
            }
            _ => (None, text),
        };
        if path.is_empty() {
            return Err(wrong("it names no file and no folder"));
        }
        Ok(Self::Path { name, path: PathBuf::from(path) })
    }
}

impl From<Uri> for ModelPlace {
    fn from(uri: Uri) -> Self {
        Self::Uri(uri)
    }
}

impl fmt::Display for ModelPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(uri) => uri.fmt(f),
            Self::Path { name: Some(name), path } => write!(f, "{name}={}", path.display()),
            Self::Path { name: None, path } => write!(f, "{}", path.display()),
        }
    }
}

impl Serialize for ModelPlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart_and_written_as_they_were() {
        let path = |text: &str| match text.parse::<ModelPlace>().expect(text) {
            ModelPlace::Path { name, path } => (name.map(|name| name.to_string()), path.display().to_string()),
            ModelPlace::Uri(uri) => panic!("{uri}"),
        };
        assert_eq!(path("m.onnx"), (None, "m.onnx".to_owned()));
        assert_eq!(path("late=m.onnx"), (Some("late".to_owned()), "m.onnx".to_owned()));
        assert_eq!(path("./a=b.onnx"), (None, "./a=b.onnx".to_owned()));
        for text in ["models:/m/3", "models:/m@champion", "late=m.onnx", "folder/models"] {
            assert_eq!(text.parse::<ModelPlace>().expect(text).to_string(), text);
        }
        for wrong in ["models:/m", "models:/m/x", "data:d@1", "=m.onnx", "a:b=m.onnx", "late=", ""] {
            assert!(wrong.parse::<ModelPlace>().is_err(), "{wrong}");
        }
    }
}
