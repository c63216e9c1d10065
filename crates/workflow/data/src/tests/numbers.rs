//! Numbers in questions: exact, or an error.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, UInt64Array};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use ropewalk_types::Diagnose as _;

use super::fixture::Project;
use crate::{DataError, QueryLimits, query};

/// The first row of the answer over a table `t`.
async fn ask(sql: &str) -> Result<Vec<String>, DataError> {
    let decimals = Decimal128Array::from(vec![10_i128.pow(38) - 1, 10_i128.pow(38) - 1, 5]);
    let decimals = decimals.with_precision_and_scale(38, 2).unwrap();
    let columns: [(&str, ArrayRef); 6] = [
        ("n", Arc::new(Int64Array::from(vec![i64::MAX, 1, -5]))),
        ("u", Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(1), None]))),
        ("i", Arc::new(Int32Array::from(vec![i32::MAX, 1, 2]))),
        ("d", Arc::new(decimals)),
        ("x", Arc::new(Float64Array::from(vec![0.0, -0.0, 1.5]))),
        ("k", Arc::new(Int64Array::from(vec![1, 1, 2]))),
    ];
    let table = RecordBatch::try_from_iter(columns).unwrap();
    let project = Project::new().await;
    let tables = [("t".to_owned(), vec![table])];
    let answer = query(sql, &[], &tables, &project.store, &QueryLimits::new(project.scratch())).await?;
    let batch = answer.batches.iter().find(|batch| batch.num_rows() > 0).expect("a row");
    let options = FormatOptions::default();
    let cell = |column: &ArrayRef| ArrayFormatter::try_new(column, &options).unwrap().value(0).to_string();
    Ok(batch.columns().iter().map(cell).collect())
}

#[tokio::test]
async fn what_does_not_fit_is_an_error() {
    for (sql, says) in [
        ("SELECT sum(n) FROM t WHERE n > 0", "sum() gives 9223372036854775808, which is out of the range of Int64"),
        ("SELECT k, sum(n) AS s FROM t GROUP BY k ORDER BY k", "sum() gives 9223372036854775808"),
        ("SELECT sum(DISTINCT n) FROM t WHERE n > 0", "sum() gives 9223372036854775808"),
        ("SELECT sum(u) FROM t", "sum() gives 18446744073709551616, which is out of the range of UInt64"),
        ("SELECT sum(d) FROM t", "more than 38 digits, which is out of the range of Decimal128(38, 2)"),
        ("SELECT sum(n) OVER (ORDER BY n DESC ROWS 1 PRECEDING) AS s FROM t ORDER BY s", "sum() gives"),
        (
            "SELECT sum(DISTINCT n) OVER (ORDER BY n DESC ROWS 1 PRECEDING) AS s FROM t ORDER BY s",
            "sum() gives 9223372036854775808",
        ),
        ("SELECT sum(arrow_cast(n, 'Duration(Microsecond)')) FROM t WHERE n > 0", "sum() gives 9223372036854775808"),
        ("SELECT sum(arrow_cast(999999999, 'Decimal32(9, 0)')) FROM t", "more than 9 digits"),
        ("SELECT sum(INTERVAL '2000000000 days') FROM t", "sum() is out of the range of Interval(MonthDayNano)"),
        ("SELECT max(n) + 1 FROM t", "9223372036854775807 + 1 is out of the range of Int64"),
        ("SELECT min(n) - max(n) - 5 FROM t", "out of the range of Int64"),
        ("SELECT -(min(n) - 9223372036854775803) FROM t", "0 - -9223372036854775808 is out of the range of Int64"),
        ("SELECT count(*) FROM t WHERE n * 2 > 5", "9223372036854775807 * 2"),
        ("SELECT sum(n * 2) FROM t", "9223372036854775807 * 2"),
        ("SELECT i * i FROM t", "2147483647 * 2147483647 is out of the range of Int32"),
        ("SELECT 9223372036854775807 + 1", "9223372036854775807 + 1"),
    ] {
        let error = ask(sql).await.unwrap_err();
        assert_eq!(error.code(), "data.overflow", "{sql}: {error}");
        assert!(error.to_string().contains(says), "{sql}: {error}");
        assert!(error.hint().unwrap().contains("CAST"), "{sql}");
    }
}

