use std::num::NonZeroUsize;

use futures::TryStreamExt as _;
use ropewalk_connectors::{ConnectorError, Cursor, MisfitPolicy, Partition, SqlRequest};
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};

use super::support::{column, fresh, open, read, rows, server, shown, types};

fn url() -> String {
    server("ROPEWALK_TEST_MARIADB")
}

async fn run(statements: &[String]) {
    let mut connection = MySqlConnection::connect(&url()).await.unwrap();
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// What each column of the table of types is.
const TYPES: [&str; 27] = [
    "a Int8",
    "b Int8",
    "c UInt16",
    "d Int32",
    "e UInt32",
    "f Int64",
    "g UInt64",
    "h Float32",
    "i Float64",
    "j Decimal128(12, 3)",
    "k Decimal256(65, 30)",
    "l Utf8",
    "m Utf8",
    "n Utf8",
    "o Binary",
    "p Binary",
    "q Date32",
    "r Time64(µs)",
    "s Timestamp(µs)",
    "t Timestamp(µs, \"UTC\")",
    "u UInt16",
    "v UInt64",
    "w Utf8",
    "x Utf8",
    "y Utf8",
    "z Utf8",
    "aa Utf8",
];

/// What its first row holds, as Arrow writes it.
const VALUES: [(&str, &str); 27] = [
    ("a", "1"),
    ("b", "-128"),
    ("c", "65535"),
    ("d", "-8388608"),
    ("e", "4294967295"),
    ("f", "-9223372036854775808"),
    ("g", "18446744073709551615"),
    ("h", "1.5"),
    ("i", "0.1"),
    ("j", "-123456789.125"),
    ("k", "12345678901234567890123456789012345.123456789012345678901234567891"),
    ("l", "größe"),
    ("m", "m"),
    ("n", "n"),
    ("o", "00ff"),
    ("p", "ff"),
    ("q", "1969-12-31"),
    ("r", "23:59:59.999999"),
    ("s", "2024-02-29T12:00:00.500"),
    ("t", "2024-02-29T10:00:00"),
    ("u", "2024"),
    ("v", "513"),
    ("w", "torn"),
    ("x", "a,b"),
    ("y", "{\"a\": 1}"),
    ("z", "z"),
    ("aa", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
];

#[tokio::test]
async fn every_type_arrives_as_it_is() {
    let table = fresh("types");
    run(&[
        format!(
            "CREATE TABLE {table} (a bool, b tinyint, c smallint unsigned, d mediumint, e int unsigned, f bigint, \
             g bigint unsigned, h float, i double, j decimal(12, 3), k decimal(65, 30), l varchar(20), m text, \
             n varchar(9) COLLATE utf8mb4_bin, o varbinary(9), p blob, q date, r time(6), s datetime(6), \
             t timestamp(6) NULL, u year, v bit(10), w enum('calm', 'torn'), x set('a', 'b'), y json, z char(3), aa uuid)"
        ),
        "SET time_zone = '+02:00'".to_owned(),
        format!(
            "INSERT INTO {table} VALUES (true, -128, 65535, -8388608, 4294967295, -9223372036854775808, \
             18446744073709551615, 1.5, 0.1, -123456789.125, 12345678901234567890123456789012345.123456789012345678901234567891, \
             'größe', 'm', 'n', x'00ff', x'ff', '1969-12-31', '23:59:59.999999', '2024-02-29 12:00:00.5', \
             '2024-02-29 12:00:00', 2024, b'1000000001', 'torn', 'a,b', '{{\"a\": 1}}', 'z', \
             'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')"
        ),
        format!("INSERT INTO {table} (a) VALUES (NULL)"),
    ])
    .await;
    let (batch, _) = read(&SqlRequest::new(url(), format!("SELECT * FROM {table}"))).await.unwrap();
    assert_eq!(types(&batch), TYPES);
    for (name, value) in VALUES {
        assert_eq!(shown(&batch, name, 0), value, "{name}");
    }
    for field in batch.schema().fields() {
        assert_eq!(batch.column_by_name(field.name()).unwrap().null_count(), 1, "{}", field.name());
    }
}

#[tokio::test]
async fn computed_numbers_can_be_computed_with() {
    let table = fresh("computed");
    run(&[
        format!("CREATE TABLE {table} (id int, d decimal(20, 2))"),
        format!("INSERT INTO {table} VALUES (1, 90071992547409.25), (2, 90071992547409.50)"),
    ])
    .await;
    let query =
        format!("SELECT sum(d) AS s, avg(id) AS a, 1 / 3 AS t, CAST(sum(d) AS CHAR) AS c, max(id) AS m FROM {table}");
    let (batch, _) = read(&SqlRequest::new(url(), query)).await.unwrap();
    assert_eq!(types(&batch), ["s Float64", "a Float64", "t Float64", "c Utf8", "m Int32"]);
    assert_eq!((shown(&batch, "a", 0), shown(&batch, "t", 0)), ("1.5".to_owned(), "0.3333".to_owned()));
    assert_eq!(shown(&batch, "c", 0), "180143985094818.75");
}

#[tokio::test]
async fn zero_dates_are_an_error_or_counted_never_silent() {
    let table = fresh("zeros");
    run(&[
        "SET sql_mode = ''".to_owned(),
        format!("CREATE TABLE {table} (id int, d date, t datetime, h time)"),
        format!(
            "INSERT INTO {table} VALUES (1, NULL, NULL, NULL), (2, '0000-00-00', '2024-00-15 00:00:00', '-01:00:00'), \
             (3, '2024-01-01', '2024-01-01 01:02:03', '300:00:00')"
        ),
    ])
    .await;
    let mut request = SqlRequest::new(url(), format!("SELECT * FROM {table} ORDER BY id"));
    let error = read(&request).await.unwrap_err();
    let ConnectorError::Misfit { misfit, .. } = &error else { panic!("{error}") };
    assert_eq!((misfit.row, misfit.column.as_str(), misfit.value.as_str()), (2, "d", "0000-00-00"));
    request.misfits = MisfitPolicy::Collect { limit: 10 };
    let (batch, misfits) = read(&request).await.unwrap();
    let found: Vec<_> = misfits.iter().map(|misfit| (misfit.row, misfit.column.as_str())).collect();
    assert_eq!(found, [(2, "d"), (2, "t"), (2, "h"), (3, "h")]);
    assert_eq!(column(&batch, "t"), ["", "", "2024-01-01T01:02:03"]);
}

#[tokio::test]
async fn queries_that_write_or_are_several_are_refused() {
    let table = fresh("kept");
    run(&[format!("CREATE TABLE {table} (a int)"), format!("INSERT INTO {table} VALUES (1)")]).await;
    for query in [
        format!("DELETE FROM {table} RETURNING a"),
        format!("INSERT INTO {table} VALUES (2) RETURNING a"),
        format!("DROP TABLE {table}"),
        format!("SELECT 1 AS a; DELETE FROM {table}"),
        format!("SELECT 1 AS a; /*! DELETE FROM {table} */"),
        format!("SELECT * FROM {table}) AS x; DELETE FROM {table}; SELECT * FROM (SELECT 1"),
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
async fn partitions_have_every_row_once() {
    let table = fresh("parts");
    run(&[
        format!("CREATE TABLE {table} (`odd ``name` int, big bigint unsigned, day date, at timestamp(6) NULL, price decimal(9, 2), f float)"),
        format!(
            "INSERT INTO {table} SELECT seq, seq + 18446744073709550000, date '2024-01-01' + interval seq day, \
             timestamp '2024-01-01 00:00:00' + interval seq hour, seq / 7, seq / 10 FROM seq_1_to_997"
        ),
        format!("INSERT INTO {table} VALUES (NULL, NULL, NULL, NULL, NULL, NULL)"),
    ])
    .await;
    for name in ["odd `name", "big", "day", "at", "price", "f"] {
        let mut request = SqlRequest::new(url(), format!("SELECT * FROM {table} # all"));
        let count = NonZeroUsize::new(7).unwrap();
        request.partition = Some(Partition { column: name.to_owned(), count, lower: None, upper: None });
        let opened = open(&request).await.unwrap();
        assert_eq!(opened.partitions.len(), 7, "{name}");
        let streams = opened.partitions.into_iter().map(|partition| partition.open().try_collect::<Vec<_>>());
        let parts = futures::future::try_join_all(streams).await.unwrap();
        let sizes: Vec<usize> =
            parts.iter().map(|part| part.iter().map(|batch| batch.records.num_rows()).sum()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 998, "{name}: {sizes:?}");
        assert!(sizes.iter().all(|size| (100..200).contains(size)), "{name}: {sizes:?}");
    }
}

#[tokio::test]
async fn incremental_reads_take_each_row_once() {
    let table = fresh("news");
    run(&[
        format!(
            "CREATE TABLE {table} (id int, at timestamp(6) NULL, f float, t varchar(9), d decimal(65, 0), b bit(9))"
        ),
        // More digits before the point than a decimal of 30 digits after it can have.
        format!(
            "INSERT INTO {table} VALUES (1, '2024-01-01 10:00:00', 0.1, 'a', {0}1, b'1'), \
             (2, '2024-01-01 10:00:00.000001', 0.2, 'b', {0}2, b'10'), (3, NULL, NULL, NULL, NULL, NULL)",
            "9".repeat(50)
        ),
    ])
    .await;
    for name in ["at", "f", "t", "d"] {
        let mut request = SqlRequest::new(url(), format!("SELECT * FROM {table}"));
        request.cursor = Some(Cursor { column: name.to_owned(), after: None });
        let first = open(&request).await.unwrap();
        let after = first.cursor.clone();
        assert_eq!(column(&rows(first).await.unwrap().0, "id"), ["1", "2"], "{name}");
        request.cursor = Some(Cursor { column: name.to_owned(), after: after.clone() });
        let second = open(&request).await.unwrap();
        assert_eq!(second.cursor, after);
        assert_eq!(rows(second).await.unwrap().0.num_rows(), 0, "{name} after {after:?}");
    }
    let mut request = SqlRequest::new(url(), format!("SELECT * FROM {table}"));
    let after =
        |column: &str, after: Option<&str>| Some(Cursor { column: column.to_owned(), after: after.map(str::to_owned) });
    request.cursor = after("at", None);
    let told = open(&request).await.unwrap().cursor;
    assert_eq!(told.as_deref(), Some("2024-01-01 10:00:00.000001"), "MySQL would make a zone of `+00` null");
    request.cursor = after("at", Some("2024-01-01 10:00:00.000000+00"));
    assert_eq!(column(&read(&request).await.unwrap().0, "id"), ["2"], "as it was recorded before");
    request.cursor = after("b", None);
    assert!(matches!(open(&request).await, Err(ConnectorError::Column { .. })), "bits have no order");
}

#[tokio::test]
async fn a_connection_that_fails_hides_the_password() {
    let wrong = url().replace("ropewalk-test", "wrong-secret");
    let error = open(&SqlRequest::new(wrong, "SELECT 1 AS a")).await.unwrap_err();
    assert!(matches!(error, ConnectorError::Connect { .. }));
    assert!(!error.to_string().contains("wrong-secret"), "{error}");
}
