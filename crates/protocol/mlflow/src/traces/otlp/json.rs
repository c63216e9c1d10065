//! OpenTelemetry's JSON: ProtoJSON, except that ids are hexadecimal
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::proto;
use crate::MlflowError;
use crate::wire::number::{Double, Int64};

pub(super) fn request(body: &[u8]) -> Result<proto::ExportTraceServiceRequest, MlflowError> {
    let request: Request = serde_json::from_slice(body).map_err(|error| MlflowError::NotJson(error.to_string()))?;
    let resource_spans = request.resource_spans.into_iter().map(ResourceSpans::message).collect::<Result<_, _>>()?;
    Ok(proto::ExportTraceServiceRequest { resource_spans })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResourceSpans {
    resource: Option<Resource>,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resource {
    attributes: Vec<KeyValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ScopeSpans {
    spans: Vec<Span>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_field_names, reason = "names of the protocol")]
struct Span {
    trace_id: String,
    span_id: String,
    parent_span_id: String,
    name: String,
    start_time_unix_nano: Option<Int64>,
    end_time_unix_nano: Option<Int64>,
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
    links: Vec<Link>,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event {
    time_unix_nano: Option<Int64>,
    name: String,
    attributes: Vec<KeyValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Link {
    trace_id: String,
    span_id: String,
    attributes: Vec<KeyValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    code: serde_json::Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyValue {
    key: String,
    value: Option<AnyValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_field_names, reason = "names of the protocol")]
struct AnyValue {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Option<Int64>,
    double_value: Option<Double>,
    array_value: Option<ArrayValue>,
    kvlist_value: Option<KeyValueList>,
    bytes_value: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArrayValue {
    values: Vec<AnyValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyValueList {
    values: Vec<KeyValue>,
}

impl ResourceSpans {
    fn message(self) -> Result<proto::ResourceSpans, MlflowError> {
        let resource = self.resource.map(|resource| proto::Resource { attributes: pairs(resource.attributes) });
        let scope = |scope: ScopeSpans| -> Result<proto::ScopeSpans, MlflowError> {
            let spans = scope.spans.into_iter().map(Span::message).collect::<Result<_, _>>()?;
            Ok(proto::ScopeSpans { spans })
        };
        let scope_spans = self.scope_spans.into_iter().map(scope).collect::<Result<_, _>>()?;
        Ok(proto::ResourceSpans { resource, scope_spans })
    }
}

impl Span {
    fn message(self) -> Result<proto::Span, MlflowError> {
        Ok(proto::Span {
            trace_id: bytes(&self.trace_id)?,
            span_id: bytes(&self.span_id)?,
            parent_span_id: bytes(&self.parent_span_id)?,
            name: self.name,
            start_time_unix_nano: nanos(self.start_time_unix_nano)?,
            end_time_unix_nano: nanos(self.end_time_unix_nano)?,
            attributes: pairs(self.attributes),
            events: self.events.into_iter().map(Event::message).collect::<Result<_, _>>()?,
            links: self.links.into_iter().map(Link::message).collect::<Result<_, _>>()?,
            status: self.status.map(Status::message),
        })
    }
}

impl Event {
    fn message(self) -> Result<proto::Event, MlflowError> {
        let time_unix_nano = nanos(self.time_unix_nano)?;
        Ok(proto::Event { time_unix_nano, name: self.name, attributes: pairs(self.attributes) })
    }
}

impl Link {
    fn message(self) -> Result<proto::Link, MlflowError> {
        Ok(proto::Link {
            trace_id: bytes(&self.trace_id)?,
            span_id: bytes(&self.span_id)?,
            attributes: pairs(self.attributes),
        })
    }
}

impl Status {
    fn message(self) -> proto::Status {
        let code = match self.code.as_str() {
            Some("STATUS_CODE_OK") => 1,
            Some("STATUS_CODE_ERROR") => 2,
            Some(_) => 0,
            None => self.code.as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or_default(),
        };
        proto::Status { message: self.message, code }
    }
}

fn nanos(time: Option<Int64>) -> Result<u64, MlflowError> {
    let Some(Int64(time)) = time else { return Ok(0) };
    u64::try_from(time).map_err(|_| MlflowError::invalid("timeUnixNano", &format!("{time} lies before 1970")))
}

/// An id; hexadecimal digits of either case.
fn bytes(text: &str) -> Result<Vec<u8>, MlflowError> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some((digit(high)? << 4) | digit(low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    let reason = || format!("'{}' does not have hexadecimal digits", text.chars().take(40).collect::<String>());
    bytes.ok_or_else(|| MlflowError::invalid("spanId", &reason()))
}

fn pairs(pairs: Vec<KeyValue>) -> Vec<proto::KeyValue> {
    pairs.into_iter().map(|pair| proto::KeyValue { key: pair.key, value: pair.value.map(value) }).collect()
}

fn value(any: AnyValue) -> proto::AnyValue {
    use proto::any_value::Value;
    let text = any.string_value.map(Value::Text);
    let bytes = || any.bytes_value.and_then(|text| STANDARD.decode(text).ok()).map(Value::Blob);
    let list =
        |list: ArrayValue| Value::Array(proto::ArrayValue { values: list.values.into_iter().map(value).collect() });
    let members = |members: KeyValueList| Value::Members(proto::KeyValueList { values: pairs(members.values) });
    let value = text
        .or_else(|| any.bool_value.map(Value::Boolean))
        .or_else(|| any.int_value.map(|Int64(number)| Value::Integer(number)))
        .or_else(|| any.double_value.map(|Double(number)| Value::Real(number)))
        .or_else(|| any.array_value.map(list))
        .or_else(|| any.kvlist_value.map(members))
        .or_else(bytes);
    proto::AnyValue { value }
}
