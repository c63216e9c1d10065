use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use crate::onnx::{GraphProto, ModelProto, decode_model};
use crate::{ClassicalEngine, Engine, EngineName, InferenceError, LoadOptions, Model, ModelSource};
use crate::{external, lowering, mixed, networks};

/// The engine inside the program: no library is looked for and no process is started.
///
/// Three ways lead through it, tried in this order: our own evaluator for classical graphs, if it takes the whole
/// graph; `rten` for networks, if it does; and both in turn, the graph cut at its values. Where matrices are large
/// `rten` comes first, whose products are blocked and vectorised.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbeddedEngine;

/// Weights in matrix products from which on `rten` comes first: there its evaluation costs less than our plain loops,
/// below it the start of an evaluation costs more than the product.
const LARGE_WEIGHTS: i64 = 1 << 16;

impl Engine for EmbeddedEngine {
    fn name(&self) -> EngineName {
        EngineName::Embedded
    }

    fn available(&self) -> Result<String, InferenceError> {
        Ok(env!("CARGO_PKG_VERSION").to_owned())
    }

    fn takes(&self, source: &ModelSource) -> bool {
        matches!(source, ModelSource::Onnx { .. })
    }

    fn load(&self, source: &ModelSource, options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError> {
        match source {
            ModelSource::Onnx { bytes, folder } => {
                let mut model = decode_model(bytes)?;
                let brought = external::bring_in(&mut model, folder.as_deref())?;
                let lowered = lowering::lower(&mut model)?;
                let bytes = if brought || lowered { Bytes::from(model.encode_to_vec()) } else { bytes.clone() };
                choose(&model, &bytes, options)
            }
            ModelSource::Folder(folder) => {
                Err(InferenceError::Malformed { reason: format!("{} is a folder, not an ONNX file", folder.display()) })
            }
        }
    }
}

fn choose(model: &ModelProto, bytes: &[u8], options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError> {
    let large = model.graph.as_ref().is_some_and(|graph| matrix_weights(graph) >= LARGE_WEIGHTS);
    if large && let Ok(network) = networks::load(model, bytes, options) {
        return Ok(network);
    }
    let classical = match ClassicalEngine.load(bytes) {
        Err(error @ (InferenceError::Unsupported { .. } | InferenceError::InvalidGraph { .. })) => error,
        settled => return settled,
    };
    if let Ok(network) = networks::load(model, bytes, options) {
        return Ok(network);
    }
    match mixed::load(model, options) {
        // Both look at the same graph: what is wrong with it is told once, by who looks closest.
        Err(_) if matches!(classical, InferenceError::InvalidGraph { .. }) => Err(classical),
        settled => settled,
    }
}

/// Elements of the constants that matrix products multiply with.
fn matrix_weights(graph: &GraphProto) -> i64 {
    let products = graph.node.iter().filter(|node| matches!(node.op_type.as_str(), "Gemm" | "MatMul"));
    let names: std::collections::HashSet<&str> =
        products.filter_map(|node| node.input.get(1)).map(String::as_str).collect();
    let weights = graph.initializer.iter().filter(|one| names.contains(one.name.as_str()));
    weights.map(|one| one.dims.iter().fold(1_i64, |product, extent| product.saturating_mul(*extent))).sum()
}
