//! Tensors to and from the engine's own.

use half::f16;
use ropewalk_types::{ElementType, TensorSpec};
use rten::{Value, ValueOrView, ValueView};
use rten_tensor::AsView as _;
use rten_tensor::Layout as _;

use crate::request::invalid_input;
use crate::{InferenceError, Tensor, TensorData};

/// A tensor as the engine takes it, without a copy where it has the type.
pub(super) fn given<'a>(spec: &TensorSpec, tensor: &'a Tensor) -> Result<ValueOrView<'a>, InferenceError> {
    let view = match &tensor.data {
        TensorData::Fp32(values) => ValueView::from_shape(&tensor.shape, values).ok().map(ValueOrView::from),
        TensorData::Int32(values) => ValueView::from_shape(&tensor.shape, values).ok().map(ValueOrView::from),
        TensorData::Int8(values) => ValueView::from_shape(&tensor.shape, values).ok().map(ValueOrView::from),
        TensorData::Uint8(values) => ValueView::from_shape(&tensor.shape, values).ok().map(ValueOrView::from),
        TensorData::Int64(values) => owned(tensor, narrowed(spec, values)?),
        TensorData::Bool(values) => owned(tensor, values.iter().map(|value| i32::from(*value)).collect()),
        TensorData::Fp16(values) => {
            let wide: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
            Value::from_shape(&tensor.shape, wide).ok().map(ValueOrView::from)
        }
        _ => None,
    };
    view.ok_or_else(|| invalid_input(&spec.name, spec.datatype.to_string(), tensor.element_type().to_string()))
}

fn owned(tensor: &Tensor, values: Vec<i32>) -> Option<ValueOrView<'static>> {
    Value::from_shape(&tensor.shape, values).ok().map(ValueOrView::from)
}

fn narrowed(spec: &TensorSpec, values: &[i64]) -> Result<Vec<i32>, InferenceError> {
    let narrow = |value: &i64| {
        i32::try_from(*value).map_err(|_| {
            let expected = "INT64 within the range of INT32, in which this engine computes".to_owned();
            invalid_input(&spec.name, expected, value.to_string())
        })
    };
    values.iter().map(narrow).collect()
}

/// What the engine made, as the type that the model declares; none if it is something else.
pub(super) fn taken(value: Value, wanted: ElementType) -> Option<Tensor> {
    let (shape, data): (Vec<usize>, TensorData) = match (value, wanted) {
        (Value::FloatTensor(tensor), ElementType::Fp32) => (tensor.shape().to_vec(), tensor.into_data().into()),
        (Value::FloatTensor(tensor), ElementType::Fp16) => {
            (tensor.shape().to_vec(), tensor.to_vec().into_iter().map(f16::from_f32).collect::<Vec<_>>().into())
        }
        (Value::Int32Tensor(tensor), ElementType::Int32) => (tensor.shape().to_vec(), tensor.into_data().into()),
        (Value::Int32Tensor(tensor), ElementType::Int64) => {
            (tensor.shape().to_vec(), tensor.to_vec().into_iter().map(i64::from).collect::<Vec<_>>().into())
        }
        (Value::Int32Tensor(tensor), ElementType::Bool) => {
            (tensor.shape().to_vec(), tensor.to_vec().into_iter().map(|value| value != 0).collect::<Vec<_>>().into())
        }
        (Value::Int8Tensor(tensor), ElementType::Int8) => (tensor.shape().to_vec(), tensor.into_data().into()),
        (Value::UInt8Tensor(tensor), ElementType::Uint8) => (tensor.shape().to_vec(), tensor.into_data().into()),
        _ => return None,
    };
    Some(Tensor { shape, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(datatype: ElementType) -> TensorSpec {
        TensorSpec { name: "x".to_owned(), datatype, shape: vec![-1] }
    }

    fn there_and_back(data: impl Into<TensorData>) -> Tensor {
        let data = data.into();
        let tensor = Tensor::new(vec![data.len()], data).unwrap();
        let kind = tensor.element_type();
        taken(given(&spec(kind), &tensor).unwrap().into_owned(), kind).unwrap()
    }

    #[test]
    fn every_type_that_the_engine_takes_comes_back() {
        assert_eq!(there_and_back(vec![i64::from(i32::MIN), i64::from(i32::MAX)]).data.len(), 2);
        assert_eq!(there_and_back(vec![true, false]).data, vec![true, false].into());
        assert_eq!(there_and_back(vec![f16::MAX, f16::MIN_POSITIVE]).data, vec![f16::MAX, f16::MIN_POSITIVE].into());
        assert_eq!(there_and_back(vec![200_u8]).data, vec![200_u8].into());
        assert_eq!(there_and_back(vec![-100_i8]).data, vec![-100_i8].into());
        assert_eq!(there_and_back(vec![0.5_f32]).data, vec![0.5_f32].into());
        assert_eq!(there_and_back(vec![7_i32]).data, vec![7_i32].into());
    }

    #[test]
    fn an_int64_that_would_be_cut_is_refused() {
        let tensor = Tensor::new(vec![2], vec![1_i64, 1 << 40]).unwrap();
        let error = given(&spec(ElementType::Int64), &tensor).unwrap_err().to_string();
        assert_eq!(
            error,
            "input `x`: expected INT64 within the range of INT32, in which this engine computes, found 1099511627776"
        );
    }
}
