//! The classification extension: the highest values of an output instead of all of them.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use ropewalk_inference::{Tensor, TensorData};
use ropewalk_serving::ModelHost;

/// The names of an output's classes, by position.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Labels {
    /// From the model's settings, which is Triton's `label_filename`.
    Set(Arc<[String]>),
    /// The model's own.
    Own(TensorData),
}

impl Labels {
    /// Those of a loaded version, if it has any; what is set counts more.
    pub(crate) fn of(host: &ModelHost, model: &str, version: u64, output: &str) -> Option<Self> {
        let version = version.to_string();
        let settings = host.settings(model, Some(&version)).ok()?;
        if let Some(set) = settings.labels.get(output) {
            return Some(Self::Set(Arc::clone(set)));
        }
        host.class_labels(model, Some(&version), output).ok().flatten().map(Self::Own)
    }
}

/// The `count` highest values of each row as text, `value:index` or `value:index:label`, highest first, with the
/// lower index first among equals; NaN is the lowest. `batched` says that the first extent counts rows. Gives
/// BYTES\[rows, count\], without the rows if it is not batched.
///
/// # Errors
/// The elements have no order.
pub(crate) fn classify(
    tensor: &Tensor,
    batched: bool,
    count: usize,
    labels: Option<&Labels>,
) -> Result<Tensor, &'static str> {
    let values = values(&tensor.data)?;
    let rows = if batched { tensor.shape.first().copied().unwrap_or(1) } else { 1 };
    let classes = values.len().checked_div(rows).unwrap_or(0);
    let count = count.min(classes);
    let mut elements = Vec::with_capacity(rows * count);
    for row in values.chunks(classes.max(1)) {
        let mut order: Vec<usize> = (0..row.len()).collect();
        let value = |index: usize| row.get(index).map_or(f64::NAN, |value| value.order);
        order.sort_by(|a, b| descending(value(*a), value(*b)).then(a.cmp(b)));
        for index in order.into_iter().take(count) {
            let text = row.get(index).map(|value| value.text.as_str()).unwrap_or_default();
            elements.push(spelled(text, index, labels));
        }
    }
    let shape = if batched { vec![rows, count] } else { vec![count] };
    Ok(Tensor { shape, data: TensorData::Bytes(elements) })
}

/// A value as it is compared and as it is written.
struct Value {
    order: f64,
    text: String,
}

fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn spelled(value: &str, index: usize, labels: Option<&Labels>) -> Bytes {
    let mut text = format!("{value}:{index}").into_bytes();
    let label = match labels {
        Some(Labels::Set(labels)) => labels.get(index).map(|label| Bytes::copy_from_slice(label.as_bytes())),
        Some(Labels::Own(TensorData::Bytes(labels))) => labels.get(index).cloned(),
        Some(Labels::Own(TensorData::Int64(labels))) => labels.get(index).map(|label| label.to_string().into()),
        _ => None,
    };
    if let Some(label) = label {
        text.push(b':');
        text.extend_from_slice(&label);
    }
    text.into()
}

/// Floating point numbers have six digits after the point, as Triton writes them. Whole numbers beyond 2^53 that are
/// one double are equals.
fn values(data: &TensorData) -> Result<Vec<Value>, &'static str> {
    macro_rules! whole {
        ($values:expr) => {
            $values.iter().map(|value| Value { order: f64::from(*value), text: value.to_string() }).collect()
        };
    }
    macro_rules! long {
        ($values:expr) => {
            $values.iter().map(|value| Value { order: *value as f64, text: value.to_string() }).collect()
        };
    }
    macro_rules! floating {
        ($values:expr) => {
            $values
                .iter()
                .map(|value| f64::from(*value))
                .map(|value| Value { order: value, text: format!("{value:.6}") })
                .collect()
        };
    }
    Ok(match data {
        TensorData::Uint8(values) => whole!(values),
        TensorData::Uint16(values) => whole!(values),
        TensorData::Uint32(values) => whole!(values),
        TensorData::Uint64(values) => long!(values),
        TensorData::Int8(values) => whole!(values),
        TensorData::Int16(values) => whole!(values),
        TensorData::Int32(values) => whole!(values),
        TensorData::Int64(values) => long!(values),
        TensorData::Fp16(values) => floating!(values),
        TensorData::Bf16(values) => floating!(values),
        TensorData::Fp32(values) => floating!(values),
        TensorData::Fp64(values) => floating!(values),
        TensorData::Bool(_) => return Err("its elements are BOOL, which have no order"),
        TensorData::Bytes(_) => return Err("its elements are BYTES, which have no order"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tensor: &Tensor) -> Vec<String> {
        let TensorData::Bytes(values) = &tensor.data else { panic!("{tensor:?}") };
        values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    #[test]
    fn each_row_gives_its_highest_values_first() {
        let tensor = Tensor::new(vec![2, 3], vec![0.1_f32, 0.7, 0.2, 0.5, f32::NAN, 0.5]).unwrap();
        let labels = Labels::Own(TensorData::Bytes(vec!["cat".into(), "dog".into(), "cow".into()]));
        let top = classify(&tensor, true, 2, Some(&labels)).unwrap();
        assert_eq!(top.shape, [2, 2]);
        assert_eq!(texts(&top), ["0.700000:1:dog", "0.200000:2:cow", "0.500000:0:cat", "0.500000:2:cow"]);
        let all = classify(&tensor, true, 9, None).unwrap();
        assert_eq!(all.shape, [2, 3]);
        assert_eq!(texts(&all).last().map(String::as_str), Some("NaN:1"));
    }

    #[test]
    fn a_tensor_without_a_batch_is_one_row() {
        let tensor = Tensor::new(vec![3], vec![7_i64, -1, 9]).unwrap();
        let labels = Labels::Own(TensorData::Int64(vec![10, 20]));
        let top = classify(&tensor, false, 2, Some(&labels)).unwrap();
        assert_eq!((top.shape.as_slice(), texts(&top)), (&[2][..], vec!["9:2".to_owned(), "7:0:10".to_owned()]));
        // A file may name fewer classes than there are.
        let labels = Labels::Set(["a".to_owned()].into());
        assert_eq!(texts(&classify(&tensor, false, 2, Some(&labels)).unwrap()), ["9:2", "7:0:a"]);
        let empty = Tensor::new(vec![0, 3], Vec::<f32>::new()).unwrap();
        assert_eq!(classify(&empty, true, 2, None).unwrap().data.len(), 0);
        assert!(classify(&Tensor::new(vec![1], vec![true]).unwrap(), true, 1, None).is_err());
    }
}
