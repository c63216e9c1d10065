use std::time::Duration;

use ropewalk_types::Diagnose;

use super::*;
use crate::{Migration, execute_script, query, rows_insert};

const HEMP: MigrationSet = MigrationSet {
    owner: "hemp",
    steps: &[
        Migration {
            number: 1,
            name: "hemp",
            sql: "CREATE TABLE hemp (id BIGINT NOT NULL PRIMARY KEY, name TEXT, weight DOUBLE PRECISION);
                  CREATE UNIQUE INDEX hemp_name ON hemp (name)",
        },
        Migration {
            number: 2,
            name: "bales",
            sql: "CREATE TABLE bale (id BIGINT NOT NULL PRIMARY KEY, hemp BIGINT NOT NULL REFERENCES hemp (id))",
        },
    ],
};

fn url(directory: &TempDir) -> String {
    format!("sqlite:{}", directory.path().join("catalog.db").display())
}

fn hemp_insert(connection: &mut Connection, id: i64) -> BoxFuture<'_, Result<i64, CatalogError>> {
    Box::pin(async move {
        let sql = "INSERT INTO hemp (id, name) VALUES ($1, $2) RETURNING id";
        let name = format!("hemp {id}");
        query(sql).bind(id).bind(name).fetch_one(connection).await
    })
}

async fn hemp_count(catalog: &Catalog) -> i64 {
    query("SELECT COUNT(*) FROM hemp").read_one(catalog).await.expect("count")
}

async fn pragma(catalog: &Catalog, name: &'static str) -> (i64, i64) {
    let sql = format!("PRAGMA {name}");
    let reader = query(sql.clone()).read_one(catalog).await.expect("reader");
    let writer = catalog.write(move |connection| Box::pin(async move { query(sql).fetch_one(connection).await }));
    (reader, writer.await.map_err(|error: CatalogError| error).expect("writer"))
}

