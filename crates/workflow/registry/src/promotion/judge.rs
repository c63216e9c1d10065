use std::collections::{BTreeMap, BTreeSet};

use ropewalk_catalog::Connection;
use ropewalk_types::Alias;

use super::{Interfaces, PromotionRequest, history};
use crate::alias::alias_points;
use crate::declared::approval_by;
use crate::gate::approved_by;
use crate::interface::misfit;
use crate::model::stored;
use crate::version::version_read;
use crate::{
    Approver, Better, Condition, Evidence, Facts, Gate, GateDeclaration, GateOutcome, Interface, Metrics, ModelVersion,
    RegistryError, Target,
};

/// What a judgement looks at.
pub(super) struct Bench<'a> {
    pub(super) request: &'a PromotionRequest,
    pub(super) model: i64,
    pub(super) candidate: &'a ModelVersion,
    /// The version that is at the target now, or the newest other one in the stage.
    pub(super) previous: Option<u64>,
    pub(super) evidence: &'a dyn Evidence,
    pub(super) interfaces: &'a Interfaces,
}

/// What a judgement comes to.
pub(super) enum Verdict {
    Said(GateOutcome),
    /// What this version takes and gives has to be read first.
    Reads(Box<ModelVersion>),
}

/// What had to hold, for the history.
pub(super) fn gate_text(request: &PromotionRequest, declared: Option<&GateDeclaration>) -> Option<String> {
    match (request.gate.as_ref(), declared) {
        (Some(gate), None) => Some(gate.text().to_owned()),
        (None, Some(declared)) => Some(declared.to_string()),
        (Some(gate), Some(declared)) => Some(format!("({}) and {declared}", gate.text())),
        (None, None) => None,
    }
}

pub(super) async fn judge(
    connection: &mut Connection,
    bench: &Bench<'_>,
    declared: Option<&GateDeclaration>,
) -> Result<Verdict, RegistryError> {
    let mut outcome = GateOutcome::free();
    let asked = match declared {
        Some(declared) => declared.gate()?,
        None => None,
    };
    let gates: Vec<&Gate> = bench.request.gate.iter().chain(asked.as_ref()).collect();
    if gates.is_empty() && declared.is_none() {
        return Ok(Verdict::Said(outcome));
    }
    let candidate = bench.facts(connection, bench.candidate).await?;
    for gate in gates {
        let incumbents = bench.incumbents(connection, gate.aliases()).await?;
        outcome.and(gate.evaluate(&candidate.metrics, &incumbents));
    }
    let Some(declared) = declared else { return Ok(Verdict::Said(outcome)) };
    let incumbent = bench.incumbent(connection).await?;
    if let Some(better) = &declared.better {
        let facts = match &incumbent {
            Some(incumbent) => Some(bench.facts(connection, incumbent).await?),
            None => None,
        };
        outcome.and(one(better_than(better, &candidate, facts.as_ref())));
    }
    if declared.signature {
        match signature_fits(bench, incumbent.as_ref()) {
            Ok(condition) => outcome.and(one(condition)),
            Err(unread) => return Ok(Verdict::Reads(unread)),
        }
    }
    if !declared.approval.is_empty() {
        outcome.and(one(bench.approved(connection, &declared.approval).await?));
    }
    Ok(Verdict::Said(outcome))
}

fn one(condition: Condition) -> GateOutcome {
    GateOutcome { held: condition.held, conditions: vec![condition] }
}

impl Bench<'_> {
    /// What a version takes and gives, or why that is not known; the error is the version if it was not read yet.
    fn interface(&self, version: &ModelVersion) -> Result<Result<Interface, String>, Box<ModelVersion>> {
        match (&version.content, self.interfaces.get(&version.version)) {
            (Some(content), _) => Ok(Ok(Interface::from(&content.signature))),
            (None, Some(known)) => Ok(known.clone()),
            (None, None) => Err(Box::new(version.clone())),
        }
    }

    async fn facts(&self, connection: &mut Connection, version: &ModelVersion) -> Result<Facts, RegistryError> {
        let read = self.evidence.facts(connection, version).await;
        let mut facts = read.map_err(|reason| RegistryError::Metrics { version: version.uri(), reason })?;
        facts.datasets.extend(version.dataset.iter().map(ToString::to_string));
        Ok(facts)
    }

    /// The metrics of each version that these aliases point at, or pointed at last.
    async fn incumbents(
        &self,
        connection: &mut Connection,
        aliases: BTreeSet<Alias>,
    ) -> Result<BTreeMap<Alias, Metrics>, RegistryError> {
        let mut incumbents = BTreeMap::new();
        for alias in aliases {
            let target = Target::Alias(alias.clone());
            let incumbent = if target == self.request.target {
                self.incumbent(connection).await?
            } else {
                let current = alias_points(connection, self.model, &self.request.name, &alias).await?;
                self.present_or_last(connection, &target, current, None).await?
            };
            if let Some(version) = incumbent {
                incumbents.insert(alias, self.facts(connection, &version).await?.metrics);
            }
        }
        Ok(incumbents)
    }

    /// Whom the candidate replaces, replaced, or comes after.
    async fn incumbent(&self, connection: &mut Connection) -> Result<Option<ModelVersion>, RegistryError> {
        // An alias that points at the candidate already has no other incumbent than the one that it replaced.
        let current = self.previous.filter(|previous| *previous != self.request.version);
        self.present_or_last(connection, &self.request.target, current, Some(self.request.version)).await
    }

    async fn present_or_last(
        &self,
        connection: &mut Connection,
        target: &Target,
        current: Option<u64>,
        besides: Option<u64>,
    ) -> Result<Option<ModelVersion>, RegistryError> {
        let name = &self.request.name;
        let number = match current {
            Some(current) => Some(current),
            None => history::last_other(connection, self.model, name, target, besides).await?,
        };
        match number {
            Some(number) => version_read(connection, self.model, name, number).await,
            None => Ok(None),
        }
    }

    async fn approved(&self, connection: &mut Connection, approvers: &[Approver]) -> Result<Condition, RegistryError> {
        let key = (self.model, stored("the version", self.request.version)?);
        let found = approval_by(connection, key, &self.request.target, approvers).await?;
        let (held, note) = match found {
            Some((who, approver, why)) => (true, format!("{who} as {approver}: {why}")),
            None => (false, "nobody of them approved it".to_owned()),
        };
        Ok(said(approved_by(approvers), held, Some(note)))
    }
}

