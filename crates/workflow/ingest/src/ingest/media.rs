//! Images and audio are kept as they are, with a table of what they are.

mod batch;
mod probe;
mod tree;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ropewalk_store::{Store, StoreError};
use ropewalk_types::Digest;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use self::batch::{Batch, batches};
use self::probe::{Probed, probe};
use self::tree::FileTree;
use super::place::{FoundFile, Readable};
use super::quarantine::Misfit;
use super::{Checkpoints, IngestProgress, IngestSettings};
use crate::blocking::blocking;
use crate::part::PartWriter;
use crate::report::{ColumnReport, REPORT_FORMAT, Skipped};
use crate::scratch::Scratch;
use crate::{IngestError, TableReport};

/// Files that wait in scratch for being stored.
const GROUP_FILES: usize = 64;
const TABLE_ROWS: usize = 8192;
/// How often a batch is stored in all before it is an error that a collector took what it relies on.
const COMMIT_TRIES: usize = 3;

/// Files that are in the store, and the table of what they are.
pub(crate) struct KeptFiles {
    pub(crate) tree: Digest,
    pub(crate) bytes: u64,
    pub(crate) table: NamedTempFile,
    pub(crate) misfits: Vec<Misfit>,
    pub(crate) report: TableReport,
    /// Files that an earlier run had stored and looked into.
    pub(crate) reused: usize,
}

/// One file that was kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptFile {
    path: String,
    stored: StoredFile,
}

/// What a checkpoint says of each file of a batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredFile {
    digest: Digest,
    bytes: u64,
    probed: Result<Probed, String>,
}

/// What files are kept with.
#[derive(Clone, Copy)]
pub(crate) struct Keeping<'a> {
    pub(crate) settings: &'a IngestSettings,
    pub(crate) store: &'a Store,
    pub(crate) checkpoints: &'a dyn Checkpoints,
    pub(crate) progress: &'a dyn IngestProgress,
    pub(crate) scratch: &'a Arc<Scratch>,
}

