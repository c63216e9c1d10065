//! Versions, files and given tables in one question, and the forms of its answer.

use std::io::Write;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use ropewalk_catalog::Catalog;
use ropewalk_store::files;
use ropewalk_types::{DatasetName, Diagnose as _, Digest, Timestamp, Zone};

use super::fixture::{Project, csv};
use crate::{
    Answer, AnswerFormat, DataError, DatasetVersion, FileAccess, MIGRATIONS, QueryLimits, QueryTables, TableFormat,
    TableSource, TagMove, VersionTag, query_stream, tag_set, version_record, write_answer,
};

/// What a writer was given.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) async fn written(
    project: &Project,
    tables: &QueryTables,
    sql: &str,
    format: AnswerFormat,
) -> Result<(Vec<u8>, Answer), DataError> {
    let stream = query_stream(sql, tables, &project.store, &QueryLimits::new(project.scratch())).await?;
    let sink = Sink::default();
    let answer = write_answer(stream, format, 2, Box::new(sink.clone())).await?;
    let bytes = sink.0.lock().unwrap().clone();
    Ok((bytes, answer))
}

async fn lines(project: &Project, tables: &QueryTables, sql: &str) -> Result<Vec<String>, DataError> {
    let (bytes, _) = written(project, tables, sql, AnswerFormat::Csv).await?;
    Ok(String::from_utf8(bytes).unwrap().lines().skip(1).map(ToOwned::to_owned).collect())
}

async fn recorded(catalog: &Catalog, name: &str, digest: Digest, at: i64) {
    let version = DatasetVersion {
        name: DatasetName::new(name).unwrap(),
        digest,
        zone: Zone::Raw,
        rows: 1,
        columns: Vec::new(),
        bytes: 1,
        quarantined: 0,
        stage_key: None,
        created_at: Timestamp(at),
    };
    catalog.write(move |connection| async move { version_record(connection, &version).await }.boxed()).await.unwrap();
}

#[tokio::test]
async fn versions_are_joined_by_number_tag_and_digest() {
    let project = Project::new().await;
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
    let (first, second) = (project.csv("id,v\n1,a\n2,b\n").await, project.csv("id,v\n1,a\n2,c\n3,d\n").await);
    recorded(&catalog, "air-lines", first, 1).await;
    recorded(&catalog, "air-lines", second, 2).await;
    let tag = VersionTag {
        name: DatasetName::new("air-lines").unwrap(),
        tag: "release.1-0".parse().unwrap(),
        digest: first,
        who: "ann".to_owned(),
        at: Timestamp(3),
    };
    catalog
        .write(move |connection| async move { tag_set(connection, &tag, TagMove::Refused).await }.boxed())
        .await
        .unwrap();
    let short = first.short();
    let sql = format!(
        "SELECT a.id, air-lines@v2.v AS new, t.v AS tagged, d.v AS digest FROM air-lines@v1 a \
         FULL JOIN air-lines@v2 ON a.id = air-lines@v2.id LEFT JOIN air-lines@release.1-0 t ON t.id = a.id \
         LEFT JOIN data:air-lines@{short} AS d ON d.id = a.id WHERE air-lines@v2.v IS DISTINCT FROM a.v ORDER BY 2"
    );
    let mut tables = QueryTables::default();
    let read = tables.resolve(&sql, &catalog).await.unwrap();
    assert_eq!(read.iter().map(|version| version.digest).filter(|digest| *digest == first).count(), 3);
    assert_eq!(lines(&project, &tables, &sql).await.unwrap(), ["2,c,b,b", ",d,,"]);
    let error = tables.resolve("SELECT * FROM air-lines@v3", &catalog).await.unwrap_err();
    assert_eq!(error.code(), "data.unknown_version");
    let error = tables.resolve("SELECT * FROM airlines", &catalog).await.unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `air-lines`?"));
    let latest = "SELECT count(*) AS n FROM \"air-lines\"";
    tables.resolve(latest, &catalog).await.unwrap();
    assert_eq!(lines(&project, &tables, latest).await.unwrap(), ["3"]);
}

