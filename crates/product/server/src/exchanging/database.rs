use std::path::{Path, PathBuf};

use async_trait::async_trait;
use ropewalk_catalog::{CatalogError, Connection, query};
use ropewalk_store::{Blob, Writer, files};
use ropewalk_types::ExperimentId;
use serde_json::{Value, json};

use super::origin::{Origin, Page, TheirFile, files_below, local, proxied};
use super::record::text;
use super::unreadable;
use crate::ServerError;

/// Runs that are read at once.
const RUNS: i64 = 200;
/// Traces that are read at once; their spans may be long.
const TRACES_AT_ONCE: i64 = 50;
/// Points that are read at once.
const POINTS: i64 = 20_000;
/// Where `mlflow server` keeps artifacts unless it is told otherwise, and where it is told by many.
const ARTIFACTS: [&str; 2] = ["mlartifacts", "artifacts"];

const EXPERIMENTS: &str = "SELECT json_object('experiment_id', CAST(e.experiment_id AS TEXT), 'name', e.name, \
    'artifact_location', e.artifact_location, 'lifecycle_stage', e.lifecycle_stage, 'creation_time', e.creation_time, \
    'last_update_time', e.last_update_time, 'tags', json((SELECT json_group_array(json_object('key', t.key, \
    'value', t.value)) FROM experiment_tags t WHERE t.experiment_id = e.experiment_id))) \
    FROM experiments e ORDER BY e.experiment_id";

const RUN: &str = "SELECT json_object('info', json_object('run_id', r.run_uuid, 'experiment_id', \
    CAST(r.experiment_id AS TEXT), 'run_name', r.name, 'user_id', r.user_id, 'status', r.status, 'start_time', \
    r.start_time, 'end_time', r.end_time, 'artifact_uri', r.artifact_uri, 'lifecycle_stage', r.lifecycle_stage), \
    'data', json_object( \
    'metrics', json((SELECT json_group_array(json_object('key', m.key)) FROM latest_metrics m \
        WHERE m.run_uuid = r.run_uuid)), \
    'params', json((SELECT json_group_array(json_object('key', p.key, 'value', p.value)) FROM params p \
        WHERE p.run_uuid = r.run_uuid)), \
    'tags', json((SELECT json_group_array(json_object('key', t.key, 'value', t.value)) FROM tags t \
        WHERE t.run_uuid = r.run_uuid))), \
    'inputs', json_object('dataset_inputs', json((SELECT json_group_array(json_object( \
        'dataset', json_object('name', d.name, 'digest', d.digest, 'source_type', d.dataset_source_type, \
            'source', d.dataset_source, 'schema', d.dataset_schema, 'profile', d.dataset_profile), \
        'tags', json((SELECT json_group_array(json_object('key', g.name, 'value', g.value)) FROM input_tags g \
            WHERE g.input_uuid = i.input_uuid)))) \
        FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id \
        WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = r.run_uuid)), \
    'model_inputs', json((SELECT json_group_array(json_object('model_id', i.destination_id)) FROM inputs i \
        WHERE i.source_type = 'RUN_INPUT' AND i.source_id = r.run_uuid))), \
    'outputs', json_object('model_outputs', json((SELECT json_group_array(json_object('model_id', i.destination_id, \
        'step', i.step)) FROM inputs i WHERE i.source_type = 'RUN_OUTPUT' AND i.source_id = r.run_uuid)))) \
    FROM runs r WHERE r.experiment_id = $1 AND r.run_uuid > $2 ORDER BY r.run_uuid LIMIT $3";

const METRIC: &str = "SELECT CAST(value AS REAL), CAST(is_nan AS INTEGER), timestamp, step, rowid FROM metrics \
    WHERE run_uuid = $1 AND key = $2 AND rowid > $3 ORDER BY rowid LIMIT $4";

