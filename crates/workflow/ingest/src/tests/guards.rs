use std::io::{Cursor, Write as _};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::fixture::{Project, flights, raw_workbook, zip};
use crate::IngestError;
use ropewalk_types::Diagnose as _;

async fn refusal(bytes: &[u8]) -> String {
    let project = Project::new().await;
    let error = project.ingest("a.zip", bytes).await.unwrap_err();
    assert_eq!(error.code(), "ingest.archive", "{error}");
    assert!(error.hint().is_some());
    error.to_string()
}

/// Replaces the only two occurrences of a name (local and central header) or the last one (central header).
fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<_> = (0..=bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[tokio::test]
async fn names_that_lead_outside() {
    for name in ["../evil.csv", "a/../../evil.csv", "/etc/evil.csv", "..\\evil.csv", "C:\\evil.csv"] {
        let text = refusal(&zip(&[(name, b"a\n1\n")])).await;
        assert!(text.contains("leads outside"), "{name}: {text}");
    }
}

#[tokio::test]
async fn links_archives_and_equal_names() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("x.csv", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    assert!(refusal(&writer.finish().unwrap().into_inner()).await.contains("symbolic link"));
    let inner = zip(&[("a.csv", b"a\n1\n")]);
    let deep = zip(&[("deep.zip", &zip(&[("deeper.zip", &inner)]))]);
    let text = refusal(&deep).await;
    assert!(text.contains("a.zip/deep.zip/deeper.zip") && text.contains("it lies in 2 archives"), "{text}");
    let twice = patched(zip(&[("a1.csv", b"a\n1\n"), ("a2.csv", b"a\n2\n")]), b"a2.csv", b"a1.csv");
    assert!(refusal(&twice).await.contains("same name"));
}

#[tokio::test]
async fn encrypted_entries() {
    let mut bytes = zip(&[("a.csv", b"a\n1\n")]);
    // General purpose flag, bit 0 (APPNOTE 4.4.4), in the local and in the central header.
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[6] |= 1;
    bytes[central + 8] |= 1;
    assert!(refusal(&bytes).await.contains("encrypted"));
}

#[tokio::test]
async fn bombs() {
    let zeros = vec![b'0'; 8 << 20];
    assert!(refusal(&zip(&[("bomb.csv", &zeros)])).await.contains("times its size"));
    let project = Project::new().await;
    let mut settings = project.settings("a.zip", &zip(&[("a.csv", &[b'a'; 600]), ("b.csv", &[b'b'; 600])]));
    settings.limits.total_bytes = 1000;
    assert!(project.run(&settings).await.unwrap_err().to_string().contains("more than 1000 bytes"));
    settings.limits.total_bytes = 2000;
    settings.limits.entries = 1;
    assert!(project.run(&settings).await.unwrap_err().to_string().contains("2 entries, 1 are accepted"));
}

#[tokio::test]
async fn sizes_that_lie() {
    let mut bytes = zip(&[("a.csv", b"a\n1\n2\n3\n")]);
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    // The uncompressed size (APPNOTE 4.3.12) of 8 bytes becomes 4.
    assert_eq!(bytes[central + 24], 8);
    bytes[central + 24] = 4;
    bytes[22] = 4;
    let text = refusal(&bytes).await;
    assert!(text.contains("declares 4 bytes") || text.contains("damaged"), "{text}");
}

#[tokio::test]
async fn bombs_inside_a_workbook() {
    let project = Project::new().await;
    let book = raw_workbook(&" ".repeat(8 << 20), false);
    let error = project.ingest("b.xlsx", &book).await.unwrap_err().to_string();
    assert!(error.contains("b.xlsx") && error.contains("times its size"), "{error}");
}

#[tokio::test]
async fn cut_off_files() {
    let book = flights(0, 50);
    let source = zip(&[("a.xlsx", &book), ("b.xlsx", &book[..book.len() / 2])]);
    assert!(refusal(&source[..source.len() / 2]).await.contains("whole zip archive"));
    let text = refusal(&source).await;
    assert!(text.contains("`b.xlsx`"), "{text}");
    let project = Project::new().await;
    for name in ["c.xls", "c.ods", "c.xlsb"] {
        assert!(project.ingest(name, b"PK\x03\x04garbage").await.is_err(), "{name}");
    }
    let ole = [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(), &[0; 600]].concat();
    assert!(project.ingest("c.xls", &ole).await.is_err());
}

#[tokio::test]
async fn names_and_contents_that_disagree() {
    let project = Project::new().await;
    let book = flights(0, 2);
    let ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and more";
    for (name, bytes, says) in [
        ("a.csv", book.as_slice(), "not text"),
        ("a.xlsx", b"id,name\n1,x\n".as_slice(), "does not begin as one"),
        ("a.xlsx", ole, "password"),
        ("a.xlsx", b"", "is empty"),
        ("a.xls", &book, "under another name"),
    ] {
        let error = project.ingest(name, bytes).await.unwrap_err();
        assert!(matches!(error, IngestError::Table { .. }) && error.to_string().contains(says), "{name}: {error}");
    }
    for name in ["a.pdf", "a"] {
        assert_eq!(project.ingest(name, b"x").await.unwrap_err().code(), "ingest.source_kind");
    }
    assert_eq!(project.ingest("a.zip", &zip(&[("a.txt", b"x")])).await.unwrap_err().code(), "ingest.empty");
}

#[tokio::test]
async fn stored_entries_keep_working() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    writer.add_directory("d/", stored).unwrap();
    writer.start_file("d/a.tsv", stored).unwrap();
    writer.write_all(b"a\tb\n1\tx,y\n").unwrap();
    let project = Project::new().await;
    let made = project.ingest("a.zip", &writer.finish().unwrap().into_inner()).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1|x,y"]);
}

#[tokio::test]
async fn what_must_be_held_is_bounded() {
    let project = Project::new().await;
    for name in ["b.xlsx", "b.xls"] {
        let bytes = if name == "b.xls" { b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec() } else { flights(0, 2) };
        let mut settings = project.settings(name, &bytes);
        settings.limits.held_bytes = 4;
        let error = project.run(&settings).await.unwrap_err().to_string();
        assert!(error.contains("4 are accepted"), "{error}");
    }
    let wide = ",".repeat(20_000);
    let error = project.ingest("w.csv", wide.as_bytes()).await.unwrap_err().to_string();
    assert!(error.contains("20001 columns"), "{error}");
}