#[tokio::test]
async fn settings_hold_on_every_connection() {
    let directory = tempfile::tempdir().expect("directory");
    let catalog = Catalog::open(&url(&directory), &[HEMP]).await.expect("open");
    assert_eq!(pragma(&catalog, "synchronous").await, (2, 2));
    assert_eq!(pragma(&catalog, "foreign_keys").await, (1, 1));
    assert_eq!(pragma(&catalog, "busy_timeout").await, (30_000, 30_000));
    assert_eq!(pragma(&catalog, "query_only").await, (1, 0));
    let mode: String = query("PRAGMA journal_mode").read_one(&catalog).await.expect("mode");
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn types_survive_the_round_trip() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let rows: Vec<(i64, Option<String>, Option<f64>)> = vec![
        (i64::MAX, Some("a \u{1f9f5} 'quoted' \n".to_owned()), Some(3.0)),
        (i64::MIN, None, Some(f64::INFINITY)),
        (0, Some(String::new()), None),
        (1, Some("1".to_owned()), Some(0.1 + 0.2)),
        (2, Some("nan".to_owned()), Some(f64::NAN)),
    ];
    let written = rows.clone();
    let result: Result<(), CatalogError> = catalog
        .write(move |connection| {
            Box::pin(async move {
                for (id, name, weight) in written {
                    let insert = query("INSERT INTO hemp (id, name, weight) VALUES ($1, $2, $3)");
                    insert.bind(id).bind(name).bind(weight).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await;
    result.expect("write");
    for (id, name, weight) in rows {
        let read: (i64, Option<String>, Option<f64>) =
            query("SELECT id, name, weight FROM hemp WHERE id = $1").bind(id).read_one(&catalog).await.expect("row");
        // SQLite has no NaN.
        let nan = catalog.dialect() == Dialect::Postgres;
        let bits = |weight: Option<f64>| weight.map(f64::to_bits);
        let kept = weight.filter(|weight| nan || !weight.is_nan());
        assert_eq!((read.0, read.1, bits(read.2)), (id, name, bits(kept)));
    }
    let sums: (i64, f64, Option<f64>, String, i64, i64) = query(
        "SELECT COUNT(*) AS rows, MAX(weight) AS heaviest, AVG(weight) AS average, MIN(name) AS name,
         CAST(SUM(id) AS BIGINT) AS total, COALESCE(MAX(id), 0) + 1 AS next FROM hemp WHERE id IN (0, 1)",
    )
    .read_one(&catalog)
    .await
    .expect("sums");
    assert_eq!((sums.0, sums.1.to_bits(), sums.2), (2, (0.1_f64 + 0.2).to_bits(), Some(0.1 + 0.2)));
    assert_eq!((sums.3.as_str(), sums.4, sums.5), ("", 1, 2));
}

#[tokio::test]
async fn placeholders_come_in_any_order_and_more_than_once() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let asked = query("SELECT $2 || $1 || $2, CAST($3 AS BIGINT) + 1").bind("a").bind("b").bind(41);
    let row: (String, i64) = asked.read_one(&catalog).await.expect("row");
    assert_eq!(row, ("bab".to_owned(), 42));
    let none: Result<i64, _> = query("SELECT id FROM hemp").read_one(&catalog).await;
    assert_eq!(none.expect_err("no row").code(), "catalog.row_absent");
    let wrong: Result<i64, _> = query("SELECT 'text'").read_one(&catalog).await;
    assert_eq!(wrong.expect_err("text").code(), "catalog.decode");
}

#[tokio::test]
async fn many_rows_are_inserted_at_once_and_known_ones_are_left() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let insert = |range: std::ops::Range<i64>| {
        let rows = range.map(|id| [id.into(), (id % 2 == 0).then(|| format!("hemp {id}")).into(), (id as f64).into()]);
        let rows: Vec<[crate::Value; 3]> = rows.collect();
        catalog.write(move |connection| {
            let head = "INSERT INTO hemp (id, name, weight)";
            Box::pin(rows_insert(connection, head, rows, "ON CONFLICT DO NOTHING"))
        })
    };
    assert_eq!(insert(0..20_000).await.expect("insert"), 20_000);
    assert_eq!(insert(19_990..20_010).await.expect("again"), 10);
    let counts = "SELECT COUNT(*), COUNT(name), CAST(SUM(weight) AS DOUBLE PRECISION) FROM hemp";
    let counts: (i64, i64, f64) = query(counts).read_one(&catalog).await.expect("counts");
    assert_eq!(counts, (20_010, 10_005, 20_009.0 * 10_005.0));
}

#[tokio::test]
async fn text_is_ordered_by_bytes_and_like_tells_capitals_apart() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let rows = ["b", "B", "a", "é", "_"].into_iter().zip(0_i64..).map(|(name, id)| [id.into(), name.into()]).collect();
    let write =
        catalog.write(move |connection| Box::pin(rows_insert(connection, "INSERT INTO hemp (id, name)", rows, "")));
    write.await.expect("insert");
    let names: Vec<String> = query("SELECT name FROM hemp ORDER BY name").read_all(&catalog).await.expect("names");
    assert_eq!(names, ["B", "_", "a", "b", "é"]);
    let like = query("SELECT name FROM hemp WHERE name LIKE $1").bind("b%");
    assert_eq!(like.read_all::<String>(&catalog).await.expect("like"), ["b"]);
}

#[tokio::test]
async fn regular_expressions_are_found_anywhere() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let operator = if catalog.dialect() == Dialect::Postgres { "~" } else { "REGEXP" };
    let asked = |text: &str, pattern: &str| {
        let sql = format!("SELECT CASE WHEN CAST($1 AS TEXT) {operator} $2 THEN 1 ELSE 0 END");
        query(sql).bind(text).bind(pattern)
    };
    for (text, pattern, found) in [("hemp rope", "r.pe$", 1), ("hemp rope", "^rope", 0), ("Hemp", "hemp", 0)] {
        assert_eq!(asked(text, pattern).read_one::<i64>(&catalog).await.expect(pattern), found, "{pattern}");
    }
    let broken = asked("hemp", "(").read_one::<i64>(&catalog).await.expect_err("pattern");
    assert_eq!(broken.code(), "catalog.pattern");
}

#[tokio::test]
async fn nul_is_refused_by_both_databases_and_the_group_goes_on() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let error = query("SELECT id FROM hemp WHERE name = $1").bind("a\0b").read_all::<i64>(&catalog).await;
    assert_eq!(error.expect_err("refused").code(), "catalog.nul");
    let rows = vec![[crate::Value::from(1_i64), crate::Value::from("\0")]];
    let insert =
        catalog.write(move |connection| Box::pin(rows_insert(connection, "INSERT INTO hemp (id, name)", rows, "")));
    assert_eq!(insert.await.expect_err("refused").code(), "catalog.nul");
    assert_eq!(hemp_count(&catalog).await, 0);
}

