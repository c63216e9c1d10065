mod guessed;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use ropewalk_connectors::{
    ConnectionOptions, Cursor, FetchLimits, FetchRequest, JsonApiRequest, MisfitPolicy, NoProgress as NoFetchProgress,
    Paging, Partition, SqlRequest,
};
use ropewalk_types::{Digest, ManualAmbient};
use sqlx::{Connection as _, SqliteConnection};

use super::fixture::{Project, zip};
use crate::{
    Checkpoints, IngestError, IngestProgress, IngestSettings, Network, NoProgress, Source, StoreCheckpoints, ingest,
    source_fingerprint,
};

fn network(project: &Project) -> Network {
    Network {
        options: ConnectionOptions::default(),
        ambient: Arc::new(ManualAmbient::default()),
        limits: FetchLimits::default(),
        progress: Arc::new(NoFetchProgress),
        downloads: project.path().join("downloads"),
    }
}

fn settings(project: &Project, source: Source) -> IngestSettings {
    let network = Some(network(project));
    IngestSettings { source, network, ..IngestSettings::new("", project.scratch()) }
}

async fn statements(path: &Path, statements: &[&'static str]) {
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    for statement in statements {
        sqlx::query(*statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

async fn orders(project: &Project) -> SqlRequest {
    let path = project.path().join("shop.db");
    statements(
        &path,
        &[
            "CREATE TABLE orders (id INTEGER NOT NULL, name TEXT)",
            "INSERT INTO orders VALUES (1, 'a'), (2, NULL), (3, 'c'), (4, 'd')",
        ],
    )
    .await;
    SqlRequest::new(format!("sqlite://{}", path.display()), "SELECT id, name FROM orders")
}

fn by_id(count: usize) -> Partition {
    let (lower, upper) = (Some("1".to_owned()), Some("5".to_owned()));
    Partition { column: "id".to_owned(), count: NonZeroUsize::new(count).unwrap(), lower, upper }
}

#[tokio::test]
async fn a_query_is_read_in_partitions_with_its_provenance() {
    let project = Project::new().await;
    let request = SqlRequest { partition: Some(by_id(2)), ..orders(&project).await };
    let made = project.run(&settings(&project, Source::Sql(request))).await.unwrap();
    let mut rows = project.rows(&made.tree).await;
    rows.sort();
    assert_eq!(rows, ["1|a", "2|", "3|c", "4|d"]);
    assert_eq!((made.executed_pieces, made.report.columns[0].data_type.as_str()), (made.report.files.len(), "int64"));
    let origin = made.report.origin.unwrap();
    let import = &origin.imports[0];
    assert!(import.location.starts_with("sqlite:") && import.location.contains("shop.db"), "{import:?}");
    assert!(import.query.as_ref().unwrap().contains("SELECT id, name FROM orders"));
    assert_eq!((import.rows, made.source.digest), (Some(4), import.digest));
}

#[tokio::test]
async fn what_is_new_is_added_to_the_previous_version() {
    let project = Project::new().await;
    let cursor = Some(Cursor { column: "id".to_owned(), after: None });
    let request = SqlRequest { cursor, ..orders(&project).await };
    let mut settings = settings(&project, Source::Sql(request));
    let first = project.run(&settings).await.unwrap();
    assert_eq!(first.report.origin.as_ref().unwrap().cursor.as_deref(), Some("4"));
    settings.previous = Some(first.tree);
    let same = project.run(&settings).await.unwrap();
    assert_eq!((same.tree, same.report, same.bytes), (first.tree, first.report, first.bytes));
    statements(&project.path().join("shop.db"), &["INSERT INTO orders VALUES (9, 'new')"]).await;
    let second = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&second.tree).await, ["1|a", "2|", "3|c", "4|d", "9|new"]);
    assert_eq!((second.report.rows, second.report.columns[1].nulls), (5, 1));
    let origin = second.report.origin.unwrap();
    let rows: Vec<_> = origin.imports.iter().map(|import| import.rows).collect();
    assert_eq!((rows, origin.cursor.as_deref()), (vec![Some(4), Some(1)], Some("9")));
    statements(&project.path().join("shop.db"), &["DROP TABLE orders", "CREATE TABLE orders (id INTEGER, name REAL)"])
        .await;
    statements(&project.path().join("shop.db"), &["INSERT INTO orders VALUES (10, 1.5)"]).await;
    settings.previous = Some(second.tree);
    let error = project.run(&settings).await.unwrap_err();
    assert!(matches!(error, IngestError::Types { .. } | IngestError::Settings { .. }), "{error}");
}

/// Stops after some puts, as a killed process would.
struct Failing(StoreCheckpoints, AtomicUsize);

#[async_trait]
impl Checkpoints for Failing {
    async fn get(&self, key: &Digest) -> Result<Option<Digest>, IngestError> {
        self.0.get(key).await
    }

    async fn put(&self, key: &Digest, value: &Digest) -> Result<(), IngestError> {
        match self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => self.0.put(key, value).await,
            Err(_) => Err(IngestError::Interrupted("the machine was switched off".to_owned())),
        }
    }
}

#[tokio::test]
async fn finished_partitions_count_until_the_import_is_whole() {
    let project = Project::new().await;
    let request = SqlRequest { partition: Some(by_id(4)), ..orders(&project).await };
    let mut settings = settings(&project, Source::Sql(request));
    settings.parallelism = NonZeroUsize::MIN;
    let failing = Failing(StoreCheckpoints::new(project.store.clone()), AtomicUsize::new(2));
    let error = ingest(&settings, &project.path(), &project.store, &failing, &NoProgress).await.unwrap_err();
    assert!(error.to_string().contains("switched off"), "{error}");
    let made = project.run(&settings).await.unwrap();
    assert_eq!((made.reused_pieces, made.report.rows), (2, 4));
    assert!(made.report.notes.iter().any(|note| note.starts_with("2 of 4 parts were read by an earlier run")));
    let facts = &made.report.origin.unwrap().imports[0].facts;
    assert_eq!((facts["parts_read_before"].as_str(), facts.get("snapshot")), ("2", None));
    settings.latest = Some(made.tree);
    let whole = project.run(&settings).await.unwrap();
    assert_ne!(whole.tree, made.tree, "the same rows, of one moment now");
    settings.latest = Some(whole.tree);
    assert_eq!(project.run(&settings).await.unwrap().tree, whole.tree);
    statements(&project.path().join("shop.db"), &["INSERT INTO orders VALUES (2, 'late')"]).await;
    let made = project.run(&settings).await.unwrap();
    assert_eq!((made.reused_pieces, made.report.rows), (0, 5));
}

fn by(column: &str) -> Cursor {
    Cursor { column: column.to_owned(), after: None }
}

/// What was read without a cursor says nothing of which rows it lacks.
#[tokio::test]
async fn a_cursor_that_comes_later_doubles_no_row() {
    let project = Project::new().await;
    let request = orders(&project).await;
    let mut settings = settings(&project, Source::Sql(request.clone()));
    let whole = project.run(&settings).await.unwrap();
    settings.source = Source::Sql(SqlRequest { cursor: Some(by("id")), ..request });
    settings.previous = Some(whole.tree);
    let first = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&first.tree).await, ["1|a", "2|", "3|c", "4|d"]);
    let origin = first.report.origin.as_ref().unwrap();
    assert_eq!((origin.imports.len(), origin.cursor.as_deref()), (1, Some("4")));
    statements(&project.path().join("shop.db"), &["INSERT INTO orders VALUES (9, 'new')"]).await;
    settings.previous = Some(first.tree);
    let second = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&second.tree).await, ["1|a", "2|", "3|c", "4|d", "9|new"]);
    assert_eq!(second.executed_pieces, 1);
}

