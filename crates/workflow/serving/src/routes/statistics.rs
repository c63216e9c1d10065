use ropewalk_types::ModelName;
use serde::Serialize;

use crate::{Route, RouteTarget, WatchedAlias};

/// What routes did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RoutingStatistics {
    /// One entry for each route, by model.
    pub routes: Vec<RouteStatistics>,
    /// What happened to routes, the newest last; the oldest of more than 256 are forgotten.
    pub events: Vec<RouteEvent>,
    /// The registry's aliases that are followed, as of the last look.
    pub aliases: Vec<WatchedAlias>,
}

/// A route, and what it did since it was set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteStatistics {
    /// The route as it was set.
    #[serde(flatten)]
    pub route: Route,
    /// Where requests went; the first is the default version.
    pub targets: Vec<TargetStatistics>,
    /// What became of the copies.
    pub shadow: Option<ShadowStatistics>,
    /// How the trial goes.
    pub canary: Option<CanaryStatistics>,
    /// How often a canary was taken back: 0 or 1.
    pub roll_backs: u64,
}

/// Requests that one target got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetStatistics {
    /// The target; none is the model's default version.
    pub to: Option<RouteTarget>,
    /// The version that it is now, if it is loaded.
    pub version: Option<u64>,
    /// Requests that were meant for it, also those whose client went away.
    pub requests: u64,
    /// Those of them that were not answered, whoever's fault.
    pub failed: u64,
    /// Those of them that the default version took because this one was not loaded.
    pub absent: u64,
}

/// What became of the copies for a shadow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ShadowStatistics {
    /// Copies whose answer agrees within the tolerance.
    pub equal: u64,
    /// Copies whose answer does not.
    pub different: u64,
    /// Copies that the shadow did not answer.
    pub failed: u64,
    /// Copies given up because as many as may wait were waiting.
    pub dropped: u64,
    /// Copies not made because the shadow was not loaded.
    pub absent: u64,
    /// Largest difference of two numbers so far.
    pub largest_difference: f64,
}

/// How a trial goes; all figures are of the last window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CanaryStatistics {
    /// The share that it takes now.
    pub share: f64,
    /// Whether it is on trial.
    #[serde(flatten)]
    pub state: CanaryState,
    /// The version on trial.
    pub canary: SideStatistics,
    /// The one that it is compared with.
    pub stable: SideStatistics,
    /// Share of its requests that failed, and by which more were refused or abandoned than with the stable version;
    /// what chance may have done is taken off only where it is judged.
    pub error_rate: f64,
    /// How far its outputs are from the stable version's, as it is judged.
    pub drift: f64,
}

/// Whether a version is on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CanaryState {
    /// It is.
    OnTrial,
    /// All steps have passed; it keeps the last share, and is judged further.
    Passed,
    /// It was taken back, and stays so until the route is set anew.
    RolledBack {
        /// Why.
        reason: String,
        /// When, in milliseconds since the Unix epoch.
        at_ms: i64,
    },
}

/// Requests of one side of a trial in the last window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SideStatistics {
    /// All.
    pub requests: u64,
    /// Those that it failed.
    pub failed: u64,
    /// Those that were the caller's mistake.
    pub refused: u64,
    /// Those whose client went away before there was an answer.
    pub abandoned: u64,
    /// The 95th percentile of the answers' latency, in microseconds; 0 if there are none.
    pub p95_us: f64,
}

/// Something that happened to a route.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteEvent {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The route's model.
    pub model: ModelName,
    /// What.
    #[serde(flatten)]
    pub what: RouteChange,
}

/// What happened to a route.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum RouteChange {
    /// It was set, or set anew.
    Set,
    /// It was removed.
    Removed,
    /// Its canary gets no more requests.
    RolledBack {
        /// Why.
        reason: String,
    },
    /// Its canary gets more requests.
    Promoted {
        /// This share of them.
        share: f64,
    },
    /// Its canary passed the last step.
    Passed,
}
