use std::collections::HashMap;

use prost::Message as _;

use crate::classical::Folding;
use crate::networks::{Scope, bodies, probe, refusal};
use crate::onnx::{
    Dimension, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TensorType, TypeProto, TypeValue,
    ValueInfoProto, onnx_type_of,
};
use crate::{ClassicalEngine, InferenceError};

/// Constants up to so many elements are shown to the classical evaluator when it is asked whether it takes a node.
const SHOWN_ELEMENTS: i64 = 4096;

/// How large the open extents of inputs are taken to be.
const OPEN_LIMIT: usize = 1 << 20;

/// Which engines take a node; for each that does not, why.
#[derive(Debug)]
pub(super) struct Ability {
    pub(super) classical: Option<String>,
    pub(super) network: Option<String>,
}

impl Ability {
    /// Why no engine takes it; none if one does.
    pub(super) fn refusal(&self) -> Option<String> {
        let (classical, network) = (self.classical.as_ref()?, self.network.as_ref()?);
        Some(format!("the classical evaluator: {classical}; the engine for networks: {network}"))
    }
}

/// Asks both engines about each node, one at a time, and learns the types of all values on the way.
pub(super) fn abilities(model: &ModelProto, graph: &GraphProto, folding: &Folding) -> (Vec<Ability>, Scope) {
    let mut scope = Scope::declared(model, graph, OPEN_LIMIT);
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|one| (one.name.as_str(), one)).collect();
    let mut abilities = Vec::with_capacity(graph.node.len());
    for node in &graph.node {
        scope.learn(node);
        let classical = classical(node, model, &constants, &mut scope, folding).err();
        let network = refusal(node, &scope).or_else(|| probe(node, model));
        if classical.is_none() || network.is_some() {
            node.output.iter().for_each(|name| scope.set_handed_over(name));
        }
        abilities.push(Ability { classical, network });
    }
    (abilities, scope)
}

/// Loads the node alone; the types that come out of it are the graph's.
fn classical(
    node: &NodeProto,
    model: &ModelProto,
    constants: &HashMap<&str, &TensorProto>,
    scope: &mut Scope,
    folding: &Folding,
) -> Result<(), String> {
    if bodies(node).next().is_some() {
        return Err("it has a body".to_owned());
    }
    let mut alone = GraphProto { node: vec![node.clone()], ..GraphProto::default() };
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let shown = constants.get(name).filter(|tensor| tensor.dims.iter().product::<i64>() <= SHOWN_ELEMENTS);
        if let Some(tensor) = shown {
            alone.initializer.push((*tensor).clone());
        } else {
            let found = scope.element_type(name).ok_or_else(|| format!("the type of `{name}` is not known"))?;
            alone.input.push(value_info(name, onnx_type_of(found) as i32, Some(&[-1])));
        }
    }
    let outputs: Vec<&String> = node.output.iter().filter(|name| !name.is_empty()).collect();
    alone.output = outputs.iter().map(|name| value_info(name, 0, Some(&[-1]))).collect();
    let loaded = ClassicalEngine::load_within(&with_graph(model, alone).encode_to_vec(), folding).map_err(reason)?;
    for spec in &loaded.signature().outputs {
        scope.set_type(&spec.name, spec.datatype);
    }
    Ok(())
}

/// The reason alone: the node is named by who asks.
fn reason(error: InferenceError) -> String {
    match error {
        InferenceError::Unsupported { reason, .. } | InferenceError::InvalidGraph { reason, .. } => reason,
        other => other.to_string(),
    }
}

/// A model of its own with the versions of another.
pub(super) fn with_graph(model: &ModelProto, graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: model.ir_version,
        opset_import: model.opset_import.clone(),
        graph: Some(graph),
        ..ModelProto::default()
    }
}

/// A declaration of a tensor; type 0 leaves the type to be inferred.
pub(super) fn value_info(name: &str, elem_type: i32, shape: Option<&[i64]>) -> ValueInfoProto {
    use crate::onnx::DimensionValue::DimValue;
    let dimension = |extent: &i64| Dimension { value: (*extent >= 0).then_some(DimValue(*extent)) };
    let shape = shape.map(|shape| TensorShapeProto { dim: shape.iter().map(dimension).collect() });
    let value = TypeValue::TensorType(TensorType { elem_type, shape });
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { value: Some(value) }) }
}
