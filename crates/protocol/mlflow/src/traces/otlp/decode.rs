//! From OpenTelemetry's messages to spans as they are kept.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message as _;
use ropewalk_tracking::{NewSpan, SPAN_BATCH, SpanStatus, TraceError, TrackingError};
use serde::Serialize;
use serde::ser::SerializeMap as _;

use super::proto::any_value::Value;
use super::proto::{AnyValue, Event, ExportTraceServiceRequest, KeyValue, Link, Span};
use super::{Encoding, Rejected, json};
use crate::MlflowError;
use crate::traces::any::{Any, python_json};
use crate::traces::span::TRACE_PREFIX;

/// The attribute in which a span names its trace; made here and not taken from the client.
const TRACE_ATTRIBUTE: &str = "mlflow.traceRequestId";

/// What a request holds.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) spans: Vec<NewSpan>,
    pub(super) rejected: Rejected,
}

pub(super) fn decode(encoding: Encoding, body: &Bytes) -> Result<Decoded, MlflowError> {
    let request = match encoding {
        Encoding::Protobuf => ExportTraceServiceRequest::decode(&**body)
            .map_err(|error| MlflowError::Message(format!("it is not an ExportTraceServiceRequest: {error}")))?,
        Encoding::Json => json::request(body)?,
    };
    if request.resource_spans.is_empty() {
        return Err(MlflowError::Message("the request holds no spans".to_owned()));
    }
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let count: usize = scopes.map(|scope| scope.spans.len()).sum();
    let limit = SPAN_BATCH;
    if count > limit {
        return Err(TrackingError::from(TraceError::TooMany { kind: "spans", count, limit }).into());
    }
    let mut decoded = Decoded { spans: Vec::with_capacity(count), rejected: Rejected::default() };
    for resource_spans in request.resource_spans {
        let attributes = resource_spans.resource.unwrap_or_default().attributes;
        let resource: Vec<(String, String)> =
            members(attributes).into_iter().map(|(key, value)| (key, as_text(value))).collect();
        let resource = Arc::new(resource);
        for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            match new_span(span, &resource) {
                Ok(span) => decoded.spans.push(span),
                Err(reason) => {
                    decoded.rejected.count += 1;
                    reason.clone_into(&mut decoded.rejected.reason);
                }
            }
        }
    }
    Ok(decoded)
}

/// A text as it is, all else as JSON.
fn as_text(value: Any) -> String {
    match value {
        Any::Text(text) => text,
        other => python_json(&other),
    }
}

#[derive(Serialize)]
struct Content<'a> {
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    name: &'a str,
    start_time_unix_nano: i64,
    end_time_unix_nano: Option<i64>,
    events: Vec<EventContent>,
    status: StatusContent<'a>,
    attributes: Texts<'a>,
    links: Vec<LinkContent>,
}

#[derive(Serialize)]
struct EventContent {
    name: String,
    time_unix_nano: i64,
    attributes: Any,
}

#[derive(Serialize)]
struct StatusContent<'a> {
    code: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct LinkContent {
    trace_id: String,
    span_id: String,
    attributes: Option<Any>,
}

/// Pairs as a map.
struct Texts<'a>(&'a [(String, String)]);

impl Serialize for Texts<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

