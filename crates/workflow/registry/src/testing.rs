use std::sync::Arc;

use async_trait::async_trait;
use ropewalk_catalog::{Catalog, CatalogError, Connection, query};
use ropewalk_types::{Alias, Digest, ElementType, ManualAmbient, ModelName, RunId, Signature, TensorSpec};

use crate::{Evidence, Facts, MIGRATIONS, Metrics, ModelVersion, NewVersion, Registry, SourcedVersion};

/// The `auc` of version N is the figure at N - 1.
#[derive(Debug)]
pub(crate) struct Figures(pub(crate) Vec<f64>);

#[async_trait]
impl Evidence for Figures {
    async fn facts(&self, _: &mut Connection, version: &ModelVersion) -> Result<Facts, String> {
        let figure = self.0.get(version.version as usize - 1).ok_or("the run was deleted")?;
        Ok(Facts { metrics: Metrics::from([("auc".to_owned(), *figure)]), ..Facts::default() })
    }
}

pub(crate) async fn catalog() -> Catalog {
    let sets = [ropewalk_lineage::MIGRATIONS, ropewalk_tracking::MIGRATIONS, MIGRATIONS];
    Catalog::in_memory(&sets).await.expect("catalog")
}

/// Versions are judged by their runs.
pub(crate) async fn registry() -> (Catalog, Registry) {
    let catalog = catalog().await;
    (catalog.clone(), Registry::new(catalog, Arc::new(ManualAmbient::default())))
}

pub(crate) fn name(text: &str) -> ModelName {
    ModelName::new(text).expect(text)
}

pub(crate) fn alias(text: &str) -> Alias {
    Alias::new(text).expect(text)
}

pub(crate) fn new_version(model: &str, run: RunId, bytes: &[u8]) -> NewVersion {
    let spec = |name: &str, datatype| TensorSpec { name: name.to_owned(), datatype, shape: vec![-1, 1] };
    NewVersion {
        name: name(model),
        run,
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

/// A version of `source` without anything else.
pub(crate) fn sourced(model: &str, source: &str) -> SourcedVersion {
    SourcedVersion {
        name: name(model),
        source: source.to_owned(),
        run: None,
        logged_model: None,
        run_link: String::new(),
        description: None,
        tags: Vec::new(),
        user: None,
    }
}

pub(crate) async fn execute(catalog: &Catalog, sql: &'static str) {
    let done: Result<u64, CatalogError> =
        catalog.write(move |connection| Box::pin(async move { query(sql).execute(connection).await })).await;
    done.expect(sql);
}
