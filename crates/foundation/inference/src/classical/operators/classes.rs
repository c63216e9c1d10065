use crate::TensorData;
use crate::classical::fault::Fault;

/// The index of the largest score, the first of equals.
pub(super) fn top_class<T: PartialOrd + Copy>(scores: &[T]) -> usize {
    let mut best: Option<(usize, T)> = None;
    for (index, score) in scores.iter().enumerate() {
        if best.is_none_or(|(_, largest)| *score > largest) {
            best = Some((index, *score));
        }
    }
    best.map_or(0, |(index, _)| index)
}

/// The labels of classes by index.
pub(super) fn labels_at(labels: &TensorData, indices: &[usize]) -> Result<TensorData, Fault> {
    fn at<T: Clone>(labels: &[T], indices: &[usize]) -> Option<Vec<T>> {
        indices.iter().map(|index| labels.get(*index).cloned()).collect()
    }
    let found = match labels {
        TensorData::Int64(values) => at(values, indices).map(TensorData::from),
        TensorData::Bytes(values) => at(values, indices).map(TensorData::from),
        _ => None,
    };
    found.ok_or_else(|| Fault::invalid("class without a label"))
}

#[cfg(test)]
mod tests {
    use super::top_class;

    #[test]
    fn the_first_of_equals_wins_and_a_missing_score_never_does() {
        assert_eq!(top_class(&[0.1, 0.4, 0.4]), 1);
        assert_eq!(top_class(&[0.1, f32::NAN, 0.05]), 0);
    }
}
