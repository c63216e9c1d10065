use std::num::NonZeroUsize;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::TryStreamExt as _;
use ropewalk_connectors::{
    ConnectionOptions, ConnectorError, Cursor, Misfit, MisfitPolicy, Partition, SqlRequest, Table, sql_open,
};
use ropewalk_types::ManualAmbient;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::support::scratch;

async fn database(directory: &Path, sql: &str) -> String {
    let path = directory.join("x.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    format!("sqlite:{}", path.display())
}

async fn open(request: &SqlRequest) -> Result<Table, ConnectorError> {
    sql_open(request, &ConnectionOptions::default(), &ManualAmbient::default()).await
}

async fn read(request: &SqlRequest) -> Result<(RecordBatch, Vec<Misfit>), ConnectorError> {
    let table = open(request).await?;
    let (mut batches, mut misfits) = (Vec::new(), Vec::new());
    for partition in table.partitions {
        let mut stream = partition.open();
        while let Some(batch) = stream.try_next().await? {
            batches.push(batch.records);
            misfits.extend(batch.misfits);
        }
    }
    Ok((concat_batches(&table.schema, &batches).unwrap(), misfits))
}

fn row(batch: &RecordBatch, row: usize) -> Vec<String> {
    batch.columns().iter().map(|array| arrow::util::display::array_value_to_string(array, row).unwrap()).collect()
}

#[tokio::test]
async fn declarations_give_the_types_and_misfits_are_said() {
    let (_kept, directory) = scratch();
    let url = database(
        &directory,
        "CREATE TABLE t (a INTEGER, b REAL, c TEXT, d BLOB, e BOOLEAN, f DATE, g DATETIME, h DECIMAL(10, 2), i TIME, j ANYTHING); \
         INSERT INTO t VALUES (9223372036854775807, 0.1, 'größe', x'00ff', 1, '2024-02-29', '2024-02-29T12:00:00.5', 1.1, '12:30', 7); \
         INSERT INTO t VALUES (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL); \
         INSERT INTO t VALUES ('many', 'x', x'ff', 'text', 2, '29.2.2024', 1709208000, 1.005, 'noon', 'eight')",
    )
    .await;
    let mut request = SqlRequest::new(url, "SELECT *, a + 1 AS k, upper(c) AS l FROM t;");
    request.type_tolerance = 0.5;
    let error = read(&request).await.unwrap_err();
    let ConnectorError::Misfit { misfit, .. } = &error else { panic!("{error}") };
    assert_eq!((misfit.row, misfit.column.as_str(), misfit.value.as_str()), (3, "a", "many"));
    request.misfits = MisfitPolicy::Collect { limit: 100 };
    let (batch, misfits) = read(&request).await.unwrap();
    assert_eq!(
        row(&batch, 0),
        [
            "9223372036854775807",
            "0.1",
            "größe",
            "00ff",
            "true",
            "2024-02-29",
            "2024-02-29T12:00:00.500",
            "1.10",
            "12:30:00",
            "7",
            "9.223372036854776e18",
            "GRößE"
        ]
    );
    assert!(batch.columns().iter().all(|array| array.is_null(1)));
    let found: Vec<_> = misfits.iter().map(|misfit| misfit.column.as_str()).collect();
    // The last is no UTF-8 either.
    assert_eq!(found, ["a", "b", "c", "d", "e", "f", "g", "h", "i", "l"]);
    assert_eq!(row(&batch, 2)[9], "eight");
}

/// SQLite lets every value be of any type: where they are not what their column was declared as, they decide.
#[tokio::test]
async fn values_decide_where_most_are_not_what_was_declared() {
    let (_kept, directory) = scratch();
    let url = database(
        &directory,
        "CREATE TABLE t (id INTEGER, z DATETIME, epoch DATETIME, half INTEGER, ok BOOLEAN, late INTEGER); \
         WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1200) \
         INSERT INTO t SELECT i, '2024-01-01T00:00:00Z', 1700000000 + i, i + 0.5, \
         CASE WHEN i % 2 THEN 't' ELSE 'f' END, CASE WHEN i > 1000 THEN i + 0.5 ELSE i END FROM s",
    )
    .await;
    let mut request = SqlRequest::new(url, "SELECT * FROM t");
    request.misfits = MisfitPolicy::Collect { limit: 1000 };
    let types = |batch: &RecordBatch| {
        batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect::<Vec<_>>()
    };
    let (batch, misfits) = read(&request).await.unwrap();
    assert_eq!(types(&batch)[1..5], ["Timestamp(µs)", "Int64", "Float64", "Utf8"]);
    assert_eq!(row(&batch, 0), ["1", "2024-01-01T00:00:00", "1700000001", "1.5", "t", "1"]);
    // The first rows do not show that it is none of whole numbers.
    assert_eq!((types(&batch)[5].as_str(), misfits.len()), ("Int64", 200));
    request.inferred_whole.insert("late".to_owned());
    let (batch, misfits) = read(&request).await.unwrap();
    assert_eq!((types(&batch)[5].as_str(), misfits.len()), ("Float64", 0));
    let notes = open(&request).await.unwrap().notes;
    let note = |column: &str| &notes.iter().find(|note| note.column.as_deref() == Some(column)).unwrap().text;
    assert!(note("late").contains("200 of 1200 values of all rows"), "{notes:?}");
    assert!(note("z").contains("converted to UTC"), "{notes:?}");
}

#[tokio::test]
async fn the_file_is_only_read() {
    let (_kept, directory) = scratch();
    let url = database(&directory, "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1)").await;
    for query in [
        "DELETE FROM t RETURNING a",
        "INSERT INTO t VALUES (2) RETURNING a",
        "SELECT 1 AS a; DELETE FROM t",
        "DROP TABLE t",
        "COMMIT",
        "ATTACH 'other.db' AS o",
        "SELECT",
        "SELECT * FROM none",
    ] {
        assert!(read(&SqlRequest::new(url.clone(), query)).await.is_err(), "{query}");
    }
    let (batch, _) = read(&SqlRequest::new(url, "SELECT count(*) AS n FROM t")).await.unwrap();
    assert_eq!(row(&batch, 0), ["1"]);
    for url in ["sqlite:", "sqlite::memory:", "sqlite:none.db", "sqlite://x.db", "sqlite:x.db?mode=rwc"] {
        assert!(matches!(open(&SqlRequest::new(url, "SELECT 1 AS a")).await, Err(ConnectorError::Url { .. })), "{url}");
    }
    for url in ["sqlite:x.db?key=hunter2", "sqlite://x.db?key=hunter2", "sqlite:x.db#token=hunter2"] {
        let Err(error) = open(&SqlRequest::new(url, "SELECT 1 AS a")).await else { panic!("{url}") };
        let told = format!("{error} {error:?}");
        assert!(matches!(error, ConnectorError::Url { .. }) && !told.contains("hunter2"), "{told}");
    }
}

#[tokio::test]
async fn partitions_and_cursors() {
    let (_kept, directory) = scratch();
    let url = database(
        &directory,
        "CREATE TABLE t (id INTEGER, day DATE, x REAL, at TEXT); \
         WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 997) \
         INSERT INTO t SELECT i, date('2024-01-01', i || ' days'), i / 10.0, datetime('2024-01-01', i || ' minutes') FROM s; \
         INSERT INTO t VALUES (NULL, NULL, NULL, NULL)",
    )
    .await;
    for column in ["id", "day", "x"] {
        let mut request = SqlRequest::new(url.clone(), "SELECT * FROM t");
        let count = NonZeroUsize::new(7).unwrap();
        request.partition = Some(Partition { column: column.to_owned(), count, lower: None, upper: None });
        let table = open(&request).await.unwrap();
        assert_eq!(table.partitions.len(), 7);
        let streams = table.partitions.into_iter().map(|partition| partition.open().try_collect::<Vec<_>>());
        let parts = futures::future::try_join_all(streams).await.unwrap();
        let sizes: Vec<usize> =
            parts.iter().map(|part| part.iter().map(|batch| batch.records.num_rows()).sum()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 998, "{column}: {sizes:?}");
        assert!(sizes.iter().all(|size| (100..200).contains(size)), "{column}: {sizes:?}");
    }
    for column in ["id", "day", "x", "at"] {
        let mut request = SqlRequest::new(url.clone(), "SELECT * FROM t ORDER BY id");
        request.cursor = Some(Cursor { column: column.to_owned(), after: None });
        let table = open(&request).await.unwrap();
        let after = table.cursor.clone();
        assert!(after.is_some());
        assert_eq!(read(&request).await.unwrap().0.num_rows(), 997);
        request.cursor = Some(Cursor { column: column.to_owned(), after: after.clone() });
        let table = open(&request).await.unwrap();
        assert_eq!(table.cursor, after, "{column}");
        assert_eq!(read(&request).await.unwrap().0.num_rows(), 0, "{column}");
    }
}

async fn refused(url: &str, column: &str) -> String {
    let mut messages = Vec::new();
    let count = NonZeroUsize::new(2).unwrap();
    let partition = Partition { column: column.to_owned(), count, lower: None, upper: None };
    let cursor = Cursor { column: column.to_owned(), after: None };
    for (partition, cursor) in [(Some(partition), None), (None, Some(cursor))] {
        let query = SqlRequest::new(url, "SELECT * FROM t");
        let request = SqlRequest { partition, cursor, type_tolerance: 0.5, ..query };
        match open(&request).await {
            Err(error @ ConnectorError::Column { .. }) => messages.push(error.to_string()),
            other => panic!("{column}: {other:?}"),
        }
    }
    messages.swap_remove(1)
}

/// Text sorts above all numbers, so one blank would be the greatest value, and compare as 0.
#[tokio::test]
async fn an_extreme_value_of_another_type_is_refused() {
    let (_kept, directory) = scratch();
    let url = database(
        &directory,
        "CREATE TABLE t (a INTEGER, b REAL, c DECIMAL(10, 2), d DATE, e DATETIME, f INTEGER, g TEXT); \
         INSERT INTO t VALUES (1, 1.5, 1.5, '2024-01-01', '2024-01-01 10:00', 1, 'a'), (2, 2.5, 2, '2024-01-02', \
         '2024-01-02 10:00', 2.5, 'b'), ('', 'x', '', 'soon', 'soon', 2, x'00')",
    )
    .await;
    for (column, said) in [
        ("a", "`` is no whole number"),
        ("b", "`x` is no number"),
        ("c", "`` is no number"),
        ("d", "`soon` is no date"),
        ("e", "`soon` is no timestamp"),
        ("f", "`2.5` is no whole number"),
    ] {
        let message = refused(&url, column).await;
        assert!(message.contains(said) && message.contains(&format!("column `{column}`")), "{message}");
    }
    let mut request = SqlRequest { type_tolerance: 0.5, ..SqlRequest::new(url, "SELECT * FROM t") };
    request.cursor = Some(Cursor { column: "g".to_owned(), after: None });
    assert!(matches!(open(&request).await, Err(ConnectorError::Column { .. })), "bytes sort above text");
    request.query = "SELECT * FROM t WHERE typeof(a) = 'integer'".to_owned();
    request.cursor = Some(Cursor { column: "a".to_owned(), after: None });
    let table = open(&request).await.unwrap();
    assert_eq!(table.cursor.as_deref(), Some("2"));
}

/// They are compared as text, in which a `T` is greater than a blank.
#[tokio::test]
async fn timestamps_are_compared_as_they_are_stored() {
    let (_kept, directory) = scratch();
    let add = |sql: &'static str| {
        let directory = directory.clone();
        async move { database(&directory, sql).await }
    };
    let url = add("CREATE TABLE t (at DATETIME); \
         INSERT INTO t VALUES ('2024-01-01T11:00:00'), ('2024-01-02T09:00:00'), ('2024-01-02T11:00:00')")
    .await;
    let mut request = SqlRequest::new(url, "SELECT * FROM t");
    let after = |after: &str| Some(Cursor { column: "at".to_owned(), after: Some(after.to_owned()) });
    request.cursor = Some(Cursor { column: "at".to_owned(), after: None });
    let table = open(&request).await.unwrap();
    assert_eq!(table.cursor.as_deref(), Some("2024-01-02T11:00:00"));
    assert!(table.notes.iter().any(|note| note.column.as_deref() == Some("at") && note.text.contains("never read")));
    // What it holds would keep others from writing.
    drop(table);
    assert_eq!(read(&request).await.unwrap().0.num_rows(), 3, "those of the last day too");
    request.cursor = after("2024-01-02T11:00:00");
    assert_eq!(read(&request).await.unwrap().0.num_rows(), 0);
    add("INSERT INTO t VALUES ('2024-01-02T11:00:01')").await;
    assert_eq!(read(&request).await.unwrap().0.num_rows(), 1);
    // A cursor of a version that was made before they were compared so.
    request.cursor = after("2024-01-01 11:00:00.000000");
    assert_eq!(read(&request).await.unwrap().0.num_rows(), 4);

    // This would come before what was read on the same day.
    add("INSERT INTO t VALUES ('2024-01-03 08:00:00')").await;
    for cursor in [after("2024-01-02T11:00:00"), Some(Cursor { column: "at".to_owned(), after: None })] {
        request.cursor = cursor;
        let error = open(&request).await.unwrap_err().to_string();
        assert!(error.contains("two ways") && error.contains("2024-01-03 08:00:00"), "{error}");
    }
}

#[tokio::test]
async fn the_file_is_sought_where_the_request_says() {
    let (_kept, directory) = scratch();
    database(&directory, "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (7)").await;
    let mut request = SqlRequest::new("sqlite:x.db", "SELECT a FROM t");
    let error = open(&request).await.unwrap_err().to_string();
    assert!(error.contains("there is no file x.db"), "{error}");
    request.directory.clone_from(&directory);
    assert_eq!(row(&read(&request).await.unwrap().0, 0), ["7"]);
    assert_eq!(open(&request).await.unwrap().provenance.location, "sqlite:x.db", "the same on every machine");
}
