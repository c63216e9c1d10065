use super::TensorError;

/// The ranks that models use end at 8 or so; a longer shape is an attack on whoever walks it.
const DIMENSIONS: usize = 32;
/// Elements of one tensor: what fits in memory here, and far from where a product overflows.
const ELEMENTS: usize = 1 << 31;

/// The extents of a shape and the number of its elements.
///
/// An extent beside a 0 is bounded too: a tensor without elements must not have 2^60 rows.
pub(crate) fn extents(shape: &[i64]) -> Result<(Vec<usize>, usize), TensorError> {
    let refuse = |problem| TensorError::Shape { shape: shape.iter().take(DIMENSIONS).copied().collect(), problem };
    if shape.len() > DIMENSIONS {
        return Err(refuse("it has more than 32 dimensions"));
    }
    let mut extents = Vec::with_capacity(shape.len());
    let mut bound = 1_usize;
    for extent in shape {
        let extent = usize::try_from(*extent).map_err(|_| refuse("an extent is negative"))?;
        extents.push(extent);
        bound = bound
            .checked_mul(extent.max(1))
            .filter(|bound| *bound <= ELEMENTS)
            .ok_or_else(|| refuse("it has more than 2^31 elements"))?;
    }
    let count = if extents.contains(&0) { 0 } else { bound };
    Ok((extents, count))
}

/// Extents as the protocol writes them.
pub(crate) fn wire_shape(extents: &[usize]) -> Vec<i64> {
    extents.iter().map(|extent| i64::try_from(*extent).unwrap_or(i64::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_counted_and_bounded() {
        assert_eq!(extents(&[2, 3]), Ok((vec![2, 3], 6)));
        assert_eq!(extents(&[]), Ok((vec![], 1)));
        assert_eq!(extents(&[5, 0]), Ok((vec![5, 0], 0)));
        for bad in [&[-1][..], &[i64::MAX, 2], &[i64::MAX, i64::MAX], &[1 << 40, 0], &[0, 1 << 40], &[1; 33]] {
            assert!(matches!(extents(bad), Err(TensorError::Shape { .. })), "{bad:?}");
        }
    }
}
