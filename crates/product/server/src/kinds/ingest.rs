use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use ropewalk_data::{
    Column, ColumnReport, DatasetVersion, IngestProgress, IngestSettings, StoreCheckpoints, ingest, version_record,
};
use ropewalk_pipeline::{
    Artifact, ArtifactKind, Executed, Failure, PipelineError, Project, Record, Reporter, StageContext, StageKind,
    StageSpec,
};
use ropewalk_store::files::FileError;
use ropewalk_store::{Store, files};
use ropewalk_types::{DatasetName, Diagnose, Digest, Timestamp, Uri, Zone};
use serde::Deserialize;
use serde_json::{Value, json};

/// Files, as they were handed over, become a dataset.
#[derive(Debug)]
pub(crate) struct IngestKind;

#[derive(Debug, Deserialize)]
struct Settings {
    out: DatasetName,
    zone: Zone,
    source: PathBuf,
    sheet: Option<String>,
    null_texts: Option<Vec<String>>,
    type_tolerance: Option<f64>,
}

impl Settings {
    fn ingest(&self, scratch: PathBuf) -> IngestSettings {
        let mut settings = IngestSettings::new(&self.source, scratch);
        settings.sheet.clone_from(&self.sheet);
        if let Some(null_texts) = &self.null_texts {
            settings.null_texts.clone_from(null_texts);
        }
        if let Some(tolerance) = self.type_tolerance {
            settings.type_tolerance = tolerance;
        }
        settings
    }
}

/// Tells how many of the files are read, then how many are written.
struct Watch {
    reporter: Reporter,
    steps: AtomicU64,
    done: AtomicU64,
}

impl Watch {
    fn step(&self, text: &str) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.reporter.progress(text, done, self.steps.load(Ordering::Relaxed));
    }
}

impl IngestProgress for Watch {
    fn files_found(&self, count: usize) {
        self.steps.store(2 * count as u64, Ordering::Relaxed);
    }

    fn file_read(&self, name: &str, rows: u64, reused: bool) {
        let how = if reused { "read before" } else { "read" };
        self.step(&format!("{how} {name}, {rows} rows"));
    }

    fn file_written(&self, name: &str, rows: u64) {
        self.step(&format!("typed {name}, {rows} rows"));
    }
}

/// The thread that read the source ended without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the source was not read to its end: {0}")]
struct Unfinished(String);

impl Diagnose for Unfinished {
    fn code(&self) -> &'static str {
        "data.unfinished"
    }
}

/// The digest of a file's bytes, in bounded memory.
fn file_digest(path: &Path) -> Result<Digest, FileError> {
    let mut hasher = blake3::Hasher::new();
    let read = hasher.update_reader(files::open(path)?);
    read.map_err(|source| FileError::Io { action: "read", path: path.to_owned(), source })?;
    Ok(hasher.finalize().into())
}

#[async_trait]
impl StageKind for IngestKind {
    fn name(&self) -> &'static str {
        "ingest"
    }

    fn revision(&self) -> u32 {
        1
    }

    async fn fingerprint(&self, spec: &StageSpec, project: &Project, _: &Store) -> Result<Value, Failure> {
        let settings: Settings = spec.settings()?;
        let path = project.root.join(&settings.source);
        let digest = tokio::task::spawn_blocking(move || file_digest(&path)).await;
        Ok(json!({ "source": digest.map_err(|error| Unfinished(error.to_string()))?? }))
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let settings: Settings = spec.settings()?;
        let ingest_settings = settings.ingest(context.scratch.clone());
        let checkpoints = StoreCheckpoints::new(context.store.clone());
        let reporter = context.reporter.clone();
        let watch = Watch { reporter, steps: AtomicU64::new(0), done: AtomicU64::new(0) };
        let made = ingest(&ingest_settings, &context.project.root, &context.store, &checkpoints, &watch).await?;
        let report = &made.report;
        let summary = json!({
            "rows": report.rows,
            "columns": report.columns.len(),
            "quarantined": report.quarantined,
            "empty_rows": report.empty_rows,
            "error_cells": report.error_cells,
            "files": report.files.len(),
            "skipped": report.skipped,
            "pieces_reused": made.reused_pieces,
            "pieces_executed": made.executed_pieces,
        });
        let dataset = MadeDataset {
            name: settings.out,
            zone: settings.zone,
            digest: made.tree,
            rows: report.rows,
            columns: report.columns.iter().map(column).collect(),
            bytes: made.bytes,
            quarantined: report.quarantined,
        };
        let path = made.source.path.display().to_string();
        let mut executed = dataset.executed(context, summary);
        executed.sources.push(Uri::File { path, digest: made.source.digest });
        Ok(executed)
    }
}

fn column(report: &ColumnReport) -> Column {
    Column { name: report.name.clone(), data_type: report.data_type.clone() }
}

/// A dataset version that a stage has just made.
pub(super) struct MadeDataset {
    pub(super) name: DatasetName,
    pub(super) zone: Zone,
    pub(super) digest: Digest,
    pub(super) rows: u64,
    pub(super) columns: Vec<Column>,
    pub(super) bytes: u64,
    pub(super) quarantined: u64,
}

impl MadeDataset {
    /// What the stage gives back: the version as its one output, and the row of the version.
    pub(super) fn executed(self, context: &StageContext, summary: Value) -> Executed {
        let kind = ArtifactKind::Dataset { name: self.name.clone(), zone: self.zone };
        let artifact = Artifact { kind, digest: self.digest, size: self.bytes };
        let outputs = BTreeMap::from([(self.name.to_string(), artifact)]);
        let record = self.record(context.key, context.ambient.now());
        Executed { outputs, summary, sources: Vec::new(), records: vec![record] }
    }

    fn record(self, key: Digest, at: Timestamp) -> Record {
        let version = DatasetVersion {
            name: self.name,
            digest: self.digest,
            zone: self.zone,
            rows: self.rows,
            columns: self.columns,
            bytes: self.bytes,
            quarantined: self.quarantined,
            stage_key: Some(key),
            created_at: at,
        };
        Box::new(move |connection| {
            Box::pin(async move {
                version_record(connection, &version).await.map_err(|error| PipelineError::Record(error.into()))
            })
        })
    }
}
