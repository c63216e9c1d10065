//! What a remote has, of which every byte may be anybody's.

use bytes::Bytes;
use ropewalk_data::{TableRecord, TableState};
use ropewalk_store::{RefName, Store, StoreError};
use ropewalk_types::{DatasetName, Diagnose as _, Digest, Timestamp};

use super::layout::{state_ref, version_ref};
use crate::ServerError;

/// A collector may condemn what a commit took for granted as often as this.
const MAX_ROUNDS: usize = 4;

/// The blob that a ref names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointed {
    pub(super) digest: Digest,
    pub(super) generation: u64,
}

/// A state, the blob that it was read from, and the generation of its ref.
#[derive(Clone, Debug)]
pub(super) struct ReadState {
    pub(super) state: TableState,
    pub(super) blob: Digest,
    pub(super) generation: u64,
}

/// What a ref of a table names; none for a ref that is not there.
pub(super) async fn pointed(store: &Store, reference: &RefName) -> Result<Option<Pointed>, ServerError> {
    let Some(value) = store.ref_get(reference).await? else { return Ok(None) };
    let digest = std::str::from_utf8(&value.bytes).ok().and_then(|text| text.parse().ok());
    match digest {
        Some(digest) => Ok(Some(Pointed { digest, generation: value.generation })),
        None => Err(ServerError::Unknown {
            what: format!("the ref `{reference}` of the remote names no object"),
            hint: "`ropewalk data verify --remote NAME --heal` sets it again on a machine that has that table"
                .to_owned(),
        }),
    }
}

/// A blob of at most `limit` bytes.
pub(super) async fn bounded(store: &Store, digest: &Digest, limit: u64) -> Result<Bytes, StoreError> {
    let size = store.size(digest).await?;
    if size > limit {
        return Err(StoreError::TooLarge { what: format!("the object {digest}"), size, limit, unit: "bytes" });
    }
    store.get_bytes(digest).await
}

/// The state of a table in a remote, if it has one.
pub(super) async fn state_read(
    store: &Store,
    name: &DatasetName,
    now: Timestamp,
) -> Result<Option<ReadState>, ServerError> {
    let Some(Pointed { digest: blob, generation }) = pointed(store, &state_ref(name)?).await? else { return Ok(None) };
    let bytes = bounded(store, &blob, TableState::MAX_BYTES).await?;
    Ok(Some(ReadState { state: TableState::decode(&bytes, name, now)?, blob, generation }))
}

/// The record of a version in a remote, if it has one, and the generation of its ref.
pub(super) async fn record_read(
    store: &Store,
    name: &DatasetName,
    digest: &Digest,
    now: Timestamp,
) -> Result<Option<(TableRecord, u64)>, ServerError> {
    let read = record_measured(store, name, digest, now).await?;
    Ok(read.map(|(record, generation, _)| (record, generation)))
}

/// As [`record_read`], with the bytes that the record has.
pub(super) async fn record_measured(
    store: &Store,
    name: &DatasetName,
    digest: &Digest,
    now: Timestamp,
) -> Result<Option<(TableRecord, u64, u64)>, ServerError> {
    let Some(pointed) = pointed(store, &version_ref(name, digest)?).await? else { return Ok(None) };
    let bytes = bounded(store, &pointed.digest, TableRecord::MAX_BYTES).await?;
    Ok(Some((TableRecord::decode(&bytes, name, digest, now)?, pointed.generation, bytes.len() as u64)))
}

/// Stores objects, all of which are durable and visible on return.
pub(super) async fn blobs_put(store: &Store, blobs: &[Bytes]) -> Result<(), StoreError> {
    for _ in 1..MAX_ROUNDS {
        match blobs_commit(store, blobs).await {
            Err(StoreError::Collected { .. }) => {}
            result => return result,
        }
    }
    blobs_commit(store, blobs).await
}

async fn blobs_commit(store: &Store, blobs: &[Bytes]) -> Result<(), StoreError> {
    let mut writer = store.writer();
    for blob in blobs {
        writer.add_bytes(blob.clone()).await?;
    }
    writer.commit().await
}

/// Whether an error says that what one table has in the remote is wrong, so that other tables can go on.
pub(super) fn concerns_one(error: &ServerError) -> bool {
    const CODES: [&str; 10] = [
        "data.foreign",
        "data.newer_format",
        "data.zone_change",
        "ingest.damaged",
        "lineage.too_deep",
        "server.unknown",
        "store.damaged",
        "store.malformed",
        "store.not_found",
        "store.too_large",
    ];
    CODES.contains(&error.code())
}

/// What concerns one table is left to the caller; what concerns all of them ends the push.
pub(super) fn one_table<T>(result: Result<T, ServerError>) -> Result<Result<T, ServerError>, ServerError> {
    match result {
        Err(error) if !concerns_one(&error) => Err(error),
        result => Ok(result),
    }
}
