use ropewalk_lineage::upstream;
use ropewalk_types::{Diagnose, ManualAmbient, RunId};

use super::*;
use crate::ErrorKind;
use crate::testing::{alias, execute, name, new_version, registry, sourced};

const AT: Timestamp = Timestamp(1_700_000_000_000);

fn run(ambient: &ManualAmbient) -> RunId {
    RunId::new(ambient)
}

#[tokio::test]
async fn versions_count_from_one_and_come_back_whole() {
    let (catalog, registry) = registry().await;
    let ambient = ManualAmbient::default();
    let new = new_version("flight delays", run(&ambient), b"one");
    let first = registry.version_register(new.clone(), AT).await.expect("first");
    assert_eq!((first.version, first.created_at, first.updated_at, first.aliases.len()), (1, AT, AT, 0));
    assert_eq!((&first.name, first.run_id().expect("run"), &first.dataset), (&new.name, new.run, &new.dataset));
    let content = first.content().expect("content");
    assert_eq!(
        (&content.artifact, content.digest, content.size, &content.signature),
        (&new.artifact, new.digest, new.size, &new.signature)
    );
    assert_eq!(first.description.as_deref(), Some(new.description.as_str()));
    assert_eq!(first.source, format!("runs:/{}/model/model.onnx", new.run));
    assert_eq!((&first.storage, first.stage), (&first.source, Stage::None));
    let second =
        registry.version_register(new_version("flight delays", run(&ambient), b"two"), AT).await.expect("second");
    assert_eq!(second.version, 2);
    let other = registry.version_register(new_version("other", run(&ambient), b"one"), AT).await.expect("other");
    assert_eq!(other.version, 1);
    assert_eq!(registry.version_list(&new.name).await.expect("list"), [second.clone(), first.clone()]);
    let models = registry.model_list().await.expect("models");
    let newest: Vec<_> = models.iter().map(|model| model.newest().cloned().expect("newest")).collect();
    assert_eq!(newest, [second, other]);
    let steps = upstream(&catalog, &first.uri()).await.expect("lineage");
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].link.parent.to_string(), first.source);
    assert_eq!(steps[0].link.relation, Relation::Registered);
}

#[tokio::test]
async fn registering_again_gives_the_same_version() {
    let (_, registry) = registry().await;
    let new = new_version("m", run(&ManualAmbient::default()), b"one");
    let first = registry.version_register(new.clone(), AT).await.expect("first");
    let again = futures::future::join_all((0..20).map(|_| registry.version_register(new.clone(), Timestamp(5)))).await;
    for again in again {
        assert_eq!(again.expect("again"), first);
    }
    assert_eq!(registry.version_list(&new.name).await.expect("list").len(), 1);
}

#[tokio::test]
async fn many_at_once_get_different_numbers() {
    let (_, registry) = registry().await;
    let ambient = ManualAmbient::default();
    let versions: Vec<NewVersion> =
        (0..50).map(|_| new_version("m", run(&ambient), b"same bytes, other runs")).collect();
    let done = futures::future::join_all(versions.into_iter().map(|new| registry.version_register(new, AT))).await;
    let mut numbers: Vec<u64> = done.into_iter().map(|version| version.expect("version").version).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_deleted_version_takes_its_aliases_and_leaves_its_number_unused() {
    let (_, registry) = registry().await;
    registry.model_create(&name("m"), None, Vec::new()).await.expect("model");
    for _ in 0..2 {
        registry.version_create(sourced("m", "s3://b/m")).await.expect("version");
    }
    registry.version_tag_set(&name("m"), 2, "k", "v").await.expect("tag");
    registry.alias_set(&name("m"), &alias("champion"), 2, "ada", "").await.expect("alias");
    registry.version_delete(&name("m"), 2).await.expect("delete");
    assert!(registry.alias_get(&name("m"), &alias("champion")).await.expect("alias").is_none());
    let error = registry.version_get(&name("m"), 2).await.expect_err("deleted");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Absent, "registry.version_unknown"));
    assert_eq!(registry.version_create(sourced("m", "s3://b/m")).await.expect("next").version, 3);
    assert_eq!(registry.history(&name("m")).await.expect("history").len(), 1, "what was done stays known");
    registry.model_delete(&name("m")).await.expect("model deleted");
    assert_eq!(registry.model_get(&name("m")).await.expect_err("gone").kind(), ErrorKind::Absent);
    registry.model_create(&name("m"), None, Vec::new()).await.expect("again");
    assert_eq!(registry.version_create(sourced("m", "s3://b/m")).await.expect("first").version, 1);
}

