//! Bytes that have to be gone, also where the pack in which they lie is mostly in use.

use std::path::Path;
use std::time::{Duration, SystemTime};

use ropewalk_store::files::{TemporaryDirectory, temporary_directory};
use ropewalk_store::{CollectSettings, Root, Store};
use ropewalk_types::Digest;

use crate::collection::settings;
use crate::noise;

const FILES: u64 = 20;
const SIZE: usize = 10_000;

/// Whether some file below `folder` holds the beginning of these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        std::fs::read(&path).unwrap().windows(64).any(|window| window == &bytes[..64])
    })
}

/// A store in which one commit put all files into one pack, and what names those but the last.
async fn one_pack() -> (TemporaryDirectory, Store, Vec<Root>) {
    let folder = temporary_directory(&std::env::temp_dir()).unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mut roots = Vec::new();
    for number in 0..FILES {
        let bytes = noise(number, SIZE);
        std::fs::write(data.join(number.to_string()), &bytes).unwrap();
        roots.push(Root::Blob(Digest::of(&bytes)));
    }
    let store = Store::open(&format!("file:{}", folder.path().join("store").display())).await.unwrap();
    store.put_directory(&data).await.unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    roots.pop();
    (folder, store, roots)
}

async fn assert_others_whole(store: &Store, roots: &[Root]) {
    for root in roots {
        assert_eq!(Digest::of(&store.get_bytes(root.digest()).await.unwrap()), *root.digest());
    }
}

#[tokio::test]
async fn what_is_erased_leaves_no_gap() {
    let (folder, store, roots) = one_pack().await;
    let gone = noise(FILES - 1, SIZE);
    let at_once = CollectSettings { now: SystemTime::now(), grace: Duration::ZERO, dry_run: false };
    assert!(holds(folder.path(), &gone));
    let collected = store.collect_erasing(&roots, &at_once).await.unwrap();
    assert!(collected.removed.pieces >= 2 && collected.freed > SIZE as u64, "{collected:?}");
    assert!(!holds(folder.path(), &gone));
    assert_others_whole(&store, &roots).await;
    let again = store.collect_erasing(&roots, &at_once).await.unwrap();
    assert_eq!((again.removed.pieces, again.freed, again.kept), (0, 0, collected.kept));
    let url = format!("file:{}", folder.path().join("store").display());
    assert_others_whole(&Store::open(&url).await.unwrap(), &roots).await;
}

#[tokio::test]
async fn a_file_of_no_bytes_is_not_lost_between_others() {
    let folder = temporary_directory(&std::env::temp_dir()).unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let contents = [Vec::new(), noise(1, SIZE), noise(2, SIZE), noise(3, 8 * SIZE)];
    for (number, bytes) in contents.iter().enumerate() {
        std::fs::write(data.join(number.to_string()), bytes).unwrap();
    }
    let store = Store::open(&format!("file:{}", folder.path().join("store").display())).await.unwrap();
    store.put_directory(&data).await.unwrap();
    let roots: Vec<_> = [0, 1, 3].map(|number: usize| Root::Blob(Digest::of(&contents[number]))).to_vec();
    let at_once = CollectSettings { now: SystemTime::now(), grace: Duration::ZERO, dry_run: false };
    let collected = store.collect_erasing(&roots, &at_once).await.unwrap();
    assert!(collected.freed > 0 && collected.kept.pieces >= 3, "{collected:?}");
    let url = format!("file:{}", folder.path().join("store").display());
    for store in [store, Store::open(&url).await.unwrap()] {
        assert_others_whole(&store, &roots).await;
        store.collect_erasing(&roots, &at_once).await.unwrap();
    }
}

#[tokio::test]
async fn else_a_gap_stays_in_a_pack_that_is_mostly_used() {
    let (folder, store, roots) = one_pack().await;
    let at_once = CollectSettings { now: SystemTime::now(), grace: Duration::ZERO, dry_run: false };
    store.collect(&roots, &at_once).await.unwrap();
    assert!(holds(folder.path(), &noise(FILES - 1, SIZE)), "or the test above proves nothing");
    assert_others_whole(&store, &roots).await;
}

#[tokio::test]
async fn what_is_erased_waits_for_what_is_in_its_time_of_grace() {
    let (folder, store, roots) = one_pack().await;
    let (gone, next) = (noise(FILES - 1, SIZE), noise(FILES - 2, SIZE));
    let fewer = &roots[..roots.len() - 1];
    store.collect_erasing(&roots, &settings(1)).await.unwrap();
    // One more is condemned at the time when the first would go.
    let waits = store.collect_erasing(fewer, &settings(3)).await.unwrap();
    assert!(waits.condemned.pieces > 0 && waits.removed.pieces == 0, "{waits:?}");
    assert_others_whole(&store, fewer).await;
    for graces in [5, 7, 9] {
        store.collect_erasing(fewer, &settings(graces)).await.unwrap();
    }
    assert!(!holds(folder.path(), &gone) && !holds(folder.path(), &next));
    assert_others_whole(&store, fewer).await;
}