const MODELS: &str = "SELECT json_object('info', json_object('model_id', m.model_id, 'experiment_id', \
    CAST(m.experiment_id AS TEXT), 'name', m.name, 'artifact_uri', m.artifact_location, 'creation_timestamp_ms', \
    m.creation_timestamp_ms, 'last_updated_timestamp_ms', m.last_updated_timestamp_ms, 'status', m.status, \
    'lifecycle_stage', m.lifecycle_stage, 'model_type', m.model_type, 'source_run_id', m.source_run_id, \
    'status_message', m.status_message, 'tags', json((SELECT json_group_array(json_object('key', t.tag_key, \
    'value', t.tag_value)) FROM logged_model_tags t WHERE t.model_id = m.model_id))), \
    'data', json_object('params', json((SELECT json_group_array(json_object('key', p.param_key, 'value', \
    p.param_value)) FROM logged_model_params p WHERE p.model_id = m.model_id)))) \
    FROM logged_models m WHERE m.experiment_id = $1 ORDER BY m.creation_timestamp_ms, m.model_id";

const MODEL_METRICS: &str = "SELECT metric_name, CAST(metric_value AS REAL), metric_timestamp_ms, metric_step, run_id, \
    dataset_name, dataset_digest FROM logged_model_metrics WHERE model_id = $1";

const REGISTERED: &str = "SELECT json_object('name', m.name, 'description', m.description, 'creation_timestamp', \
    m.creation_time, 'last_updated_timestamp', m.last_updated_time, \
    'tags', json((SELECT json_group_array(json_object('key', t.key, 'value', t.value)) FROM registered_model_tags t \
        WHERE t.name = m.name)), \
    'aliases', json((SELECT json_group_array(json_object('alias', a.alias, 'version', a.version)) \
        FROM registered_model_aliases a WHERE a.name = m.name)), \
    'versions', json((SELECT json_group_array(json_object('version', v.version, 'source', v.source, \
        'storage_location', v.storage_location, 'run_id', v.run_id, 'run_link', v.run_link, 'user_id', v.user_id, \
        'description', v.description, 'current_stage', v.current_stage, 'creation_timestamp', v.creation_time, \
        'last_updated_timestamp', v.last_updated_time, \
        'tags', json((SELECT json_group_array(json_object('key', t.key, 'value', t.value)) FROM model_version_tags t \
            WHERE t.name = v.name AND t.version = v.version)))) FROM model_versions v WHERE v.name = m.name))) \
    FROM registered_models m ORDER BY m.creation_time, m.name";

/// `{…}` are what tables of older versions lack. Times are texts in the API.
const TRACES: &str = "SELECT json_object('info', json_object('trace_id', t.request_id, 'trace_location', \
    json_object('mlflow_experiment', json_object('experiment_id', CAST(t.experiment_id AS TEXT))), \
    'request_time', strftime('%Y-%m-%dT%H:%M:%S', t.timestamp_ms / 1000, 'unixepoch') || \
        printf('.%03dZ', t.timestamp_ms % 1000), \
    'execution_duration', CASE WHEN t.execution_time_ms IS NOT NULL THEN \
        printf('%d.%03ds', t.execution_time_ms / 1000, t.execution_time_ms % 1000) END, \
    'state', CASE WHEN t.status IN ('OK', 'ERROR', 'IN_PROGRESS') THEN t.status ELSE 'STATE_UNSPECIFIED' END, \
    'trace_metadata', json((SELECT json_group_object(m.key, COALESCE(m.value, '')) FROM trace_request_metadata m \
        WHERE m.request_id = t.request_id)), \
    'tags', json((SELECT json_group_object(g.key, COALESCE(g.value, '')) FROM trace_tags g \
        WHERE g.request_id = t.request_id)){previews}{assessments}){promoted}{spans}{links}) \
    FROM trace_info t WHERE t.experiment_id = $1 AND t.request_id > $2 ORDER BY t.request_id LIMIT $3";

const PREVIEWS: &str = ", 'client_request_id', t.client_request_id, 'request_preview', t.request_preview, \
    'response_preview', t.response_preview";

