//! Experiment and pipeline tracking: experiments, runs, params, metrics, tags, artifacts and traces.
//!
//! This box owns their rules and their tables. The rules are MLflow's (3.17), so that its clients can be served
//! by a translation alone: params never change, metrics keep their history, a run's name and its tag
//! `mlflow.runName` are the same thing, names and paths cannot climb out of their folder.
//!
//! It must never open a socket, read the environment, or tell the time by itself; the bytes of artifacts live in
//! the [`Store`](ropewalk_store::Store), this box keeps their names. It knows no wire format and no pipeline.

mod artifact;
mod batch;
mod error;
mod experiment;
pub mod filter;
mod input;
mod limits;
mod live;
mod logged_model;
mod metric;
mod origin;
mod rows;
mod run;
pub mod search;
mod takeover;
#[cfg(test)]
mod testing;
mod trace;
mod tracking;
pub mod transaction;

use ropewalk_catalog::{Migration, MigrationSet};

pub use artifact::{
    Artifact, ArtifactEntry, ArtifactHome, ArtifactPath, ArtifactPathError, ArtifactRoot, experiment_artifact_uri,
};
pub use batch::{Batch, Param, Tag, Written};
pub use error::{ErrorKind, TrackingError};
pub use experiment::{DEFAULT_EXPERIMENT, Experiment, NewExperiment};
pub use input::{DatasetInput, DatasetSummary, ModelOutput};
pub use limits::{
    ARTIFACT_PATH_BYTES, BATCH_METRICS, BATCH_PARAMS, BATCH_TAGS, BATCH_TOTAL, EXPERIMENT_NAME_CHARACTERS,
    EXPERIMENT_TAG_CHARACTERS, HISTORY_PAGE, KEY_CHARACTERS, PARAM_CHARACTERS, RUN_PAGE, SAMPLE_POINTS, SAMPLE_RUNS,
    SEARCH_EXPERIMENTS, TAG_CHARACTERS,
};
pub use live::{LiveChange, LiveCursor, LiveRun, LiveTopic};
pub use logged_model::{
    DatasetChoice, LOGGED_MODEL_KEY_CHARACTERS, LOGGED_MODEL_NAME_CHARACTERS, LOGGED_MODEL_PAGE,
    LOGGED_MODEL_PAGE_MOST, LOGGED_MODELS, LoggedModel, LoggedModelError, LoggedModelId, LoggedModelMetric,
    LoggedModelOrder, LoggedModelPage, LoggedModelSearch, LoggedModelStatus, MODEL_VERSIONS_TAG, NewLoggedModel,
};
pub use metric::{HistoryCursor, HistoryPage, Metric, MetricSubject, StepRange};
pub use origin::{LoggedModelOrigin, RunFacts, logged_model_origin, run_artifact_uri, run_facts, tag_key_check};
pub use run::{
    CursorError, Lifecycle, NewRun, PARENT_RUN_TAG, Pairs, PairsIter, RUN_NAME_TAG, Run, RunCursor, RunFilter, RunInfo,
    RunPage, RunUpdate,
};
pub use search::{ExperimentSearch, ExperimentSearchPage, RunSearch, RunSearchPage};
pub use takeover::{TakenExperiment, TakenRun};
pub use trace::{
    Assessment, AssessmentFault, AssessmentUpdate, AssessmentValue, NewSpan, PREVIEW_CHARACTERS, SPAN_BATCH,
    SpanStatus, TRACE_ARTIFACT_TAG, TRACE_LINKS, TRACE_METADATA_CHARACTERS, TRACE_NAME_TAG, TRACE_PAGE,
    TRACE_TAG_CHARACTERS, TRACES, TakenTrace, Trace, TraceError, TraceInfo, TracePage, TraceSearch, TraceSelection,
    TraceState,
};
pub use tracking::Tracking;

