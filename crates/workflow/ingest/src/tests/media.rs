use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use ropewalk_store::{CollectSettings, Root, Store, TreeEntry};
use ropewalk_types::Digest;

use super::fixture::{Project, gzip, tar, zip};
use super::ingest::Failing;
use crate::{Content, IngestError, IngestProgress, IngestSettings, NoProgress, StoreCheckpoints, ingest};

/// An image of PNG's signature and header (RFC 2083, section 11.2.1), which is all that is looked at.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// Silence as RIFF/WAVE of 16-bit samples.
fn wav(rate: u32, channels: u16, seconds: u32) -> Vec<u8> {
    let (block, data) = (channels * 2, rate * seconds * u32::from(channels) * 2);
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * u32::from(block)).to_le_bytes());
    bytes.extend(block.to_le_bytes());
    bytes.extend(16_u16.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(data.to_le_bytes());
    bytes.resize(bytes.len() + data as usize, 0);
    bytes
}

#[tokio::test]
async fn images_and_audio_are_kept_with_a_table_of_what_they_are() {
    let (cat, tone) = (png(640, 480), wav(8000, 2, 3));
    let entries: [(&str, &[u8]); 4] =
        [("a/cat.png", &cat), ("tone.wav", &tone), ("a/broken.jpg", b"no image"), ("notes.txt", b"x")];
    let project = Project::new().await;
    for (name, bytes) in entries {
        project.write(&format!("in/{name}"), bytes);
    }
    let folder = project.run(&IngestSettings::new("in", project.scratch())).await.unwrap();
    let rows = [
        format!("a/cat.png|{}|{}|image/png|640|480|||", cat.len(), Digest::of(&cat)),
        format!("tone.wav|{}|{}|audio/wav|||3.0|8000|2", tone.len(), Digest::of(&tone)),
    ];
    assert_eq!(project.rows(&folder.tree).await, rows);
    assert_eq!((folder.report.rows, folder.report.quarantined, folder.report.kept_files), (2, 1, Some(3)));
    let listed = project.quarantine(&folder.tree).await;
    assert!(listed[0].starts_with("a/broken.jpg||") && listed[0].contains("no image that is known"), "{listed:?}");
    assert_eq!(folder.report.skipped[0].name, "notes.txt");
    let tree = project.store.tree_get(&folder.tree).await.unwrap();
    let Some(TreeEntry::Directory { digest }) = tree.get("files") else { panic!("no files") };
    let kept: Vec<_> = project.store.tree_files(digest).await.unwrap().into_iter().map(|file| file.path).collect();
    assert_eq!(kept, ["a/broken.jpg", "a/cat.png", "tone.wav"]);
    for (name, archive) in [("in.zip", zip(&entries)), ("in.tgz", gzip(&tar(&entries)))] {
        let made = project.ingest(name, &archive).await.unwrap();
        assert_eq!(made.tree, folder.tree, "{name}");
    }
}

#[tokio::test]
async fn files_that_a_collector_took_meanwhile_are_stored_again() {
    let (cat, tone) = (png(640, 480), wav(8000, 2, 3));
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().display());
    let project = Project::with_store(Store::open(&url).await.unwrap());
    project.store.put_bytes(cat.clone().into()).await.unwrap();
    // Another process, so that the project's own handle knows nothing of it.
    let (other, grace) = (Store::open(&url).await.unwrap(), Duration::from_hours(1));
    for hours in [2, 4] {
        let now = SystemTime::now() + hours * grace;
        other.collect(&[], &CollectSettings { now, grace, dry_run: false }).await.unwrap();
    }
    project.write("in/cat.png", &cat);
    project.write("in/tone.wav", &tone);
    let count = Count::default();
    let checkpoints = StoreCheckpoints::new(project.store.clone());
    let settings = IngestSettings::new("in", project.scratch());
    ingest(&settings, &project.path(), &project.store, &checkpoints, &count).await.unwrap();
    assert_eq!(count.read.load(Ordering::SeqCst), 2, "each is told of once");
    let fresh = Store::open(&url).await.unwrap();
    for bytes in [cat, tone] {
        assert!(fresh.contains(&Digest::of(&bytes)).await.unwrap());
    }
}

#[tokio::test]
async fn files_of_a_checkpoint_that_a_collector_took_are_stored_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().display());
    let project = Project::with_store(Store::open(&url).await.unwrap());
    let (cat, settings) = (png(640, 480), IngestSettings::new("in", project.scratch()));
    project.write("in/cat.png", &cat);
    project.run(&settings).await.unwrap();
    let (other, grace) = (Store::open(&url).await.unwrap(), Duration::from_hours(1));
    for hours in [2, 4] {
        let now = SystemTime::now() + hours * grace;
        other.collect(&[], &CollectSettings { now, grace, dry_run: false }).await.unwrap();
    }
    assert!(!Store::open(&url).await.unwrap().contains(&Digest::of(&cat)).await.unwrap());
    // The project's own handle has not heard of that.
    let made = project.run(&settings).await.unwrap();
    let fresh = Store::open(&url).await.unwrap();
    assert!(fresh.missing(&[Root::Tree(made.tree)]).await.unwrap().is_empty());
}

