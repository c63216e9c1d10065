use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use ropewalk_scoring::{ScoringLimits, router};
use ropewalk_serving::{ModelHost, Route, SideStatistics};
use ropewalk_types::ModelName;
use serde_json::{Value, json};

use crate::world::{host, load_version, post_json, send};

/// A host of the model `m` with a route: the default version 1 takes a matrix, version 2 the columns `a` and `b`.
async fn two_versions(route: Value) -> Arc<ModelHost> {
    let host = host(&["m=matrix"]).await;
    load_version(&host, "m=python", 2).await;
    let name = ModelName::new("m").unwrap();
    host.default_set(&name, Some(1)).unwrap();
    host.route_set(Route { model: name, settings: serde_json::from_value(route).unwrap() }).unwrap();
    host
}

#[tokio::test]
async fn a_request_is_read_for_the_version_that_answers() {
    let route = json!({"rules": [{"header": "X-Group", "value": "beta", "to": 2}]});
    let router = router(two_versions(route).await, ScoringLimits::default());
    let beta = async |path: &str, body: &'static str| {
        let request = Request::post(path).header("content-type", "application/json").header("x-group", "beta");
        send(&router, request.body(Body::from(body)).unwrap()).await
    };
    let one = beta("/predict/m", r#"{"a": 1, "b": 2}"#).await;
    assert_eq!(one.json(), json!({"prediction": 3.0}));
    // A Python model with one output answers it alone.
    let split = r#"{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}}"#;
    assert_eq!(beta("/invocations", split).await.predictions(), json!([3.0, 7.0]));
    let matrix = json!({"sum": 6.0, "y": [3.0, 1.0, 2.0]});
    assert_eq!(post_json(&router, "/predict/m", r#"{"x": [3, 1, 2]}"#).await.json(), matrix);
    let split = r#"{"dataframe_split": {"data": [[3, 1, 2]]}}"#;
    assert_eq!(post_json(&router, "/invocations", split).await.predictions(), json!([matrix]));
}

#[tokio::test]
async fn what_a_canary_cannot_read_counts_against_it() {
    let host = two_versions(json!({"canary": {"to": 2, "weight": 1}})).await;
    let router = router(Arc::clone(&host), ScoringLimits::default());
    let matrix = post_json(&router, "/predict/m", r#"{"x": [3, 1, 2]}"#).await.refusal(400, "BAD_REQUEST");
    assert!(matrix.contains("the model has no column `x`"), "{matrix}");
    let split = r#"{"dataframe_split": {"columns": ["a"], "data": [[1]]}}"#;
    let missing = post_json(&router, "/invocations", split).await.refusal(400, "BAD_REQUEST");
    assert!(missing.contains("column `b` is missing"), "{missing}");
    let canary = host.routes()[0].canary.as_ref().unwrap().canary;
    assert_eq!(canary, SideStatistics { requests: 2, refused: 2, ..SideStatistics::default() });
    // No version was asked.
    assert!(host.statistics().models.iter().all(|model| model.refused == 0));
}
