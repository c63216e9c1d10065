use std::sync::Arc;

use ropewalk_catalog::{Catalog, CatalogError, MigrationSet, execute_script};
use ropewalk_store::Store;
use ropewalk_types::ManualAmbient;

use super::*;
use crate::testing::{tracking, tracking_with_run};
use crate::{ArtifactPath, ArtifactRoot, DEFAULT_EXPERIMENT, MIGRATIONS};

const SECOND: i64 = 1_000_000_000;

/// A span of trace `tr-<trace>` that begins after `start` seconds and takes one.
fn span(trace: &str, id: &str, parent: Option<&str>, start: i64) -> NewSpan {
    NewSpan {
        trace: format!("tr-{trace}"),
        id: id.to_owned(),
        parent: parent.map(str::to_owned),
        name: format!("span {id}"),
        status: SpanStatus::Ok,
        start: start * SECOND,
        end: Some((start + 1) * SECOND),
        attributes: Vec::new(),
        content: format!("{{\"span_id\": \"{id}\"}}"),
        resource: Arc::default(),
    }
}

fn with(mut span: NewSpan, attributes: &[(&str, &str)]) -> NewSpan {
    let object: serde_json::Map<String, serde_json::Value> =
        attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    // As the protocol writes it: one blank after each colon and comma.
    let members: Vec<String> =
        object.iter().map(|(key, value)| format!("{}: {value}", serde_json::Value::from(key.as_str()))).collect();
    span.attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    span.content = format!("{{\"span_id\": \"{}\", \"attributes\": {{{}}}}}", span.id, members.join(", "));
    span
}

fn info(id: &str, requested: i64) -> TraceInfo {
    let mut info = TraceInfo::new(id, DEFAULT_EXPERIMENT, Timestamp(requested));
    info.duration = Some(requested / 10);
    info.state = TraceState::Ok;
    info.tags.insert(TRACE_NAME_TAG.to_owned(), format!("name of {id}"));
    info
}

fn feedback(trace: &str, name: &str, value: &str) -> Assessment {
    Assessment {
        id: String::new(),
        trace: trace.to_owned(),
        name: name.to_owned(),
        value: AssessmentValue::Feedback { value: value.to_owned(), error: None },
        source_kind: "HUMAN".to_owned(),
        source_id: Some("me".to_owned()),
        span: None,
        created: Timestamp(1),
        updated: Timestamp(1),
        rationale: None,
        metadata: BTreeMap::new(),
        overrides: None,
        valid: true,
    }
}

async fn found(tracking: &Tracking, filter: &str, orders: &[&str]) -> Vec<String> {
    let search = TraceSearch {
        experiments: vec![DEFAULT_EXPERIMENT],
        filter: filter.to_owned(),
        orders: orders.iter().map(|order| (*order).to_owned()).collect(),
        limit: 100,
        page_token: None,
    };
    let page = tracking.trace_search(search).await.unwrap_or_else(|error| panic!("{filter}: {error}"));
    page.traces.into_iter().map(|trace| trace.id).collect()
}

