//! Traces of another server, as it had them.

use std::collections::BTreeMap;

use ropewalk_catalog::{Connection, Value, rows_insert};

use super::{FINALIZED, NewSpan, TraceInfo, assessment, link, read, span, start};
use crate::limits::{KEY_CHARACTERS, TAG_CHARACTERS, cut};
use crate::tracking::transaction;
use crate::{Tracking, TrackingError};

/// A trace of another server.
#[derive(Clone, Debug)]
pub struct TakenTrace {
    /// What it is; its experiment was taken over before.
    pub info: TraceInfo,
    /// Its spans, as far as they lie with it; each id once.
    pub spans: Vec<NewSpan>,
    /// Ids of the runs that it is linked to, which need not be there.
    pub runs: Vec<String>,
    /// The versions of prompts that it is linked to, as `name/version`.
    pub prompts: Vec<String>,
}

impl Tracking {
    /// Takes a trace over, also one of a deleted experiment; true if it was not here. One that is here only gets its links.
    pub async fn trace_take_over(&self, taken: TakenTrace) -> Result<bool, TrackingError> {
        transaction!(self, |connection| take_over(connection, taken))
    }
}

async fn take_over(connection: &mut Connection, taken: TakenTrace) -> Result<bool, TrackingError> {
    let TakenTrace { info, spans, runs, prompts } = taken;
    start::id_check(&info.id)?;
    prompts.iter().try_for_each(|prompt| link::prompt_check(prompt))?;
    let found = read::number(connection, &info.id).await?;
    let number = match found {
        // Its tags and assessments may have been changed here since.
        Some(number) => number,
        None => insert(connection, &info, spans).await?,
    };
    let runs: Vec<[Value; 2]> = runs.iter().map(|run| [(&info.id).into(), run.into()]).collect();
    rows_insert(connection, "INSERT INTO trace_run (trace_id, run_id)", runs, KEPT).await?;
    let prompts: Vec<[Value; 2]> = prompts.iter().map(|prompt| [number.into(), prompt.into()]).collect();
    rows_insert(connection, "INSERT INTO trace_prompt (trace, prompt)", prompts, KEPT).await?;
    Ok(found.is_none())
}

const KEPT: &str = "ON CONFLICT DO NOTHING";

async fn insert(connection: &mut Connection, info: &TraceInfo, spans: Vec<NewSpan>) -> Result<i64, TrackingError> {
    let finalized = info.metadata.get(FINALIZED).is_some_and(|value| value == "true");
    let number = start::insert(connection, info, finalized).await?;
    start::tags_put(connection, number, bounded(&info.tags)).await?;
    start::metadata_put(connection, number, bounded(&info.metadata)).await?;
    for one in &info.assessments {
        assessment::put(connection, number, one).await?;
    }
    span::put(connection, number, true, spans).await?;
    Ok(number)
}

/// Longer than what clients may send: the server itself writes previews and statistics there.
fn bounded(pairs: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let pair = |(key, value): (&String, &String)| {
        (cut(key, KEY_CHARACTERS).0.to_owned(), cut(value, TAG_CHARACTERS).0.to_owned())
    };
    pairs.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ropewalk_types::{ExperimentId, Timestamp};

    use super::*;
    use crate::testing::tracking;
    use crate::trace::{SPANS_HERE, SPANS_TAG};
    use crate::{Assessment, AssessmentValue, SpanStatus};

    fn taken(spans: usize) -> TakenTrace {
        let mut info = TraceInfo::new("tr-1", ExperimentId(0), Timestamp(7));
        info.duration = Some(3);
        info.tags = BTreeMap::from([
            (SPANS_TAG.to_owned(), SPANS_HERE.to_owned()),
            ("mlflow.artifactLocation".to_owned(), "s3://there/tr-1".to_owned()),
        ]);
        info.metadata = BTreeMap::from([("long".to_owned(), "x".repeat(2_000))]);
        info.assessments = vec![Assessment {
            id: "a-1".to_owned(),
            trace: "tr-1".to_owned(),
            name: "good".to_owned(),
            value: AssessmentValue::Expectation("[1, 2.5]".to_owned()),
            source_kind: "HUMAN".to_owned(),
            source_id: None,
            span: None,
            created: Timestamp(8),
            updated: Timestamp(9),
            rationale: None,
            metadata: BTreeMap::new(),
            overrides: None,
            valid: false,
        }];
        let span = |number: usize| NewSpan {
            trace: "tr-1".to_owned(),
            id: format!("{number:016x}"),
            parent: (number > 0).then(|| format!("{:016x}", 0)),
            name: "step".to_owned(),
            status: SpanStatus::Ok,
            start: 7_000_000,
            end: None,
            attributes: Vec::new(),
            content: format!("{{\"span\": {number}}}"),
            resource: Arc::new(Vec::new()),
        };
        TakenTrace { info, spans: (0..spans).map(span).collect(), runs: vec!["r".to_owned()], prompts: Vec::new() }
    }

    #[tokio::test]
    async fn a_trace_is_as_it_was_and_taking_it_again_changes_nothing() {
        let tracking = tracking().await;
        assert!(tracking.trace_take_over(taken(2)).await.expect("taken"));
        let first = tracking.trace_get("tr-1", false).await.expect("trace");
        assert_eq!(first.info, taken(0).info);
        assert_eq!(first.spans, ["{\"span\": 0}", "{\"span\": 1}"]);
        tracking.assessment_delete("tr-1", "a-1").await.expect("deleted");
        assert!(!tracking.trace_take_over(taken(2)).await.expect("again"));
        let second = tracking.trace_get("tr-1", false).await.expect("trace");
        assert!(second.info.assessments.is_empty() && second.spans == first.spans);
    }
}
