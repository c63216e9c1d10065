//! The remotes of DVC that lie in object stores, and those that cannot be read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::TryStreamExt as _;
use ropewalk_store::{ForeignObjects, StoreError};

use super::super::digests::{Md5Rule, md5_of};
use super::super::plan::{DamagedObject, RemoteObject};
use super::MAX_LIST;
use super::storage::names;
use crate::error::{VersionsError, blocking};

/// Settings of DVC for S3, and the environment variables of the same meaning.
const AMAZON: [(&str, &str); 8] = [
    ("endpointurl", "AWS_ENDPOINT_URL"),
    ("region", "AWS_REGION"),
    ("profile", "AWS_PROFILE"),
    ("credentialpath", "AWS_SHARED_CREDENTIALS_FILE"),
    ("configpath", "AWS_CONFIG_FILE"),
    ("access_key_id", "AWS_ACCESS_KEY_ID"),
    ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("session_token", "AWS_SESSION_TOKEN"),
];
const GOOGLE: [(&str, &str); 2] =
    [("credentialpath", "GOOGLE_APPLICATION_CREDENTIALS"), ("endpointurl", "GOOGLE_BASE_URL")];
const AZURE: [(&str, &str); 7] = [
    ("connection_string", "AZURE_STORAGE_CONNECTION_STRING"),
    ("account_name", "AZURE_STORAGE_ACCOUNT_NAME"),
    ("account_key", "AZURE_STORAGE_ACCOUNT_KEY"),
    ("sas_token", "AZURE_STORAGE_SAS_TOKEN"),
    ("tenant_id", "AZURE_STORAGE_TENANT_ID"),
    ("client_id", "AZURE_STORAGE_CLIENT_ID"),
    ("client_secret", "AZURE_STORAGE_CLIENT_SECRET"),
];
/// The parts of a credential belong together and must not be mixed from two places.
const AMAZON_KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
const UNSIGNED: &str = "allow_anonymous_login";

/// A remote as the settings of DVC have it.
#[derive(Clone, PartialEq, Eq)]
pub struct DvcRemote {
    pub(super) name: String,
    /// As DVC writes it; a path on this machine is absolute.
    pub(super) url: String,
    /// All but the URL; there may be secrets in it.
    pub(super) settings: BTreeMap<String, String>,
}

impl fmt::Debug for DvcRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.settings.keys().collect();
        f.debug_struct("DvcRemote").field("name", &self.name).field("url", &self.shown()).field("keys", &keys).finish()
    }
}

/// Where the objects of a remote are.
pub(super) enum Place {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// In an object store that our stores can be in, too.
    Objects,
    /// Somewhere that is not read; the text says why.
    Elsewhere(&'static str),
}

impl DvcRemote {
    /// How a store at the same place is called.
    pub fn store_url(&self) -> String {
        match self.url.strip_prefix("azure://") {
            Some(rest) => format!("az://{rest}"),
            None => self.url.clone(),
        }
    }

    /// The settings of this remote as environment variables, over those of `environment`.
    ///
    /// Where the remote says who it is that reads, the keys of `environment` do not count.
    pub fn environment(&self, mut environment: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let has = |key: &str| self.settings.contains_key(key);
        let on = |key: &str| self.settings.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let names: &[(&str, &str)] = match self.url.split_once("://").map(|(scheme, _)| scheme) {
            Some("s3") => {
                if has("profile") || has("access_key_id") || on(UNSIGNED) {
                    environment.retain(|name, _| !AMAZON_KEYS.contains(&name.as_str()));
                }
                if has("endpointurl") {
                    environment.retain(|name, _| !name.starts_with("AWS_ENDPOINT"));
                }
                if on(UNSIGNED) {
                    environment.insert("AWS_SKIP_SIGNATURE".to_owned(), "true".to_owned());
                }
                &AMAZON
            }
            Some("gs") => &GOOGLE,
            Some("azure") => {
                if ["connection_string", "account_key", "sas_token", "client_secret"].into_iter().any(has) {
                    environment.retain(|name, _| !name.starts_with("AZURE_"));
                }
                if on(UNSIGNED) {
                    environment.insert("AZURE_SKIP_SIGNATURE".to_owned(), "true".to_owned());
                }
                &AZURE
            }
            _ => &[],
        };
        let set = |(key, name): &(&str, &str)| Some(((*name).to_owned(), self.settings.get(*key)?.clone()));
        environment.extend(names.iter().filter_map(set));
        environment
    }

