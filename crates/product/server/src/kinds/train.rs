use std::collections::BTreeMap;
use std::ops::ControlFlow;

use async_trait::async_trait;
use ropewalk_data::read_table;
use ropewalk_pipeline::{
    Artifact, ArtifactKind, Executed, Failure, Project, Reporter, StageContext, StageKind, StageSpec,
};
use ropewalk_store::Store;
use ropewalk_types::Diagnose;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use ropewalk_training::{IterationMetrics, Progress, TrainSettings, Trained, TrainingError, train};

/// Where the model lies among the artifacts of its run.
const MODEL_PATH: &str = "model/model.onnx";

/// The tag of a run that names the dataset version it learnt from.
pub(super) const DATASET_TAG: &str = "ropewalk.dataset";

/// A built-in trainer makes a model of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrainKind;

/// The trainer's thread ended without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the trainer stopped without a result: {0}")]
struct Lost(String);

impl Diagnose for Lost {
    fn code(&self) -> &'static str {
        "training.lost"
    }
}

/// Passes each iteration on to the run while the trainer goes on.
struct Watch {
    reporter: Reporter,
    iterations: mpsc::UnboundedSender<IterationMetrics>,
    total: u64,
}

impl Progress for Watch {
    fn iteration(&self, metrics: &IterationMetrics) -> ControlFlow<()> {
        let loss = metrics.validation_log_loss.unwrap_or(metrics.train_log_loss);
        self.reporter.progress(&format!("log loss {loss:.5}"), u64::from(metrics.iteration), self.total);
        // Nobody listens once the stage was dropped: then there is no use in going on.
        match self.iterations.send(*metrics) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

fn by_name(metrics: &IterationMetrics) -> BTreeMap<String, f64> {
    let losses =
        [("train_log_loss", Some(metrics.train_log_loss)), ("validation_log_loss", metrics.validation_log_loss)];
    losses.into_iter().filter_map(|(name, loss)| Some((name.to_owned(), loss?))).collect()
}

fn settings(spec: &StageSpec) -> Result<TrainSettings, Failure> {
    let settings: TrainSettings = spec.settings()?;
    settings.validate()?;
    Ok(settings)
}

#[async_trait]
impl StageKind for TrainKind {
    fn name(&self) -> &'static str {
        "train"
    }

    fn revision(&self) -> u32 {
        1
    }

    async fn fingerprint(&self, spec: &StageSpec, _: &Project, _: &Store) -> Result<Value, Failure> {
        settings(spec)?;
        Ok(Value::Null)
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let settings = settings(spec)?;
        let input = &context.input("table")?.artifact;
        if let Some(dataset) = input.dataset_uri() {
            context.recorder.tags(&BTreeMap::from([(DATASET_TAG.to_owned(), dataset.to_string())])).await?;
        }
        let table = input.digest;
        let batches = read_table(&context.store, &table, None, None).await?;
        let (sender, mut iterations) = mpsc::unbounded_channel();
        let total = u64::from(settings.params.trees);
        let watch = Watch { reporter: context.reporter.clone(), iterations: sender, total };
        let trainer = tokio::task::spawn_blocking(move || train(&settings, &batches, &watch));
        while let Some(metrics) = iterations.recv().await {
            context.recorder.metrics(&by_name(&metrics), i64::from(metrics.iteration)).await?;
        }
        let trained: Result<Trained, TrainingError> = trainer.await.map_err(|error| Lost(error.to_string()))?;
        keep(trained?, context).await
    }
}

async fn keep(trained: Trained, context: &StageContext) -> Result<Executed, Failure> {
    context.recorder.params(&trained.params).await?;
    context.recorder.metrics(&trained.metrics, 0).await?;
    let model = context.store.put_bytes(trained.onnx.into()).await?;
    context.recorder.artifact(MODEL_PATH, model.digest, model.size).await?;
    let facts = [
        ("model/signature.json", json!(trained.signature)),
        ("feature_importances.json", json!(trained.importances)),
        ("calibration.json", json!(trained.calibration)),
        ("export_check.json", json!(trained.check)),
    ];
    for (path, fact) in facts {
        let blob = context.store.put_bytes(fact.to_string().into()).await?;
        context.recorder.artifact(path, blob.digest, blob.size).await?;
    }
    let kind = ArtifactKind::File { path: MODEL_PATH.to_owned() };
    let artifact = Artifact { kind, digest: model.digest, size: model.size };
    let summary = json!({
        "metrics": trained.metrics,
        "iterations": trained.history.len(),
        "export_check": trained.check,
    });
    Ok(Executed { outputs: BTreeMap::from([("model".to_owned(), artifact)]), summary, ..Executed::default() })
}
