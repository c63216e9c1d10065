use ropewalk_inference::{NamedTensor, TensorData};
use ropewalk_types::Signature;

/// Bins of a distribution: 19 between and on nine edges (or 30 of labels), one of what is not a number, one of what
/// is of another kind than the stable version's outputs.
pub(super) const BINS: usize = 32;
const LABEL_BINS: u64 = 30;
const NOT_A_NUMBER: usize = 30;
const OTHER_KIND: usize = 31;

/// Numbers of the stable version by which the edges are set.
const FORMING: usize = 200;

/// One output value: the first of the first output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Observation {
    /// Of an output of floating point.
    Number(f64),
    /// Of an output of text, whole numbers or truth values: a hash of it.
    Label(u64),
}

impl Observation {
    pub(crate) fn of(signature: &Signature, outputs: &[NamedTensor]) -> Option<Self> {
        let first = signature.outputs.first()?;
        let output = outputs.iter().find(|output| output.name == first.name)?;
        match &output.tensor.data {
            TensorData::Fp16(values) => values.first().map(|value| Self::Number(value.to_f64())),
            TensorData::Bf16(values) => values.first().map(|value| Self::Number(value.to_f64())),
            TensorData::Fp32(values) => values.first().map(|value| Self::Number(f64::from(*value))),
            TensorData::Fp64(values) => values.first().map(|value| Self::Number(*value)),
            TensorData::Bool(values) => values.first().map(|value| label(&[u8::from(*value)])),
            TensorData::Uint8(values) => values.first().map(|value| whole(i128::from(*value))),
            TensorData::Uint16(values) => values.first().map(|value| whole(i128::from(*value))),
            TensorData::Uint32(values) => values.first().map(|value| whole(i128::from(*value))),
            TensorData::Uint64(values) => values.first().map(|value| whole(i128::from(*value))),
            TensorData::Int8(values) => values.first().map(|value| whole(i128::from(*value))),
            TensorData::Int16(values) => values.first().map(|value| whole(i128::from(*value))),
            TensorData::Int32(values) => values.first().map(|value| whole(i128::from(*value))),
            TensorData::Int64(values) => values.first().map(|value| whole(i128::from(*value))),
            TensorData::Bytes(values) => values.first().map(|value| label(value)),
        }
    }
}

fn whole(value: i128) -> Observation {
    label(&value.to_le_bytes())
}

fn label(bytes: &[u8]) -> Observation {
    Observation::Label(super::point::hash(&[bytes]).0)
}

/// Which bin a value falls into, as the stable version's first values say.
#[derive(Debug, Default)]
pub(super) enum Binning {
    /// No value was seen yet.
    #[default]
    Unknown,
    /// So many numbers were seen that are to set the edges.
    Forming(Vec<f64>),
    /// Ascending, each once.
    Edges(Vec<f64>),
    Labels,
}

impl Binning {
    /// Learns from a value of the stable version; gives those that can be counted from now on.
    pub(super) fn learn(&mut self, value: Observation) -> Vec<Observation> {
        match (&mut *self, value) {
            (Self::Unknown, Observation::Label(_)) => *self = Self::Labels,
            (Self::Unknown, Observation::Number(number)) => {
                *self = Self::Forming(vec![number]);
                return Vec::new();
            }
            (Self::Forming(numbers), Observation::Number(number)) => {
                numbers.push(number);
                if numbers.len() < FORMING {
                    return Vec::new();
                }
                let seen = std::mem::take(numbers);
                *self = Self::Edges(deciles(&seen));
                return seen.into_iter().map(Observation::Number).collect();
            }
            _ => {}
        }
        vec![value]
    }

    /// The bin, once it is known which there are.
    pub(super) fn bin(&self, value: Observation) -> Option<usize> {
        match (self, value) {
            (Self::Unknown, _) | (Self::Forming(_), Observation::Number(_)) => None,
            (Self::Labels, Observation::Label(hash)) => Some((hash % LABEL_BINS) as usize),
            (Self::Edges(_), Observation::Number(number)) if number.is_nan() => Some(NOT_A_NUMBER),
            (Self::Edges(edges), Observation::Number(number)) => {
                let below = edges.partition_point(|edge| *edge < number);
                let on = edges.get(below).is_some_and(|edge| *edge <= number);
                Some(2 * below + usize::from(on))
            }
            (Self::Labels | Self::Edges(_) | Self::Forming(_), _) => Some(OTHER_KIND),
        }
    }
}

