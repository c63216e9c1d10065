use ropewalk_catalog::{Connection, Value, query, rows_insert};
use ropewalk_types::RunId;

use super::{TRACE_LINKS, TraceError, read, start};
use crate::TrackingError;
use crate::limits::length_check;

/// Longest name and version of a prompt, with the `/` between them.
const PROMPT_CHARACTERS: usize = 500;

pub(super) async fn run(connection: &mut Connection, run: RunId, traces: &[String]) -> Result<(), TrackingError> {
    let (count, limit) = (traces.len(), TRACE_LINKS);
    if count > limit {
        return Err(TraceError::TooMany { kind: "traces", count, limit }.into());
    }
    traces.iter().try_for_each(|trace| start::id_check(trace))?;
    let id = run.to_string();
    let known: Option<i64> = query("SELECT number FROM run WHERE id = $1").bind(&id).fetch_optional(connection).await?;
    known.ok_or(TrackingError::RunAbsent(run))?;
    let rows: Vec<[Value; 2]> = traces.iter().map(|trace| [trace.into(), (&id).into()]).collect();
    rows_insert(connection, "INSERT INTO trace_run (trace_id, run_id)", rows, "ON CONFLICT DO NOTHING").await?;
    Ok(())
}

pub(super) async fn prompts(connection: &mut Connection, trace: &str, prompts: &[String]) -> Result<(), TrackingError> {
    let (count, limit) = (prompts.len(), TRACE_LINKS);
    if count > limit {
        return Err(TraceError::TooMany { kind: "prompt versions", count, limit }.into());
    }
    prompts.iter().try_for_each(|prompt| prompt_check(prompt))?;
    let number = read::number_of(connection, trace).await?;
    let rows: Vec<[Value; 2]> = prompts.iter().map(|prompt| [number.into(), prompt.into()]).collect();
    rows_insert(connection, "INSERT INTO trace_prompt (trace, prompt)", rows, "ON CONFLICT DO NOTHING").await?;
    Ok(())
}

/// It is a key of an index, in which PostgreSQL keeps no long text.
pub(super) fn prompt_check(prompt: &str) -> Result<(), TrackingError> {
    length_check("prompt_versions", prompt, PROMPT_CHARACTERS)
}
