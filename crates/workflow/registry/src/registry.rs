use std::sync::Arc;

use ropewalk_catalog::{Catalog, CatalogError};
use ropewalk_types::{Alias, ModelName, Timestamp, Uri};
use sqlx::Any;
use sqlx::pool::PoolConnection;

use crate::{
    AliasChange, MetricSource, ModelVersion, NewVersion, Promotion, PromotionRequest, RegisteredModel, RegistryError,
    promotion, version,
};

/// The registry over a catalogue: each call is a read, or a write of its own.
///
/// The free functions of this crate do the same in the caller's transaction.
#[derive(Clone, Debug)]
pub struct Registry {
    catalog: Catalog,
}

impl Registry {
    /// Over a catalogue that was opened with [`crate::MIGRATIONS`] and those of `ropewalk_lineage`.
    pub fn new(catalog: Catalog) -> Self {
        Self { catalog }
    }

    async fn reader(&self) -> Result<PoolConnection<Any>, RegistryError> {
        Ok(self.catalog.pool().acquire().await.map_err(CatalogError::from)?)
    }

    /// See [`crate::version_register`].
    pub async fn version_register(&self, new: NewVersion, at: Timestamp) -> Result<ModelVersion, RegistryError> {
        let work = self
            .catalog
            .write(move |connection| Box::pin(async move { version::version_register(connection, &new, at).await }));
        work.await
    }

    /// See [`crate::promote`].
    pub async fn promote(
        &self,
        request: PromotionRequest,
        metrics: Arc<dyn MetricSource>,
    ) -> Result<Promotion, RegistryError> {
        let work = self.catalog.write(move |connection| {
            Box::pin(async move { promotion::promote(connection, &request, metrics.as_ref()).await })
        });
        work.await
    }

    /// See [`crate::version_get`].
    pub async fn version_get(&self, name: &ModelName, version: u64) -> Result<ModelVersion, RegistryError> {
        version::version_get(&mut *self.reader().await?, name, version).await
    }

    /// See [`crate::version_list`].
    pub async fn version_list(&self, name: &ModelName) -> Result<Vec<ModelVersion>, RegistryError> {
        version::version_list(&mut *self.reader().await?, name).await
    }

    /// See [`crate::model_list`].
    pub async fn model_list(&self) -> Result<Vec<RegisteredModel>, RegistryError> {
        version::model_list(&mut *self.reader().await?).await
    }

    /// See [`crate::alias_get`].
    pub async fn alias_get(&self, name: &ModelName, alias: &Alias) -> Result<Option<ModelVersion>, RegistryError> {
        version::alias_get(&mut *self.reader().await?, name, alias).await
    }

    /// See [`crate::resolve`].
    pub async fn resolve(&self, uri: &Uri) -> Result<ModelVersion, RegistryError> {
        version::resolve(&mut *self.reader().await?, uri).await
    }

    /// See [`crate::alias_history`].
    pub async fn alias_history(&self, name: &ModelName) -> Result<Vec<AliasChange>, RegistryError> {
        promotion::alias_history(&mut *self.reader().await?, name).await
    }
}
