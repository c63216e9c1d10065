use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::BooleanArray;
use bytes::Bytes;
use futures::StreamExt as _;
use ropewalk_connectors::{Batch, ConnectorError, PartitionSource};
use ropewalk_types::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use super::super::Work;
use super::super::cast::batch_columns;
use super::super::part_sink::{PartOutcome, PartSink};
use super::super::schema::TableSchema;
use super::super::writing::WrittenPart;
use crate::scratch::Scratch;
use crate::{IngestError, Network};

/// What stands in place of a checkpoint that does not count any more.
pub(super) const FORGOTTEN: &[u8] = b"null";

/// Batches that wait for being written.
const WAITING: usize = 2;

/// What the partitions of one table have in common.
#[derive(Clone)]
pub(super) struct PartitionJob<'a> {
    pub(super) work: Work<'a>,
    pub(super) schema: Arc<TableSchema>,
    /// All that tells this import from others.
    pub(super) identity: Value,
    pub(super) network: Network,
}

/// A partition that is in the store.
pub(super) struct ReadPartition {
    pub(super) name: String,
    pub(super) key: Digest,
    pub(super) written: WrittenPart,
    pub(super) retrieved_at: Timestamp,
    pub(super) reused: bool,
}

#[derive(Serialize, Deserialize)]
struct Checkpoint {
    written: WrittenPart,
    retrieved_at: Timestamp,
}

impl PartitionJob<'_> {
    /// What a checkpoint of `partition` is kept under.
    pub(super) fn key(&self, partition: &PartitionSource) -> Digest {
        Digest::of_json(&json!([self.identity, partition.index(), partition.description()]))
    }

    pub(super) async fn read(self, partition: PartitionSource) -> Result<ReadPartition, IngestError> {
        let name = partition.description().to_owned();
        let key = self.key(&partition);
        let progress = self.work.progress;
        if let Some(Checkpoint { written, retrieved_at }) = self.finished(&key).await? {
            progress.file_read(&name, written.outcome.rows, true);
            return Ok(ReadPartition { name, key, written, retrieved_at, reused: true });
        }
        let retrieved_at = self.network.ambient.now();
        let (target, outcome) = self.write(&name, partition).await?;
        let blob = self.work.workers.put_file(self.work.store, target.path()).await?;
        let checkpoint = Checkpoint { written: WrittenPart::new(blob, outcome), retrieved_at };
        let bytes = serde_json::to_vec(&checkpoint)
            .map_err(|error| IngestError::Encoding { action: "encode a checkpoint", reason: error.to_string() })?;
        let kept = self.work.store.put_bytes(Bytes::from(bytes)).await?;
        self.work.checkpoints.put(&key, &kept.digest).await?;
        progress.file_read(&name, checkpoint.written.outcome.rows, false);
        Ok(ReadPartition { name, key, written: checkpoint.written, retrieved_at, reused: false })
    }

    async fn finished(&self, key: &Digest) -> Result<Option<Checkpoint>, IngestError> {
        let store = self.work.store;
        let Some(value) = self.work.checkpoints.get(key).await? else { return Ok(None) };
        if !store.contains(&value).await? {
            return Ok(None);
        }
        // Forgotten ones, and those of earlier versions of this program, do not count.
        let Ok(checkpoint) = serde_json::from_slice::<Checkpoint>(&store.get_bytes(&value).await?) else {
            return Ok(None);
        };
        Ok(store.contains(&checkpoint.written.digest).await?.then_some(checkpoint))
    }

    /// Receives the rows of a partition while another thread writes them.
    async fn write(&self, name: &str, partition: PartitionSource) -> Result<(NamedTempFile, PartOutcome), IngestError> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (name, schema, scratch) = (name.to_owned(), Arc::clone(&self.schema), Arc::clone(self.work.scratch));
        let limit = self.work.settings.limits.quarantined_rows;
        let writer = self.work.workers.run(move || part_write(&name, &schema, limit, &scratch, receiver));
        let feeder = async move {
            let mut stream = partition.open();
            while let Some(batch) = stream.next().await {
                let broken = batch.is_err();
                // The writer has ended early only with an error of its own, which is the one to tell.
                if sender.send(batch).await.is_err() || broken {
                    break;
                }
            }
        };
        let ((), written) = futures::join!(feeder, writer);
        written
    }
}

fn part_write(
    name: &str,
    schema: &TableSchema,
    limit: u64,
    scratch: &Scratch,
    mut batches: mpsc::Receiver<Result<Batch, ConnectorError>>,
) -> Result<(NamedTempFile, PartOutcome), IngestError> {
    let target = scratch.file()?;
    let output = target.as_file().try_clone().map_err(IngestError::stream("write a part"))?;
    let mut sink = PartSink::new(schema, name, None, limit, output)?;
    let mut before = 0;
    while let Some(batch) = batches.blocking_recv() {
        let batch = batch?;
        batch_write(&batch, before, &mut sink)?;
        before += batch.records.num_rows() as u64;
    }
    Ok((target, sink.finish(0)?))
}

/// Rows with a value that does not fit go to quarantine as a whole, as those of files do.
fn batch_write(batch: &Batch, before: u64, sink: &mut PartSink<'_>) -> Result<(), IngestError> {
    let rows = batch.records.num_rows();
    let mut bad = BTreeSet::new();
    for misfit in &batch.misfits {
        let column = Some(misfit.column.clone());
        sink.reject(misfit.row, column, misfit.value.clone(), misfit.reason.clone());
        bad.insert(misfit.row.saturating_sub(before + 1));
    }
    let keep = if bad.is_empty() {
        None
    } else {
        sink.quarantined(bad.len() as u64)?;
        Some((0..rows as u64).map(|row| !bad.contains(&row)).collect::<Vec<_>>())
    };
    let (columns, lost) = batch_columns(&batch.records, sink.schema)?;
    if let Some((row, column)) = lost.first() {
        // The table has the types of the source, so nothing is cast.
        let (row, column) = (before + *row as u64 + 1, &sink.schema.columns[*column].name);
        let reason = format!("column `{column}` of row {row} changed its type on the way");
        return Err(IngestError::Encoding { action: "write a part", reason });
    }
    sink.rows(columns, keep.map(BooleanArray::from).as_ref(), rows)
}
