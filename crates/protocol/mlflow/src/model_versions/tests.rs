use axum::body::Body;
use axum::http::{HeaderValue, Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ropewalk_registry::GateDeclaration;
use ropewalk_types::ModelName;
use serde_json::{Value, json};

use crate::Secret;
use crate::testing::{Server, get, post, send};

const API: &str = "/api/2.0/mlflow/model-versions";

fn at(path: &str) -> String {
    format!("{API}/{path}")
}

async fn with_model() -> Server {
    let server = Server::new().await;
    server.ok(post("/api/2.0/mlflow/registered-models/create", &json!({"name": "m"}))).await;
    server
}

#[tokio::test]
async fn a_version_is_as_mlflow_shows_it() {
    let server = with_model().await;
    let run = server.run().await;
    let source = format!("mlflow-artifacts:/0/{run}/artifacts/model");
    let new = json!({
        "name": "m", "source": source, "run_id": run, "run_link": "http://x", "tags": [{"key": "t", "value": "v"}],
    });
    let made = server.ok(post(&at("create"), &new)).await["model_version"].clone();
    let created = made["creation_timestamp"].as_i64().expect("time");
    let shown = json!({
        "name": "m", "version": "1", "creation_timestamp": created, "last_updated_timestamp": created,
        "current_stage": "None", "description": "", "source": source, "run_id": run, "status": "READY",
        "tags": [{"key": "t", "value": "v"}], "run_link": "http://x",
    });
    assert_eq!(made, shown);
    assert_eq!(server.ok(get(&at("get?name=m&version=1"))).await["model_version"], shown);
    let uri = server.ok(get(&at("get-download-uri?name=m&version=1"))).await;
    assert_eq!(uri, json!({"artifact_uri": source}));
    let plain = server.ok(send(Method::PATCH, &at("update"), &json!({"name": "m", "version": "1"}))).await;
    assert!(plain["model_version"].get("description").is_none(), "{plain}");
    server.refuses(get(&at("get?name=m&version=x")), 400, "INVALID_PARAMETER_VALUE").await;
    server.refuses(get(&at("get?name=m")), 400, "INVALID_PARAMETER_VALUE").await;
    server.refuses(get(&at("get?name=m&version=7")), 404, "RESOURCE_DOES_NOT_EXIST").await;
    server.ok(send(Method::DELETE, &at("delete"), &json!({"name": "m", "version": "1"}))).await;
    server.refuses(get(&at("get?name=m&version=1")), 404, "RESOURCE_DOES_NOT_EXIST").await;
    let next = server.ok(post(&at("create"), &json!({"name": "m", "source": "s3://b/x"}))).await;
    assert_eq!((&next["model_version"]["version"], &next["model_version"]["run_id"]), (&json!("2"), &json!("")));
}

#[tokio::test]
async fn a_source_outside_of_its_run_is_refused() {
    let server = with_model().await;
    let (run, other) = (server.run().await, server.run().await);
    let inside = |run: &str| format!("mlflow-artifacts:/0/{run}/artifacts/model");
    for (source, of) in [
        (inside(&run), None),
        (inside(&run), Some(&other)),
        (format!("mlflow-artifacts:/0/{run}/artifacts/..%2f..%2f{other}"), Some(&run)),
        (format!("mlflow-artifacts:/0/{run}/artifacts2"), Some(&run)),
        (format!("http://localhost/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts"), Some(&run)),
        (format!("runs:/{run}/model"), Some(&other)),
        (format!("runs:/{run}/model"), None),
        ("file:///etc/passwd".to_owned(), Some(&run)),
        ("/etc/passwd".to_owned(), Some(&run)),
    ] {
        let new = json!({"name": "m", "source": source, "run_id": of});
        server.refuses(post(&at("create"), &new), 400, "INVALID_PARAMETER_VALUE").await;
    }
    let new = json!({"name": "m", "source": format!("runs:/{run}/model"), "run_id": run});
    assert_eq!(server.ok(post(&at("create"), &new)).await["model_version"]["version"], "1");
}

#[tokio::test]
async fn stages_move_and_the_newest_of_each_is_told() {
    let server = with_model().await;
    for _ in 0..2 {
        server.ok(post(&at("create"), &json!({"name": "m", "source": "s3://b/x"}))).await;
    }
    let stage = |version: &str, stage: &str, archive: bool| {
        let body = json!({"name": "m", "version": version, "stage": stage, "archive_existing_versions": archive});
        post(&at("transition-stage"), &body)
    };
    assert_eq!(server.ok(stage("1", "production", true)).await["model_version"]["current_stage"], "Production");
    server.ok(stage("2", "Production", true)).await;
    server.refuses(stage("2", "foo", false), 400, "INVALID_PARAMETER_VALUE").await;
    let seen = |found: &Value| -> Vec<(String, String)> {
        let versions = found["model_versions"].as_array().cloned().unwrap_or_default();
        let text = |one: &Value, key: &str| one[key].as_str().expect(key).to_owned();
        versions.iter().map(|one| (text(one, "version"), text(one, "current_stage"))).collect()
    };
    let latest = "/api/2.0/mlflow/registered-models/get-latest-versions";
    let all = server.ok(post(latest, &json!({"name": "m"}))).await;
    assert_eq!(seen(&all), [("1".to_owned(), "Archived".to_owned()), ("2".to_owned(), "Production".to_owned())]);
    let some = server.ok(get(&format!("{latest}?name=m&stages=Production&stages=Staging"))).await;
    assert_eq!(seen(&some), [("2".to_owned(), "Production".to_owned())]);
    assert_eq!(server.ok(post(latest, &json!({"name": "m", "stages": ["None"]}))).await, json!({}));
}

#[tokio::test]
async fn versions_are_tagged_and_found() {
    let server = with_model().await;
    for _ in 0..2 {
        server.ok(post(&at("create"), &json!({"name": "m", "source": "s3://b/x"}))).await;
    }
    server.ok(post(&at("set-tag"), &json!({"name": "m", "version": "1", "key": "k", "value": "v"}))).await;
    let found = server.ok(get(&at("search?filter=tags.k%3D'v'"))).await;
    assert_eq!(found["model_versions"][0]["tags"], json!([{"key": "k", "value": "v"}]));
    server.ok(send(Method::DELETE, &at("delete-tag"), &json!({"name": "m", "version": "1", "key": "k"}))).await;
    assert_eq!(server.ok(get(&at("search?filter=tags.k%3D'v'"))).await, json!({}));
    let page = server.ok(get(&at("search?filter=name%3D'm'&max_results=1"))).await;
    assert!(page["next_page_token"].is_string() && page["model_versions"].as_array().expect("list").len() == 1);
    server.refuses(get(&at("search?max_results=0")), 400, "INVALID_PARAMETER_VALUE").await;
    server.refuses(get(&at("search?max_results=200001")), 400, "INVALID_PARAMETER_VALUE").await;
}

/// `request` from a user, whose password is their name twice.
fn by(user: &str, mut request: Request<Body>) -> Request<Body> {
    let field = format!("Basic {}", STANDARD.encode(format!("{user}:{user}{user}")));
    request.headers_mut().insert("authorization", HeaderValue::from_str(&field).expect("field"));
    request
}

#[tokio::test]
async fn who_is_known_by_name_approves() {
    let mut registry = None;
    let server = Server::with(|state| {
        for user in ["ada", "bob"] {
            state.users.insert(user.to_owned(), Secret::new(&format!("{user}{user}")));
        }
        state.token = Some(Secret::new("a token of everybody's"));
        registry = Some(state.registry.clone());
    })
    .await;
    let (registry, model) = (registry.expect("registry"), ModelName::new("m").expect("name"));
    server.ok(by("bob", post("/api/2.0/mlflow/registered-models/create", &json!({"name": "m"})))).await;
    server.ok(by("bob", post(&at("create"), &json!({"name": "m", "source": "s3://b/x"})))).await;
    let approval = vec!["role:reviewer".parse().expect("role")];
    let gate = GateDeclaration { approval, ..GateDeclaration::default() };
    registry.gate_declare(&model, "champion".parse().expect("alias"), Some(gate), "ada").await.expect("gate");
    registry.role_member_set("reviewer", "ada", true).await.expect("role");
    let approve = |body: Value| post("/api/2.0/ropewalk/model-versions/approve", &body);
    let as_reviewer = || approve(json!({"name": "m", "version": "1", "role": "reviewer", "why": "fair"}));
    let alias =
        || post("/api/2.0/mlflow/registered-models/alias", &json!({"name": "m", "alias": "champion", "version": "1"}));
    server.refuses(by("bob", as_reviewer()), 403, "PERMISSION_DENIED").await;
    let mut unnamed = as_reviewer();
    unnamed.headers_mut().insert("authorization", HeaderValue::from_static("Bearer a token of everybody's"));
    server.refuses(unnamed, 403, "PERMISSION_DENIED").await;
    server
        .refuses(
            by("ada", approve(json!({"name": "m", "version": "1", "target": "a b"}))),
            400,
            "INVALID_PARAMETER_VALUE",
        )
        .await;
    server.refuses(by("bob", alias()), 403, "PERMISSION_DENIED").await;
    let given = server.ok(by("ada", as_reviewer())).await;
    assert_eq!((&given["approval"]["who"], &given["approval"]["role"]), (&json!("ada"), &json!("reviewer")));
    server.ok(by("bob", alias())).await;
    let moved = registry.history(&model).await.expect("history").remove(0);
    assert_eq!((moved.who.as_str(), moved.moved), ("bob", true));
    assert_eq!(moved.outcome.conditions[0].note.as_deref(), Some("ada as role:reviewer: fair"));
}