/// A condition without figures.
fn said(text: String, held: bool, note: Option<String>) -> Condition {
    Condition { text, left: None, right: None, held, note }
}

fn better_than(better: &Better, candidate: &Facts, incumbent: Option<&Facts>) -> Condition {
    let text = better.to_string();
    let Some(incumbent) = incumbent else { return said(text, true, Some("there is no incumbent".to_owned())) };
    let figure = |facts: &Facts| facts.metrics.get(&better.metric).copied().filter(|figure| !figure.is_nan());
    let (left, right) = (figure(candidate), figure(incumbent));
    let (ours, theirs) = measured_on(candidate, incumbent);
    let (held, note) = match (left, right) {
        (None, _) => (false, Some(format!("the candidate has no metric `{}`", better.metric))),
        (_, None) => (false, Some(format!("the incumbent has no metric `{}`", better.metric))),
        _ if ours.is_empty() || ours != theirs => {
            let (ours, theirs) = (listed(ours), listed(theirs));
            (false, Some(format!("the candidate was measured on {ours}, the incumbent on {theirs}")))
        }
        (Some(left), Some(right)) => (if better.lower { left < right } else { left > right }, None),
    };
    let shown = |figure: Option<f64>| figure.filter(|figure| figure.is_finite());
    Condition { text, left: shown(left), right: shown(right), held, note }
}

/// On what each was measured: where either says so, what is said; otherwise all data of both. Training on the same data
/// does not make figures comparable that come from different tests.
fn measured_on<'f>(candidate: &'f Facts, incumbent: &'f Facts) -> (&'f BTreeSet<String>, &'f BTreeSet<String>) {
    if candidate.measured_on.is_empty() && incumbent.measured_on.is_empty() {
        (&candidate.datasets, &incumbent.datasets)
    } else {
        (&candidate.measured_on, &incumbent.measured_on)
    }
}

fn listed(datasets: &BTreeSet<String>) -> String {
    match datasets.len() {
        0 => "no known data".to_owned(),
        _ => datasets.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
    }
}

/// The error is a version whose interface has to be read first.
fn signature_fits(bench: &Bench<'_>, incumbent: Option<&ModelVersion>) -> Result<Condition, Box<ModelVersion>> {
    let text = "signature compatible".to_owned();
    let Some(incumbent) = incumbent else { return Ok(said(text, true, Some("there is no incumbent".to_owned()))) };
    let problem = match (bench.interface(bench.candidate)?, bench.interface(incumbent)?) {
        (Err(reason), _) => Some(format!("the candidate's is not known: {reason}")),
        (_, Err(reason)) => Some(format!("the incumbent's is not known: {reason}")),
        (Ok(candidate), Ok(incumbent)) => misfit(&candidate, &incumbent),
    };
    Ok(said(text, problem.is_none(), problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_is_told_on_the_same_data_only() {
        let facts = |auc: f64, dataset: &str| Facts {
            metrics: Metrics::from([("auc".to_owned(), auc)]),
            datasets: BTreeSet::from([dataset.to_owned()]),
            measured_on: BTreeSet::new(),
        };
        let better = Better { metric: "auc".to_owned(), lower: false };
        let judged = |candidate: &Facts, incumbent: &Facts| better_than(&better, candidate, Some(incumbent));
        assert!(judged(&facts(0.8, "d@1"), &facts(0.7, "d@1")).held);
        assert!(!judged(&facts(0.7, "d@1"), &facts(0.7, "d@1")).held);
        let other = judged(&facts(0.8, "d@2"), &facts(0.7, "d@1"));
        assert!(!other.held && other.note.expect("note").contains("d@2"));
        assert_eq!((other.left, other.right), (Some(0.8), Some(0.7)));
        assert!(!judged(&Facts::default(), &facts(0.7, "d@1")).held);
        assert!(better_than(&better, &facts(0.1, "d"), None).held);
        // What both learned from is not what they were measured on.
        let set = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let tested = |auc: f64, datasets: &[&str], measured_on: &[&str]| Facts {
            metrics: Metrics::from([("auc".to_owned(), auc)]),
            datasets: set(datasets),
            measured_on: set(measured_on),
        };
        let incumbent = tested(0.7, &["train@1", "test@1"], &["test@1"]);
        let elsewhere = judged(&tested(0.8, &["train@1", "test@2"], &["test@2"]), &incumbent);
        assert!(!elsewhere.held && elsewhere.note.expect("note").contains("test@2"));
        assert!(!judged(&tested(0.8, &["train@1", "test@1"], &[]), &incumbent).held);
        assert!(judged(&tested(0.8, &["train@2", "test@1"], &["test@1"]), &incumbent).held);
        assert!(!judged(&tested(0.8, &["a@1", "b@1"], &[]), &tested(0.7, &["a@1", "b@2"], &[])).held);
    }
}