#[tokio::test]
async fn a_new_name_takes_everything_along() {
    let (catalog, registry) = registry().await;
    let (old, new) = (name("old"), name("new"));
    registry.model_create(&old, Some("d"), vec![("team".to_owned(), "a".to_owned())]).await.expect("model");
    registry.model_create(&name("taken"), None, Vec::new()).await.expect("taken");
    let first = registry.version_create(sourced("old", "s3://b/m")).await.expect("version");
    registry.alias_set(&old, &alias("champion"), 1, "ada", "first").await.expect("alias");
    let taken = registry.model_rename(&old, &name("taken")).await.expect_err("taken");
    assert_eq!(taken.kind(), ErrorKind::Exists);
    let renamed = registry.model_rename(&old, &new).await.expect("renamed");
    assert_eq!((renamed.name.as_str(), renamed.description.as_deref()), ("new", Some("d")));
    assert_eq!(renamed.tags["team"], "a");
    assert_eq!(renamed.aliases[&alias("champion")], 1);
    assert!(renamed.updated_at > first.updated_at);
    assert!(registry.model_get(&old).await.is_err());
    assert_eq!(registry.history(&new).await.expect("history").len(), 1);
    assert_eq!(registry.version_get(&new, 1).await.expect("version").source, "s3://b/m");
    let steps = upstream(&catalog, &"models:/new/1".parse().expect("uri")).await.expect("lineage");
    assert_eq!(steps[0].link.parent.to_string(), "models:/old/1");
}

#[tokio::test]
async fn what_is_unknown_comes_with_a_suggestion() {
    let (_, registry) = registry().await;
    let resolve = async |text: &str| {
        let error = registry.resolve(&text.parse().expect(text)).await.expect_err(text);
        (error.code(), error.hint().expect("hint"))
    };
    assert_eq!(resolve("models:/m/1").await, ("registry.model_unknown", "no model is registered yet".to_owned()));
    let ambient = ManualAmbient::default();
    registry.version_register(new_version("flight-delays", run(&ambient), b"one"), AT).await.expect("one");
    registry.version_register(new_version("churn", run(&ambient), b"one"), AT).await.expect("two");
    let meant = ("registry.model_unknown", "did you mean `flight-delays`?".to_owned());
    assert_eq!(resolve("models:/flight_delay/1").await, meant);
    assert_eq!(resolve("models:/flight-delay@champion").await, meant);
    assert_eq!(resolve("models:/zzz/1").await.0, "registry.model_unknown");
    let newest = "the newest version is models:/flight-delays/1".to_owned();
    assert_eq!(resolve("models:/flight-delays/7").await, ("registry.version_unknown", newest.clone()));
    let huge = format!("models:/flight-delays/{}", u64::MAX);
    assert_eq!(resolve(&huge).await, ("registry.version_unknown", newest));
    let (code, hint) = resolve("models:/flight-delays@champion").await;
    assert_eq!(code, "registry.alias_unknown");
    assert!(hint.contains("no aliases yet"), "{hint}");
    assert_eq!(resolve("data:flights@1").await.0, "registry.not_a_model");
}

#[tokio::test]
async fn hostile_input_is_refused_before_anything_is_written() {
    let (_, registry) = registry().await;
    let ambient = ManualAmbient::default();
    for path in ["", "/etc/passwd", "../x", "a//b", "a/./b", "a\nb", "a/"] {
        let new = NewVersion { artifact: path.to_owned(), ..new_version("m", run(&ambient), b"one") };
        assert_eq!(registry.version_register(new, AT).await.expect_err(path).code(), "registry.artifact");
    }
    let new = NewVersion { size: u64::MAX, ..new_version("m", run(&ambient), b"one") };
    assert_eq!(registry.version_register(new, AT).await.expect_err("size").code(), "registry.too_large");
    assert!(registry.model_list().await.expect("models").is_empty());
}

#[tokio::test]
async fn a_source_must_belong_to_the_run_that_is_named() {
    let (_, registry) = registry().await;
    registry.model_create(&name("m"), None, Vec::new()).await.expect("model");
    let absent = run(&ManualAmbient::default()).to_string();
    for source in [
        "file:///etc/passwd",
        "/etc/passwd",
        "relative",
        "s3://b/../x",
        "s3://b/%252e%252e/x",
        "s3://b",
        "mlflow-artifacts:/0/x/artifacts",
        "https://h/api/2.0/mlflow-artifacts/artifacts/0/x",
        "runs:/other/model",
        "runs://host/model",
        "models:/m-1234",
        "models://host/m/1",
    ] {
        for run in [None, Some(absent.clone())] {
            let new = SourcedVersion { run, ..sourced("m", source) };
            let error = registry.version_create(new).await.expect_err(source);
            assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "registry.source"), "{source}: {error}");
        }
    }
    // A run that is kept elsewhere may still have made a model that lies elsewhere.
    let of = |source: String| SourcedVersion { run: Some(absent.clone()), ..sourced("m", &source) };
    let first = registry.version_create(of("s3://b/x".to_owned())).await.expect("elsewhere");
    assert_eq!((first.version, first.run.as_deref()), (1, Some(absent.as_str())));
    registry.version_create(of(format!("runs:/{absent}/model"))).await.expect("by its run");
    let unknown = registry.version_create(sourced("n", "s3://b/x")).await.expect_err("no model");
    assert_eq!(unknown.code(), "registry.model_unknown");
}

