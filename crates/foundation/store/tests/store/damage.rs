use std::time::{Duration, SystemTime};

use ropewalk_store::{BackendOptions, NoProgress, Root, Store, StoreError, files};
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
async fn a_store_of_another_form_is_named_with_its_place() {
    let harness = Harness::on_disk();
    harness.open().await.put_bytes("hemp".into()).await.unwrap();
    let folder = harness.directory.path().join("store");
    let url = format!("file:{}", folder.display());
    let long = "x".repeat(1000);
    for (mark, says) in [
        ("ropewalk store 99\n", "its form has the number 99, and this program knows 1 only"),
        ("ropewalk store x\n", "its object `format` is not the mark of a store"),
        ("", "its object `format` is not the mark of a store"),
        (long.as_str(), "its object `format` is not the mark of a store"),
    ] {
        files::write_atomic(&folder.join("format"), mark.as_bytes()).unwrap();
        for error in [
            Store::open(&url).await.unwrap_err(),
            Store::open_existing(&url, &BackendOptions::default()).await.unwrap_err(),
        ] {
            assert_eq!(error.code(), "store.unknown_format");
            assert_eq!(error.to_string(), format!("cannot open the store at `{url}`: {says}"));
            assert!(error.hint().is_some());
        }
    }
}

#[tokio::test]
async fn a_store_whose_mark_is_lost_is_no_empty_place() {
    let options = BackendOptions::default();
    for folder in ["index", "refs"] {
        let harness = Harness::on_disk();
        let store = harness.open().await;
        if folder == "index" {
            store.put_bytes("hemp".into()).await.unwrap();
        } else {
            let name = ropewalk_store::RefName::new("head").unwrap();
            store.ref_set(&name, None, "x".into()).await.unwrap();
        }
        assert!(!harness.objects(folder).is_empty());
        let place = harness.directory.path().join("store");
        let url = format!("file:{}", place.display());
        files::remove_file(&place.join("format")).unwrap();
        for opened in [Store::open_existing(&url, &options).await, Store::open_existing_damaged(&url, &options).await] {
            let error = opened.unwrap_err();
            assert_eq!(error.code(), "store.mark_lost");
            assert!(error.to_string().contains(&url) && error.hint().unwrap().contains("--heal"), "{error}");
        }
        assert!(!files::exists(&place.join("format")).unwrap());
        Store::open(&url).await.unwrap();
        assert!(Store::open_existing(&url, &options).await.unwrap().is_some());
    }
    // What others keep in folders of these names is no store.
    let harness = Harness::on_disk();
    for other in ["index/page.html", "refs/heads/main"] {
        let path = harness.directory.path().join("other").join(other);
        files::create_directories(path.parent().unwrap()).unwrap();
        files::write_atomic(&path, b"x").unwrap();
    }
    let url = format!("file:{}", harness.directory.path().join("other").display());
    assert!(Store::open_existing(&url, &options).await.unwrap().is_none());
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
    let error = Store::open(&url).await.unwrap_err();
    assert_eq!(error.code(), "store.unknown_format");
    assert!(error.to_string().contains(&url) && error.to_string().contains('9'), "{error}");
}

/// As when its disk is unmounted under a process that goes on.
#[tokio::test]
async fn a_store_that_has_gone_is_named_and_not_made_anew() {
    let harness = Harness::on_disk();
    let store = harness.open().await;
    let blob = store.put_bytes("hemp".into()).await.unwrap();
    let name = ropewalk_store::RefName::new("head").unwrap();
    store.ref_set(&name, None, "x".into()).await.unwrap();
    let directory = harness.directory.path().join("store");
    let away = harness.directory.path().join("away");
    files::rename_directory(&directory, &away).unwrap();
    let errors = [
        store.get_bytes(&blob.digest).await.unwrap_err(),
        store.put_bytes("yarn".into()).await.unwrap_err(),
        store.ref_get(&name).await.unwrap_err(),
        store.ref_set(&name, Some(1), "y".into()).await.unwrap_err(),
        store.verify(None).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), "store.vanished", "{error}");
        assert!(error.to_string().contains(&*directory.to_string_lossy()), "{error}");
        assert!(error.hint().unwrap().contains("mounted"));
    }
    assert!(!files::exists(&directory.join("index")).unwrap());
    files::remove_directory(&directory).unwrap();
    files::rename_directory(&away, &directory).unwrap();
    assert_eq!(store.get_bytes(&blob.digest).await.unwrap(), "hemp");
    store.put_bytes("yarn".into()).await.unwrap();
}