    pub(super) fn place(&self) -> Place {
        let on = |key: &str| self.settings.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        match self.url.split_once("://") {
            None if self.url.is_empty() => Place::Elsewhere("it has no `url`"),
            None => Place::Folder(PathBuf::from(&self.url)),
            Some(("file", path)) => Place::Folder(PathBuf::from(path)),
            Some(("s3" | "gs" | "azure", _)) if on("version_aware") || on("worktree") => {
                Place::Elsewhere("it keeps files by name (`version_aware`), not by digest")
            }
            Some(("s3" | "gs" | "azure", _)) => Place::Objects,
            Some(_) => Place::Elsewhere("remotes of this kind are not read"),
        }
    }

    /// The remote for people, without what may be secret in its URL: a user, a password, a query.
    ///
    /// With a `:` before the path, all up to the last `@` is left out: nothing tells a port from the beginning of a
    /// password that has a `/` or a `?` in it.
    pub(super) fn shown(&self) -> String {
        let url = match self.url.split_once("://") {
            Some((scheme, rest)) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let searched = if rest[..end].contains(':') { rest } else { &rest[..end] };
                let place = searched.rfind('@').map_or(rest, |at| &rest[at + 1..]);
                let place = place.split(['?', '#']).next().unwrap_or_default();
                format!("{scheme}://{place}")
            }
            None => self.url.clone(),
        };
        format!("`{}` ({url})", self.name)
    }
}

/// Opens the object store of a remote.
pub type DvcOpener = Arc<dyn Fn(&DvcRemote) -> Result<ForeignObjects, StoreError> + Send + Sync>;

/// What DVC looks at on a machine beside the project.
#[derive(Clone)]
pub struct DvcSurroundings {
    /// The files of settings for all projects, those that count more behind those that count less.
    pub settings: Vec<PathBuf>,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
    /// Opens the object stores of remotes.
    pub open: DvcOpener,
}

impl fmt::Debug for DvcSurroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("DvcSurroundings");
        shown.field("settings", &self.settings).field("home", &self.home).finish_non_exhaustive()
    }
}

/// The remotes that are no folders of this machine.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    open: Vec<Remote>,
    /// What is wrong with others, for people.
    unread: Vec<String>,
}

#[derive(Debug)]
struct Remote {
    shown: String,
    objects: Arc<ForeignObjects>,
    /// What was wrong with it first.
    problem: Mutex<Option<String>>,
    /// Set when asking again would be of no use.
    gone: AtomicBool,
}

impl Remotes {
    pub(super) fn add(&mut self, remote: &DvcRemote, open: &DvcOpener) {
        let shown = remote.shown();
        match open(remote) {
            Ok(objects) => {
                let (objects, problem, gone) = (Arc::new(objects), Mutex::default(), AtomicBool::new(false));
                self.open.push(Remote { shown, objects, problem, gone });
            }
            Err(error) => self.unread.push(format!("the remote {shown} cannot be opened: {error}")),
        }
    }

    pub(super) fn add_unread(&mut self, remote: &DvcRemote, reason: &str) {
        self.unread.push(format!("the remote {} is not looked into: {reason}", remote.shown()));
    }

    pub(super) fn are_none(&self) -> bool {
        self.open.is_empty()
    }

