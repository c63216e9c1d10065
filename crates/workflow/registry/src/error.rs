use ropewalk_catalog::CatalogError;
use ropewalk_lineage::LineageError;
use ropewalk_tracking::{ErrorKind as Tracked, TrackingError};
use ropewalk_types::{Alias, Diagnose, ModelName, NameError, Uri};

use crate::{GateError, GateOutcome, Target, WebhookError};

/// Whose fault an error is, for a protocol to choose its status by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was asked for does not exist.
    Absent,
    /// What was to be created exists.
    Exists,
    /// The request breaks a rule.
    Invalid,
    /// A gate does not hold, or who asked may not do that.
    Refused,
    /// The catalogue cannot be reached or is held by others; later it may be.
    Unavailable,
    /// There is no room for what was to be kept.
    DiskFull,
    /// The request may be right; we failed.
    Internal,
}

/// Why the registry could not answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The link to the run could not be written.
    #[error(transparent)]
    Lineage(#[from] LineageError),
    /// What tracking knows of a run could not be read, or a filter, a page token or a key is not one.
    #[error(transparent)]
    Tracking(#[from] TrackingError),
    /// The gate's text is not one.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// A name of a model or an alias breaks its rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A webhook is not there or cannot be so.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// The name is taken by another registered model or by a prompt.
    #[error("{} (name={name}) already exists{}", kind_of(*wanted_prompt), taken(*wanted_prompt, *prompt))]
    ModelExists {
        /// The name.
        name: ModelName,
        /// Whether a prompt has it.
        prompt: bool,
        /// Whether a prompt was to have it.
        wanted_prompt: bool,
    },
    /// Where a version's files are said to be is not a place from which it may come.
    #[error("invalid model version source: '{place}': {reason}")]
    Source {
        /// As the client gave it.
        place: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// A tag, a description, a stage or a page is not as it may be.
    #[error("invalid value for parameter '{parameter}': {reason}")]
    Invalid {
        /// Which one.
        parameter: &'static str,
        /// The rule that it breaks.
        reason: String,
    },
    /// The version was not registered by a stage, so what only a stage knows is not known of it.
    #[error("the {what} of models:/{name}/{version} is not known here")]
    Unknown {
        /// What was needed.
        what: &'static str,
        /// The model.
        name: ModelName,
        /// The version.
        version: u64,
    },
    /// The conditions under which an alias or a stage moves do not hold; the attempt is in the history.
    #[error("models:/{name}/{version} cannot become `{target}`: {outcome}")]
    Refused {
        /// The model.
        name: ModelName,
        /// The version that was to move.
        version: u64,
        /// Where to.
        target: Target,
        /// Every condition with its figures.
        outcome: Box<GateOutcome>,
    },
    /// Without it a gate would guard nothing, or compare with nobody.
    #[error("{what} stays as it is: a gate guards `{target}` of {name}")]
    Guarded {
        /// What was to be deleted or renamed.
        what: String,
        /// The model.
        name: ModelName,
        /// What the gate guards.
        target: Target,
    },
    /// Who wants to approve has not the role for it.
    #[error("{who} is no member of role:{role}")]
    NotMember {
        /// Who asked.
        who: String,
        /// The role.
        role: String,
    },
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
    /// The model has no versions at all.
    #[error("Latest version not found for model {0}.")]
    NoVersions(ModelName),
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
    /// A row of the catalogue holds what no version of this program writes.
    #[error("the catalogue's row about model `{model}` cannot be read: {reason}")]
    Damaged {
        /// As stored.
        model: String,
        /// Which column, and what is wrong with it.
        reason: String,
    },
}

impl RegistryError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Tracking(error) => of_tracking(error.kind()),
            Self::Catalog(error) => of_tracking(Tracked::of_catalog(error)),
            Self::Webhook(WebhookError::Absent(_))
            | Self::ModelUnknown { .. }
            | Self::VersionUnknown { .. }
            | Self::NoVersions(_) => ErrorKind::Absent,
            Self::ModelExists { .. } => ErrorKind::Exists,
            Self::Refused { .. } | Self::Guarded { .. } | Self::NotMember { .. } => ErrorKind::Refused,
            // MLflow says of an alias that is not there that the parameter is wrong.
            Self::AliasUnknown { .. }
            | Self::Gate(_)
            | Self::Name(_)
            | Self::Webhook(_)
            | Self::Source { .. }
            | Self::Invalid { .. }
            | Self::NotAModel(_)
            | Self::Artifact { .. }
            | Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Lineage(_) | Self::Unknown { .. } | Self::Metrics { .. } | Self::Damaged { .. } => {
                ErrorKind::Internal
            }
        }
    }
}

