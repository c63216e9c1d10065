use std::collections::BTreeMap;
use std::fmt::Write as _;

use ropewalk_ingest::{report, table_schema};
use ropewalk_types::{Diagnose as _, Digest};

use super::fixture::Project;
use crate::{DataError, Place, TransformSettings, Transformed, transform};

async fn inputs(project: &Project) -> BTreeMap<String, Digest> {
    let mut flights = String::from("id,carrier,Delay,at\n");
    for row in 0..5000 {
        writeln!(flights, "{row},{},{},2013-01-01T{:02}:00:00Z", ["AA", "UA", "B6"][row % 3], row % 60, row % 24)
            .unwrap();
    }
    let carriers = "carrier,title\nAA,American\nB6,JetBlue\n";
    BTreeMap::from([
        ("flights".to_owned(), project.csv(&flights).await),
        ("air-lines".to_owned(), project.csv(carriers).await),
    ])
}

async fn run(project: &Project, sql: &str) -> Result<Transformed, DataError> {
    let inputs = inputs(project).await;
    transform(sql, &inputs, &project.store, &TransformSettings::new(project.scratch())).await
}

const JOIN: &str = "SELECT f.id, coalesce(a.title, 'other') AS title, avg(f.\"Delay\") OVER (PARTITION BY f.carrier) AS mean, \
                    date_part('hour', f.at) AS hour FROM flights f LEFT JOIN \"air-lines\" a ON a.carrier = f.carrier";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_same_sql_gives_the_same_bytes() {
    let mut trees = Vec::new();
    for _ in 0..3 {
        let project = Project::new().await;
        trees.push(run(&project, JOIN).await.unwrap().tree);
        let grouped = "SELECT carrier, count(*) AS n, sum(\"Delay\" / 7.0) AS s FROM flights GROUP BY carrier";
        trees.push(run(&project, grouped).await.unwrap().tree);
    }
    assert_eq!(trees[0..2], trees[2..4]);
    assert_eq!(trees[0..2], trees[4..6]);
}

#[tokio::test]
async fn the_result_is_a_dataset() {
    let project = Project::new().await;
    let made = run(&project, &format!("{JOIN} WHERE f.id < 4 ORDER BY f.id")).await.unwrap();
    assert_eq!(project.rows(&made.tree).await.len(), 4);
    assert!(project.rows(&made.tree).await[0].starts_with("0|American|"));
    let columns: Vec<_> = made.columns.iter().map(|column| (column.name.as_str(), column.data_type.as_str())).collect();
    assert_eq!(columns, [("id", "int64"), ("title", "text"), ("mean", "float64"), ("hour", "int32")]);
    assert_eq!(report(&project.store, &made.tree).await.unwrap().rows, made.rows);
    assert_eq!(table_schema(&project.store, &made.tree).await.unwrap().fields().len(), 4);
    let empty = run(&project, "SELECT id FROM flights WHERE id < 0").await.unwrap();
    assert_eq!((empty.rows, empty.columns.len()), (0, 1));
    assert_eq!(table_schema(&project.store, &empty.tree).await.unwrap().field(0).name(), "id");
}

#[tokio::test]
async fn files_keep_their_order() {
    let project = Project::new().await;
    let made = run(&project, "SELECT id FROM flights").await.unwrap();
    let ids: Vec<_> = (0..5000).map(|id| id.to_string()).collect();
    assert_eq!(project.rows(&made.tree).await, ids);
}

#[tokio::test]
async fn functions_that_change_their_answer_are_refused() {
    let project = Project::new().await;
    for (sql, name) in [
        ("SELECT id, random() AS r FROM flights", "random"),
        ("SELECT id FROM flights WHERE at < now()", "now"),
        ("SELECT uuid() AS u", "uuid"),
        ("SELECT current_date AS d", "current_date"),
        ("SELECT id FROM flights WHERE id IN (SELECT CAST(random() AS BIGINT) FROM flights)", "random"),
        ("WITH x AS (SELECT current_timestamp AS t) SELECT t FROM x", "now"),
        ("SELECT sum(random() + 1) AS s FROM flights", "random"),
        ("SELECT id FROM flights ORDER BY random()", "random"),
    ] {
        match run(&project, sql).await.unwrap_err() {
            DataError::Volatile { function } => assert_eq!(function, name, "{sql}"),
            other => panic!("{sql}: {other}"),
        }
    }
}

#[tokio::test]
async fn only_one_select_is_accepted() {
    let project = Project::new().await;
    for sql in [
        "",
        "SELECT 1 AS a; SELECT 2 AS b",
        "DROP TABLE flights",
        "CREATE TABLE x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "COPY flights TO '/tmp/x.parquet'",
        "INSERT INTO flights SELECT * FROM flights",
        "SET datafusion.execution.batch_size = 1",
        "SELECT id INTO x FROM flights",
        "EXPLAIN SELECT 1",
    ] {
        let error = run(&project, sql).await.unwrap_err();
        assert_eq!(error.code(), "data.refused", "{sql}: {error}");
    }
    let error = run(&project, "SELECT * FROM '/etc/passwd'").await.unwrap_err();
    assert_eq!(error.code(), "data.refused", "{error}");
}

#[tokio::test]
async fn mistakes_are_explained() {
    let project = Project::new().await;
    let error = run(&project, "SELECT id,\n       carier\nFROM flights").await.unwrap_err();
    assert!(error.to_string().contains("no column `carier`"), "{error}");
    assert_eq!(error.hint().as_deref(), Some("did you mean `carrier`?"));
    assert!(matches!(error, DataError::Sql { place: Some(Place { line: 2, column: 8 }), .. }), "{error:?}");
    let error = run(&project, "SELECT Delay FROM flights").await.unwrap_err();
    assert!(error.hint().unwrap().contains("\"Delay\""), "{error}");
    let error = run(&project, "SELECT id FORM flights WHERE").await.unwrap_err();
    assert!(matches!(error, DataError::Sql { place: Some(_), .. }), "{error}");
    let error = run(&project, "SELECT 1 AS a FROM flihgts").await.unwrap_err();
    assert!(error.to_string().contains("no table `flihgts`"), "{error}");
    let error = run(&project, "SELECT f.id, g.id FROM flights f JOIN flights g ON f.id = g.id").await.unwrap_err();
    assert!(error.to_string().contains("two columns of the result are called `id`"), "{error}");
    let error = run(&project, "SELECT id / 0 AS x FROM flights").await.unwrap_err();
    assert_eq!(error.code(), "data.execution", "{error}");
}
