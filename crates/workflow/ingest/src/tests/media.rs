use ropewalk_store::TreeEntry;
use ropewalk_types::Digest;

use super::fixture::{Project, gzip, tar, zip};
use crate::{Content, IngestError, IngestSettings};

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
