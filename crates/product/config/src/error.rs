use ropewalk_types::Diagnose;

/// A project file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is not TOML, or a key is unknown, missing or of the wrong type.
    #[error("{file} is not a valid project file: {message}")]
    Syntax {
        /// The file, as the person named it.
        file: String,
        /// What is wrong, with the line and a marker under the place.
        message: String,
        /// The key that was probably meant.
        suggestion: Option<String>,
    },
    /// It is TOML, but what it says does not fit together.
    #[error("{file}: {place}: {message}")]
    Meaning {
        /// The file, as the person named it.
        file: String,
        /// The table, such as `[stage.train]`.
        place: String,
        /// What does not fit.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl Diagnose for ConfigError {
    fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "config.syntax",
            Self::Meaning { .. } => "config.meaning",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { suggestion, .. } => suggestion.as_ref().map(|key| format!("did you mean `{key}`?")),
            Self::Meaning { hint, .. } => hint.clone(),
        }
    }
}

impl ConfigError {
    pub(crate) fn syntax(file: &str, error: &toml::de::Error) -> Self {
        Self::Syntax {
            file: file.to_owned(),
            message: error.to_string().trim_end().to_owned(),
            suggestion: suggestion(error.message()),
        }
    }
}

/// The nearest of the keys that serde lists in "unknown field `x`, expected one of `a`, `b`".
fn suggestion(message: &str) -> Option<String> {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (written, known) = quoted.split_first()?;
    if !message.starts_with("unknown ") {
        return None;
    }
    nearest(written, known.iter().copied()).map(str::to_owned)
}

/// The candidate nearest to `written`, if any is near enough to be what was meant.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(written, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}
