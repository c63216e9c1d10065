use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use ropewalk_inference::Engine;
use ropewalk_pipeline::{
    Artifact, ArtifactKind, Executed, Failure, Input, Project, StageContext, StageKind, StageSpec,
};
use ropewalk_registry::{Gate, ModelVersion, NewVersion, Promotion, PromotionRequest, Registry, Target};
use ropewalk_store::Store;
use ropewalk_tracking::Tracking;
use ropewalk_types::{Alias, Diagnose, ModelName, RunId, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

/// A model becomes a version of a registered model, and an alias moves to it if the gate holds.
#[derive(Debug)]
pub(crate) struct RegisterKind {
    pub(crate) registry: Registry,
    pub(crate) tracking: Tracking,
    /// Reads the signature, and refuses a model that it could not serve.
    pub(crate) engine: Arc<dyn Engine>,
}

#[derive(Debug, Deserialize)]
struct Settings {
    name: ModelName,
    gate: Option<String>,
    alias: Option<Alias>,
}

/// The conditions under which an alias moves do not hold.
#[derive(Debug, thiserror::Error)]
#[error("the gate `{gate}` does not hold for {version}: {figures}")]
struct GateFailed {
    gate: String,
    version: Uri,
    figures: String,
}

impl Diagnose for GateFailed {
    fn code(&self) -> &'static str {
        "registry.gate_failed"
    }

    fn hint(&self) -> Option<String> {
        Some("the version is registered and the alias stays where it was".to_owned())
    }
}

#[async_trait]
impl StageKind for RegisterKind {
    fn name(&self) -> &'static str {
        "register"
    }

    fn revision(&self) -> u32 {
        1
    }

    async fn fingerprint(&self, spec: &StageSpec, _: &Project, _: &Store) -> Result<Value, Failure> {
        let settings: Settings = spec.settings()?;
        settings.gate.as_deref().map(Gate::parse).transpose()?;
        Ok(Value::Null)
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let settings: Settings = spec.settings()?;
        let gate = settings.gate.as_deref().map(Gate::parse).transpose()?;
        let input = context.input("model")?;
        let version = self.register(&settings, input, context).await?;
        let uri = version.uri();
        let mut summary = json!({ "model": uri, "gate": Value::Null });
        if let Some(alias) = settings.alias {
            let promotion = self.promote(&version, alias.clone(), gate, spec, context).await?;
            if !promotion.outcome.held {
                let declared = || format!("declared for {alias}");
                let gate = settings.gate.unwrap_or_else(declared);
                return Err(GateFailed { gate, version: uri, figures: promotion.outcome.to_string() }.into());
            }
            summary["alias"] = json!(alias);
            summary["gate"] = json!(promotion.outcome);
        }
        let kind = ArtifactKind::ModelVersion { uri: uri.to_string() };
        let content = version.content()?;
        let artifact = Artifact { kind, digest: content.digest, size: content.size };
        Ok(Executed { outputs: BTreeMap::from([("version".to_owned(), artifact)]), summary, ..Executed::default() })
    }
}

impl RegisterKind {
    async fn register(
        &self,
        settings: &Settings,
        input: &Input,
        context: &StageContext,
    ) -> Result<ModelVersion, Failure> {
        let bytes = context.store.get_bytes(&input.artifact.digest).await?;
        let signature = self.engine.load(&bytes)?.signature().clone();
        let artifact = match &input.artifact.kind {
            ArtifactKind::File { path } => path.clone(),
            _ => String::new(),
        };
        let new = NewVersion {
            name: settings.name.clone(),
            run: input.run,
            artifact,
            digest: input.artifact.digest,
            size: input.artifact.size,
            signature,
            dataset: self.trained_on(input.run).await?,
            description: String::new(),
        };
        Ok(self.registry.version_register(new, context.ambient.now()).await?)
    }

    /// The dataset version that the run's stage read, as the run says.
    async fn trained_on(&self, run: RunId) -> Result<Option<Uri>, Failure> {
        let run = self.tracking.run_get(run).await?;
        Ok(run.tags.get(super::train::DATASET_TAG).and_then(|uri| uri.parse().ok()))
    }

    async fn promote(
        &self,
        version: &ModelVersion,
        alias: Alias,
        gate: Option<Gate>,
        spec: &StageSpec,
        context: &StageContext,
    ) -> Result<Promotion, Failure> {
        let request = PromotionRequest {
            name: version.name.clone(),
            version: version.version,
            target: Target::Alias(alias),
            gate,
            archive: false,
            who: format!("stage {}", spec.name),
            why: format!("stage key {}", context.key.short()),
            at: context.ambient.now(),
        };
        Ok(self.registry.promote(request).await?)
    }
}
