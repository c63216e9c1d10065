//! What a server tells its operator: lines on standard error.

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::ListeningError;

/// The variable that says what is told, as usual: `info`, or `ropewalk=debug,sqlx=warn`.
pub const RUST_LOG: &str = "RUST_LOG";
/// Our own crates, whose names all begin so.
const OURS: &str = "ropewalk";

/// Has warnings and errors of our own, or what a text in the form of [`RUST_LOG`] asks for, written to standard error from here
/// on. Once in a process.
///
/// # Errors
/// [`ListeningError::Telling`] where the text cannot be read, or somebody else was asked before.
pub fn tell(wanted: Option<&str>) -> Result<(), ListeningError> {
    let targets = targets(wanted).map_err(|problem| ListeningError::Telling(problem.to_string()))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // Standard error may be closed; that is no reason to end.
    let lines = lines.log_internal_errors(false);
    let told = tracing_subscriber::registry().with(targets).with(lines).try_init();
    told.map_err(|problem: TryInitError| ListeningError::Telling(problem.to_string()))
}

fn targets(wanted: Option<&str>) -> Result<Targets, ParseError> {
    match wanted.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => text.parse(),
        None => Ok(Targets::new().with_target(OURS, LevelFilter::WARN)),
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[test]
    fn warnings_of_our_own_are_told_and_what_is_asked_for() {
        let tells = |wanted, target: &str, level: LevelFilter| {
            targets(wanted).expect("readable").would_enable(target, &level.into_level().expect("a level"))
        };
        for none in [None, Some(""), Some(" ")] {
            assert!(tells(none, "ropewalk_inference_server::server", LevelFilter::WARN));
            assert!(!tells(none, "ropewalk_inference_server::server", LevelFilter::INFO));
            assert!(!tells(none, "sqlx::query", LevelFilter::WARN));
        }
        assert!(tells(Some("ropewalk=debug,sqlx=warn"), "ropewalk_mlflow", LevelFilter::DEBUG));
        assert!(tells(Some("ropewalk=debug,sqlx=warn"), "sqlx::query", LevelFilter::WARN));
        assert!(tells(Some("info"), "h2", LevelFilter::INFO));
        assert!(targets(Some("ropewalk=loud")).is_err());
    }
}
