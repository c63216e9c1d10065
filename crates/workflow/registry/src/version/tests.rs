use ropewalk_catalog::Catalog;
use ropewalk_types::{Ambient, Diagnose, Digest, ElementType, ManualAmbient, RunId, Signature, TensorSpec};

use super::*;
use crate::{MIGRATIONS, Registry};

const AT: Timestamp = Timestamp(1_700_000_000_000);

async fn registry() -> (Catalog, Registry) {
    let catalog = Catalog::in_memory(&[ropewalk_lineage::MIGRATIONS, MIGRATIONS]).await.expect("catalog");
    (catalog.clone(), Registry::new(catalog))
}

fn name(text: &str) -> ModelName {
    ModelName::new(text).expect(text)
}

fn new_version(model: &str, ambient: &dyn Ambient, bytes: &[u8]) -> NewVersion {
    let spec = |name: &str, datatype| TensorSpec { name: name.to_owned(), datatype, shape: vec![-1, 1] };
    NewVersion {
        name: name(model),
        run: RunId::new(ambient),
        artifact: "model/model.onnx".to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        signature: Signature {
            inputs: vec![spec("carrier", ElementType::Bytes), spec("distance", ElementType::Fp32)],
            outputs: vec![spec("probability", ElementType::Fp32)],
        },
        dataset: Some("data:features@0123".parse().expect("uri")),
        description: "first \u{1f9f5}".to_owned(),
    }
}

#[tokio::test]
async fn versions_count_from_one_and_come_back_whole() {
    let (catalog, registry) = registry().await;
    let ambient = ManualAmbient::default();
    let new = new_version("flight delays", &ambient, b"one");
    let first = registry.version_register(new.clone(), AT).await.expect("first");
    assert_eq!((first.version, first.created_at, first.aliases.len()), (1, AT, 0));
    assert_eq!(
        (&first.name, first.run, &first.artifact, first.digest, first.size, &first.signature, &first.dataset),
        (&new.name, new.run, &new.artifact, new.digest, new.size, &new.signature, &new.dataset)
    );
    assert_eq!(first.description, new.description);
    let second = registry.version_register(new_version("flight delays", &ambient, b"two"), AT).await.expect("second");
    assert_eq!(second.version, 2);
    let other = registry.version_register(new_version("other", &ambient, b"one"), AT).await.expect("other");
    assert_eq!(other.version, 1);
    let listed = registry.version_list(&new.name).await.expect("list");
    assert_eq!(listed, [second.clone(), first.clone()]);
    let models = registry.model_list().await.expect("models");
    assert_eq!(models.iter().map(|model| model.latest.clone()).collect::<Vec<_>>(), [second, other]);
    let steps = ropewalk_lineage::upstream(&catalog, &first.uri()).await.expect("lineage");
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].link.parent.to_string(), format!("runs:/{}/model/model.onnx", new.run));
    assert_eq!(steps[0].link.relation, Relation::Registered);
}

#[tokio::test]
async fn registering_again_gives_the_same_version() {
    let (_, registry) = registry().await;
    let new = new_version("m", &ManualAmbient::default(), b"one");
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
    let versions: Vec<NewVersion> = (0..50).map(|_| new_version("m", &ambient, b"same bytes, other runs")).collect();
    let done = futures::future::join_all(versions.into_iter().map(|new| registry.version_register(new, AT))).await;
    let mut numbers: Vec<u64> = done.into_iter().map(|version| version.expect("version").version).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_number_is_not_used_again() {
    let (catalog, registry) = registry().await;
    let ambient = ManualAmbient::default();
    registry.version_register(new_version("m", &ambient, b"one"), AT).await.expect("first");
    let deleted: Result<(), RegistryError> = catalog
        .write(|connection| {
            Box::pin(async move {
                sqlx::query("DELETE FROM model_version").execute(connection).await?;
                Ok(())
            })
        })
        .await;
    deleted.expect("delete");
    let next = registry.version_register(new_version("m", &ambient, b"two"), AT).await.expect("next");
    assert_eq!(next.version, 2);
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
    registry.version_register(new_version("flight-delays", &ambient, b"one"), AT).await.expect("one");
    registry.version_register(new_version("churn", &ambient, b"one"), AT).await.expect("two");
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
        let new = NewVersion { artifact: path.to_owned(), ..new_version("m", &ambient, b"one") };
        assert_eq!(registry.version_register(new, AT).await.expect_err(path).code(), "registry.artifact");
    }
    let new = NewVersion { size: u64::MAX, ..new_version("m", &ambient, b"one") };
    assert_eq!(registry.version_register(new, AT).await.expect_err("size").code(), "registry.too_large");
    assert!(registry.model_list().await.expect("models").is_empty());
}

#[tokio::test]
async fn a_damaged_row_is_named() {
    let (catalog, registry) = registry().await;
    registry.version_register(new_version("m", &ManualAmbient::default(), b"one"), AT).await.expect("version");
    let damaged: Result<(), RegistryError> = catalog
        .write(|connection| {
            Box::pin(async move {
                sqlx::query("UPDATE model_version SET signature = '{'").execute(connection).await?;
                Ok(())
            })
        })
        .await;
    damaged.expect("damage");
    let error = registry.version_get(&name("m"), 1).await.expect_err("damaged");
    assert_eq!(error.code(), "registry.damaged");
    assert!(error.to_string().contains("signature"), "{error}");
}