fn of_tracking(kind: Tracked) -> ErrorKind {
    match kind {
        Tracked::Absent => ErrorKind::Absent,
        Tracked::Exists => ErrorKind::Exists,
        Tracked::Invalid | Tracked::State => ErrorKind::Invalid,
        Tracked::Unavailable => ErrorKind::Unavailable,
        Tracked::DiskFull => ErrorKind::DiskFull,
        Tracked::Internal => ErrorKind::Internal,
    }
}

fn kind_of(prompt: bool) -> &'static str {
    if prompt { "Prompt" } else { "Registered Model" }
}

/// What to add where a model and a prompt want the same name.
fn taken(wanted_prompt: bool, prompt: bool) -> &'static str {
    match (wanted_prompt, prompt) {
        (false, true) => ": the name is taken by a prompt",
        (true, false) => ": the name is taken by a registered model",
        _ => "",
    }
}

impl Diagnose for RegistryError {
    fn code(&self) -> &'static str {
        match self {
            Self::Catalog(error) => error.code(),
            Self::Lineage(error) => error.code(),
            Self::Tracking(error) => error.code(),
            Self::Gate(error) => error.code(),
            Self::Name(_) => "registry.name",
            Self::Webhook(error) => error.code(),
            Self::ModelExists { .. } => "registry.model_exists",
            Self::Source { .. } => "registry.source",
            Self::Invalid { .. } => "registry.invalid",
            Self::Unknown { .. } => "registry.unknown",
            Self::Refused { .. } => "registry.gate_failed",
            Self::Guarded { .. } => "registry.guarded",
            Self::NotMember { .. } => "registry.not_member",
            Self::ModelUnknown { .. } => "registry.model_unknown",
            Self::VersionUnknown { .. } | Self::NoVersions(_) => "registry.version_unknown",
            Self::AliasUnknown { .. } => "registry.alias_unknown",
            Self::NotAModel(_) => "registry.not_a_model",
            Self::Artifact { .. } => "registry.artifact",
            Self::TooLarge { .. } => "registry.too_large",
            Self::Metrics { .. } => "registry.metrics",
            Self::Damaged { .. } => "registry.damaged",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(error) => error.hint(),
            Self::Lineage(error) => error.hint(),
            Self::Tracking(error) => error.hint(),
            Self::Gate(error) => error.hint(),
            Self::Webhook(error) => error.hint(),
            Self::Unknown { .. } => Some("only versions that a stage registered can be used here".to_owned()),
            Self::Refused { name, .. } => {
                Some(format!("the conditions are shown by `ropewalk models gate show {name}`"))
            }
            Self::Guarded { name, target, .. } => {
                Some(format!("take the gate away first: `ropewalk models gate rm {name} {target}`"))
            }
            Self::NotMember { .. } => Some("the members are shown by `ropewalk models role ls`".to_owned()),
            Self::ModelUnknown { name, known } => Some(model_hint(name, known)),
            Self::VersionUnknown { latest: 0, .. } => Some("it has no versions".to_owned()),
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
            Self::Damaged { .. } => Some("the catalogue may have been written by a newer program".to_owned()),
            Self::TooLarge { .. }
            | Self::Name(_)
            | Self::NoVersions(_)
            | Self::ModelExists { .. }
            | Self::Source { .. }
            | Self::Invalid { .. } => None,
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
