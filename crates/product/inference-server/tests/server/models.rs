use std::sync::Arc;

use bytes::Bytes;
use ropewalk_config::{ModelControl, ModelPlace};
use ropewalk_serving::{HostedModel, ModelSettings};
use ropewalk_store::files;
use ropewalk_types::{Digest, ModelName};
use serde_json::Value;

use crate::world::{World, client, doubling, row};

fn write(world: &World, path: &str, bytes: &[u8]) {
    let path = world.path(path);
    files::create_directories(path.parent().expect("folder")).expect("folders");
    files::write_atomic(&path, bytes).expect("write");
}

#[tokio::test]
async fn a_file_is_an_endpoint() {
    let world = World::start(|_| ()).await;
    let answer = client().post(world.infer_url()).json(&row()).send().await.expect("answer");
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["outputs"][0]["data"][0], 42.0);
    world.server.stop().await.expect("stopped");
}

#[tokio::test]
async fn until_models_are_loaded_it_only_lives() {
    let folder = tempfile::tempdir().expect("folder");
    let world = World::of(folder, |_| ()).await.expect("server");
    let status = async |path: &str| client().get(world.url(path)).send().await.expect("answer").status().as_u16();
    assert_eq!(status("/v2/health/live").await, 200);
    assert_eq!(status("/v2/health/ready").await, 503);
    let refused = client().post(world.infer_url()).json(&row()).send().await.expect("answer");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    world.server.ready();
    assert_eq!(status("/v2/health/ready").await, 200);
}

#[tokio::test]
async fn clients_decide_what_of_a_folder_is_loaded() {
    let folder = tempfile::tempdir().expect("folder");
    let place = ModelPlace::Path { name: None, path: folder.path().to_owned() };
    let model = folder.path().join("hemp/1");
    files::create_directories(&model).expect("folders");
    files::write_atomic(&model.join("model.onnx"), &doubling()).expect("model");
    let change = |serve: &mut ropewalk_config::Serve| {
        serve.models = vec![place];
        serve.model_control = ModelControl::Explicit;
    };
    let world = World::of(folder, change).await.expect("server");
    let index = world.repository.index().await.expect("index");
    assert_eq!(index.iter().map(|entry| (entry.name.as_str(), entry.loaded)).collect::<Vec<_>>(), [("hemp", false)]);
    assert!(world.server.models().is_empty());
    world.repository.load("hemp").await.expect("loaded");
    assert_eq!(world.server.models().len(), 1);
    assert!(world.repository.index().await.expect("index")[0].loaded);
    assert!(world.repository.load("jute").await.is_err());
    assert!(world.repository.unload("hemp").await && !world.repository.unload("hemp").await);
    assert!(world.server.models().is_empty());
}

#[tokio::test]
async fn a_folder_that_changes_is_followed() {
    let folder = tempfile::tempdir().expect("folder");
    let place = ModelPlace::Path { name: None, path: folder.path().to_owned() };
    let first = folder.path().join("hemp");
    files::create_directories(&first).expect("folders");
    files::write_atomic(&first.join("model.onnx"), &doubling()).expect("model");
    // The second look is this test's, not the clock's.
    let change = |serve: &mut ropewalk_config::Serve| {
        serve.models = vec![place];
        serve.model_control = ModelControl::Poll;
        serve.poll_seconds = 3600;
    };
    let world = World::of(folder, change).await.expect("server");
    let names = || world.server.models().iter().map(|model| model.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(), ["hemp"]);
    write(&world, "jute/model.onnx", &doubling());
    assert_eq!(world.repository.poll().await, Vec::<String>::new());
    assert_eq!(names(), ["hemp", "jute"]);
    write(&world, "jute/model.onnx", b"no graph at all");
    assert_eq!(world.repository.poll().await.len(), 1);
    assert_eq!(names(), ["hemp", "jute"], "what was loaded stays");
    files::remove_directory(&world.path("hemp")).expect("removed");
    files::remove_directory(&world.path("jute")).expect("removed");
    write(&world, "sisal/model.onnx", &doubling());
    assert_eq!(world.repository.poll().await, Vec::<String>::new());
    assert_eq!(names(), ["sisal"]);
}

