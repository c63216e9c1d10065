//! What runs and predictions left behind, as tables: `runs`, `run_params`, `run_metrics`, `predictions`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use ropewalk_data::{QueryTables, TableFormat, TableSource};
use ropewalk_ingest::{IngestError, PartWriter, Scratch};
use ropewalk_predictions::{PredictionFilter, PredictionRecord};
use ropewalk_tracking::{Run, RunFilter};
use ropewalk_types::Timestamp;
use tempfile::NamedTempFile;

use crate::{OpenProject, ServerError};

/// Runs and predictions that are read at once.
const PAGE: usize = 1000;
/// The tag in which a run keeps the name of its stage.
const STAGE_TAG: &str = "ropewalk.stage";

/// The log of what models were asked and what they answered.
pub(crate) const PREDICTIONS: &str = "predictions";
/// The tables of this module by name.
pub(super) const NAMES: [&str; 4] = ["runs", "run_params", "run_metrics", PREDICTIONS];

impl OpenProject {
    /// Adds those of the tables that `named` has, each written to a file in `scratch` first, so that memory is bounded;
    /// the files are gone when what is given back is dropped.
    pub(super) async fn logs_add(
        &self,
        tables: &mut QueryTables,
        named: &[&str],
        scratch: &Scratch,
    ) -> Result<Vec<NamedTempFile>, ServerError> {
        let mut files = Vec::with_capacity(named.len());
        for name in named {
            let written = match *name {
                PREDICTIONS => self.predictions_write(scratch).await?,
                name => self.runs_write(name, scratch).await?,
            };
            let (format, paths) = (TableFormat::Parquet, vec![written.path().to_owned()]);
            tables.insert(*name, TableSource::Files { format, paths, schema: None });
            files.push(written);
        }
        Ok(files)
    }

    async fn runs_write(&self, name: &str, scratch: &Scratch) -> Result<NamedTempFile, ServerError> {
        let table = match name {
            "runs" => runs,
            "run_params" => params,
            _ => metrics,
        };
        let mut file = TableFile::begin(scratch, &table(&[])?)?;
        let mut filter = RunFilter::default();
        loop {
            let page = self.tracking.run_list(filter.clone(), PAGE).await?;
            file.write(&table(&page.runs)?)?;
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return file.finish(),
            }
        }
    }

    async fn predictions_write(&self, scratch: &Scratch) -> Result<NamedTempFile, ServerError> {
        let mut file = TableFile::begin(scratch, &predictions(&[])?)?;
        let mut scan = self.predictions().scan(&PredictionFilter::default(), None).await?;
        loop {
            let page = scan.page(PAGE).await?;
            file.write(&predictions(&page.records)?)?;
            if page.next.is_none() {
                return file.finish();
            }
        }
    }
}

/// A table on its way into a file.
struct TableFile {
    file: NamedTempFile,
    writer: PartWriter,
}

impl TableFile {
    fn begin(scratch: &Scratch, empty: &RecordBatch) -> Result<Self, ServerError> {
        let file = scratch.file()?;
        let output = file.as_file().try_clone().map_err(IngestError::stream("write the log as a table"))?;
        Ok(Self { writer: PartWriter::new(output, &empty.schema())?, file })
    }

    fn write(&mut self, rows: &RecordBatch) -> Result<(), ServerError> {
        Ok(self.writer.write(rows)?)
    }

    fn finish(self) -> Result<NamedTempFile, ServerError> {
        self.writer.finish()?;
        Ok(self.file)
    }
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ServerError> {
    let columns = columns.into_iter().map(|(name, values)| (name, values, true));
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| ServerError::Serve(error.to_string()))
}

fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn moments(values: impl Iterator<Item = Option<Timestamp>>) -> ArrayRef {
    Arc::new(values.map(|at| at.map(Timestamp::millis)).collect::<TimestampMillisecondArray>())
}

fn counts(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(values.map(u64::cast_signed).collect::<Int64Array>())
}

fn runs(runs: &[Run]) -> Result<RecordBatch, ServerError> {
    table(vec![
        ("run_id", texts(runs.iter().map(|run| Some(run.info.id.to_string())))),
        ("name", texts(runs.iter().map(|run| Some(run.info.name.clone())))),
        ("stage", texts(runs.iter().map(|run| run.tags.get(STAGE_TAG).cloned()))),
        ("status", texts(runs.iter().map(|run| Some(run.info.status.to_string())))),
        ("began", moments(runs.iter().map(|run| Some(run.info.start)))),
        ("ended", moments(runs.iter().map(|run| run.info.end))),
    ])
}

fn params(runs: &[Run]) -> Result<RecordBatch, ServerError> {
    let rows = || runs.iter().flat_map(|run| run.params.iter().map(move |param| (run.info.id, param)));
    table(vec![
        ("run_id", texts(rows().map(|(run, _)| Some(run.to_string())))),
        ("key", texts(rows().map(|(_, (key, _))| Some(key.clone())))),
        ("value", texts(rows().map(|(_, (_, value))| Some(value.clone())))),
    ])
}

fn metrics(runs: &[Run]) -> Result<RecordBatch, ServerError> {
    let rows = || runs.iter().flat_map(|run| run.metrics.iter().map(move |metric| (run.info.id, metric)));
    table(vec![
        ("run_id", texts(rows().map(|(run, _)| Some(run.to_string())))),
        ("key", texts(rows().map(|(_, metric)| Some(metric.key.clone())))),
        ("value", Arc::new(rows().map(|(_, metric)| Some(metric.value)).collect::<Float64Array>())),
        ("step", Arc::new(rows().map(|(_, metric)| Some(metric.step)).collect::<Int64Array>())),
    ])
}

fn predictions(records: &[PredictionRecord]) -> Result<RecordBatch, ServerError> {
    // What was too large to be logged is missing, and not empty.
    let json = |record: &PredictionRecord, map: &serde_json::Map<String, serde_json::Value>| {
        if record.cut { None } else { serde_json::to_string(map).ok() }
    };
    table(vec![
        ("prediction", texts(records.iter().map(|record| Some(record.prediction.to_string())))),
        ("request_id", texts(records.iter().map(|record| record.request.clone()))),
        ("model", texts(records.iter().map(|record| Some(record.model.to_string())))),
        ("version", counts(records.iter().map(|record| record.version))),
        ("at", moments(records.iter().map(|record| Some(record.at)))),
        ("latency_us", counts(records.iter().map(|record| record.latency_us))),
        ("rows", counts(records.iter().map(|record| record.rows))),
        ("inputs", texts(records.iter().map(|record| json(record, &record.inputs)))),
        ("outputs", texts(records.iter().map(|record| json(record, &record.outputs)))),
        ("client", texts(records.iter().map(|record| record.client.clone()))),
    ])
}
