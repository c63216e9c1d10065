//! Traces of another MLflow as ours: what its API and its database say of them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ropewalk_tracking::{NewSpan, SpanStatus, TraceInfo};
use ropewalk_types::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::any::{Any, python_json};
use super::info::InfoIn;
use crate::MlflowError;

/// A `TraceInfoV3` in ProtoJSON as ours; assessments without a time were made `now`.
///
/// # Errors
/// It is not one, or a field has no value that it may have.
pub fn trace_info_of(info: Value, now: Timestamp) -> Result<TraceInfo, MlflowError> {
    let info: InfoIn = serde_json::from_value(info).map_err(|error| MlflowError::invalid("trace_info", &error))?;
    info.info(now)
}

/// A span of `trace` as MLflow writes it down (`Span.to_dict` of `mlflow/entities/span.py`).
///
/// # Errors
/// It is not JSON, or lacks an id, a name or a start.
pub fn span_of(trace: &str, content: String) -> Result<NewSpan, MlflowError> {
    let parsed: Any = serde_json::from_str(&content).map_err(|error| MlflowError::invalid("span", &error))?;
    span(trace, &parsed, content)
}

/// The spans in `{"spans": […]}`, which is what `get-trace-artifact` answers.
///
/// # Errors
/// It is not such a text.
pub fn spans_of(trace: &str, file: &str) -> Result<Vec<NewSpan>, MlflowError> {
    let file: SpansFile = serde_json::from_str(file).map_err(|error| MlflowError::invalid("spans", &error))?;
    file.spans.iter().map(|one| span(trace, one, python_json(one))).collect()
}

#[derive(Deserialize)]
struct SpansFile {
    spans: Vec<Any>,
}

fn span(trace: &str, parsed: &Any, content: String) -> Result<NewSpan, MlflowError> {
    let id = text(parsed, "span_id").and_then(hexadecimal).ok_or(MlflowError::Missing("span_id"))?;
    let status = member(parsed, "status").and_then(|status| text(status, "code"));
    let attributes: &[(String, Any)] = match member(parsed, "attributes") {
        Some(Any::Map(members)) => members,
        _ => &[],
    };
    let attribute = |(key, value): &(String, Any)| {
        let json = match value {
            Any::Text(json) => json.clone(),
            other => python_json(other),
        };
        (key.clone(), json)
    };
    Ok(NewSpan {
        trace: trace.to_owned(),
        id,
        parent: text(parsed, "parent_span_id").and_then(hexadecimal),
        name: text(parsed, "name").unwrap_or_default().to_owned(),
        status: match status {
            Some("STATUS_CODE_OK" | "OK") => SpanStatus::Ok,
            Some("STATUS_CODE_ERROR" | "ERROR") => SpanStatus::Error,
            _ => SpanStatus::Unset,
        },
        start: whole(parsed, "start_time_unix_nano").ok_or(MlflowError::Missing("start_time_unix_nano"))?,
        end: whole(parsed, "end_time_unix_nano").filter(|end| *end != 0),
        attributes: attributes.iter().map(attribute).collect(),
        content,
        resource: Arc::new(Vec::new()),
    })
}

fn member<'a>(value: &'a Any, name: &str) -> Option<&'a Any> {
    let Any::Map(members) = value else { return None };
    members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn text<'a>(value: &'a Any, name: &str) -> Option<&'a str> {
    match member(value, name) {
        Some(Any::Text(text)) => Some(text),
        _ => None,
    }
}

fn whole(value: &Any, name: &str) -> Option<i64> {
    match member(value, name) {
        Some(Any::Int(number)) => Some(*number),
        Some(Any::Text(text)) => text.parse().ok(),
        _ => None,
    }
}

/// The 8 bytes of a span's id, which are written in base 64, in the digits by which spans are found.
fn hexadecimal(id: &str) -> Option<String> {
    let bytes: [u8; 8] = STANDARD.decode(id).ok()?.try_into().ok()?;
    Some(format!("{:016x}", u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CHILD: &str = r#"{"trace_id": "MaKPaajvrMYvSmezpcpJrg==", "span_id": "D4xetrozCA8=", "parent_span_id": "snSsPzrrCiQ=", "name": "child", "start_time_unix_nano": 1796039304528168972, "end_time_unix_nano": null, "events": [], "status": {"code": "STATUS_CODE_ERROR", "message": ""}, "attributes": {"z": "1", "mlflow.spanType": "\"LLM\""}, "links": []}"#;

    #[test]
    fn spans_keep_their_text_and_are_found_by_their_digits() {
        let span = span_of("tr-1", CHILD.to_owned()).expect("span");
        assert_eq!((span.id.as_str(), span.parent.as_deref()), ("0f8c5eb6ba33080f", Some("b274ac3f3aeb0a24")));
        assert_eq!((span.start, span.end, span.status), (1_796_039_304_528_168_972, None, SpanStatus::Error));
        assert_eq!(span.attributes.last().map(|(_, value)| value.as_str()), Some("\"LLM\""));
        assert_eq!(span.content, CHILD);
        let spans = spans_of("tr-1", &format!("{{\"spans\": [{CHILD}]}}")).expect("spans");
        assert_eq!(spans, [span]);
        assert!(span_of("tr-1", "{\"name\": \"x\"}".to_owned()).is_err());
    }

    #[test]
    fn infos_keep_whole_numbers_of_expectations() {
        let expected = json!({ "serialization_format": "JSON_FORMAT", "value": "{\"a\": [1, 2.5]}" });
        let info = json!({
            "trace_id": "tr-1", "trace_location": { "mlflow_experiment": { "experiment_id": "6" } },
            "request_time": "2026-11-30T11:48:24.527Z", "execution_duration": "1.250s", "state": "OK",
            "assessments": [{
                "assessment_id": "a-1", "assessment_name": "e", "create_time": "2026-11-30T11:48:24.001Z",
                "expectation": { "serialized_value": expected }, "valid": false,
            }],
        });
        let info = trace_info_of(info, Timestamp(0)).expect("info");
        assert_eq!((info.requested, info.duration), (Timestamp(1_796_039_304_527), Some(1250)));
        let assessment = info.assessments.first().expect("assessment");
        assert!(!assessment.valid && assessment.created == Timestamp(1_796_039_304_001));
        let value = ropewalk_tracking::AssessmentValue::Expectation("{\"a\": [1, 2.5]}".to_owned());
        assert_eq!(assessment.value, value);
    }
}
