use ropewalk_types::{Alias, ModelName};
use serde::{Deserialize, Serialize};

/// Most header rules of one route.
const RULES: usize = 64;
/// Most parts of one split.
const PARTS: usize = 32;
/// Most steps of one canary.
const STEPS: usize = 16;
/// Longest window of a canary, in seconds.
const WINDOW: u64 = 86_400;

/// How requests for one model, by its name alone, are sent to its versions. A request that asks for a version by its
/// number passes the route by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Route {
    /// The model, as clients ask for it.
    pub model: ModelName,
    /// Where its requests go.
    #[serde(flatten)]
    pub settings: RouteSettings,
}

/// `[serve.route.NAME]`. What no rule, no split and no canary takes goes to the model's default version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSettings {
    /// Looked at in order; the first that fits takes the request.
    pub rules: Vec<HeaderRule>,
    /// Shares of what no rule took.
    pub split: Vec<SplitPart>,
    /// A version that is asked the same, without its answers being given.
    pub shadow: Option<ShadowSettings>,
    /// A version on trial; not together with `split`.
    pub canary: Option<CanarySettings>,
}

/// A version of the route's model: in a file, a whole number is a version and a text an alias.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RouteTarget {
    /// By its number.
    Version(u64),
    /// By its alias, as [`ModelHost::alias_set`](crate::ModelHost::alias_set) says.
    Alias(Alias),
}

impl std::fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}"),
            Self::Alias(alias) => write!(f, "alias `{alias}`"),
        }
    }
}

/// Requests with that header go there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderRule {
    /// The header's name (the key of the metadata in gRPC), in any case.
    pub header: String,
    /// Its whole value.
    pub value: String,
    /// Where they go.
    pub to: RouteTarget,
}

/// One part of a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitPart {
    /// Where it goes.
    pub to: RouteTarget,
    /// Its share, relative to the sum of all weights.
    pub weight: f64,
}

/// A version that is asked the same after the answer was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowSettings {
    /// Which.
    pub to: RouteTarget,
    /// Share of the answered requests, from 0 to 1.
    #[serde(default = "all")]
    pub sample: f64,
    /// Numbers `a` of the answer and `b` of the shadow are equal if `|a - b| <= compare * max(1, |a|)`.
    #[serde(default = "tolerance")]
    pub compare: f64,
}

/// A version on trial, which is taken back by itself if it does worse than another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanarySettings {
    /// The version on trial.
    pub to: RouteTarget,
    /// What it is compared with, and what gets the other requests; none is the model's default version.
    #[serde(default)]
    pub stable: Option<RouteTarget>,
    /// Its share of what no rule took, from 0 to 1.
    pub weight: f64,
    /// Greater shares, ascending, each taken after a whole window without complaint.
    #[serde(default)]
    pub steps: Vec<f64>,
    /// Seconds that are looked back.
    #[serde(default = "window")]
    pub window_seconds: u64,
    /// Share of failed requests above which it is taken back.
    #[serde(default = "error_rate")]
    pub max_error_rate: f64,
    /// Ratio of the 95th percentiles of latency, canary to stable, above which it is taken back.
    #[serde(default = "latency_ratio")]
    pub max_latency_ratio: f64,
    /// Population stability index of the outputs, canary against stable, above which it is taken back.
    #[serde(default = "drift")]
    pub max_drift: f64,
    /// Requests in the window before anything is judged.
    #[serde(default = "min_requests")]
    pub min_requests: u64,
}

fn all() -> f64 {
    1.0
}

fn tolerance() -> f64 {
    1e-5
}

fn window() -> u64 {
    300
}

fn error_rate() -> f64 {
    0.01
}

fn latency_ratio() -> f64 {
    2.0
}

fn drift() -> f64 {
    0.25
}

fn min_requests() -> u64 {
    200
}

impl RouteSettings {
    /// Whether it can be followed.
    ///
    /// # Errors
    /// What is wrong, as a clause that names the key.
    pub fn check(&self) -> Result<(), String> {
        if self.rules.len() > RULES {
            return Err(format!("`rules` has more than {RULES} entries"));
        }
        if self.rules.iter().any(|rule| rule.header.is_empty()) {
            return Err("a `header` of `rules` is empty".to_owned());
        }
        self.check_split()?;
        if let Some(shadow) = &self.shadow {
            share("shadow.sample", shadow.sample)?;
            not_negative("shadow.compare", shadow.compare)?;
        }
        self.canary.as_ref().map_or(Ok(()), CanarySettings::check)
    }

