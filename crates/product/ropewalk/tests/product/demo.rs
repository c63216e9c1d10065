use std::process::{Command, Stdio};

use ropewalk_store::Store;
use serde_json::{Value, json};

use crate::harness::{Lines, Project, Running, python, script};

/// One project made by the demo, then looked at from every side: making it anew for each question would cost minutes.
#[test]
fn the_demo_does_everything_and_its_project_answers() {
    let project = Project::new();
    let told = project.json(&["demo", "--dir", "demo"]);
    everything_was_done(&told);
    the_page_needs_nothing_else(&project);
    a_collection_keeps_what_was_made(&project);
    a_second_demo_executes_no_stage(&project);
    the_thread_goes_back_to_the_source(&project, &told);
    what_is_watched_is_in_the_trail(&project);
    listings_agree(&project);
    the_logs_can_be_asked(&project, &told);
    served_to_foreign_clients(&project);
}

fn in_demo(project: &Project, arguments: &[&str]) -> Value {
    let folder = project.path("demo");
    project.json(&[&["--project", folder.to_str().expect("text")], arguments].concat())
}

fn everything_was_done(told: &Value) {
    let steps: Vec<&str> =
        told["steps"].as_array().expect("steps").iter().filter_map(|step| step["name"].as_str()).collect();
    for step in ["flights", "weather", "features", "train", "register", "serve", "replay", "monitor", "trace"] {
        assert!(steps.contains(&step), "{step} is missing in {steps:?}");
    }
    assert!(told["auc"].as_f64().expect("auc") >= 0.66, "{told}");
    assert_eq!(told["gate"]["held"], true);
    assert_eq!(told["model"], "models:/flight-delays/1");
    let drifted = told["drifted_columns"].as_array().expect("drifted columns");
    assert!(drifted.contains(&json!("temp")), "the seasons must be found: {drifted:?}");
}

fn the_page_needs_nothing_else(project: &Project) {
    let page = std::fs::read_to_string(project.path("demo/report.html")).expect("page");
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme"));
    let addresses = ["src=", "href=\"http", "url(", "@import", "<script", "<link"];
    assert!(addresses.iter().all(|address| !page.contains(address)), "the page must be self-contained");
}

/// What comes after reads all of it again: the model is served, the rows that it learnt from are compared, the thread is
/// followed.
fn a_collection_keeps_what_was_made(project: &Project) {
    const STORE: &str = "demo/.ropewalk/store";
    let scrap = project
        .in_store(STORE, async |store: Store| store.put_bytes("nobody needs it".into()).await.expect("put").digest);
    let gone = in_demo(project, &["data", "gc", "--grace", "0"]);
    assert!(gone["removed"]["pieces"].as_u64() > Some(0), "{gone}");
    assert!(!project.in_store(STORE, async |store: Store| store.contains(&scrap).await.expect("the store")));
    let verified = in_demo(project, &["data", "verify"]);
    assert_eq!((&verified["damaged"], &verified["missing"]), (&json!([]), &json!([])), "{verified}");
}

fn the_logs_can_be_asked(project: &Project, told: &Value) {
    let sample = told["sample_prediction_id"].as_str().expect("sample");
    let question = format!("SELECT model, version, \"rows\", inputs FROM predictions WHERE prediction = '{sample}'");
    let found = in_demo(project, &["sql", &question]);
    let row = &found[0];
    assert_eq!(
        (&row["model"], &row["version"], &row["rows"]),
        (&json!("flight-delays"), &json!(1), &json!(1)),
        "{found}"
    );
    assert!(row["inputs"].as_str().is_some_and(|inputs| inputs.contains("carrier")), "{found}");
    let question = "SELECT m.value AS auc, p.value AS trees FROM runs r JOIN run_metrics m ON m.run_id = r.run_id \
                    JOIN run_params p ON p.run_id = r.run_id \
                    WHERE r.stage = 'train' AND m.key = 'auc' AND p.key = 'trees'";
    let found = in_demo(project, &["sql", question]);
    let (auc, expected) = (found[0]["auc"].as_f64().expect("a figure"), told["auc"].as_f64().expect("auc"));
    assert!((auc - expected).abs() < 1e-9, "{found}");
    assert!(found[0]["trees"].as_str().is_some_and(|trees| trees.parse::<u32>().is_ok()), "{found}");
}

