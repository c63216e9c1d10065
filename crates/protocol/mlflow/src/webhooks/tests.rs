use axum::http::Method;
use serde_json::json;

use crate::testing::{Server, delete, get, post, send};

const API: &str = "/api/2.0/mlflow/webhooks";

#[tokio::test]
async fn a_webhook_is_as_mlflow_shows_it_and_keeps_its_secret() {
    let server = Server::new().await;
    let events = json!([{"entity": "MODEL_VERSION", "action": "CREATED"}]);
    let new = json!({"name": "hook", "url": "https://8.8.8.8/x", "secret": "s", "events": events});
    let made = server.ok(post(API, &new)).await["webhook"].clone();
    let id = made["webhook_id"].as_str().expect("id").to_owned();
    let created = made["creation_timestamp"].as_i64().expect("time");
    let shown = json!({
        "webhook_id": id, "name": "hook", "url": "https://8.8.8.8/x", "events": events, "status": "ACTIVE",
        "creation_timestamp": created, "last_updated_timestamp": created,
    });
    assert_eq!(made, shown);
    assert_eq!(server.ok(get(API)).await, json!({"webhooks": [shown]}));
    let one = format!("{API}/{id}");
    let changed = server.ok(send(Method::PATCH, &one, &json!({"status": "DISABLED", "description": "d"}))).await;
    assert_eq!((&changed["webhook"]["status"], &changed["webhook"]["description"]), (&json!("DISABLED"), &json!("d")));
    let tested = server.ok(post(&format!("{one}/test"), &json!({}))).await;
    assert_eq!(tested["result"]["success"], false);
    for (key, value) in [
        ("url", json!("http://example.com/")),
        ("url", json!("https://169.254.169.254/")),
        ("events", json!([{"entity": "MODEL_VERSION", "action": "DELETED"}])),
        ("events", json!([])),
        ("name", json!("")),
        ("name", json!("a b")),
        ("status", json!("SLEEPING")),
    ] {
        let mut bad = new.clone();
        bad[key] = value;
        server.refuses(post(API, &bad), 400, "INVALID_PARAMETER_VALUE").await;
    }
    server.ok(delete(&one)).await;
    server.refuses(get(&one), 404, "RESOURCE_DOES_NOT_EXIST").await;
    assert_eq!(server.ok(get(API)).await, json!({}));
}
