use std::path::Path;

use ropewalk_store::files::{self, TemporaryDirectory};
use ropewalk_types::{Signature, TensorSpec};
use serde_json::{Value, json};

use super::folder::{Described, Field, Form};
use super::frame::{Sent, message, put};
use super::pool::Pool;
use super::worker::Recipe;
use super::{PythonSettings, environment, failed, folder, learned};
use crate::example::Example;
use crate::request::{missing, placed};
use crate::{EngineName, InferenceError, LoadOptions, Model, NamedTensor, Tensor};

/// A model in worker processes.
#[derive(Debug)]
pub(super) struct PythonModel {
    signature: Signature,
    form: Form,
    inputs: Vec<Field>,
    /// The outputs as a request names them to the worker.
    outputs: Value,
    pool: Pool,
    /// In which the workers run; goes after them.
    _directory: TemporaryDirectory,
}

impl PythonModel {
    pub(super) fn new(settings: &PythonSettings, folder: &Path, options: &LoadOptions) -> Result<Self, InferenceError> {
        let described = folder::read(folder)?;
        let example =
            if described.inputs.is_none() || described.outputs.is_none() { Example::read(folder)? } else { None };
        let (form, inputs) = taken(&described, example.as_ref())?;
        let directory = files::scratch_directory(&settings.cache.join("run")).map_err(|error| failed(&error))?;
        let recipe = Recipe {
            interpreter: environment::interpreter(settings, folder)?,
            settings: settings.clone(),
            model: std::path::absolute(folder).map_err(|error| failed(&error))?,
            directory: directory.path().to_owned(),
            threads: options.threads,
        };
        let pool = Pool::start(recipe, options.workers)?;
        let mut model = Self {
            signature: Signature { inputs: inputs.iter().map(|field| field.spec.clone()).collect(), outputs: vec![] },
            form,
            inputs,
            outputs: Value::Null,
            pool,
            _directory: directory,
        };
        let outputs = match described.outputs {
            Some(outputs) => outputs,
            None => model.learned(example.as_ref())?,
        };
        model.outputs = outputs
            .iter()
            .map(|field| json!({"name": field.spec.name, "key": field.key, "datatype": field.spec.datatype}))
            .collect();
        model.signature.outputs = outputs.into_iter().map(|field| field.spec).collect();
        Ok(model)
    }

    /// The outputs that the answer to the example shows.
    fn learned(&self, example: Option<&Example>) -> Result<Vec<Field>, InferenceError> {
        let example = example.ok_or_else(without_signature)?;
        let inputs = example.inputs(&self.signature)?;
        let rows = inputs.first().and_then(|input| input.tensor.shape.first()).copied();
        Ok(learned::outputs(&self.predict(&inputs)?, rows))
    }

    fn request(&self, given: &[Option<&Tensor>]) -> Result<Vec<u8>, InferenceError> {
        let mut body = Vec::new();
        let mut sent = Vec::new();
        for (field, tensor) in self.inputs.iter().zip(given) {
            let Some(tensor) = tensor else {
                if field.required {
                    return Err(missing(&field.spec));
                }
                continue;
            };
            let before = body.len();
            put(&mut body, &tensor.data);
            sent.push(Sent {
                name: &field.spec.name,
                key: field.key.as_deref(),
                kind: &field.kind,
                datatype: field.spec.datatype,
                shape: &tensor.shape,
                size: body.len() - before,
            });
        }
        let form = match self.form {
            Form::Frame => "frame",
            Form::Array => "array",
            Form::Named => "named",
        };
        message(&json!({"form": form, "tensors": sent, "outputs": self.outputs}), &body)
    }

    /// A column may come as [N, 1] or as [N].
    fn fits(&self, spec: &TensorSpec, shape: &[i64]) -> bool {
        spec.accepts(shape) || (self.form == Form::Frame && shape.len() == 1)
    }
}

fn without_signature() -> InferenceError {
    let [node, domain, operator] = ["signature", "mlflow", "MLmodel"].map(str::to_owned);
    let reason = "the model says neither its inputs and outputs nor has it an example to learn them from: \
                  log it with `signature` or `input_example`";
    InferenceError::Unsupported { node, domain, operator, opset: 0, reason: reason.to_owned() }
}

/// How the model takes its inputs, by its signature or else by its example.
fn taken(described: &Described, example: Option<&Example>) -> Result<(Form, Vec<Field>), InferenceError> {
    match &described.inputs {
        Some(inputs) => Ok((described.form, inputs.clone())),
        None => example.and_then(|example| learned::inputs(example.values())).ok_or_else(without_signature),
    }
}

impl Model for PythonModel {
    fn engine(&self) -> EngineName {
        EngineName::Python
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        let fits = |spec: &TensorSpec, shape: &[i64]| self.fits(spec, shape);
        let given = placed(&self.signature.inputs, inputs, fits)?;
        self.pool.ask(self.request(&given)?)
    }

    fn ready(&self) -> Result<(), String> {
        self.pool.ready()
    }
}
