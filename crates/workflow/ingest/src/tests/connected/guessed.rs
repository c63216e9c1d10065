//! Types that the first rows told otherwise than later ones, and rows that are added to what was read so.

use ropewalk_connectors::{MisfitPolicy, SqlRequest};

use super::{Hears, Project, by, settings, statements};
use crate::{IngestError, Source, StoreCheckpoints, ingest};

/// A table whose first thousand rows have whole numbers where later ones have `more`.
async fn later_otherwise(project: &Project, more: &'static str) -> SqlRequest {
    let path = project.path().join("later.db");
    let whole = "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1200) \
                 INSERT INTO t SELECT i, i, i FROM s";
    statements(&path, &["CREATE TABLE t (id INTEGER, a, b)", whole, more]).await;
    let request = SqlRequest::new(format!("sqlite://{}", path.display()), "SELECT id, a, b AS \"b.c\" FROM t");
    SqlRequest { misfits: MisfitPolicy::Collect { limit: 1_000_000 }, ..request }
}

#[tokio::test]
async fn rows_are_added_to_columns_that_all_rows_told() {
    for (more, data_type, added, expected) in [
        (
            "INSERT INTO t SELECT id + 1200, 'x' || id, 1 FROM t",
            "text",
            "INSERT INTO t VALUES (3000, 7, 1)",
            "3000|7|1",
        ),
        (
            "INSERT INTO t SELECT id + 1200, id + 0.5, 1 FROM t",
            "float64",
            "INSERT INTO t VALUES (3000, 0.25, 1)",
            "3000|0.25|1",
        ),
    ] {
        let project = Project::new().await;
        let request = SqlRequest { cursor: Some(by("id")), ..later_otherwise(&project, more).await };
        let mut settings = settings(&project, Source::Sql(request));
        let first = project.run(&settings).await.unwrap();
        assert_eq!((first.report.columns[1].data_type.as_str(), first.report.quarantined), (data_type, 0));
        settings.previous = Some(first.tree);
        statements(&project.path().join("later.db"), &[added]).await;
        let heard = Hears::default();
        let checkpoints = StoreCheckpoints::new(project.store.clone());
        let second = ingest(&settings, &project.path(), &project.store, &checkpoints, &heard).await.unwrap();
        assert_eq!((second.report.rows, second.report.quarantined), (2401, 0));
        assert_eq!(project.rows(&second.tree).await[2400], expected);
        let heard = heard.0.into_inner().unwrap();
        assert!(heard.len() == 1 && heard[0].starts_with("the first rows tell other types of `a`"), "{heard:?}");
    }
}

/// The values that made it text are a share ever smaller.
#[tokio::test]
async fn what_is_text_in_the_rows_before_stays_text() {
    let project = Project::new().await;
    let few = "INSERT INTO t SELECT id + 1200, CASE WHEN id <= 30 THEN 'x' ELSE id END, 1 FROM t";
    let request = later_otherwise(&project, few).await;
    let mut settings = settings(&project, Source::Sql(SqlRequest { cursor: Some(by("id")), ..request }));
    let first = project.run(&settings).await.unwrap();
    assert_eq!((first.report.columns[1].data_type.as_str(), first.report.rows), ("text", 2400));
    settings.previous = Some(first.tree);
    let path = project.path().join("later.db");
    statements(&path, &["INSERT INTO t SELECT id + 2400, id, 1 FROM t"]).await;
    let second = project.run(&settings).await.unwrap();
    assert_eq!((second.report.rows, second.report.quarantined), (4800, 0));
    assert_eq!(project.rows(&second.tree).await[4799], "4800|2400|1");
}

/// Each time only the first misfit beyond the limit is known.
#[tokio::test]
async fn several_columns_that_were_guessed_wrong_are_told_by_all_rows() {
    let project = Project::new().await;
    let mut request = later_otherwise(&project, "INSERT INTO t SELECT id + 1200, 'x' || id, 'y' FROM t").await;
    request.misfits = MisfitPolicy::Collect { limit: 100 };
    let made = project.run(&settings(&project, Source::Sql(request))).await.unwrap();
    let types: Vec<_> = made.report.columns.iter().map(|column| column.data_type.as_str()).collect();
    assert_eq!((types, made.report.quarantined), (vec!["int64", "text", "text"], 0));
    assert_eq!(project.rows(&made.tree).await[1200], "1201|x1|y");
}

/// What was set aside before was accepted then.
#[tokio::test]
async fn the_share_that_may_be_set_aside_is_one_of_the_rows_that_are_added() {
    let project = Project::new().await;
    let request = later_otherwise(&project, "INSERT INTO t SELECT id + 1200, id, 1 FROM t").await;
    let mut settings = settings(&project, Source::Sql(SqlRequest { cursor: Some(by("id")), ..request }));
    settings.previous = Some(project.run(&settings).await.unwrap().tree);
    let path = project.path().join("later.db");
    statements(&path, &["INSERT INTO t SELECT id + 5000, 'bad', 1 FROM t WHERE id <= 15"]).await;
    let error = project.run(&settings).await.unwrap_err();
    assert!(matches!(error, IngestError::MostlyQuarantined { quarantined: 15, rows: 15, .. }), "{error}");
    for (share, added, rows, quarantined, said) in [
        (
            0.1,
            "INSERT INTO t SELECT id + 6000, id, 1 FROM t WHERE id <= 200",
            2600,
            15,
            Some("15 of 215 new rows set aside"),
        ),
        (
            0.1,
            "INSERT INTO t SELECT id + 9000, 'bad', 1 FROM t WHERE id <= 5",
            2600,
            20,
            Some("5 of 5 new rows set aside"),
        ),
        (0.001, "INSERT INTO t SELECT id + 9500, id, 1 FROM t WHERE id <= 20", 2620, 20, None),
    ] {
        settings.max_quarantined = share;
        statements(&path, &[added]).await;
        let heard = Hears::default();
        let checkpoints = StoreCheckpoints::new(project.store.clone());
        let made = ingest(&settings, &project.path(), &project.store, &checkpoints, &heard).await.unwrap();
        assert_eq!((made.report.rows, made.report.quarantined), (rows, quarantined), "{added}");
        let heard = heard.0.into_inner().unwrap();
        let aside = heard.iter().map(String::as_str).find(|text| text.contains("set aside"));
        assert_eq!(aside, said, "{added}");
        settings.previous = Some(made.tree);
    }
}
