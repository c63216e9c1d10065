use super::*;
use crate::testing::{tracking, tracking_with_run};
use crate::{DEFAULT_EXPERIMENT, ErrorKind, Metric, MetricSubject};

async fn model(tracking: &Tracking, name: &str) -> LoggedModelId {
    let new = NewLoggedModel { name: Some(name.to_owned()), ..NewLoggedModel::new(DEFAULT_EXPERIMENT) };
    tracking.logged_model_create(new).await.expect("model").id
}

fn measured(key: &str, value: f64, at: i64, model: LoggedModelId, dataset: Option<(&str, &str)>) -> Metric {
    let dataset = dataset.map(|(name, digest)| (name.to_owned(), digest.to_owned()));
    let subject = MetricSubject { model: Some(model.to_string()), dataset };
    Metric { subject: Some(Box::new(subject)), ..Metric::new(key, value, 0, Timestamp(at)) }
}

/// The names of the models that are found, in their order.
async fn names(tracking: &Tracking, search: LoggedModelSearch) -> Vec<String> {
    let page = tracking.logged_model_search(search).await.expect("page");
    page.models.into_iter().map(|model| model.name).collect()
}

fn filtered(filter: &str) -> LoggedModelSearch {
    LoggedModelSearch { filter: filter.to_owned(), ..LoggedModelSearch::new(vec![DEFAULT_EXPERIMENT]) }
}

fn ordered(field: &str, descending: bool, dataset: Option<DatasetChoice>) -> LoggedModelSearch {
    let order = vec![LoggedModelOrder { field: field.to_owned(), descending, dataset }];
    LoggedModelSearch { order, ..LoggedModelSearch::new(vec![DEFAULT_EXPERIMENT]) }
}

fn dataset(name: &str, digest: Option<&str>) -> DatasetChoice {
    DatasetChoice { name: name.to_owned(), digest: digest.map(str::to_owned) }
}

