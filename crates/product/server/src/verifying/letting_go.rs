//! The code of runs that nobody has, noted as lost (ADR 014): nothing asks for it again until it is there.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::TryStreamExt as _;
use ropewalk_store::{RefName, Root, Store, StoreError};
use ropewalk_types::Digest;
use ropewalk_versions::Removal;
use serde_json::json;

/// Where it is noted in the project's store, by a ref each.
const LOST: &str = "lost/";

fn lost_ref(digest: &Digest) -> Result<RefName, StoreError> {
    RefName::new(format!("{LOST}{digest}"))
}

/// Notes that nobody has something any more, and who let go of it when.
pub(super) async fn lost_note(store: &Store, digest: &Digest, removal: &Removal) -> Result<(), StoreError> {
    let Removal { at, who, why } = removal;
    let text = json!({ "at": at, "who": who, "why": why }).to_string();
    match store.ref_set(&lost_ref(digest)?, None, Bytes::from(text)).await {
        // Another process has noted the same.
        Err(StoreError::Conflict { .. }) => Ok(()),
        set => set.map(drop),
    }
}

/// Who let go of something and when, if it was noted as lost and is not there again.
pub(crate) async fn lost(store: &Store, root: Root) -> Result<Option<Removal>, StoreError> {
    let Some(value) = store.ref_get(&lost_ref(root.digest())?).await? else { return Ok(None) };
    if is_whole(store, root).await? {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&value.bytes).ok())
}

/// Those of the roots that were not noted as lost, or are there again.
pub(crate) async fn without_lost(store: &Store, roots: Vec<Root>) -> Result<Vec<Root>, StoreError> {
    let noted = store.ref_list(LOST).await?;
    let noted = noted.iter().filter_map(|name| name.as_str().strip_prefix(LOST)?.parse().ok());
    let noted: BTreeSet<Digest> = noted.collect();
    let mut kept = Vec::with_capacity(roots.len());
    for root in roots {
        if !noted.contains(root.digest()) || is_whole(store, root).await? {
            kept.push(root);
        }
    }
    Ok(kept)
}

/// Whether all of it is there. It is read, since an index may name what its pack has lost.
async fn is_whole(store: &Store, root: Root) -> Result<bool, StoreError> {
    match read(store, root).await {
        Err(error) if error.is_of_content() => Ok(false),
        read => read.map(|()| true),
    }
}

async fn read(store: &Store, root: Root) -> Result<(), StoreError> {
    let blobs: BTreeSet<Digest> = match root {
        Root::Blob(digest) => BTreeSet::from([digest]),
        Root::Tree(tree) => store.tree_files(&tree).await?.into_iter().map(|file| file.digest).collect(),
    };
    for blob in blobs {
        let mut bytes = store.blob_stream(&blob, 0..u64::MAX);
        while bytes.try_next().await?.is_some() {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ropewalk_store::files;
    use ropewalk_types::Timestamp;

    use super::*;

    #[tokio::test]
    async fn what_is_noted_as_lost_is_asked_for_again_once_it_is_there() {
        let store = Store::open("memory:").await.expect("a store");
        let (gone, other) = (Root::Blob(Digest::of(b"gone")), Root::Blob(Digest::of(b"other")));
        let removal = Removal { at: Timestamp(0), who: "ada".to_owned(), why: "nobody has it".to_owned() };
        assert!(lost(&store, gone).await.expect("refs").is_none());
        for _ in 0..2 {
            lost_note(&store, gone.digest(), &removal).await.expect("noted");
        }
        assert_eq!(lost(&store, gone).await.expect("refs"), Some(removal));
        assert_eq!(without_lost(&store, vec![gone, other]).await.expect("roots"), [other]);
        store.put_bytes("gone".into()).await.expect("stored");
        assert!(lost(&store, gone).await.expect("refs").is_none());
        assert_eq!(without_lost(&store, vec![gone, other]).await.expect("roots"), [gone, other]);
    }

    #[tokio::test]
    async fn what_an_index_names_and_its_pack_has_lost_is_not_there_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&format!("file:{}", folder.path().display())).await.expect("a store");
        let blob = store.put_bytes("code".into()).await.expect("stored");
        let removal = Removal { at: Timestamp(0), who: "ada".to_owned(), why: "nobody has it".to_owned() };
        lost_note(&store, &blob.digest, &removal).await.expect("noted");
        let code = Root::Blob(blob.digest);
        assert_eq!(without_lost(&store, vec![code]).await.expect("roots"), [code]);
        for pack in files::list(&folder.path().join("packs")).expect("packs") {
            files::write_atomic(&pack.path, b"cut").expect("a pack");
        }
        assert_eq!(without_lost(&store, vec![code]).await.expect("roots"), []);
        assert_eq!(lost(&store, code).await.expect("refs"), Some(removal));
    }
}