#[tokio::test]
async fn what_fits_has_the_type_and_the_name_that_it_had() {
    for (sql, expected) in [
        ("SELECT sum(n) FROM t WHERE n <> 1", "9223372036854775802"),
        ("SELECT sum(n) FROM t WHERE k = 1 AND n < 5", "1"),
        ("SELECT sum(n) FROM t WHERE k > 5", ""),
        ("SELECT arrow_typeof(sum(n)) FROM t WHERE n < 5", "Int64"),
        ("SELECT arrow_typeof(sum(i)) FROM t", "Int64"),
        ("SELECT sum(i) FROM t", "2147483650"),
        ("SELECT sum(CAST(n AS DECIMAL(38, 0))) FROM t", "9223372036854775803"),
        ("SELECT sum(d) FROM t WHERE k = 2", "0.05"),
        ("SELECT arrow_typeof(n + 1) FROM t WHERE n = 1", "Int64"),
        ("SELECT sum(k * 2 + 1) FROM t", "11"),
        ("SELECT -k FROM t WHERE k = 2", "-2"),
        ("SELECT max(s) FROM (SELECT sum(DISTINCT k) OVER (ORDER BY n ROWS 1 PRECEDING) AS s FROM t)", "3"),
        ("SELECT sum(arrow_cast(k, 'Decimal64(10, 2)')) FROM t", "4.00"),
        ("SELECT sum(DISTINCT arrow_cast(k, 'Decimal32(5, 1)')) FROM t", "3.0"),
        ("SELECT sum(arrow_cast(k, 'Decimal256(76, 2)')) FROM t GROUP BY k ORDER BY k DESC", "2.00"),
        ("SELECT sum(arrow_cast(k, 'Duration(Second)')) = arrow_cast(4, 'Duration(Second)') FROM t", "true"),
        ("SELECT sum(INTERVAL '1 day') = INTERVAL '3 days' FROM t", "true"),
        ("SELECT avg(d) FROM t WHERE k = 2", "0.050000"),
        ("SELECT k + 1 AS m FROM t GROUP BY k + 1 ORDER BY k + 1", "2"),
        ("SELECT \"sum(t.k * Int64(2))\" FROM (SELECT sum(k * 2) FROM t)", "8"),
        ("SELECT max(s) FROM (SELECT sum(k) OVER (ORDER BY n ROWS 1 PRECEDING) AS s FROM t)", "3"),
        ("SELECT a.k FROM t a JOIN t b ON a.k + 1 = b.k LIMIT 1 + 0", "1"),
        ("SELECT (SELECT sum(b.k + 0) FROM t b WHERE b.k = a.k) AS s FROM t a ORDER BY s", "2"),
        ("SELECT sum(k + 1) FROM t GROUP BY ROLLUP (k + 1) ORDER BY sum(k + 1) DESC", "7"),
    ] {
        assert_eq!(ask(sql).await.unwrap(), [expected], "{sql}");
    }
}

#[tokio::test]
async fn zero_is_one_value_whatever_its_sign() {
    for (sql, expected) in [
        ("SELECT count(DISTINCT x) FROM t", "2"),
        ("SELECT count(DISTINCT x), count(DISTINCT k) FROM t", "2|2"),
        ("SELECT count(DISTINCT x), count(*) FROM t", "2|3"),
        ("SELECT k, count(DISTINCT x), count(DISTINCT n) FROM t GROUP BY k ORDER BY k", "1|1|2"),
        ("SELECT count(DISTINCT CAST(x AS REAL)), count(DISTINCT k) FROM t", "2|2"),
    ] {
        assert_eq!(ask(sql).await.unwrap().join("|"), expected, "{sql}");
    }
}

