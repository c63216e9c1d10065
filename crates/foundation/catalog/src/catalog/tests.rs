use std::time::Duration;

use ropewalk_types::Diagnose;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::*;
use crate::Migration;

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

fn hemp_insert(connection: &mut AnyConnection, id: i64) -> BoxFuture<'_, Result<i64, CatalogError>> {
    Box::pin(async move {
        let sql = "INSERT INTO hemp (id, name) VALUES ($1, $2) RETURNING id";
        let name = format!("hemp {id}");
        Ok(sqlx::query_scalar(sql).bind(id).bind(name).fetch_one(connection).await?)
    })
}

async fn hemp_count(catalog: &Catalog) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM hemp").fetch_one(catalog.pool()).await.expect("count")
}

async fn pragma(catalog: &Catalog, name: &'static str) -> (i64, i64) {
    let sql = format!("PRAGMA {name}");
    let reader = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.clone())).fetch_one(catalog.pool()).await.expect("reader");
    let writer = catalog.write(move |connection| {
        Box::pin(async move { Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(connection).await?) })
    });
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
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(catalog.pool()).await.expect("mode");
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
                    let insert = sqlx::query("INSERT INTO hemp (id, name, weight) VALUES ($1, $2, $3)");
                    insert.bind(id).bind(name).bind(weight).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await;
    result.expect("write");
    for (id, name, weight) in rows {
        let read: (i64, Option<String>, Option<f64>) =
            sqlx::query_as("SELECT id, name, weight FROM hemp WHERE id = $1")
                .bind(id)
                .fetch_one(catalog.pool())
                .await
                .expect("row");
        // SQLite has no NaN.
        assert_eq!(read, (id, name, weight.filter(|weight| !weight.is_nan())));
    }
    let sums: AnyRow = sqlx::query(
        "SELECT COUNT(*) AS rows, MAX(weight) AS heaviest, AVG(weight) AS average, MIN(name) AS name,
         CAST(SUM(id) AS BIGINT) AS total, COALESCE(MAX(id), 0) + 1 AS next FROM hemp WHERE id IN (0, 1)",
    )
    .fetch_one(catalog.pool())
    .await
    .expect("sums");
    assert_eq!(sums.get::<i64, _>("rows"), 2);
    assert_eq!(sums.get::<f64, _>("heaviest").to_bits(), (0.1_f64 + 0.2).to_bits());
    assert_eq!(sums.get::<Option<f64>, _>("average"), Some(0.1 + 0.2));
    assert_eq!(sums.get::<String, _>("name"), "");
    assert_eq!((sums.get::<i64, _>("total"), sums.get::<i64, _>("next")), (1, 2));
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
            sqlx::raw_sql("ROLLBACK").execute(connection).await?;
            Ok::<_, CatalogError>(())
        })
    });
    let third = catalog.write(|connection| hemp_insert(connection, 3));
    let (first, second, third) = tokio::join!(first, second, third);
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
    assert!(futures::FutureExt::now_or_never(left).is_none());
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
    let denied = sqlx::query("INSERT INTO hemp (id) VALUES (1)").execute(catalog.pool()).await;
    assert_eq!(CatalogError::from(denied.expect_err("query only")).code(), "catalog.read_only");
    catalog.write(|connection| hemp_insert(connection, 1)).await.expect("write");
    let twice = catalog.write(|connection| hemp_insert(connection, 1)).await.expect_err("unique");
    assert_eq!(twice.code(), "catalog.constraint");
    let orphan = catalog.write(|connection| {
        Box::pin(async move {
            sqlx::query("INSERT INTO bale (id, hemp) VALUES (1, 9)").execute(connection).await?;
            Ok::<_, CatalogError>(())
        })
    });
    assert_eq!(orphan.await.expect_err("foreign key").code(), "catalog.constraint");
    let full = catalog.write(|connection| {
        Box::pin(async move {
            sqlx::raw_sql("PRAGMA max_page_count = 1").execute(&mut *connection).await?;
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
            sqlx::raw_sql("PRAGMA query_only = ON").execute(&mut *connection).await?;
            let denied = hemp_insert(connection, 5).await;
            sqlx::raw_sql("PRAGMA query_only = OFF").execute(connection).await?;
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
    let closed = sqlx::query("SELECT 1").execute(other.pool()).await.expect_err("closed");
    assert_eq!(CatalogError::from(closed).code(), "catalog.closed");
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
    let mut database = Database::from_url(&url(&directory)).expect("url");
    database.busy = Duration::from_millis(30);
    let catalog = Catalog::open_database(database.clone(), &[HEMP], None).await.expect("open");
    let mut other = database.connect().await.expect("connect");
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.expect("lock");
    let error = catalog.write(|connection| hemp_insert(connection, 1)).await.expect_err("locked");
    assert_eq!(error.code(), "catalog.locked");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("unlock");
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
                sqlx::query("DELETE FROM schema_migration WHERE number = 1").execute(connection).await?;
                Ok(())
            })
        })
        .await;
    result.expect("delete");
    catalog.close().await;
    assert_eq!(open_with(&directory, &[]).await, Some("catalog.migration_gap"));
}
