use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use ropewalk_catalog::Catalog;
use ropewalk_config::DataSource;
use ropewalk_connectors::{FetchLimits, FetchRequest, source_key};
use ropewalk_data::{AuditAction, AuditEvent, DataError, DatasetVersion, audit_append, version_list, version_record};
use ropewalk_ingest::{
    Column, ColumnReport, IngestError, IngestProgress, IngestSettings, Network, Source, SourceFile, StoreCheckpoints,
    ingest, source_files, source_fingerprint,
};
use ropewalk_pipeline::{
    Artifact, ArtifactKind, Executed, Failure, PipelineError, Project, Record, Reporter, StageContext, StageKind,
    StageSpec, outcome_list_of,
};
use ropewalk_store::{Store, files};
use ropewalk_types::{Ambient, DatasetName, Diagnose, Digest, Timestamp, Uri, Zone};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::downloads::Downloads;
use super::holders::{Holders, before_and_after, changes_record};
use super::source;
use super::used_pieces::UsedPieces;
use crate::importing::{import_is_full, import_token, quarantine_kept};
use crate::travelling::content_here;

/// What was received of a server, in the summary of the import that received it.
const RECEIVED: &str = "received";

/// Raised when the same bytes and settings are read into another version: what was read before is then read again.
const REVISION: u32 = 4;

/// Data from outside becomes a dataset.
pub(crate) struct IngestKind {
    /// The environment of the person who runs it: credentials of connections.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) ambient: Arc<dyn Ambient>,
    pub(crate) catalog: Catalog,
    /// Where downloads wait for being whole.
    pub(crate) downloads: PathBuf,
    /// Where lists of what did not fit are kept of imports that failed by it.
    pub(crate) quarantined: PathBuf,
    /// Who is named in the audit trail.
    pub(crate) who: String,
    pub(crate) holders: Holders,
}

/// What a server gave when it was asked: with the same settings, the same tags are of the same rows.
#[derive(Debug, Deserialize, Serialize)]
struct Receipt {
    /// Digest of the settings by which the files were read and of what was asked for; secrets of the URL among it, which
    /// may choose what comes.
    asked: Digest,
    /// The entity tags of the files, by name.
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Settings {
    out: DatasetName,
    source: DataSource,
}

impl IngestKind {
    async fn settings(
        &self,
        spec: &StageSpec,
        settings: &Settings,
        context: &StageContext,
    ) -> Result<IngestSettings, Failure> {
        let data = source::from_environment(&settings.source, &self.environment)?;
        let mut ingest = source::settings(&data, &context.project.root, context.scratch.clone())?;
        ingest.kept_quarantine = Some(quarantine_kept(&self.quarantined, settings.out.as_str()));
        if source::is_local(&settings.source) {
            return Ok(ingest);
        }
        source::known_as(&mut ingest.source, &settings.source);
        let reporter = context.reporter.clone();
        let options = source::connection_options(&settings.source, &self.environment)?;
        ingest.network = Some(Network {
            options: options.heard_by(move |text| reporter.said(text)),
            ambient: Arc::clone(&self.ambient),
            limits: FetchLimits::default(),
            progress: Arc::new(Downloads::new(context.reporter.clone())),
            downloads: self.downloads.join(settings.out.as_str()),
        });
        let versions = version_list(&self.catalog, Some(&settings.out)).await?;
        let Some(latest) = versions.first() else { return Ok(ingest) };
        ingest.latest = Some(latest.digest);
        if !import_is_full(&import_token(&context.store, &settings.out).await?) {
            ingest.previous = match &mut ingest.source {
                Source::Remote(request) => {
                    request.known = self.tags_known(spec, latest, asked(spec, request)).await?;
                    (!request.known.is_empty()).then_some(latest.digest)
                }
                _ if settings.source.cursor.is_some() => {
                    content_here(&self.catalog, latest).await?;
                    Some(latest.digest)
                }
                _ => None,
            };
        }
        Ok(ingest)
    }

