//! On a file system that can share blocks, `ROPEWALK_TEST_REFLINK`: a large file is there once, however often it is
//! stored and laid out.

use std::path::{Path, PathBuf};

use ropewalk_store::{LinkMode, NoProgress, Store, TreeFile, files};

use crate::{Harness, noise};

const LENGTH: usize = 48 << 20;
/// What a file system may take for itself meanwhile; far less than a copy.
const SLACK: u64 = 8 << 20;

fn place() -> PathBuf {
    let missing = "the set-up of the tests mounts a file system that can share blocks, and exports where";
    std::env::var("ROPEWALK_TEST_REFLINK")
        .unwrap_or_else(|_| panic!("ROPEWALK_TEST_REFLINK is not set: {missing}"))
        .into()
}

/// Bytes that are free once all that was written has its place.
fn free(path: &Path) -> u64 {
    rustix::fs::sync();
    let found = rustix::fs::statvfs(path).unwrap();
    found.f_bfree * found.f_frsize
}

fn as_file(path: &str, blob: ropewalk_store::Blob) -> TreeFile {
    TreeFile { path: path.to_owned(), digest: blob.digest, size: blob.size, executable: false }
}

/// One test, because others on the same file system would change what is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_is_there_once() {
    let place = place();
    assert!(files::link_support(&place).unwrap().reflink, "{} cannot share blocks", place.display());
    let harness = Harness::in_directory(&place);
    let bytes = noise(1, LENGTH);
    let path = harness.file("large", &bytes);
    let store = harness.open().await.with_cache(harness.directory.path().join("cache"));

    let before = free(&place);
    let blob = store.put_file(&path).await.unwrap();
    assert!(before.saturating_sub(free(&place)) < SLACK, "stored without a copy");
    assert_eq!(harness.objects("packs").iter().filter(|pack| pack.size > LENGTH as u64).count(), 1);

    let target = harness.directory.path().join("out");
    let made = store.files_lay_out(&[as_file("large", blob)], &target, LinkMode::Auto, &NoProgress).await.unwrap();
    assert_eq!((made.reflinked, made.copied), (1, 0));
    assert!(before.saturating_sub(free(&place)) < SLACK, "laid out without a copy");
    assert!(files::read(&target.join("large")).unwrap() == bytes);

    // What becomes of the file is nothing to the store.
    files::write_atomic(&path, b"short").unwrap();
    let mut changed = files::read(&target.join("large")).unwrap();
    changed[LENGTH / 2] ^= 1;
    overwrite(&target.join("large"), &changed);
    assert!(harness.open().await.get_bytes(&blob.digest).await.unwrap() == bytes);
    assert!(store.verify(None).await.unwrap().damaged.is_empty());

    few_new_bytes_make_no_pack_of_their_own(&store, &harness, &changed).await;
    what_is_smaller_compressed_is_compressed(&store, &harness, &place).await;
    a_damaged_pack_is_not_laid_out(&store, &harness, as_file("again", blob)).await;
}

/// In place, as an editor of large files does it.
fn overwrite(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all(bytes).unwrap();
}

async fn few_new_bytes_make_no_pack_of_their_own(store: &Store, harness: &Harness, changed: &[u8]) {
    let size = |harness: &Harness| harness.objects("packs").iter().map(|pack| pack.size).sum::<u64>();
    let before = size(harness);
    let mut longer = changed.to_vec();
    longer.extend(noise(2, 1 << 20));
    let blob = store.put_file(&harness.file("longer", &longer)).await.unwrap();
    assert!(size(harness) - before < 2 << 20, "{}", size(harness) - before);
    assert!(harness.open().await.get_bytes(&blob.digest).await.unwrap() == longer);
}

async fn what_is_smaller_compressed_is_compressed(store: &Store, harness: &Harness, place: &Path) {
    let text: Vec<u8> = (0..4_000_000_u32).flat_map(|number| format!("{number},hemp\n").into_bytes()).collect();
    let path = harness.file("text", &text);
    let before = free(place);
    let blob = store.put_file(&path).await.unwrap();
    let taken = before.saturating_sub(free(place));
    assert!(taken > 1 << 20 && taken < text.len() as u64 / 2, "{taken}");
    assert!(harness.open().await.get_bytes(&blob.digest).await.unwrap() == text);
}

async fn a_damaged_pack_is_not_laid_out(store: &Store, harness: &Harness, file: TreeFile) {
    let packs = harness.objects("packs");
    let pack = packs.iter().find(|pack| pack.size > LENGTH as u64).unwrap();
    let mut bytes = files::read(&pack.path).unwrap();
    bytes[LENGTH / 3] ^= 1;
    overwrite(&pack.path, &bytes);
    files::remove_directory(&harness.directory.path().join("cache")).unwrap();
    let target = harness.directory.path().join("damaged");
    let found = store.files_lay_out(std::slice::from_ref(&file), &target, LinkMode::Auto, &NoProgress).await;
    assert_eq!(ropewalk_types::Diagnose::code(&found.unwrap_err()), "store.damaged");
    assert!(!files::exists(&target.join("again")).unwrap());
    let damaged = store.verify(None).await.unwrap().damaged;
    assert_eq!(damaged.len(), 1, "{damaged:?}");
}