#[tokio::test]
async fn spans_make_a_trace_that_widens_until_its_info_comes() {
    let tracking = tracking().await;
    let inner = with(span("1", "b", Some("a"), 5), &[("session.id", "\"s\""), ("user.id", "\"u\"")]);
    assert!(tracking.spans_log(DEFAULT_EXPERIMENT, vec![inner]).await.expect("inner").is_empty());
    let begun = tracking.trace_info("tr-1").await.expect("begun");
    assert_eq!((begun.state, begun.requested.0, begun.duration), (TraceState::InProgress, 5_000, Some(1_000)));
    assert_eq!(begun.metadata[SESSION], "s");
    assert_eq!(begun.tags[TRACE_ARTIFACT_TAG], "mlflow-artifacts:/0/traces/tr-1/artifacts");

    let mut root = with(
        span("1", "a", None, 3),
        &[("mlflow.spanInputs", "{\"x\": 1}"), ("mlflow.traceTag.team", "\"hemp\""), ("user.id", "\"other\"")],
    );
    root.status = SpanStatus::Error;
    root.resource = Arc::new(vec![
        ("service.name".to_owned(), "mill".to_owned()),
        ("telemetry.sdk.name".to_owned(), "x".to_owned()),
    ]);
    assert_eq!(tracking.spans_log(DEFAULT_EXPERIMENT, vec![root]).await.expect("root"), ["tr-1"]);
    let whole = tracking.trace_get("tr-1", false).await.expect("whole");
    assert_eq!(
        (whole.info.state, whole.info.requested.0, whole.info.duration),
        (TraceState::Error, 3_000, Some(3_000))
    );
    assert_eq!(whole.info.request_preview.as_deref(), Some("{\"x\": 1}"));
    assert_eq!((whole.info.tags["team"].as_str(), whole.info.tags["service.name"].as_str()), ("hemp", "mill"));
    assert!(!whole.info.tags.contains_key("telemetry.sdk.name"));
    assert_eq!(whole.info.metadata[USER], "u", "the first to say it counts");
    assert!(whole.spans[0].contains("\"a\"") && whole.spans[1].contains("\"b\""), "the root comes first");

    tracking.trace_start(info("tr-1", 50)).await.expect("info");
    tracking.spans_log(DEFAULT_EXPERIMENT, vec![span("1", "c", Some("a"), 0)]).await.expect("late");
    let ended = tracking.trace_info("tr-1").await.expect("ended");
    assert_eq!((ended.state, ended.requested.0, ended.duration), (TraceState::Ok, 50, Some(5)));
    assert_eq!(ended.request_preview.as_deref(), Some("{\"x\": 1}"), "a preview that is not given stays");
    assert_eq!((ended.tags["team"].as_str(), ended.metadata[FINALIZED].as_str()), ("hemp", "true"));
}

/// A span of trace `tr-1` that used tokens.
fn used(id: &str, parent: Option<&str>, tokens: i64) -> NewSpan {
    let text = format!("{{\"input_tokens\": {tokens}, \"total_tokens\": {tokens}}}");
    with(span("1", id, parent, 1), &[(usage::TOKENS.attribute, &text)])
}

/// What trace `tr-1` used in all.
async fn summed(tracking: &Tracking) -> String {
    tracking.trace_info("tr-1").await.expect("info").metadata[usage::TOKENS.metadata].clone()
}

#[tokio::test]
async fn a_sum_is_made_again_without_the_contents_of_earlier_spans() {
    let tracking = tracking().await;
    let first = vec![used("b", Some("a"), 3), used("c", Some("a"), 4), span("1", "e", Some("b"), 1)];
    tracking.spans_log(DEFAULT_EXPERIMENT, first).await.expect("first");
    let emptied: std::result::Result<(), CatalogError> = tracking
        .catalog
        .write(|connection| Box::pin(execute_script(connection, "UPDATE trace_span SET content = '{}'")))
        .await;
    emptied.expect("emptied");
    let later = vec![used("d", Some("a"), 5), used("f", Some("e"), 100)];
    tracking.spans_log(DEFAULT_EXPERIMENT, later).await.expect("later");
    assert_eq!(summed(&tracking).await, "{\"input_tokens\": 12, \"output_tokens\": 0, \"total_tokens\": 12}");
    let again = vec![span("1", "c", Some("a"), 1)];
    tracking.spans_log(DEFAULT_EXPERIMENT, again).await.expect("without what it said");
    tracking.spans_log(DEFAULT_EXPERIMENT, vec![used("d", Some("a"), 6)]).await.expect("more");
    assert_eq!(summed(&tracking).await, "{\"input_tokens\": 9, \"output_tokens\": 0, \"total_tokens\": 9}");
}

/// A span that an earlier version wrote down.
const OLD: &str = r#"
    INSERT INTO trace (number, id, experiment_id, requested_at, state, finalized)
        VALUES (1, 'tr-1', 0, 5, 'IN_PROGRESS', 0);
    INSERT INTO trace_span (trace, id, parent, name, status, started_at, content) VALUES
        (1, 'b', 'a', 's', 'OK', 5, '{"attributes": {"mlflow.chat.tokenUsage": "{\"input_tokens\": 3}"}}'),
        (1, 'c', 'a', 's', 'OK', 5, '{}');
"#;

