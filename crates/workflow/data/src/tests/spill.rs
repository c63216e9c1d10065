//! Questions over data several times larger than their memory.

use std::num::NonZeroUsize;

use super::fixture::{Project, texts};
use crate::{QueryLimits, QueryTables, Spilled, TableSource, TransformSettings, query_stream, transform};

/// Rows of about 90 bytes: 90 MB in memory.
const ROWS: u64 = 1_000_000;
const MEMORY: usize = 32 << 20;

async fn large(project: &Project, factor: u64) -> ropewalk_types::Digest {
    let sql = format!(
        "SELECT (value * {factor}) % {ROWS} AS id, value % 1000 AS little, \
         concat('a text that takes its place in the memory, number ', CAST(value AS VARCHAR)) AS words \
         FROM range(0, {ROWS})"
    );
    let inputs = std::collections::BTreeMap::new();
    transform(&sql, &inputs, &project.store, &TransformSettings::new(project.scratch())).await.unwrap().tree
}

fn limits(project: &Project) -> QueryLimits {
    let mut limits = QueryLimits::new(project.scratch());
    limits.memory_limit = MEMORY;
    limits.parallelism = NonZeroUsize::new(2).unwrap();
    limits
}

async fn asked(project: &Project, tables: &QueryTables, sql: &str) -> (Vec<String>, Spilled) {
    let mut stream = query_stream(sql, tables, &project.store, &limits(project)).await.unwrap();
    let mut rows = Vec::new();
    while let Some(batch) = stream.next_batch().await.unwrap() {
        rows.extend(texts(&[batch]));
    }
    (rows, stream.spilled())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sorts_groups_and_joins_go_on_on_disk() {
    let project = Project::new().await;
    let mut tables = QueryTables::default();
    tables.insert("a", TableSource::Version(large(&project, 7_919).await));
    tables.insert("b", TableSource::Version(large(&project, 104_729).await));
    let few = "SELECT id, words FROM (SELECT id, words, row_number() OVER (ORDER BY words DESC) AS n FROM a) \
               WHERE n IN (1, 500000, 1000000) ORDER BY n";
    let (sorted, spilled) = asked(&project, &tables, few).await;
    let text = |number: &str| format!("a text that takes its place in the memory, number {number}");
    assert_eq!(sorted.len(), 3);
    assert_eq!(sorted[0], format!("{}|{}", 999_999_u64 * 7_919 % ROWS, text("999999")));
    assert_eq!(sorted[2], format!("0|{}", text("0")));
    assert!(spilled.files > 0 && spilled.bytes > MEMORY as u64, "{spilled:?}");

    let groups = "SELECT count(*) AS groups, sum(n) AS n FROM (SELECT words, count(*) AS n FROM \
                  (SELECT words FROM a UNION ALL SELECT words FROM b) GROUP BY words)";
    let (grouped, spilled) = asked(&project, &tables, groups).await;
    assert_eq!(grouped, [format!("{ROWS}|{}", 2 * ROWS)]);
    assert!(spilled.files > 0, "{spilled:?}");

    let join = "SELECT count(*) AS n, sum(a.little - b.little) AS s, max(concat(a.words, b.words)) IS NOT NULL AS m \
                FROM a JOIN b ON a.id = b.id";
    let (joined, spilled) = asked(&project, &tables, join).await;
    assert_eq!(joined, [format!("{ROWS}|0|true")]);
    assert!(spilled.files > 0 && spilled.bytes > MEMORY as u64, "{spilled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_many_rows_of_a_sort_go_on_on_disk() {
    let project = Project::new().await;
    let mut tables = QueryTables::default();
    tables.insert("a", TableSource::Version(large(&project, 7_919).await));
    let text = |number: u64| format!("a text that takes its place in the memory, number {number:06}");
    let many = |rows: u64| {
        format!(
            "SELECT count(*) AS n, min(padded) AS least, max(padded) AS most FROM (SELECT concat(left(words, 50), \
             lpad(substr(words, 51), 6, '0')) AS padded FROM a ORDER BY padded DESC LIMIT {rows} OFFSET 5)"
        )
    };
    let (found, spilled) = asked(&project, &tables, &many(900_000)).await;
    assert_eq!(found, [format!("900000|{}|{}", text(ROWS - 900_005), text(ROWS - 6))]);
    assert!(spilled.files > 0 && spilled.bytes > MEMORY as u64, "{spilled:?}");
    let (found, spilled) = asked(&project, &tables, &many(10)).await;
    assert_eq!(found, [format!("10|{}|{}", text(ROWS - 15), text(ROWS - 6))]);
    assert_eq!(spilled.files, 0, "few rows are held in memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_with_a_large_join_gives_the_same_bytes_every_time() {
    let project = Project::new().await;
    let inputs = [("a", 7_919), ("b", 104_729)];
    let mut trees = std::collections::BTreeMap::new();
    for (name, factor) in inputs {
        trees.insert(name.to_owned(), large(&project, factor).await);
    }
    let sql = "SELECT a.id, a.words, b.words AS other FROM a JOIN b ON a.id = b.id WHERE a.little < 400";
    let mut made = Vec::new();
    for _ in 0..2 {
        let mut settings = TransformSettings::new(project.scratch());
        settings.memory_limit = MEMORY;
        made.push(transform(sql, &trees, &project.store, &settings).await.unwrap());
    }
    assert_eq!(made[0], made[1]);
    assert_eq!(made[0].rows, 400_000);
}
