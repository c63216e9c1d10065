use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Alias, DatasetName, Digest, ModelName, PredictionId, RunId};

/// The name of a thing that lineage can point at.
///
/// `data:NAME@VERSION` · `runs:/RUN_ID/PATH` · `models:/NAME/VERSION` · `models:/NAME@ALIAS` · `git:COMMIT` ·
/// `code:DIGEST` · `file:PATH#DIGEST` · `stage:NAME@KEY` · `prediction:ID`.
/// The `runs:` and `models:` forms are MLflow's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Uri {
    /// A version of a dataset: a tag, `latest`, or a digest or the beginning of one.
    Data {
        /// The dataset.
        name: DatasetName,
        /// Which version.
        version: String,
    },
    /// A run, or an artifact of it.
    Run {
        /// The run.
        run: RunId,
        /// The artifact's path inside the run; empty for the run itself.
        path: String,
    },
    /// A version of a registered model, by number.
    ModelVersion {
        /// The registered model.
        name: ModelName,
        /// Its version, counted from 1.
        version: u64,
    },
    /// A version of a registered model, by alias.
    ModelAlias {
        /// The registered model.
        name: ModelName,
        /// Its alias.
        alias: Alias,
    },
    /// A commit of the project's repository.
    Git(String),
    /// Code that no commit holds: the digest of the uncommitted work tree.
    Code(Digest),
    /// A file as it was when it was read.
    File {
        /// Its path, relative to the project where it lies inside.
        path: String,
        /// The digest of its bytes.
        digest: Digest,
    },
    /// One execution of a stage, named by the stage's key.
    Stage {
        /// The stage.
        name: crate::StageName,
        /// Its key.
        key: Digest,
    },
    /// One answered inference request.
    Prediction(PredictionId),
}

/// A text that is not a URI of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a URI that Ropewalk knows: {reason}")]
pub struct UriError {
    text: String,
    reason: String,
}

const FORMS: &str = "use data:NAME@VERSION, runs:/RUN_ID/PATH, models:/NAME/VERSION, models:/NAME@ALIAS, \
                     git:COMMIT, code:DIGEST, file:PATH#DIGEST, stage:NAME@KEY or prediction:ID";

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data { name, version } => write!(f, "data:{name}@{version}"),
            Self::Run { run, path } if path.is_empty() => write!(f, "runs:/{run}"),
            Self::Run { run, path } => write!(f, "runs:/{run}/{path}"),
            Self::ModelVersion { name, version } => write!(f, "models:/{name}/{version}"),
            Self::ModelAlias { name, alias } => write!(f, "models:/{name}@{alias}"),
            Self::Git(commit) => write!(f, "git:{commit}"),
            Self::Code(digest) => write!(f, "code:{digest}"),
            Self::File { path, digest } => write!(f, "file:{path}#{digest}"),
            Self::Stage { name, key } => write!(f, "stage:{name}@{key}"),
            Self::Prediction(id) => write!(f, "prediction:{id}"),
        }
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|reason| UriError { text: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<Uri, String> {
    let (scheme, rest) = text.split_once(':').ok_or(FORMS)?;
    let says = |error: &dyn fmt::Display| error.to_string();
    match scheme {
        "data" => {
            let (name, version) = rest.split_once('@').unwrap_or((rest, "latest"));
            if version.is_empty() {
                return Err("the version after `@` is empty".to_owned());
            }
            Ok(Uri::Data { name: name.parse().map_err(|e| says(&e))?, version: version.to_owned() })
        }
        "runs" => {
            let rest = rest.strip_prefix('/').ok_or(FORMS)?;
            let (run, path) = rest.split_once('/').unwrap_or((rest, ""));
            Ok(Uri::Run { run: run.parse().map_err(|e| says(&e))?, path: path.to_owned() })
        }
        "models" => parse_model(rest.strip_prefix('/').ok_or(FORMS)?),
        "git" if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(Uri::Git(rest.to_owned())),
        "git" => Err("a commit is hexadecimal".to_owned()),
        "code" => Ok(Uri::Code(rest.parse().map_err(|e| says(&e))?)),
        "file" => {
            let (path, digest) = rest.rsplit_once('#').ok_or(FORMS)?;
            Ok(Uri::File { path: path.to_owned(), digest: digest.parse().map_err(|e| says(&e))? })
        }
        "stage" => {
            let (name, key) = rest.split_once('@').ok_or(FORMS)?;
            Ok(Uri::Stage { name: name.parse().map_err(|e| says(&e))?, key: key.parse().map_err(|e| says(&e))? })
        }
        "prediction" => Ok(Uri::Prediction(rest.parse().map_err(|e| says(&e))?)),
        _ => Err(FORMS.to_owned()),
    }
}

fn parse_model(rest: &str) -> Result<Uri, String> {
    if let Some((name, version)) = rest.split_once('/') {
        let name = ModelName::new(name).map_err(|e| e.to_string())?;
        let version: u64 = version.parse().map_err(|_| format!("`{version}` is not a version number"))?;
        return Ok(Uri::ModelVersion { name, version });
    }
    let (name, alias) = rest.split_once('@').ok_or("a model needs `/VERSION` or `@ALIAS`")?;
    let name = ModelName::new(name).map_err(|e| e.to_string())?;
    Ok(Uri::ModelAlias { name, alias: Alias::new(alias).map_err(|e| e.to_string())? })
}

impl Serialize for Uri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_round_trips() {
        let digest = Digest::of(b"x");
        for text in [
            "data:flights@latest".to_owned(),
            "runs:/0123456789abcdef0123456789abcdef".to_owned(),
            "runs:/0123456789abcdef0123456789abcdef/model/model.onnx".to_owned(),
            "models:/flight-delays/3".to_owned(),
            "models:/flight-delays@champion".to_owned(),
            "git:0a1b2c".to_owned(),
            format!("code:{digest}"),
            format!("file:data/a#b.zip#{digest}"),
            format!("stage:features@{digest}"),
            "prediction:0123456789abcdef0123456789abcdef".to_owned(),
        ] {
            assert_eq!(text.parse::<Uri>().expect(&text).to_string(), text);
        }
        assert_eq!("data:flights".parse::<Uri>().expect("short form").to_string(), "data:flights@latest");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_round_trips(text in ".{0,80}") {
            if let Ok(uri) = text.parse::<Uri>() {
                prop_assert_eq!(uri.to_string().parse::<Uri>(), Ok(uri));
            }
        }
    }
}