#[tokio::test]
async fn what_spans_of_an_earlier_version_used_counts_too() {
    let directory = tempfile::tempdir().expect("directory");
    let url = format!("sqlite:{}", directory.path().join("catalog.db").display());
    let earlier = MigrationSet { owner: MIGRATIONS.owner, steps: &MIGRATIONS.steps[..6] };
    let catalog = Catalog::open(&url, &[earlier]).await.expect("earlier version");
    let filled: std::result::Result<(), CatalogError> =
        catalog.write(|connection| Box::pin(execute_script(connection, OLD))).await;
    filled.expect("filled");
    catalog.close().await;
    let catalog = Catalog::open(&url, &[MIGRATIONS]).await.expect("this version");
    let store = Store::open("memory:").await.expect("store");
    let tracking = Tracking::new(catalog, store, Arc::new(ManualAmbient::default()));
    tracking.spans_log(DEFAULT_EXPERIMENT, vec![used("d", Some("a"), 4)]).await.expect("one more");
    assert_eq!(summed(&tracking).await, "{\"input_tokens\": 7, \"output_tokens\": 0, \"total_tokens\": 4}");
}

#[tokio::test]
async fn what_is_absurdly_long_is_refused_or_found_but_breaks_nothing() {
    let tracking = tracking().await;
    let mut endless = info("tr-1", i64::MAX);
    endless.duration = Some(i64::MAX);
    tracking.trace_start(endless).await.expect("any time");
    tracking.trace_start(info("tr-2", 100)).await.expect("info");
    assert_eq!(found(&tracking, "end_time > 110", &["end_time"]).await, ["tr-1"]);
    assert_eq!(found(&tracking, "end_time = 110", &[]).await, ["tr-2"]);
    let long = tracking.trace_prompts_link("tr-2", vec!["x".repeat(501)]).await;
    assert!(matches!(long, Err(TrackingError::TooLong { what: "prompt_versions", .. })));
}

#[tokio::test]
async fn tokens_are_summed_over_all_batches_unless_the_client_did() {
    let tracking = tracking().await;
    tracking.spans_log(DEFAULT_EXPERIMENT, vec![used("b", Some("a"), 3)]).await.expect("first");
    tracking.spans_log(DEFAULT_EXPERIMENT, vec![used("c", Some("a"), 4), used("b", Some("a"), 5)]).await.expect("more");
    assert_eq!(summed(&tracking).await, "{\"input_tokens\": 9, \"output_tokens\": 0, \"total_tokens\": 9}");
    tracking.spans_log(DEFAULT_EXPERIMENT, vec![used("a", None, 100)]).await.expect("the sum itself");
    assert_eq!(summed(&tracking).await, "{\"input_tokens\": 100, \"output_tokens\": 0, \"total_tokens\": 100}");
    let mut ended = info("tr-1", 50);
    ended.metadata.insert(usage::TOKENS.metadata.to_owned(), "the client's".to_owned());
    tracking.trace_start(ended).await.expect("info");
    tracking.spans_log(DEFAULT_EXPERIMENT, vec![used("d", None, 7)]).await.expect("late");
    assert_eq!(summed(&tracking).await, "the client's");
}

#[tokio::test]
async fn a_trace_is_whole_when_as_many_spans_have_come_as_were_told() {
    let tracking = tracking().await;
    let mut told = info("tr-1", 50);
    told.metadata.insert(SIZE_STATS.to_owned(), "{\"num_spans\": 2}".to_owned());
    tracking.trace_start(told).await.expect("info");
    let elsewhere = tracking.trace_get("tr-1", true).await;
    assert!(matches!(elsewhere, Err(TrackingError::Trace(TraceError::SpansElsewhere(_)))));
    tracking.spans_log(DEFAULT_EXPERIMENT, vec![span("1", "a", None, 1)]).await.expect("first");
    let unfinished = tracking.trace_get("tr-1", false).await;
    assert!(matches!(unfinished, Err(TrackingError::Trace(TraceError::Unfinished { found: 1, expected: 2, .. }))));
    assert_eq!(tracking.trace_get("tr-1", true).await.expect("part").spans.len(), 1);
    let ids = || vec!["tr-none".to_owned(), "tr-1".to_owned(), "tr-1".to_owned()];
    assert!(tracking.trace_get_many(ids(), None).await.expect("many").is_empty());
    tracking.spans_log(DEFAULT_EXPERIMENT, vec![span("1", "b", Some("a"), 1)]).await.expect("second");
    assert_eq!(tracking.trace_get_many(ids(), None).await.expect("many")[0].spans.len(), 2);
    assert_eq!(tracking.trace_infos(ids(), None).await.expect("infos").len(), 1);
    assert!(tracking.trace_infos(ids(), Some(vec![ExperimentId(9)])).await.expect("infos").is_empty());
}