/// Counts the files that were read, and those that an earlier run had read.
#[derive(Default)]
struct Count {
    read: AtomicUsize,
    reused: AtomicUsize,
}

impl IngestProgress for Count {
    fn files_found(&self, _: usize) {}

    fn file_read(&self, _: &str, _: u64, reused: bool) {
        let count = if reused { &self.reused } else { &self.read };
        count.fetch_add(1, Ordering::SeqCst);
    }

    fn file_written(&self, _: &str, _: u64) {}
}

const IMAGES: usize = 3000;

/// Images, each of another size; number `without` is not among them.
fn images(without: Option<usize>) -> Vec<u8> {
    let images: Vec<_> = (0..IMAGES)
        .filter(|number| Some(*number) != without)
        .map(|number| (format!("{number:05}.png"), png(number as u32 + 1, 7)))
        .collect();
    tar(&images.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>())
}

#[tokio::test]
async fn an_import_of_images_that_was_cut_off_reads_only_the_rest() {
    let (project, undisturbed) = (Project::new().await, Project::new().await);
    for (name, source) in [("i.tar", images(None)), ("i.zip", zip_of(&images(None)))] {
        let mut settings = project.settings(name, &source);
        settings.parallelism = NonZeroUsize::MIN;
        let failing = Failing { inner: StoreCheckpoints::new(project.store.clone()), allowed: AtomicUsize::new(4) };
        let error = ingest(&settings, &project.path(), &project.store, &failing, &NoProgress).await.unwrap_err();
        assert!(error.to_string().contains("switched off"), "{error}");
        let (count, checkpoints) = (Count::default(), StoreCheckpoints::new(project.store.clone()));
        let made = ingest(&settings, &project.path(), &project.store, &checkpoints, &count).await.unwrap();
        let (read, reused) = (count.read.into_inner(), count.reused.into_inner());
        assert_eq!((made.executed_pieces, made.reused_pieces, read + reused), (read, reused, IMAGES));
        assert!(reused >= IMAGES / 12 && read >= IMAGES / 2, "{name}: {read} read, {reused} reused");
        let whole = undisturbed.ingest(name, &source).await.unwrap();
        assert_eq!((made.tree, made.bytes), (whole.tree, whole.bytes));
        let again = project.run(&settings).await.unwrap();
        assert_eq!((again.reused_pieces, again.executed_pieces, again.tree), (IMAGES, 0, made.tree));
    }
}

/// What a tar holds, as a zip.
fn zip_of(tar: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut archive = tar::Archive::new(tar);
    let entries: Vec<(String, Vec<u8>)> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let (mut entry, mut bytes) = (entry.unwrap(), Vec::new());
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        })
        .collect();
    zip(&entries.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>())
}

#[tokio::test]
async fn an_image_less_leaves_most_others_as_they_are() {
    let project = Project::new().await;
    let first = project.ingest("i.tar", &images(None)).await.unwrap();
    let second = project.ingest("i.tar", &images(Some(1500))).await.unwrap();
    assert_ne!(first.tree, second.tree);
    assert_eq!((second.report.rows, second.report.kept_files), (IMAGES as u64 - 1, Some(IMAGES as u64 - 1)));
    assert!(second.executed_pieces < IMAGES / 5, "{} read again", second.executed_pieces);
}

#[tokio::test]
async fn tables_among_images_have_to_be_said() {
    let project = Project::new().await;
    let image = png(1, 1);
    let mut settings = project.settings("t.zip", &zip(&[("x.png", &image), ("labels.csv", b"id\n1\n")]));
    let error = project.run(&settings).await.unwrap_err();
    assert!(
        matches!(error, IngestError::Settings { .. }) && error.to_string().contains("1 tables and 1 images"),
        "{error}"
    );
    settings.content = Content::Tables;
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1"]);
    assert_eq!(made.report.skipped[0].name, "x.png");
    settings.content = Content::Files;
    let made = project.run(&settings).await.unwrap();
    assert_eq!((made.report.rows, made.report.kept_files), (2, Some(2)));
    let mut settings = project.settings("e.zip", &zip(&[]));
    settings.content = Content::Files;
    assert!(matches!(project.run(&settings).await.unwrap_err(), IngestError::Empty { .. }));
}
