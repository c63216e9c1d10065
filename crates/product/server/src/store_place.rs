//! The directory of the project's own store, which is made once, and never again in the place of one that is gone.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ropewalk_store::files::{self, FileError};
use ropewalk_store::{BackendOptions, RefName, Store, StoreError};

/// In the state folder: where the store was when it was last opened.
const NOTE: &str = "store.place";
/// Longest note that is read, in bytes.
const LONGEST_NOTE: u64 = 1 << 14;

/// Refuses `url` if this project has had its store in that directory and there is none now, as when its disk is not
/// mounted: an empty store in its place would hide all history.
pub(crate) async fn check_there(state: &Path, url: &str, options: &BackendOptions) -> Result<(), StoreError> {
    let note = state.join(NOTE);
    let Some(directory) = url.strip_prefix("file:").map(PathBuf::from) else { return Ok(()) };
    if known(&note)?.as_deref() != Some(url) {
        return Ok(());
    }
    match Store::open_existing(url, options).await {
        Ok(None) => Err(StoreError::Vanished { directory, note: Some(note) }),
        // One that is damaged is there: whoever opens it says what is wrong, or heals it.
        Ok(Some(_))
        | Err(StoreError::Damaged { .. } | StoreError::Malformed { .. } | StoreError::UnknownFormat { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The ref by which others see that a store is a project's own and not only a remote: what its catalogue and its work tree
/// need there, they cannot know.
const OWN: &str = "project";

/// Marks the store at `url` as a project's own, before anything is put there, and notes where it is.
pub(crate) async fn note(state: &Path, url: &str, store: &Store) -> Result<(), StoreError> {
    let note = state.join(NOTE);
    if known(&note)?.as_deref() == Some(url) {
        return Ok(());
    }
    let own = RefName::new(OWN)?;
    if store.ref_get(&own).await?.is_none() {
        match store.ref_set(&own, None, Bytes::from_static(b"a project keeps its data here\n")).await {
            // Another project has the same store.
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files::write_atomic(&note, format!("{url}\n").as_bytes())?)
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
        let store = Store::open(&url("store")).await.expect("a store");
        note(&state, &url("store"), &store).await.expect("a note");
        note(&state, &url("store"), &store).await.expect("as before");
        assert_eq!(store.ref_list("").await.expect("refs"), [RefName::new(OWN).expect("a name")]);
        drop(store);
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