fn new_span(span: Span, resource: &Arc<Vec<(String, String)>>) -> Result<NewSpan, &'static str> {
    let trace = u128::from_be_bytes(span.trace_id.as_slice().try_into().map_err(|_| "a trace id has 16 bytes")?);
    let id = u64::from_be_bytes(span.span_id.as_slice().try_into().map_err(|_| "a span id has 8 bytes")?);
    if trace == 0 || id == 0 {
        return Err("an id is not 0");
    }
    let parent = match span.parent_span_id.as_slice() {
        [] => None,
        parent => Some(u64::from_be_bytes(parent.try_into().map_err(|_| "a parent's span id has 8 bytes")?)),
    };
    let parent = parent.filter(|parent| *parent != 0);
    let time = |nanos: u64| i64::try_from(nanos).map_err(|_| "a time lies after the year 2262");
    let start = time(span.start_time_unix_nano)?;
    // A span that goes on has the end 0.
    let end = Some(time(span.end_time_unix_nano)?).filter(|end| *end != 0);
    let trace_id = format!("{TRACE_PREFIX}{trace:032x}");
    let mut attributes: Vec<(String, String)> =
        members(span.attributes).into_iter().map(|(key, value)| (key, python_json(&value))).collect();
    let own = python_json(&Any::Text(trace_id.clone()));
    match attributes.iter_mut().find(|(key, _)| key == TRACE_ATTRIBUTE) {
        Some((_, value)) => *value = own,
        None => attributes.push((TRACE_ATTRIBUTE.to_owned(), own)),
    }
    let status = span.status.unwrap_or_default();
    let (status, code, message) = match status.code {
        1 => (SpanStatus::Ok, "STATUS_CODE_OK", status.message),
        2 => (SpanStatus::Error, "STATUS_CODE_ERROR", status.message),
        _ => (SpanStatus::Unset, "STATUS_CODE_UNSET", status.message),
    };
    let content = Content {
        trace_id: STANDARD.encode(trace.to_be_bytes()),
        span_id: STANDARD.encode(id.to_be_bytes()),
        parent_span_id: parent.map(|parent| STANDARD.encode(parent.to_be_bytes())),
        name: &span.name,
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        events: span.events.into_iter().map(event).collect::<Result<_, _>>()?,
        status: StatusContent { code, message: &message },
        attributes: Texts(&attributes),
        links: span.links.into_iter().filter_map(link).collect(),
    };
    let content = python_json(&content);
    Ok(NewSpan {
        trace: trace_id,
        id: format!("{id:016x}"),
        parent: parent.map(|parent| format!("{parent:016x}")),
        name: span.name,
        status,
        start,
        end,
        attributes,
        content,
        resource: Arc::clone(resource),
    })
}

fn event(event: Event) -> Result<EventContent, &'static str> {
    let time_unix_nano = i64::try_from(event.time_unix_nano).map_err(|_| "a time lies after the year 2262")?;
    Ok(EventContent { name: event.name, time_unix_nano, attributes: Any::Map(members(event.attributes)) })
}

/// None if its ids are none: the span is worth more than its link.
fn link(link: Link) -> Option<LinkContent> {
    let trace = u128::from_be_bytes(link.trace_id.as_slice().try_into().ok()?);
    let span = u64::from_be_bytes(link.span_id.as_slice().try_into().ok()?);
    let attributes = members(link.attributes);
    Some(LinkContent {
        trace_id: format!("{TRACE_PREFIX}{trace:032x}"),
        span_id: format!("{span:016x}"),
        attributes: (!attributes.is_empty()).then_some(Any::Map(attributes)),
    })
}

/// Keys are unique in a span; of two the last counts.
fn members(pairs: Vec<KeyValue>) -> Vec<(String, Any)> {
    let mut members: Vec<(String, Any)> = Vec::with_capacity(pairs.len());
    let mut places: HashMap<String, usize> = HashMap::with_capacity(pairs.len());
    for KeyValue { key, value } in pairs {
        let value = value.map_or(Any::Null, any);
        match places.entry(key) {
            Entry::Occupied(place) => {
                if let Some((_, old)) = members.get_mut(*place.get()) {
                    *old = value;
                }
            }
            Entry::Vacant(place) => {
                members.push((place.key().clone(), value));
                place.insert(members.len() - 1);
            }
        }
    }
    members
}

fn any(value: AnyValue) -> Any {
    match value.value {
        None => Any::Null,
        Some(Value::Text(text)) => Any::Text(text),
        Some(Value::Boolean(value)) => Any::Bool(value),
        Some(Value::Integer(value)) => Any::Int(value),
        Some(Value::Real(value)) => Any::Double(value),
        Some(Value::Array(list)) => Any::List(list.values.into_iter().map(any).collect()),
        Some(Value::Members(list)) => Any::Map(members(list.values)),
        Some(Value::Blob(bytes)) => Any::Text(STANDARD.encode(bytes)),
    }
}