#[tokio::test]
async fn a_configuration_that_disagrees_with_its_model_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let model = folder.path().join("hemp");
    files::create_directories(&model.join("1")).expect("folders");
    files::write_atomic(&model.join("1/model.onnx"), &doubling()).expect("model");
    let config = "max_batch_size: 8 input { name: \"z\" data_type: TYPE_FP32 dims: 1 }";
    files::write_atomic(&model.join("config.pbtxt"), config.as_bytes()).expect("config");
    let place = ModelPlace::Path { name: None, path: folder.path().to_owned() };
    let error = World::of(folder, |serve| serve.models = vec![place]).await.err().expect("refused").to_string();
    assert!(error.contains("declares input `z`"), "{error}");
}

/// The version that answers is not given up for one that is refused.
#[tokio::test]
async fn a_configuration_that_disagrees_later_leaves_what_was_loaded() {
    let folder = tempfile::tempdir().expect("folder");
    let place = ModelPlace::Path { name: None, path: folder.path().join("models") };
    let model = folder.path().join("models/rope");
    files::create_directories(&model.join("1")).expect("folders");
    files::write_atomic(&model.join("1/model.onnx"), &doubling()).expect("model");
    let change = |serve: &mut ropewalk_config::Serve| {
        serve.models = vec![place];
        serve.model_control = ModelControl::Poll;
        serve.poll_seconds = 3600;
    };
    let world = World::of(folder, change).await.expect("server");
    world.server.ready();
    write(&world, "models/rope/config.pbtxt", b"input { name: \"z\" data_type: TYPE_FP32 dims: 1 }");
    let error = world.repository.load("rope").await.expect_err("refused").to_string();
    assert!(error.contains("declares input `z`") && error.contains("model.onnx"), "{error}");
    assert_eq!(client().post(world.infer_url()).json(&row()).send().await.expect("answer").status(), 200);
    let entry = world.repository.index().await.expect("index").remove(0);
    assert!(entry.loaded, "{entry:?}");
}

