//! Objects that others put into an object store.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt as _};

use crate::backend::{BackendOptions, object_store_at};
use crate::error::StoreError;

/// An object is read in parts of this many bytes …
const PART: u64 = 8 << 20;
/// … of which this many are on their way at a time.
const PARTS_AT_ONCE: usize = 4;

/// A place in an object store whose objects are not those of a [`crate::Store`]; it is only read.
#[derive(Clone)]
pub struct ForeignObjects {
    backend: Arc<dyn ObjectStore>,
    base: ObjectPath,
    url: String,
}

/// Shows the URL only: back-ends hold credentials.
impl fmt::Debug for ForeignObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ForeignObjects").field(&self.url).finish()
    }
}

impl ForeignObjects {
    /// The place that `url` names, by the rules of [`crate::Store::open_with`]; nothing is asked of it yet.
    pub fn open(url: &str, options: &BackendOptions) -> Result<Self, StoreError> {
        let (backend, base) = object_store_at(url, options)?;
        Ok(Self { backend, base, url: url.trim_end_matches('/').to_owned() })
    }

    /// The URL of the object `name`.
    pub fn url_of(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    /// The size in bytes of the object `name`, a path below the place; none if there is no such object.
    pub async fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        match self.backend.head(&self.path(name)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(StoreError::of_backend("look for", self.url_of(name), source)),
        }
    }

    /// The first `size` bytes of the object `name` as they come, in order and in pieces of at most 8 MiB, of which four
    /// are held in memory.
    ///
    /// Nothing is checked: an object that was replaced meanwhile gives bytes of both.
    pub fn read(&self, name: &str, size: u64) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let (backend, path, url) = (Arc::clone(&self.backend), self.path(name), self.url_of(name));
        let part = move |range: Range<u64>| {
            let (backend, path, url) = (Arc::clone(&backend), path.clone(), url.clone());
            async move {
                let bytes = backend.get_range(&path, range).await;
                bytes.map_err(|source| StoreError::of_backend("read", url, source))
            }
        };
        let parts = (0..size.div_ceil(PART)).map(move |part| part * PART..((part + 1) * PART).min(size));
        stream::iter(parts).map(part).buffered(PARTS_AT_ONCE).boxed()
    }

    fn path(&self, name: &str) -> ObjectPath {
        name.split('/').fold(self.base.clone(), ObjectPath::join)
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;
    use crate::files;

    #[tokio::test]
    async fn objects_are_read_in_order_and_in_parts() {
        let folder = files::temporary_directory(&std::env::temp_dir()).unwrap();
        let large: Vec<u8> = (0..PART + 3).map(|at| (at % 251) as u8).collect();
        files::write_atomic(&folder.path().join("a/large"), &large).unwrap();
        files::write_atomic(&folder.path().join("a/empty"), b"").unwrap();
        let url = format!("file:{}", folder.path().display());
        let place = ForeignObjects::open(&format!("{url}/"), &BackendOptions::default()).unwrap();
        assert_eq!(place.url_of("a/large"), format!("{url}/a/large"));
        assert_eq!(place.size("a/none").await.unwrap(), None);
        assert_eq!(place.size("a/empty").await.unwrap(), Some(0));
        let size = place.size("a/large").await.unwrap().unwrap();
        assert_eq!(size, PART + 3);
        let pieces: Vec<Bytes> = place.read("a/large", size).try_collect().await.unwrap();
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [8 << 20, 3]);
        assert!(pieces.concat() == large);
        assert!(place.read("a/empty", 0).try_next().await.unwrap().is_none());
        assert!(place.read("a/none", 1).try_next().await.is_err());
    }
}
