use futures::{StreamExt as _, TryStreamExt as _, stream};
use globset::{GlobBuilder, GlobMatcher};
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use ropewalk_store::{BackendOptions, object_store_at};
use std::sync::Arc;

use crate::http::{Failure, Pauses, chain};
use crate::{ConnectorError, redacted, source_key};

use super::name::relative_path;
use super::partial::{Ended, Partial, Validator, append, blocking};
use super::{Fetch, Fetched, FetchedFile};

/// A place in an object store, and which objects below it.
struct Place {
    store: Arc<dyn ObjectStore>,
    /// What the names of files are relative to.
    base: ObjectPath,
    /// The URL of `base`.
    url: String,
    wanted: Wanted,
}

enum Wanted {
    One(String),
    All,
    Matching(GlobMatcher),
}

/// An object to fetch.
struct Object {
    name: String,
    meta: ObjectMeta,
}

pub(super) async fn objects_fetch(fetch: Fetch<'_>) -> Result<Vec<Fetched>, ConnectorError> {
    let place = Place::of(fetch)?;
    let objects = place.list(fetch).await?;
    if objects.is_empty() {
        return Err(ConnectorError::NothingFound { url: redacted(&fetch.request.url) });
    }
    let bytes = objects.iter().map(|object| object.meta.size).sum();
    fetch.progress.planned(objects.len(), Some(bytes));
    if bytes > fetch.limits.total_bytes {
        let what = format!("`{}`", redacted(&fetch.request.url));
        return Err(ConnectorError::TooLarge { what, limit: fetch.limits.total_bytes, unit: "bytes" });
    }
    let transfers = objects.into_iter().map(|object| place.fetch(fetch, object));
    // In order: the objects are sorted by name.
    stream::iter(transfers).buffered(fetch.limits.parallelism.get()).try_collect().await
}

impl Place {
    fn of(fetch: Fetch<'_>) -> Result<Self, ConnectorError> {
        let url = &fetch.request.url;
        let (base, pattern) = split(url);
        let (store, path) = object_store_at(base, &BackendOptions::new(fetch.options.all()))?;
        let wanted = match pattern {
            "" => Wanted::All,
            _ if !is_glob(pattern) => Wanted::One(pattern.to_owned()),
            _ => {
                let glob = GlobBuilder::new(pattern).literal_separator(true).build();
                Wanted::Matching(glob.map_err(|error| wrong(url, &error.to_string()))?.compile_matcher())
            }
        };
        Ok(Self { store, base: path, url: base.trim_end_matches('/').to_owned(), wanted })
    }

