use std::collections::BTreeMap;

use async_trait::async_trait;
use ropewalk_inference::{Engines, LoadOptions, ModelSource};
use ropewalk_pipeline::{
    Artifact, ArtifactKind, Executed, Failure, Input, Project, StageContext, StageKind, StageSpec,
};
use ropewalk_registry::{
    Approver, Better, Gate, GateDeclaration, ModelVersion, NewVersion, Promotion, PromotionRequest, Registry, Target,
};
use ropewalk_store::Store;
use ropewalk_tracking::Tracking;
use ropewalk_types::{Alias, Diagnose, ModelName, RunId, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

/// A model becomes a version of a registered model, and an alias moves to it if the gate holds.
///
/// The gate is declared for the alias, so that it holds for all others who move the alias, too.
#[derive(Debug)]
pub(crate) struct RegisterKind {
    pub(crate) registry: Registry,
    pub(crate) tracking: Tracking,
    /// Reads the signature, and refuses a model that it could not serve.
    pub(crate) engines: Engines,
}

#[derive(Debug, Deserialize)]
struct Settings {
    name: ModelName,
    gate: Option<String>,
    alias: Option<Alias>,
    higher: Option<String>,
    lower: Option<String>,
    #[serde(default)]
    signature: bool,
    #[serde(default)]
    approval: Vec<Approver>,
}

impl Settings {
    /// What the stage declares for its alias; none if it asks for nothing.
    fn declaration(&self) -> Option<GateDeclaration> {
        let better = |metric: &String, lower: bool| Better { metric: metric.clone(), lower };
        let declaration = GateDeclaration {
            conditions: self.gate.clone(),
            better: self
                .higher
                .as_ref()
                .map(|metric| better(metric, false))
                .or_else(|| self.lower.as_ref().map(|metric| better(metric, true))),
            signature: self.signature,
            approval: self.approval.clone(),
        };
        (!declaration.is_empty()).then_some(declaration)
    }
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
        2
    }

    async fn fingerprint(&self, spec: &StageSpec, _: &Project, _: &Store) -> Result<Value, Failure> {
        let settings: Settings = spec.settings()?;
        settings.gate.as_deref().map(Gate::parse).transpose()?;
        Ok(Value::Null)
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let settings: Settings = spec.settings()?;
        let declaration = settings.declaration();
        let input = context.input("model")?;
        let version = self.register(&settings, input, context).await?;
        let uri = version.uri();
        let mut summary = json!({ "model": uri, "gate": Value::Null });
        if let Some(alias) = settings.alias {
            let who = format!("stage {}", spec.name);
            if let Some(declaration) = declaration.clone() {
                let target = Target::Alias(alias.clone());
                self.registry.gate_declare(&version.name, target, Some(declaration), &who).await?;
            }
            let promotion = self.promote(&version, alias.clone(), who, context).await?;
            if !promotion.outcome.held {
                let gate = declaration.map_or_else(|| format!("declared for {alias}"), |declared| declared.to_string());
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
        let signature =
            self.engines.load(&ModelSource::from(bytes.clone()), None, &LoadOptions::default())?.signature().clone();
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

    /// What must hold is declared for the alias, by this stage or by somebody else.
    async fn promote(
        &self,
        version: &ModelVersion,
        alias: Alias,
        who: String,
        context: &StageContext,
    ) -> Result<Promotion, Failure> {
        let request = PromotionRequest {
            name: version.name.clone(),
            version: version.version,
            target: Target::Alias(alias),
            gate: None,
            archive: false,
            who,
            why: format!("stage key {}", context.key.short()),
            at: context.ambient.now(),
        };
        Ok(self.registry.promote(request).await?)
    }
}
