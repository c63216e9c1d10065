use prost::Message;
use ropewalk_types::ElementType;

use super::{
    AttributeProto, AttributeType, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
    onnx_type_of, tensor_to_proto,
};
use crate::Tensor;

/// IR version 8 (ONNX 1.10 and later): old enough for every runtime in use, new enough for opset 21's operators here.
const IR_VERSION: i64 = 8;

/// The value of a node's attribute.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of `AttributeProto.AttributeType`")]
pub enum AttributeValue {
    Float(f32),
    Int(i64),
    String(String),
    Tensor(Tensor),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Strings(Vec<String>),
}

/// A named attribute of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Name.
    pub name: String,
    /// Value.
    pub value: AttributeValue,
}

impl Attribute {
    /// Names `value`.
    pub fn new(name: impl Into<String>, value: impl Into<AttributeValue>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    pub(crate) fn into_proto(self) -> AttributeProto {
        let mut proto = AttributeProto { name: self.name, ..AttributeProto::default() };
        let kind = match self.value {
            AttributeValue::Float(value) => {
                proto.f = value;
                AttributeType::Float
            }
            AttributeValue::Int(value) => {
                proto.i = value;
                AttributeType::Int
            }
            AttributeValue::String(value) => {
                proto.s = value.into_bytes();
                AttributeType::String
            }
            AttributeValue::Tensor(value) => {
                proto.t = Some(tensor_to_proto("", &value));
                AttributeType::Tensor
            }
            AttributeValue::Floats(values) => {
                proto.floats = values;
                AttributeType::Floats
            }
            AttributeValue::Ints(values) => {
                proto.ints = values;
                AttributeType::Ints
            }
            AttributeValue::Strings(values) => {
                proto.strings = values.into_iter().map(String::into_bytes).collect();
                AttributeType::Strings
            }
        };
        proto.set_type(kind);
        proto
    }
}

macro_rules! attribute_values {
    ($($rust:ty => $variant:ident),*) => {
        $(impl From<$rust> for AttributeValue {
            fn from(value: $rust) -> Self {
                Self::$variant(value)
            }
        })*
    };
}
attribute_values!(f32 => Float, i64 => Int, String => String, Tensor => Tensor, Vec<f32> => Floats, Vec<i64> => Ints,
    Vec<String> => Strings);

impl From<&str> for AttributeValue {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

/// Writes an ONNX model call by call; the same calls give the same bytes.
///
/// The builder keeps the order of the calls and checks nothing: load the bytes to check them.
#[derive(Clone, Debug, Default)]
pub struct GraphBuilder {
    model: ModelProto,
    graph: GraphProto,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        let model = ModelProto { ir_version: IR_VERSION, ..ModelProto::default() };
        Self { model, graph: GraphProto { name: name.into(), ..GraphProto::default() } }
    }

    /// Who wrote the model.
    #[must_use]
    pub fn producer(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.model.producer_name = name.into();
        self.model.producer_version = version.into();
        self
    }

    /// Imports version `version` of the operators of `domain`; the main domain is the empty name.
    #[must_use]
    pub fn opset(mut self, domain: impl Into<String>, version: i64) -> Self {
        self.model.opset_import.push(OperatorSetIdProto { domain: domain.into(), version });
        self
    }

    /// Adds a key and its value to `metadata_props`.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.model.metadata_props.push(StringStringEntryProto { key: key.into(), value: value.into() });
        self
    }

    /// Declares a tensor input; -1 leaves an extent to the request.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>, element_type: ElementType, shape: &[i64]) -> Self {
        self.graph.input.push(value_info(name.into(), element_type, shape));
        self
    }

    /// Declares a tensor output; -1 leaves an extent open.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>, element_type: ElementType, shape: &[i64]) -> Self {
        self.graph.output.push(value_info(name.into(), element_type, shape));
        self
    }

    /// Adds a constant.
    #[must_use]
    pub fn initializer(mut self, name: &str, tensor: &Tensor) -> Self {
        self.graph.initializer.push(tensor_to_proto(name, tensor));
        self
    }

    /// Adds a constant as it stands.
    #[must_use]
    pub fn initializer_proto(mut self, proto: TensorProto) -> Self {
        self.graph.initializer.push(proto);
        self
    }

    /// Applies an operator; nodes stand in topological order. The node is named after the operator and its place.
    #[must_use]
    pub fn node(
        mut self,
        domain: &str,
        operator: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        self.graph.node.push(NodeProto {
            input: owned(inputs),
            output: owned(outputs),
            name: format!("{operator}_{}", self.graph.node.len()),
            op_type: operator.to_owned(),
            attribute: attributes.into_iter().map(Attribute::into_proto).collect(),
            domain: domain.to_owned(),
            ..NodeProto::default()
        });
        self
    }

    /// The model as a message.
    pub fn into_model(self) -> ModelProto {
        ModelProto { graph: Some(self.graph), ..self.model }
    }

    /// The model as the bytes of an `.onnx` file.
    pub fn encode(self) -> Vec<u8> {
        self.into_model().encode_to_vec()
    }
}

fn value_info(name: String, element_type: ElementType, shape: &[i64]) -> ValueInfoProto {
    let dim = shape.iter().enumerate().map(|(axis, extent)| dimension(axis, *extent)).collect();
    let tensor = TensorType { elem_type: onnx_type_of(element_type) as i32, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name, r#type: Some(TypeProto { value: Some(TypeValue::TensorType(tensor)) }) }
}

/// An open first extent is the batch, so that inputs and outputs share it; others stay anonymous.
fn dimension(axis: usize, extent: i64) -> Dimension {
    let value = match (extent, axis) {
        (0.., _) => Some(DimensionValue::DimValue(extent)),
        (_, 0) => Some(DimensionValue::DimParam("batch".to_owned())),
        _ => None,
    };
    Dimension { value }
}
