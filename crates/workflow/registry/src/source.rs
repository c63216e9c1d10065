//! Where a version may come from: after the checks of `mlflow/server/handlers.py` (`_create_model_version`), without
//! a look at this machine's disk.

use percent_encoding::percent_decode_str;
use ropewalk_catalog::Connection;
use ropewalk_tracking::{logged_model_origin, run_artifact_uri};
use ropewalk_types::{Alias, ModelName, RunId, Uri};

use crate::alias::by_alias;
use crate::model::{PROMPT_TAG, says_prompt};
use crate::registered::{is_prompt, model_id};
use crate::version::{version_get, version_latest};
use crate::{ModelVersion, RegistryError, SourcedVersion, Stage};

/// What MLflow's clients send as the source of a prompt, which has none (`mlflow/prompt/constants.py`).
const PROMPT_SOURCES: [&str; 2] = ["dummy-source", "prompt-template"];
/// Where a server's artifacts lie, as parts of a path.
const ROUTE: [&str; 4] = ["api", "2.0", "mlflow-artifacts", "artifacts"];

/// A source that was checked.
pub(crate) struct Origin {
    /// As it is kept.
    pub(crate) source: String,
    /// Where the files are.
    pub(crate) storage: String,
    pub(crate) run: Option<String>,
    pub(crate) logged_model: Option<String>,
    /// What the version came from in lineage, where that is known here.
    pub(crate) parent: Option<Uri>,
}

/// What a `models:` URI names.
enum Named {
    Logged(String),
    Version(ModelName, u64),
    Latest(ModelName),
    Stage(ModelName, Stage),
    Alias(ModelName, Alias),
}

pub(crate) async fn origin(connection: &mut Connection, new: &SourcedVersion) -> Result<Origin, RegistryError> {
    let source = new.source.as_str();
    let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let (run, logged_model) = (given(new.run.as_deref()), given(new.logged_model.as_deref()));
    let prompt = new.tags.iter().rev().find(|(key, _)| key == PROMPT_TAG).map(|(_, value)| value.as_str());
    if says_prompt(prompt) {
        if !PROMPT_SOURCES.contains(&source) {
            return refuse(source, "the source of a prompt is a placeholder");
        }
        let (source, storage) = (source.to_owned(), source.to_owned());
        return Ok(Origin { source, storage, run, logged_model: None, parent: None });
    }
    if let Some(named) = named(source)? {
        if let Named::Logged(id) = named {
            return logged(connection, source, &id, run, logged_model).await;
        }
        return copied(connection, new, named).await;
    }
    let mut origin = Origin { source: source.to_owned(), storage: source.to_owned(), run, logged_model, parent: None };
    checked(connection, &mut origin).await?;
    Ok(origin)
}

fn refuse<T>(source: &str, reason: &str) -> Result<T, RegistryError> {
    Err(RegistryError::Source { place: source.to_owned(), reason: reason.to_owned() })
}

/// What a source of the scheme `models` names; none for another scheme.
fn named(source: &str) -> Result<Option<Named>, RegistryError> {
    let Some(rest) = source.strip_prefix("models:") else { return Ok(None) };
    let improper = || refuse(source, "use models:/NAME/VERSION, models:/NAME@ALIAS or models:/m-ID");
    let Some(path) = rest.strip_prefix('/').filter(|path| !path.starts_with('/')) else { return improper() };
    let name = |text: &str| ModelName::new(text);
    let named = match (path.split_once('/'), path.rsplit_once('@')) {
        (Some((_, suffix)), _) if suffix.is_empty() || suffix.contains('/') => return improper(),
        (Some((model, suffix)), _) if suffix.eq_ignore_ascii_case("latest") => Named::Latest(name(model)?),
        (Some((model, suffix)), _) => match (suffix.parse::<u64>(), suffix.parse::<Stage>()) {
            (Ok(version), _) => Named::Version(name(model)?, version),
            (_, Ok(stage)) => Named::Stage(name(model)?, stage),
            _ => return improper(),
        },
        (None, Some((model, alias))) => Named::Alias(name(model)?, Alias::new(alias)?),
        (None, None) if path.is_empty() => return improper(),
        (None, None) => Named::Logged(path.to_owned()),
    };
    Ok(Some(named))
}

