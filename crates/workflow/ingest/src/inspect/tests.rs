use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use ropewalk_store::{Blob, Tree, TreeEntry};

use super::*;
use crate::{ColumnReport, PartWriter, REPORT_FORMAT, Scratch, TableReport, publish};

fn numbers(count: i64) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn texts(count: usize) -> RecordBatch {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values((0..count).map(|n| n.to_string())));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

async fn part(store: &Store, batch: &RecordBatch) -> Blob {
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::new(folder.path()).unwrap();
    let file = scratch.file().unwrap();
    let mut writer = PartWriter::new(file.as_file().try_clone().unwrap(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    store.put_file(file.path()).await.unwrap()
}

async fn published(store: &Store, parts: &[Blob], rows: u64) -> Digest {
    let column =
        ColumnReport { name: "n".to_owned(), data_type: "int64".to_owned(), nulls: 0, misfits: 0, notes: Vec::new() };
    let report = TableReport {
        format: REPORT_FORMAT,
        rows,
        columns: vec![column],
        files: Vec::new(),
        skipped: Vec::new(),
        quarantined: 2,
        empty_rows: 0,
        error_cells: 0,
        notes: Vec::new(),
        kept_files: None,
        origin: None,
    };
    publish(store, parts, None, &report).await.unwrap().0
}

#[tokio::test]
async fn every_part_is_looked_into() {
    let store = Store::open("memory:").await.unwrap();
    let (first, second) = (part(&store, &numbers(3)).await, part(&store, &numbers(40_000)).await);
    let found = inspect(&store, &published(&store, &[first, second], 40_003).await).await.unwrap();
    let column = Column { name: "n".to_owned(), data_type: "int64".to_owned() };
    assert_eq!(found, Inspected { rows: 40_003, columns: vec![column], quarantined: 2 });
    let other = part(&store, &texts(5)).await;
    let short = store.put_bytes(Bytes::from_static(b"PAR1")).await.unwrap();
    let noise = store.put_bytes(Bytes::from(vec![7; 5000])).await.unwrap();
    let cut = store.put_bytes(Bytes::from_static(b"PAR1xxxx\xff\xff\0\0PAR1")).await.unwrap();
    let longer = Blob { size: first.size + 1, ..first };
    for (parts, rows, says) in [
        (vec![first], 4, "its report says 4 rows, its parts hold 3"),
        (vec![first, other], 8, "part 1 has other columns"),
        (vec![other], 5, "its report names other columns"),
        (vec![short], 0, "too short"),
        (vec![first, noise], 3, "part 1: "),
        (vec![cut], 0, "longer than the file"),
        (vec![longer], 3, "part 0: "),
    ] {
        let error = inspect(&store, &published(&store, &parts, rows).await).await.unwrap_err();
        assert!(matches!(error, IngestError::Damaged { .. }) && error.to_string().contains(says), "{says}: {error}");
    }
}

#[tokio::test]
async fn a_report_that_is_too_long_is_not_read() {
    let store = Store::open("memory:").await.unwrap();
    let long = store.put_bytes(Bytes::from(vec![b' '; LONGEST_REPORT as usize + 1])).await.unwrap();
    let short = store.put_bytes(Bytes::from_static(b"{}")).await.unwrap();
    // The tree may lie in both directions.
    for (digest, size, says) in [
        (long.digest, 2, "67108865 bytes"),
        (short.digest, LONGEST_REPORT + 1, "67108865 bytes"),
        (short.digest, 2, "cannot be read"),
    ] {
        let mut tree = Tree::new();
        tree.insert("report.json", TreeEntry::File { digest, size, executable: false }).unwrap();
        let tree = store.tree_put(&tree).await.unwrap();
        let error = inspect(&store, &tree).await.unwrap_err();
        assert!(matches!(error, IngestError::Damaged { .. }) && error.to_string().contains(says), "{says}: {error}");
    }
}

#[tokio::test]
async fn what_is_no_version_is_told() {
    let store = Store::open("memory:").await.unwrap();
    let blob = store.put_bytes(Bytes::from_static(b"text")).await.unwrap();
    assert!(inspect(&store, &blob.digest).await.is_err(), "a blob is no tree");
    let mut tree = Tree::new();
    tree.insert("data", TreeEntry::File { digest: blob.digest, size: 4, executable: false }).unwrap();
    let tree = store.tree_put(&tree).await.unwrap();
    assert!(inspect(&store, &tree).await.is_err(), "files without a report are no table");
}