/// What the API shows among tags and metadata. A number of SQLite's JSON may lose its last digits, a text does not.
const PROMOTED: &str = ", 'name', t.trace_name, 'session', t.session_id, 'tokens', json_object( \
    'input_tokens', t.input_tokens, 'output_tokens', t.output_tokens, 'total_tokens', t.total_tokens, \
    'cache_read_input_tokens', t.cache_read_input_tokens, \
    'cache_creation_input_tokens', t.cache_creation_input_tokens, 'cache_creation_input_tokens_above_1hr', \
    t.cache_creation_input_tokens_above_1hr), 'cost', json_object( \
    'input_cost', CASE WHEN t.input_cost IS NOT NULL THEN printf('%!.17g', t.input_cost) END, \
    'output_cost', CASE WHEN t.output_cost IS NOT NULL THEN printf('%!.17g', t.output_cost) END, \
    'total_cost', CASE WHEN t.total_cost IS NOT NULL THEN printf('%!.17g', t.total_cost) END)";

const ASSESSMENTS: &str = ", 'assessments', json((SELECT json_group_array(json_object('assessment_id', a.assessment_id, \
    'assessment_name', a.name, 'span_id', a.span_id, 'source', json_object('source_type', a.source_type, 'source_id', \
    a.source_id), 'create_time', strftime('%Y-%m-%dT%H:%M:%S', a.created_timestamp / 1000, 'unixepoch') || \
        printf('.%03dZ', a.created_timestamp % 1000), \
    'last_update_time', strftime('%Y-%m-%dT%H:%M:%S', a.last_updated_timestamp / 1000, 'unixepoch') || \
        printf('.%03dZ', a.last_updated_timestamp % 1000), \
    'feedback', CASE WHEN a.assessment_type = 'feedback' THEN json_object('value', json(a.value), 'error', \
        json(a.error)) END, \
    'expectation', CASE WHEN a.assessment_type = 'expectation' THEN json_object('serialized_value', \
        json_object('serialization_format', 'JSON_FORMAT', 'value', a.value)) END, \
    'issue', CASE WHEN a.assessment_type = 'issue' THEN json_object('issue_name', json_extract(a.value, '$.issue_name')) END, \
    'rationale', a.rationale, 'metadata', json(a.assessment_metadata), 'overrides', a.overrides, \
    'valid', json(CASE WHEN a.valid THEN 'true' ELSE 'false' END))) FROM (SELECT * FROM assessments \
    WHERE trace_id = t.request_id ORDER BY created_timestamp, rowid) a))";

const SPANS: &str =
    ", 'spans', json((SELECT json_group_array(s.content) FROM spans s WHERE s.trace_id = t.request_id))";

const LINKS: &str = ", 'runs', json((SELECT json_group_array(l.destination_id) FROM entity_associations l \
    WHERE l.source_type = 'trace' AND l.source_id = t.request_id AND l.destination_type = 'run')), \
    'prompts', json((SELECT json_group_array(l.destination_id) FROM entity_associations l \
    WHERE l.source_type = 'trace' AND l.source_id = t.request_id AND l.destination_type = 'prompt_version'))";

type PointRow = (f64, i64, i64, i64, i64);

/// The SQLite database of an MLflow server, and the folder of artifacts beside it.
pub(super) struct Database {
    connection: Connection,
    folder: PathBuf,
    artifacts: Option<PathBuf>,
}

impl Database {
    /// Opens the database, which is only read.
    pub(super) async fn open(path: PathBuf, artifacts: Option<PathBuf>) -> Result<Self, ServerError> {
        let failed = |error: CatalogError| unreadable(format!("{} is no database of MLflow: {error}", path.display()));
        let mut connection = Connection::foreign(&path).map_err(failed)?;
        let count =
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN ('experiments', 'latest_metrics')";
        let tables: i64 = query(count).fetch_one(&mut connection).await.map_err(failed)?;
        if tables < 2 {
            return Err(unreadable(format!("{} is no database of MLflow", path.display())));
        }
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let beside = ARTIFACTS.iter().map(|name| folder.join(name));
        let mut beside = beside.filter(|path| files::exists(path).unwrap_or(false));
        let artifacts = artifacts.or_else(|| beside.next());
        Ok(Self { connection, folder, artifacts })
    }

