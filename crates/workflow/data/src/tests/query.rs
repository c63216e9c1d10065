use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use ropewalk_types::Diagnose as _;

use super::fixture::Project;
use crate::{DataError, NamedTable, QueryLimits, QueryResult, query};

async fn ask(sql: &str, rows: usize) -> Result<QueryResult, DataError> {
    let project = Project::new().await;
    let tree = project.csv("id,name\n1,\"a \"\"b\"\"\"\n2,\n3,c\n").await;
    let runs: RecordBatch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, 3])) as _),
        ("state", Arc::new(StringArray::from(vec!["FINISHED", "FAILED"])) as _),
    ])
    .unwrap();
    let tables = [NamedTable { name: "t".to_owned(), tree }];
    let mut limits = QueryLimits::new(project.scratch());
    limits.rows = rows;
    query(sql, &tables, &[("runs".to_owned(), vec![runs])], &project.store, &limits).await
}

#[tokio::test]
async fn answers_in_three_forms() {
    let answer =
        ask("SELECT t.id, name, state FROM t LEFT JOIN runs ON runs.id = t.id ORDER BY t.id", 10).await.unwrap();
    assert_eq!(answer.rows(), 3);
    let csv = String::from_utf8(answer.write_csv().unwrap()).unwrap();
    assert_eq!(csv, "id,name,state\n1,\"a \"\"b\"\"\",FINISHED\n2,,\n3,c,FAILED\n");
    let json: serde_json::Value = serde_json::from_slice(&answer.write_json().unwrap()).unwrap();
    assert_eq!(json[1], serde_json::json!({"id": 2, "name": null, "state": null}));
    assert!(answer.format_table().unwrap().contains("| 3  | c     | FAILED   |"));
}

#[tokio::test]
async fn answers_without_rows() {
    let answer = ask("SELECT id FROM t WHERE id > 9", 10).await.unwrap();
    assert_eq!(answer.write_csv().unwrap(), b"id\n");
    assert_eq!(answer.write_json().unwrap(), b"[]");
    assert!(answer.format_table().unwrap().contains("| id |"));
}

#[tokio::test]
async fn a_call_with_the_wrong_types_is_told_in_one_clause() {
    for (sql, says, hint) in [
        (
            "SELECT sum(name) FROM t",
            "sum() takes Decimal, UInt64, Int64, Float64, Duration or Interval, not Utf8",
            Some("make a number of it: CAST(x AS DOUBLE)"),
        ),
        ("SELECT sum(id > 1) FROM t", "Duration or Interval, not Boolean", None),
        ("SELECT sum(id, id) FROM t", "the number of values that sum() takes is 1, not 2", None),
        (
            "SELECT sqrt(name) FROM t",
            "sqrt() cannot be called with Utf8",
            Some("make a number of it: CAST(x AS DOUBLE)"),
        ),
    ] {
        let error = ask(sql, 9).await.unwrap_err();
        assert_eq!((error.code(), error.hint().as_deref()), ("data.sql", hint), "{sql}");
        let text = error.to_string();
        assert!(text.ends_with(says) && !text.contains("Internal") && text.len() < 150, "{sql}: {text}");
    }
}

#[tokio::test]
async fn limits_and_refusals() {
    let error = ask("SELECT * FROM t", 2).await.unwrap_err();
    assert!(matches!(error, DataError::TooManyRows { limit: 2 }), "{error}");
    assert_eq!(ask("DELETE FROM t", 9).await.unwrap_err().code(), "data.refused");
    assert_eq!(ask("SELECT now() IS NULL AS never", 9).await.unwrap().rows(), 1);
    assert_eq!(ask("SELECT count(*) AS n FROM t", 9).await.unwrap().write_csv().unwrap(), b"n\n3\n");
}