#[tokio::test]
async fn another_cursor_or_database_goes_on_from_nothing() {
    let project = Project::new().await;
    let request = SqlRequest { cursor: Some(by("id")), ..orders(&project).await };
    let mut settings = settings(&project, Source::Sql(request.clone()));
    settings.previous = Some(project.run(&settings).await.unwrap().tree);
    settings.source = Source::Sql(SqlRequest { cursor: Some(by("name")), ..request.clone() });
    let error = project.run(&settings).await.unwrap_err().to_string();
    assert!(error.contains("up to a value of `id`, and the cursor is `name` now"), "{error}");
    let other = project.path().join("other.db");
    statements(&other, &["CREATE TABLE orders (id INTEGER NOT NULL, name TEXT)"]).await;
    let url = format!("sqlite://{}", other.display());
    settings.source = Source::Sql(SqlRequest { url, ..request.clone() });
    let error = project.run(&settings).await.unwrap_err().to_string();
    assert!(error.contains("shop.db` now") || error.contains("other.db` now"), "{error}");
    let query = "SELECT name, id FROM orders WHERE id < 100".to_owned();
    settings.source = Source::Sql(SqlRequest { query, ..request });
    assert_eq!(project.run(&settings).await.unwrap().report.rows, 4, "another query goes on");
}

