use std::path::Path;

use ort::session::{Session, SessionInputValue};
use ort::value::{Outlet, ValueType};
use ropewalk_types::{Signature, TensorSpec};

use super::fault::{at_load, at_run, failed};
use super::library::Library;
use super::maps::{Output, without_maps};
use super::sessions::{Recipe, Sessions};
use super::values::{element_type, from_output, to_input};
use super::{external, trial};
use crate::classical::interface::common_shape;
use crate::request::ordered;
use crate::{EngineName, InferenceError, LoadOptions, Model, NamedTensor, TensorData};

/// A model in ONNX Runtime.
#[derive(Debug)]
pub(super) struct OnnxRuntimeModel {
    signature: Signature,
    outputs: Vec<Output>,
    sessions: Sessions,
}

impl OnnxRuntimeModel {
    pub(super) fn new(
        library: &Library,
        bytes: &[u8],
        folder: Option<&Path>,
        options: &LoadOptions,
    ) -> Result<Self, InferenceError> {
        let external = external::check(bytes, folder)?;
        let folder = folder.filter(|_| external).map(|folder| folder.to_string_lossy());
        let plain = without_maps(bytes)?;
        let recipe =
            Recipe { environment: &library.environment, bytes: &plain.bytes, external: folder.as_deref(), options };
        let mut first = recipe.session().map_err(|error| at_load(&error))?;
        let inputs = first.inputs().iter().map(|input| spec("input", input)).collect::<Result<Vec<_>, _>>()?;
        let outputs = plain.outputs.iter().map(|output| output_spec(output, &first)).collect::<Result<Vec<_>, _>>()?;
        let mut signature = Signature { inputs, outputs };
        try_out(&mut first, &mut signature, &plain.outputs);
        let sessions = Sessions::new(first, &recipe).map_err(|error| at_load(&error))?;
        Ok(Self { signature, outputs: plain.outputs, sessions })
    }
}

impl Model for OnnxRuntimeModel {
    fn engine(&self) -> EngineName {
        EngineName::OnnxRuntime
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        let specs = &self.signature.inputs;
        let given = ordered(&self.signature, inputs)?;
        let values = specs.iter().zip(given).map(|(spec, tensor)| to_input(&spec.name, tensor));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        self.sessions.with(|session| run(session, &values, &self.outputs))
    }

    fn class_labels(&self, output: &str) -> Option<&TensorData> {
        self.outputs.iter().find(|one| one.name == output).and_then(|one| one.labels.as_ref())
    }
}

fn run(
    session: &mut Session,
    inputs: &[SessionInputValue<'_>],
    outputs: &[Output],
) -> Result<Vec<NamedTensor>, InferenceError> {
    let made = session.run::<0>(inputs).map_err(|error| at_run(&error))?;
    let named = outputs.iter().map(|output| {
        let value = made.get(&output.taken_from).ok_or_else(|| failed(&format!("no output `{}`", output.name)))?;
        let mut tensor = from_output(&output.name, value)?;
        // One row of scores may come without its batch.
        if let (Some(_), [columns]) = (&output.labels, tensor.shape.as_slice()) {
            tensor.shape = vec![1, *columns];
        }
        Ok(NamedTensor::new(&*output.name, tensor))
    });
    named.collect()
}

fn spec(kind: &str, outlet: &Outlet) -> Result<TensorSpec, InferenceError> {
    let refused = |reason: String| InferenceError::Unsupported {
        node: outlet.name().to_owned(),
        domain: "ai.onnx".to_owned(),
        operator: kind.to_owned(),
        opset: 0,
        reason,
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(refused(format!("its type is {}, and only tensors can be served", outlet.dtype())));
    };
    let datatype = element_type(*ty).ok_or_else(|| refused(format!("its elements are of type {ty}")))?;
    let shape = shape.iter().map(|extent| (*extent).max(-1)).collect();
    Ok(TensorSpec { name: outlet.name().to_owned(), datatype, shape })
}

fn output_spec(output: &Output, session: &Session) -> Result<TensorSpec, InferenceError> {
    let outlet = session.outputs().iter().find(|outlet| outlet.name() == output.taken_from);
    let outlet = outlet.ok_or_else(|| failed(&format!("the session has no output `{}`", output.taken_from)))?;
    Ok(TensorSpec { name: output.name.clone(), ..spec("output", outlet)? })
}

/// Sets the outputs' shapes to those that two batches of zeros show; a model that refuses zeros keeps what it declares.
fn try_out(session: &mut Session, signature: &mut Signature, outputs: &[Output]) {
    let mut shapes = |rows| -> Option<Vec<Vec<usize>>> {
        let tensors = signature.inputs.iter().map(|spec| trial::input(spec, rows)).collect::<Option<Vec<_>>>()?;
        let named = signature.inputs.iter().zip(&tensors);
        let values = named.map(|(spec, tensor)| to_input(&spec.name, tensor).ok()).collect::<Option<Vec<_>>>()?;
        let made = run(session, &values, outputs).ok()?;
        Some(made.into_iter().map(|named| named.tensor.shape).collect())
    };
    let [one, other] = trial::ROWS.map(&mut shapes);
    let Some((one, other)) = one.zip(other) else { return };
    for ((spec, one), other) in signature.outputs.iter_mut().zip(one).zip(other) {
        if let Some(shape) = common_shape(&one, &other) {
            spec.shape = shape;
        }
    }
}
