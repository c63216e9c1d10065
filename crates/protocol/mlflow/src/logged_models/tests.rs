use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::testing::{Server, delete, get, post, put};

const API: &str = "/api/2.0/mlflow";
const MODELS: &str = "/api/2.0/mlflow/logged-models";

fn patch(path: &str, body: &Value) -> Request<Body> {
    let mut request = post(path, body);
    *request.method_mut() = Method::PATCH;
    request
}

fn id_of(answer: &Value) -> String {
    answer["model"]["info"]["model_id"].as_str().expect("id").to_owned()
}

async fn create(server: &Server, body: Value) -> String {
    id_of(&server.ok(post(MODELS, &body)).await)
}

#[tokio::test]
async fn an_answer_has_the_shape_of_the_reference() {
    let server = Server::new().await;
    let run = server.run().await;
    let bare = server.ok(post(MODELS, &json!({"experiment_id": "0", "name": "", "source_run_id": ""}))).await;
    let info = &bare["model"]["info"];
    assert_eq!(
        bare["model"],
        json!({
            "info": {
                "model_id": info["model_id"], "experiment_id": "0", "name": info["name"],
                "creation_timestamp_ms": info["creation_timestamp_ms"],
                "last_updated_timestamp_ms": info["creation_timestamp_ms"],
                "artifact_uri": format!("mlflow-artifacts:/0/models/{}/artifacts", id_of(&bare)),
                "status": "LOGGED_MODEL_PENDING", "model_type": "", "source_run_id": "",
            },
            "data": {},
        })
    );
    let full = json!({
        "experiment_id": "0", "name": "clf", "model_type": "sklearn", "source_run_id": run,
        "params": [{"key": "b", "value": "1"}, {"key": "a", "value": "2"}], "tags": [{"key": "t", "value": "v"}],
    });
    let id = create(&server, full).await;
    let metric = json!({
        "run_id": run, "key": "auc", "value": 0.5, "timestamp": "7", "step": 3,
        "model_id": id, "dataset_name": "d", "dataset_digest": "1",
    });
    server.ok(post(&format!("{API}/runs/log-metric"), &metric)).await;
    let metric = json!({"key": "auc", "value": "NaN", "timestamp": 8, "model_id": id});
    server.ok(post(&format!("{API}/runs/log-batch"), &json!({"run_id": run, "metrics": [metric]}))).await;
    let model = server.ok(get(&format!("{MODELS}/{id}"))).await["model"].take();
    assert_eq!(model["info"]["source_run_id"], json!(run));
    assert_eq!(model["info"]["tags"], json!([{"key": "t", "value": "v"}]));
    assert_eq!(
        model["data"],
        json!({
            "params": [{"key": "a", "value": "2"}, {"key": "b", "value": "1"}],
            "metrics": [
                {"key": "auc", "value": 0.5, "timestamp": 7, "step": 3, "dataset_name": "d", "dataset_digest": "1",
                 "model_id": id, "run_id": run},
                {"key": "auc", "value": "NaN", "timestamp": 8, "step": 0, "model_id": id, "run_id": run},
            ],
        })
    );
}

#[tokio::test]
async fn a_model_is_finalized_tagged_and_deleted() {
    let server = Server::new().await;
    let id = create(&server, json!({"experiment_id": "0", "name": "a"})).await;
    let path = format!("{MODELS}/{id}");
    for (status, shown) in [
        (json!("LOGGED_MODEL_READY"), "LOGGED_MODEL_READY"),
        (json!(3), "LOGGED_MODEL_UPLOAD_FAILED"),
        (json!("2"), "LOGGED_MODEL_READY"),
    ] {
        let answer = server.ok(patch(&path, &json!({"model_id": id, "status": status}))).await;
        assert_eq!(answer["model"]["info"]["status"], shown);
    }
    for bad in [json!({}), json!({"status": "READY"}), json!({"status": 0}), json!({"status": 2, "model_id": "m-1"})] {
        server.refuses(patch(&path, &bad), 400, "INVALID_PARAMETER_VALUE").await;
    }
    let tags = json!({"tags": [{"key": "a/b", "value": "1"}, {"key": "k", "value": "1"}, {"key": "k", "value": "2"}]});
    assert_eq!(server.ok(patch(&format!("{path}/tags"), &tags)).await, json!({}));
    server.ok(delete(&format!("{path}/tags/a%2Fb"))).await;
    let found = server.ok(get(&format!("/ajax-{}/{id}", &MODELS[1..]))).await;
    assert_eq!(found["model"]["info"]["tags"], json!([{"key": "k", "value": "2"}]));
    server.refuses(delete(&format!("{path}/tags/absent")), 404, "RESOURCE_DOES_NOT_EXIST").await;

    let params = |value: &str| json!({"model_id": id, "params": [{"key": "p", "value": value}]});
    assert_eq!(server.ok(post(&format!("{path}/params"), &params("1"))).await, json!({}));
    server.ok(post(&format!("{path}/params"), &params("1"))).await;
    server.refuses(post(&format!("{path}/params"), &params("2")), 400, "INVALID_PARAMETER_VALUE").await;

    assert_eq!(server.ok(delete(&path)).await, json!({}));
    server.refuses(get(&path), 404, "RESOURCE_DOES_NOT_EXIST").await;
    let deleted = server.ok(get(&format!("{path}?allow_deleted=true"))).await;
    assert_eq!(deleted["model"]["data"]["params"], json!([{"key": "p", "value": "1"}]));
}

