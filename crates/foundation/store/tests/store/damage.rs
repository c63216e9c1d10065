use std::time::{Duration, SystemTime};

use ropewalk_store::{Store, StoreError, files};
use ropewalk_types::Diagnose as _;

use crate::{Harness, noise};

/// Opens the one pack of the store, changes it, and puts it back.
fn change_pack(harness: &Harness, change: impl FnOnce(&mut Vec<u8>)) {
    let packs = harness.objects("packs");
    assert_eq!(packs.len(), 1);
    let mut bytes = files::read(&packs[0].path).unwrap();
    change(&mut bytes);
    files::write_atomic(&packs[0].path, &bytes).unwrap();
}

async fn assert_damaged(harness: &Harness, digest: &ropewalk_types::Digest) {
    let store = harness.open().await;
    let error = store.get_bytes(digest).await.unwrap_err();
    let StoreError::Damaged { object, .. } = &error else { panic!("{error}") };
    assert!(object.starts_with("packs/"), "{error}");
    let path = harness.directory.path().join("out");
    assert_eq!(store.materialize(digest, &path).await.unwrap_err().code(), "store.damaged");
    assert!(!files::exists(&path).unwrap());
}

#[tokio::test]
async fn every_flipped_byte_is_found() {
    for bytes in [noise(1, 50_000), b"hemp yarn ".repeat(5000), noise(2, 400_000), b"x".to_vec()] {
        let harness = Harness::on_disk();
        let digest = harness.open().await.put_bytes(bytes.into()).await.unwrap().digest;
        let length = harness.objects("packs")[0].size as usize;
        // Behind the mark: the first piece, the middle, and the end, where the recipe lies.
        for position in [5, length / 2, length - 1].map(|position| position.max(5)) {
            change_pack(&harness, |bytes| bytes[position] ^= 1);
            assert_damaged(&harness, &digest).await;
            change_pack(&harness, |bytes| bytes[position] ^= 1);
        }
        harness.open().await.get_bytes(&digest).await.unwrap();
        change_pack(&harness, |bytes| bytes.truncate(length - 1));
        assert_damaged(&harness, &digest).await;
        files::remove_file(&harness.objects("packs")[0].path).unwrap();
        assert_damaged(&harness, &digest).await;
    }
}

#[tokio::test]
async fn a_damaged_index_is_found_at_opening() {
    let harness = Harness::on_disk();
    harness.open().await.put_bytes("hemp".into()).await.unwrap();
    let path = &harness.objects("index")[0].path;
    let whole = files::read(path).unwrap();
    for damaged in [[&whole[..], b"x"].concat(), whole[..whole.len() - 1].to_vec(), Vec::new()] {
        files::write_atomic(path, &damaged).unwrap();
        let url = format!("file:{}", harness.directory.path().join("store").display());
        let error = Store::open(&url).await.unwrap_err();
        assert_eq!(error.code(), "store.damaged");
        assert!(error.to_string().contains("index/"), "{error}");
    }
}

#[tokio::test]
async fn a_store_of_another_kind_is_refused() {
    let harness = Harness::on_disk();
    harness.open().await;
    files::write_atomic(&harness.directory.path().join("store/format"), b"ropewalk store 9\n").unwrap();
    let url = format!("file:{}", harness.directory.path().join("store").display());
    assert_eq!(Store::open(&url).await.unwrap_err().code(), "store.malformed");
}

#[tokio::test]
async fn a_writer_that_dies_leaves_nothing_visible() {
    let harness = Harness::on_disk();
    let store = harness.open().await;
    let mut writer = store.writer();
    // One pack is full and durable, the next one begun.
    let blob = writer.add_bytes(noise(1, 66 << 20).into()).await.unwrap();
    let small = writer.add_bytes("hemp".into()).await.unwrap();
    drop(writer);
    for store in [&store, &harness.open().await] {
        assert!(!store.contains(&blob.digest).await.unwrap());
        assert!(!store.contains(&small.digest).await.unwrap());
    }
    assert!(harness.objects("index").is_empty());

    // As `kill -9` would leave it, beside what is in use.
    files::write_atomic(&harness.directory.path().join("store/packs/.tmp#77"), b"half").unwrap();
    let kept = store.put_bytes("kept".into()).await.unwrap();
    assert_eq!(store.sweep_orphans(SystemTime::UNIX_EPOCH).await.unwrap().objects, 0, "all is younger");
    let later = SystemTime::now() + Duration::from_mins(1);
    let swept = harness.open().await.sweep_orphans(later).await.unwrap();
    assert_eq!(swept.objects, 2);
    assert!(swept.bytes > 64 << 20);
    assert_eq!(harness.objects("packs").len(), 1);
    assert_eq!(harness.open().await.get_bytes(&kept.digest).await.unwrap(), "kept");
}

#[tokio::test]
async fn a_commit_whose_pack_was_swept_fails() {
    let harness = Harness::on_disk();
    let store = harness.open().await;
    let mut writer = store.writer();
    let blob = writer.add_bytes(noise(1, 66 << 20).into()).await.unwrap();
    // The second pack is still small enough to be in memory alone.
    assert_eq!(store.sweep_orphans(SystemTime::now() + Duration::from_mins(1)).await.unwrap().objects, 1);
    assert!(matches!(writer.commit().await, Err(StoreError::PackRemoved { .. })));
    assert!(!store.contains(&blob.digest).await.unwrap());
}