/// A part of a read that was cut off lacks the rows that came since, which the new cursor would pass.
#[tokio::test]
async fn a_killed_incremental_import_loses_no_row() {
    let project = Project::new().await;
    let path = project.path().join("shop.db");
    statements(
        &path,
        &[
            "CREATE TABLE orders (id INTEGER NOT NULL, changed INTEGER NOT NULL)",
            "INSERT INTO orders VALUES (1, 10), (2, 11), (3, 12), (4, 13)",
        ],
    )
    .await;
    let url = format!("sqlite://{}", path.display());
    let request = SqlRequest::new(url, "SELECT id, changed FROM orders");
    // Bounds that are given, so that nothing in the names of the parts tells the two reads apart.
    let request = SqlRequest { cursor: Some(by("changed")), partition: Some(by_id(2)), ..request };
    let mut settings = settings(&project, Source::Sql(request));
    settings.parallelism = NonZeroUsize::MIN;
    let failing = Failing(StoreCheckpoints::new(project.store.clone()), AtomicUsize::new(2));
    let error = ingest(&settings, &project.path(), &project.store, &failing, &NoProgress).await.unwrap_err();
    assert!(error.to_string().contains("switched off"), "{error}");
    statements(&path, &["UPDATE orders SET changed = 20 WHERE id = 1", "INSERT INTO orders VALUES (5, 21)"]).await;
    let made = project.run(&settings).await.unwrap();
    let mut rows = project.rows(&made.tree).await;
    rows.sort();
    assert_eq!(rows, ["1|20", "2|11", "3|12", "4|13", "5|21"]);
    assert_eq!((made.reused_pieces, made.report.origin.unwrap().cursor.as_deref()), (0, Some("21")));
}

/// Hears what a read with nothing new has to say.
#[derive(Default)]
struct Hears(std::sync::Mutex<Vec<String>>);

impl IngestProgress for Hears {
    fn files_found(&self, _: usize) {}
    fn file_read(&self, _: &str, _: u64, _: bool) {}
    fn file_written(&self, _: &str, _: u64) {}
    fn noted(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

#[tokio::test]
async fn rows_without_a_value_of_the_cursor_are_said_also_when_nothing_is_new() {
    let project = Project::new().await;
    let path = project.path().join("shop.db");
    statements(&path, &["CREATE TABLE orders (id INTEGER, name TEXT)", "INSERT INTO orders VALUES (1, 'a')"]).await;
    let request = SqlRequest::new(format!("sqlite://{}", path.display()), "SELECT id, name FROM orders");
    let mut settings = settings(&project, Source::Sql(SqlRequest { cursor: Some(by("id")), ..request }));
    settings.previous = Some(project.run(&settings).await.unwrap().tree);
    statements(&path, &["INSERT INTO orders VALUES (NULL, 'b')"]).await;
    let heard = Hears::default();
    let checkpoints = StoreCheckpoints::new(project.store.clone());
    let same = ingest(&settings, &project.path(), &project.store, &checkpoints, &heard).await.unwrap();
    assert_eq!(Some(same.tree), settings.previous);
    let heard = heard.0.into_inner().unwrap();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].starts_with("column `id`: 1 row has no value"), "{heard:?}");
    for (added, says) in [
        ("INSERT INTO orders VALUES (2, 'c')", "1 row has no value in it and is not read: it is neither old nor new"),
        (
            "INSERT INTO orders VALUES (3, 'd'), (NULL, 'e')",
            "2 rows have no value in it and are not read: they are neither old nor new",
        ),
    ] {
        statements(&path, &[added]).await;
        let heard = Hears::default();
        let made = ingest(&settings, &project.path(), &project.store, &checkpoints, &heard).await.unwrap();
        assert_eq!(heard.0.into_inner().unwrap(), [format!("column `id`: {says}")]);
        let notes = made.report.columns[0].notes.iter().filter(|note| note.contains("no value in it"));
        assert_eq!(notes.collect::<Vec<_>>(), [says], "the former count holds no longer");
        settings.previous = Some(made.tree);
    }
}

