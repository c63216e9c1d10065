use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use ropewalk_store::files;
use ropewalk_types::{Diagnose as _, Digest};

use super::fixture::{Project, Put, flights, workbook, zip};
use crate::{Checkpoints, IngestError, IngestProgress, IngestSettings, NoProgress, StoreCheckpoints, ingest, report};

#[tokio::test]
async fn types_of_a_workbook() {
    let project = Project::new().await;
    let book = workbook(&[
        &["id", "share", "late", "day", "moment", "clock", "name"].map(Put::Text),
        &[
            Put::Number(3.0),
            Put::Number(0.5),
            Put::Truth(true),
            Put::Moment(41_275.0),
            Put::Moment(41_275.25),
            Put::Clock(0.75),
            Put::Text("a"),
        ],
        &[Put::Nothing],
        &[
            Put::Text("NA"),
            Put::Number(1.0),
            Put::NotAvailable,
            Put::Moment(41_276.0),
            Put::Text("2013-01-03T00:00:01Z"),
            Put::Clock(0.5),
            Put::Number(7.0),
        ],
    ]);
    let made = project.ingest("b.xlsx", &book).await.unwrap();
    let types: Vec<_> = made.report.columns.iter().map(|column| column.data_type.as_str()).collect();
    assert_eq!(types, ["int64", "float64", "boolean", "date", "timestamp", "text", "text"]);
    assert_eq!(
        project.rows(&made.tree).await,
        ["3|0.5|true|2013-01-01|2013-01-01T06:00:00|18:00:00|a", "|1.0||2013-01-02|2013-01-03T00:00:01|12:00:00|7"]
    );
    assert_eq!((made.report.empty_rows, made.report.error_cells), (1, 1));
    assert_eq!(made.report.columns[0].nulls, 1);
    assert_eq!(made.report.files[0].sheet.as_deref(), Some("data"));
    assert_eq!(made.source.path.to_str(), Some("b.xlsx"));
    assert_eq!(made.source.digest, Digest::of(&book));
    assert_eq!(report(&project.store, &made.tree).await.unwrap(), made.report);
    let text = String::from_utf8(made.report.encode().unwrap()).unwrap();
    assert!(!text.contains(project.path().to_str().unwrap()), "no absolute path: {text}");
}

#[tokio::test]
async fn files_with_different_columns() {
    let project = Project::new().await;
    let source = zip(&[
        ("b/2.csv", b"name;id\nx;2.5\n"),
        ("a.xlsx", &workbook(&[&[Put::Text("id"), Put::Text("old")], &[Put::Number(1.0), Put::Truth(true)]])),
        ("c.csv", b""),
        ("notes.txt", b"hello"),
        ("__MACOSX/._a.xlsx", b"x"),
    ]);
    let made = project.ingest("mixed.zip", &source).await.unwrap();
    let columns: Vec<_> =
        made.report.columns.iter().map(|column| (column.name.as_str(), column.data_type.as_str())).collect();
    assert_eq!(columns, [("id", "float64"), ("old", "boolean"), ("name", "text")]);
    assert_eq!(project.rows(&made.tree).await, ["1.0|true|", "2.5||x"]);
    let files = &made.report.files;
    assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["a.xlsx", "b/2.csv", "c.csv"]);
    assert_eq!(files[0].missing_columns, ["name"]);
    assert_eq!(files[1].missing_columns, ["old"]);
    assert_eq!(files[1].delimiter.as_deref(), Some("semicolon"));
    assert_eq!(files[2].rows, 0);
    let skipped: Vec<_> = made.report.skipped.iter().map(|skipped| skipped.name.as_str()).collect();
    assert_eq!(skipped, ["__MACOSX/._a.xlsx", "notes.txt"]);
}