    /// The tags of the files of which this very request made the version, whichever import first made that: only then can
    /// a server's word that they are the same spare reading them again.
    async fn tags_known(
        &self,
        spec: &StageSpec,
        version: &DatasetVersion,
        asked: Digest,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let outcomes = outcome_list_of(&self.catalog, &spec.name).await?;
        let of_version = outcomes
            .into_iter()
            .filter(|outcome| outcome.outputs.values().any(|artifact| artifact.digest == version.digest));
        let mut receipts = of_version.filter_map(|outcome| Receipt::deserialize(&outcome.summary[RECEIVED]).ok());
        Ok(receipts.find(|receipt| receipt.asked == asked).map(|receipt| receipt.tags).unwrap_or_default())
    }
}

/// What stands for the settings of a stage and what its request asks for, from which no secret can be had back.
fn asked(spec: &StageSpec, request: &FetchRequest) -> Digest {
    let source = source_key(&request.url);
    Digest::of_json(&json!({ "settings": spec.settings, "revision": REVISION, "source": source }))
}

/// What is new in a source cannot be added to what was read of it before.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
struct CursorError {
    dataset: DatasetName,
    error: IngestError,
}

impl Diagnose for CursorError {
    fn code(&self) -> &'static str {
        self.error.code()
    }

    fn hint(&self) -> Option<String> {
        let dataset = &self.dataset;
        match self.error {
            IngestError::Settings { .. } | IngestError::Types { .. } => Some(format!(
                "`ropewalk data import {dataset} --full` reads everything anew and starts the cursor over"
            )),
            _ => self.error.hint(),
        }
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

    fn noted(&self, text: &str) {
        self.reporter.said(text);
    }
}

#[async_trait]
impl StageKind for IngestKind {
    fn name(&self) -> &'static str {
        "ingest"
    }

    fn revision(&self) -> u32 {
        REVISION
    }

