use std::collections::BTreeMap;

use bytes::Bytes;

use super::fault::Fault;
use crate::onnx::{AttributeProto, AttributeType, GraphProto, tensor_from_proto};
use crate::{Tensor, TensorData};

/// The attributes of one node. Each is taken out by name and type; what is left at the end is unknown and refused.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    left: BTreeMap<&'a str, &'a AttributeProto>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(protos: &'a [AttributeProto]) -> Result<Self, Fault> {
        let mut left = BTreeMap::new();
        for proto in protos {
            if left.insert(proto.name.as_str(), proto).is_some() {
                return Err(Fault::invalid(format!("attribute `{}` is given twice", proto.name)));
            }
            if !proto.ref_attr_name.is_empty() {
                return Err(Fault::unsupported(format!("attribute `{}` refers to a function's attribute", proto.name)));
            }
        }
        Ok(Self { left })
    }

    fn take(&mut self, name: &str, expected: AttributeType) -> Result<Option<&'a AttributeProto>, Fault> {
        let Some(proto) = self.left.remove(name) else { return Ok(None) };
        if proto.r#type == expected as i32 {
            return Ok(Some(proto));
        }
        let found =
            AttributeType::try_from(proto.r#type).map_or_else(|_| "unknown".to_owned(), |kind| format!("{kind:?}"));
        Err(Fault::invalid(format!("attribute `{name}` is {found}, expected {expected:?}")))
    }

    pub(super) fn float(&mut self, name: &str) -> Result<Option<f32>, Fault> {
        Ok(self.take(name, AttributeType::Float)?.map(|proto| proto.f))
    }

    pub(super) fn int(&mut self, name: &str) -> Result<Option<i64>, Fault> {
        Ok(self.take(name, AttributeType::Int)?.map(|proto| proto.i))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Fault> {
        let Some(proto) = self.take(name, AttributeType::String)? else { return Ok(None) };
        text(name, &proto.s).map(Some)
    }

    pub(super) fn floats(&mut self, name: &str) -> Result<Option<Vec<f32>>, Fault> {
        Ok(self.take(name, AttributeType::Floats)?.map(|proto| proto.floats.clone()))
    }

    pub(super) fn ints(&mut self, name: &str) -> Result<Option<Vec<i64>>, Fault> {
        Ok(self.take(name, AttributeType::Ints)?.map(|proto| proto.ints.clone()))
    }

    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Fault> {
        let Some(proto) = self.take(name, AttributeType::Strings)? else { return Ok(None) };
        proto.strings.iter().map(|value| text(name, value)).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn byte_strings(&mut self, name: &str) -> Result<Option<Vec<Bytes>>, Fault> {
        let proto = self.take(name, AttributeType::Strings)?;
        Ok(proto.map(|proto| proto.strings.iter().map(|value| Bytes::copy_from_slice(value)).collect()))
    }

    pub(super) fn byte_string(&mut self, name: &str) -> Result<Option<Bytes>, Fault> {
        Ok(self.take(name, AttributeType::String)?.map(|proto| Bytes::copy_from_slice(&proto.s)))
    }

    pub(super) fn tensor(&mut self, name: &str) -> Result<Option<Tensor>, Fault> {
        let Some(proto) = self.take(name, AttributeType::Tensor)? else { return Ok(None) };
        let tensor = proto.t.as_ref().ok_or_else(|| Fault::invalid(format!("attribute `{name}` holds no tensor")))?;
        tensor_from_proto(tensor).map(Some).map_err(|error| Fault::invalid(error.to_string()))
    }

    pub(super) fn graph(&mut self, name: &str) -> Result<Option<&'a GraphProto>, Fault> {
        Ok(self.take(name, AttributeType::Graph)?.and_then(|proto| proto.g.as_deref()))
    }

    /// A boolean, which ONNX writes as an integer.
    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool, Fault> {
        Ok(self.int(name)?.map_or(default, |value| value != 0))
    }

    /// The class labels of a classifier: exactly one of a list of integers and a list of strings.
    pub(super) fn class_labels(&mut self, ints: &str, strings: &str) -> Result<TensorData, Fault> {
        let ints = self.ints(ints)?.filter(|values| !values.is_empty());
        let strings = self.byte_strings(strings)?.filter(|values| !values.is_empty());
        match (ints, strings) {
            (Some(values), None) => Ok(values.into()),
            (None, Some(values)) => Ok(values.into()),
            (None, None) => Err(Fault::invalid("no class labels")),
            (Some(_), Some(_)) => Err(Fault::invalid("class labels both as integers and as strings")),
        }
    }

    /// Refuses the attributes that nobody took.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(Fault::unsupported(format!("attribute `{name}`"))),
        }
    }
}

fn text(name: &str, value: &[u8]) -> Result<String, Fault> {
    String::from_utf8(value.to_vec()).map_err(|_| Fault::invalid(format!("attribute `{name}` is not UTF-8")))
}