#[tokio::test]
async fn thousands_of_placeholders_keep_their_places() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let places: Vec<String> = (2..=5_001).map(|number| format!("${number}")).collect();
    let sql = format!("SELECT CASE WHEN $1 IN ({}) THEN CAST($5001 AS BIGINT) ELSE 0 END", places.join(", "));
    let asked = (1..5_001_i64).fold(query(sql).bind(5_000_i64), crate::Query::bind);
    assert_eq!(asked.read_one::<i64>(&catalog).await.expect("row"), 5_000);
}

#[tokio::test]
async fn a_reading_sees_one_state() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let (inside, go) = (catalog.clone(), std::sync::Arc::new(tokio::sync::Semaphore::new(0)));
    let waiting = std::sync::Arc::clone(&go);
    let reading = tokio::spawn(async move {
        inside
            .read(move |connection| {
                Box::pin(async move {
                    let count = "SELECT COUNT(*) FROM hemp";
                    let before: i64 = query(count).fetch_one(connection).await?;
                    waiting.add_permits(1);
                    // The write below is committed while this reading is open.
                    while waiting.available_permits() < 2 {
                        tokio::task::yield_now().await;
                    }
                    let after: i64 = query(count).fetch_one(connection).await?;
                    Ok::<_, CatalogError>((before, after))
                })
            })
            .await
    });
    while go.available_permits() < 1 {
        tokio::task::yield_now().await;
    }
    catalog.write(|connection| hemp_insert(connection, 1)).await.expect("write");
    go.add_permits(1);
    assert_eq!(reading.await.expect("task").expect("read"), (0, 0));
    assert_eq!(hemp_count(&catalog).await, 1);
}

#[tokio::test]
async fn an_error_takes_back_only_its_own_work() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let works = (0..300).map(|id| {
        let catalog = catalog.clone();
        async move {
            catalog
                .write(move |connection| {
                    Box::pin(async move {
                        hemp_insert(connection, id).await?;
                        if id % 3 == 0 { Err(CatalogError::Closed) } else { Ok(()) }
                    })
                })
                .await
        }
    });
    let results = futures::future::join_all(works).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 200);
    assert_eq!(hemp_count(&catalog).await, 200);
}

#[tokio::test]
async fn a_panic_is_answered_and_the_writer_lives() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let result: Result<(), CatalogError> = catalog
        .write(|connection| {
            Box::pin(async move {
                hemp_insert(connection, 1).await?;
                panic!("rope broke")
            })
        })
        .await;
    assert!(matches!(result, Err(CatalogError::Panicked(text)) if text == "rope broke"));
    let result: Result<(), CatalogError> = catalog.write(|_| panic!("at once")).await;
    assert_eq!(result.expect_err("panic").code(), "catalog.panicked");
    assert_eq!(catalog.write(|connection| hemp_insert(connection, 2)).await.expect("write"), 2);
    assert_eq!(hemp_count(&catalog).await, 1);
}

#[tokio::test]
async fn a_lost_transaction_fails_the_whole_group_and_the_next_one_works() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let first = catalog.write(|connection| hemp_insert(connection, 1));
    let second = catalog.write(|connection| {
        Box::pin(async move {
            execute_script(connection, "ROLLBACK").await?;
            Ok::<_, CatalogError>(())
        })
    });
    let third = catalog.write(|connection| hemp_insert(connection, 3));
    // They become one group, because they queue while another is held.
    let (begun, begins) = tokio::sync::oneshot::channel();
    let (open, gate) = tokio::sync::oneshot::channel::<()>();
    let held = catalog.write(move |_| {
        Box::pin(async move {
            begun.send(()).expect("the test waits");
            gate.await.expect("the test opens");
            Ok::<_, CatalogError>(())
        })
    });
    let queued = async {
        begins.await.expect("it is done");
        let mut three = Box::pin(async { tokio::join!(first, second, third) });
        assert!(futures::FutureExt::now_or_never(&mut three).is_none());
        open.send(()).expect("it waits");
        three.await
    };
    let (held, (first, second, third)) = tokio::join!(held, queued);
    held.expect("held");
    assert!(matches!(first, Err(CatalogError::NotCommitted(_))), "{first:?}");
    assert!(matches!(second, Err(CatalogError::NotCommitted(_))), "{second:?}");
    assert!(matches!(third, Err(CatalogError::NotCommitted(_))), "{third:?}");
    assert_eq!(catalog.write(|connection| hemp_insert(connection, 4)).await.expect("write"), 4);
    assert_eq!(hemp_count(&catalog).await, 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_take_its_work_back() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let left = catalog.write(|connection| hemp_insert(connection, 1));
    // Asked once and dropped. On a fast machine it may be done by then, and there is nothing that could be taken back.
    let _ = futures::FutureExt::now_or_never(left);
    catalog.write(|connection| hemp_insert(connection, 2)).await.expect("write");
    assert_eq!(hemp_count(&catalog).await, 2);
}