/// Waits for the first pack, which is closed while the next one is filled.
async fn pack_closed(harness: &Harness) {
    while !harness.objects("packs").iter().any(|pack| !files::is_leftover(&pack.name)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_writer_that_dies_leaves_nothing_visible() {
    let harness = Harness::on_disk();
    let store = harness.open().await;
    let mut writer = store.writer();
    // One pack is full and durable, the next one begun.
    let blob = writer.add_bytes(noise(1, 66 << 20).into()).await.unwrap();
    let small = writer.add_bytes("hemp".into()).await.unwrap();
    pack_closed(&harness).await;
    drop(writer);
    for store in [&store, &harness.open().await] {
        assert!(!store.contains(&blob.digest).await.unwrap());
        assert!(!store.contains(&small.digest).await.unwrap());
    }
    assert!(harness.objects("index").is_empty());

    // As `kill -9` would leave it, beside what is in use.
    files::write_atomic(&harness.directory.path().join("store/packs/.tmp#77000000001"), b"half").unwrap();
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
    let blob = writer.add_bytes(noise(1, (64 << 20) + (640 << 10)).into()).await.unwrap();
    pack_closed(&harness).await;
    // The second pack is less than a part, and in memory alone.
    assert_eq!(store.sweep_orphans(SystemTime::now() + Duration::from_mins(1)).await.unwrap().objects, 1);
    assert!(matches!(writer.commit().await, Err(StoreError::PackRemoved { .. })));
    assert!(!store.contains(&blob.digest).await.unwrap());
}

/// Opens a store of which the other has a copy, and changes the one pack.
async fn damaged_and_whole(change: impl FnOnce(&mut Vec<u8>)) -> (Harness, Harness, Vec<ropewalk_types::Digest>) {
    let (harness, other) = (Harness::on_disk(), Harness::in_memory());
    let store = harness.open().await;
    let mut writer = store.writer();
    let mut digests = Vec::new();
    for bytes in [noise(1, 1000), noise(2, 600_000), b"yarn ".repeat(1000), Vec::new()] {
        digests.push(writer.add_bytes(bytes.into()).await.unwrap().digest);
    }
    writer.commit().await.unwrap();
    let roots: Vec<_> = digests.iter().map(|digest| Root::Blob(*digest)).collect();
    store.copy_to(&other.open().await, &roots, &NoProgress).await.unwrap();
    change_pack(&harness, change);
    (harness, other, digests)
}

#[tokio::test]
async fn what_is_damaged_is_named_and_healed() {
    let flip: fn(&mut Vec<u8>) = |bytes| bytes[100] ^= 1;
    let flip_recipe: fn(&mut Vec<u8>) = |bytes| {
        let recipe = bytes.windows(4).position(|window| window == b"RWRC").unwrap();
        bytes[recipe + 40] ^= 1;
    };
    let cut: fn(&mut Vec<u8>) = |bytes| bytes.truncate(300_000);
    for (change, least) in [(flip, 1), (flip_recipe, 1), (cut, 3)] {
        let (harness, other, digests) = damaged_and_whole(change).await;
        let store = harness.open().await;
        let found = store.verify(None).await.unwrap();
        assert!(found.damaged.len() >= least, "{found:?}");
        assert!(found.damaged.iter().all(|damage| damage.object.starts_with("packs/") && !damage.healed));
        assert!(found.pieces > 5 && found.bytes > 600_000);
        // Another handle, which knows the damaged place, sees what was healed.
        let healed = harness.open().await.verify(Some(&other.open().await)).await.unwrap();
        assert_eq!(healed.damaged.len(), found.damaged.len());
        assert!(healed.damaged.iter().all(|damage| damage.healed), "{healed:?}");
        store.contains(&ropewalk_types::Digest::of(b"never stored")).await.unwrap();
        for store in [&store, &harness.open().await] {
            for digest in &digests {
                let bytes = store.get_bytes(digest).await.unwrap();
                assert_eq!(ropewalk_types::Digest::of(&bytes), *digest);
            }
            assert_eq!(store.verify(None).await.unwrap().damaged, []);
        }
    }
}

#[tokio::test]
async fn a_pack_that_is_missing_is_all_that_was_in_it() {
    let (harness, other, digests) = damaged_and_whole(|_| ()).await;
    files::remove_file(&harness.objects("packs")[0].path).unwrap();
    let store = harness.open().await;
    let found = store.verify(None).await.unwrap();
    // But for the piece of no bytes, which can be had of nothing.
    assert_eq!(found.damaged.len() as u64, found.pieces - 1);
    assert!(
        found.damaged.iter().all(|damage| damage.reason.contains("missing") || damage.reason.contains("in no index"))
    );
    store.verify(Some(&other.open().await)).await.unwrap();
    assert_eq!(store.verify(None).await.unwrap().damaged, []);
    for digest in &digests {
        store.get_bytes(digest).await.unwrap();
    }
}

#[tokio::test]
async fn what_nobody_has_stays_damaged() {
    let (harness, _, _) = damaged_and_whole(|bytes| bytes[100] ^= 1).await;
    let empty = Harness::in_memory();
    let store = harness.open().await;
    let found = store.verify(Some(&empty.open().await)).await.unwrap();
    assert_eq!(found.damaged.len(), 1);
    assert!(!found.damaged[0].healed);
    assert_eq!(store.verify(None).await.unwrap().damaged.len(), 1);
}

#[tokio::test]
async fn a_damaged_index_can_be_put_aside() {
    let (harness, other, digests) = damaged_and_whole(|_| ()).await;
    let path = harness.objects("index")[0].path.clone();
    files::write_atomic(&path, b"RWIX").unwrap();
    let url = format!("file:{}", harness.directory.path().join("store").display());
    assert!(Store::open(&url).await.is_err());
    let store = Store::open_damaged(&url, &BackendOptions::default()).await.unwrap();
    let found = store.verify(None).await.unwrap();
    assert_eq!(found.damaged.len(), 1);
    assert!(found.damaged[0].object.starts_with("index/"), "{found:?}");
    assert!(Store::open(&url).await.is_err(), "looking changes nothing");
    let other = other.open().await;
    let healed = store.verify(Some(&other)).await.unwrap();
    assert!(healed.damaged.iter().all(|damage| damage.healed), "it is put aside: {healed:?}");
    let store = Store::open(&url).await.unwrap();
    assert_eq!(harness.objects("damaged").len(), 1);
    let roots: Vec<_> = digests.iter().map(|digest| Root::Blob(*digest)).collect();
    let mut all = roots.clone();
    all.sort();
    assert_eq!(store.missing(&roots).await.unwrap(), all);
    other.copy_to(&store, &roots, &NoProgress).await.unwrap();
    assert_eq!(store.missing(&roots).await.unwrap(), []);
    for digest in &digests {
        store.get_bytes(digest).await.unwrap();
    }
}

#[tokio::test]
async fn a_spoilt_mark_is_written_again_where_all_else_is_a_store() {
    let harness = Harness::on_disk();
    let store = harness.open().await;
    let url = format!("file:{}", harness.directory.path().join("store").display());
    let (mark, options) = (harness.directory.path().join("store/format"), BackendOptions::default());
    let spoil = |bytes: &[u8]| ropewalk_store::files::write_atomic(&mark, bytes).unwrap();
    spoil(b"");
    assert!(!Store::mark_again(&url, &options).await.unwrap(), "nothing else is there");
    store.put_bytes("x".into()).await.unwrap();
    for (text, healed) in [("", true), ("garbage", true), ("ropewalk store 1", true), ("ropewalk store 2\n", false)] {
        spoil(text.as_bytes());
        assert!(Store::open(&url).await.is_err(), "{text}");
        assert_eq!(Store::mark_again(&url, &options).await.unwrap(), healed, "{text}");
        assert_eq!(Store::open(&url).await.is_ok(), healed, "{text}");
    }
}
