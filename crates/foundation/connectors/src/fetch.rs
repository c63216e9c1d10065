//! Files from web servers and object stores, whole or not at all.

mod name;
mod objects;
mod partial;
mod web;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use ropewalk_types::{Ambient, Digest};

use crate::{ConnectionOptions, ConnectorError, Header, Provenance, redacted, source_key};

const KNOWN: &str = "`https://`, `http://`, `s3://`, `gs://` and `az://`";

/// Which files to fetch.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FetchRequest {
    /// A web URL; or `s3://BUCKET/…`, `gs://BUCKET/…`, `az://CONTAINER/…` of an object, of all objects below a prefix
    /// that ends with `/`, or of those that a glob (`*`, `**`, `?`, `[…]`, `{a,b}`) matches.
    pub url: String,
    /// The URL as it is written, where values of the environment are part of `url`: a value that changes from hour to
    /// hour must not make another source of it. What an import that was cut off has received is found by it; by `url`
    /// where it is not given.
    pub known_as: Option<String>,
    /// Sent with web requests, to the URL's own host only.
    pub headers: Vec<Header>,
    /// ETags of files that the caller has already, by name.
    pub known: BTreeMap<String, String>,
}

impl FetchRequest {
    /// All files of `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// What stands for its files on disk.
    #[must_use]
    pub fn key(&self) -> Digest {
        source_key(self.known_as.as_ref().unwrap_or(&self.url))
    }
}

/// How much may be fetched, and how hard to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// How many files.
    pub files: usize,
    /// How often a web server may send us elsewhere.
    pub redirects: usize,
    /// How often in a row a request may fail without one byte coming in.
    pub attempts: u32,
    /// About how long the first pause after a failure is; later ones double.
    pub retry_pause: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a server may be silent.
    pub read_timeout: Duration,
    /// How many objects are fetched at once.
    pub parallelism: NonZeroUsize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            file_bytes: 1 << 40,
            total_bytes: 1 << 42,
            files: 100_000,
            redirects: 10,
            attempts: 6,
            retry_pause: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_mins(1),
            parallelism: const { NonZeroUsize::new(8).unwrap() },
        }
    }
}

/// Hears how far a fetch has come. Calls come from several transfers, in no fixed order.
pub trait FetchProgress: Send + Sync {
    /// So many files will come, of so many bytes where the source says.
    fn planned(&self, files: usize, bytes: Option<u64>);
    /// So many bytes of a file are here from an earlier attempt; heard once of each file, before others come in.
    fn resumed(&self, name: &str, bytes: u64);
    /// More bytes of a file came in.
    fn received(&self, name: &str, bytes: u64);
    /// What was received of a file is void: the source has changed.
    fn restarted(&self, name: &str);
    /// A file is in its place.
    fn finished(&self, name: &str);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl FetchProgress for NoProgress {
    fn planned(&self, _: usize, _: Option<u64>) {}
    fn resumed(&self, _: &str, _: u64) {}
    fn received(&self, _: &str, _: u64) {}
    fn restarted(&self, _: &str) {}
    fn finished(&self, _: &str) {}
}

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It was received.
    File(Box<FetchedFile>),
    /// It is still the one whose ETag the caller knows; nothing was received.
    Unchanged {
        /// Its name.
        name: String,
        /// Its ETag.
        etag: String,
    },
}

/// A file that was received, whole and of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedFile {
    /// Its name: the last part of a web URL's path, an object's path below the fixed part of the pattern.
    pub name: String,
    /// Where it is now.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// The version that the source says it is, exactly as it says it.
    pub etag: Option<String>,
    /// When the source says that it was last changed, in the source's words.
    pub last_modified: Option<String>,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Where it came from.
    pub provenance: Provenance,
}

/// What every transfer of a fetch needs.
#[derive(Clone, Copy)]
struct Fetch<'a> {
    request: &'a FetchRequest,
    options: &'a ConnectionOptions,
    directory: &'a Path,
    limits: &'a FetchLimits,
    ambient: &'a dyn Ambient,
    progress: &'a dyn FetchProgress,
}

/// Receives the files of `request` into `directory`, in the order of their names.
///
/// A file appears there whole and durable, replacing one of its name. What was received of a file that did not come to
/// its end is kept in `directory/.partial` and continued, by this call after a lost connection and by the next call,
/// as long as the source's ETag (or `Last-Modified`, where RFC 9110, section 8.8.2.2, calls it strong) says that it is
/// the same file; otherwise it begins anew. A file that came to its end is asked for only if it has changed since:
/// `directory/.finished` says which version it is. Memory does not grow with a file's size.
///
/// # Errors
/// When the source refuses, stays silent for too long, gives more than the limits allow, or the disk fails.
pub fn files_fetch<'a>(
    request: &'a FetchRequest,
    options: &'a ConnectionOptions,
    directory: &'a Path,
    limits: &'a FetchLimits,
    ambient: &'a dyn Ambient,
    progress: &'a dyn FetchProgress,
) -> BoxFuture<'a, Result<Vec<Fetched>, ConnectorError>> {
    let fetch = Fetch { request, options, directory, limits, ambient, progress };
    Box::pin(async move {
        match request.url.split_once("://").map(|(scheme, _)| scheme) {
            Some("http" | "https") => Ok(vec![web::file_fetch(fetch).await?]),
            Some("s3" | "gs" | "az") => objects::objects_fetch(fetch).await,
            _ => Err(ConnectorError::UnknownScheme { url: redacted(&request.url), known: KNOWN }),
        }
    })
}

impl Fetch<'_> {
    fn check_size(&self, name: &str, size: u64) -> Result<(), ConnectorError> {
        if size <= self.limits.file_bytes.min(self.limits.total_bytes) {
            return Ok(());
        }
        Err(ConnectorError::TooLarge {
            what: format!("`{name}`"),
            limit: self.limits.file_bytes.min(self.limits.total_bytes),
            unit: "bytes",
        })
    }

    fn provenance(&self, location: String, digest: Digest, validator: &partial::Validator) -> Provenance {
        let mut provenance = Provenance::new(location, self.ambient.now());
        provenance.digest = Some(digest);
        provenance.fact("etag", validator.etag.clone());
        provenance.fact("last-modified", validator.last_modified.clone());
        provenance
    }
}
