//! What the spans of a trace have used, beside their contents, which may be long.

use std::collections::{BTreeMap, HashMap};

use ropewalk_catalog::{Connection, Value, query, rows_insert};
use serde_json::{Map, Value as Json};

use super::read::Places;
use super::usage::{COST, Measure, Node, TOKENS};
use super::{NewSpan, TRACE_PAGE};
use crate::TrackingError;

/// What is known of the spans of a trace that came before.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Their ids, with those of the spans that they lie in.
    spans: Vec<(String, Option<String>)>,
    /// What those used that used something, by their ids.
    usages: HashMap<String, String>,
}

impl Before {
    pub(super) async fn read(connection: &mut Connection, number: i64) -> Result<Self, TrackingError> {
        let select = "SELECT id, parent FROM trace_span WHERE trace = $1";
        let spans: Vec<(String, Option<String>)> = query(select).bind(number).fetch_all(connection).await?;
        let select = "SELECT span, used FROM trace_usage WHERE trace = $1";
        let usages: Vec<(String, String)> = query(select).bind(number).fetch_all(connection).await?;
        Ok(Self { spans, usages: usages.into_iter().collect() })
    }

    /// The spans by their ids, with what they used of one thing.
    pub(super) fn nodes(&self, attribute: &str) -> BTreeMap<String, Node> {
        let node = |(id, parent): &(String, Option<String>)| {
            let used = self.usages.get(id).and_then(|usage| used(usage, attribute));
            (id.clone(), Node { id: id.clone(), parent: parent.clone(), used })
        };
        self.spans.iter().map(node).collect()
    }
}

/// Notes what spans used, each in place of what was noted of it unless the trace is `new`.
pub(super) async fn put(
    connection: &mut Connection,
    number: i64,
    new: bool,
    spans: &[NewSpan],
) -> Result<(), TrackingError> {
    let mut rows: Vec<[Value; 3]> = Vec::new();
    let mut none: Vec<Value> = Vec::new();
    for span in spans {
        match usage(span) {
            Some(usage) => rows.push([number.into(), (&span.id).into(), usage.into()]),
            None => none.push((&span.id).into()),
        }
    }
    // A span may come again without what it said before.
    for part in none.chunks(TRACE_PAGE).filter(|_| !new) {
        let places = Places::of(part.len());
        let delete = format!("DELETE FROM trace_usage WHERE trace = $1 AND span IN ({})", places.text(2));
        places.bind(query(delete).bind(number), part.to_vec()).execute(connection).await?;
    }
    if rows.is_empty() {
        return Ok(());
    }
    let head = "INSERT INTO trace_usage (trace, span, used)";
    rows_insert(connection, head, rows, "ON CONFLICT (trace, span) DO UPDATE SET used = excluded.used").await?;
    Ok(())
}

/// What a span used, as it is noted.
fn usage(span: &NewSpan) -> Option<String> {
    let mut attributes = Map::new();
    for measure in [TOKENS, COST] {
        if let Some(object) = span.attribute(measure.attribute).and_then(Measure::object) {
            attributes.insert(measure.attribute.to_owned(), Json::Object(object));
        }
    }
    (!attributes.is_empty()).then(|| serde_json::json!({ "attributes": attributes }).to_string())
}

/// What was used of one thing, by what was noted.
fn used(usage: &str, attribute: &str) -> Option<Map<String, Json>> {
    let parsed: Json = serde_json::from_str(usage).ok()?;
    match parsed.get("attributes")?.get(attribute)? {
        Json::String(text) => Measure::object(text),
        Json::Object(object) => Some(object.clone()),
        _ => None,
    }
}
