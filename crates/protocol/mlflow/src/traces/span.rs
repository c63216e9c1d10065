//! Spans: as they are stored (`Span.to_dict` of `mlflow/entities/span.py`) and as they are answered, which is
//! OpenTelemetry's `Span` in ProtoJSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ropewalk_tracking::TrackingError;
use serde::{Deserialize, Serialize};

use super::any::{Any, MembersOut};
use crate::MlflowError;
use crate::wire::number::Int64;

/// Before the id of a trace that OpenTelemetry numbered.
pub(super) const TRACE_PREFIX: &str = "tr-";

#[derive(Debug, Deserialize)]
pub(super) struct StoredSpan {
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    name: String,
    start_time_unix_nano: Int64,
    end_time_unix_nano: Option<Int64>,
    #[serde(default)]
    events: Vec<StoredEvent>,
    status: Option<StoredStatus>,
    attributes: Option<Any>,
    #[serde(default)]
    links: Vec<StoredLink>,
}

#[derive(Debug, Deserialize)]
struct StoredEvent {
    name: String,
    time_unix_nano: Int64,
    attributes: Option<Any>,
}

#[derive(Debug, Deserialize)]
struct StoredStatus {
    code: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct StoredLink {
    trace_id: String,
    span_id: String,
    attributes: Option<Any>,
}

#[derive(Serialize)]
pub(super) struct SpanOut<'a> {
    trace_id: &'a str,
    span_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<&'a str>,
    name: &'a str,
    start_time_unix_nano: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time_unix_nano: Option<i64>,
    #[serde(skip_serializing_if = "MembersOut::is_empty")]
    attributes: MembersOut<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<EventOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<LinkOut<'a>>,
    status: StatusOut<'a>,
}

#[derive(Serialize)]
struct EventOut<'a> {
    time_unix_nano: i64,
    name: &'a str,
    #[serde(skip_serializing_if = "MembersOut::is_empty")]
    attributes: MembersOut<'a>,
}

#[derive(Serialize)]
struct LinkOut<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "MembersOut::is_empty")]
    attributes: MembersOut<'a>,
}

#[derive(Serialize)]
struct StatusOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
}

impl StoredSpan {
    /// Reads what is stored.
    pub(super) fn read(content: &str) -> Result<Self, MlflowError> {
        let mut span: Self = serde_json::from_str(content).map_err(|_| TrackingError::Damaged {
            table: "trace_span",
            value: content.chars().take(80).collect(),
            expected: "span in JSON",
        })?;
        if let Some(Any::Map(attributes)) = &mut span.attributes {
            for (_, value) in attributes {
                let Any::Text(text) = &*value else { continue };
                // What is not JSON is itself the value: other writers than this server may have stored it.
                if let Ok(inner) = serde_json::from_str::<Any>(text) {
                    *value = inner;
                }
            }
        }
        Ok(span)
    }

    pub(super) fn out(&self) -> SpanOut<'_> {
        SpanOut {
            trace_id: &self.trace_id,
            span_id: &self.span_id,
            parent_span_id: self.parent_span_id.as_deref().filter(|parent| !parent.is_empty()),
            name: &self.name,
            start_time_unix_nano: self.start_time_unix_nano.0,
            end_time_unix_nano: self.end_time_unix_nano.map(|end| end.0).filter(|end| *end != 0),
            attributes: members(self.attributes.as_ref()),
            events: self.events.iter().map(StoredEvent::out).collect(),
            links: self.links.iter().filter_map(StoredLink::out).collect(),
            status: self.status.as_ref().map_or(StatusOut { message: None, code: None }, StoredStatus::out),
        }
    }
}

fn members(attributes: Option<&Any>) -> MembersOut<'_> {
    match attributes {
        Some(Any::Map(members)) => MembersOut(members),
        _ => MembersOut(&[]),
    }
}

impl StoredEvent {
    fn out(&self) -> EventOut<'_> {
        EventOut {
            time_unix_nano: self.time_unix_nano.0,
            name: &self.name,
            attributes: members(self.attributes.as_ref()),
        }
    }
}

impl StoredLink {
    /// None if its ids are not such as OpenTelemetry has.
    fn out(&self) -> Option<LinkOut<'_>> {
        let trace = self.trace_id.strip_prefix(TRACE_PREFIX).unwrap_or(&self.trace_id);
        let trace = u128::from_str_radix(trace, 16).ok()?;
        let span = u64::from_str_radix(&self.span_id, 16).ok()?;
        Some(LinkOut {
            trace_id: STANDARD.encode(trace.to_be_bytes()),
            span_id: STANDARD.encode(span.to_be_bytes()),
            attributes: members(self.attributes.as_ref()),
        })
    }
}

impl StoredStatus {
    fn out(&self) -> StatusOut<'_> {
        let code = match self.code.as_deref() {
            Some("STATUS_CODE_OK" | "OK") => Some("STATUS_CODE_OK"),
            Some("STATUS_CODE_ERROR" | "ERROR") => Some("STATUS_CODE_ERROR"),
            _ => None,
        };
        StatusOut { message: self.message.as_deref().filter(|message| !message.is_empty()), code }
    }
}