#[tokio::test]
async fn misfits_are_listed_and_not_dropped_in_silence() {
    let project = Project::new().await;
    let mut text = String::from("id,late\n");
    for row in 0..300 {
        let id = if row == 200 { "n/k".to_owned() } else { row.to_string() };
        writeln!(text, "{id},{}", if row == 7 { "maybe" } else { "true" }).unwrap();
    }
    text.push_str("5,true,6\n");
    let made = project.ingest("t.csv", text.as_bytes()).await.unwrap();
    assert_eq!((made.report.rows, made.report.quarantined), (298, 3));
    assert_eq!(made.report.files[0].quarantined, 3);
    let misfits: Vec<_> = made.report.columns.iter().map(|column| column.misfits).collect();
    assert_eq!(misfits, [1, 1]);
    assert_eq!(
        project.quarantine(&made.tree).await,
        [
            "t.csv||9|late|maybe|not a value of type boolean",
            "t.csv||202|id|n/k|not a value of type int64",
            "t.csv||302||5,true,6|the record has 3 fields, the header has 2",
        ]
    );
    let rows = project.rows(&made.tree).await;
    let near: Vec<_> = rows.iter().filter(|row| row.starts_with("199|") || row.starts_with("20")).collect();
    assert!(
        near.iter().any(|row| row.starts_with("199|")) && near.iter().any(|row| row.starts_with("201|")),
        "{near:?}"
    );
    assert!(!near.iter().any(|row| row.starts_with("200|")), "{near:?}");
}

#[tokio::test]
async fn quarantine_is_bounded() {
    let project = Project::new().await;
    let mut settings = project.settings("t.csv", b"a,b\n1\n2\n3\n4,5\n");
    settings.limits.quarantined_rows = 2;
    let error = project.run(&settings).await.unwrap_err();
    assert!(matches!(error, IngestError::QuarantineFull { limit: 2, .. }), "{error}");
}

#[tokio::test]
async fn a_table_that_is_mostly_quarantine_is_an_error() {
    let project = Project::new().await;
    let kept = project.path().join("aside/t.parquet");
    let text = |good: usize, ragged: usize| format!("a,b\n{}{}", "1,2\n".repeat(good), "3\n".repeat(ragged));
    let settings = |good, ragged, share| IngestSettings {
        kept_quarantine: Some(kept.clone()),
        max_quarantined: share,
        ..project.settings("t.csv", text(good, ragged).as_bytes())
    };
    for (good, ragged, share) in [(0, 3, 0.1), (88, 12, 0.1), (85, 15, 0.12)] {
        let error = project.run(&settings(good, ragged, share)).await.unwrap_err();
        let said = format!("{ragged} of {} rows", good + ragged);
        assert!(error.to_string().contains(&said) && error.to_string().contains("t.csv, row"), "{error}");
        assert!(error.hint().unwrap().contains("aside/t.parquet"), "{:?}", error.hint());
        assert!(files::exists(&kept).unwrap(), "what does not fit can be looked at");
    }
    for (good, ragged, share) in [(85, 15, 0.15), (1, 9, 0.1)] {
        let made = project.run(&settings(good, ragged, share)).await.unwrap();
        assert_eq!(made.report.quarantined, ragged as u64);
        assert!(!files::exists(&kept).unwrap(), "the version has it");
    }
}