#[tokio::test]
async fn a_write_inside_a_write_is_refused() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let inner = catalog.clone();
    let result =
        catalog.write(move |_| Box::pin(async move { inner.write(|connection| hemp_insert(connection, 1)).await }));
    assert_eq!(result.await.expect_err("nested").code(), "catalog.nested_write");
}

#[tokio::test]
async fn failures_have_their_own_codes() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("open");
    let denied = query("INSERT INTO hemp (id) VALUES (1) RETURNING id").read_one::<i64>(&catalog).await;
    assert_eq!(denied.expect_err("query only").code(), "catalog.read_only");
    catalog.write(|connection| hemp_insert(connection, 1)).await.expect("write");
    let twice = catalog.write(|connection| hemp_insert(connection, 1)).await.expect_err("unique");
    assert_eq!(twice.code(), "catalog.constraint");
    let orphan = catalog.write(|connection| {
        Box::pin(async move {
            query("INSERT INTO bale (id, hemp) VALUES (1, 9)").execute(connection).await?;
            Ok::<_, CatalogError>(())
        })
    });
    assert_eq!(orphan.await.expect_err("foreign key").code(), "catalog.constraint");
    if catalog.dialect() == Dialect::Postgres {
        return;
    }
    let full = catalog.write(|connection| {
        Box::pin(async move {
            execute_script(connection, "PRAGMA max_page_count = 1").await?;
            for id in 10..10_000 {
                hemp_insert(connection, id).await?;
            }
            Ok::<_, CatalogError>(())
        })
    });
    let full = full.await.expect_err("full");
    assert_eq!(full.code(), "catalog.disk_full");
    assert!(full.hint().is_some());
    assert!(full.to_string().contains("is full") && full.to_string().contains("catalog.db`"), "{full}");
    let denied = catalog.write(|connection| {
        Box::pin(async move {
            execute_script(connection, "PRAGMA query_only = ON").await?;
            let denied = hemp_insert(connection, 5).await;
            execute_script(connection, "PRAGMA query_only = OFF").await?;
            denied
        })
    });
    let denied = denied.await.expect_err("query only").to_string();
    assert!(denied.contains("can only be read") && denied.contains("catalog.db`"), "{denied}");
    assert_eq!(hemp_count(&catalog).await, 1);
}

#[tokio::test]
async fn what_is_committed_is_there_at_the_next_start() {
    let directory = tempfile::Builder::new().prefix("a b?c#d%41").tempdir().expect("directory");
    let catalog = Catalog::open(&url(&directory), &[HEMP]).await.expect("open");
    let other = catalog.clone();
    catalog.write(|connection| hemp_insert(connection, 7)).await.expect("write");
    catalog.close().await;
    let closed = other.write(|connection| hemp_insert(connection, 8)).await.expect_err("closed");
    assert_eq!(closed.code(), "catalog.closed");
    let closed = query("SELECT 1").read_one::<i64>(&other).await.expect_err("closed");
    assert_eq!(closed.code(), "catalog.closed");
    let catalog = Catalog::open(&url(&directory), &[HEMP]).await.expect("open again");
    assert_eq!(hemp_count(&catalog).await, 1);
    assert!(directory.path().join("catalog.db").exists());
}

#[tokio::test]
async fn a_file_that_is_no_database_and_a_missing_folder_are_named() {
    let directory = tempfile::tempdir().expect("directory");
    let mut file = tempfile::NamedTempFile::new_in(&directory).expect("file");
    std::io::Write::write_all(&mut file, &[b'x'; 8192]).expect("write");
    let path = file.path().display().to_string();
    let error = Catalog::open(&format!("sqlite:{path}"), &[HEMP]).await.expect_err("text");
    assert_eq!(error.code(), "catalog.not_a_database");
    assert!(error.to_string().contains(&path), "{error}");
    let error = Catalog::open(&format!("{}/none/x", url(&directory)), &[]).await.expect_err("folder");
    assert_eq!(error.code(), "catalog.cannot_open");
    assert!(error.hint().is_some_and(|hint| hint.contains("folder")));
}