fn a_second_demo_executes_no_stage(project: &Project) {
    let again = project.json(&["demo", "--dir", "demo"]);
    assert_eq!(again["executed_stages"], 0);
    for step in again["steps"].as_array().expect("steps") {
        let name = step["name"].as_str().expect("name");
        let expected = if ["serve", "monitor", "trace"].contains(&name) { "executed" } else { "cached" };
        assert_eq!(step["state"], expected, "{name}");
    }
    assert!(project.succeed(&["demo", "--dir", "demo"]).contains("no stage was executed"));
}

fn the_thread_goes_back_to_the_source(project: &Project, told: &Value) {
    let prediction = format!("prediction:{}", told["sample_prediction_id"].as_str().expect("sample"));
    let thread = in_demo(project, &["trace", &prediction]).to_string();
    let bytes = std::fs::read(project.path("demo/data/flights-2013.zip")).expect("source");
    let source = format!("file:data/flights-2013.zip#{}", ropewalk_types::Digest::of(&bytes));
    for part in
        ["models:/flight-delays/1", "runs:/", "stage:train@", "data:features@", "data:flights@", "code:", &source]
    {
        assert!(thread.contains(part), "{part} is missing in {thread}");
    }
}

/// Monitoring reads what models were asked, what they learnt from, and the labels.
fn what_is_watched_is_in_the_trail(project: &Project) {
    let trail = in_demo(project, &["data", "audit", "--limit", "1000"]);
    let watched = trail.as_array().expect("trail").iter().filter(|entry| entry["details"]["what"] == "monitor");
    let objects: Vec<_> = watched.map(|entry| entry["object"].as_str().expect("object")).collect();
    let read = |object: &str| objects.iter().filter(|one| one.starts_with(object)).count();
    // The features are what the model learnt from, and hold the labels.
    let (asked, features) = (read("data:predictions"), read("data:features@"));
    assert!(asked > 0 && features == 2 * asked, "{objects:?}");
}

fn listings_agree(project: &Project) {
    let datasets = in_demo(project, &["data", "ls"]);
    let flights = datasets.as_array().expect("rows").iter().find(|row| row["name"] == "flights").expect("flights");
    assert_eq!(flights["zone"], "raw");
    assert!(flights["quarantined"].as_u64().expect("count") > 0, "the sheets' defects must be in quarantine");
    let shown = in_demo(project, &["data", "show", "flights"]);
    let aside = shown["quarantine"].as_array().expect("rows");
    assert_eq!(aside.len() as u64, shown["report"]["quarantined"].as_u64().expect("count"));
    let footer = aside.iter().find(|row| row["text"] == "Total").expect("the footer of a sheet");
    assert_eq!((&footer["file"], &footer["row"]), (&json!("flights-2013-02.xlsx"), &json!(3564)), "{footer}");
    let counted = in_demo(project, &["sql", "SELECT count(*) AS n FROM flights"]);
    assert_eq!(counted[0]["n"], flights["rows"]);
    let models = in_demo(project, &["models", "ls"]);
    assert_eq!(models[0]["aliases"]["champion"], 1);
    let runs = in_demo(project, &["runs", "ls"]);
    assert!(runs.as_array().expect("runs").iter().all(|run| run["info"]["status"] == "FINISHED"), "{runs}");
    let status = in_demo(project, &["status"]);
    assert!(status.as_array().expect("stages").iter().all(|stage| stage["up_to_date"] == true), "{status}");
    let findings = in_demo(project, &["doctor"]);
    assert!(findings.as_array().expect("findings").iter().all(|finding| finding["good"] == true), "{findings}");
}

