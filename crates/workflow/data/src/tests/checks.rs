use std::collections::BTreeMap;

use arrow::array::{RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use ropewalk_types::{DatasetName, Diagnose as _, Timestamp};
use serde::Deserialize;

use super::fixture::{Project, texts};
use crate::{Check, CheckOutcome, CheckReport, CheckSettings, CheckSubject, DataError, Severity, check, check_tables};

#[derive(Deserialize)]
struct File {
    checks: Vec<Check>,
}

fn checks(toml: &str) -> Result<Vec<Check>, toml::de::Error> {
    Ok(toml::from_str::<File>(toml)?.checks)
}

/// 2013-01-02 00:00 UTC.
const NOW: Timestamp = Timestamp(1_357_084_800_000);

const FLIGHTS: &str = "id,carrier,delay,row,at\n1,AA,10,a,2013-01-01T10:00:00\n2,UA,,b,2013-01-01T11:00:00\n\
                       2,ZZ,5000,,2013-01-01T12:00:00\n3,,-3,b2,2013-01-01T13:00:00\n2,AA,-500,b3,2013-01-01T14:00:00\n";

async fn made(toml: &str) -> Result<CheckReport, DataError> {
    let project = Project::new().await;
    let name = DatasetName::new("flights").unwrap();
    let checks = checks(toml).unwrap();
    let mut others = BTreeMap::new();
    for table in check_tables(&name, &checks)? {
        assert_eq!(table, "air-lines@v1".split_at(if table.contains('@') { 12 } else { 9 }).0);
        others.insert(table, project.csv("code,Name\nAA,American\nUA,United\n").await);
    }
    let subject = CheckSubject { name, tree: project.csv(FLIGHTS).await, others };
    let mut settings = CheckSettings::new(project.scratch());
    settings.sample_rows = 2;
    check(&checks, &subject, NOW, &project.store, &settings).await
}

fn sample(outcome: &CheckOutcome) -> Vec<String> {
    outcome.sample.as_ref().map(|batch| texts(std::slice::from_ref(batch))).unwrap_or_default()
}

#[tokio::test]
async fn broken_checks_list_the_offending_rows() {
    let report = made(
        r#"
        [[checks]]
        unique = "id"
        [[checks]]
        not_null = ["carrier", "row"]
        [[checks]]
        name = "plausible"
        between = { column = "delay", min = -120.5, max = 2000 }
        severity = "warning"
        [[checks]]
        in = { column = "carrier", values = ["AA", "UA"] }
        [[checks]]
        matches = { column = "row", pattern = "^[a-z]$" }
        [[checks]]
        foreign_key = { column = "carrier", dataset = "air-lines", references = "code" }
        [[checks]]
        sql = "SELECT f.id, f.delay FROM flights f JOIN air-lines@v1 a ON a.code = f.carrier WHERE f.delay < 0"
        "#,
    )
    .await
    .unwrap();
    let found: Vec<_> = report.outcomes.iter().map(|one| (one.check.as_str(), one.passed, one.offending)).collect();
    assert_eq!(
        found,
        [
            ("unique(id)", false, 3),
            ("not_null(carrier, row)", false, 2),
            ("plausible", false, 2),
            ("in(carrier)", false, 1),
            ("matches(row, ^[a-z]$)", false, 2),
            ("foreign_key(carrier in air-lines)", false, 1),
            ("sql(SELECT f.id, f.delay FROM flights f JOIN)", false, 1),
        ]
    );
    assert_eq!(sample(&report.outcomes[0]), ["2|2|UA||b|2013-01-01T11:00:00", "3|2|ZZ|5000||2013-01-01T12:00:00"]);
    assert_eq!(report.outcomes[0].sample.as_ref().unwrap().schema().field(0).name(), "row_");
    assert_eq!(sample(&report.outcomes[1]), ["3|2|ZZ|5000||2013-01-01T12:00:00", "4|3||-3|b2|2013-01-01T13:00:00"]);
    assert_eq!(sample(&report.outcomes[2]).len(), 2);
    assert!(sample(&report.outcomes[3])[0].starts_with("3|2|ZZ"));
    assert!(sample(&report.outcomes[4])[0].starts_with("4|3|"));
    assert!(sample(&report.outcomes[5])[0].starts_with("3|2|ZZ"));
    assert_eq!(sample(&report.outcomes[6]), ["2|-500"]);
    assert!(!report.passed());
    assert_eq!(report.broken(Severity::Warning).map(|one| one.check.as_str()).collect::<Vec<_>>(), ["plausible"]);
}

#[tokio::test]
async fn checks_that_hold() {
    let report = made(
        r#"
        checks = [
            { unique = ["id", "row"] },
            { not_null = "id" },
            { between = { column = "at", min = "2013-01-01", max = "2013-01-01T14:00:00" } },
            { between = { column = "id", min = 0.5 } },
            { in = { column = "id", values = [1, 2, 3] } },
            { row_count = { min = 5, max = 5 } },
            { freshness = { column = "at", within_hours = 10 } },
            { freshness = { column = "at", within_hours = 9.5 }, severity = "warning" },
            { row_count = { min = 6 }, severity = "warning" },
            { row_count = { max = 4 }, severity = "warning" },
            { foreign_key = { columns = ["id", "row"], dataset = "flights" } },
            { sql = "SELECT * FROM flights WHERE id > 3" },
        ]
        "#,
    )
    .await
    .unwrap();
    let broken: Vec<_> = report.broken(Severity::Warning).map(|one| one.message.as_str()).collect();
    assert_eq!(
        broken,
        [
            "the newest `at` is 10.0 hours old, 9.5 are accepted",
            "the table has 5 rows, at least 6 are wanted",
            "the table has 5 rows, at most 4 are wanted"
        ]
    );
    assert!(report.passed(), "{report:?}");
    assert_eq!(report.stands_until(), Some(Timestamp(NOW.0 - 1_800_000)), "the newest time and 9.5 hours");
    assert_eq!(report.outcomes.len(), 12);
    assert!(report.outcomes.iter().all(|one| one.sample.is_none()));
}

#[tokio::test]
async fn texts_are_checked_in_every_layout() {
    let project = Project::new().await;
    let text =
        |values: [&str; 2], data_type: &DataType| cast(&StringArray::from_iter_values(values), data_type).unwrap();
    let dictionary = |key: DataType, value: DataType| DataType::Dictionary(Box::new(key), Box::new(value));
    let layouts = [
        dictionary(DataType::Int8, DataType::LargeUtf8),
        dictionary(DataType::Int32, DataType::Utf8),
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Utf8,
    ];
    let other = project.csv("code\na\n").await;
    for layout in layouts {
        let columns = [("c", text(["a", "b"], &layout)), ("at", text(["a", "a"], &layout))];
        let tree = project.table(&[RecordBatch::try_from_iter(columns).unwrap()]).await;
        let checks = checks(
            r#"
            checks = [
                { in = { column = "c", values = ["a", "b"] } },
                { matches = { column = "c", pattern = "^[ab]$" } },
                { between = { column = "c", min = "a", max = "b" } },
                { not_null = "c" },
                { unique = "c" },
                { foreign_key = { column = "at", dataset = "letters", references = "code" } },
                { sql = "SELECT * FROM t WHERE c NOT IN ('a', 'b') OR c LIKE 'x%'" },
                { in = { column = "c", values = ["a"] } },
                { matches = { column = "c", pattern = "a" } },
                { between = { column = "c", max = "a" } },
                { unique = "at" },
                { foreign_key = { column = "c", dataset = "letters", references = "code" } },
                { sql = "SELECT c FROM t WHERE c = 'b'" },
            ]
            "#,
        );
        let name = DatasetName::new("t").unwrap();
        let subject = CheckSubject { name, tree, others: BTreeMap::from([("letters".to_owned(), other)]) };
        let settings = CheckSettings::new(project.scratch());
        let report = check(&checks.unwrap(), &subject, NOW, &project.store, &settings).await.unwrap();
        let offending: Vec<_> = report.outcomes.iter().map(|one| one.offending).collect();
        assert_eq!(offending, [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 1, 1], "{layout}: {report:?}");
        assert_eq!(sample(&report.outcomes[7]), ["2|b|a"], "{layout}");
        assert_eq!(sample(&report.outcomes[10]), ["1|a|a", "2|b|a"], "{layout}");
    }
}

#[tokio::test]
async fn checks_that_make_no_sense_name_themselves() {
    for (toml, says) in [
        ("not_null = 'carier'", "did you mean `carrier`?"),
        ("between = { column = 'delay', max = 'x' }", "the value is the text \"x\""),
        ("between = { column = 'at', max = 'soon' }", "`soon` is not a"),
        ("matches = { column = 'id', pattern = 'x' }", "not a text"),
        ("matches = { column = 'row', pattern = '(' }", "unclosed group"),
        ("freshness = { column = 'id', within_hours = 1 }", "not a time"),
        ("foreign_key = { column = 'id', dataset = 'air-lines', references = 'code' }", "is of type"),
        ("foreign_key = { column = 'id', dataset = 'air-lines' }", "has no column `id`"),
        ("sql = 'SELECT nothing FROM flights'", "no column `nothing`"),
        ("sql = 'SELECT id FROM flights WHERE at < now()'", "now()"),
        ("sql = 'DROP TABLE flights'", "not a SELECT"),
        ("sql = \"SELECT * FROM '/etc/passwd'\"", "may not read the file"),
    ] {
        let error = made(&format!("[[checks]]\n{toml}")).await.unwrap_err();
        assert_eq!(error.code(), "data.check", "{toml}: {error}");
        assert!(error.to_string().contains(says), "{toml}: {error}");
    }
}

#[test]
fn settings_are_strict_and_round_trip() {
    for (toml, says) in [
        ("", "a check needs one of"),
        ("unique = 'a'\nnot_null = 'a'", "a check has one rule"),
        ("uniqe = 'a'", "unknown field `uniqe`"),
        ("unique = []", "names no column"),
        ("between = { column = 'a' }", "needs `min` or `max`"),
        ("between = { column = 'a', min = 1, most = 2 }", "unknown field `most`"),
        ("row_count = { min = 5, max = 4 }", "greater"),
        ("in = { column = 'a', values = [] }", "names no value"),
        ("foreign_key = { columns = ['a', 'b'], dataset = 'c', references = 'd' }", "as many"),
        ("freshness = { column = 'a', within_hours = -1 }", "hours"),
        ("unique = 'a'\nseverity = 'fatal'", "unknown variant"),
    ] {
        let error = checks(&format!("[[checks]]\n{toml}")).unwrap_err().to_string();
        assert!(error.contains(says), "{toml}: {error}");
    }
    let all = checks(
        "checks = [{ unique = 'a' }, { in = { column = 'a', values = [1, 2.5, 'x', true] }, severity = 'warning' }]",
    )
    .unwrap();
    let json = serde_json::to_value(&all).unwrap();
    assert_eq!(json[0], serde_json::json!({"severity": "error", "unique": "a"}));
    assert_eq!(serde_json::from_value::<Vec<Check>>(json).unwrap(), all);
}