#[tokio::test]
async fn a_lock_that_stays_is_an_error_and_leaves_the_writer_well() {
    let directory = tempfile::tempdir().expect("directory");
    let mut place = Place::from_url(&url(&directory)).expect("url");
    let Place::File(database) = &mut place else { panic!("a file") };
    database.busy = Duration::from_millis(30);
    let mut other = database.connect().expect("connect");
    let catalog = Catalog::open_place(place, &[HEMP], None).await.expect("open");
    execute_script(&mut other, "BEGIN IMMEDIATE").await.expect("lock");
    let error = catalog.write(|connection| hemp_insert(connection, 1)).await.expect_err("locked");
    assert_eq!(error.code(), "catalog.locked");
    execute_script(&mut other, "ROLLBACK").await.expect("unlock");
    catalog.write(|connection| hemp_insert(connection, 1)).await.expect("write");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_open_a_new_database_at_once() {
    let directory = tempfile::tempdir().expect("directory");
    let opened = (0..8).map(|id| {
        let url = url(&directory);
        tokio::spawn(async move {
            let catalog = Catalog::open(&url, &[HEMP]).await?;
            catalog.write(move |connection| hemp_insert(connection, id)).await?;
            Ok::<_, CatalogError>(catalog)
        })
    });
    let mut last = None;
    for opened in futures::future::join_all(opened).await {
        last = Some(opened.expect("task").expect("open"));
    }
    assert_eq!(hemp_count(&last.expect("eight")).await, 8);
}

const fn step(number: u32, sql: &'static str) -> Migration {
    Migration { number, name: "flax", sql }
}

const FIRST: Migration = step(1, "CREATE TABLE flax (id BIGINT)");
const SECOND: Migration = step(2, "CREATE TABLE linen (id BIGINT)");
const BROKEN: &[Migration] = &[FIRST, step(2, "CREATE TABLE linen (id BIGINT); CREATE TABLE flax (id BIGINT)")];
const CHANGED: &[Migration] = &[step(1, "CREATE TABLE flax (id TEXT)"), SECOND];

/// The code of the error, if any, of opening the file with these steps.
async fn open_with(directory: &TempDir, steps: &'static [Migration]) -> Option<&'static str> {
    let opened = Catalog::open(&url(directory), &[HEMP, MigrationSet { owner: "flax", steps }]).await;
    match opened {
        Ok(catalog) => {
            catalog.close().await;
            None
        }
        Err(error) => Some(error.code()),
    }
}

#[tokio::test]
async fn migrations_go_forward_only_and_keep_their_text() {
    let directory = tempfile::tempdir().expect("directory");
    assert_eq!(open_with(&directory, &[FIRST]).await, None);
    assert_eq!(open_with(&directory, &[FIRST, SECOND]).await, None);
    assert_eq!(open_with(&directory, &[FIRST, SECOND]).await, None);
    assert_eq!(open_with(&directory, &[FIRST]).await, Some("catalog.newer"));
    assert_eq!(open_with(&directory, CHANGED).await, Some("catalog.migration_changed"));
    assert_eq!(open_with(&directory, &[SECOND]).await, Some("catalog.migration_gap"));
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("directory");
    assert_eq!(open_with(&directory, BROKEN).await, Some("catalog.migration_failed"));
    assert_eq!(open_with(&directory, &[FIRST, SECOND]).await, None);
}

#[tokio::test]
async fn a_gap_in_the_database_is_seen() {
    let directory = tempfile::tempdir().expect("directory");
    let catalog = Catalog::open(&url(&directory), &[HEMP]).await.expect("open");
    let result: Result<(), CatalogError> = catalog
        .write(|connection| {
            Box::pin(async move {
                query("DELETE FROM schema_migration WHERE number = 1").execute(connection).await?;
                Ok(())
            })
        })
        .await;
    result.expect("delete");
    catalog.close().await;
    assert_eq!(open_with(&directory, &[]).await, Some("catalog.migration_gap"));
}

/// Otherwise all tests "on PostgreSQL" would quietly run on files.
#[tokio::test]
async fn tests_run_on_the_server_that_is_named() {
    let catalog = Catalog::in_memory(&[HEMP]).await.expect("in memory");
    let named = if std::env::var_os(TEST_SERVER).is_some() { Dialect::Postgres } else { Dialect::Sqlite };
    assert!(catalog.dialect() == named);
}