#[tokio::test]
async fn the_same_rows_are_the_latest_version_again() {
    let project = Project::new().await;
    let request = SqlRequest { partition: Some(by_id(4)), ..orders(&project).await };
    let mut settings = settings(&project, Source::Sql(request.clone()));
    settings.parallelism = NonZeroUsize::MIN;
    let first = project.run(&settings).await.unwrap();
    assert_ne!(project.run(&settings).await.unwrap().tree, first.tree, "the record has the moment");
    settings.latest = Some(first.tree);
    let again = project.run(&settings).await.unwrap();
    assert_eq!((again.tree, &again.report, again.bytes), (first.tree, &first.report, first.bytes));
    assert_eq!((again.reused_pieces, again.source.digest), (0, first.source.digest));

    let failing = Failing(StoreCheckpoints::new(project.store.clone()), AtomicUsize::new(2));
    ingest(&settings, &project.path(), &project.store, &failing, &NoProgress).await.unwrap_err();
    let heard = Hears::default();
    let checkpoints = StoreCheckpoints::new(project.store.clone());
    let resumed = ingest(&settings, &project.path(), &project.store, &checkpoints, &heard).await.unwrap();
    assert_eq!((resumed.tree, resumed.reused_pieces), (first.tree, 2));
    let heard = heard.0.into_inner().unwrap();
    assert!(heard.len() == 1 && heard[0].starts_with("2 of 4 parts were read by an earlier run"), "{heard:?}");

    statements(&project.path().join("shop.db"), &["UPDATE orders SET name = 'z' WHERE id = 4"]).await;
    let changed = project.run(&settings).await.unwrap();
    assert_eq!((changed.tree == first.tree, changed.report.rows), (false, 4));
    settings.latest = Some(changed.tree);
    let query = "SELECT id, name FROM orders WHERE id > 0".to_owned();
    settings.source = Source::Sql(SqlRequest { query, ..request });
    let otherwise = project.run(&settings).await.unwrap();
    assert_ne!(otherwise.tree, changed.tree, "the record has what was asked");
    settings.latest = Some(Digest::of(b"lost"));
    assert_eq!(project.run(&settings).await.unwrap().report.rows, 4, "what is lost is compared with nothing");
}

