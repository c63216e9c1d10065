//! Which URL means which object store.

mod cloud;
mod connection_string;
mod credentials;
mod local;
mod options;
mod profile;
mod url;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;

use crate::error::StoreError;
use crate::files;
use url::Address;

pub(crate) use credentials::NoCredentials;
pub(crate) use local::DurableLocal;
pub use options::BackendOptions;

/// What a backend that is a directory of this machine is told of an object that is written in parts, as an extension of
/// the request; others do not look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    /// It may be read again soon.
    Usual,
    /// It is written past the page cache where that can be.
    PassedBy,
}

/// An object store and, when it is a directory of this machine, where that is.
pub(crate) struct Resolved {
    pub(crate) backend: Arc<dyn ObjectStore>,
    pub(crate) directory: Option<PathBuf>,
}

/// The object store in which a [`crate::Store`] at `url` keeps its objects.
pub(crate) fn resolve(url: &str, options: &BackendOptions) -> Result<Resolved, StoreError> {
    if let Address::Directory(path) = Address::parse(url)? {
        let local = DurableLocal::open(&path)?;
        let directory = Some(local.directory().to_owned());
        return Ok(Resolved { backend: Arc::new(local), directory });
    }
    let (backend, prefix) = object_store_at(url, options)?;
    let whole = prefix.as_ref().is_empty();
    let backend = if whole { backend } else { Arc::new(PrefixStore::new(backend, prefix)) };
    Ok(Resolved { backend, directory: None })
}

/// The object store that `url` lies in, and the path there: the same resolution as [`crate::Store::open_with`], for
/// those who read foreign objects.
///
/// A `file:` URL gives the whole file system of this machine, for which the path is absolute.
pub fn object_store_at(url: &str, options: &BackendOptions) -> Result<(Arc<dyn ObjectStore>, ObjectPath), StoreError> {
    let unusable = |source| StoreError::of_backend("open", url.to_owned(), source);
    // The one place that knows back-ends by name: another one is another arm here.
    match Address::parse(url)? {
        Address::Directory(path) => Ok((Arc::new(LocalFileSystem::new()), absolute(&path)?)),
        Address::Memory => Ok((Arc::new(InMemory::new()), ObjectPath::default())),
        Address::S3(place) => Ok((Arc::new(cloud::s3(&place, options).map_err(unusable)?), place.path)),
        Address::GoogleCloud(place) => {
            Ok((Arc::new(cloud::google_cloud(&place, options).map_err(unusable)?), place.path))
        }
        Address::Azure(place) => Ok((Arc::new(cloud::azure(&place, options).map_err(unusable)?), place.path)),
    }
}

fn absolute(path: &Path) -> Result<ObjectPath, StoreError> {
    ObjectPath::from_absolute_path(files::plain_path(path)?).map_err(|error| StoreError::Backend {
        action: "open",
        object: path.display().to_string(),
        source: error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_objects_are_found_where_stores_are() {
        let options = BackendOptions::new([("AWS_REGION", "eu-north-1"), ("AWS_SKIP_SIGNATURE", "true")]);
        let (store, path) = object_store_at("s3://bucket/a/b.csv", &options).unwrap();
        assert_eq!((store.to_string().as_str(), path.as_ref()), ("AmazonS3(bucket)", "a/b.csv"));
        let (_, path) = object_store_at("file:///a/b.csv", &options).unwrap();
        assert_eq!(path.as_ref(), "a/b.csv");
        let (_, path) = object_store_at("file:/no/such/../b.csv", &options).unwrap();
        assert_eq!(path.as_ref(), "no/b.csv");
        let resolved = resolve("s3://bucket/a/b", &options).unwrap();
        assert_eq!(resolved.backend.to_string(), "PrefixObjectStore(a/b)");
    }

    #[test]
    fn no_secret_shows() {
        let values =
            [("AWS_ACCESS_KEY_ID", "key-id"), ("AWS_SECRET_ACCESS_KEY", "hush"), ("AWS_ENDPOINT_URL", "ftp://x")];
        let options = BackendOptions::new(values);
        assert!(!format!("{options:?}").contains("hush"));
        assert!(format!("{options:?}").contains("AWS_SECRET_ACCESS_KEY"));
    }
}
