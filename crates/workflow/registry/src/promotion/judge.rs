use std::collections::{BTreeMap, BTreeSet};

use ropewalk_catalog::Connection;
use ropewalk_types::{Alias, Signature, TensorSpec};

use super::{PromotionRequest, history};
use crate::alias::alias_points;
use crate::declared::approval_by;
use crate::gate::approved_by;
use crate::model::stored;
use crate::version::version_read;
use crate::{
    Approver, Better, Condition, Evidence, Facts, Gate, GateDeclaration, GateOutcome, Metrics, ModelVersion,
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
) -> Result<GateOutcome, RegistryError> {
    let mut outcome = GateOutcome::free();
    let asked = match declared {
        Some(declared) => declared.gate()?,
        None => None,
    };
    let gates: Vec<&Gate> = bench.request.gate.iter().chain(asked.as_ref()).collect();
    if gates.is_empty() && declared.is_none() {
        return Ok(outcome);
    }
    let candidate = bench.facts(connection, bench.candidate).await?;
    for gate in gates {
        let incumbents = bench.incumbents(connection, gate.aliases()).await?;
        outcome.and(gate.evaluate(&candidate.metrics, &incumbents));
    }
    let Some(declared) = declared else { return Ok(outcome) };
    let incumbent = bench.incumbent(connection).await?;
    if let Some(better) = &declared.better {
        let facts = match &incumbent {
            Some(incumbent) => Some(bench.facts(connection, incumbent).await?),
            None => None,
        };
        outcome.and(one(better_than(better, &candidate, facts.as_ref())));
    }
    if declared.signature {
        outcome.and(one(signature_fits(bench.candidate, incumbent.as_ref())));
    }
    if !declared.approval.is_empty() {
        outcome.and(one(bench.approved(connection, &declared.approval).await?));
    }
    Ok(outcome)
}

fn one(condition: Condition) -> GateOutcome {
    GateOutcome { held: condition.held, conditions: vec![condition] }
}

impl Bench<'_> {
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
    let (held, note) = match (left, right) {
        (None, _) => (false, Some(format!("the candidate has no metric `{}`", better.metric))),
        (_, None) => (false, Some(format!("the incumbent has no metric `{}`", better.metric))),
        _ if candidate.datasets.is_disjoint(&incumbent.datasets) => {
            let (ours, theirs) = (listed(&candidate.datasets), listed(&incumbent.datasets));
            (false, Some(format!("the candidate was measured on {ours}, the incumbent on {theirs}")))
        }
        (Some(left), Some(right)) => (if better.lower { left < right } else { left > right }, None),
    };
    let shown = |figure: Option<f64>| figure.filter(|figure| figure.is_finite());
    Condition { text, left: shown(left), right: shown(right), held, note }
}

fn listed(datasets: &BTreeSet<String>) -> String {
    match datasets.len() {
        0 => "no known data".to_owned(),
        _ => datasets.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
    }
}

fn signature_fits(candidate: &ModelVersion, incumbent: Option<&ModelVersion>) -> Condition {
    let text = "signature compatible".to_owned();
    let Some(incumbent) = incumbent else { return said(text, true, Some("there is no incumbent".to_owned())) };
    let signature = |version: &ModelVersion| version.content.as_ref().map(|content| content.signature.clone());
    let problem = match (signature(candidate), signature(incumbent)) {
        (None, _) => Some("the candidate's is not known here".to_owned()),
        (_, None) => Some("the incumbent's is not known here".to_owned()),
        (Some(candidate), Some(incumbent)) => misfit(&candidate, &incumbent),
    };
    said(text, problem.is_none(), problem)
}

/// Why somebody who asks the incumbent could not ask the candidate the same, or would miss something in its answer.
fn misfit(candidate: &Signature, incumbent: &Signature) -> Option<String> {
    let of = |specs: &[TensorSpec], name: &str| specs.iter().find(|spec| spec.name == name).cloned();
    for asked in &incumbent.inputs {
        match of(&candidate.inputs, &asked.name) {
            None => return Some(format!("it has no input `{}`", asked.name)),
            Some(taken) if taken.datatype != asked.datatype || !takes(&taken.shape, &asked.shape) => {
                return Some(format!("its input {taken} is not {asked}"));
            }
            Some(_) => {}
        }
    }
    if let Some(new) = candidate.inputs.iter().find(|spec| of(&incumbent.inputs, &spec.name).is_none()) {
        return Some(format!("it asks for `{}` too", new.name));
    }
    for read in &incumbent.outputs {
        match of(&candidate.outputs, &read.name) {
            None => return Some(format!("it has no output `{}`", read.name)),
            Some(given) if given.datatype != read.datatype || !takes(&read.shape, &given.shape) => {
                return Some(format!("its output {given} is not {read}"));
            }
            Some(_) => {}
        }
    }
    None
}

/// Whether all that has the shape `given` has the shape `wanted`.
fn takes(wanted: &[i64], given: &[i64]) -> bool {
    wanted.len() == given.len() && wanted.iter().zip(given).all(|(wanted, given)| *wanted == -1 || wanted == given)
}

#[cfg(test)]
mod tests {
    use ropewalk_types::ElementType;

    use super::*;

    fn spec(name: &str, datatype: ElementType, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), datatype, shape: shape.to_vec() }
    }

    #[test]
    fn a_signature_fits_where_no_caller_notices() {
        use ElementType::{Fp32, Int64};
        let old = Signature { inputs: vec![spec("x", Fp32, &[-1, 3])], outputs: vec![spec("y", Fp32, &[-1, 1])] };
        let fits = |inputs: &[TensorSpec], outputs: &[TensorSpec]| {
            misfit(&Signature { inputs: inputs.to_vec(), outputs: outputs.to_vec() }, &old)
        };
        let (x, y) = (spec("x", Fp32, &[-1, 3]), spec("y", Fp32, &[-1, 1]));
        assert_eq!(fits(&[spec("x", Fp32, &[-1, -1])], &[y.clone(), spec("more", Fp32, &[-1])]), None);
        let told = |inputs: &[TensorSpec], outputs: &[TensorSpec]| fits(inputs, outputs).expect("a misfit");
        assert!(told(&[], std::slice::from_ref(&y)).contains("no input `x`"));
        assert!(told(&[spec("x", Int64, &[-1, 3])], std::slice::from_ref(&y)).contains("its input x: INT64"));
        assert!(told(&[spec("x", Fp32, &[-1, 4])], std::slice::from_ref(&y)).contains("[-1, 4]"));
        assert!(told(&[x.clone(), spec("z", Fp32, &[-1])], &[y]).contains("asks for `z`"));
        assert!(told(std::slice::from_ref(&x), &[]).contains("no output `y`"));
        assert!(told(&[x], &[spec("y", Fp32, &[-1, -1])]).contains("its output"));
    }

    #[test]
    fn better_is_told_on_the_same_data_only() {
        let facts = |auc: f64, dataset: &str| Facts {
            metrics: Metrics::from([("auc".to_owned(), auc)]),
            datasets: BTreeSet::from([dataset.to_owned()]),
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
    }
}
