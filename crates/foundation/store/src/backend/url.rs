//! URLs of object stores, taken apart.

use std::path::{Path, PathBuf};

use object_store::path::Path as ObjectPath;

use crate::error::StoreError;

/// What [`Address::parse`] knows, for people.
const BUILT_IN: &str = "`file:PATH`, `memory:`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` and `az://CONTAINER/PREFIX`";

/// Where objects are, by kind of back-end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    Directory(PathBuf),
    Memory,
    S3(Place),
    GoogleCloud(Place),
    Azure(Place),
}

/// A bucket or container, and the path in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: String,
    pub(super) path: ObjectPath,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        if has_credentials(url) {
            return Err(StoreError::CredentialsInUrl { url: without_credentials(url) });
        }
        match url.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::Directory(local_path(path))),
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("s3", rest)) => Ok(Self::S3(Place::parse(url, rest)?)),
            Some(("gs", rest)) => Ok(Self::GoogleCloud(Place::parse(url, rest)?)),
            Some(("az", rest)) => Ok(Self::Azure(Place::parse(url, rest)?)),
            _ => Err(StoreError::UnknownScheme { url: url.to_owned(), built_in: BUILT_IN.to_owned() }),
        }
    }
}

impl Place {
    /// `rest` is what follows the scheme and its colon.
    fn parse(url: &str, rest: &str) -> Result<Self, StoreError> {
        let refused = |reason: &str| StoreError::BadUrl { url: url.to_owned(), reason: reason.to_owned() };
        let rest = rest.strip_prefix("//").ok_or_else(|| refused("`//` must follow the colon"))?;
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if bucket.is_empty() || !bucket.bytes().all(letter) {
            return Err(refused("a bucket is named by letters, digits, `.`, `-` and `_`"));
        }
        if path.contains(['?', '#']) {
            return Err(refused("settings are given by their environment variables, not behind `?` or `#`"));
        }
        let path = ObjectPath::parse(path.trim_end_matches('/')).map_err(|error| refused(&error.to_string()))?;
        Ok(Self { bucket: bucket.to_owned(), path })
    }
}

/// `file:a/b` is relative, `file:/a/b` and `file:///a/b` (RFC 8089) are the same.
fn local_path(path: &str) -> PathBuf {
    let path = match path.strip_prefix("//") {
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    };
    Path::new(path).to_owned()
}

/// The part between `//` and the next slash (RFC 3986, section 3.2) is where users and passwords are.
fn authority(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some((scheme, &rest[..end], &rest[end..]))
}

fn has_credentials(url: &str) -> bool {
    authority(url).is_some_and(|(_, authority, _)| authority.contains('@'))
}

fn without_credentials(url: &str) -> String {
    match authority(url) {
        Some((scheme, authority, rest)) => {
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://…@{host}{rest}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Diagnose as _;

    use super::*;

    #[test]
    fn unknown_schemes_say_what_is_built_in() {
        for url in ["ftp://bucket/x", "store", "", "file:", "memory:x", "S3://bucket"] {
            let error = Address::parse(url).unwrap_err();
            assert!(error.to_string().contains("`file:PATH`, `memory:`, `s3://BUCKET/PREFIX`"), "{error}");
            assert_eq!(error.code(), "store.unknown_scheme");
        }
    }

    #[test]
    fn spellings_of_paths() {
        assert_eq!(local_path("a/b"), Path::new("a/b"));
        assert_eq!(local_path("/a/b"), Path::new("/a/b"));
        assert_eq!(local_path("///a/b"), Path::new("/a/b"));
    }

    #[test]
    fn buckets_and_prefixes() {
        let place = |bucket: &str, path: &str| Place { bucket: bucket.to_owned(), path: ObjectPath::from(path) };
        assert_eq!(Address::parse("s3://rope").unwrap(), Address::S3(place("rope", "")));
        assert_eq!(Address::parse("s3://rope/").unwrap(), Address::S3(place("rope", "")));
        assert_eq!(Address::parse("gs://rope.walk/a/b/").unwrap(), Address::GoogleCloud(place("rope.walk", "a/b")));
        assert_eq!(Address::parse("az://rope/a").unwrap(), Address::Azure(place("rope", "a")));
        for bad in
            ["s3:rope", "s3://", "s3:///a", "s3://ro pe/a", "s3://rope/a//b", "s3://rope/../b", "s3://rope/a?x=y"]
        {
            assert_eq!(Address::parse(bad).unwrap_err().code(), "store.bad_url", "{bad}");
        }
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        for url in ["s3://me:hush@rope/a", "ftp://me:hush@rope", "s3://a@b:hush@rope/a@c", "https://hush@x/y?z"] {
            let error = Address::parse(url).unwrap_err();
            assert_eq!(error.code(), "store.credentials_in_url");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        assert!(Address::parse("s3://rope/a@b").is_ok());
    }
}
