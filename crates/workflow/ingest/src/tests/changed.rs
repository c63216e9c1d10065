//! Files that somebody writes to while they are read.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use ropewalk_store::files;

use super::fixture::{Project, gzip, parquet, zip};
use crate::{IngestError, IngestProgress, IngestSettings, Ingested, StoreCheckpoints, ingest};

/// Puts other bytes in the place of a file as soon as something is heard.
struct Meddler {
    path: PathBuf,
    bytes: Vec<u8>,
    /// The file after whose part it is done; when the files are found, if none is named.
    after: Option<&'static str>,
}

impl IngestProgress for Meddler {
    fn files_found(&self, _: usize) {
        if self.after.is_none() {
            files::write_atomic(&self.path, &self.bytes).unwrap();
        }
    }

    fn file_read(&self, _: &str, _: u64, _: bool) {}

    fn file_written(&self, name: &str, _: u64) {
        if self.after == Some(name) {
            files::write_atomic(&self.path, &self.bytes).unwrap();
        }
    }
}

async fn meddled(project: &Project, settings: &IngestSettings, meddler: &Meddler) -> Result<Ingested, IngestError> {
    let checkpoints = StoreCheckpoints::new(project.store.clone());
    ingest(settings, &project.path(), &project.store, &checkpoints, meddler).await
}

fn numbers(numbers: &[i64]) -> Vec<u8> {
    let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    parquet(&RecordBatch::try_from_iter([("id", column)]).unwrap())
}

/// The files that are read twice: for their columns, and then for their rows.
#[tokio::test]
async fn a_file_that_is_replaced_before_its_rows_are_read_is_no_version() {
    for (name, old, new) in [
        ("2.parquet", numbers(&[2]), numbers(&[7, 8])),
        ("2.jsonl", b"{\"id\":2}\n".to_vec(), b"{\"id\":7}\n{\"id\":8}\n".to_vec()),
    ] {
        let project = Project::new().await;
        project.write("in/1.parquet", &numbers(&[1]));
        project.write(&format!("in/{name}"), &old);
        let mut settings = IngestSettings::new("in", project.scratch());
        settings.parallelism = NonZeroUsize::MIN;
        let path = project.path().join("in").join(name);
        let meddler = Meddler { path, bytes: new, after: Some("1.parquet") };
        let error = meddled(&project, &settings, &meddler).await.unwrap_err();
        assert!(matches!(&error, IngestError::Changed { file } if file.ends_with(name)), "{error}");
        // What was read of the other file is not kept as this one's rows.
        project.write(&format!("in/{name}"), &old);
        let made = project.run(&settings).await.unwrap();
        assert_eq!(project.rows(&made.tree).await, ["1", "2"], "{name}");
    }
}

#[tokio::test]
async fn a_file_that_is_replaced_before_it_is_read_leaves_no_checkpoint() {
    let (old, new) = (b"id\n1\n".to_vec(), b"id\n7\n8\n".to_vec());
    for (name, old, new) in [
        ("t.csv", old.clone(), new.clone()),
        ("t.csv.gz", gzip(&old), gzip(&new)),
        ("t.jsonl", b"{\"id\":1}\n".to_vec(), b"{\"id\":7,\"b\":1}\n".to_vec()),
        ("t.zip", zip(&[("1.csv", &old)]), zip(&[("1.csv", &new)])),
    ] {
        let project = Project::new().await;
        let settings = project.settings(name, &old);
        let meddler = Meddler { path: project.path().join(name), bytes: new, after: None };
        let error = meddled(&project, &settings, &meddler).await.unwrap_err();
        assert!(matches!(&error, IngestError::Changed { file } if file.ends_with(name)), "{error}");
        project.write(name, &old);
        let made = project.run(&settings).await.unwrap();
        assert_eq!((project.rows(&made.tree).await, made.reused_pieces), (vec!["1".to_owned()], 0), "{name}");
    }
}

#[tokio::test]
async fn an_image_that_is_replaced_before_it_is_stored_is_no_version() {
    let project = Project::new().await;
    let settings = project.settings("in/x.png", b"\x89PNG\r\n\x1a\n, and then nothing");
    let settings = IngestSettings { source: "in".into(), ..settings };
    let meddler = Meddler { path: project.path().join("in/x.png"), bytes: b"another".to_vec(), after: None };
    let error = meddled(&project, &settings, &meddler).await.unwrap_err();
    assert!(matches!(&error, IngestError::Changed { file } if file.ends_with("x.png")), "{error}");
}