#[tokio::test]
async fn what_is_absent_or_kept_is_refused() {
    let tracking = tracking().await;
    let nowhere = TraceInfo::new("tr-1", ExperimentId(77), Timestamp(1));
    assert!(matches!(tracking.trace_start(nowhere).await, Err(TrackingError::ExperimentAbsent(_))));
    for id in ["", "a/b", "..", "a b", &"x".repeat(65)] {
        assert!(matches!(tracking.trace_start(info(id, 1)).await, Err(TrackingError::Name { .. })), "{id:?}");
    }
    let tag = |key: &str| Tag::new(key, "v");
    let absent = tracking.trace_tag_set("tr-1", tag("k")).await;
    assert!(matches!(absent, Err(TrackingError::Trace(TraceError::Absent(_)))));
    tracking.trace_start(info("tr-1", 1)).await.expect("info");
    let kept = tracking.trace_tag_set("tr-1", tag(SPANS_TAG)).await;
    assert!(matches!(kept, Err(TrackingError::Trace(TraceError::TagKept(_)))));
    assert!(matches!(tracking.trace_tag_set("tr-1", tag("a//b")).await, Err(TrackingError::Name { .. })));
    tracking.trace_tag_set("tr-1", tag("k")).await.expect("set");
    tracking.trace_tag_delete("tr-1", "k").await.expect("delete");
    let again = tracking.trace_tag_delete("tr-1", "k").await;
    assert!(matches!(again, Err(TrackingError::Trace(TraceError::TagAbsent { .. }))));
    let many = (0..=SPAN_BATCH).map(|number| span("1", &number.to_string(), None, 1)).collect();
    let many = tracking.spans_log(DEFAULT_EXPERIMENT, many).await;
    assert!(matches!(many, Err(TrackingError::Trace(TraceError::TooMany { .. }))));
}

#[tokio::test]
async fn an_overridden_assessment_is_invalid_as_long_as_the_other_one_is_there() {
    let tracking = tracking().await;
    tracking.trace_start(info("tr-1", 1)).await.expect("info");
    let first = tracking.assessment_create(feedback("tr-1", "good", "true")).await.expect("first");
    let mut second = feedback("tr-1", "good", "false");
    second.overrides = Some(first.id.clone());
    second.created = Timestamp(2);
    let second = tracking.assessment_create(second).await.expect("second");
    let valid = async || {
        let info = tracking.trace_info("tr-1").await.expect("info");
        info.assessments.iter().map(|one| one.valid).collect::<Vec<_>>()
    };
    assert_eq!(valid().await, [false, true]);
    let update = AssessmentUpdate {
        value: Some(AssessmentValue::Feedback { value: "0.5".to_owned(), error: None }),
        metadata: Some([("k".to_owned(), "v".to_owned())].into()),
        ..AssessmentUpdate::default()
    };
    let updated = tracking.assessment_update("tr-1", &second.id, update).await.expect("update");
    assert_eq!(tracking.assessment_get("tr-1", &second.id).await.expect("get"), updated);
    let other = AssessmentUpdate { value: Some(AssessmentValue::Expectation("1".to_owned())), ..Default::default() };
    let other = tracking.assessment_update("tr-1", &second.id, other).await;
    assert!(matches!(other, Err(TrackingError::Trace(TraceError::AssessmentKind { .. }))));
    tracking.assessment_delete("tr-1", &second.id).await.expect("delete");
    tracking.assessment_delete("tr-1", &second.id).await.expect("delete again");
    assert_eq!(valid().await, [true]);
    let mut stray = feedback("tr-1", "good", "1");
    stray.overrides = Some("a-none".to_owned());
    let stray = tracking.assessment_create(stray).await;
    assert!(matches!(stray, Err(TrackingError::Trace(TraceError::AssessmentAbsent { .. }))));
}

