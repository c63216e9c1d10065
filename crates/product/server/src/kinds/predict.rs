use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use ropewalk_batch::{BatchError, ColumnChoice, Progress, Rounded, Scorer, TableFile, TableFormat, batches, score};
use ropewalk_inference::{Engines, InferenceError, LoadOptions, Model, ModelSource};
use ropewalk_ingest::{Column, IngestError, Scratch, TableWriter, WrittenTable, blocking, parts, publish, report};
use ropewalk_pipeline::{Executed, Failure, Project, Reporter, StageContext, StageKind, StageSpec};
use ropewalk_store::Store;
use ropewalk_store::files::TemporaryDirectory;
use ropewalk_types::{DatasetName, Uri, Zone};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ingest::MadeDataset;
use crate::TrackingHome;

/// The name by which the stage knows the table.
pub(crate) const SCORED: &str = "table";
/// The name by which the stage knows a model that a stage made.
pub(crate) const SCORER: &str = "model";
/// Rows that are scored at once.
const ROWS: usize = 8192;

/// A model scores the rows of a dataset, which makes a dataset.
pub(crate) struct PredictKind {
    /// Where registered models are.
    pub(crate) home: TrackingHome,
    /// What runs them.
    pub(crate) engines: Engines,
    /// Who is named in the audit trail.
    pub(crate) who: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PredictSettings {
    pub(crate) out: DatasetName,
    /// None where the model is an input.
    pub(crate) model: Option<Uri>,
    pub(crate) columns: Vec<String>,
    pub(crate) keep: Option<Vec<String>>,
    pub(crate) prefix: String,
}

/// A model that can be asked; its folder goes with it.
struct Loaded {
    model: Arc<dyn Model>,
    /// What lineage calls it, where it is no input.
    uri: Option<Uri>,
    _folder: Option<TemporaryDirectory>,
}

/// Tells of the rows, and ends the work when nobody waits for it any more.
struct Watch {
    reporter: Reporter,
    done: AtomicU64,
    total: u64,
    stopped: Arc<AtomicBool>,
}

impl Progress for Watch {
    fn rows(&self, rows: u64) -> ControlFlow<()> {
        let done = self.done.fetch_add(rows, Ordering::Relaxed) + rows;
        self.reporter.progress("rows", done, self.total);
        if self.stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Dropped with the stage's future, it stops the thread that scores.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl StageKind for PredictKind {
    fn name(&self) -> &'static str {
        "predict"
    }

    fn revision(&self) -> u32 {
        1
    }

    async fn fingerprint(&self, spec: &StageSpec, _: &Project, _: &Store) -> Result<Value, Failure> {
        let settings: PredictSettings = spec.settings()?;
        match &settings.model {
            // An alias that moves makes another key.
            Some(uri) => Ok(json!({ "model": self.home.model_digest(uri).await? })),
            None => Ok(Value::Null),
        }
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let settings: PredictSettings = spec.settings()?;
        let loaded = self.loaded(&settings, context).await?;
        let model = loaded.uri.as_ref().map_or_else(|| SCORER.to_owned(), Uri::to_string);
        context.recorder.params(&BTreeMap::from([("model".to_owned(), model)])).await?;
        // The parts lie in it until they are in the store.
        let scratch = Arc::new(Scratch::new(&context.scratch)?);
        let (written, rounded) = scored(&settings, &loaded, context, Arc::clone(&scratch)).await?;
        let mut blobs = Vec::with_capacity(written.parts.len());
        for part in &written.parts {
            blobs.push(context.store.put_file(part.path()).await?);
        }
        let (digest, bytes) = publish(&context.store, &blobs, None, &written.report).await?;
        let columns = written.report.columns.into_iter();
        let columns: Vec<_> = columns.map(|column| Column { name: column.name, data_type: column.data_type }).collect();
        let rows = written.report.rows;
        let summary = json!({ "rows": rows, "columns": columns.len(), "bytes": bytes, "rounded": rounded });
        let dataset = MadeDataset {
            name: settings.out,
            zone: Zone::Processed,
            digest,
            rows,
            columns,
            bytes,
            quarantined: 0,
            who: self.who.clone(),
        };
        let executed = dataset.executed(context, summary);
        Ok(Executed { sources: loaded.uri.into_iter().collect(), ..executed })
    }
}

impl PredictKind {
    async fn loaded(&self, settings: &PredictSettings, context: &StageContext) -> Result<Loaded, Failure> {
        let (source, uri, folder) = if let Some(uri) = &settings.model {
            let found = self.home.model_find(uri).await?;
            (found.source, Some(found.uri), found.folder)
        } else {
            let bytes = context.store.get_bytes(&context.input(SCORER)?.artifact.digest).await?;
            (ModelSource::from(bytes), None, None)
        };
        let engines = self.engines.clone();
        let model = blocking::<_, Failed, _>(move || Ok(engines.load(&source, None, &LoadOptions::default())?));
        Ok(Loaded { model: model.await.map_err(|error| error.0)?, uri, _folder: folder })
    }
}

/// What went wrong on another thread.
struct Failed(Failure);

macro_rules! failed {
    ($($error:ty),+) => {
        $(impl From<$error> for Failed {
            fn from(error: $error) -> Self {
                Self(error.into())
            }
        })+
    };
}

failed!(BatchError, IngestError, InferenceError);

async fn scored(
    settings: &PredictSettings,
    loaded: &Loaded,
    context: &StageContext,
    scratch: Arc<Scratch>,
) -> Result<(WrittenTable, Rounded), Failure> {
    let table = context.input(SCORED)?.artifact.digest;
    let total = report(&context.store, &table).await?.rows;
    let mut tables = Vec::new();
    for (part, _) in parts(&context.store, &table).await? {
        tables.push(TableFile::of_format(&context.store.cached_file(&part).await?, TableFormat::Parquet)?);
    }
    let stop = StopOnDrop(Arc::default());
    let watch =
        Watch { reporter: context.reporter.clone(), done: AtomicU64::new(0), total, stopped: Arc::clone(&stop.0) };
    let choice = ColumnChoice { columns: settings.columns.clone() };
    let (keep, prefix) = (settings.keep.clone(), settings.prefix.clone());
    let model = Arc::clone(&loaded.model);
    let work = move || -> Result<_, Failed> {
        let first = tables.first().ok_or_else(|| BatchError::NoInput(scratch.path().to_owned()))?;
        let schema = first.schema()?;
        let scorer = Scorer::new(model, &schema, &choice, keep.as_deref(), &prefix)?;
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut writer = None;
        let mut write = |batch: &arrow::array::RecordBatch| -> Result<(), Failed> {
            Ok(writer.get_or_insert_with(|| TableWriter::new(batch.schema(), &scratch)).write(batch)?)
        };
        let (rows, rounded) = score(batches(&tables, ROWS), &scorer, workers, &watch, |batch| write(batch))?;
        if rows == 0 {
            write(&scorer.empty(&schema)?.batch)?;
        }
        let writer = writer.ok_or(BatchError::Stopped)?;
        Ok((writer.finish()?, rounded))
    };
    let done = blocking(work).await.map_err(|error| error.0);
    drop(stop);
    done
}