#[tokio::test]
async fn a_condition_keeps_rows_from_arithmetic() {
    for (sql, expected) in [
        ("SELECT count(*) FROM t WHERE n <> 9223372036854775807 AND n * 2 > 0", "1"),
        ("SELECT count(*) FROM t WHERE n * 2 > 0 AND n < 5 AND k = 1", "1"),
        ("SELECT count(*) FROM t WHERE n < 5 AND NOT (k = 7 OR n * 2 > 0)", "1"),
        ("SELECT k FROM t GROUP BY k HAVING max(n) < 5 AND max(n) * 2 < 0", "2"),
        // What joins two tables is no condition to be put off, and a subquery is none that could be.
        ("SELECT count(*) FROM t a, t b WHERE a.k + 1 = b.k AND a.n < 5", "1"),
        ("SELECT count(*) FROM t a, t b WHERE a.k = b.k AND a.n < 5 AND a.n * 2 < b.k AND a.n + 1 < 0", "1"),
        ("SELECT count(*) FROM t WHERE k IN (SELECT k + 1 FROM t WHERE k < 2) AND i * 2 > 1", "1"),
        ("SELECT count(*) FROM t a WHERE EXISTS (SELECT 1 FROM t b WHERE b.k + 1 = a.k AND b.n < 5)", "1"),
        ("SELECT sum(CASE WHEN n < 5 THEN n * 2 ELSE 0 END) FROM t", "-8"),
        ("SELECT count(*) FROM t WHERE CASE WHEN n < 5 THEN n * 2 > 0 ELSE false END", "1"),
        ("SELECT count(*) FROM t WHERE CASE WHEN n > 5 THEN true WHEN n * 2 > 0 THEN true END", "2"),
        ("SELECT CASE WHEN n < 5 THEN n * 2 > 0 END AS c FROM t ORDER BY n DESC LIMIT 1", ""),
        // Where the planner knows that there is no null.
        (
            "SELECT count(*) FROM (SELECT CASE WHEN k IS NOT NULL THEN k WHEN k * 2 > 10 THEN 1 ELSE 0 END AS v FROM t \
             UNION SELECT 0)",
            "3",
        ),
        (
            "SELECT sum(v) FROM (SELECT CASE WHEN k > 0 THEN k WHEN k + 1 > 3 THEN 1 ELSE 0 END AS v FROM t \
             UNION ALL SELECT 0)",
            "4",
        ),
        ("SELECT sum(v) FROM (SELECT CASE WHEN k IS NOT NULL THEN -k ELSE 0 END AS v FROM t UNION ALL SELECT 0)", "-4"),
    ] {
        assert_eq!(ask(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")), [expected], "{sql}");
    }
    for sql in [
        "SELECT count(*) FROM t WHERE n > 5 AND n * 2 > 0",
        "SELECT count(*) FROM t WHERE CASE WHEN n > 5 THEN n * 2 > 0 ELSE false END",
    ] {
        assert_eq!(ask(sql).await.unwrap_err().code(), "data.overflow", "{sql}");
    }
}

#[tokio::test]
async fn sums_of_the_widest_decimals_are_checked() {
    let largest = format!("arrow_cast('{}', 'Decimal256(76, 0)')", "9".repeat(76));
    for rows in ["t", "t a, t b", "t GROUP BY k ORDER BY k"] {
        let error = ask(&format!("SELECT sum({largest}) FROM {rows}")).await.unwrap_err();
        assert_eq!(error.code(), "data.overflow", "{error}");
        assert!(error.to_string().contains("out of the range of Decimal256(76, 0)"), "{error}");
    }
    for (sql, says) in [
        (format!("SELECT avg({largest}) FROM t"), "CAST(x AS DECIMAL(63, 0))"),
        (
            format!("SELECT sum(DISTINCT {largest}), count(DISTINCT k) FROM t"),
            "sum(DISTINCT …) of Decimal256(76, 0) is not supported",
        ),
    ] {
        let error = ask(&sql).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}
