use crate::classical::attributes::Attributes;
use crate::classical::fault::Fault;

/// What becomes of the scores of a row (attribute `post_transform` of `ai.onnx.ml`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostTransform {
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

impl PostTransform {
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, Fault> {
        Ok(match attributes.text("post_transform")?.as_deref() {
            None | Some("NONE") => Self::None,
            Some("SOFTMAX") => Self::Softmax,
            Some("LOGISTIC") => Self::Logistic,
            Some("SOFTMAX_ZERO") => Self::SoftmaxZero,
            Some("PROBIT") => Self::Probit,
            Some(other) => return Err(Fault::invalid(format!("post_transform `{other}`"))),
        })
    }

    /// The same as `TreeEnsemble` writes it.
    pub(super) fn of_code(code: i64) -> Result<Self, Fault> {
        Ok(match code {
            0 => Self::None,
            1 => Self::Softmax,
            2 => Self::Logistic,
            3 => Self::SoftmaxZero,
            4 => Self::Probit,
            other => return Err(Fault::invalid(format!("post_transform {other}"))),
        })
    }

    /// Transforms the scores of one row.
    pub(super) fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Softmax => softmax(scores),
            Self::SoftmaxZero => softmax_zero(scores),
            Self::Logistic => scores.iter_mut().for_each(|score| *score = Self::logistic(*score)),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
        }
    }

    /// 1 / (1 + e^-x), computed on the side where the exponential cannot overflow.
    pub(super) fn logistic(score: f32) -> f32 {
        let value = 1.0 / (1.0 + (-score.abs()).exp());
        if score < 0.0 { 1.0 - value } else { value }
    }
}

fn largest(scores: &[f32]) -> f32 {
    scores.iter().copied().fold(f32::MIN, f32::max)
}

fn softmax(scores: &mut [f32]) {
    let largest = largest(scores);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// Softmax that leaves zeros out; onnxruntime takes what is within 1e-7 of zero for zero.
fn softmax_zero(scores: &mut [f32]) {
    let largest = largest(scores);
    let scale = (-largest).exp();
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if score.abs() > 1e-7 {
            *score = (*score - largest).exp();
            sum += *score;
        } else {
            *score *= scale;
        }
    }
    for score in scores {
        *score /= sum;
    }
}

/// The quantile of the normal distribution by Winitzki's approximation of the inverse error function
/// (S. Winitzki, "A handy approximation for the error function and its inverse", 2008, a = 0.147), as onnxruntime has it.
fn probit(probability: f32) -> f32 {
    let x = 2.0 * probability - 1.0;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (std::f32::consts::PI * 0.147) + 0.5 * log;
    let inverse = (half * half - log / 0.147).sqrt() - half;
    std::f32::consts::SQRT_2 * sign * inverse.sqrt()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these results are exact")]
mod tests {
    use super::*;

    fn close(found: f32, expected: f32) {
        assert!((found - expected).abs() < 2e-3, "{found} is not {expected}");
    }

    #[test]
    fn probit_is_the_normal_quantile() {
        close(probit(0.5), 0.0);
        close(probit(0.975), 1.96);
        close(probit(0.1), -1.2816);
        assert_eq!(probit(0.0), f32::NEG_INFINITY);
    }

    #[test]
    fn logistic_is_symmetric_and_does_not_overflow() {
        assert_eq!(PostTransform::logistic(0.0), 0.5);
        assert_eq!(PostTransform::logistic(-1000.0), 0.0);
        assert_eq!(PostTransform::logistic(1000.0), 1.0);
        close(PostTransform::logistic(2.0) + PostTransform::logistic(-2.0), 1.0);
    }

    #[test]
    fn softmax_survives_large_scores() {
        let mut scores = [1000.0, 1000.0];
        softmax(&mut scores);
        assert_eq!(scores, [0.5, 0.5]);
    }

    #[test]
    fn softmax_zero_leaves_zeros_out() {
        let mut scores = [0.0, 2.0, 2.0];
        softmax_zero(&mut scores);
        assert_eq!(scores, [0.0, 0.5, 0.5]);
    }
}
