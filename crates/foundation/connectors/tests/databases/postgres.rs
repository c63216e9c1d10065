use std::num::NonZeroUsize;

use futures::TryStreamExt as _;
use ropewalk_connectors::{ConnectorError, Cursor, MisfitPolicy, Partition, SqlRequest};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::support::{column, fresh, open, read, rows, server, shown, types};

fn url() -> String {
    server("ROPEWALK_TEST_POSTGRES")
}

async fn run(sql: &str) {
    let mut connection = PgConnection::connect(&url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// What each column of the table of types is.
const TYPES: [&str; 33] = [
    "a Boolean",
    "b Int16",
    "c Int32",
    "d Int64",
    "e Float32",
    "f Float64",
    "g Decimal128(12, 3)",
    "h Float64",
    "i Utf8",
    "j Utf8",
    "k Utf8",
    "l Binary",
    "m Date32",
    "n Time64(µs)",
    "o Timestamp(µs)",
    "p Timestamp(µs, \"UTC\")",
    "q Utf8",
    "r Utf8",
    "s Utf8",
    "t Utf8",
    "u Utf8",
    "v Utf8",
    "w List(Int32)",
    "x List(Utf8)",
    "y Utf8",
    "z Decimal128(8, 2)",
    "aa Decimal256(60, 5)",
    "bb List(Timestamp(µs, \"UTC\"))",
    "cc Utf8",
    "dd UInt32",
    "ee Utf8",
    "ff Utf8",
    "gg List(Int32)",
];

/// What its first row holds, as Arrow writes it.
const VALUES: [(&str, &str); 31] = [
    ("a", "true"),
    ("b", "-32768"),
    ("c", "2147483647"),
    ("d", "-9223372036854775808"),
    ("e", "1.5"),
    ("f", "0.1"),
    ("g", "-123456789.125"),
    ("h", "1.2345678901234568e28"),
    ("i", "größe"),
    ("k", "ab  "),
    ("l", "00ff"),
    ("m", "1969-12-31"),
    ("n", "23:59:59.999999"),
    ("o", "2024-02-29T12:00:00.500"),
    ("p", "2024-02-29T10:00:00"),
    ("q", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("r", "{\"a\": 1}"),
    ("s", "{\"b\": [1, 2]}"),
    ("t", "torn"),
    ("u", "10.0.0.1/8"),
    ("v", "P1Y2M3DT4H5M6S"),
    ("w", "[1, , 3]"),
    ("x", "[a, b c]"),
    ("y", "[1,5)"),
    ("z", "12.34"),
    ("aa", "1234567890123456789012345678901234567890.50000"),
    ("cc", "101"),
    ("dd", "7"),
    ("ee", "n"),
    ("ff", "12:00:00+02"),
    ("gg", "[]"),
];

#[tokio::test]
async fn every_type_arrives_as_it_is() {
    let table = fresh("types");
    run(&format!(
        "CREATE TYPE {table}_mood AS ENUM ('calm', 'torn'); CREATE DOMAIN {table}_money AS numeric(8, 2); \
         CREATE TABLE {table} (a bool, b smallint, c int, d bigint, e real, f double precision, g numeric(12, 3), \
         h numeric, i text, j varchar(9), k char(4), l bytea, m date, n time, o timestamp, p timestamptz, q uuid, \
         r json, s jsonb, t {table}_mood, u inet, v interval, w int[], x text[], y int4range, z {table}_money, \
         aa numeric(60, 5), bb timestamptz[], cc bit(3), dd oid, ee name, ff timetz, gg int[]); \
         INSERT INTO {table} VALUES (true, -32768, 2147483647, -9223372036854775808, 1.5, 0.1, -123456789.125, \
         12345678901234567890123456789.000000000000000000001, 'größe', 'x', 'ab', '\\x00ff', '1969-12-31', \
         '23:59:59.999999', '2024-02-29 12:00:00.5', '2024-02-29 12:00:00+02', \
         'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{{\"a\": 1}}', '{{\"b\":[1,2]}}', 'torn', '10.0.0.1/8', \
         '1 year 2 mons 3 days 04:05:06', '{{1,NULL,3}}', '{{\"a\",\"b c\"}}', '[1,5)', 12.34, \
         1234567890123456789012345678901234567890.5, '{{2024-01-01 00:00:00+00}}', '101', 7, 'n', '12:00:00+02', '{{}}'); \
         INSERT INTO {table} DEFAULT VALUES; INSERT INTO {table} DEFAULT VALUES"
    ))
    .await;
    let (batch, misfits) = read(&SqlRequest::new(url(), format!("SELECT * FROM {table}"))).await.unwrap();
    assert!(misfits.is_empty());
    assert_eq!(types(&batch), TYPES);
    for (name, value) in VALUES {
        assert_eq!(shown(&batch, name, 0), value, "{name}");
    }
    for field in batch.schema().fields() {
        assert_eq!(batch.column_by_name(field.name()).unwrap().null_count(), 2, "{}", field.name());
    }
    let table = open(&SqlRequest::new(url(), format!("SELECT h, v FROM {table}"))).await.unwrap();
    let noted: Vec<_> = table.notes.iter().filter_map(|note| note.column.as_deref()).collect();
    assert_eq!(noted, ["h", "v"]);
    assert!(table.provenance.facts["server"].starts_with("PostgreSQL"));
    assert!(table.provenance.facts.contains_key("snapshot"));
    assert!(!format!("{:?}", table.provenance).contains("ropewalk-test"));
}

#[tokio::test]
async fn computed_numbers_can_be_computed_with() {
    let table = fresh("computed");
    let values = "(1, 9007199254740992.5), (2, 9007199254740993.5)";
    run(&format!("CREATE TABLE {table} (id int, g numeric); INSERT INTO {table} VALUES {values}")).await;
    let query = format!(
        "SELECT id * 1.5 AS a, g, CAST(g AS text) AS t, (SELECT sum(id) FROM {table}) AS s, 1 / 3.0 AS u FROM {table}"
    );
    let (batch, _) = read(&SqlRequest::new(url(), query.clone())).await.unwrap();
    assert_eq!(types(&batch), ["a Float64", "g Float64", "t Utf8", "s Int64", "u Float64"]);
    assert_eq!(column(&batch, "a"), ["1.5", "3.0"]);
    assert_eq!(column(&batch, "t"), ["9007199254740992.5", "9007199254740993.5"]);
    let mut request = SqlRequest::new(url(), query);
    request.cursor = Some(Cursor { column: "g".to_owned(), after: Some("9007199254740992.5".to_owned()) });
    let table = open(&request).await.unwrap();
    assert_eq!(table.cursor.as_deref(), Some("9007199254740993.5"), "of a cursor every digit counts");
    assert_eq!(column(&rows(table).await.unwrap().0, "a"), ["3.0"]);
}

#[tokio::test]
async fn what_no_column_holds_is_an_error_or_counted() {
    let query = "SELECT * FROM (VALUES (1, 'NaN'::numeric, 'infinity'::date, '24:00:00'::time, '{{1},{2}}'::int[]), \
                 (2, 1.5, '2024-01-01', '01:00', '{1}')) AS v(id, n, d, t, a)";
    let error = read(&SqlRequest::new(url(), query)).await.unwrap_err();
    let ConnectorError::Misfit { misfit, .. } = &error else { panic!("{error}") };
    assert_eq!((misfit.row, misfit.column.as_str(), misfit.value.as_str()), (1, "d", "infinity"));
    let mut request = SqlRequest::new(url(), query);
    // Of one row.
    request.misfits = MisfitPolicy::Collect { limit: 1 };
    request.decimals.insert("n".to_owned(), (10, 2));
    let (batch, misfits) = read(&request).await.unwrap();
    assert_eq!(misfits.len(), 4);
    assert_eq!(column(&batch, "n"), ["", "1.50"]);
    assert_eq!(column(&batch, "d"), ["", "2024-01-01"]);
    request.misfits = MisfitPolicy::Collect { limit: 0 };
    assert!(matches!(read(&request).await, Err(ConnectorError::TooManyMisfits { limit: 0, .. })));
}

#[tokio::test]
async fn queries_that_write_or_are_several_are_refused() {
    let table = fresh("kept");
    run(&format!("CREATE TABLE {table} (a int); INSERT INTO {table} VALUES (1)")).await;
    for query in [
        format!("DELETE FROM {table} RETURNING a"),
        format!("WITH gone AS (DELETE FROM {table} RETURNING a) SELECT * FROM gone"),
        format!("INSERT INTO {table} VALUES (2)"),
        format!("DROP TABLE {table}"),
        format!("SELECT 1; DELETE FROM {table}"),
        format!("SELECT * FROM {table}) AS x; DELETE FROM {table}; SELECT * FROM (SELECT 1"),
        "SELECT nextval('no_sequence')".to_owned(),
        "COMMIT".to_owned(),
    ] {
        let mut request = SqlRequest::new(url(), query.clone());
        assert!(read(&request).await.is_err(), "{query}");
        request.partition =
            Some(Partition { column: "a".to_owned(), count: NonZeroUsize::MIN, lower: None, upper: None });
        assert!(read(&request).await.is_err(), "{query}");
    }
    let (batch, _) = read(&SqlRequest::new(url(), format!("SELECT count(*) AS n FROM {table};"))).await.unwrap();
    assert_eq!(column(&batch, "n"), ["1"]);
}

#[tokio::test]
async fn partitions_see_one_snapshot_and_every_row_once() {
    let table = fresh("parts");
    run(&format!(
        "CREATE TABLE {table} (\"Odd \"\"name\" int, day date, at timestamptz, price numeric(9, 2)); \
         INSERT INTO {table} SELECT i, date '2024-01-01' + i, timestamptz '2024-01-01 00:00Z' + i * interval '1 hour', i / 7.0 \
         FROM generate_series(1, 997) AS i; INSERT INTO {table} VALUES (NULL, NULL, NULL, NULL)"
    ))
    .await;
    for name in ["Odd \"name", "day", "at", "price"] {
        let mut request = SqlRequest::new(url(), format!("SELECT * FROM {table} -- all"));
        let count = NonZeroUsize::new(7).unwrap();
        request.partition = Some(Partition { column: name.to_owned(), count, lower: None, upper: None });
        let opened = open(&request).await.unwrap();
        assert_eq!(opened.partitions.len(), 7);
        // A change after the opening is in no partition, nor half of it.
        run(&format!("INSERT INTO {table} SELECT 5000 + i FROM generate_series(1, 10) AS i; DELETE FROM {table} WHERE \"Odd \"\"name\" = 5")).await;
        let streams = opened.partitions.into_iter().map(|partition| partition.open().try_collect::<Vec<_>>());
        let parts = futures::future::try_join_all(streams).await.unwrap();
        let sizes: Vec<usize> =
            parts.iter().map(|part| part.iter().map(|batch| batch.records.num_rows()).sum()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 998, "{name}: {sizes:?}");
        assert!(sizes.iter().all(|size| (100..200).contains(size)), "{name}: {sizes:?}");
        run(&format!("DELETE FROM {table} WHERE \"Odd \"\"name\" > 5000; INSERT INTO {table} VALUES (5, '2024-01-06', '2024-01-01 05:00Z', 0.71)")).await;
    }
    let mut request = SqlRequest::new(url(), format!("SELECT * FROM {table}"));
    let count = NonZeroUsize::new(3).unwrap();
    let bounds = (Some("100".to_owned()), Some("400".to_owned()));
    request.partition = Some(Partition { column: "Odd \"name".to_owned(), count, lower: bounds.0, upper: bounds.1 });
    assert_eq!(read(&request).await.unwrap().0.num_rows(), 998);
    request.partition = Some(Partition { column: "none".to_owned(), count, lower: None, upper: None });
    assert!(matches!(read(&request).await, Err(ConnectorError::Column { .. })));
}

#[tokio::test]
async fn incremental_reads_take_each_row_once() {
    let table = fresh("news");
    run(&format!(
        "CREATE TABLE {table} (id int, at timestamptz); INSERT INTO {table} VALUES \
         (1, '2024-01-01 10:00Z'), (2, '2024-01-01 10:00:00.000001Z'), (3, NULL)"
    ))
    .await;
    let mut request = SqlRequest::new(url(), format!("SELECT id, at FROM {table}"));
    request.cursor = Some(Cursor { column: "at".to_owned(), after: None });
    let first = open(&request).await.unwrap();
    assert!(first.notes.iter().any(|note| note.text.starts_with("1 row has no value")));
    let after = first.cursor.clone();
    // What comes after the opening is for the next read.
    run(&format!("INSERT INTO {table} VALUES (4, '2024-01-02 00:00Z')")).await;
    assert_eq!(column(&rows(first).await.unwrap().0, "id"), ["1", "2"]);
    request.cursor = Some(Cursor { column: "at".to_owned(), after });
    let second = open(&request).await.unwrap();
    let after = second.cursor.clone();
    assert_eq!(column(&rows(second).await.unwrap().0, "id"), ["4"]);
    request.cursor = Some(Cursor { column: "at".to_owned(), after: after.clone() });
    let third = open(&request).await.unwrap();
    assert_eq!(third.cursor, after);
    assert_eq!(rows(third).await.unwrap().0.num_rows(), 0);
    request.cursor = Some(Cursor { column: "at".to_owned(), after: Some("'; DROP TABLE x; --".to_owned()) });
    assert!(matches!(open(&request).await, Err(ConnectorError::Query { .. })));
}

/// `NaN` is greater than all numbers that will ever come.
#[tokio::test]
async fn a_greatest_value_that_ends_an_incremental_read_for_ever_is_refused() {
    let table = fresh("ends");
    run(&format!(
        "CREATE TABLE {table} (x float8, y numeric, z numeric(9, 2), f float4); \
         INSERT INTO {table} VALUES (1, 1, 1, 0.1), ('NaN', 'NaN', 'NaN', 0.2)"
    ))
    .await;
    let mut request = SqlRequest::new(url(), format!("SELECT * FROM {table}"));
    for name in ["x", "y", "z"] {
        request.cursor = Some(Cursor { column: name.to_owned(), after: None });
        let error = open(&request).await.unwrap_err();
        assert!(matches!(error, ConnectorError::Column { .. }) && error.to_string().contains("`NaN`"), "{error}");
    }
    request.cursor = Some(Cursor { column: "f".to_owned(), after: None });
    assert!(open(&request).await.unwrap().cursor.is_some(), "a single is found again by its text");
}

#[tokio::test]
async fn rows_stream_in_bounded_batches_and_may_be_left() {
    let mut request = SqlRequest::new(url(), "SELECT generate_series(1, 1000000000) AS i, repeat('x', 100) AS t");
    request.batch_rows = 1000;
    let table = open(&request).await.unwrap();
    let mut stream = table.partitions.into_iter().next().unwrap().open();
    for _ in 0..3 {
        assert_eq!(stream.try_next().await.unwrap().unwrap().records.num_rows(), 1000);
    }
}

#[tokio::test]
async fn an_error_in_the_middle_is_an_error_after_the_rows_before_it() {
    let mut request = SqlRequest::new(url(), "SELECT 10 / (50000 - i) AS x FROM generate_series(1, 60000) AS i");
    request.batch_rows = 1000;
    let error = read(&request).await.unwrap_err();
    assert!(error.to_string().ends_with("division by zero"), "{error}");
}

#[tokio::test]
async fn connections_fail_with_a_reason_and_without_the_password() {
    let wrong = url().replace("ropewalk-test", "wrong-secret");
    let error = open(&SqlRequest::new(wrong, "SELECT 1 AS a")).await.unwrap_err();
    assert!(matches!(error, ConnectorError::Connect { .. }));
    assert!(!error.to_string().contains("wrong-secret"), "{error}");
    let tls = format!("{}?sslmode=verify-full", url());
    assert!(matches!(open(&SqlRequest::new(tls, "SELECT 1 AS a")).await, Err(ConnectorError::Connect { .. })));
    for query in ["SELECT 1", "SELECT 1 AS a, 2 AS a"] {
        assert!(matches!(open(&SqlRequest::new(url(), query)).await, Err(ConnectorError::Column { .. })), "{query}");
    }
}
