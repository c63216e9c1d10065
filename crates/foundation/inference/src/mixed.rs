//! Graphs that neither engine takes whole: cut at values into parts, each wholly for one of both, run one after
//! another.

mod ability;
mod cut;
mod model;

use std::sync::Arc;

use crate::classical::Folding;
use crate::missing::unsupported;
use crate::networks::{graph, missing_node};
use crate::onnx::ModelProto;
use crate::{InferenceError, LoadOptions, Model};

/// Loads a graph in parts.
///
/// # Errors
/// [`InferenceError::Unsupported`] names every operator that neither engine takes.
pub(crate) fn load(model: &ModelProto, options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError> {
    let graph = graph(model)?;
    let folding = Folding::default();
    let (abilities, scope) = ability::abilities(model, graph, &folding);
    let missing: Vec<_> = graph
        .node
        .iter()
        .zip(&abilities)
        .filter_map(|(node, ability)| ability.refusal().map(|reason| missing_node(node, &scope, reason)))
        .collect();
    if let Some(error) = unsupported(&missing) {
        return Err(error);
    }
    let parts = cut::parts(graph, &abilities)?;
    Ok(Arc::new(model::MixedModel::new(model, graph, &scope, &parts, options)?))
}
