use std::panic::{AssertUnwindSafe, catch_unwind};

use prost::Message as _;

use super::names_used;
use crate::onnx::{GraphProto, ModelProto, NodeProto, ValueInfoProto};

/// Why the engine does not take a node, by asking it to load that node alone; none if it takes it.
pub(crate) fn probe(node: &NodeProto, model: &ModelProto) -> Option<String> {
    let named = |name: &str| ValueInfoProto { name: name.to_owned(), ..ValueInfoProto::default() };
    let mut inputs: Vec<&str> = names_used(node);
    inputs.sort_unstable();
    inputs.dedup();
    let graph = GraphProto {
        node: vec![node.clone()],
        input: inputs.into_iter().map(named).collect(),
        output: node.output.iter().filter(|name| !name.is_empty()).map(|name| named(name)).collect(),
        ..GraphProto::default()
    };
    let alone = ModelProto {
        ir_version: model.ir_version,
        opset_import: model.opset_import.clone(),
        graph: Some(graph),
        ..ModelProto::default()
    };
    load(&alone.encode_to_vec(), false).err()
}

/// Loads bytes as the engine's own model.
pub(super) fn load(bytes: &[u8], optimized: bool) -> Result<rten::Model, String> {
    let mut options = rten::ModelOptions::with_all_ops();
    options.enable_optimization(optimized).prepack_weights(optimized);
    // The engine asserts where a graph contradicts itself.
    match catch_unwind(AssertUnwindSafe(|| options.load(bytes.to_vec()))) {
        Ok(Ok(model)) => Ok(model),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the engine for networks gave up on it".to_owned()),
    }
}