/// The nine deciles, each value once, so that a value that is frequent has a bin of its own.
fn deciles(seen: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = seen.iter().copied().filter(|number| !number.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = (1..10).filter_map(|tenth| sorted.get(sorted.len() * tenth / 10).copied()).collect();
    edges.dedup();
    edges
}

/// How far two distributions are apart, beyond what chance makes of the same distribution.
///
/// The population stability index `sum((p - q) * ln(p / q))` over the bins that are not empty on both sides (N. Siddiqi,
/// "Credit Risk Scorecards", 2006), with half a count added to each bin. For two samples of `n` and `m` values of one
/// distribution over `b` bins it is `(1/n + 1/m)` times a chi-squared variable of `b - 1` degrees of freedom
/// (B. Yurdakul, "Statistical Properties of Population Stability Index", 2018): its mean and four standard deviations
/// are taken off. Never below 0.
pub(super) fn drift(canary: &[u32; BINS], stable: &[u32; BINS]) -> f64 {
    let sum = |counts: &[u32; BINS]| counts.iter().copied().map(f64::from).sum::<f64>();
    let (n, m) = (sum(canary), sum(stable));
    if n == 0.0 || m == 0.0 {
        return 0.0;
    }
    let used: Vec<(f64, f64)> = canary.iter().zip(stable).map(|(a, b)| (f64::from(*a), f64::from(*b))).collect();
    let used: Vec<_> = used.into_iter().filter(|(a, b)| a + b > 0.0).collect();
    let bins = used.len() as f64;
    let share = |count: f64, all: f64| (count + 0.5) / (all + 0.5 * bins);
    let term = |(a, b): &(f64, f64)| {
        let (p, q) = (share(*a, n), share(*b, m));
        (p - q) * (p / q).ln()
    };
    let index: f64 = used.iter().map(term).sum();
    let freedom = bins - 1.0;
    let chance = (freedom + 4.0 * (2.0 * freedom).sqrt()) * (1.0 / n + 1.0 / m);
    (index - chance).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A uniform number from 0 to 1 for each `i`.
    fn uniform(i: u64) -> f64 {
        super::super::point::hash(&[&i.to_le_bytes()]).0 as f64 / u64::MAX as f64
    }

    fn counts(binning: &Binning, values: impl Iterator<Item = f64>) -> [u32; BINS] {
        let mut counts = [0; BINS];
        for value in values {
            counts[binning.bin(Observation::Number(value)).unwrap()] += 1;
        }
        counts
    }

    fn formed(values: impl Iterator<Item = f64>) -> Binning {
        let mut binning = Binning::default();
        let replayed: usize = values.map(|value| binning.learn(Observation::Number(value)).len()).sum();
        assert_eq!(replayed, 200, "all are counted, once");
        binning
    }

    #[test]
    fn samples_of_one_distribution_do_not_drift_and_of_another_do() {
        let binning = formed((0..200).map(uniform));
        let stable = counts(&binning, (1000..6000).map(uniform));
        let worst = (0..200_u64)
            .map(|round| counts(&binning, (10_000 + round * 200..10_200 + round * 200).map(uniform)))
            .map(|canary| drift(&canary, &stable))
            .fold(0.0, f64::max);
        assert!(worst < 0.1, "{worst}");
        let shifted = counts(&binning, (0..200).map(|i| uniform(i) + 0.3));
        assert!(drift(&shifted, &stable) > 0.5);
    }

    #[test]
    fn a_constant_output_has_a_bin_and_what_is_beside_it_too() {
        let binning = formed(std::iter::repeat_n(5.0, 200));
        let bins = [4.0, 5.0, 6.0, f64::NAN].map(|value| binning.bin(Observation::Number(value)).unwrap());
        assert_eq!(bins, [0, 1, 2, NOT_A_NUMBER]);
        assert_eq!(binning.bin(Observation::Label(1)), Some(OTHER_KIND));
    }

    #[test]
    fn labels_are_compared_by_their_frequencies() {
        let mut binning = Binning::default();
        let (yes, no) = (label(b"yes"), label(b"no"));
        assert_eq!(binning.learn(yes), [yes]);
        let counted = |share: u32| {
            let mut counts = [0; BINS];
            counts[binning.bin(yes).unwrap()] = share;
            counts[binning.bin(no).unwrap()] = 300 - share;
            counts
        };
        assert!(drift(&counted(150), &counted(160)) < 0.01);
        assert!(drift(&counted(150), &counted(290)) > 0.5);
    }
}
