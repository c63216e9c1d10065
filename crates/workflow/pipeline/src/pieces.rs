use std::collections::{BTreeMap, BTreeSet};

use ropewalk_catalog::{Catalog, Connection, query};
use ropewalk_types::Digest;

use crate::PipelineError;

/// Notes the checkpoints that the execution of `key` wrote or used, in place of those of an earlier one.
pub async fn pieces_put(
    connection: &mut Connection,
    key: &Digest,
    pieces: &BTreeSet<Digest>,
) -> Result<(), PipelineError> {
    let json = serde_json::to_string(pieces).map_err(|error| damaged(key, &error))?;
    query(
        "INSERT INTO stage_pieces (key, pieces_json) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET pieces_json = excluded.pieces_json",
    )
    .bind(key.to_string())
    .bind(json)
    .execute(connection)
    .await?;
    Ok(())
}

/// The checkpoints of every key whose outcome is known.
pub async fn pieces_list(catalog: &Catalog) -> Result<BTreeMap<Digest, BTreeSet<Digest>>, PipelineError> {
    let rows: Vec<(String, String)> = query("SELECT key, pieces_json FROM stage_pieces").read_all(catalog).await?;
    let read = |(key, json): (String, String)| {
        let key = key.parse::<Digest>().map_err(|error| damaged(&key, &error))?;
        Ok((key, serde_json::from_str(&json).map_err(|error| damaged(&key, &error))?))
    };
    rows.into_iter().map(read).collect()
}

fn damaged(key: &dyn std::fmt::Display, error: &dyn std::fmt::Display) -> PipelineError {
    PipelineError::Outcome { stage: key.to_string(), reason: format!("its checkpoints: {error}") }
}
