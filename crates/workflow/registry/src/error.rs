use ropewalk_catalog::CatalogError;
use ropewalk_lineage::LineageError;
use ropewalk_types::{Alias, Diagnose, ModelName, Uri};

use crate::GateError;

/// Why the registry could not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The link to the run could not be written.
    #[error(transparent)]
    Lineage(#[from] LineageError),
    /// The gate's text is not one.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// No model of this name.
    #[error("there is no registered model `{name}`")]
    ModelUnknown {
        /// The name that was asked for.
        name: ModelName,
        /// Registered names, the most similar first.
        known: Vec<ModelName>,
    },
    /// The model has no such version.
    #[error("model `{name}` has no version {version}")]
    VersionUnknown {
        /// The model.
        name: ModelName,
        /// The version that was asked for.
        version: u64,
        /// The newest version.
        latest: u64,
    },
    /// The model has no such alias.
    #[error("no version of model `{name}` has the alias `{alias}`")]
    AliasUnknown {
        /// The model.
        name: ModelName,
        /// The alias that was asked for.
        alias: Alias,
        /// The aliases that it has.
        known: Vec<Alias>,
    },
    /// The URI names something else.
    #[error("`{0}` does not name a version of a registered model")]
    NotAModel(Uri),
    /// The artifact's path could not be found again.
    #[error("`{path}` cannot be the path of a model inside a run: {reason}")]
    Artifact {
        /// The path that was given.
        path: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A number is larger than the catalogue can hold.
    #[error("{what} {value} is too large for the catalogue")]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// The metrics of a version could not be read.
    #[error("cannot read the metrics of {version}: {reason}")]
    Metrics {
        /// Whose metrics.
        version: Uri,
        /// What their source said.
        reason: String,
    },
    /// Someone else moved the alias between our look and our move.
    #[error("alias `{alias}` of model `{name}` was moved by someone else at the same time")]
    Conflict {
        /// The model.
        name: ModelName,
        /// The alias.
        alias: Alias,
    },
    /// A row of the catalogue holds what no version of this program writes.
    #[error("the catalogue's row about model `{model}` cannot be read: {reason}")]
    Damaged {
        /// As stored.
        model: String,
        /// Which column, and what is wrong with it.
        reason: String,
    },
}

impl From<sqlx::Error> for RegistryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Catalog(error.into())
    }
}

impl Diagnose for RegistryError {
    fn code(&self) -> &'static str {
        match self {
            Self::Catalog(error) => error.code(),
            Self::Lineage(error) => error.code(),
            Self::Gate(error) => error.code(),
            Self::ModelUnknown { .. } => "registry.model_unknown",
            Self::VersionUnknown { .. } => "registry.version_unknown",
            Self::AliasUnknown { .. } => "registry.alias_unknown",
            Self::NotAModel(_) => "registry.not_a_model",
            Self::Artifact { .. } => "registry.artifact",
            Self::TooLarge { .. } => "registry.too_large",
            Self::Metrics { .. } => "registry.metrics",
            Self::Conflict { .. } => "registry.conflict",
            Self::Damaged { .. } => "registry.damaged",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(error) => error.hint(),
            Self::Lineage(error) => error.hint(),
            Self::Gate(error) => error.hint(),
            Self::ModelUnknown { name, known } => Some(model_hint(name, known)),
            Self::VersionUnknown { name, latest, .. } => Some(format!("the newest version is models:/{name}/{latest}")),
            Self::AliasUnknown { known, .. } if known.is_empty() => {
                Some("it has no aliases yet; name a version by its number, or promote one".to_owned())
            }
            Self::AliasUnknown { alias, known, .. } => Some(match nearest(alias.as_str(), known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its aliases are {}", listed(known)),
            }),
            Self::NotAModel(_) => Some("use models:/NAME/VERSION or models:/NAME@ALIAS".to_owned()),
            Self::Artifact { .. } => Some("give the path relative to the run's artifacts".to_owned()),
            Self::Metrics { .. } => Some("check that the run of this version is still tracked here".to_owned()),
            Self::Conflict { .. } => Some("look at the alias and try again".to_owned()),
            Self::Damaged { .. } => Some("the catalogue may have been written by a newer program".to_owned()),
            Self::TooLarge { .. } => None,
        }
    }
}

fn model_hint(name: &ModelName, known: &[ModelName]) -> String {
    match nearest(name.as_str(), known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "no model is registered yet".to_owned(),
        None => format!("registered are {}", listed(known)),
    }
}

/// The most similar of `known`, if it is similar enough to be meant.
fn nearest<'a, T: AsRef<str>>(text: &str, known: &'a [T]) -> Option<&'a str> {
    let similar = |one: &'a T| (strsim::jaro_winkler(text, one.as_ref()), one.as_ref());
    let best = known.iter().map(similar).max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 > 0.8).then_some(best.1)
}

/// The first few, for a sentence.
fn listed<T: AsRef<str>>(known: &[T]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = known.iter().take(SHOWN).map(|name| format!("`{}`", name.as_ref())).collect();
    if known.len() > SHOWN {
        names.push(format!("{} more", known.len() - SHOWN));
    }
    names.join(", ")
}
