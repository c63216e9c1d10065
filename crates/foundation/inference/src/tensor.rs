use bytes::Bytes;
use half::{bf16, f16};
use ropewalk_types::ElementType;

use crate::InferenceError;

/// The elements of a tensor, row-major, each kind in its own vector.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of `ElementType`")]
pub enum TensorData {
    Bool(Vec<bool>),
    Uint8(Vec<u8>),
    Uint16(Vec<u16>),
    Uint32(Vec<u32>),
    Uint64(Vec<u64>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Fp16(Vec<f16>),
    Bf16(Vec<bf16>),
    Fp32(Vec<f32>),
    Fp64(Vec<f64>),
    Bytes(Vec<Bytes>),
}

/// Runs `$body` with `$values` bound to the vector inside a [`TensorData`], whatever its type.
macro_rules! for_any_type {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::TensorData::Bool($values) => $body,
            $crate::TensorData::Uint8($values) => $body,
            $crate::TensorData::Uint16($values) => $body,
            $crate::TensorData::Uint32($values) => $body,
            $crate::TensorData::Uint64($values) => $body,
            $crate::TensorData::Int8($values) => $body,
            $crate::TensorData::Int16($values) => $body,
            $crate::TensorData::Int32($values) => $body,
            $crate::TensorData::Int64($values) => $body,
            $crate::TensorData::Fp16($values) => $body,
            $crate::TensorData::Bf16($values) => $body,
            $crate::TensorData::Fp32($values) => $body,
            $crate::TensorData::Fp64($values) => $body,
            $crate::TensorData::Bytes($values) => $body,
        }
    };
}
pub(crate) use for_any_type;

/// A type that a tensor can hold.
pub(crate) trait Element: Clone + Send + Sync + 'static {
    const TYPE: ElementType;
    fn slice(data: &TensorData) -> Option<&[Self]>;
    fn wrap(values: Vec<Self>) -> TensorData;
}

macro_rules! elements {
    ($($rust:ty => $variant:ident),*) => {
        impl TensorData {
            /// The type of the elements.
            pub fn element_type(&self) -> ElementType {
                match self { $(Self::$variant(_) => ElementType::$variant),* }
            }
        }
        $(
            impl Element for $rust {
                const TYPE: ElementType = ElementType::$variant;
                fn slice(data: &TensorData) -> Option<&[Self]> {
                    if let TensorData::$variant(values) = data { Some(values) } else { None }
                }
                fn wrap(values: Vec<Self>) -> TensorData {
                    TensorData::$variant(values)
                }
            }
            impl From<Vec<$rust>> for TensorData {
                fn from(values: Vec<$rust>) -> Self {
                    Self::$variant(values)
                }
            }
        )*
    };
}
elements!(bool => Bool, u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64, i8 => Int8, i16 => Int16,
    i32 => Int32, i64 => Int64, f16 => Fp16, bf16 => Bf16, f32 => Fp32, f64 => Fp64, Bytes => Bytes);

impl TensorData {
    /// Number of elements.
    pub fn len(&self) -> usize {
        for_any_type!(self, values => values.len())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An array of any rank, row-major; rank 0 is one element.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extent in each dimension.
    pub shape: Vec<usize>,
    /// As many elements as the product of the extents.
    pub data: TensorData,
}

impl Tensor {
    /// A tensor whose shape and data agree.
    ///
    /// # Errors
    /// [`InferenceError::ElementCount`] if they don't.
    pub fn new(shape: Vec<usize>, data: impl Into<TensorData>) -> Result<Self, InferenceError> {
        let data = data.into();
        if element_count(&shape) == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            Err(InferenceError::ElementCount { elements: data.len(), shape })
        }
    }

    /// A tensor to try a model with: zeros (as text `0`), with `open` for each extent that a request chooses; none if it
    /// would have more than `most` elements.
    pub fn zeros(element_type: ElementType, shape: &[i64], open: usize, most: usize) -> Option<Self> {
        let shape: Vec<usize> = shape.iter().map(|extent| usize::try_from(*extent).unwrap_or(open)).collect();
        let count = element_count(&shape).filter(|count| *count <= most)?;
        let data: TensorData = match element_type {
            ElementType::Bool => vec![false; count].into(),
            ElementType::Uint8 => vec![0_u8; count].into(),
            ElementType::Uint16 => vec![0_u16; count].into(),
            ElementType::Uint32 => vec![0_u32; count].into(),
            ElementType::Uint64 => vec![0_u64; count].into(),
            ElementType::Int8 => vec![0_i8; count].into(),
            ElementType::Int16 => vec![0_i16; count].into(),
            ElementType::Int32 => vec![0_i32; count].into(),
            ElementType::Int64 => vec![0_i64; count].into(),
            ElementType::Fp16 => vec![f16::ZERO; count].into(),
            ElementType::Bf16 => vec![bf16::ZERO; count].into(),
            ElementType::Fp32 => vec![0_f32; count].into(),
            ElementType::Fp64 => vec![0_f64; count].into(),
            ElementType::Bytes => vec![Bytes::from_static(b"0"); count].into(),
        };
        Some(Self { shape, data })
    }

    /// The type of the elements.
    pub fn element_type(&self) -> ElementType {
        self.data.element_type()
    }

    /// Whether shape and data agree: the fields are public, so a caller can make them differ.
    pub(crate) fn is_consistent(&self) -> bool {
        element_count(&self.shape) == Some(self.data.len())
    }
}

/// Product of the extents, if it can be counted.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, extent| product.checked_mul(*extent))
}

/// A tensor under the name by which the model knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Name of the model's input or output.
    pub name: String,
    /// Its value.
    pub tensor: Tensor,
}

impl NamedTensor {
    /// Names `tensor`.
    pub fn new(name: impl Into<String>, tensor: Tensor) -> Self {
        Self { name: name.into(), tensor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_has_as_many_elements_as_its_shape_says() {
        assert!(Tensor::new(vec![2, 3], vec![0_f32; 6]).is_ok());
        assert!(Tensor::new(vec![], vec![1_i64]).is_ok());
        assert!(Tensor::new(vec![0, 7], Vec::<Bytes>::new()).is_ok());
        let error = Tensor::new(vec![2, 3], vec![0_f32; 5]).unwrap_err();
        assert_eq!(error, InferenceError::ElementCount { shape: vec![2, 3], elements: 5 });
    }

    #[test]
    fn a_shape_that_overflows_is_refused() {
        assert!(Tensor::new(vec![usize::MAX, 2], vec![0_u8; 2]).is_err());
    }
}
