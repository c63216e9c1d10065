//! The directory of the project's own store, which is made once, and never again in the place of one that is gone.

use std::path::{Path, PathBuf};

use ropewalk_store::files::{self, FileError};
use ropewalk_store::{BackendOptions, Store, StoreError};

/// In the state folder: where the store was when it was last opened.
const NOTE: &str = "store.place";
/// Longest note that is read, in bytes.
const LONGEST_NOTE: u64 = 1 << 14;

/// Refuses `url` if this project has had its store in that directory and there is none now, as when its disk is not
/// mounted: an empty store in its place would hide all history.
pub(crate) async fn check_there(state: &Path, url: &str, options: &BackendOptions) -> Result<(), StoreError> {
    let note = state.join(NOTE);
    let Some(directory) = url.strip_prefix("file:").map(PathBuf::from) else { return Ok(()) };
    if known(&note)?.as_deref() != Some(url) || Store::open_existing(url, options).await?.is_some() {
        return Ok(());
    }
    Err(StoreError::Vanished { directory, note: Some(note) })
}

/// Notes that the store is at `url`.
pub(crate) fn note(state: &Path, url: &str) -> Result<(), FileError> {
    let note = state.join(NOTE);
    if known(&note)?.as_deref() == Some(url) {
        return Ok(());
    }
    files::write_atomic(&note, format!("{url}\n").as_bytes())
}

fn known(note: &Path) -> Result<Option<String>, FileError> {
    match files::read_text(note, LONGEST_NOTE) {
        Err(error) if error.is_not_found() => Ok(None),
        text => Ok(Some(text?.trim_end().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_is_gone_is_not_made_anew_and_another_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let (state, options) = (folder.path().join("state"), BackendOptions::default());
        let url = |name: &str| format!("file:{}", folder.path().join(name).display());
        let check = async |name: &str| check_there(&state, &url(name), &options).await;
        check("store").await.expect("never noted");
        drop(Store::open(&url("store")).await.expect("a store"));
        note(&state, &url("store")).expect("a note");
        check("store").await.expect("it is there");
        files::rename_directory(&folder.path().join("store"), &folder.path().join("away")).expect("moved");
        let error = check("store").await.expect_err("it is gone");
        assert!(matches!(error, StoreError::Vanished { .. }), "{error}");
        assert!(!files::exists(&folder.path().join("store")).expect("folder"));
        check("other").await.expect("another place");
        files::remove_file(&state.join(NOTE)).expect("the note");
        check("store").await.expect("begun anew");
    }
}