#[tokio::test]
async fn a_version_made_of_another_one_inherits_where_it_came_from() {
    let (catalog, registry) = registry().await;
    for model in ["m", "n"] {
        registry.model_create(&name(model), None, Vec::new()).await.expect("model");
    }
    let first = SourcedVersion { run: Some("r1".to_owned()), ..sourced("m", "s3://b/x") };
    registry.version_create(first).await.expect("first");
    registry.alias_set(&name("m"), &alias("champion"), 1, "ada", "").await.expect("alias");
    for source in ["models:/m/1", "models:/m@champion", "models:/m/latest", "models:/m/None"] {
        let copy = registry.version_create(sourced("n", source)).await.expect(source);
        assert_eq!((copy.source.as_str(), copy.storage.as_str()), ("models:/m/1", "s3://b/x"));
        assert_eq!(copy.run.as_deref(), Some("r1"));
        let steps = upstream(&catalog, &copy.uri()).await.expect("lineage");
        assert_eq!(steps[0].link.parent.to_string(), "models:/m/1");
    }
    let other = SourcedVersion { run: Some("r2".to_owned()), ..sourced("n", "models:/m/1") };
    assert_eq!(registry.version_create(other).await.expect_err("another run").code(), "registry.source");
    let absent = registry.version_create(sourced("n", "models:/m@nobody")).await.expect_err("no alias");
    assert_eq!((absent.kind(), absent.code()), (ErrorKind::Invalid, "registry.alias_unknown"));
}

#[tokio::test]
async fn prompts_have_a_placeholder_and_a_name_of_their_own() {
    let (_, registry) = registry().await;
    let tag = || vec![("mlflow.prompt.is_prompt".to_owned(), "true".to_owned())];
    registry.model_create(&name("p"), None, tag()).await.expect("prompt");
    let twice = registry.model_create(&name("p"), None, tag()).await.expect_err("twice");
    assert_eq!(twice.to_string(), "Prompt (name=p) already exists");
    let model = registry.model_create(&name("p"), None, Vec::new()).await.expect_err("a model");
    assert!(model.kind() == ErrorKind::Exists && model.to_string().contains("by a prompt"), "{model}");
    let version = SourcedVersion { tags: tag(), ..sourced("p", "dummy-source") };
    assert_eq!(registry.version_create(version).await.expect("version").tags.len(), 1);
    let placed = SourcedVersion { tags: tag(), ..sourced("p", "s3://b/x") };
    assert_eq!(registry.version_create(placed).await.expect_err("placed").code(), "registry.source");
    registry.model_create(&name("m"), None, Vec::new()).await.expect("model");
    assert_eq!(
        registry.version_create(sourced("m", "models:/p/1")).await.expect_err("of it").code(),
        "registry.source"
    );
    assert_eq!(registry.model_list().await.expect("models").len(), 1);
}

#[tokio::test]
async fn tags_are_set_once_and_checked() {
    let (_, registry) = registry().await;
    registry.model_create(&name("m"), None, Vec::new()).await.expect("model");
    registry.version_create(sourced("m", "s3://b/x")).await.expect("version");
    for value in ["1", "2"] {
        registry.model_tag_set(&name("m"), "k", value).await.expect("model's");
        registry.version_tag_set(&name("m"), 1, "k", value).await.expect("version's");
    }
    let model = registry.model_get(&name("m")).await.expect("model");
    assert_eq!((model.tags["k"].as_str(), model.latest[0].tags["k"].as_str()), ("2", "2"));
    let long = "x".repeat(crate::TAG_VALUE_CHARACTERS + 1);
    for (key, value) in [("../k", "v"), ("", "v"), ("k", long.as_str())] {
        assert_eq!(registry.model_tag_set(&name("m"), key, value).await.expect_err(key).kind(), ErrorKind::Invalid);
        let error = registry.version_tag_set(&name("m"), 1, key, value).await.expect_err(key);
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    registry.model_tag_delete(&name("m"), "k").await.expect("deleted");
    registry.version_tag_delete(&name("m"), 1, "absent").await.expect("nothing to delete");
    assert!(registry.model_get(&name("m")).await.expect("model").tags.is_empty());
}

#[tokio::test]
async fn a_damaged_row_is_named() {
    let (catalog, registry) = registry().await;
    registry.version_register(new_version("m", run(&ManualAmbient::default()), b"one"), AT).await.expect("version");
    execute(&catalog, "UPDATE model_version SET signature = '{'").await;
    let error = registry.version_get(&name("m"), 1).await.expect_err("damaged");
    assert_eq!(error.code(), "registry.damaged");
    assert!(error.to_string().contains("signature"), "{error}");
}
