//! What a model says in words that engines need not know, said in those that they do: functions of its own become the
//! nodes that they are made of, an `If` on a constant becomes the branch that it takes, a map that a
//! `DictVectorizer` takes becomes two tensors, and a convolution says how large its kernel is. Done once, before an engine sees the model.

mod branches;
mod functions;
mod generations;
mod kernels;
mod maps;
mod names;

use crate::InferenceError;
use crate::onnx::ModelProto;

/// Rewrites a model; says whether anything changed. A second time changes nothing.
///
/// # Errors
/// [`InferenceError::InvalidGraph`] if a function uses itself or is used wrongly, [`InferenceError::Unsupported`] if it
/// is written for operators of another version, [`InferenceError::TooLarge`] if the graph would be.
pub(crate) fn lower(model: &mut ModelProto) -> Result<bool, InferenceError> {
    let inlined = functions::inline(model)?;
    let folded = branches::fold(model);
    let replaced = maps::replace(model)?;
    let completed = kernels::complete(model);
    Ok(inlined || folded || replaced || completed)
}
