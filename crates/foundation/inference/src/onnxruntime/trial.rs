//! Shapes of outputs, tried out, because declared ones are wrong in practice: LightGBM's exporter declares labels as [1]
//! and returns [N], scikit-learn's declares one column for a regressor of several targets, and an output without a
//! declared rank looks like a single element.

use bytes::Bytes;
use ropewalk_types::{ElementType, TensorSpec};

use crate::tensor::element_count;
use crate::{Tensor, TensorData};

/// Batch sizes to try: two, to see which extents follow the batch, and neither 1, which broadcasts.
pub(super) const ROWS: [usize; 2] = [2, 3];
/// The most elements of an input that a model is tried with.
const ELEMENTS_LIMIT: usize = 1 << 20;

/// Zeros (as text `0`), with `rows` for each open extent; none if they would be many.
pub(super) fn input(spec: &TensorSpec, rows: usize) -> Option<Tensor> {
    let shape: Vec<usize> = spec.shape.iter().map(|extent| usize::try_from(*extent).unwrap_or(rows)).collect();
    let count = element_count(&shape).filter(|count| *count <= ELEMENTS_LIMIT)?;
    let data: TensorData = match spec.datatype {
        ElementType::Bool => vec![false; count].into(),
        ElementType::Uint8 => vec![0_u8; count].into(),
        ElementType::Uint16 => vec![0_u16; count].into(),
        ElementType::Uint32 => vec![0_u32; count].into(),
        ElementType::Uint64 => vec![0_u64; count].into(),
        ElementType::Int8 => vec![0_i8; count].into(),
        ElementType::Int16 => vec![0_i16; count].into(),
        ElementType::Int32 => vec![0_i32; count].into(),
        ElementType::Int64 => vec![0_i64; count].into(),
        ElementType::Fp16 => vec![half::f16::ZERO; count].into(),
        ElementType::Bf16 => vec![half::bf16::ZERO; count].into(),
        ElementType::Fp32 => vec![0_f32; count].into(),
        ElementType::Fp64 => vec![0_f64; count].into(),
        ElementType::Bytes => vec![Bytes::from_static(b"0"); count].into(),
    };
    Some(Tensor { shape, data })
}

/// The shape that two trials agree on; -1 where they don't.
pub(super) fn agreed(one: &[usize], other: &[usize]) -> Option<Vec<i64>> {
    let extents = one.iter().zip(other).map(|(one, other)| if one == other { *one as i64 } else { -1 });
    (one.len() == other.len()).then(|| extents.collect())
}
