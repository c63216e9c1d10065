use ropewalk_types::Diagnose as _;

use super::{TableMention, parse, referenced_tables};
use crate::sql::Translation;

fn names(sql: &str) -> Vec<String> {
    let found = referenced_tables(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    found.iter().map(TableMention::identifier).collect()
}

#[test]
fn tables_are_found_wherever_they_stand() {
    let sql = "WITH late AS (SELECT * FROM flights) SELECT (SELECT max(t) FROM \"Weather\") FROM late \
               JOIN planes USING (tailnum)";
    assert_eq!(names(sql), ["Weather", "flights", "planes"]);
    assert_eq!(names("SELECT 1 AS a"), Vec::<String>::new());
    assert_eq!(names("SELECT * FROM Flights"), ["flights"]);
}

#[test]
fn versions_are_read_as_people_write_them() {
    let digest = "7f3a00112233445566778899aabbccddeeff00112233445566778899aabbccdd";
    for version in ["v1", "latest", "7f3a", digest, "before-2013", "release.1.2", "2024-01-01", "Good_1"] {
        for name in ["flights", "air-lines", "a.b-c", "2013-flights"] {
            let table = format!("{name}@{version}");
            assert_eq!(names(&format!("SELECT * FROM {table}")), [table.as_str()]);
            assert_eq!(names(&format!("SELECT * FROM data:{table} t WHERE t.a > 1")), [table.as_str()]);
            assert_eq!(names(&format!("SELECT * FROM \"{table}\"")), [table.as_str()]);
            assert_eq!(names(&format!("SELECT count(*) FROM (SELECT 1 FROM\n{table}) AS x, y")), [table.as_str(), "y"]);
            assert_eq!(names(&format!("SELECT {table}.x FROM {table} WHERE {table}.y=1")), [table.as_str()]);
        }
    }
    assert_eq!(names("SELECT * FROM \"air-lines\"@v2"), ["air-lines@v2"]);
}

#[test]
fn joins_lists_and_parentheses() {
    let sql = "SELECT a.x FROM flights@v1 a JOIN flights@v2 b ON a.id = b.id, (weather@v3 w CROSS JOIN air-lines) \
               WHERE a.id IN (SELECT id FROM late@v1) UNION ALL SELECT 1 FROM more@v1 ORDER BY x";
    assert_eq!(names(sql), ["air-lines", "flights@v1", "flights@v2", "late@v1", "more@v1", "weather@v3"]);
}

#[test]
fn what_looks_like_a_table_elsewhere_is_left_alone() {
    let sql = "SELECT extract(year FROM f.at), trim(BOTH 'x' FROM f.name), f.a IS DISTINCT FROM f.b, 'FROM x@y', \
               substring(f.name FROM 2), f.a-f.b FROM flights@v1 AS f /* FROM z@1 */ -- FROM q@1\n\
               JOIN range(0, 3) r ON r.value = f.a - f.b";
    assert_eq!(names(sql), ["flights@v1"]);
    let statement = parse(sql, Translation::UNLIMITED).unwrap().to_string();
    assert!(statement.contains("EXTRACT(YEAR FROM f.at)") && statement.contains("f.a - f.b"), "{statement}");
}

#[test]
fn files_are_tables() {
    let file = |path: &str| TableMention::File { path: path.to_owned() };
    let found = referenced_tables("SELECT * FROM 'data/a b.csv' AS x JOIN '*.parquet' y USING (id)").unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [file("*.parquet"), file("data/a b.csv")]);
}

#[test]
fn errors_keep_their_place() {
    let error = referenced_tables("SELECT *\nFROM flights@v1 WHERE )").unwrap_err();
    assert!(error.to_string().contains("line 2, column 23"), "{error}");
    let error = referenced_tables("SELECT 'x").unwrap_err();
    assert_eq!(error.code(), "data.sql", "{error}");
    for sql in ["", " -- nothing", "SELEC 1", "SELECT 1; SELECT 2", "DROP TABLE x", "EXPLAIN SELECT 1"] {
        assert_eq!(referenced_tables(sql).unwrap_err().code(), "data.refused", "{sql}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(SELECT|FROM|JOIN|,|\\(|\\)| |a|@|-|\\.|1|'|\"|:|WHERE|x){0,30}") {
        let _ = referenced_tables(&text);
        let _ = referenced_tables(&format!("SELECT * FROM {text}"));
    }
}