    /// The first place where an object of this MD5 is; its bytes are not looked at.
    pub(super) async fn find(&self, md5: &str, rule: Md5Rule) -> Option<RemoteObject> {
        for (at, remote) in self.open.iter().enumerate() {
            for name in names(md5, rule) {
                if let Some(size) = remote.size(&name).await {
                    let others = self.open.iter().skip(at + 1).map(|other| Arc::clone(&other.objects)).collect();
                    return Some(RemoteObject { objects: Arc::clone(&remote.objects), name, size, rule, others });
                }
            }
        }
        None
    }

    /// The list of the files of a folder, `HASH.dir`, wherever its bytes are right; where they are not, `damaged` gets it.
    pub(super) async fn list(
        &self,
        md5: &str,
        hash: &str,
        damaged: &mut Vec<DamagedObject>,
    ) -> Result<Option<Bytes>, VersionsError> {
        for remote in &self.open {
            for name in names(md5, Md5Rule::Plain) {
                let Some(size) = remote.size(&name).await.filter(|size| *size <= MAX_LIST) else { continue };
                let read: Result<Vec<Bytes>, _> = remote.objects.read(&name, size).try_collect().await;
                match read {
                    Ok(pieces) => {
                        let hashed = blocking(move || {
                            let bytes = Bytes::from(pieces.concat());
                            Ok((md5_of(&bytes), bytes))
                        });
                        let (found, bytes) = hashed.await?;
                        if found == hash {
                            return Ok(Some(bytes));
                        }
                        let url = remote.objects.url_of(&name);
                        remote.note(format!("`{url}` is damaged"));
                        damaged.push(DamagedObject::of_md5(md5, url, hash, Ok(found.as_str())));
                    }
                    Err(error) => remote.failed(&error),
                }
            }
        }
        Ok(None)
    }

    /// What keeps the remotes from being of use, for people.
    pub(super) fn problems(&self) -> Vec<String> {
        let told = |remote: &Remote| {
            let problem = remote.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
            Some(format!("the remote {} gave no answer that is of use: {problem}", remote.shown))
        };
        self.unread.iter().cloned().chain(self.open.iter().filter_map(told)).collect()
    }
}

impl RemoteObject {
    /// The object of the same MD5 by the other layout of DVC, or in the next remote that has one; its bytes are not looked
    /// at.
    pub(in super::super) async fn elsewhere(&self, md5: &str) -> Option<Self> {
        let [first, second] = names(md5, self.rule);
        // One that cannot be asked is of no use, here and below.
        if self.name == first
            && let Ok(Some(size)) = self.objects.size(&second).await
        {
            return Some(Self { name: second, size, ..self.clone() });
        }
        for (at, objects) in self.others.iter().enumerate() {
            for name in names(md5, self.rule) {
                if let Ok(Some(size)) = objects.size(&name).await {
                    let others = self.others.iter().skip(at + 1).cloned().collect();
                    return Some(Self { objects: Arc::clone(objects), name, size, rule: self.rule, others });
                }
            }
        }
        None
    }
}

