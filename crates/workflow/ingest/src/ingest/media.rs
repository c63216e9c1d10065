//! Images and audio are kept as they are, with a table of what they are.

mod probe;
mod tree;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ropewalk_store::Store;
use ropewalk_types::Digest;
use tempfile::NamedTempFile;

use self::probe::{Probed, probe};
use self::tree::FileTree;
use super::place::{FoundFile, Readable};
use super::quarantine::Misfit;
use super::{IngestProgress, IngestSettings};
use crate::blocking::blocking;
use crate::part::PartWriter;
use crate::report::{ColumnReport, REPORT_FORMAT, Skipped};
use crate::scratch::Scratch;
use crate::{IngestError, TableReport};

/// Files of one pack in the store, at most.
const BATCH_FILES: usize = 8192;
/// Files that wait in scratch for being stored.
const GROUP_FILES: usize = 64;
const TABLE_ROWS: usize = 8192;

/// Files that are in the store, and the table of what they are.
pub(crate) struct KeptFiles {
    pub(crate) tree: Digest,
    pub(crate) bytes: u64,
    pub(crate) table: NamedTempFile,
    pub(crate) misfits: Vec<Misfit>,
    pub(crate) report: TableReport,
}

/// One file that was kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptFile {
    path: String,
    digest: Digest,
    bytes: u64,
    probed: Result<Probed, String>,
}

/// Stores every file as it is and looks into it; one that cannot be looked into is kept and listed in quarantine.
pub(crate) async fn files_keep(
    settings: &IngestSettings,
    files: Vec<FoundFile>,
    skipped: Vec<Skipped>,
    store: &Store,
    progress: &dyn IngestProgress,
    scratch: &Arc<Scratch>,
) -> Result<KeptFiles, IngestError> {
    let share = files.len().div_ceil(4 * settings.parallelism.get());
    let size = share.clamp(GROUP_FILES, BATCH_FILES);
    let works: Vec<_> =
        files.chunks(size).map(|batch| batch_keep(batch.to_vec(), store, progress, Arc::clone(scratch))).collect();
    let kept: Vec<Vec<KeptFile>> = stream::iter(works).buffered(settings.parallelism.get()).try_collect().await?;
    let kept: Vec<KeptFile> = kept.into_iter().flatten().collect();
    let tree = FileTree::new(&kept)?.put(store).await?;
    let bytes = kept.iter().map(|file| file.bytes).sum();
    let limit = settings.limits.quarantined_rows;
    let scratch = Arc::clone(scratch);
    blocking(move || {
        let misfits = misfits(&kept, limit)?;
        let table = scratch.file()?;
        let report = table_write(&kept, skipped, &table)?;
        Ok(KeptFiles { tree, bytes, table, misfits, report })
    })
    .await
}

async fn batch_keep(
    files: Vec<FoundFile>,
    store: &Store,
    progress: &dyn IngestProgress,
    scratch: Arc<Scratch>,
) -> Result<Vec<KeptFile>, IngestError> {
    let mut writer = store.writer();
    let mut kept = Vec::with_capacity(files.len());
    for group in files.chunks(GROUP_FILES) {
        let (group, scratch) = (group.to_vec(), Arc::clone(&scratch));
        let looked =
            blocking(move || group.iter().map(|file| look(file, &scratch)).collect::<Result<Vec<_>, IngestError>>())
                .await?;
        for (name, readable, probed) in looked {
            let blob = writer.add_file(readable.path()).await?;
            progress.file_read(&name, 1, false);
            kept.push(KeptFile { path: name, digest: blob.digest, bytes: blob.size, probed });
        }
    }
    writer.commit().await?;
    Ok(kept)
}

type Look = (String, Readable, Result<Probed, String>);

fn look(file: &FoundFile, scratch: &Scratch) -> Result<Look, IngestError> {
    let (readable, _) = file.unpack(scratch)?;
    let probed = probe(&file.name, readable.open()?)?;
    Ok((file.name.clone(), readable, probed))
}