#[tokio::test]
async fn a_model_lives_from_pending_to_deleted() {
    let (tracking, run) = tracking_with_run().await;
    let new = NewLoggedModel {
        model_type: "agent".to_owned(),
        source_run: Some(run),
        params: vec![Param::new("b", "1"), Param::new("../a", "")],
        tags: vec![Tag::new("t", "old"), Tag::new("t", "new")],
        ..NewLoggedModel::new(DEFAULT_EXPERIMENT)
    };
    let created = tracking.logged_model_create(new).await.expect("model");
    assert_eq!(created.name.split('-').count(), 3);
    assert_eq!(created.artifact_uri, format!("mlflow-artifacts:/0/models/{}/artifacts", created.id));
    assert_eq!((created.status, created.tags["t"].as_str()), (LoggedModelStatus::Pending, "new"));
    assert_eq!(tracking.logged_model_get(created.id, false).await.expect("model"), created);

    let ready = tracking.logged_model_finalize(created.id, LoggedModelStatus::Ready).await.expect("ready");
    assert_eq!(ready.status, LoggedModelStatus::Ready);
    assert!(ready.updated > created.updated && ready.created == created.created);

    tracking.logged_model_delete(created.id).await.expect("deleted");
    let absent = tracking.logged_model_get(created.id, false).await.expect_err("deleted");
    assert_eq!(absent.kind(), ErrorKind::Absent);
    let deleted = tracking.logged_model_get(created.id, true).await.expect("still read");
    assert!(deleted.deleted && deleted.params == ready.params);
    assert!(names(&tracking, filtered("")).await.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_absent() {
    let tracking = tracking().await;
    let nobody: LoggedModelId = "m-000000000000000000000000000000ff".parse().expect("id");
    let errors = [
        tracking.logged_model_get(nobody, true).await.map(|_| ()),
        tracking.logged_model_finalize(nobody, LoggedModelStatus::Failed).await.map(|_| ()),
        tracking.logged_model_delete(nobody).await,
        tracking.logged_model_params_log(nobody, Vec::new()).await,
        tracking.logged_model_tags_set(nobody, Vec::new()).await,
        tracking.logged_model_tag_delete(nobody, "t").await,
        tracking.logged_model_version_record(nobody, "a", 1).await,
        tracking.logged_model_create(NewLoggedModel::new(ExperimentId(7))).await.map(|_| ()),
    ];
    for error in errors {
        assert_eq!(error.expect_err("absent").kind(), ErrorKind::Absent);
    }
    let id = model(&tracking, "a").await;
    let error = tracking.logged_model_tag_delete(id, "t").await.expect_err("no tag");
    assert_eq!(error.kind(), ErrorKind::Absent);
}

#[tokio::test]
async fn names_and_keys_that_mlflow_refuses_are_refused() {
    let tracking = tracking().await;
    for bad in ["", "a/b", "a:b", "a.b", "a%b", "a\"b", "a'b", &"x".repeat(501)] {
        let new = NewLoggedModel { name: Some(bad.to_owned()), ..NewLoggedModel::new(DEFAULT_EXPERIMENT) };
        let error = tracking.logged_model_create(new).await.expect_err(bad);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
    }
    let id = model(&tracking, "ä b-c_d").await;
    for bad in ["", "a\0", &"x".repeat(256)] {
        assert!(tracking.logged_model_params_log(id, vec![Param::new(bad, "")]).await.is_err());
        assert!(tracking.logged_model_tags_set(id, vec![Tag::new(bad, "")]).await.is_err());
    }
    tracking.logged_model_tags_set(id, vec![Tag::new("a/b", "")]).await.expect("any other key");
    tracking.logged_model_tag_delete(id, "a/b").await.expect("deleted");
}

#[tokio::test]
async fn params_never_change_and_are_all_or_nothing() {
    let tracking = tracking().await;
    let id = model(&tracking, "a").await;
    tracking.logged_model_params_log(id, vec![Param::new("p", "1")]).await.expect("first");
    tracking.logged_model_params_log(id, vec![Param::new("p", "1"), Param::new("q", "1")]).await.expect("again");
    let changed = vec![Param::new("r", "1"), Param::new("p", "2")];
    let error = tracking.logged_model_params_log(id, changed).await.expect_err("changed").to_string();
    assert!(error.contains("`1`") && error.contains("`2`") && error.contains(&id.to_string()), "{error}");
    let twice = vec![Param::new("s", "1"), Param::new("t", "1"), Param::new("s", "1")];
    let error = tracking.logged_model_params_log(id, twice).await.expect_err("twice");
    assert!(matches!(error, TrackingError::ParamRepeated(key) if key == "s"));
    let params = tracking.logged_model_get(id, false).await.expect("model").params;
    let one = || "1".to_owned();
    assert_eq!(params, BTreeMap::from([("p".to_owned(), one()), ("q".to_owned(), one())]));
}

#[tokio::test]
async fn metrics_about_a_model_are_kept_with_run_and_model() {
    let (tracking, run) = tracking_with_run().await;
    let id = model(&tracking, "a").await;
    let points = vec![
        measured("auc", 0.5, 7, id, Some(("d", "1"))),
        measured("auc", 0.5, 7, id, Some(("d", "1"))),
        measured("auc", 0.6, 7, id, Some(("d", "2"))),
        measured("auc", f64::NAN, 8, id, None),
        measured("auc", f64::INFINITY, 9, id, None),
        Metric::new("loss", 1.0, 0, Timestamp(1)),
    ];
    tracking.metrics_log(run, points.clone()).await.expect("logged");
    tracking.metrics_log(run, points).await.expect("the same again");
    let metrics = tracking.logged_model_get(id, false).await.expect("model").metrics;
    let seen: Vec<(i64, Option<&str>, u64)> = metrics
        .iter()
        .map(|one| (one.at.0, one.dataset.as_ref().map(|(_, digest)| digest.as_str()), one.value.to_bits()))
        .collect();
    let expected = [(7, Some("1"), 0.5), (7, Some("2"), 0.6), (8, None, f64::NAN), (9, None, f64::MAX)];
    assert_eq!(seen, expected.map(|(at, digest, value): (i64, Option<&str>, f64)| (at, digest, value.to_bits())));
    assert!(metrics.iter().all(|one| one.run == run && one.key == "auc"));
    assert_eq!(tracking.metric_history(run, "auc", None, 10).await.expect("history").metrics.len(), 4);
    assert_eq!(tracking.run_get(run).await.expect("run").metrics.len(), 2);
}

#[tokio::test]
async fn a_dataset_with_a_longer_name_than_an_index_keeps_is_refused() {
    let (tracking, run) = tracking_with_run().await;
    let id = model(&tracking, "a").await;
    let text = |piece: &str, count: usize| -> String { piece.repeat(count) };
    let longest = text("x", 500);
    let bad: [(String, String, String); 3] = [
        (text("a", 3), text("x", 501), text("1", 1)),
        (text("a", 3), longest.clone(), text("1", 37)),
        // Few enough characters, of four bytes each.
        (text("\u{10400}", 250), text("\u{10400}", 500), text("1", 1)),
    ];
    for (key, name, digest) in &bad {
        let point = measured(key, 0.5, 7, id, Some((name.as_str(), digest.as_str())));
        assert_eq!(tracking.metrics_log(run, vec![point]).await.expect_err("too long").kind(), ErrorKind::Invalid);
    }
    let point = measured("auc", 0.5, 7, id, Some((longest.as_str(), "1")));
    tracking.metrics_log(run, vec![point]).await.expect("as long as may be");
}

#[tokio::test]
async fn a_batch_about_an_unknown_model_writes_nothing() {
    let (tracking, run) = tracking_with_run().await;
    for bad in ["m-000000000000000000000000000000ff", "nonsense"] {
        let subject = MetricSubject { model: Some(bad.to_owned()), dataset: None };
        let about = Metric { subject: Some(Box::new(subject)), ..Metric::new("b", 1.0, 0, Timestamp(1)) };
        let error = tracking.metrics_log(run, vec![Metric::new("a", 1.0, 0, Timestamp(1)), about]).await;
        assert_eq!(error.expect_err("unknown").kind(), ErrorKind::Invalid);
    }
    assert!(tracking.run_get(run).await.expect("run").metrics.is_empty());
}

/// `n1`, `n2`, `n3` with `lr` and `loss` of their number, measured on dataset `d` of that digest; then `bare`.
async fn four_models() -> (Tracking, Vec<LoggedModelId>, RunId) {
    let (tracking, run) = tracking_with_run().await;
    let mut ids = Vec::new();
    for number in 1_i32..=3 {
        let digest = number.to_string();
        let id = model(&tracking, &format!("n{number}")).await;
        tracking.logged_model_params_log(id, vec![Param::new("lr", digest.as_str())]).await.expect("param");
        tracking.logged_model_tags_set(id, vec![Tag::new("t", format!("V{number}"))]).await.expect("tag");
        let point = measured("loss", f64::from(number), 5, id, Some(("d", digest.as_str())));
        tracking.metrics_log(run, vec![point]).await.expect("metric");
        ids.push(id);
    }
    ids.push(model(&tracking, "bare").await);
    (tracking, ids, run)
}

#[tokio::test]
async fn filters_find_what_mlflow_finds() {
    let (tracking, ids, _) = four_models().await;
    tracking.logged_model_finalize(ids[1], LoggedModelStatus::Ready).await.expect("ready");
    let id = ids[0];
    for (filter, found) in [
        ("", "bare n3 n2 n1"),
        ("name = 'n1'", "n1"),
        ("attributes.name != 'n1' and name LIKE 'n%'", "n3 n2"),
        ("name IN ('n1', 'bare')", "bare n1"),
        ("name NOT IN ('n1', 'bare')", "n3 n2"),
        ("params.lr = '1'", "n1"),
        ("params.lr = 1", "n1"),
        ("params.lr=2 AND metrics.loss>1", "n2"),
        ("params.lr = '01'", ""),
        ("params.lr != '1'", "n3 n2"),
        ("tags.`t` ILIKE 'v%' and tags.t != 'V2'", "n3 n1"),
        ("tags.absent != 'a'", ""),
        ("metrics.loss > 1 and metrics.loss < 3", "n2"),
        ("metrics.\"loss\" = 3", "n3"),
        ("status = 'READY'", "n2"),
        ("status = 'LOGGED_MODEL_READY'", "n2"),
        ("status = 2", "n2"),
        ("status != '2'", "bare n3 n1"),
        ("status IN ('READY', 'FAILED')", "n2"),
        ("experiment_id = '0' and lifecycle_stage = 'active'", "bare n3 n2 n1"),
        ("experiment_id = 1", ""),
        ("lifecycle_stage = 'deleted'", ""),
        ("source_run_id != 'x' and artifact_location LIKE '%/models/%'", "bare n3 n2 n1"),
        ("creation_time > 0 and last_updated_timestamp < 1e15", "bare n3 n2 n1"),
        ("attributes.creation_timestamp < 5", ""),
        (format!("model_id = '{id}'").as_str(), "n1"),
    ] {
        assert_eq!(names(&tracking, filtered(filter)).await.join(" "), found, "{filter}");
    }
    for bad in ["name > 'a'", "foo = 'x'", "metric.loss > 1", "name = 'a' or name = 'b'", "status = 'DONE'", "name ="] {
        let error = tracking.logged_model_search(filtered(bad)).await.expect_err(bad);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
    }
    assert!(names(&tracking, LoggedModelSearch::new(Vec::new())).await.is_empty());
    assert!(names(&tracking, LoggedModelSearch::new(vec![ExperimentId(9)])).await.is_empty());
}

#[tokio::test]
async fn datasets_bound_the_metrics_that_count() {
    let (tracking, _, _) = four_models().await;
    let on = |filter: &str, datasets: Vec<DatasetChoice>| LoggedModelSearch { datasets, ..filtered(filter) };
    for (filter, datasets, found) in [
        ("", vec![dataset("d", None)], "n3 n2 n1"),
        ("", vec![dataset("d", Some("1")), dataset("d", Some("3"))], "n3 n1"),
        ("metrics.loss >= 2", vec![dataset("d", Some("1")), dataset("d", Some("3"))], "n3"),
        ("name = 'n1'", vec![dataset("d", Some("2"))], ""),
        ("", vec![dataset("e", None)], ""),
    ] {
        let search = on(filter, datasets);
        assert_eq!(names(&tracking, search.clone()).await.join(" "), found, "{search:?}");
    }
    let error = tracking.logged_model_search(on("", vec![dataset("", Some("1"))])).await.expect_err("no name");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn the_newest_value_of_a_metric_orders_and_absent_ones_come_last() {
    let (tracking, ids, run) = four_models().await;
    let later = vec![measured("loss", 9.0, 6, ids[0], None), measured("loss", f64::NAN, 6, ids[2], None)];
    tracking.metrics_log(run, later).await.expect("logged");
    for (search, found) in [
        (ordered("name", false, None), "bare n1 n2 n3"),
        (ordered("name", true, None), "n3 n2 n1 bare"),
        (ordered("creation_time", false, None), "n1 n2 n3 bare"),
        (ordered("metrics.loss", false, None), "n2 n1 bare n3"),
        (ordered("metrics.`loss`", true, None), "n1 n2 bare n3"),
        (ordered("metrics.loss", false, Some(dataset("d", None))), "n1 n2 n3 bare"),
        (ordered("metrics.loss", false, Some(dataset("d", Some("3")))), "n3 bare n2 n1"),
        (ordered("status", false, None), "bare n3 n2 n1"),
    ] {
        assert_eq!(names(&tracking, search.clone()).await.join(" "), found, "{search:?}");
    }
    for bad in ["", "foo", "params.lr", "attributes.name"] {
        let error = tracking.logged_model_search(ordered(bad, false, None)).await.expect_err(bad);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
    }
}

#[tokio::test]
async fn pages_go_on_where_they_ended_and_tokens_serve_their_own_search() {
    let (tracking, _, _) = four_models().await;
    let mut search = LoggedModelSearch { limit: 3, ..ordered("metrics.loss", true, None) };
    let first = tracking.logged_model_search(search.clone()).await.expect("first");
    assert_eq!(first.models.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["n3", "n2", "n1"]);
    assert_eq!((first.models[0].params["lr"].as_str(), first.models[2].metrics[0].value), ("3", 1.0));
    search.page_token = first.next_page_token;
    let second = tracking.logged_model_search(search.clone()).await.expect("second");
    assert_eq!((second.models.len(), second.models[0].name.as_str()), (1, "bare"));
    assert_eq!(second.next_page_token, None);
    let other = LoggedModelSearch { filter: "name = 'n1'".to_owned(), ..search.clone() };
    assert_eq!(tracking.logged_model_search(other).await.expect_err("another search").kind(), ErrorKind::Invalid);
    search.page_token = Some("x".to_owned());
    assert_eq!(tracking.logged_model_search(search).await.expect_err("no token").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_list_goes_over_all_models_deleted_ones_too() {
    let (tracking, ids, _) = four_models().await;
    tracking.logged_model_delete(ids[1]).await.expect("deleted");
    let mut seen = Vec::new();
    loop {
        let some = tracking.logged_model_list(seen.last().copied(), 3).await.expect("list");
        if some.is_empty() {
            break;
        }
        seen.extend(some.iter().map(|model| model.id));
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn an_imported_model_keeps_everything_and_twice_is_once() {
    let (tracking, run) = tracking_with_run().await;
    let point = LoggedModelMetric {
        key: "auc".to_owned(),
        value: 0.5,
        step: 2,
        at: Timestamp(3),
        run,
        dataset: Some(("d".to_owned(), "1".to_owned())),
    };
    let foreign = LoggedModel {
        id: "m-0123456789abcdef0123456789abcdef".parse().expect("id"),
        experiment: DEFAULT_EXPERIMENT,
        name: "old".to_owned(),
        model_type: String::new(),
        source_run: None,
        artifact_uri: "s3://bucket/models/x".to_owned(),
        status: LoggedModelStatus::Failed,
        status_message: "disk full".to_owned(),
        created: Timestamp(1),
        updated: Timestamp(2),
        deleted: true,
        params: [("p".to_owned(), "1".to_owned())].into(),
        tags: [("t".to_owned(), "1".to_owned())].into(),
        metrics: vec![point],
    };
    for _ in 0..2 {
        let copy = foreign.clone();
        tracking
            .catalog
            .write(move |connection| Box::pin(async move { logged_model_put(connection, &copy).await }))
            .await
            .expect("imported");
        assert_eq!(tracking.logged_model_get(foreign.id, true).await.expect("model"), foreign);
    }
}