#[tokio::test]
async fn files_on_disk_are_tables() {
    let project = Project::new().await;
    let (root, outside) = (project.path().join("project"), project.path().join("outside.csv"));
    let put = |path: &str, bytes: &[u8]| files::write_atomic(&root.join(path), bytes).unwrap();
    put("d/a.csv", b"id,name\n1,\"two\nlines\"\n2,x\n");
    put("d/e/b.csv", b"id,name\n3,y\n");
    put("t.tsv", b"id\tname\n1\tq\n");
    put("array.json", b" [{\"id\": 1, \"list\": [1, 2]}, {\"id\": 2, \"list\": null}]");
    put("lines.json", b"{\"id\": 1}\n{\"id\": 2}\n");
    put("l.jsonl", b"{\"id\": 5}\n");
    put("z z[1].csv", b"id\n9\n");
    put("d/n.xyz", b"?");
    put("picture.png", b"?");
    files::write_atomic(&outside, b"id\n1\n").unwrap();
    let tables = QueryTables::default().with_files(FileAccess::inside(&root));
    let ask = async |sql: &str| lines(&project, &tables, sql).await;
    assert_eq!(ask("SELECT id FROM 'd/a.csv' ORDER BY id").await.unwrap(), ["1", "2"]);
    assert_eq!(ask("SELECT sum(id) AS s FROM 'd/**/*.csv' AS x").await.unwrap(), ["6"]);
    assert_eq!(ask("SELECT t.name, l.id FROM 't.tsv' t, 'l.jsonl' l").await.unwrap(), ["q,5"]);
    assert_eq!(ask("SELECT id, list FROM 'array.json' ORDER BY id").await.unwrap(), ["1,\"[1,2]\"", "2,"]);
    assert_eq!(ask("SELECT count(*) AS n FROM 'lines.json'").await.unwrap(), ["2"]);
    assert_eq!(ask("SELECT sum(id) AS s FROM '*.json*'").await.unwrap(), ["11"]);
    assert_eq!(ask("SELECT id FROM 'z z[1].csv'").await.unwrap(), ["9"]);
    for form in [AnswerFormat::Parquet, AnswerFormat::Arrow] {
        let (bytes, _) = written(&project, &tables, "SELECT id, list FROM 'array.json'", form).await.unwrap();
        let name = if form == AnswerFormat::Parquet { "w.parquet" } else { "w.arrow" };
        put(name, &bytes);
        let back = ask(&format!("SELECT id, list[1] AS f FROM '{name}' ORDER BY id")).await.unwrap();
        assert_eq!(back, ["1,1", "2,"]);
    }
    for (sql, says) in [
        ("SELECT * FROM '../outside.csv'", "leads out"),
        ("SELECT * FROM 's3://bucket/x.csv'", "on this machine"),
        ("SELECT * FROM 'd/*.parquet'", "no file fits"),
        ("SELECT * FROM 'd/n.xyz'", "`d/n.xyz` as a table: nothing that is read, by its name"),
        ("SELECT * FROM 'd/*'", "`d/n.xyz` as a table"),
        ("SELECT * FROM 'picture.png'", "an image or audio"),
        ("SELECT * FROM 'd'", "it is a folder"),
        ("SELECT * FROM 'missing.csv'", "No such file"),
    ] {
        let error = ask(sql).await.unwrap_err();
        assert_eq!(error.code(), "data.file", "{sql}: {error}");
        assert!(error.to_string().contains(says), "{sql}: {error}");
    }
    let absolute = format!("SELECT id FROM '{}'", outside.display());
    assert!(ask(&absolute).await.unwrap_err().to_string().contains("outside the project"));
    std::os::unix::fs::symlink(&outside, root.join("link.csv")).unwrap();
    assert!(ask("SELECT id FROM 'link.csv'").await.unwrap_err().to_string().contains("outside the project"));
    let anywhere = QueryTables::default().with_files(FileAccess::anywhere(&root));
    assert_eq!(lines(&project, &anywhere, &absolute).await.unwrap(), ["1"]);
    assert_eq!(lines(&project, &anywhere, "SELECT id FROM '../outside.csv'").await.unwrap(), ["1"]);
    let error = lines(&project, &QueryTables::default(), "SELECT id FROM 'd/a.csv'").await.unwrap_err();
    assert_eq!(error.code(), "data.refused");
}

