use axum::http::Method;
use ropewalk_registry::GateDeclaration;
use ropewalk_types::{Alias, ModelName};
use serde_json::{Value, json};

use crate::testing::{Server, get, post, send};

const API: &str = "/api/2.0/mlflow/registered-models";

fn at(path: &str) -> String {
    format!("{API}/{path}")
}

async fn version(server: &Server, name: &str) -> Value {
    let new = json!({"name": name, "source": "s3://b/x"});
    server.ok(post("/api/2.0/mlflow/model-versions/create", &new)).await["model_version"].clone()
}

#[tokio::test]
async fn a_model_is_as_mlflow_shows_it() {
    let server = Server::new().await;
    let tags = json!([{"key": "b", "value": "1"}, {"key": "a", "value": ""}, {"key": "a", "value": "2"}]);
    let create = json!({"name": "m", "description": "d", "tags": tags});
    let made = server.ok(post(&at("create"), &create)).await["registered_model"].clone();
    let created = made["creation_timestamp"].as_i64().expect("time");
    let shown = json!({
        "name": "m", "creation_timestamp": created, "last_updated_timestamp": created, "description": "d",
        "tags": [{"key": "a", "value": "2"}, {"key": "b", "value": "1"}],
    });
    assert_eq!(made, shown);
    server.refuses(post(&at("create"), &create), 400, "RESOURCE_ALREADY_EXISTS").await;
    for bad in [json!({}), json!({"name": "  "}), json!({"name": "a/b"}), json!({"name": "a:b"})] {
        server.refuses(post(&at("create"), &bad), 400, "INVALID_PARAMETER_VALUE").await;
    }
    server.refuses(get(&at("get?name=x")), 404, "RESOURCE_DOES_NOT_EXIST").await;
    server.refuses(get(&at("get")), 400, "INVALID_PARAMETER_VALUE").await;
    let update = json!({"name": "m", "description": "other"});
    let updated = server.ok(send(Method::PATCH, &at("update"), &update)).await;
    assert_eq!(updated["registered_model"]["description"], "other");
    let renamed = server.ok(post(&at("rename"), &json!({"name": "m", "new_name": "n"}))).await;
    assert_eq!(renamed["registered_model"]["name"], "n");
    server.ok(post(&at("set-tag"), &json!({"name": "n", "key": "k", "value": "v"}))).await;
    server.ok(send(Method::DELETE, &at("delete-tag"), &json!({"name": "n", "key": "a"}))).await;
    let found = server.ok(get(&at("get?name=n"))).await;
    assert_eq!(found["registered_model"]["tags"], json!([{"key": "b", "value": "1"}, {"key": "k", "value": "v"}]));
    server.ok(send(Method::DELETE, &at("delete"), &json!({"name": "n"}))).await;
    server.refuses(send(Method::DELETE, &at("delete"), &json!({"name": "n"})), 404, "RESOURCE_DOES_NOT_EXIST").await;
}

#[tokio::test]
async fn an_alias_points_and_a_missing_one_is_a_wrong_parameter() {
    let server = Server::new().await;
    server.ok(post(&at("create"), &json!({"name": "m"}))).await;
    server.refuses(get(&at("alias?name=m&alias=latest")), 404, "RESOURCE_DOES_NOT_EXIST").await;
    version(&server, "m").await;
    let set =
        |alias: &str, version: &str| post(&at("alias"), &json!({"name": "m", "alias": alias, "version": version}));
    server.ok(set("champion", "1")).await;
    let found = server.ok(get(&at("alias?name=m&alias=champion"))).await;
    assert_eq!(
        (&found["model_version"]["version"], &found["model_version"]["aliases"]),
        (&json!("1"), &json!(["champion"]))
    );
    assert_eq!(server.ok(get(&at("alias?name=m&alias=Latest"))).await["model_version"]["version"], "1");
    let model = server.ok(get(&at("get?name=m"))).await["registered_model"].clone();
    assert_eq!(model["aliases"], json!([{"alias": "champion", "version": "1"}]));
    assert!(model["latest_versions"][0].get("aliases").is_none(), "{model}");
    for bad in ["latest", "LATEST", "v1", "a b", "a.b", ""] {
        server.refuses(set(bad, "1"), 400, "INVALID_PARAMETER_VALUE").await;
    }
    server.refuses(set("x", "one"), 400, "INVALID_PARAMETER_VALUE").await;
    server.refuses(set("x", "9"), 404, "RESOURCE_DOES_NOT_EXIST").await;
    server.refuses(get(&at("alias?name=m&alias=nobody")), 400, "INVALID_PARAMETER_VALUE").await;
    server.ok(send(Method::DELETE, &at("alias"), &json!({"name": "m", "alias": "champion"}))).await;
    server.ok(send(Method::DELETE, &at("alias"), &json!({"name": "m", "alias": "champion"}))).await;
    server.refuses(get(&at("alias?name=m&alias=champion")), 400, "INVALID_PARAMETER_VALUE").await;
}

#[tokio::test]
async fn a_gate_holds_for_clients_and_its_refusal_gives_the_figures() {
    let mut registry = None;
    let server = Server::with(|state| registry = Some(state.registry.clone())).await;
    let registry = registry.expect("registry");
    server.ok(post(&at("create"), &json!({"name": "m"}))).await;
    version(&server, "m").await;
    let gate = GateDeclaration { conditions: Some("auc >= 0.66".to_owned()), ..GateDeclaration::default() };
    let (name, alias) = (ModelName::new("m").expect("name"), Alias::new("champion").expect("alias"));
    registry.gate_declare(&name, alias.into(), Some(gate), "ada").await.expect("gate");
    let set = post(&at("alias"), &json!({"name": "m", "alias": "champion", "version": "1"}));
    let said = server.refuses(set, 403, "PERMISSION_DENIED").await;
    assert!(said.contains("auc >= 0.66") && said.contains("no metric `auc`"), "{said}");
    let kept = registry.history(&name).await.expect("history");
    assert_eq!((kept.len(), kept[0].moved, kept[0].who.as_str()), (1, false, "anonymous"));
}

#[tokio::test]
async fn a_search_pages_orders_and_hides_prompts() {
    let server = Server::new().await;
    for name in ["a", "b", "c"] {
        server.ok(post(&at("create"), &json!({"name": name}))).await;
    }
    let prompt = json!({"name": "p", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]});
    server.ok(post(&at("create"), &prompt)).await;
    let names = |found: &Value| -> Vec<String> {
        let models = found["registered_models"].as_array().cloned().unwrap_or_default();
        models.iter().map(|model| model["name"].as_str().expect("name").to_owned()).collect()
    };
    let first = server.ok(get(&at("search?max_results=2&order_by=name%20DESC&order_by=timestamp"))).await;
    assert_eq!(names(&first), ["c", "b"]);
    let token = first["next_page_token"].as_str().expect("token");
    let next = at(&format!("search?max_results=2&order_by=name%20DESC&order_by=timestamp&page_token={token}"));
    assert_eq!(names(&server.ok(get(&next)).await), ["a"]);
    let prompts = at("search?filter=tags.%60mlflow.prompt.is_prompt%60%20%3D%20'true'");
    assert_eq!(names(&server.ok(get(&prompts)).await), ["p"]);
    assert_eq!(server.ok(get(&at("search?filter=name%3D'zzz'"))).await, json!({}));
    for bad in ["max_results=1001", "filter=stage%3D'x'", "order_by=run_id", "page_token=x"] {
        server.refuses(get(&at(&format!("search?{bad}"))), 400, "INVALID_PARAMETER_VALUE").await;
    }
}