    fn check_split(&self) -> Result<(), String> {
        if self.split.len() > PARTS {
            return Err(format!("`split` has more than {PARTS} entries"));
        }
        if self.split.iter().any(|part| !part.weight.is_finite() || part.weight < 0.0) {
            return Err("a `weight` of `split` is not a number from 0 on".to_owned());
        }
        let sum: f64 = self.split.iter().map(|part| part.weight).sum();
        let has_sum = sum > 0.0 && sum.is_finite();
        if !has_sum && !self.split.is_empty() {
            return Err("the weights of `split` have no sum above 0".to_owned());
        }
        if self.canary.is_some() && !self.split.is_empty() {
            return Err("`split` and `canary` cannot both divide the requests: leave one out".to_owned());
        }
        Ok(())
    }

    /// Every version that is named.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &RouteTarget> {
        let rules = self.rules.iter().map(|rule| &rule.to);
        let split = self.split.iter().map(|part| &part.to);
        let canary = self.canary.iter().flat_map(|canary| [Some(&canary.to), canary.stable.as_ref()]).flatten();
        rules.chain(split).chain(self.shadow.iter().map(|shadow| &shadow.to)).chain(canary)
    }
}

impl CanarySettings {
    fn check(&self) -> Result<(), String> {
        share("canary.weight", self.weight)?;
        self.steps.iter().try_for_each(|step| share("canary.steps", *step))?;
        if self.steps.len() > STEPS || !self.steps.is_sorted_by(|one, next| one < next) {
            return Err(format!("`canary.steps` must ascend and have at most {STEPS} entries"));
        }
        if !(1..=WINDOW).contains(&self.window_seconds) {
            return Err(format!("`canary.window_seconds` must be from 1 to {WINDOW}"));
        }
        if self.min_requests == 0 {
            return Err("`canary.min_requests` must be at least 1".to_owned());
        }
        if self.stable.as_ref() == Some(&self.to) {
            return Err("`canary.to` and `canary.stable` are the same".to_owned());
        }
        not_negative("canary.max_error_rate", self.max_error_rate)?;
        not_negative("canary.max_latency_ratio", self.max_latency_ratio)?;
        not_negative("canary.max_drift", self.max_drift)
    }
}

fn share(key: &str, value: f64) -> Result<(), String> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(format!("`{key}` must be from 0 to 1, it is {value}")) }
}

/// Infinity is allowed: it turns a limit off.
fn not_negative(key: &str, value: f64) -> Result<(), String> {
    if value >= 0.0 { Ok(()) } else { Err(format!("`{key}` must be a number from 0 on, it is {value}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<RouteSettings, String> {
        let settings: RouteSettings = serde_json::from_str(json).map_err(|error| error.to_string())?;
        settings.check().map(|()| settings)
    }

    #[test]
    fn a_number_is_a_version_and_a_text_an_alias() {
        let settings = read(r#"{"split": [{"to": 3, "weight": 9}, {"to": "3", "weight": 1}]}"#).unwrap();
        let targets: Vec<_> = settings.targets().map(ToString::to_string).collect();
        assert_eq!(targets, ["version 3", "alias `3`"]);
        let written = serde_json::to_string(&settings.split).unwrap();
        assert_eq!(written, r#"[{"to":3,"weight":9.0},{"to":"3","weight":1.0}]"#);
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for (json, says) in [
            (r#"{"splitt": []}"#, "unknown field"),
            (r#"{"split": [{"to": 1, "weight": -1}]}"#, "`weight`"),
            (r#"{"split": [{"to": 1, "weight": 0}]}"#, "no sum"),
            (r#"{"split": [{"to": "latest", "weight": 1}]}"#, "RouteTarget"),
            (r#"{"shadow": {"to": 1, "sample": 1.5}}"#, "shadow.sample"),
            (r#"{"canary": {"to": 2, "weight": 0.1}, "split": [{"to": 1, "weight": 1}]}"#, "leave one out"),
            (r#"{"canary": {"to": 2, "weight": 0.1, "steps": [0.5, 0.25]}}"#, "ascend"),
            (r#"{"canary": {"to": 2, "weight": 0.1, "max_drift": -1}}"#, "max_drift"),
            (r#"{"canary": {"to": 2, "stable": 2, "weight": 0.1}}"#, "the same"),
            (r#"{"rules": [{"header": "", "value": "", "to": 1}]}"#, "`header`"),
        ] {
            let problem = read(json).expect_err(json);
            assert!(problem.contains(says), "{json}: {problem}");
        }
    }
}