    async fn list(&self, fetch: Fetch<'_>) -> Result<Vec<Object>, ConnectorError> {
        if let Wanted::One(name) = &self.wanted {
            let path = self.base.parts().chain(ObjectPath::from(name.as_str()).parts().collect::<Vec<_>>()).collect();
            let meta = self.store.head(&path).await.map_err(|error| self.failed("find", &path, &error))?;
            return Ok(vec![object(name, meta, fetch)?]);
        }
        let mut found = Vec::new();
        let mut listed = self.store.list(Some(&self.base));
        while let Some(meta) = listed.try_next().await.map_err(|error| self.failed("list", &self.base, &error))? {
            let name = self.relative(&meta.location);
            // Objects whose name ends with `/` stand for directories in some consoles.
            if name.is_empty() || !self.wants(&name) {
                continue;
            }
            if found.len() == fetch.limits.files {
                let what = format!("`{}`", redacted(&fetch.request.url));
                return Err(ConnectorError::TooLarge { what, limit: fetch.limits.files as u64, unit: "files" });
            }
            found.push(object(&name, meta, fetch)?);
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    fn relative(&self, path: &ObjectPath) -> String {
        let parts = path.prefix_match(&self.base).map(|parts| parts.map(|part| part.as_ref().to_owned()).collect());
        parts.map(|parts: Vec<_>| parts.join("/")).unwrap_or_default()
    }

    fn wants(&self, name: &str) -> bool {
        match &self.wanted {
            Wanted::One(one) => one == name,
            Wanted::All => true,
            Wanted::Matching(glob) => glob.is_match(name),
        }
    }

    fn failed(&self, action: &'static str, path: &ObjectPath, error: &object_store::Error) -> ConnectorError {
        ConnectorError::Object { action, url: format!("{}: {path}", redacted(&self.url)), reason: chain(error) }
    }

    async fn fetch(&self, fetch: Fetch<'_>, object: Object) -> Result<Fetched, ConnectorError> {
        let Object { name, meta } = object;
        let known = fetch.request.known.get(&name).map(String::as_str);
        if let Some(etag) = meta.e_tag.as_ref().filter(|etag| is_tag(known, etag)) {
            return Ok(Fetched::Unchanged { name, etag: etag.clone() });
        }
        let location = redacted(&format!("{}/{name}", self.url));
        let (directory, its_name, its_location) = (fetch.directory.to_owned(), name.clone(), location.clone());
        let (etag, size) = (meta.e_tag.clone(), meta.size);
        let mut partial = blocking(move || {
            let mut partial = Partial::open(&directory, &its_name, &its_location, &source_key(&its_location))?;
            let here = partial.validator().etag.as_deref();
            let same = etag.is_some_and(|etag| is_tag(here, &etag)) && partial.received() == size;
            if partial.is_finished() && !same {
                partial.clear()?;
            }
            Ok(partial)
        })
        .await?;
        let mut pauses = Pauses::new(fetch.limits.attempts, fetch.limits.retry_pause, fetch.ambient, fetch.options);
        fetch.progress.resumed(&name, partial.received());
        // The list of objects has just said that what is in its place is their version.
        while !partial.is_finished() {
            let here = partial.received();
            let (kept, failure) = self.transfer(fetch, &name, &meta.location, partial).await?;
            partial = kept;
            let Some(failure) = failure else { break };
            if partial.received() > here {
                pauses.progress();
            }
            pauses.wait(failure).await?;
        }
        let (path, size, digest, validator) = blocking(move || partial.finish()).await?;
        fetch.progress.finished(&name);
        let provenance = fetch.provenance(location, digest, &validator);
        let (etag, last_modified) = (validator.etag, validator.last_modified);
        Ok(Fetched::File(Box::new(FetchedFile { name, path, size, etag, last_modified, digest, provenance })))
    }

    /// One request for what is missing; how it failed, if it did.
    async fn transfer(
        &self,
        fetch: Fetch<'_>,
        name: &str,
        path: &ObjectPath,
        mut partial: Partial,
    ) -> Result<(Partial, Option<Failure>), ConnectorError> {
        let again =
            |reason: String| Failure::Again { reason, after: None, url: redacted(&format!("{}/{name}", self.url)) };
        let etag = partial.validator().strong().map(str::to_owned);
        let complete = partial.received() > 0 && partial.validator().size == Some(partial.received());
        let options = match &etag {
            // What is asked for once more is the last byte, to hear that the version is still the same.
            Some(etag) if partial.received() > 0 => GetOptions {
                if_match: Some(etag.clone()),
                range: Some(GetRange::Offset(partial.received() - u64::from(complete))),
                ..GetOptions::default()
            },
            _ => GetOptions::default(),
        };
        let asked = self.store.get_opts(path, options.clone()).await;
        let result = match asked {
            Ok(result) => result,
            Err(object_store::Error::Precondition { .. }) => {
                fetch.progress.restarted(name);
                let partial = blocking(move || partial.clear().map(|()| partial)).await?;
                return Ok((partial, Some(again("the object changed while it was received".to_owned()))));
            }
            Err(error @ (object_store::Error::Generic { .. } | object_store::Error::JoinError { .. })) => {
                return Ok((partial, Some(again(chain(&error)))));
            }
            Err(error) => return Err(self.failed("read", path, &error)),
        };
        if complete && options.range.is_some() {
            return Ok((partial, None));
        }
        fetch.check_size(name, result.meta.size)?;
        if options.range.is_none() {
            let validator = validator(&result.meta);
            partial = blocking(move || partial.begin(validator).map(|()| partial)).await?;
        }
        let received = |bytes| fetch.progress.received(name, bytes);
        let (partial, ended) = append(partial, result.into_stream(), fetch.limits.file_bytes, &received).await?;
        let failure = match ended {
            Ended::Torn(error) => Some(again(chain(&error))),
            Ended::TooLarge => {
                fetch.check_size(name, u64::MAX)?;
                None
            }
            Ended::Whole => match partial.validator().size {
                Some(size) if size != partial.received() => {
                    Some(again(format!("{} of {size} bytes came", partial.received())))
                }
                _ => None,
            },
        };
        Ok((partial, failure))
    }
}

fn object(name: &str, meta: ObjectMeta, fetch: Fetch<'_>) -> Result<Object, ConnectorError> {
    let safe = relative_path(name)
        .ok_or_else(|| wrong(&fetch.request.url, &format!("the object `{name}` has no name that a file can have")))?;
    fetch.check_size(&safe, meta.size)?;
    Ok(Object { name: safe, meta })
}

/// Whether both are the same entity tag: Azure's lists have them without the quotes that its answers have.
fn is_tag(known: Option<&str>, etag: &str) -> bool {
    known.is_some_and(|known| known.trim_matches('"') == etag.trim_matches('"'))
}

fn validator(meta: &ObjectMeta) -> Validator {
    Validator {
        etag: meta.e_tag.clone(),
        last_modified: Some(meta.last_modified.to_rfc3339()),
        last_modified_is_strong: false,
        size: Some(meta.size),
    }
}

fn wrong(url: &str, reason: &str) -> ConnectorError {
    ConnectorError::url(url, reason)
}

/// A URL's fixed directory, and the rest, which may be a glob.
fn split(url: &str) -> (&str, &str) {
    let start = url.find("://").map_or(0, |at| at + 3);
    let path = url.get(start..).unwrap_or_default();
    let fixed = path.find(['*', '?', '[', '{']).unwrap_or(path.len());
    match path.get(..fixed).and_then(|fixed| fixed.rfind('/')) {
        Some(slash) => url.split_at_checked(start + slash + 1).unwrap_or((url, "")),
        None => (url, ""),
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_with_and_without_quotes_are_the_same() {
        assert!(is_tag(Some("\"0x8D\""), "0x8D") && is_tag(Some("\"a\""), "\"a\""));
        assert!(!is_tag(None, "a") && !is_tag(Some("\"a\""), "\"b\""));
    }

    #[test]
    fn the_fixed_part_ends_before_the_glob() {
        for (url, base, pattern) in [
            ("s3://bucket/a/b*.csv", "s3://bucket/a/", "b*.csv"),
            ("s3://bucket/a/x.csv", "s3://bucket/a/", "x.csv"),
            ("s3://bucket/a/", "s3://bucket/a/", ""),
            ("gs://bucket", "gs://bucket", ""),
            ("az://c/**/x/{a,b}.csv", "az://c/", "**/x/{a,b}.csv"),
        ] {
            assert_eq!(split(url), (base, pattern), "{url}");
        }
    }
}