#[tokio::test]
async fn given_files_are_read_when_they_are_asked_for() {
    let project = Project::new().await;
    let schema = csv("id,v\n1,a\n").schema();
    let empty = TableSource::Files { format: TableFormat::Parquet, paths: Vec::new(), schema: Some(schema) };
    let mut tables = QueryTables::default();
    tables.insert("log", empty);
    tables.insert(
        "broken",
        TableSource::Files {
            format: TableFormat::Parquet,
            paths: vec![project.path().join("not there")],
            schema: None,
        },
    );
    assert_eq!(lines(&project, &tables, "SELECT v FROM log").await.unwrap(), Vec::<String>::new());
    let (bytes, _) = written(&project, &tables, "SELECT value AS id, 'x' AS v FROM range(0, 3)", AnswerFormat::Parquet)
        .await
        .unwrap();
    let path = project.path().join("1.parquet");
    files::write_atomic(&path, &bytes).unwrap();
    tables.insert(
        "log",
        TableSource::Files { format: TableFormat::Parquet, paths: vec![path.clone(), path], schema: None },
    );
    assert_eq!(lines(&project, &tables, "SELECT count(*) AS n, max(id) AS m FROM log").await.unwrap(), ["6,2"]);
    assert!(lines(&project, &tables, "SELECT * FROM broken").await.is_err());
}

#[tokio::test]
async fn every_form_of_an_answer() {
    let project = Project::new().await;
    let mut tables = QueryTables::default();
    tables.insert("t", TableSource::Version(project.csv("id,name\n1,\"a,b\"\n2,\n3,c\n").await));
    let sql = "SELECT id, name, [id, id] AS pair FROM t ORDER BY id";
    let text = async |form| {
        let (bytes, answer) = written(&project, &tables, sql, form).await.unwrap();
        (String::from_utf8(bytes).unwrap(), answer)
    };
    let (table, answer) = text(AnswerFormat::Table).await;
    assert!(table.contains("| 2  |      | [2, 2] |") && !table.contains("| 3"), "{table}");
    assert_eq!((answer.rows, answer.more), (2, true));
    assert!(answer.note().unwrap().contains("first 2 rows"));
    let (csv, answer) = text(AnswerFormat::Csv).await;
    assert_eq!(csv, "id,name,pair\n1,\"a,b\",\"[1,1]\"\n2,,\"[2,2]\"\n3,c,\"[3,3]\"\n");
    assert_eq!((answer.rows, answer.note()), (3, None));
    let (lines, _) = text(AnswerFormat::JsonLines).await;
    assert_eq!(lines.lines().nth(1), Some(r#"{"id":2,"name":null,"pair":[2,2]}"#));
    let (json, _) = text(AnswerFormat::Json).await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()[2]["name"], "c");
    let none = "SELECT id FROM t WHERE id > 9";
    for (form, wanted) in [(AnswerFormat::Csv, "id\n"), (AnswerFormat::Json, "[]"), (AnswerFormat::JsonLines, "")] {
        assert_eq!(String::from_utf8(written(&project, &tables, none, form).await.unwrap().0).unwrap(), wanted);
    }
    let twice = "SELECT a.id, b.id FROM t a JOIN t b ON a.id = b.id";
    assert_eq!(written(&project, &tables, twice, AnswerFormat::Json).await.unwrap_err().code(), "data.sql");
    assert!(written(&project, &tables, twice, AnswerFormat::Csv).await.is_ok());
}

#[tokio::test]
async fn a_place_that_takes_nothing_is_an_error() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let project = Project::new().await;
    let tables = QueryTables::default();
    let limits = QueryLimits::new(project.scratch());
    for form in
        [AnswerFormat::Table, AnswerFormat::Csv, AnswerFormat::Json, AnswerFormat::JsonLines, AnswerFormat::Arrow]
    {
        let sql = "SELECT value FROM range(0, 100000)";
        let stream = query_stream(sql, &tables, &project.store, &limits).await.unwrap();
        let error = write_answer(stream, form, 10, Box::new(Broken)).await.unwrap_err();
        assert_eq!(error.code(), "data.output", "{form:?}: {error:?}");
    }
}
