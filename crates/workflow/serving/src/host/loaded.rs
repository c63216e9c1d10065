use std::fmt::Display;
use std::sync::Arc;

use ropewalk_inference::{InferenceError, Model, NamedTensor};
use ropewalk_types::{Digest, ModelName, Signature, TensorSpec};

use crate::gate::Gate;
use crate::lane::Lane;
use crate::measure::is_consistent;
use crate::pool::Pool;
use crate::statistics::Counters;
use crate::{ModelSettings, ModelStatistics, ServingError};

/// Names that a message lists: a model may have thousands of inputs, and a host as many models.
const LISTED: usize = 30;

/// One loaded version.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: ModelName,
    pub(crate) version: u64,
    pub(crate) digest: Digest,
    pub(crate) signature: Arc<Signature>,
    pub(crate) settings: Arc<ModelSettings>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) counters: Arc<Counters>,
    /// Requests of this version that are under way.
    pub(crate) gate: Gate,
    /// What the operator should know.
    pub(crate) notes: Vec<String>,
}

impl Loaded {
    /// Takes a model in and warms it up. Blocks.
    pub(super) fn new(
        (name, version, digest): (ModelName, u64, Digest),
        model: Arc<dyn Model>,
        settings: ModelSettings,
        shared: &Arc<Pool>,
        counters: Arc<Counters>,
    ) -> Result<Self, ServingError> {
        let lane = Lane::new(name.clone(), model, &settings, shared, Arc::clone(&counters))?;
        let mut notes = Vec::new();
        if settings.batching.is_some() && !lane.has_batches() {
            notes.push("requests are not joined: an input or output has no open first dimension".to_owned());
        }
        if let Err(problem) = lane.warm_up(settings.warm_up) {
            notes.push(format!("the warm-up with zeros failed: {problem}"));
        }
        let signature = Arc::clone(lane.signature());
        let (settings, lane) = (Arc::new(settings), Arc::new(lane));
        Ok(Self { name, version, digest, signature, settings, lane, counters, gate: Gate::default(), notes })
    }

    pub(super) fn statistics(&self) -> ModelStatistics {
        self.counters.read(self.name.clone(), self.version, self.lane.waiting())
    }

    /// Whether `inputs` are those of the signature, each once, in its type and shape: the same words for every engine.
    pub(crate) fn check_inputs(&self, inputs: &[NamedTensor]) -> Result<(), ServingError> {
        let specs = &self.signature.inputs;
        for (position, input) in inputs.iter().enumerate() {
            // Clients mostly send the inputs in the signature's order.
            let in_place = specs.get(position).filter(|spec| spec.name == input.name);
            let Some(spec) = in_place.or_else(|| specs.iter().find(|spec| spec.name == input.name)) else {
                let known = specs.iter().map(|spec| format!("`{}`", spec.name));
                return Err(invalid_input(
                    &input.name,
                    format!("one of {}", list(known)),
                    "a name that is none of them",
                ));
            };
            // What came before is known and told apart, so it is no longer than the signature.
            if inputs.iter().take(position).any(|before| before.name == input.name) {
                return Err(invalid_input(&input.name, "one tensor", "a second one"));
            }
            check_input(spec, input)?;
        }
        if inputs.len() == specs.len() {
            return Ok(());
        }
        match specs.iter().find(|spec| !inputs.iter().any(|input| input.name == spec.name)) {
            Some(spec) => Err(invalid_input(&spec.name, expected(spec), "no tensor")),
            None => Ok(()),
        }
    }

    /// Whether each of `wanted` is an output and is asked for once.
    pub(super) fn check_outputs(&self, wanted: &[String]) -> Result<(), ServingError> {
        let outputs = &self.signature.outputs;
        for (position, output) in wanted.iter().enumerate() {
            if !outputs.iter().any(|spec| spec.name == *output) {
                let known = list(outputs.iter().map(|spec| &spec.name));
                return Err(ServingError::UnknownOutput {
                    model: self.name.to_string(),
                    output: output.clone(),
                    known,
                });
            }
            // What came before is known and told apart, so it is no longer than the signature.
            if wanted.iter().take(position).any(|before| before == output) {
                return Err(ServingError::RepeatedOutput { output: output.clone() });
            }
        }
        Ok(())
    }

    /// The outputs in the order wanted; all of them, in the signature's order, if none is wanted.
    pub(super) fn choose(
        &self,
        mut outputs: Vec<NamedTensor>,
        wanted: &[String],
    ) -> Result<Vec<NamedTensor>, ServingError> {
        let specs = &self.signature.outputs;
        let in_place =
            outputs.len() == specs.len() && outputs.iter().zip(specs).all(|(one, spec)| one.name == spec.name);
        if wanted.is_empty() && in_place {
            return Ok(outputs);
        }
        let mut take = |name: &String| {
            let missing = || ServingError::MissingOutput { model: self.name.to_string(), output: name.clone() };
            let position = outputs.iter().position(|output| output.name == *name).ok_or_else(missing)?;
            Ok(outputs.swap_remove(position))
        };
        if wanted.is_empty() {
            specs.iter().map(|spec| take(&spec.name)).collect()
        } else {
            wanted.iter().map(take).collect()
        }
    }
}

fn check_input(spec: &TensorSpec, input: &NamedTensor) -> Result<(), ServingError> {
    let tensor = &input.tensor;
    let fits = |(want, have): (&i64, &usize)| *want == -1 || usize::try_from(*want) == Ok(*have);
    let shape = spec.shape.len() == tensor.shape.len() && spec.shape.iter().zip(&tensor.shape).all(fits);
    let found = || format!("{}{:?}", tensor.element_type(), tensor.shape);
    if spec.datatype != tensor.element_type() || !shape {
        return Err(invalid_input(&spec.name, expected(spec), found()));
    }
    if !is_consistent(tensor) {
        let found = format!("{} with {} elements", found(), tensor.data.len());
        return Err(invalid_input(&spec.name, expected(spec), found));
    }
    Ok(())
}

fn expected(spec: &TensorSpec) -> String {
    format!("{}{:?}", spec.datatype, spec.shape)
}

fn invalid_input(input: &str, expected: impl Into<String>, found: impl Into<String>) -> ServingError {
    let (input, expected, found) = (input.to_owned(), expected.into(), found.into());
    ServingError::Inference(InferenceError::InvalidInput { input, expected, found })
}

/// Names in a message: the first of them, if there are many.
pub(super) fn list(mut names: impl Iterator<Item = impl Display>) -> String {
    let first: Vec<String> = names.by_ref().take(LISTED).map(|name| name.to_string()).collect();
    let first = first.join(", ");
    match names.count() {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn of_many_names_the_first_are_listed() {
        let numbers: Vec<String> = (1..=30).map(|number| number.to_string()).collect();
        assert_eq!((list(0..0), list(1..=2), list(1..=30)), (String::new(), "1, 2".to_owned(), numbers.join(", ")));
        assert_eq!(list(1..=33), format!("{} and 3 more", numbers.join(", ")));
    }
}
