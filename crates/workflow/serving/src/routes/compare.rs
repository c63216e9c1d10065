use ropewalk_inference::{NamedTensor, TensorData};

/// What two answers to one request have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Compared {
    pub(super) is_equal: bool,
    /// Of two finite numbers at the same place; never negative.
    pub(super) largest_difference: f64,
}

/// Compares each output of the answer with that of the same name, in shape and values. Floating-point numbers `a` and
/// `b` are equal if `|a - b| <= tolerance * max(1, |a|)`, if both are the same infinity, or if neither is a number; all
/// other values if they are the same.
pub(super) fn compare(answer: &[NamedTensor], other: &[NamedTensor], tolerance: f64) -> Compared {
    let mut compared = Compared { is_equal: true, largest_difference: 0.0 };
    for output in answer {
        let same =
            other.iter().find(|one| one.name == output.name).filter(|one| one.tensor.shape == output.tensor.shape);
        match same {
            Some(one) => compared.add(&output.tensor.data, &one.tensor.data, tolerance),
            None => compared.is_equal = false,
        }
    }
    compared
}

impl Compared {
    fn add(&mut self, answer: &TensorData, other: &TensorData, tolerance: f64) {
        match (numbers(answer), numbers(other)) {
            (Some(answer), Some(other)) => {
                for (a, b) in answer.into_iter().zip(other) {
                    self.add_numbers(a, b, tolerance);
                }
            }
            _ => self.is_equal &= answer == other,
        }
    }

    fn add_numbers(&mut self, a: f64, b: f64, tolerance: f64) {
        let difference = (a - b).abs();
        if difference.is_finite() {
            self.largest_difference = self.largest_difference.max(difference);
            self.is_equal &= difference <= tolerance * a.abs().max(1.0);
        } else {
            let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            self.is_equal &= same;
        }
    }
}

/// Floating-point values.
fn numbers(data: &TensorData) -> Option<Vec<f64>> {
    match data {
        TensorData::Fp16(values) => Some(values.iter().map(|value| value.to_f64()).collect()),
        TensorData::Bf16(values) => Some(values.iter().map(|value| value.to_f64()).collect()),
        TensorData::Fp32(values) => Some(values.iter().map(|value| f64::from(*value)).collect()),
        TensorData::Fp64(values) => Some(values.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_inference::Tensor;

    use super::*;

    fn output(name: &str, data: impl Into<TensorData>) -> Vec<NamedTensor> {
        let data = data.into();
        vec![NamedTensor::new(name, Tensor::new(vec![data.len()], data).unwrap())]
    }

    #[test]
    fn numbers_are_equal_within_the_tolerance() {
        let answer = output("y", vec![0.0_f32, 1000.0, f32::NAN, f32::INFINITY]);
        let compared = compare(&answer, &output("y", vec![0.0005_f32, 1000.5, f32::NAN, f32::INFINITY]), 1e-3);
        assert_eq!(compared, Compared { is_equal: true, largest_difference: 0.5 });
        assert!(!compare(&answer, &output("y", vec![0.01_f32, 1000.0, f32::NAN, f32::INFINITY]), 1e-3).is_equal);
        assert!(!compare(&answer, &output("y", vec![0.0_f32, 1000.0, 0.0, f32::INFINITY]), 1e-3).is_equal);
        assert!(!compare(&answer, &output("y", vec![0.0_f32, 1000.0, f32::NAN, f32::NEG_INFINITY]), 1e9).is_equal);
    }

    #[test]
    fn all_else_is_the_same_or_not() {
        let answer = output("y", vec![1_i64, 2]);
        assert!(compare(&answer, &output("y", vec![1_i64, 2]), 10.0).is_equal);
        assert!(!compare(&answer, &output("y", vec![1_i64, 3]), 10.0).is_equal);
        assert!(!compare(&answer, &output("z", vec![1_i64, 2]), 10.0).is_equal);
        assert!(!compare(&answer, &output("y", vec![1_i64]), 10.0).is_equal);
        assert!(!compare(&output("y", vec![1.0_f32]), &output("y", vec![1_i64]), 10.0).is_equal);
    }
}
