use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::world::{get, host, post, post_json, routes, send};

const SPLIT: &str = r#"{"dataframe_split": {"columns": ["hour", "carrier", "distance", "extra"], "index": [0, 1],
    "data": [[7, "UA", 250, null], [8.0, "AA", 500.5, null]]}}"#;

fn rows() -> Value {
    json!([
        {"label": 7, "probability": {"0": 0.75, "1": 0.25}},
        {"label": 8, "probability": {"0": 0.499_499_98, "1": 0.5005}},
    ])
}

#[tokio::test]
async fn a_data_frame_is_answered_row_by_row() {
    let router = routes(&["columns"]).await;
    let answer = post_json(&router, "/invocations", SPLIT).await;
    assert_eq!(answer.predictions(), rows());
    assert!(answer.headers.contains_key("x-prediction-id"));
    assert!(!answer.headers.contains_key("x-ropewalk-ignored"));
    let records = r#"{"dataframe_records": [{"hour": 7, "carrier": "UA", "distance": 250},
        {"hour": 8, "carrier": "AA", "distance": 500.5}]}"#;
    assert_eq!(post_json(&router, "/invocations", records).await.predictions(), rows());
    let csv = "carrier,distance,hour\nUA,250,7\nAA,500.5,8\n";
    assert_eq!(post(&router, "/invocations", "text/csv; charset=utf-8", csv).await.predictions(), rows());
}

#[tokio::test]
async fn tensors_are_answered_output_by_output() {
    let router = routes(&["columns"]).await;
    let inputs = r#"{"inputs": {"hour": [7, 8], "carrier": [["UA"], ["AA"]], "distance": [[250], [500.5]]}}"#;
    let wanted = json!({"label": [7, 8], "probability": [{"0": 0.75, "1": 0.25}, {"0": 0.499_499_98, "1": 0.5005}]});
    assert_eq!(post_json(&router, "/invocations", inputs).await.predictions(), wanted);
    let instances = r#"{"instances": [{"hour": 7, "carrier": "UA", "distance": 250},
        {"hour": 8, "carrier": "AA", "distance": 500.5}]}"#;
    assert_eq!(post_json(&router, "/invocations", instances).await.predictions(), wanted);
}

#[tokio::test]
async fn all_columns_are_the_values_of_one_input() {
    let router = routes(&["matrix"]).await;
    let split = r#"{"dataframe_split": {"columns": ["c", "a", "b"], "data": [[1, 2, 3], [4, 5, 6.5]]}}"#;
    let wanted = json!([{"sum": 6.0, "y": [1.0, 2.0, 3.0]}, {"sum": 15.5, "y": [4.0, 5.0, 6.5]}]);
    assert_eq!(post_json(&router, "/invocations", split).await.predictions(), wanted);
    let bare = r#"{"dataframe_split": {"data": [[1, 2, 3], [4, 5, 6.5]]}}"#;
    assert_eq!(post_json(&router, "/invocations", bare).await.predictions(), wanted);
    let tensors = json!({"sum": [[6.0], [15.5]], "y": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]]});
    for form in ["inputs", "instances"] {
        let body = json!({form: [[1, 2, 3], [4, 5, 6.5]]}).to_string();
        assert_eq!(post_json(&router, "/invocations", body).await.predictions(), tensors, "{form}");
    }
    let named = r#"{"inputs": {"x": [[1, 2, 3], [4, 5, 6.5]]}}"#;
    assert_eq!(post_json(&router, "/invocations", named).await.predictions(), tensors);
    let missing = r#"{"dataframe_split": {"data": [[NaN, 2, 3]]}}"#;
    let answer = post_json(&router, "/invocations", missing).await.predictions();
    assert_eq!(answer, json!([{"sum": null, "y": [null, 2.0, 3.0]}]));
}

