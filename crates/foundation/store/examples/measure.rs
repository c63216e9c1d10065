//! Measures what the store costs, in CPU and wall seconds of this process: `measure DIRECTORY FILES BYTES`.
//!
//! `DIRECTORY` must not be there; it is filled with a tree of `FILES` files of 1 to 20 KB and one of `BYTES` bytes.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "an example for people")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt as _;
use ropewalk_store::files::{self, ScanNext};
use ropewalk_store::{CollectSettings, LinkMode, NewFile, NoProgress, Root, Store, StoreError, TreeFile};

/// CPU seconds of all threads so far, and the largest memory in megabytes (proc(5)).
fn usage() -> (f64, u64) {
    let stat = files::read_text(Path::new("/proc/self/stat"), 1 << 16).unwrap();
    let ticks: u64 =
        stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap()).sum();
    let status = files::read_text(Path::new("/proc/self/status"), 1 << 16).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    (ticks as f64 / 100.0, peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024)
}

async fn measured<T>(what: &str, work: impl Future<Output = T>) -> T {
    let (cpu, begun) = (usage().0, Instant::now());
    let result = work.await;
    let (after, peak) = usage();
    println!("{what:<46} {:7.2} CPU s {:7.2} s, peak {peak} MB", after - cpu, begun.elapsed().as_secs_f64());
    result
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn fill(directory: &Path, count: u64) {
    for number in 0..count {
        let folder = directory.join(format!("{:03}", number / 100));
        files::create_directories(&folder).unwrap();
        let half = noise(number, 512 + (number * 7919 % 9728) as usize);
        let text: Vec<u8> = half.iter().flat_map(|byte| [*byte, byte % 16]).collect();
        files::write_new(&folder.join(format!("{number:06}.txt")), &text, false).unwrap();
    }
}

fn fill_large(path: &Path, bytes: u64, insert: bool, append: u64) {
    use std::io::Write as _;
    let mut file = files::AtomicFile::create(path).unwrap();
    let blocks = bytes >> 22;
    for block in 0..blocks {
        if insert && block == blocks / 2 {
            file.write_all(&noise(u64::MAX, 1 << 20)).unwrap();
        }
        file.write_all(&noise(block, 1 << 22)).unwrap();
    }
    for block in 0..append >> 20 {
        file.write_all(&noise(u64::MAX - 1 - block, 1 << 20)).unwrap();
    }
    file.commit().unwrap();
}

fn scan(directory: &Path) -> Vec<NewFile> {
    let mut found = Vec::new();
    files::scan(directory, files::OddNames::Refused, &mut |entry| {
        if entry.kind == files::EntryKind::File {
            found.push(NewFile { path: directory.join(entry.path), size: entry.size });
        }
        ScanNext::Enter
    })
    .unwrap();
    found
}

async fn add(store: &Store, directory: &Path) -> (ropewalk_types::Digest, Vec<TreeFile>) {
    let found = scan(directory);
    let mut writer = store.writer();
    let blobs = writer.add_files(found.clone()).await.unwrap();
    let name = |path: &PathBuf| path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
    let files: Vec<_> = found
        .iter()
        .zip(blobs)
        .map(|(file, blob)| TreeFile {
            path: name(&file.path),
            digest: blob.digest,
            size: blob.size,
            executable: false,
        })
        .collect();
    let tree = writer.add_tree_of(&files).await.unwrap();
    writer.commit().await.unwrap();
    (tree, files)
}

async fn many(root: &Path, count: u64) {
    let source = root.join("source");
    fill(&source, count);
    let url = |name: &str| format!("file:{}", root.join(name).display());
    let store = Store::open(&url("store")).await.unwrap();
    let (tree, list) = measured("add many", add(&store, &source)).await;
    measured("add the same again", add(&store, &source)).await;
    measured("scan", async { scan(&source) }).await;
    let open = measured("open", Store::open(&url("store"))).await.unwrap();
    let other = Store::open(&url("other")).await.unwrap();
    measured("copy_to", open.copy_to(&other, &[Root::Tree(tree)], &NoProgress)).await.unwrap();
    measured("copy_to with nothing to do", open.copy_to(&other, &[Root::Tree(tree)], &NoProgress)).await.unwrap();
    measured("tree_files", open.tree_files(&tree)).await.unwrap();
    let target = root.join("target");
    measured("files_lay_out", open.files_lay_out(&list, &target, LinkMode::Auto, &NoProgress)).await.unwrap();
    measured("verify", other.verify(None)).await.unwrap();
    let settings = CollectSettings { now: SystemTime::now(), grace: Duration::ZERO, dry_run: false };
    measured("collect all", other.collect(&[], &settings)).await.unwrap();
}

async fn large(root: &Path, bytes: u64) {
    let path = root.join("large");
    let store = Store::open(&format!("file:{}", root.join("large-store").display())).await.unwrap();
    let packs = || -> u64 { files::list(&root.join("large-store/packs")).unwrap().iter().map(|pack| pack.size).sum() };
    fill_large(&path, bytes, false, 0);
    measured("add large", store.put_file(&path)).await.unwrap();
    let before = packs();
    fill_large(&path, bytes, false, bytes / 100);
    measured("append 1 %, add again", store.put_file(&path)).await.unwrap();
    println!("{:<46} {:7.1} MB", "  stored", (packs() - before) as f64 / 1e6);
    let before = packs();
    fill_large(&path, bytes, true, bytes / 100);
    let blob = measured("insert 1 MB, add again", store.put_file(&path)).await.unwrap();
    println!("{:<46} {:7.1} MB", "  stored", (packs() - before) as f64 / 1e6);
    measured("materialize", store.materialize(&blob.digest, &root.join("large-out"))).await.unwrap();
}

/// What a server does with an artifact: a body that comes in pieces and goes in pieces.
async fn body(root: &Path, bytes: u64) {
    let url = format!("file:{}", root.join("body-store").display());
    let store = Store::open(&url).await.unwrap();
    let pieces = (0..bytes >> 18).map(|number| Ok::<_, StoreError>(Bytes::from(noise(number, 1 << 18))));
    // In memory before it is measured: making the noise costs as much as storing it.
    let pieces: Vec<_> = pieces.collect();
    let blob = measured("take in a body", store.put_stream(futures::stream::iter(pieces))).await.unwrap();
    let read = async |store: &Store| {
        let mut body = store.blob_body(&blob.digest, 0..blob.size);
        let mut length = 0;
        while let Some(piece) = body.try_next().await.unwrap() {
            length += piece.len() as u64;
        }
        assert_eq!(length, blob.size);
    };
    measured("give it", read(&store)).await;
    let other = Store::open(&url).await.unwrap();
    measured("give it after a restart", read(&other)).await;
    measured("give it again", read(&other)).await;
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, count, bytes] = arguments.as_slice() else { panic!("measure DIRECTORY FILES BYTES") };
    let root = PathBuf::from(directory);
    assert!(!files::exists(&root).unwrap(), "measure in a new directory");
    files::create_directories(&root).unwrap();
    many(&root, count.parse().unwrap()).await;
    large(&root, bytes.parse().unwrap()).await;
    body(&root, bytes.parse().unwrap()).await;
}