    async fn has(&mut self, table: &str) -> Result<bool, ServerError> {
        let count = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = $1";
        let found = query(count).bind(table).fetch_one::<i64>(&mut self.connection).await;
        Ok(found.map_err(|error| old(&error))? > 0)
    }

    async fn has_trace_column(&mut self, column: &str) -> Result<bool, ServerError> {
        let count = "SELECT COUNT(*) FROM pragma_table_info('trace_info') WHERE name = $1";
        let found = query(count).bind(column).fetch_one::<i64>(&mut self.connection).await;
        Ok(found.map_err(|error| old(&error))? > 0)
    }

    /// The folder of this machine that a location is.
    fn place(&self, location: &str) -> Option<PathBuf> {
        match proxied(location) {
            Some(path) => Some(self.artifacts.as_ref()?.join(path)),
            None => local(location, &self.folder),
        }
    }
}

/// Puts what has columns of its own among the tags and the metadata of a trace, where the API has it.
fn promote(trace: &mut Value) {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse::<f64>().map_or(Value::Null, Value::from),
        other => other.clone(),
    };
    let sums = |trace: &Value, name: &str| {
        let members = trace[name].as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let members: serde_json::Map<String, Value> =
            members.map(|(key, value)| (key.clone(), number(value))).collect();
        (!members.is_empty()).then(|| Value::Object(members).to_string())
    };
    let (tokens, cost) = (sums(trace, "tokens"), sums(trace, "cost"));
    for (place, key, value) in [
        ("tags", "mlflow.traceName", trace["name"].as_str().map(str::to_owned)),
        ("trace_metadata", "mlflow.trace.session", trace["session"].as_str().map(str::to_owned)),
        ("trace_metadata", "mlflow.trace.tokenUsage", tokens),
        ("trace_metadata", "mlflow.trace.cost", cost),
    ] {
        if let Some(value) = value {
            trace["info"][place][key] = Value::String(value);
        }
    }
}

fn records(texts: &[String]) -> Result<Vec<Value>, ServerError> {
    texts.iter().map(|text| serde_json::from_str(text).map_err(unreadable)).collect()
}

/// What the tables of this version do not have.
fn old(error: &CatalogError) -> ServerError {
    ServerError::Unknown {
        what: format!("the database of MLflow cannot be read: {error}"),
        hint: "if an old MLflow wrote it, run `mlflow db upgrade sqlite:///mlflow.db` on a copy first".to_owned(),
    }
}

#[async_trait]
impl Origin for Database {
    async fn experiments(&mut self) -> Result<Vec<Value>, ServerError> {
        let texts = query(EXPERIMENTS).fetch_all::<String>(&mut self.connection).await;
        records(&texts.map_err(|error| old(&error))?)
    }

    async fn runs(&mut self, experiment: ExperimentId, token: Option<String>) -> Result<Page, ServerError> {
        let asked = query(RUN).bind(experiment.0).bind(token.unwrap_or_default());
        let runs = records(&asked.bind(RUNS).fetch_all(&mut self.connection).await.map_err(|error| old(&error))?)?;
        let last = runs.last().map(|run| text(&run["info"], "run_id")).filter(|_| runs.len() as i64 == RUNS);
        Ok((runs, last))
    }

    async fn points(&mut self, run: &Value, key: &str, token: Option<String>) -> Result<Page, ServerError> {
        let after = token.and_then(|token| token.parse::<i64>().ok()).unwrap_or(i64::MIN);
        let run = text(&run["info"], "run_id");
        let asked = query(METRIC).bind(run).bind(key);
        let rows: Vec<PointRow> =
            asked.bind(after).bind(POINTS).fetch_all(&mut self.connection).await.map_err(|error| old(&error))?;
        let last = rows.last().map(|row| row.4.to_string()).filter(|_| rows.len() as i64 == POINTS);
        let point = |(value, nan, at, step, _): PointRow| {
            let value = if nan == 0 { json!(value) } else { json!("NaN") };
            json!({ "value": value, "timestamp": at, "step": step })
        };
        Ok((rows.into_iter().map(point).collect(), last))
    }

