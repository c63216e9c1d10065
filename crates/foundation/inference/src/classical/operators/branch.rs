use std::sync::Arc;

use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::body::Body;
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, values};
use crate::classical::work::Work;

/// The branches that may be taken: both, unless the condition is known when the model is loaded.
#[derive(Debug)]
struct If {
    then_branch: Option<Arc<Body>>,
    else_branch: Option<Arc<Body>>,
}

/// `If`: the outputs of one of two graphs without inputs. Their types must be the same, their shapes need not. A branch
/// that is never taken is not looked at.
pub(super) fn branch(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &[ElementType::Bool])?;
    let (then_graph, else_graph) = (definition.graph("then_branch")?, definition.graph("else_branch")?);
    let taken = |on: bool| definition.condition.is_none_or(|condition| condition == on);
    let then_branch = taken(true).then(|| definition.body(then_graph, &[])).transpose()?;
    let else_branch = taken(false).then(|| definition.body(else_graph, &[])).transpose()?;
    let mut types = then_branch.iter().chain(&else_branch).map(|body| body.output_types());
    let outputs = types.next().unwrap_or_default();
    if let Some(other) = types.next().filter(|other| *other != outputs) {
        return Err(Fault::invalid(format!("its branches make {outputs:?} and {other:?}")));
    }
    Ok(Built::new(If { then_branch, else_branch }, outputs))
}

impl Operator for If {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        self.evaluate_within(inputs, &Work::default())
    }

    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.split(1).0.count()
    }

    fn evaluate_within(&self, inputs: Inputs<'_>, work: &Work) -> Result<Vec<Tensor>, Fault> {
        let (own, around) = inputs.split(1);
        let condition = own.tensor(0)?;
        let [condition] = values::<bool>(condition)? else {
            return Err(Fault::invalid(format!("its condition has shape {:?}, expected one value", condition.shape)));
        };
        let branch = if *condition { &self.then_branch } else { &self.else_branch };
        branch.as_ref().ok_or_else(|| Fault::invalid("its condition is not the constant it was"))?.run(
            &[],
            around,
            work,
        )
    }
}
