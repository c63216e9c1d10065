//! Which URL means which object store.

mod local;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::error::StoreError;

pub(crate) use local::DurableLocal;

/// What [`resolve`] knows, for people.
const BUILT_IN: &str = "`file:PATH` and `memory:`";

/// An object store and, when it is a directory of this machine, where that is.
pub(crate) struct Resolved {
    pub(crate) backend: Arc<dyn ObjectStore>,
    pub(crate) directory: Option<PathBuf>,
}

/// The one place that knows back-ends by name: another one is another arm here.
pub(crate) fn resolve(url: &str) -> Result<Resolved, StoreError> {
    match url.split_once(':') {
        Some(("file", path)) if !path.is_empty() => {
            let local = DurableLocal::open(&local_path(path))?;
            let directory = Some(local.directory().to_owned());
            Ok(Resolved { backend: Arc::new(local), directory })
        }
        Some(("memory", "")) => Ok(Resolved { backend: Arc::new(InMemory::new()), directory: None }),
        _ => Err(StoreError::UnknownScheme { url: url.to_owned(), built_in: BUILT_IN.to_owned() }),
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

#[cfg(test)]
mod tests {
    use ropewalk_types::Diagnose as _;

    use super::*;

    #[test]
    fn unknown_schemes_say_what_is_built_in() {
        for url in ["s3://bucket/x", "store", "", "file:", "memory:x"] {
            let Err(error) = resolve(url) else { panic!("{url}") };
            assert!(error.to_string().contains("`file:PATH` and `memory:`"), "{error}");
            assert_eq!(error.code(), "store.unknown_scheme");
        }
    }

    #[test]
    fn spellings_of_paths() {
        assert_eq!(local_path("a/b"), Path::new("a/b"));
        assert_eq!(local_path("/a/b"), Path::new("/a/b"));
        assert_eq!(local_path("///a/b"), Path::new("/a/b"));
    }
}