impl Keeping<'_> {
    /// Stores every file as it is and looks into it, some batches at the same time, each of which is a checkpoint. A
    /// file that cannot be looked into is kept and listed in quarantine.
    pub(crate) async fn files(self, files: Vec<FoundFile>, skipped: Vec<Skipped>) -> Result<KeptFiles, IngestError> {
        let batches = blocking(move || batches(files)).await?;
        let works: Vec<_> = batches.into_iter().map(|batch| self.batch(batch)).collect();
        let kept: Vec<(Vec<KeptFile>, bool)> =
            stream::iter(works).buffered(self.settings.parallelism.get()).try_collect().await?;
        let reused = kept.iter().filter(|(_, reused)| *reused).map(|(files, _)| files.len()).sum();
        let kept: Vec<KeptFile> = kept.into_iter().flat_map(|(files, _)| files).collect();
        let tree = FileTree::new(&kept)?.put(self.store).await?;
        let bytes = kept.iter().map(|file| file.stored.bytes).sum();
        let limit = self.settings.limits.quarantined_rows;
        let scratch = Arc::clone(self.scratch);
        blocking(move || {
            let misfits = misfits(&kept, limit)?;
            let table = scratch.file()?;
            let report = table_write(&kept, skipped, &table)?;
            Ok(KeptFiles { tree, bytes, table, misfits, report, reused })
        })
        .await
    }

    /// The files of a batch, and whether an earlier run had finished it.
    async fn batch(self, batch: Batch) -> Result<(Vec<KeptFile>, bool), IngestError> {
        let named = |stored: Vec<StoredFile>| {
            let names = batch.files.iter().map(|file| file.name.clone());
            names.zip(stored).map(|(path, stored)| KeptFile { path, stored }).collect::<Vec<_>>()
        };
        if let Some(stored) = self.finished(&batch).await? {
            for file in &batch.files {
                self.progress.file_read(&file.name, 1, true);
            }
            return Ok((named(stored), true));
        }
        let (stored, checkpoint) = self.read_and_store(&batch.files).await?;
        self.checkpoints.put(&batch.key, &checkpoint).await?;
        Ok((named(stored), false))
    }

    /// What an earlier run stored of a batch; none when a file of it is gone, so that all are stored again.
    async fn finished(self, batch: &Batch) -> Result<Option<Vec<StoredFile>>, IngestError> {
        let Some(value) = self.checkpoints.get(&batch.key).await? else { return Ok(None) };
        if !self.store.contains(&value).await? {
            return Ok(None);
        }
        // One that another version of this program kept is made again.
        let stored = serde_json::from_slice::<Vec<StoredFile>>(&self.store.get_bytes(&value).await?).ok();
        let Some(stored) = stored.filter(|stored| stored.len() == batch.files.len()) else { return Ok(None) };
        for file in &stored {
            if !self.store.contains(&file.digest).await? {
                return Ok(None);
            }
        }
        Ok(Some(stored))
    }

    /// What was stored, and the blob that says so. Where a collector took what the store was known to have, now it is known
    /// to lack it, and all is stored again.
    async fn read_and_store(self, files: &[FoundFile]) -> Result<(Vec<StoredFile>, Digest), IngestError> {
        for tries in 1..COMMIT_TRIES {
            match self.read_and_store_once(files, tries == 1).await {
                Err(IngestError::Store(StoreError::Collected { .. })) => {}
                result => return result,
            }
        }
        self.read_and_store_once(files, false).await
    }

    /// One commit of the store for all; `told` says whether progress is.
    async fn read_and_store_once(
        self,
        files: &[FoundFile],
        told: bool,
    ) -> Result<(Vec<StoredFile>, Digest), IngestError> {
        let mut writer = self.store.writer();
        let mut stored = Vec::with_capacity(files.len());
        for group in files.chunks(GROUP_FILES) {
            let (group, scratch) = (group.to_vec(), Arc::clone(self.scratch));
            let looked = blocking(move || {
                group.iter().map(|file| look(file, &scratch)).collect::<Result<Vec<_>, IngestError>>()
            });
            for Look { name, readable, digest, probed } in looked.await? {
                let blob = writer.add_file(readable.path()).await?;
                if blob.digest != digest {
                    return Err(IngestError::changed(readable.path()));
                }
                if told {
                    self.progress.file_read(&name, 1, false);
                }
                stored.push(StoredFile { digest, bytes: blob.size, probed });
            }
        }
        let bytes = serde_json::to_vec(&stored)
            .map_err(|error| IngestError::Encoding { action: "encode a checkpoint", reason: error.to_string() })?;
        let checkpoint = writer.add_bytes(Bytes::from(bytes)).await?;
        writer.commit().await?;
        Ok((stored, checkpoint.digest))
    }
}

/// A file before it is stored.
struct Look {
    name: String,
    readable: Readable,
    digest: Digest,
    probed: Result<Probed, String>,
}

fn look(file: &FoundFile, scratch: &Scratch) -> Result<Look, IngestError> {
    let (readable, digest) = file.unpack(scratch)?;
    let probed = readable.unchanged(|| probe(&file.name, readable.open()?))?;
    Ok(Look { name: file.name.clone(), readable, digest, probed })
}

fn misfits(kept: &[KeptFile], limit: u64) -> Result<Vec<Misfit>, IngestError> {
    let misfit = |(place, file): (usize, &KeptFile)| {
        let reason = file.stored.probed.as_ref().err()?.clone();
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
        kept.iter().filter_map(|file| file.stored.probed.as_ref().ok().map(|probed| (file, probed))).collect();
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
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(file, _)| file.stored.bytes.cast_signed()))),
        texts(|file| file.stored.digest.to_string()),
        Arc::new(rows.iter().map(|(_, probed)| probed.media_type.as_deref()).collect::<StringArray>()),
        numbers(|probed| probed.width),
        numbers(|probed| probed.height),
        Arc::new(rows.iter().map(|(_, probed)| probed.duration_seconds).collect::<Float64Array>()),
        numbers(|probed| probed.sample_rate),
        numbers(|probed| probed.channels),
    ]
}
