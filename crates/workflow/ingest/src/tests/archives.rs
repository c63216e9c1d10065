use std::io::Write as _;

use super::fixture::{Project, flights, gzip, tar, tar_raw, zip, zstandard};
use ropewalk_types::Diagnose as _;
use tar::EntryType;

async fn refusal_of(name: &str, bytes: &[u8]) -> String {
    let project = Project::new().await;
    let error = project.ingest(name, bytes).await.unwrap_err();
    assert_eq!(error.code(), "ingest.archive", "{error}");
    error.to_string()
}

#[tokio::test]
async fn tars_of_every_packing() {
    let plain = tar(&[("d/b.csv", b"id\n2\n"), ("./a.csv", b"id\n1\n"), ("notes.txt", b"x")]);
    for (name, bytes) in [
        ("t.tar", plain.clone()),
        ("t.tar.gz", gzip(&plain)),
        ("t.tgz", gzip(&plain)),
        ("t.tar.zst", zstandard(&plain)),
    ] {
        let project = Project::new().await;
        let made = project.ingest(name, &bytes).await.unwrap();
        assert_eq!(project.rows(&made.tree).await, ["1", "2"], "{name}");
        let names: Vec<_> = made.report.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a.csv", "d/b.csv"]);
        assert_eq!(made.report.skipped[0].name, "notes.txt");
    }
}

#[tokio::test]
async fn archives_in_archives_to_a_depth() {
    let inner = gzip(&tar(&[("x.csv", b"id\n1\n")]));
    let outer = zip(&[("in.tar.gz", &inner), ("y.csv.gz", &gzip(b"id\n2\n"))]);
    let project = Project::new().await;
    let mut settings = project.settings("o.zip", &outer);
    let made = project.run(&settings).await.unwrap();
    let names: Vec<_> = made.report.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["in.tar.gz/x.csv", "y.csv.gz"]);
    settings.limits.archive_depth = 1;
    let error = project.run(&settings).await.unwrap_err().to_string();
    assert!(error.contains("o.zip/in.tar.gz") && error.contains("it lies in 1 archives"), "{error}");
    let deeper = tar(&[("o.zip", &outer)]);
    assert!(refusal_of("d.tar", &deeper).await.contains("it lies in 2 archives"));
}

#[tokio::test]
async fn names_that_lead_outside_of_a_tar() {
    for name in [&b"../evil.csv"[..], b"a/../../evil.csv", b"/etc/evil.csv", b"..\\evil.csv"] {
        let text = refusal_of("t.tar", &tar_raw(name, EntryType::Regular, b"a\n1\n")).await;
        assert!(text.contains("leads outside"), "{text}");
    }
}

#[tokio::test]
async fn links_and_devices_of_a_tar() {
    for (kind, says) in [
        (EntryType::Symlink, "a symbolic link"),
        (EntryType::Link, "a hard link"),
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a pipe"),
        (EntryType::GNUSparse, "a sparse file"),
        (EntryType::new(b'Z'), "of a kind that is not known"),
    ] {
        let text = refusal_of("t.tar", &tar_raw(b"a.csv", kind, b"")).await;
        assert!(text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn equal_names_counts_and_sizes_of_a_tar() {
    let twice = tar(&[("a.csv", b"a\n1\n"), ("./a.csv", b"a\n2\n")]);
    assert!(refusal_of("t.tar", &twice).await.contains("two entries are called"));
    let project = Project::new().await;
    let mut settings = project.settings("t.tar", &tar(&[("a.csv", &[b'a'; 600]), ("b.csv", &[b'b'; 600])]));
    settings.limits.total_bytes = 1000;
    assert!(project.run(&settings).await.unwrap_err().to_string().contains("more than 1000 bytes"));
    settings.limits.total_bytes = 2000;
    settings.limits.entries = 1;
    assert!(project.run(&settings).await.unwrap_err().to_string().contains("more than 1 entries"));
}

#[tokio::test]
async fn bombs_of_a_packed_tar() {
    let zeros = vec![b'0'; 8 << 20];
    let bomb = tar(&[("a.csv", &zeros)]);
    for (name, bytes) in [("t.tar.gz", gzip(&bomb)), ("t.tar.zst", zstandard(&bomb)), ("t.csv.gz", gzip(&zeros))] {
        let text = refusal_of(name, &bytes).await;
        assert!(text.contains("more than 250 times its size"), "{name}: {text}");
    }
    let header = tar_raw(b"long", EntryType::GNULongName, &zeros);
    assert!(refusal_of("t.tar", &header).await.contains("extended header has more than"));
    let header = tar_raw(b"pax", EntryType::XHeader, &zeros);
    assert!(refusal_of("t.tar", &header).await.contains("extended header has more than"));
}

#[tokio::test]
async fn extended_headers_of_a_tar() {
    let long = format!("{}/a.csv", "d".repeat(150));
    let project = Project::new().await;
    let made = project.ingest("t.tar", &tar(&[(&long, b"id\n1\n")])).await.unwrap();
    assert_eq!(made.report.files[0].name, long);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("path", &b"p/\xc3\xa9.csv"[..])]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("short.csv").unwrap();
    header.set_size(5);
    header.set_cksum();
    builder.append(&header, &b"id\n7\n"[..]).unwrap();
    let made = project.ingest("t.tar", &builder.into_inner().unwrap()).await.unwrap();
    assert_eq!(made.report.files[0].name, "p/é.csv");
    for (key, value, says) in [
        ("size", &b"99"[..], "99 bytes by its extended header"),
        ("GNU.sparse.major", b"1", "sparse file"),
        ("path", b"../x.csv", "leads outside"),
        ("path", b"\xff.csv", "not UTF-8"),
    ] {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([(key, value)]).unwrap();
        builder.append(&header, &b"id\n7\n"[..]).unwrap();
        let text = refusal_of("t.tar", &builder.into_inner().unwrap()).await;
        assert!(text.contains(says), "{key}: {text}");
    }
}

#[tokio::test]
async fn cut_off_archives() {
    let book = flights(0, 50);
    let whole = tar(&[("a.xlsx", &book)]);
    assert!(refusal_of("t.tar", &whole[..whole.len() / 2]).await.contains("cut off"));
    let packed = gzip(&whole);
    assert!(refusal_of("t.tar.gz", &packed[..packed.len() / 2]).await.contains("cut off"));
    let packed = gzip(b"id\n1\n");
    assert!(refusal_of("t.csv.gz", &packed[..packed.len() - 4]).await.contains("cut off"));
    assert!(refusal_of("t.csv.gz", b"id\n1\n").await.contains("damaged"));
    let mut scribbled = packed.clone();
    scribbled[12] ^= 0xff;
    assert!(refusal_of("t.csv.gz", &scribbled).await.contains("damaged"));
}

#[tokio::test]
async fn a_huge_header_is_refused() {
    let project = Project::new().await;
    let mut line = Vec::new();
    while line.len() <= 17 << 20 {
        line.write_all(b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
    }
    let error = project.ingest("h.csv", &line).await.unwrap_err().to_string();
    assert!(error.contains("line 1 has more than 16777216 bytes"), "{error}");
    line.splice(0..0, *b"\"");
    let error = project.ingest("h.jsonl", &line).await.unwrap_err().to_string();
    assert!(error.contains("record on line 1 has more than"), "{error}");
}