/// A version of a logged model that the request names too.
async fn logged(
    connection: &mut Connection,
    source: &str,
    id: &str,
    run: Option<String>,
    logged_model: Option<String>,
) -> Result<Origin, RegistryError> {
    if logged_model.as_deref() != Some(id) {
        return refuse(source, "the model_id must be that of the logged model that the source names");
    }
    let Some(model) = logged_model_origin(connection, id).await? else {
        return refuse(source, "there is no such logged model");
    };
    let run = run.or(model.run);
    let parent = run_known(connection, run.as_deref()).await?.map(|(run, _)| Uri::Run { run, path: String::new() });
    Ok(Origin { source: source.to_owned(), storage: model.artifact_uri, run, logged_model, parent })
}

/// A version made of another one: what that came from, the new one comes from too.
async fn copied(connection: &mut Connection, new: &SourcedVersion, named: Named) -> Result<Origin, RegistryError> {
    let source = new.source.as_str();
    let (Named::Version(name, _) | Named::Latest(name) | Named::Stage(name, _) | Named::Alias(name, _)) = &named else {
        return refuse(source, "it names no version");
    };
    let model = model_id(connection, name).await?;
    if is_prompt(connection, model).await? {
        return refuse(source, "a version of a prompt cannot be the source of a model's");
    }
    let there = match &named {
        Named::Version(name, version) => version_get(connection, name, *version).await?,
        Named::Alias(name, alias) => by_alias(connection, name, alias).await?,
        Named::Stage(name, stage) => newest(version_latest(connection, name, &[*stage]).await?, source)?,
        _ => newest(version_latest(connection, name, &[]).await?, source)?,
    };
    let differs = |given: Option<&str>, has: Option<&str>| given.is_some_and(|given| given != has.unwrap_or_default());
    if differs(new.run.as_deref(), there.run.as_deref())
        || differs(new.logged_model.as_deref(), there.logged_model.as_deref())
    {
        return refuse(source, "run_id and model_id must be those of the version that the source names");
    }
    let parent = there.uri();
    let ModelVersion { storage, run, logged_model, .. } = there;
    Ok(Origin { source: parent.to_string(), storage, run, logged_model, parent: Some(parent) })
}

fn newest(mut versions: Vec<ModelVersion>, source: &str) -> Result<ModelVersion, RegistryError> {
    versions.pop().map_or_else(|| refuse(source, "the model has no such version"), Ok)
}

/// A run that is kept here, and where its artifacts are.
async fn run_known(connection: &mut Connection, run: Option<&str>) -> Result<Option<(RunId, String)>, RegistryError> {
    let Some(run) = run.and_then(|run| run.parse::<RunId>().ok()) else { return Ok(None) };
    Ok(run_artifact_uri(connection, run).await?.map(|root| (run, root)))
}

/// Sources that are places: what the server itself keeps, or could reach on its disk, must belong to the run or the
/// logged model that the request names.
async fn checked(connection: &mut Connection, origin: &mut Origin) -> Result<(), RegistryError> {
    let source = origin.source.clone();
    let owner = match &origin.logged_model {
        Some(id) => match logged_model_origin(connection, id).await? {
            Some(model) => {
                origin.run = origin.run.take().or(model.run);
                Some(model.artifact_uri)
            }
            None => return refuse(&source, "there is no such logged model"),
        },
        None => run_known(connection, origin.run.as_deref()).await?.map(|(_, root)| root),
    };
    let within = owner.as_deref().is_some_and(|root| is_within(&source, root));
    let place = Place::of(&source);
    if place.is_local() {
        if !within || traverses(&source) {
            let reason = "a local path must lie in the artifact folder of the run that run_id names";
            return refuse(&source, reason);
        }
    } else if traverses(&source) || !place.is_absolute() {
        return refuse(&source, "use an absolute path without `.` and `..`");
    }
    let run = run_known(connection, origin.run.as_deref()).await?;
    if place.scheme == "runs" {
        let mut parts = place.path.trim_start_matches('/').splitn(2, '/');
        let named = parts.next();
        if origin.logged_model.is_some() || !place.authority.is_empty() || named != origin.run.as_deref() {
            return refuse(&source, "the run_id must be that of the run that the source names");
        }
        let path = parts.next().unwrap_or_default().trim_end_matches('/').to_owned();
        origin.parent = run.map(|(run, _)| Uri::Run { run, path });
        return Ok(());
    }
    if place.is_served() && !within {
        return refuse(&source, "run_id or model_id must be that of the run or logged model that keeps it");
    }
    origin.parent = run.map(|(run, root)| {
        let path = source.strip_prefix(root.as_str()).unwrap_or_default().trim_matches('/').to_owned();
        Uri::Run { run, path }
    });
    Ok(())
}

