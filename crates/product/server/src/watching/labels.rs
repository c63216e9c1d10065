use std::collections::HashMap;

use ropewalk_config::Monitor;
use ropewalk_data::{NamedTable, query};
use ropewalk_types::Timestamp;
use serde_json::{Value, json};

use crate::{OpenProject, ServerError};

/// What is known by now of something that was predicted.
pub(super) struct Label {
    /// The truth; none where it has not come.
    pub(super) truth: Option<bool>,
    /// When the thing happened, where the dataset says so.
    pub(super) at: Option<Timestamp>,
}

impl OpenProject {
    /// The labels by the request's own id, from the latest version of the dataset that holds them.
    pub(super) async fn labels(&self, monitor: &Monitor) -> Result<HashMap<String, Label>, ServerError> {
        let what = json!({ "what": "monitor", "model": monitor.model });
        let version = self.version_to_read(&monitor.labels, "latest", what).await?;
        let time = monitor.time.as_ref().map_or_else(
            || "NULL".to_owned(),
            |time| format!("CAST(date_part('epoch', {}) * 1000 AS BIGINT)", quoted(time)),
        );
        let sql = format!(
            "SELECT CAST({} AS VARCHAR) AS k, CAST({} AS DOUBLE) AS y, {time} AS t FROM labels",
            quoted(&monitor.key),
            quoted(&monitor.target),
        );
        let table = NamedTable { name: "labels".to_owned(), tree: version.digest };
        let answer = query(&sql, &[table], &[], &self.store, &self.query_limits()).await?.write_json()?;
        let rows: Vec<Value> =
            serde_json::from_slice(&answer).map_err(|error| ServerError::Serve(error.to_string()))?;
        Ok(rows.iter().filter_map(label).collect())
    }
}

fn label(row: &Value) -> Option<(String, Label)> {
    let key = row.get("k")?.as_str()?.to_owned();
    let truth = row.get("y").and_then(Value::as_f64).map(|label| label > 0.5);
    let at = row.get("t").and_then(Value::as_i64).map(Timestamp);
    Some((key, Label { truth, at }))
}

/// A column's name as SQL takes it literally.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