/// Differs from one second to the next: workbooks hold the time at which they were made.
fn months() -> Vec<u8> {
    let books: Vec<_> = (0..6).map(|month| (format!("2013-{month:02}.xlsx"), flights(month * 1000, 300))).collect();
    // Written in another order than that of their names.
    zip(&books.iter().rev().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_same_source_gives_the_same_version_however_it_is_scheduled() {
    let source = months();
    let mut versions = Vec::new();
    for parallelism in [1, 4, 4] {
        let project = Project::new().await;
        let mut settings = project.settings("m.zip", &source);
        settings.parallelism = NonZeroUsize::new(parallelism).unwrap();
        let made = project.run(&settings).await.unwrap();
        assert_eq!((made.executed_pieces, made.reused_pieces, made.report.rows), (6, 0, 1800));
        let rows = project.rows(&made.tree).await;
        assert_eq!(rows[0], "0|name0|0.0");
        assert_eq!(rows[300], "1000|name0|250.0");
        versions.push(made.tree);
    }
    assert_eq!(versions[0], versions[1]);
    assert_eq!(versions[1], versions[2]);
}

/// Fails at the put after `allowed` of them, as a killed process would not come back from it.
pub(super) struct Failing {
    pub(super) inner: StoreCheckpoints,
    pub(super) allowed: AtomicUsize,
}

#[async_trait]
impl Checkpoints for Failing {
    async fn get(&self, key: &Digest) -> Result<Option<Digest>, IngestError> {
        self.inner.get(key).await
    }

    async fn put(&self, key: &Digest, value: &Digest) -> Result<(), IngestError> {
        let left = self.allowed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => self.inner.put(key, value).await,
            Err(_) => Err(IngestError::Interrupted("the machine was switched off".to_owned())),
        }
    }
}

/// Reading one again costs less than the three files that a checkpoint of it is.
#[tokio::test]
async fn very_many_small_files_have_no_checkpoints() {
    let project = Project::new().await;
    let files: Vec<_> = (0..300).map(|file| (format!("{file:03}.csv"), format!("id\n{file}\n"))).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    for (count, large, puts) in [(300, false, 0), (300, true, 2), (20, false, 40)] {
        let text = format!("id\n{}", "1234567\n".repeat(4000));
        let large = large.then_some(("large.csv", text.as_bytes()));
        let entries: Vec<_> = files[..count].iter().copied().chain(large).collect();
        let settings = project.settings("m.zip", &zip(&entries));
        let inner = StoreCheckpoints::new(project.store.clone());
        let counting = Failing { inner, allowed: AtomicUsize::new(puts) };
        let made = ingest(&settings, &project.path(), &project.store, &counting, &NoProgress).await.unwrap();
        assert_eq!(made.report.files.len(), entries.len());
        assert_eq!(counting.allowed.load(Ordering::SeqCst), 0, "{count} files");
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<(String, bool)>>);

impl IngestProgress for Heard {
    fn files_found(&self, count: usize) {
        assert_eq!(count, 6);
    }

    fn file_read(&self, name: &str, rows: u64, reused: bool) {
        assert_eq!(rows, 300);
        self.0.lock().unwrap().push((name.to_owned(), reused));
    }

    fn file_written(&self, _: &str, rows: u64) {
        assert_eq!(rows, 300);
    }
}

#[tokio::test]
async fn an_ingest_that_was_cut_off_does_only_the_rest() {
    let (project, undisturbed) = (Project::new().await, Project::new().await);
    let source = months();
    let mut settings = project.settings("m.zip", &source);
    settings.parallelism = NonZeroUsize::MIN;
    let failing = Failing { inner: StoreCheckpoints::new(project.store.clone()), allowed: AtomicUsize::new(4) };
    let error = ingest(&settings, &project.path(), &project.store, &failing, &NoProgress).await.unwrap_err();
    assert!(error.to_string().contains("switched off"), "{error}");
    let heard = Heard::default();
    let checkpoints = StoreCheckpoints::new(project.store.clone());
    let made = ingest(&settings, &project.path(), &project.store, &checkpoints, &heard).await.unwrap();
    assert_eq!((made.reused_pieces, made.executed_pieces), (4, 2));
    assert_eq!(heard.0.into_inner().unwrap().iter().filter(|(_, reused)| *reused).count(), 4);
    let whole = undisturbed.ingest("m.zip", &source).await.unwrap();
    assert_eq!(made.tree, whole.tree);
    let again = project.run(&settings).await.unwrap();
    assert_eq!((again.reused_pieces, again.executed_pieces, again.tree), (6, 0, made.tree));
}

#[tokio::test]
async fn other_settings_are_other_pieces() {
    let project = Project::new().await;
    let mut settings = project.settings("t.csv", b"a\n1\n-\n");
    assert_eq!(project.run(&settings).await.unwrap().report.columns[0].data_type, "text");
    settings.null_texts.push("-".to_owned());
    let made = project.run(&settings).await.unwrap();
    assert_eq!((made.executed_pieces, made.report.columns[0].data_type.as_str()), (1, "int64"));
}
