//! Shapes of outputs, tried out, because declared ones are wrong in practice: LightGBM's exporter declares labels as [1]
//! and returns [N], scikit-learn's declares one column for a regressor of several targets, and an output without a
//! declared rank looks like a single element.

use ropewalk_types::TensorSpec;

use crate::Tensor;

/// Batch sizes to try: two, to see which extents follow the batch, and neither 1, which broadcasts.
pub(super) const ROWS: [usize; 2] = [2, 3];
/// The most elements of an input that a model is tried with.
const ELEMENTS_LIMIT: usize = 1 << 20;

/// Zeros (as text `0`), with `rows` for each open extent; none if they would be many.
pub(super) fn input(spec: &TensorSpec, rows: usize) -> Option<Tensor> {
    Tensor::zeros(spec.datatype, &spec.shape, rows, ELEMENTS_LIMIT)
}