impl Remote {
    /// The size of an object; none if it is not there, or nobody can say.
    async fn size(&self, name: &str) -> Option<u64> {
        if self.gone.load(Ordering::Relaxed) {
            return None;
        }
        match self.objects.size(name).await {
            Ok(size) => size,
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    fn failed(&self, error: &StoreError) {
        // Who may not list a bucket is refused what is not there, and given what is.
        if !error.is_refusal() {
            self.gone.store(true, Ordering::Relaxed);
        }
        self.note(error.to_string());
    }

    fn note(&self, problem: String) {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str, settings: &[(&str, &str)]) -> DvcRemote {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        DvcRemote { name: "r".to_owned(), url: url.to_owned(), settings }
    }

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn settings_of_a_remote_go_before_the_environment() {
        let outside = environment(&[
            ("AWS_ACCESS_KEY_ID", "theirs"),
            ("AWS_SESSION_TOKEN", "theirs"),
            ("AWS_ENDPOINT_URL_S3", "http://theirs"),
            ("AWS_REGION", "mars"),
        ]);
        assert_eq!(remote("s3://b", &[]).environment(outside.clone()), outside);
        let found = remote("s3://b", &[("endpointurl", "http://h"), ("profile", "lab"), ("region", "moon")]);
        let expected = environment(&[("AWS_ENDPOINT_URL", "http://h"), ("AWS_PROFILE", "lab"), ("AWS_REGION", "moon")]);
        assert_eq!(found.environment(outside.clone()), expected);
        let found =
            remote("s3://b", &[("access_key_id", "a"), ("secret_access_key", "b")]).environment(outside.clone());
        assert_eq!((found.get("AWS_ACCESS_KEY_ID"), found.get("AWS_SESSION_TOKEN")), (Some(&"a".to_owned()), None));
        let found = remote("s3://b", &[("allow_anonymous_login", "True")]).environment(outside);
        assert_eq!(found.get("AWS_SKIP_SIGNATURE").map(String::as_str), Some("true"));

        let outside = environment(&[("AZURE_STORAGE_ACCOUNT", "theirs"), ("GOOGLE_BASE_URL", "http://g")]);
        let azure = remote("azure://c/x", &[("account_name", "n"), ("account_key", "k")]);
        let expected = [("AZURE_STORAGE_ACCOUNT_KEY", "k"), ("AZURE_STORAGE_ACCOUNT_NAME", "n")];
        let expected = [expected.as_slice(), &[("GOOGLE_BASE_URL", "http://g")]].concat();
        assert_eq!(azure.environment(outside.clone()), environment(&expected));
        assert_eq!(azure.store_url(), "az://c/x");
        let google = remote("gs://b", &[("credentialpath", "/key.json")]).environment(outside);
        assert_eq!(google.get("GOOGLE_APPLICATION_CREDENTIALS").map(String::as_str), Some("/key.json"));
    }

    #[test]
    fn secrets_are_not_shown() {
        for (url, shown) in [
            ("ssh://me:hush@host:22/x", "ssh://host:22/x"),
            ("ssh://hush@host/x@y", "ssh://host/x@y"),
            ("ssh://me:hush@host:22/x@y", "ssh://y"),
            ("ssh://me:p/hush@host", "ssh://host"),
            ("ssh://me:p?hush#1@host/x", "ssh://host/x"),
            ("https://dav/x?token=hush", "https://dav/x"),
            ("https://dav?token=hush", "https://dav"),
            ("https://dav/x#hush@y", "https://dav/x"),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("/a:b@c?d", "/a:b@c?d"),
        ] {
            let remote = remote(url, &[("password", "hush")]);
            assert_eq!(remote.shown(), format!("`r` ({shown})"));
            assert!(!format!("{remote:?}").contains("hush"), "{remote:?}");
        }
    }

    #[test]
    fn what_is_not_read_is_told_from_folders_and_object_stores() {
        let place = |url: &str, settings: &[(&str, &str)]| match remote(url, settings).place() {
            Place::Folder(path) => path.display().to_string(),
            Place::Objects => "objects".to_owned(),
            Place::Elsewhere(reason) => reason.to_owned(),
        };
        assert_eq!((place("/a", &[]), place("file:///b", &[])), ("/a".to_owned(), "/b".to_owned()));
        assert_eq!(["s3://b", "gs://b/x", "azure://c"].map(|url| place(url, &[])), ["objects"; 3]);
        assert!(place("s3://b", &[("version_aware", "true")]).contains("by name"));
        for url in ["ssh://h/x", "gdrive://x", "https://h/x", "remote://none/x"] {
            assert!(place(url, &[]).contains("not read"), "{url}");
        }
        assert!(place("", &[]).contains("`url`"));
    }
}