#[tokio::test]
async fn clients_unload_what_the_repository_has_and_nothing_else() {
    let folder = tempfile::tempdir().expect("folder");
    let world = World::of(folder, |serve| serve.model_control = ModelControl::Explicit).await.expect("server");
    world.server.ready();
    // As a model of the registry gets there.
    let name = ModelName::new("champion").expect("name");
    let (digest, settings) = (Digest::of(b""), ModelSettings::default());
    let source = Bytes::from(doubling()).into();
    world.server.host().load(HostedModel { name, version: 3, digest, source, settings }).await.expect("loaded");
    world.repository.load("rope").await.expect("loaded");
    let unload = async |name: &str| {
        let ask = client().post(world.url(&format!("/v2/repository/models/{name}/unload")));
        let answer = ask.send().await.expect("answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let (status, said) = unload("champion").await;
    assert_eq!(status, 400, "{said}");
    assert!(said.contains("failed to unload 'champion'") && said.contains("follows its alias"), "{said}");
    assert_eq!(unload("nobody").await.0, 200, "what is not loaded is no error, as with Triton");
    assert_eq!(unload("rope").await.0, 200);
    let names: Vec<_> = world.server.models().iter().map(|model| model.name.to_string()).collect();
    assert_eq!(names, ["champion"]);
}

/// A server of the folder `models`, which is looked at as this test says.
async fn watching(control: ModelControl, models: &[&str]) -> World {
    let folder = tempfile::tempdir().expect("folder");
    let place = ModelPlace::Path { name: None, path: folder.path().join("models") };
    for model in models {
        let version = folder.path().join("models").join(model).join("1");
        files::create_directories(&version).expect("folders");
        files::write_atomic(&version.join("model.onnx"), &doubling()).expect("model");
    }
    let change = |serve: &mut ropewalk_config::Serve| {
        serve.models = vec![place];
        serve.model_control = control;
        serve.poll_seconds = 3600;
    };
    World::of(folder, change).await.expect("server")
}

#[tokio::test]
async fn a_model_that_is_half_copied_hides_no_other() {
    let world = watching(ModelControl::Explicit, &["hemp"]).await;
    world.server.ready();
    write(&world, "models/jute/1/weights.bin", b"the graph comes later");
    world.repository.load("hemp").await.expect("loaded");
    let error = world.repository.load("jute").await.expect_err("no graph").to_string();
    assert!(error.contains("jute") && error.contains("model.onnx"), "{error}");
    let index = client().post(world.url("/v2/repository/index")).send().await.expect("answer");
    assert_eq!(index.status(), 200);
    let index: Value = index.json().await.expect("JSON");
    let states: Vec<_> = (0..2).map(|place| (index[place]["name"].as_str(), index[place]["state"].as_str())).collect();
    assert_eq!(states, [(Some("hemp"), Some("READY")), (Some("jute"), Some("UNAVAILABLE"))], "{index}");
    assert!(index[1]["reason"].as_str().expect("text").contains("model.onnx"), "{index}");
}

#[tokio::test]
async fn a_look_goes_on_where_one_model_is_not_right() {
    let world = watching(ModelControl::Poll, &["hemp", "jute"]).await;
    let names = || world.server.models().iter().map(|model| model.name.to_string()).collect::<Vec<_>>();
    files::remove_file(&world.path("models/hemp/1/model.onnx")).expect("removed");
    files::remove_directory(&world.path("models/jute")).expect("removed");
    write(&world, "models/sisal/1/model.onnx", &doubling());
    let problems = world.repository.poll().await;
    assert!(problems.len() == 1 && problems[0].contains("hemp"), "{problems:?}");
    assert_eq!(names(), ["hemp", "sisal"], "what cannot be read stays, what is gone goes, what is new comes");
    // What was named is gone as a whole, as a volume that is not mounted.
    files::remove_directory(&world.path("models")).expect("removed");
    assert_eq!(world.repository.poll().await.len(), 1);
    assert_eq!(names(), ["hemp", "sisal"]);
}

#[tokio::test]
async fn a_change_of_what_belongs_to_a_model_is_seen() {
    let world = watching(ModelControl::Poll, &["hemp"]).await;
    let labels = || world.server.host().settings("hemp", None).expect("loaded").labels.get("y").cloned();
    let config = b"output { name: \"y\" data_type: TYPE_FP32 dims: 1 label_filename: \"labels.txt\" }";
    write(&world, "models/hemp/labels.txt", b"late");
    write(&world, "models/hemp/config.pbtxt", config);
    assert_eq!(world.repository.poll().await, Vec::<String>::new());
    assert_eq!(labels().expect("labels").to_vec(), ["late"]);
    write(&world, "models/hemp/labels.txt", b"later");
    assert_eq!(world.repository.poll().await, Vec::<String>::new());
    assert_eq!(labels().expect("labels").to_vec(), ["later"]);
    let served = || world.server.host().settings("hemp", None).expect("loaded");
    let before = served();
    assert_eq!(world.repository.poll().await, Vec::<String>::new());
    assert!(Arc::ptr_eq(&before, &served()), "nothing has changed");
    write(&world, "models/hemp/1/model.onnx.data", b"tensors");
    assert_eq!(world.repository.poll().await, Vec::<String>::new());
    assert!(!Arc::ptr_eq(&before, &served()), "it was loaded again");
}

#[tokio::test]
async fn a_change_in_a_folder_of_mlflows_model_is_seen_and_what_is_not_watched_is_told() {
    let world = watching(ModelControl::Poll, &["hemp"]).await;
    write(&world, "models/jute/MLmodel", b"flavors: {onnx: {data: model.onnx}}");
    write(&world, "models/jute/model.onnx", &doubling());
    write(&world, "models/jute/a/b/c/d/e/f/g/h/i/rope", b"");
    let told = world.repository.poll().await;
    assert!(told.len() == 1 && told[0].contains("jute has more than is watched"), "{told:?}");
    let served = || world.server.host().settings("jute", None).expect("loaded");
    let before = served();
    assert_eq!(world.repository.poll().await, Vec::<String>::new());
    assert!(Arc::ptr_eq(&before, &served()), "nothing has changed");
    write(&world, "models/jute/code/rope.py", b"hemp");
    assert_eq!(world.repository.poll().await, told);
    assert!(!Arc::ptr_eq(&before, &served()), "it was loaded again");
}