#[tokio::test]
async fn filters_find_by_all_that_a_trace_has() {
    let (tracking, run) = tracking_with_run().await;
    for (id, requested) in [("tr-1", 100), ("tr-2", 200), ("tr-3", 300)] {
        tracking.trace_start(info(id, requested)).await.expect(id);
    }
    let call = with(span("2", "b", Some("a"), 1), &[("mlflow.spanType", "\"LLM\""), ("model", "\"big\""), ("k", "1")]);
    let spans = vec![span("2", "a", None, 1), call, span("3", "b", None, 1)];
    tracking.spans_log(DEFAULT_EXPERIMENT, spans).await.expect("spans");
    tracking.trace_tag_set("tr-1", Tag::new("a b", "100%")).await.expect("tag");
    tracking.assessment_create(feedback("tr-3", "score", "0.5")).await.expect("number");
    tracking.assessment_create(feedback("tr-2", "score", "\"bad\"")).await.expect("text");
    tracking.trace_link(run, vec!["tr-2".to_owned(), "tr-soon".to_owned()]).await.expect("link");
    tracking.trace_prompts_link("tr-3", vec!["greeting/2".to_owned()]).await.expect("prompt");
    let linked = format!("attribute.run_id = '{run}'");
    let cases: [(&str, &[&str]); 26] = [
        ("", &["tr-3", "tr-2", "tr-1"]),
        ("trace.status = 'OK' AND timestamp_ms > 100 and execution_time <= 20", &["tr-2"]),
        ("end_time >= 330", &["tr-3"]),
        ("request_id IN ('tr-1', 'tr-9')", &["tr-1"]),
        ("name = 'name of tr-1'", &["tr-1"]),
        ("name ILIKE 'NAME OF TR-%' AND name != 'name of tr-1'", &["tr-3", "tr-2"]),
        ("tags.`a b` LIKE '%0\\%'", &[]),
        ("tags.`a b` LIKE '1%'", &["tr-1"]),
        ("tags.`a b` IS NULL", &["tr-3", "tr-2"]),
        ("tag.`a b` IS NOT NULL", &["tr-1"]),
        ("metadata.`mlflow.trace.infoFinalized` = 'true'", &["tr-3", "tr-2", "tr-1"]),
        ("span.name = 'span b'", &["tr-3", "tr-2"]),
        ("span.name = 'span a' AND span.type = 'LLM'", &[]),
        ("span.name = 'span b' AND span.type IN ('LLM', 'TOOL')", &["tr-2"]),
        ("span.attributes.model = 'big'", &["tr-2"]),
        ("span.attributes.model != 'big'", &[]),
        ("span.attributes.k = '1'", &["tr-2"]),
        ("span.attributes.model LIKE '%bi%'", &["tr-2"]),
        ("trace.text LIKE '%LLM%'", &["tr-2"]),
        ("feedback.score >= 0.5", &["tr-3"]),
        ("feedback.score = 'bad'", &["tr-2"]),
        ("feedback.score != 'bad'", &["tr-3"]),
        ("feedback.score IS NULL", &["tr-1"]),
        ("expectation.score = 'bad'", &[]),
        (linked.as_str(), &["tr-2"]),
        ("prompt = 'greeting/2'", &["tr-3"]),
    ];
    for (filter, expected) in cases {
        assert_eq!(found(&tracking, filter, &[]).await, expected, "{filter}");
    }
    assert_eq!(found(&tracking, "", &["execution_time ASC"]).await, ["tr-1", "tr-2", "tr-3"]);
    assert_eq!(found(&tracking, "", &["tags.`a b` DESC"]).await, ["tr-1", "tr-3", "tr-2"]);
    assert_eq!(found(&tracking, "", &["name"]).await, ["tr-1", "tr-2", "tr-3"]);
    for bad in ["foo.x = 'y'", "status > 1", "feedback.score = 5", "text = 'x'", "status = 'OK' OR name = 'x'"] {
        let search =
            TraceSearch { experiments: vec![DEFAULT_EXPERIMENT], filter: bad.to_owned(), ..Default::default() };
        assert_eq!(tracking.trace_search(search).await.expect_err(bad).kind(), crate::ErrorKind::Invalid, "{bad}");
    }
}

