use std::path::{Path, PathBuf};

use async_trait::async_trait;
use ropewalk_store::files::{self, EntryKind};
use ropewalk_store::{Blob, Writer};
use ropewalk_types::ExperimentId;
use serde_json::Value;

use super::database::Database;
use super::folder::Folder;
use super::web::Web;
use super::{TakeOverSource, unreadable};
use crate::ServerError;

/// A file of artifacts at its origin.
#[derive(Clone, Debug)]
pub(super) struct TheirFile {
    /// Its path under its run or model.
    pub(super) path: String,
    /// Where it is: a path of this machine, or one below the origin's own route.
    pub(super) place: PathBuf,
}

/// One page of records, and how to ask for the next.
pub(super) type Page = (Vec<Value>, Option<String>);

/// An MLflow to read from. Records are in the shape of its REST API.
#[async_trait]
pub(super) trait Origin: Send {
    /// All experiments, also those that were deleted.
    async fn experiments(&mut self) -> Result<Vec<Value>, ServerError>;
    /// Runs of an experiment, also those that were deleted.
    async fn runs(&mut self, experiment: ExperimentId, token: Option<String>) -> Result<Page, ServerError>;
    /// Points of a metric of a run.
    async fn points(&mut self, run: &Value, key: &str, token: Option<String>) -> Result<Page, ServerError>;
    /// Logged models of an experiment.
    async fn logged_models(&mut self, experiment: ExperimentId) -> Result<Vec<Value>, ServerError>;
    /// Traces of an experiment: `info`, `spans` as texts or `spans_file`, `runs` and `prompts` that they are linked to.
    async fn traces(&mut self, experiment: ExperimentId, token: Option<String>) -> Result<Page, ServerError>;
    /// Registered models, each with its `versions`.
    async fn registered_models(&mut self) -> Result<Vec<Value>, ServerError>;
    /// Whether the artifacts at a location can be read from here and so are taken over.
    fn reaches(&self, location: &str) -> bool;
    /// All files at a location, however deep.
    async fn files(&mut self, location: &str) -> Result<Vec<TheirFile>, ServerError>;
    /// What was asked for since the last call and was not there although it must be; each with why.
    fn left(&mut self) -> Vec<String> {
        Vec::new()
    }
    /// Adds the bytes of a file to `writer`; none if it is not there.
    async fn file(&mut self, file: &TheirFile, writer: &mut Writer) -> Result<Option<Blob>, ServerError>;
}

/// Opens what the source names.
pub(super) async fn open(source: &TakeOverSource) -> Result<Box<dyn Origin>, ServerError> {
    let from = source.from.as_str();
    if from.starts_with("http://") || from.starts_with("https://") {
        return Ok(Box::new(Web::new(from, source.credentials.as_deref())?));
    }
    let plain = from.strip_prefix("sqlite:///").or_else(|| from.strip_prefix("file://")).unwrap_or(from);
    if plain.contains("://") {
        return Err(ServerError::Unknown {
            what: format!("{} is no place that can be read", from.split("://").next().unwrap_or_default()),
            hint: "start `mlflow server` on it and give its http:// address".to_owned(),
        });
    }
    let path = std::path::absolute(Path::new(plain)).map_err(unreadable)?;
    match files::kind(&path)? {
        Some(EntryKind::Directory) => Ok(Box::new(Folder::open(path)?)),
        Some(_) => Ok(Box::new(Database::open(path, source.artifacts.clone()).await?)),
        None => Err(unreadable(format!("there is nothing at {}", path.display()))),
    }
}

/// The folder of this machine that a location names, if it does; a relative one is meant from `beside`.
pub(super) fn local(location: &str, beside: &Path) -> Option<PathBuf> {
    let path = match location.split_once(':') {
        None => location.to_owned(),
        Some(("file", rest)) => decoded(rest.strip_prefix("//").unwrap_or(rest)),
        Some(_) => return None,
    };
    (!path.is_empty()).then(|| beside.join(path))
}

/// The path below the route of artifacts that a location of a server names.
pub(super) fn proxied(location: &str) -> Option<String> {
    if let Some(rest) = location.strip_prefix("mlflow-artifacts:") {
        let path = match rest.strip_prefix("//") {
            Some(with_host) => with_host.split_once('/').map_or("", |(_, path)| path),
            None => rest,
        };
        return Some(path.trim_matches('/').to_owned());
    }
    let (server, path) = location.split_once("/api/2.0/mlflow-artifacts/artifacts/")?;
    server.starts_with("http").then(|| path.trim_matches('/').to_owned())
}

/// `%20` and the like as what they stand for; a URL of a file has its path so.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// All files below a folder of this machine; none where there is no such folder. Links are not followed.
pub(super) fn files_below(folder: &Path) -> Result<Vec<TheirFile>, ServerError> {
    let (mut found, mut waiting) = (Vec::new(), vec![(folder.to_owned(), String::new())]);
    while let Some((folder, prefix)) = waiting.pop() {
        if files::kind(&folder)? != Some(EntryKind::Directory) {
            continue;
        }
        for entry in files::list(&folder)? {
            let path = format!("{prefix}{}", entry.name);
            match entry.kind {
                EntryKind::Directory => waiting.push((entry.path, format!("{path}/"))),
                EntryKind::File => found.push(TheirFile { path, place: entry.path }),
                EntryKind::Symlink | EntryKind::Other => {}
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_lead_to_folders_or_to_the_route() {
        let beside = Path::new("/data");
        for (location, expected) in [
            ("file:///a/b%20c", Some("/a/b c")),
            ("/a/b", Some("/a/b")),
            ("./mlruns/1", Some("/data/./mlruns/1")),
            ("file:/a", Some("/a")),
            ("s3://bucket/a", None),
            ("", None),
        ] {
            assert_eq!(local(location, beside).as_deref(), expected.map(Path::new), "{location}");
        }
        for (location, expected) in [
            ("mlflow-artifacts:/1/x/artifacts", Some("1/x/artifacts")),
            ("mlflow-artifacts://host:5000/1/x", Some("1/x")),
            ("http://h:5000/api/2.0/mlflow-artifacts/artifacts/1/x", Some("1/x")),
            ("s3://bucket/a", None),
        ] {
            assert_eq!(proxied(location).as_deref(), expected, "{location}");
        }
    }
}
