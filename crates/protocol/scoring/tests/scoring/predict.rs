use serde_json::json;

use crate::world::{post, post_json, routes};

#[tokio::test]
async fn one_object_is_answered_by_one_and_a_list_by_a_list() {
    let router = routes(&["flight delays=columns"]).await;
    let one = post_json(&router, "/predict/flight%20delays", r#"{"hour": 7, "carrier": "UA", "distance": 250}"#).await;
    assert_eq!(one.json(), json!({"label": 7, "probability": {"0": 0.75, "1": 0.25}}), "{}", one.text);
    assert!(!one.headers["x-prediction-id"].is_empty());
    let list = r#"[{"hour": 7, "carrier": "UA", "distance": 250}]"#;
    let list = post_json(&router, "/predict/flight%20delays/versions/1?labels=false", list).await;
    assert_eq!(list.json(), json!([{"label": 7, "probability": [0.75, 0.25]}]));
}

#[tokio::test]
async fn one_input_is_a_list_or_has_keys_of_its_own() {
    let router = routes(&["matrix"]).await;
    let wanted = json!({"sum": 6.0, "y": [3.0, 1.0, 2.0]});
    assert_eq!(post_json(&router, "/predict/matrix", r#"{"x": [3, 1, 2]}"#).await.json(), wanted);
    assert_eq!(post_json(&router, "/predict/matrix", r#"{"c": 3, "a": 1, "b": 2}"#).await.json(), wanted);
    let list = post_json(&router, "/predict/matrix", r#"[{"c": 3, "a": 1, "b": 2}, {"b": 2, "a": 1, "c": 3}]"#).await;
    assert_eq!(list.json(), json!([wanted, wanted]));
}

#[tokio::test]
async fn each_mistake_says_which_row_and_column() {
    let router = routes(&["columns", "matrix", "nothing"]).await;
    let ask = async |path: &str, body: &'static str| post_json(&router, path, body).await.refusal(400, "BAD_REQUEST");
    let good = r#"{"hour": 7, "carrier": "UA", "distance": 250}"#;
    let unknown = ask("/predict/columns", r#"[{"hour": 7, "carier": "UA", "distance": 250}]"#).await;
    assert!(unknown.starts_with("row 1: the model has no column `carier`, did you mean `carrier`?"), "{unknown}");
    let missing = ask("/predict/columns", r#"{"hour": 7, "carrier": "UA"}"#).await;
    assert_eq!(missing, "row 1: column `distance` is missing; found `hour`, `carrier`");
    let text = ask("/predict/columns", r#"{"hour": "7", "carrier": "UA", "distance": 1}"#).await;
    assert_eq!(text, "column `hour`, row 1: expected a whole number (INT64), found the text \"7\"");
    let null = ask("/predict/columns", r#"{"hour": 7, "carrier": null, "distance": null}"#).await;
    assert_eq!(null, "column `carrier`, row 1: expected a text (BYTES), found null");
    let list = ask("/predict/columns", r#"{"hour": 7, "carrier": "UA", "distance": [1, 2]}"#).await;
    assert!(list.contains("column `distance`, row 1: expected values of shape [1]"), "{list}");
    let narrow = ask("/predict/matrix", r#"{"a": 1, "b": 2}"#).await;
    assert!(narrow.contains("expected 3 columns"), "{narrow}");
    assert!(ask("/predict/columns", "[]").await.contains("at least one object"));
    assert!(ask("/predict/columns?labels=maybe", good).await.contains("`labels`: expected true or false"));
    assert!(ask("/predict/nothing", "{}").await.contains("has no inputs"));
    assert!(ask("/predict/columns/versions/x", good).await.contains("`x` is not a model version"));
    let absent = post_json(&router, "/predict/colums", good).await.refusal(404, "RESOURCE_DOES_NOT_EXIST");
    assert!(absent.contains("loaded: columns, matrix, nothing"), "{absent}");
}

#[tokio::test]
async fn json_is_read_whatever_the_content_type_says() {
    let router = routes(&["columns"]).await;
    let good = r#"{"hour": 7, "carrier": "UA", "distance": 250}"#;
    // What `curl -d` says, what a page's `fetch` says of a text, and what is right.
    for kind in
        ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "Application/JSON", "application/a+json"]
    {
        assert_eq!(post(&router, "/predict/columns", kind, good).await.json()["label"], 7, "{kind}");
        // Wrong objects are refused for what is wrong with them.
        let wrong = post(&router, "/predict/columns", kind, "{}").await.refusal(400, "BAD_REQUEST");
        assert!(wrong.contains("is missing"), "{wrong}");
    }
    for (kind, body) in [("text/csv", "hour\n7\n"), ("application/x-www-form-urlencoded", "hour=7")] {
        let refused = post(&router, "/predict/columns", kind, body).await.refusal(415, "BAD_REQUEST");
        assert!(refused.contains("add the header `Content-Type: application/json`"), "{refused}");
    }
    let broken = post(&router, "/predict/columns", "application/json", "hour=7").await.refusal(400, "BAD_REQUEST");
    assert!(broken.starts_with("cannot read the request as JSON"), "{broken}");
    // As MLflow has it.
    let strict = post(&router, "/invocations", "application/x-www-form-urlencoded", r#"{"inputs": []}"#).await;
    let strict = strict.refusal(415, "BAD_REQUEST");
    assert!(strict.contains("add the header `Content-Type: application/json`"), "{strict}");
}
