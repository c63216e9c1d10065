//! What a model takes and gives, whoever registered it, and whether one model can take another's place.

mod compare;
mod mlmodel;

use std::collections::BTreeMap;
use std::fmt;

use ropewalk_types::{ElementType, Signature, TensorSpec};
use serde::Deserialize;

pub(crate) use compare::misfit;
pub use mlmodel::{MlModel, MlModelError};

/// What a model takes and gives, in the words of MLflow's schemas (`mlflow/types/schema.py`).
///
/// The signature of an ONNX graph becomes one of named tensors, with NumPy's names of their types.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interface {
    /// What it takes; none if its maker did not say.
    pub(crate) inputs: Option<Vec<Field>>,
    /// What it gives; none if its maker did not say.
    pub(crate) outputs: Option<Vec<Field>>,
    /// What a request may set besides; each has a default.
    pub(crate) parameters: Vec<Parameter>,
}

/// A column, a tensor, or a part of one of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Field {
    /// None where the place counts.
    pub(crate) name: Option<String>,
    /// `long`, `double`, `string`…, `array`, `map`, `object`, `any`, `tensor`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default = "yes")]
    required: bool,
    /// How MLflow before 2.5 said that it is not required.
    #[serde(default)]
    optional: bool,
    /// Of a tensor.
    #[serde(rename = "tensor-spec")]
    pub(crate) tensor: Option<Tensor>,
    /// Of an array.
    pub(crate) items: Option<Box<Field>>,
    /// Of a map.
    pub(crate) values: Option<Box<Field>>,
    /// Of an object.
    pub(crate) properties: Option<BTreeMap<String, Field>>,
}

fn yes() -> bool {
    true
}

/// The type and the shape of a tensor.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Tensor {
    /// NumPy's name.
    pub(crate) dtype: String,
    /// -1 where any extent will do.
    pub(crate) shape: Vec<i64>,
}

/// What a request may set besides the inputs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    #[serde(rename = "type", alias = "dtype")]
    pub(crate) kind: String,
    pub(crate) shape: Option<Vec<i64>>,
}

impl Field {
    /// Whether a request or an answer without it is incomplete.
    pub(crate) fn is_needed(&self) -> bool {
        self.required && !self.optional
    }

    fn of_spec(spec: &TensorSpec) -> Self {
        Self {
            name: Some(spec.name.clone()),
            kind: "tensor".to_owned(),
            required: true,
            optional: false,
            tensor: Some(Tensor { dtype: dtype(spec.datatype).to_owned(), shape: spec.shape.clone() }),
            items: None,
            values: None,
            properties: None,
        }
    }
}

/// Without its name: `double`, `float32[-1, 4]`, `array of long`.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.tensor, &self.items, &self.values, &self.properties) {
            (Some(tensor), ..) => write!(f, "{}{:?}", tensor.dtype, tensor.shape),
            (_, Some(items), ..) => write!(f, "array of {items}"),
            (_, _, Some(values), _) => write!(f, "map of {values}"),
            (.., Some(properties)) => {
                let parts: Vec<String> = properties.iter().map(|(name, field)| format!("{name}: {field}")).collect();
                write!(f, "object of {}", parts.join(", "))
            }
            _ => f.write_str(&self.kind),
        }?;
        if self.is_needed() { Ok(()) } else { f.write_str(", optional") }
    }
}

impl From<&Signature> for Interface {
    fn from(signature: &Signature) -> Self {
        let fields = |specs: &[TensorSpec]| Some(specs.iter().map(Field::of_spec).collect());
        Self { inputs: fields(&signature.inputs), outputs: fields(&signature.outputs), parameters: Vec::new() }
    }
}

/// NumPy's name of a type.
fn dtype(datatype: ElementType) -> &'static str {
    match datatype {
        ElementType::Bool => "bool",
        ElementType::Uint8 => "uint8",
        ElementType::Uint16 => "uint16",
        ElementType::Uint32 => "uint32",
        ElementType::Uint64 => "uint64",
        ElementType::Int8 => "int8",
        ElementType::Int16 => "int16",
        ElementType::Int32 => "int32",
        ElementType::Int64 => "int64",
        ElementType::Fp16 => "float16",
        ElementType::Bf16 => "bfloat16",
        ElementType::Fp32 => "float32",
        ElementType::Fp64 => "float64",
        ElementType::Bytes => "str",
    }
}