fn misfits(kept: &[KeptFile], limit: u64) -> Result<Vec<Misfit>, IngestError> {
    let misfit = |(place, file): (usize, &KeptFile)| {
        let reason = file.probed.as_ref().err()?.clone();
        let row = place as u64 + 1;
        Some(Misfit { file: file.path.clone(), sheet: None, row, column: None, text: None, reason })
    };
    let misfits: Vec<_> = kept.iter().enumerate().filter_map(misfit).collect();
    match misfits.last() {
        Some(last) if misfits.len() as u64 > limit => {
            Err(IngestError::QuarantineFull { limit, file: last.file.clone(), example: last.to_string() })
        }
        _ => Ok(misfits),
    }
}

fn table_schema() -> SchemaRef {
    let column = |name: &str, data_type: DataType, nullable| Field::new(name, data_type, nullable);
    Arc::new(Schema::new(vec![
        column("path", DataType::Utf8, false),
        column("bytes", DataType::Int64, false),
        column("digest", DataType::Utf8, false),
        column("media_type", DataType::Utf8, true),
        column("width", DataType::Int64, true),
        column("height", DataType::Int64, true),
        column("duration_seconds", DataType::Float64, true),
        column("sample_rate", DataType::Int64, true),
        column("channels", DataType::Int64, true),
    ]))
}

/// Writes the table, sorted by path, of the files that could be looked into.
fn table_write(kept: &[KeptFile], skipped: Vec<Skipped>, target: &NamedTempFile) -> Result<TableReport, IngestError> {
    let schema = table_schema();
    let output = target.as_file().try_clone().map_err(IngestError::stream("write the table of files"))?;
    let mut part = PartWriter::new(output, &schema)?;
    let rows: Vec<(&KeptFile, &Probed)> =
        kept.iter().filter_map(|file| file.probed.as_ref().ok().map(|probed| (file, probed))).collect();
    let mut nulls = vec![0; schema.fields().len()];
    for rows in rows.chunks(TABLE_ROWS) {
        let batch = RecordBatch::try_new(Arc::clone(&schema), table_columns(rows));
        let batch = batch.map_err(IngestError::arrow("write the table of files"))?;
        for (nulls, column) in nulls.iter_mut().zip(batch.columns()) {
            *nulls += column.null_count() as u64;
        }
        part.write(&batch)?;
    }
    part.finish()?;
    let columns = schema.fields().iter().zip(nulls).map(|(field, nulls)| ColumnReport {
        name: field.name().clone(),
        data_type: crate::column::type_name(field.data_type()),
        nulls,
        misfits: 0,
        notes: Vec::new(),
    });
    Ok(TableReport {
        format: REPORT_FORMAT,
        rows: rows.len() as u64,
        columns: columns.collect(),
        files: Vec::new(),
        skipped,
        quarantined: (kept.len() - rows.len()) as u64,
        empty_rows: 0,
        error_cells: 0,
        notes: Vec::new(),
        kept_files: Some(kept.len() as u64),
        origin: None,
    })
}

fn table_columns(rows: &[(&KeptFile, &Probed)]) -> Vec<ArrayRef> {
    let texts = |text: fn(&KeptFile) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|(file, _)| Some(text(file))).collect::<StringArray>())
    };
    let numbers = |number: fn(&Probed) -> Option<u32>| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, probed)| number(probed).map(i64::from)).collect::<Int64Array>())
    };
    vec![
        texts(|file| file.path.clone()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(file, _)| file.bytes.cast_signed()))),
        texts(|file| file.digest.to_string()),
        Arc::new(rows.iter().map(|(_, probed)| probed.media_type).collect::<StringArray>()),
        numbers(|probed| probed.width),
        numbers(|probed| probed.height),
        Arc::new(rows.iter().map(|(_, probed)| probed.duration_seconds).collect::<Float64Array>()),
        numbers(|probed| probed.sample_rate),
        numbers(|probed| probed.channels),
    ]
}
