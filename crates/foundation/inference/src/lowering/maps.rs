//! Inputs that are maps: a `DictVectorizer` takes one row as a map from keys to values. Here the input `x` becomes two
//! tensors [N, K], `x_keys` and `x_values`, the entries of N maps side by side, so that rows come in batches and need no
//! type that a protocol does not have. A row with fewer entries is filled with keys that the vocabulary has not, such as
//! the empty text.

use std::collections::HashSet;

use super::names::own;
use crate::InferenceError;
use crate::onnx::{
    Dimension, DimensionValue, GraphProto, MapType, ModelProto, TensorShapeProto, TensorType, TypeProto, TypeValue,
    ValueInfoProto,
};

/// Replaces such inputs; says whether there were any. A map that something else takes stays, and is refused later by
/// the name of what takes it.
pub(super) fn replace(model: &mut ModelProto) -> Result<bool, InferenceError> {
    let Some(graph) = model.graph.as_mut() else { return Ok(false) };
    let mut taken = own(graph);
    let mut inputs = Vec::with_capacity(graph.input.len() + 1);
    let mut replaced = HashSet::new();
    for info in std::mem::take(&mut graph.input) {
        let types = map_type(&info).and_then(element_types).filter(|_| only_vectorized(graph, &info.name));
        let Some(types) = types else {
            inputs.push(info);
            continue;
        };
        for (name, element_type) in [keys(&info.name), values(&info.name)].into_iter().zip(types) {
            if !taken.insert(name.clone()) {
                let reason = format!("its entries would be the input `{name}`, but that name is taken");
                return Err(InferenceError::InvalidGraph { place: format!("input `{}`", info.name), reason });
            }
            inputs.push(entries(name, element_type));
        }
        replaced.insert(info.name);
    }
    graph.input = inputs;
    let nodes = graph.node.iter_mut().filter(|node| node.input.first().is_some_and(|name| replaced.contains(name)));
    nodes.for_each(|node| node.input = node.input.iter().flat_map(|name| [keys(name), values(name)]).collect());
    Ok(!replaced.is_empty())
}

fn keys(name: &str) -> String {
    format!("{name}_keys")
}

fn values(name: &str) -> String {
    format!("{name}_values")
}

fn map_type(info: &ValueInfoProto) -> Option<&MapType> {
    match info.r#type.as_ref()?.value.as_ref()? {
        TypeValue::MapType(map) => Some(map),
        TypeValue::TensorType(_) | TypeValue::SequenceType(_) => None,
    }
}

/// Types of the keys and of the values.
fn element_types(map: &MapType) -> Option<[i32; 2]> {
    match map.value_type.as_ref()?.value.as_ref()? {
        TypeValue::TensorType(tensor) => Some([map.key_type, tensor.elem_type]),
        TypeValue::SequenceType(_) | TypeValue::MapType(_) => None,
    }
}

/// Whether a value goes into `DictVectorizer`s and nowhere else.
fn only_vectorized(graph: &GraphProto, name: &str) -> bool {
    let mut users = graph.node.iter().filter(|node| crate::networks::names_used(node).contains(&name)).peekable();
    users.peek().is_some()
        && users.all(|node| node.op_type == "DictVectorizer" && node.domain == "ai.onnx.ml" && node.input.len() == 1)
        && graph.output.iter().all(|output| output.name != name)
}

/// The declaration of [N, K].
fn entries(name: String, elem_type: i32) -> ValueInfoProto {
    let batch = DimensionValue::DimParam("batch".to_owned());
    let dim = vec![Dimension { value: Some(batch) }, Dimension { value: None }];
    let tensor = TensorType { elem_type, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name, r#type: Some(TypeProto { value: Some(TypeValue::TensorType(tensor)) }) }
}