#[tokio::test]
async fn a_file_without_a_tag_is_known_by_its_rows() {
    let bodies =
        Arc::new(std::sync::Mutex::new(vec!["id,a\n1,3\n", "id;a\n\n1;2\n", "id,a\r\n1,2\r\n", "id,a\n1,2\n"]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a.csv", listener.local_addr().unwrap());
    let answer = move || {
        let body = bodies.lock().unwrap().pop().unwrap();
        async move { body }
    };
    let router = Router::new().route("/a.csv", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let project = Project::new().await;
    let mut settings = settings(&project, Source::Remote(FetchRequest::new(&url)));
    let first = project.run(&settings).await.unwrap();
    (settings.latest, settings.previous) = (Some(first.tree), Some(first.tree));
    let again = project.run(&settings).await.unwrap();
    assert_eq!((again.tree, &again.report), (first.tree, &first.report), "other ends of lines, the same rows");
    let again = project.run(&settings).await.unwrap();
    assert_eq!((again.tree, &again.report), (first.tree, &first.report), "another delimiter, the same rows");
    let changed = project.run(&settings).await.unwrap();
    assert_eq!((changed.tree == first.tree, project.rows(&changed.tree).await), (false, vec!["1|3".to_owned()]));
}

#[tokio::test]
async fn values_that_no_column_holds_are_in_quarantine() {
    let project = Project::new().await;
    let mut request = orders(&project).await;
    statements(&project.path().join("shop.db"), &[MANY_ORDERS, "INSERT INTO orders VALUES ('many', 'x')"]).await;
    request.misfits = MisfitPolicy::Collect { limit: 10 };
    let made = project.run(&settings(&project, Source::Sql(request))).await.unwrap();
    assert_eq!((made.report.rows, made.report.quarantined, made.report.columns[0].misfits), (1200, 1, 1));
    let listed = project.quarantine(&made.tree).await;
    assert!(listed[0].contains("|1201|id|many|"), "{listed:?}");
}

/// 1,200 with those that are there.
const MANY_ORDERS: &str = "WITH RECURSIVE s(i) AS (SELECT 5 UNION ALL SELECT i + 1 FROM s WHERE i < 1200) \
                           INSERT INTO orders SELECT i, 'x' FROM s";

/// The first thousand rows do not show what comes.
#[tokio::test]
async fn types_that_were_guessed_wrong_are_told_by_all_rows() {
    let project = Project::new().await;
    let request = orders(&project).await;
    let more = "INSERT INTO orders SELECT 'n' || id, name FROM orders";
    statements(&project.path().join("shop.db"), &[MANY_ORDERS, more]).await;
    for limit in [100, 1_000_000] {
        let misfits = MisfitPolicy::Collect { limit };
        let settings = settings(&project, Source::Sql(SqlRequest { misfits, ..request.clone() }));
        let heard = Hears::default();
        let checkpoints = StoreCheckpoints::new(project.store.clone());
        let made = ingest(&settings, &project.path(), &project.store, &checkpoints, &heard).await.unwrap();
        assert_eq!((made.report.rows, made.report.quarantined, made.reused_pieces), (2400, 0, 0));
        assert_eq!(made.report.columns[0].data_type, "text");
        assert_eq!(project.rows(&made.tree).await[1203], "n4|d");
        let heard = heard.0.into_inner().unwrap();
        assert!(heard[0].contains("what the first ones told of `id`"), "{heard:?}");
    }
}

#[tokio::test]
async fn a_field_that_comes_late_is_a_column() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let answer = |uri: axum::http::Uri| async move {
        match uri.query() {
            Some("page=0") => r#"[{"id": 1}, {"id": 2}]"#,
            Some("page=1") => r#"[{"id": 3, "new": 1.5}]"#,
            _ => "[]",
        }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", get(answer))).await });
    let project = Project::new().await;
    let mut request = JsonApiRequest::new(url);
    request.paging = Paging::PageNumber { parameter: "page".to_owned(), first: 0 };
    (request.sample_rows, request.misfits) = (2, MisfitPolicy::Collect { limit: 10 });
    let made = project.run(&settings(&project, Source::JsonApi(request))).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1|", "2|", "3|1.5"]);
    assert_eq!(made.report.quarantined, 0);
}

struct Served {
    body: Vec<u8>,
    requests: AtomicUsize,
}

async fn serve(State(served): State<Arc<Served>>, headers: HeaderMap) -> Response {
    served.requests.fetch_add(1, Ordering::SeqCst);
    let tag = format!("\"{}\"", Digest::of(&served.body).short());
    let tagged = [(header::ETAG, tag.clone())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, tagged).into_response();
    }
    (tagged, served.body.clone()).into_response()
}

#[tokio::test]
async fn a_url_is_read_as_a_file_and_asked_whether_it_changed() {
    let served = Arc::new(Served { body: zip(&[("a.csv", b"id\n1\n2\n")]), requests: AtomicUsize::new(0) });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/data.zip?token=secret", listener.local_addr().unwrap());
    let router = Router::new().route("/data.zip", get(serve)).with_state(Arc::clone(&served));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let project = Project::new().await;
    let mut settings = settings(&project, Source::Remote(FetchRequest::new(&url)));
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1", "2"]);
    let import = &made.report.origin.as_ref().unwrap().imports[0];
    assert_eq!((import.file.as_deref(), import.digest), (Some("data.zip"), Digest::of(&served.body)));
    assert_eq!(import.rows, Some(2));
    assert!(import.facts.contains_key("etag"));
    let shown = format!("{settings:?} {:?}", made.report);
    assert!(!shown.contains("secret"), "{shown}");
    assert_eq!(made.tags.keys().collect::<Vec<_>>(), ["data.zip"]);
    settings.previous = Some(made.tree);
    settings.source = Source::Remote(FetchRequest { known: made.tags, ..FetchRequest::new(&url) });
    let again = project.run(&settings).await.unwrap();
    assert_eq!((again.tree, again.bytes, again.executed_pieces), (made.tree, made.bytes, 0));
    assert_eq!((served.requests.load(Ordering::SeqCst), again.tags.len()), (2, 0));
}

#[tokio::test]
async fn a_network_has_to_be_given() {
    let project = Project::new().await;
    let source = Source::Remote(FetchRequest::new("https://example.org/a.csv"));
    let settings = IngestSettings { source, ..IngestSettings::new("", project.scratch()) };
    let error = project.run(&settings).await.unwrap_err().to_string();
    assert!(error.contains("`https://example.org/a.csv` needs a network"), "{error}");
    assert!(source_fingerprint(&settings, &project.path()).await.is_err());
}