/// A URI, taken apart as far as is needed here.
struct Place {
    /// In lower case; empty for a plain path.
    scheme: String,
    authority: String,
    path: String,
}

impl Place {
    fn of(uri: &str) -> Self {
        let scheme_like =
            |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(scheme_byte);
        let (scheme, rest) = match uri.split_once(':') {
            Some((scheme, rest)) if scheme_like(scheme) => (scheme.to_ascii_lowercase(), rest),
            _ => (String::new(), uri),
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        Self { scheme, authority: authority.to_ascii_lowercase(), path: path.to_owned() }
    }

    fn is_local(&self) -> bool {
        matches!(self.scheme.as_str(), "" | "file")
    }

    fn is_absolute(&self) -> bool {
        self.path.starts_with('/') && !self.path.trim_end_matches('/').is_empty()
    }

    fn parts(&self) -> Vec<String> {
        self.path.split('/').filter(|part| !part.is_empty()).map(decoded).collect()
    }

    /// Whether a server of artifacts answers for it.
    fn is_served(&self) -> bool {
        match self.scheme.as_str() {
            "mlflow-artifacts" => true,
            "http" | "https" => self.parts().windows(ROUTE.len()).any(|window| window == ROUTE),
            _ => false,
        }
    }
}

fn scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Without percent encoding, however often it was encoded: each turn shortens the text.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let next = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if next == text {
            return text;
        }
        text = next;
    }
}

/// Whether some reading of it climbs out of a folder, or ends early for a system call.
fn traverses(source: &str) -> bool {
    let plain = decoded(&source.replace('+', " "));
    plain.contains('\0') || plain.split(['/', '\\']).any(|part| matches!(part, "." | ".."))
}

/// Whether `source` is `root` or lies under it.
fn is_within(source: &str, root: &str) -> bool {
    let (source, root) = (Place::of(source), Place::of(root));
    let same = source.scheme == root.scheme || (source.is_local() && root.is_local());
    let (inner, outer) = (source.parts(), root.parts());
    same && source.authority == root.authority && !outer.is_empty() && inner.starts_with(&outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traversal_is_seen_through_every_encoding() {
        for bad in [
            "mlflow-artifacts:/0/r/artifacts/../x",
            "s3://b/%2e%2e/x",
            "s3://b/%252e%252e/x",
            "http://h/a/..%2f..%2fx",
            "file:///a/./b",
            "s3://b/a%00",
            "s3://b/a\\..\\c",
        ] {
            assert!(traverses(bad), "{bad}");
        }
        for good in ["s3://b/a..b/c", "s3://b/...", "runs:/x/model", "dbfs:/a b"] {
            assert!(!traverses(good), "{good}");
        }
    }

    #[test]
    fn a_root_holds_itself_and_what_is_under_it() {
        let root = "mlflow-artifacts:/0/abc/artifacts";
        for inside in [root, "mlflow-artifacts:/0/abc/artifacts/m", "MLFLOW-ARTIFACTS:/0//abc/artifacts/m/"] {
            assert!(is_within(inside, root), "{inside}");
        }
        for outside in [
            "mlflow-artifacts:/0/abc/artifacts2",
            "mlflow-artifacts:/0/abd/artifacts/m",
            "mlflow-artifacts://host/0/abc/artifacts",
            "s3:/0/abc/artifacts",
        ] {
            assert!(!is_within(outside, root), "{outside}");
        }
        assert!(is_within("/mlruns/0/r/artifacts/m", "file:///mlruns/0/r/artifacts"));
        assert!(!is_within("/anything", "file:///"));
    }

    #[test]
    fn a_models_uri_names_one_thing() {
        let is = |text: &str, right: fn(&Named) -> bool| {
            assert!(named(text).expect(text).as_ref().is_some_and(right), "{text}");
        };
        is("models:/m/3", |named| matches!(named, Named::Version(_, 3)));
        is("models:/m/latest", |named| matches!(named, Named::Latest(_)));
        is("models:/m/production", |named| matches!(named, Named::Stage(_, Stage::Production)));
        is("models:/m@champion", |named| matches!(named, Named::Alias(..)));
        is("models:/m-1234", |named| matches!(named, Named::Logged(_)));
        for bad in ["models:/", "models:m/1", "models://host/m/1", "models:/m/1/x", "models:/m/", "models:/m/x"] {
            assert!(named(bad).is_err(), "{bad}");
        }
        assert!(named("s3://b/models:/m/1").expect("another scheme").is_none());
    }
}