/// `ropewalk serve` on free ports, asked by tritonclient and onnxruntime.
fn served_to_foreign_clients(project: &Project) {
    let folder = project.path("demo");
    let arguments = ["--project", folder.to_str().expect("text"), "serve", "--rest-port", "0", "--grpc-port", "0"];
    let arguments = [arguments.as_slice(), &["--output", "json"]].concat();
    let child = project.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("serve");
    let mut server = Running(child);
    let told = Lines::of(server.0.stdout.take().expect("piped")).object();
    let rows = in_demo(project, &["sql", "SELECT * FROM features WHERE split = 'test' ORDER BY flight_id LIMIT 64"]);
    let columns = columns(rows.as_array().expect("rows"));
    project.write("columns.json", &columns.to_string());
    let status = Command::new(python())
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(script("test_open_inference.py"))
        .env("REST_URL", told["rest_url"].as_str().expect("url"))
        .env("GRPC_URL", told["grpc_url"].as_str().expect("url"))
        .env("MODEL", "flight-delays")
        .env("COLUMNS", project.path("columns.json"))
        .status()
        .expect("pytest");
    assert!(status.success(), "tritonclient must be answered alike over every protocol");
    onnxruntime_agrees(project, &told, &columns);
}

/// Rows of objects as one list for each column.
fn columns(rows: &[Value]) -> Value {
    let names = rows[0].as_object().expect("row").keys();
    names.map(|name| (name.clone(), rows.iter().map(|row| row[name].clone()).collect::<Value>())).collect()
}

/// The answers that we serve are those of onnxruntime for the same file and the same raw columns.
fn onnxruntime_agrees(project: &Project, told: &Value, columns: &Value) {
    let url = format!("{}/v2/models/flight-delays", told["rest_url"].as_str().expect("url"));
    let answer = ask(&url, columns);
    let output = |name: &str| {
        let outputs = answer["outputs"].as_array().expect("outputs");
        outputs.iter().find(|output| output["name"] == name).expect(name)["data"].clone()
    };
    let flat = output("probability");
    let pairs: Value = flat.as_array().expect("numbers").chunks(2).map(|pair| json!(pair)).collect();
    let expected = json!({ "label": output("label"), "probability": pairs });
    project.write("expected.json", &expected.to_string());
    let model = model_file(project);
    let status = Command::new(python())
        .arg(script("check_onnx.py"))
        .args([model, project.path("columns.json"), project.path("expected.json")])
        .status()
        .expect("python");
    assert!(status.success(), "onnxruntime must give the same numbers");
}

/// Asks as a person with `curl` would: raw columns, one list each.
fn ask(url: &str, columns: &Value) -> Value {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().expect("client");
        let metadata: Value = client.get(url).send().await.expect("metadata").json().await.expect("JSON");
        let inputs: Vec<Value> = metadata["inputs"]
            .as_array()
            .expect("inputs")
            .iter()
            .map(|input| {
                let name = input["name"].as_str().expect("name");
                let rows = columns[name].as_array().expect("column").len();
                json!({ "name": name, "datatype": input["datatype"], "shape": [rows, 1], "data": columns[name] })
            })
            .collect();
        let request = json!({ "id": "by hand", "inputs": inputs });
        let answer = client.post(format!("{url}/infer")).json(&request).send().await.expect("answer");
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["id"], "by hand");
        assert!(answer["parameters"]["prediction_id"].is_string(), "{answer}");
        answer
    })
}

/// The registered model's file, read out of the project's store.
fn model_file(project: &Project) -> std::path::PathBuf {
    let models = in_demo(project, &["models", "ls"]);
    let digest: ropewalk_types::Digest =
        models[0]["latest"]["digest"].as_str().expect("digest").parse().expect("digest");
    let path = project.path("model.onnx");
    project
        .in_store("demo/.ropewalk/store", async |store: Store| store.materialize(&digest, &path).await.expect("model"));
    path
}