    async fn fingerprint(&self, spec: &StageSpec, project: &Project, store: &Store) -> Result<Value, Failure> {
        let settings: Settings = spec.settings()?;
        if !source::is_local(&settings.source) {
            return Ok(json!({ "asked": import_token(store, &settings.out).await? }));
        }
        let ingest = source::settings(&settings.source, &project.root, PathBuf::new())?;
        let found = source_fingerprint(&ingest, &project.root).await?;
        let held = self.holders.of(found.files).await?;
        let tracked: Vec<Uri> = held.iter().map(|held| held.uri(found.digest)).collect();
        self.holders.check_lowered(&settings.out, &tracked).await?;
        let mut fingerprint = json!({ "source": found.digest });
        if !tracked.is_empty() {
            // They make nothing else of the same bytes, but lineage names them.
            fingerprint["tracked"] = json!(tracked);
        }
        Ok(fingerprint)
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let settings: Settings = spec.settings()?;
        let ingest_settings = self.settings(spec, &settings, context).await?;
        let sources = match source::database_file(&settings.source, &context.project.root) {
            // That it is not there is said by whoever opens it.
            Some(file) => Vec::from_iter(Some(file).filter(|file| files::exists(file).unwrap_or(false))),
            None => source_files(&ingest_settings, &context.project.root).await?,
        };
        let held = self.holders.of(sources.clone()).await?;
        let known: Vec<Uri> = held.iter().map(|held| held.known.clone()).collect();
        self.holders.check_lowered(&settings.out, &known).await?;
        self.holders.audit_reads(spec, context, &held).await?;
        let checkpoints = UsedPieces::new(StoreCheckpoints::new(context.store.clone()));
        let reporter = context.reporter.clone();
        let watch = Watch { reporter, steps: AtomicU64::new(0), done: AtomicU64::new(0) };
        let made = ingest(&ingest_settings, &context.project.root, &context.store, &checkpoints, &watch).await;
        let adds = settings.source.cursor.is_some() && ingest_settings.previous.is_some();
        let made = made.map_err(|error| {
            let dataset = settings.out.clone();
            if adds { Failure::from(CursorError { dataset, error }) } else { Failure::from(error) }
        })?;
        let report = &made.report;
        let nothing_new = ingest_settings.latest == Some(made.tree);
        let mut summary = json!({
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
        if let Source::Remote(request) = &ingest_settings.source
            && !made.tags.is_empty()
        {
            summary[RECEIVED] = json!(Receipt { asked: asked(spec, request), tags: made.tags });
        }
        let path = made.source.path.display().to_string();
        let act = if nothing_new {
            summary["nothing_new"] = true.into();
            let mut details = json!({ "new_rows": 0, "source": path });
            if let Some(query) = &settings.source.query {
                details["query"] = query.as_str().into();
            }
            (AuditAction::Import, details)
        } else {
            (AuditAction::Write, json!({ "rows": report.rows, "bytes": made.bytes }))
        };
        let dataset = MadeDataset {
            name: settings.out,
            zone: settings.source.zone,
            digest: made.tree,
            rows: report.rows,
            columns: report.columns.iter().map(column).collect(),
            bytes: made.bytes,
            quarantined: report.quarantined,
            who: self.who.clone(),
        };
        let mut executed = dataset.executed_as(context, summary, act);
        let SourceFile { digest, files: read, .. } = made.source;
        executed.sources.push(Uri::File { path, digest });
        // What local files are is what they were when they were hashed; meanwhile another version may have been laid out.
        let after = self.holders.of(if read.is_empty() { sources } else { read }).await?;
        let held = before_and_after(held, after);
        executed.records.extend(changes_record(&held, digest, context.ambient.now()));
        executed.sources.extend(held.iter().map(|held| held.uri(digest)));
        executed.records.push(checkpoints.record(context.key));
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
    /// Who made it, for the audit trail.
    pub(super) who: String,
}

impl MadeDataset {
    /// What the stage gives back: the version as its one output, and the row of the version.
    pub(super) fn executed(self, context: &StageContext, summary: Value) -> Executed {
        let details = json!({ "rows": self.rows, "bytes": self.bytes });
        self.executed_as(context, summary, (AuditAction::Write, details))
    }

    /// [`MadeDataset::executed`], with what the audit trail says of it.
    fn executed_as(self, context: &StageContext, summary: Value, act: (AuditAction, Value)) -> Executed {
        let kind = ArtifactKind::Dataset { name: self.name.clone(), zone: self.zone };
        let artifact = Artifact { kind, digest: self.digest, size: self.bytes };
        let outputs = BTreeMap::from([(self.name.to_string(), artifact)]);
        let record = self.record(context.key, context.ambient.now(), act);
        Executed { outputs, summary, sources: Vec::new(), records: vec![record] }
    }

    /// The row of the version and the entry of the audit trail, which stand or fall together.
    fn record(self, key: Digest, at: Timestamp, (action, mut details): (AuditAction, Value)) -> Record {
        let object = Uri::Data { name: self.name.clone(), version: self.digest.to_string() }.to_string();
        details["stage_key"] = json!(key);
        let event = AuditEvent { at, who: self.who, action, object, details };
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
                let failed = |error: DataError| PipelineError::Record(error.into());
                version_record(connection, &version).await.map_err(failed)?;
                audit_append(connection, &event).await.map(|_| ()).map_err(failed)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_whose_type_changed_is_mended_by_reading_everything() {
        let types = IngestError::Types {
            column: "active".to_owned(),
            first: "version 0123".to_owned(),
            first_type: "Boolean".to_owned(),
            second: "mysql://h/shop".to_owned(),
            second_type: "Int8".to_owned(),
        };
        for error in [types, IngestError::Settings { reason: "column `new` is new".to_owned() }] {
            let dataset = DatasetName::new("orders").expect("name");
            let hint = CursorError { dataset, error }.hint().expect("hint");
            assert!(hint.contains("`ropewalk data import orders --full`"), "{hint}");
        }
    }
}
