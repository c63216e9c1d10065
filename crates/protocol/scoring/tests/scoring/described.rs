use axum::Router;
use ropewalk_scoring::{Scoring, ScoringLimits, router};
use serde_json::{Value, json};

use crate::world::{get, host, load, post_json, routes};

const MODELS: [&str; 5] = ["columns", "flight delays?1=columns", "matrix", "nothing", "python"];

async fn document(router: &Router) -> Value {
    let answer = get(router, "/openapi.json").await;
    assert_eq!(answer.status, 200);
    answer.json()
}

fn each<'a>(value: &'a Value, see: &mut impl FnMut(&'a Value)) {
    see(value);
    match value {
        Value::Object(entries) => entries.values().for_each(|inner| each(inner, see)),
        Value::Array(values) => values.iter().for_each(|inner| each(inner, see)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_resolves_and_every_operation_has_its_own_id() {
    let document = document(&routes(&MODELS).await).await;
    assert_eq!(document["openapi"], "3.1.1");
    let (mut references, mut ids) = (Vec::new(), Vec::new());
    each(&document, &mut |value| {
        references.extend(value.get("$ref").and_then(Value::as_str));
        ids.extend(value.get("operationId").and_then(Value::as_str));
    });
    assert!(references.len() > 20);
    for reference in references {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{name}");
    }
}

#[tokio::test]
async fn every_parameter_of_a_path_is_declared_and_every_operation_answers() {
    let document = document(&routes(&MODELS).await).await;
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            assert!(operation["responses"].get("200").is_some(), "{path}");
            let empty = Vec::new();
            let declared = operation["parameters"].as_array().unwrap_or(&empty);
            let of_path: Vec<&Value> = declared.iter().filter(|one| one["in"] == "path").collect();
            let wanted = path.matches('{').count();
            assert_eq!(of_path.len(), wanted, "{path}");
            assert!(of_path.iter().all(|one| one["required"] == true));
        }
    }
}

#[tokio::test]
async fn the_examples_are_answered() {
    let router = routes(&MODELS).await;
    let document = document(&router).await;
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let is_ours = path.starts_with("/predict/") || path.starts_with("/models/");
        if !is_ours || path.contains('{') || path.contains("/nothing") {
            continue;
        }
        let example = &item["post"]["requestBody"]["content"]["application/json"]["example"];
        let answer = post_json(&router, path, example.to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        asked += 1;
    }
    assert_eq!(asked, 8);
}

#[tokio::test]
async fn rows_are_described_as_the_model_takes_them() {
    let document = document(&routes(&MODELS).await).await;
    let row = &document["components"]["schemas"]["model.columns.Row"];
    assert_eq!(row["required"], json!(["carrier", "distance", "hour"]));
    assert_eq!(row["additionalProperties"], false);
    assert_eq!(row["properties"]["hour"]["type"], "integer");
    assert_eq!(row["properties"]["distance"]["type"], json!(["number", "null"]));
    let matrix = &document["components"]["schemas"]["model.matrix.Row"]["anyOf"];
    assert_eq!(matrix[0]["properties"]["x"]["minItems"], 3);
    assert_eq!((&matrix[1]["minProperties"], &matrix[1]["maxProperties"]), (&json!(3), &json!(3)));
}

#[tokio::test]
async fn the_document_follows_what_is_loaded() {
    let host = host(&["columns"]).await;
    let router = router(host.clone(), ScoringLimits::default());
    let has = async |path: &str| document(&router).await["paths"].get(path).is_some();
    assert!(has("/predict/columns").await && !has("/predict/matrix").await);
    load(&host, "matrix").await;
    assert!(has("/predict/matrix").await);
    load(&host, "columns=python").await;
    let required = document(&router).await["components"]["schemas"]["model.columns.Row"]["required"].clone();
    assert_eq!(required, json!(["a", "b"]));
}

#[tokio::test]
async fn the_page_has_a_labelled_form_for_each_model_and_no_foreign_content() {
    let router = routes(&MODELS).await;
    let page = get(&router, "/docs").await;
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(page.text.matches(&format!("nonce=\"{nonce}\"")).count(), 2, "one style and one script");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    assert!(MODELS.iter().all(|model| !page.text.contains(&format!("predict/{model}"))), "it names no model");
    let forms = get(&router, "/docs/models").await;
    assert_eq!(forms.status, 200);
    assert!(forms.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    assert_eq!(forms.text.matches("<form").count(), 4);
    assert!(forms.text.contains("data-path=\"predict/flight%20delays%3F1\""), "{}", forms.text);
    assert!(forms.text.contains("This model has no inputs"));
    let whole = format!("{}{}", page.text, forms.text);
    assert!(!whole.contains("http://") && !whole.contains("https://") && !whole.contains("style=\""));
    for id in whole.split("<label for=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert_eq!(whole.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
    }
    let again = get(&router, "/docs").await;
    assert_ne!(again.headers["content-security-policy"], page.headers["content-security-policy"]);
    assert!(get(&routes(&[]).await, "/docs/models").await.text.contains("No model is loaded."));
    let others = Scoring::new(host(&["columns", "matrix"]).await, ScoringLimits::default());
    let others = others.with_permission(|_, model| model != "matrix").router();
    for path in ["/docs/models", "/openapi.json"] {
        let described = get(&others, path).await.text;
        assert!(described.contains("predict/columns") && !described.contains("matrix"), "{path}");
    }
}

#[tokio::test]
async fn a_model_of_images_has_no_example() {
    let router = routes(&["image", "matrix"]).await;
    let whole = get(&router, "/openapi.json").await;
    assert!(whole.text.len() < 100_000, "{}", whole.text.len());
    let document = whole.json();
    let example =
        |path: &str| document["paths"][path]["post"]["requestBody"]["content"]["application/json"].get("example");
    for path in ["/predict/MODEL", "/models/MODEL/invocations", "/v2/models/MODEL/infer"] {
        assert_eq!(example(&path.replace("MODEL", "image")), None, "{path}");
        assert!(example(&path.replace("MODEL", "matrix")).is_some(), "{path}");
    }
    let items = document["components"]["schemas"]["model.image.Row"]["properties"]["x"]["items"].clone();
    assert_eq!((&items["minItems"], &items["items"]["maxItems"]), (&json!(224), &json!(224)));
    let forms = get(&router, "/docs/models").await.text;
    assert!(forms.len() < 20_000, "{}", forms.len());
    assert!(forms.contains("[3, 224, 224]") && forms.contains("[0.5,0.5,0.5]"), "{forms}");
}