#[tokio::test]
async fn pages_meet_and_a_token_holds_for_its_query_only() {
    let tracking = tracking().await;
    for number in 0..5 {
        tracking.trace_start(info(&format!("tr-{number}"), 100)).await.expect("info");
    }
    let mut search = TraceSearch { experiments: vec![DEFAULT_EXPERIMENT], limit: 2, ..TraceSearch::default() };
    let mut seen = Vec::new();
    loop {
        let page = tracking.trace_search(search.clone()).await.expect("page");
        seen.extend(page.traces.into_iter().map(|trace| trace.id));
        let Some(next) = page.next else { break };
        search.page_token = Some(next);
    }
    assert_eq!(seen, ["tr-0", "tr-1", "tr-2", "tr-3", "tr-4"]);
    search.filter = "status = 'OK'".to_owned();
    let other = tracking.trace_search(search.clone()).await.expect_err("another query");
    assert_eq!(other.kind(), crate::ErrorKind::Invalid);
    search.page_token = None;
    search.experiments.clear();
    assert!(tracking.trace_search(search).await.expect("page").traces.is_empty());
}

#[tokio::test]
async fn deleting_takes_the_oldest_or_those_named_with_all_that_they_had() {
    let (tracking, run) = tracking_with_run().await;
    for number in 1..=4 {
        tracking.trace_start(info(&format!("tr-{number}"), number * 100)).await.expect("info");
    }
    tracking.spans_log(DEFAULT_EXPERIMENT, vec![span("1", "a", None, 1)]).await.expect("span");
    tracking.assessment_create(feedback("tr-1", "good", "true")).await.expect("assessment");
    tracking.trace_link(run, vec!["tr-1".to_owned()]).await.expect("link");
    let root = ArtifactRoot::Trace { experiment: DEFAULT_EXPERIMENT, trace: "tr-1".to_owned() };
    let path = ArtifactPath::new("traces.json").expect("path");
    tracking.artifact_store(&root, path.clone(), "{}".into()).await.expect("artifact");
    let until = TraceSelection::Until { at: Timestamp(300), most: Some(2) };
    assert_eq!(tracking.trace_delete(DEFAULT_EXPERIMENT, until).await.expect("delete"), 2);
    assert_eq!(found(&tracking, "", &[]).await, ["tr-4", "tr-3"]);
    assert!(tracking.artifact_bytes(&root, &path).await.is_err());
    let ids = |ids: &[&str]| TraceSelection::Ids(ids.iter().map(|id| (*id).to_owned()).collect());
    let elsewhere = tracking.trace_delete(ExperimentId(5), ids(&["tr-3"])).await.expect("other experiment");
    assert_eq!(elsewhere, 0);
    let named = tracking.trace_delete(DEFAULT_EXPERIMENT, ids(&["tr-3", "tr-3", "tr-9"])).await.expect("named");
    assert_eq!(named, 1);
    // The number of a deleted trace may be taken again: nothing of the old one may show.
    let all = TraceSelection::Until { at: Timestamp(1_000), most: None };
    assert_eq!(tracking.trace_delete(DEFAULT_EXPERIMENT, all).await.expect("all"), 1);
    let again = tracking.trace_start(info("tr-1", 1)).await.expect("again");
    assert!(again.assessments.is_empty() && !again.tags.contains_key(SPANS_TAG));
}

#[tokio::test]
async fn the_bytes_of_spans_are_told_before_they_are_read() {
    let tracking = tracking().await;
    let mut second = span("2", "a", None, 1);
    second.content = "{\"name\": \"größer\"}".to_owned();
    let spans = vec![span("1", "a", None, 1), span("1", "b", Some("a"), 1), second];
    tracking.spans_log(DEFAULT_EXPERIMENT, spans).await.expect("spans");
    let ids = || ["tr-1", "tr-none", "tr-2"].map(str::to_owned).to_vec();
    let traces = tracking.trace_get_many(ids(), None).await.expect("traces");
    let bytes: usize = traces.iter().flat_map(|trace| &trace.spans).map(String::len).sum();
    assert!(bytes > 0);
    assert_eq!(tracking.trace_bytes(ids()).await.expect("bytes"), bytes as u64);
    assert_eq!(tracking.trace_bytes(vec!["tr-none".to_owned()]).await.expect("bytes"), 0);
    let many = tracking.trace_bytes(vec![String::new(); TRACE_PAGE + 1]).await;
    assert!(matches!(many, Err(TrackingError::Trace(TraceError::TooMany { .. }))));
}