    async fn logged_models(&mut self, experiment: ExperimentId) -> Result<Vec<Value>, ServerError> {
        // MLflow has them since version 3.
        if !self.has("logged_models").await? {
            return Ok(Vec::new());
        }
        let asked = query(MODELS).bind(experiment.0);
        let mut models = records(&asked.fetch_all(&mut self.connection).await.map_err(|error| old(&error))?)?;
        for model in &mut models {
            type Row = (String, Option<f64>, i64, i64, String, Option<String>, Option<String>);
            let id = text(&model["info"], "model_id");
            let rows: Vec<Row> =
                query(MODEL_METRICS).bind(id).fetch_all(&mut self.connection).await.map_err(|error| old(&error))?;
            let metric = |(key, value, at, step, run, name, digest): Row| {
                json!({
                    "key": key, "value": value, "timestamp": at, "step": step, "run_id": run, "dataset_name": name,
                    "dataset_digest": digest,
                })
            };
            model["data"]["metrics"] = rows.into_iter().map(metric).collect();
        }
        Ok(models)
    }

    async fn traces(&mut self, experiment: ExperimentId, token: Option<String>) -> Result<Page, ServerError> {
        // MLflow has them since version 2.14, and all of their tables since 3.5.
        if !self.has("trace_info").await? {
            return Ok((Vec::new(), None));
        }
        let mut select = TRACES.to_owned();
        for (place, text, there) in [
            ("{previews}", PREVIEWS, self.has_trace_column("request_preview").await?),
            ("{promoted}", PROMOTED, self.has_trace_column("cache_creation_input_tokens_above_1hr").await?),
            ("{assessments}", ASSESSMENTS, self.has("assessments").await?),
            ("{spans}", SPANS, self.has("spans").await?),
            ("{links}", LINKS, self.has("entity_associations").await?),
        ] {
            select = select.replace(place, if there { text } else { "" });
        }
        let asked = query(select).bind(experiment.0).bind(token.unwrap_or_default()).bind(TRACES_AT_ONCE);
        let mut traces = records(&asked.fetch_all(&mut self.connection).await.map_err(|error| old(&error))?)?;
        traces.iter_mut().for_each(promote);
        let more = traces.len() as i64 == TRACES_AT_ONCE;
        let last = traces.last().map(|trace| text(&trace["info"], "trace_id")).filter(|_| more);
        Ok((traces, last))
    }

    async fn registered_models(&mut self) -> Result<Vec<Value>, ServerError> {
        let texts = query(REGISTERED).fetch_all::<String>(&mut self.connection).await;
        records(&texts.map_err(|error| old(&error))?)
    }

    fn reaches(&self, location: &str) -> bool {
        self.place(location).is_some()
    }

    async fn files(&mut self, location: &str) -> Result<Vec<TheirFile>, ServerError> {
        self.place(location).map_or(Ok(Vec::new()), |folder| files_below(&folder))
    }

    async fn file(&mut self, file: &TheirFile, writer: &mut Writer) -> Result<Option<Blob>, ServerError> {
        Ok(Some(writer.add_file(&file.place).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_trace_are_told_as_the_api_tells_them() {
        let mut trace = json!({
            "info": { "tags": {}, "trace_metadata": { "k": "v" } }, "name": "f", "session": null,
            "tokens": { "input_tokens": 3, "total_tokens": 7, "output_tokens": null },
            "cost": { "total_cost": "0.10000000000000001", "input_cost": null },
        });
        promote(&mut trace);
        let expected = json!({
            "tags": { "mlflow.traceName": "f" },
            "trace_metadata": {
                "k": "v", "mlflow.trace.tokenUsage": "{\"input_tokens\":3,\"total_tokens\":7}",
                "mlflow.trace.cost": "{\"total_cost\":0.1}",
            },
        });
        assert_eq!(trace["info"], expected);
    }
}
