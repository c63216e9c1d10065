use std::collections::BTreeSet;
use std::fmt::Debug;

use async_trait::async_trait;
use ropewalk_catalog::Connection;
use ropewalk_tracking::run_facts;

use crate::{Metrics, ModelVersion};

/// By what a version is judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The final value of each metric.
    pub metrics: Metrics,
    /// The versions of datasets that it was made and measured with, such as `flights@0123`.
    pub datasets: BTreeSet<String>,
}

/// Where it is read by what a version is judged.
#[async_trait]
pub trait Evidence: Send + Sync + Debug {
    /// What is known of a version; `connection` is inside the promotion's transaction, and nothing else may be waited
    /// for. The error is a sentence for the person who promotes.
    async fn facts(&self, connection: &mut Connection, version: &ModelVersion) -> Result<Facts, String>;
}

/// The facts of a version are those of its run; a version without a run, or whose run is not here, has none.
#[derive(Clone, Copy, Debug)]
pub struct TrackedRuns;

#[async_trait]
impl Evidence for TrackedRuns {
    async fn facts(&self, connection: &mut Connection, version: &ModelVersion) -> Result<Facts, String> {
        let Ok(run) = version.run_id() else { return Ok(Facts::default()) };
        let found = run_facts(connection, run).await.map_err(|error| error.to_string())?;
        Ok(found.map(|found| Facts { metrics: found.metrics, datasets: found.datasets }).unwrap_or_default())
    }
}