/// The tables of this box.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    owner: "tracking",
    steps: &[
        Migration { number: 1, name: "tracking", sql: include_str!("../migrations/001_tracking.sql") },
        Migration { number: 2, name: "core", sql: include_str!("../migrations/002_core.sql") },
        Migration { number: 3, name: "artifact", sql: include_str!("../migrations/003_artifact.sql") },
        Migration { number: 4, name: "logged_model", sql: include_str!("../migrations/004_logged_model.sql") },
        Migration { number: 5, name: "trace", sql: include_str!("../migrations/005_trace.sql") },
        Migration { number: 6, name: "live", sql: include_str!("../migrations/006_live.sql") },
        Migration { number: 7, name: "usage", sql: include_str!("../migrations/007_usage.sql") },
    ],
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ropewalk_catalog::{Catalog, CatalogError, execute_script};
    use ropewalk_store::Store;
    use ropewalk_types::{ManualAmbient, Timestamp};

    use super::*;

    /// What the first version could have kept: two runs, the later one with everything.
    const OLD: &str = "
        INSERT INTO experiment (id, name, created_at, updated_at) VALUES (1, 'flights', 3, 4);
        UPDATE tracking_counter SET last = 1 WHERE name = 'experiment';
        UPDATE tracking_counter SET last = 1 WHERE name = 'metric_series';
        INSERT INTO run (id, experiment_id, name, user_name, status, started_at, ended_at, deleted_at, owner) VALUES
            ('0123456789abcdef0123456789abcdef', 1, 'late', 'ada', 'FINISHED', 9, 10, NULL, NULL),
            ('fedcba9876543210fedcba9876543210', 0, 'early', '', 'RUNNING', 5, NULL, 7, 'project');
        INSERT INTO param (run_id, key, value) VALUES ('0123456789abcdef0123456789abcdef', 'depth', '3');
        INSERT INTO run_tag (run_id, key, value) VALUES
            ('0123456789abcdef0123456789abcdef', 'mlflow.runName', 'late'),
            ('fedcba9876543210fedcba9876543210', 'mlflow.runName', 'early');
        INSERT INTO metric_series (id, run_id, key, step, logged_at, value, not_a_number)
            VALUES (1, '0123456789abcdef0123456789abcdef', 'auc', 2, 6, 0.5, 0);
        INSERT INTO metric_point (series, logged_at, step, value, not_a_number)
            VALUES (1, 5, 1, 0.25, 0), (1, 6, 2, 0.5, 0);
        INSERT INTO run_artifact (run_id, path, folder, digest, size, created_at)
            VALUES ('0123456789abcdef0123456789abcdef', 'a/b', 'a', 'x', 1, 1);
        INSERT INTO run_artifact_folder (run_id, path, folder) VALUES ('0123456789abcdef0123456789abcdef', 'a', '');
    ";

    #[tokio::test]
    async fn what_the_first_version_kept_is_there_under_the_second_and_goes_on() {
        let directory = tempfile::tempdir().expect("directory");
        let url = format!("sqlite:{}", directory.path().join("catalog.db").display());
        let first = MigrationSet { owner: MIGRATIONS.owner, steps: &MIGRATIONS.steps[..1] };
        let catalog = Catalog::open(&url, &[first]).await.expect("first version");
        let filled: Result<(), CatalogError> =
            catalog.write(|connection| Box::pin(execute_script(connection, OLD))).await;
        filled.expect("filled");
        catalog.close().await;
        let catalog = Catalog::open(&url, &[MIGRATIONS]).await.expect("second version");
        let store = Store::open("memory:").await.expect("store");
        let tracking = Tracking::new(catalog, store, Arc::new(ManualAmbient::default()));
        let late = tracking.run_get("0123456789abcdef0123456789abcdef".parse().expect("id")).await.expect("run");
        assert_eq!((late.params["depth"].as_str(), late.tags[RUN_NAME_TAG].as_str()), ("3", "late"));
        assert_eq!(late.metrics, [Metric::new("auc", 0.5, 2, Timestamp(6))]);
        let history = tracking.metric_history(late.info.id, "auc", None, 9).await.expect("history").metrics;
        assert_eq!(history.len(), 2);
        let early = tracking.run_get("fedcba9876543210fedcba9876543210".parse().expect("id")).await.expect("run");
        assert_eq!((early.info.name.as_str(), early.info.deleted, early.info.end), ("early", true, None));
        // Numbers are counted on after those of the old runs, and of their metrics.
        let new = tracking.run_create(NewRun::new(late.info.experiment, Timestamp(11))).await.expect("new").info.id;
        tracking.metric_log(new, Metric::new("auc", 0.75, 0, Timestamp(12))).await.expect("logged");
        tracking.metric_log(late.info.id, Metric::new("auc", 0.625, 3, Timestamp(12))).await.expect("logged");
        let values = async |run| tracking.run_get(run).await.expect("run").metrics.first().expect("metric").value;
        assert!(
            (values(new).await - 0.75).abs() < f64::EPSILON
                && (values(late.info.id).await - 0.625).abs() < f64::EPSILON
        );
        assert_eq!(tracking.run_abandoned_mark("project", Vec::new()).await.expect("marked"), [early.info.id]);
    }
}