#[tokio::test]
async fn a_python_model_with_one_output_answers_it_alone() {
    let router = routes(&["python"]).await;
    for body in
        [r#"{"dataframe_records": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}"#, r#"{"inputs": {"a": [1, 3], "b": [2, 4]}}"#]
    {
        assert_eq!(post_json(&router, "/invocations", body).await.predictions(), json!([3.0, 7.0]));
    }
}

#[tokio::test]
async fn params_are_ignored_and_it_is_said() {
    let router = routes(&["python"]).await;
    let body = r#"{"dataframe_records": [{"a": 1, "b": 2}], "params": {"temperature": 0.5}}"#;
    let answer = post_json(&router, "/invocations", body).await;
    assert_eq!(answer.predictions(), json!([3.0]));
    assert_eq!(answer.headers["x-ropewalk-ignored"], "params");
}

#[tokio::test]
async fn with_several_models_one_is_named() {
    let router = routes(&["columns", "python"]).await;
    let none = post_json(&router, "/invocations", SPLIT).await.refusal(400, "BAD_REQUEST");
    assert_eq!(
        none,
        "several models are loaded: name one in the header `X-Ropewalk-Model`; loaded: `columns`, `python`"
    );
    let named = Request::post("/invocations").header("content-type", "application/json");
    let named = named.header("x-ropewalk-model", "columns").body(Body::from(SPLIT)).unwrap();
    assert_eq!(send(&router, named).await.predictions(), rows());
    assert_eq!(post_json(&router, "/models/columns/invocations", SPLIT).await.predictions(), rows());
    assert_eq!(post_json(&router, "/models/columns/versions/1/invocations", SPLIT).await.predictions(), rows());
    let absent = post_json(&router, "/models/absent/invocations", SPLIT).await;
    assert!(absent.refusal(404, "RESOURCE_DOES_NOT_EXIST").contains("loaded: columns, python"));
    let absent = post_json(&router, "/models/columns/versions/2/invocations", SPLIT).await;
    assert!(absent.refusal(404, "RESOURCE_DOES_NOT_EXIST").contains("no version 2"));
}

#[tokio::test]
async fn mistakes_are_the_clients_and_say_where() {
    let router = routes(&["columns"]).await;
    let ask = async |body: &'static str| post_json(&router, "/invocations", body).await.refusal(400, "BAD_REQUEST");
    assert!(ask("{}").await.contains("exactly one of"));
    assert!(ask("[").await.contains("cannot read the request as JSON"));
    let missing = ask(r#"{"dataframe_records": [{"carrier": "UA", "hour": 1}]}"#).await;
    assert_eq!(missing, "column `distance` is missing; found `carrier`, `hour`");
    let wrong = ask(r#"{"dataframe_records": [{"carrier": "UA", "hour": 1, "distance": 1},
        {"carrier": "UA", "hour": 1.5, "distance": 1}]}"#)
    .await;
    assert_eq!(wrong, "column `hour`, row 2: expected a whole number (INT64), found 1.5");
    let unnamed = ask(r#"{"instances": [[1, 2, 3]]}"#).await;
    assert!(
        unnamed.contains("expected columns named `carrier`, `distance`, `hour`, found 1 without names"),
        "{unnamed}"
    );
    let uneven = ask(r#"{"inputs": {"carrier": ["UA"], "hour": [1, 2], "distance": [1]}}"#).await;
    assert!(!uneven.is_empty());
}

#[tokio::test]
async fn other_content_types_and_methods_are_refused() {
    let router = routes(&["columns"]).await;
    let html = post(&router, "/invocations", "text/html", "x").await.refusal(415, "BAD_REQUEST");
    assert!(html.contains("text/csv") && html.contains("`text/html`"), "{html}");
    let latin = post(&router, "/invocations", "text/csv; charset=latin1", "x").await.refusal(415, "BAD_REQUEST");
    assert!(latin.contains("charset=latin1"), "{latin}");
    let packed = Request::post("/invocations").header("content-type", "application/json");
    let packed = packed.header("content-encoding", "gzip").body(Body::empty()).unwrap();
    assert!(send(&router, packed).await.refusal(415, "BAD_REQUEST").contains("gzip"));
    let method = get(&router, "/invocations").await;
    assert!(method.refusal(405, "BAD_REQUEST").contains("GET is not allowed"));
    assert_eq!(method.headers["allow"], "POST");
}

#[tokio::test]
async fn bodies_are_bounded() {
    let router = routes(&["matrix"]).await;
    let long = format!("{{\"inputs\": [{}]}}", vec!["[1,2,3]"; 40_000].join(","));
    let refused = post_json(&router, "/invocations", long).await.refusal(413, "BAD_REQUEST");
    assert_eq!(refused, "the request is larger than 200000 bytes");
    let rows = format!("{{\"inputs\": [{}]}}", vec!["[1,2,3]"; 1001].join(","));
    let refused = post_json(&router, "/invocations", rows).await.refusal(413, "BAD_REQUEST");
    assert_eq!(refused, "the request has 1001 rows, the limit is 1000");
    // Longer than what is read and written on the reactor.
    let most =
        format!("{{\"inputs\": [{}]}}", vec!["[1,2,3]        "; 1000].join(&" ".repeat(100)).replace(" [", ",["));
    assert!(most.len() > 100_000);
    assert_eq!(post_json(&router, "/invocations", most).await.predictions()["sum"].as_array().unwrap().len(), 1000);
}

#[tokio::test]
async fn a_model_that_cannot_take_a_table_says_so() {
    let router = routes(&["nothing", "whole"]).await;
    let none = post_json(&router, "/models/nothing/invocations", SPLIT).await.refusal(400, "BAD_REQUEST");
    assert_eq!(none, "model `nothing` has no inputs: there is nothing to score");
    let whole = r#"{"dataframe_records": [{"x": 1}, {"x": 2}]}"#;
    let rows = post_json(&router, "/models/whole/invocations", whole).await.refusal(400, "BAD_REQUEST");
    assert_eq!(rows, "output `mean` of shape [] has not one entry for each of the 2 rows");
    let tensors = post_json(&router, "/models/whole/invocations", r#"{"inputs": {"x": [1, 2]}}"#).await;
    assert_eq!(tensors.predictions(), json!({"mean": 3.0}));
}

#[tokio::test]
async fn health_follows_the_host() {
    let router = routes(&["columns"]).await;
    for path in ["/ping", "/health"] {
        let answer = get(&router, path).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "\n"));
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    assert_eq!(get(&router, "/version").await.text, ropewalk_scoring::MLFLOW_VERSION);
    let empty = ropewalk_scoring::router(host(&[]).await, ropewalk_scoring::ScoringLimits::default());
    assert_eq!(get(&empty, "/ping").await.status, 503);
    let none = post_json(&empty, "/invocations", SPLIT).await;
    assert_eq!(none.refusal(503, "TEMPORARILY_UNAVAILABLE"), "no model is loaded");
    assert_eq!(none.headers["retry-after"], "1");
}