#[tokio::test]
async fn what_is_wrong_or_absent_is_said_in_mlflows_words() {
    let server = Server::new().await;
    for bad in [
        json!({}),
        json!({"experiment_id": "x"}),
        json!({"experiment_id": "0", "name": "a/b"}),
        json!({"experiment_id": "0", "source_run_id": "x"}),
        json!({"experiment_id": "0", "params": [{"key": "p", "value": "1"}, {"key": "p", "value": "1"}]}),
    ] {
        server.refuses(post(MODELS, &bad), 400, "INVALID_PARAMETER_VALUE").await;
    }
    server.refuses(post(MODELS, &json!({"experiment_id": "7"})), 404, "RESOURCE_DOES_NOT_EXIST").await;
    for absent in ["m-x", "m-000000000000000000000000000000ff"] {
        server.refuses(get(&format!("{MODELS}/{absent}")), 404, "RESOURCE_DOES_NOT_EXIST").await;
        let list = format!("{MODELS}/{absent}/artifacts/directories");
        server.refuses(get(&list), 404, "RESOURCE_DOES_NOT_EXIST").await;
    }
    server.refuses(put(MODELS, Bytes::new()), 404, "ENDPOINT_NOT_FOUND").await;
}

#[tokio::test]
async fn a_search_filters_orders_and_pages() {
    let server = Server::new().await;
    for name in ["a", "b", "c"] {
        create(&server, json!({"experiment_id": "0", "name": name, "params": [{"key": "p", "value": name}]})).await;
    }
    let path = format!("{MODELS}/search");
    let names = |answer: &Value| -> Vec<String> {
        let models = answer["models"].as_array().cloned().unwrap_or_default();
        models.iter().map(|model| model["info"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let all = server.ok(post(&path, &json!({"experiment_ids": ["0"], "max_results": 0}))).await;
    assert_eq!(names(&all), ["c", "b", "a"]);
    assert!(all.get("next_page_token").is_none());
    let mut search = json!({
        "experiment_ids": ["0"], "filter": "params.p != 'b'", "max_results": "1",
        "order_by": [{"field_name": "name", "ascending": true}],
    });
    let first = server.ok(post(&path, &search)).await;
    assert_eq!(names(&first), ["a"]);
    search["page_token"] = first["next_page_token"].clone();
    assert_eq!(names(&server.ok(post(&path, &search)).await), ["c"]);
    assert_eq!(server.ok(post(&path, &json!({"experiment_ids": []}))).await, json!({}));
    for bad in [
        json!({}),
        json!({"experiment_ids": ["x"]}),
        json!({"experiment_ids": ["0"], "filter": "nothing = 'a'"}),
        json!({"experiment_ids": ["0"], "order_by": [{"ascending": true}]}),
        json!({"experiment_ids": ["0"], "datasets": [{"dataset_digest": "1"}]}),
        json!({"experiment_ids": ["0"], "page_token": "x"}),
        json!({"experiment_ids": ["0"], "max_results": -1}),
    ] {
        server.refuses(post(&path, &bad), 400, "INVALID_PARAMETER_VALUE").await;
    }
}

#[tokio::test]
async fn its_files_are_put_by_their_uri_and_listed_and_read_by_its_id() {
    let server = Server::new().await;
    let id = create(&server, json!({"experiment_id": "0"})).await;
    let root = format!("/api/2.0/mlflow-artifacts/artifacts/0/models/{id}/artifacts");
    for (path, bytes) in [("MLmodel", "flavors: {}"), ("code/a.py", "pass")] {
        server.ok(put(&format!("{root}/{path}"), Bytes::from_static(bytes.as_bytes()))).await;
    }
    let path = format!("{MODELS}/{id}/artifacts");
    let top = server.ok(get(&format!("{path}/directories"))).await;
    assert_eq!(top["root_uri"], format!("mlflow-artifacts:/0/models/{id}/artifacts"));
    let files = json!([{"path": "MLmodel", "is_dir": false, "file_size": 11}, {"path": "code", "is_dir": true}]);
    assert_eq!(top["files"], files);
    let folder = server.ok(get(&format!("{path}/directories?artifact_directory_path=code"))).await;
    assert_eq!(folder["files"], json!([{"path": "code/a.py", "is_dir": false, "file_size": 4}]));
    let empty = server.ok(get(&format!("{path}/directories?artifact_directory_path=none"))).await;
    assert!(empty.get("files").is_none());
    let climbing = get(&format!("{path}/directories?artifact_directory_path=..%2Fx"));
    server.refuses(climbing, 400, "INVALID_PARAMETER_VALUE").await;

    let file = server.raw(get(&format!("{path}/files?artifact_file_path=code/a.py"))).await;
    assert_eq!(to_bytes(file.into_body(), 100).await.expect("body"), "pass");
    server.refuses(get(&format!("{path}/files?artifact_file_path=code/b.py")), 404, "RESOURCE_DOES_NOT_EXIST").await;
    server.refuses(get(&format!("{path}/files")), 400, "INVALID_PARAMETER_VALUE").await;
}
