//! What the numeric types have in common, so that an operator is written once for all of them.

#![expect(clippy::cast_lossless, reason = "one rule for all integer types")]

use std::fmt::Debug;

use half::{bf16, f16};
use ropewalk_types::ElementType;

use crate::tensor::Element;

/// The real types.
pub(super) const REALS: [ElementType; 4] = [ElementType::Fp32, ElementType::Fp64, ElementType::Fp16, ElementType::Bf16];

/// The integer types.
pub(super) const INTEGERS: [ElementType; 8] = [
    ElementType::Int64,
    ElementType::Int32,
    ElementType::Int16,
    ElementType::Int8,
    ElementType::Uint64,
    ElementType::Uint32,
    ElementType::Uint16,
    ElementType::Uint8,
];

/// All numeric types.
pub(super) const NUMBERS: [ElementType; 12] = [
    ElementType::Fp32,
    ElementType::Fp64,
    ElementType::Fp16,
    ElementType::Bf16,
    ElementType::Int64,
    ElementType::Int32,
    ElementType::Int16,
    ElementType::Int8,
    ElementType::Uint64,
    ElementType::Uint32,
    ElementType::Uint16,
    ElementType::Uint8,
];

/// The types of indices.
pub(super) const INDICES: [ElementType; 2] = [ElementType::Int64, ElementType::Int32];

/// Arithmetic of one numeric type; integers wrap.
pub(super) trait Number: Element + Copy + PartialOrd + Debug {
    const ZERO: Self;
    const ONE: Self;
    /// Not above any other: minus infinity of a real type.
    const LEAST: Self;
    /// Not below any other: infinity of a real type.
    const GREATEST: Self;
    const REAL: bool;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// None where an integer is divided by zero.
    fn over(self, other: Self) -> Option<Self>;
    /// What is left after division, with the sign of the dividend; none where an integer is divided by zero.
    fn remainder(self, other: Self) -> Option<Self>;
    fn is_missing(self) -> bool;
    fn to_f64(self) -> f64;
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// Exact for integers.
    fn to_i128(self) -> i128;
}

macro_rules! integer_numbers {
    ($($type:ident),*) => {
        $(impl Number for $type {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LEAST: Self = $type::MIN;
            const GREATEST: Self = $type::MAX;
            const REAL: bool = false;
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            fn over(self, other: Self) -> Option<Self> {
                (other != 0).then(|| self.wrapping_div(other))
            }
            fn remainder(self, other: Self) -> Option<Self> {
                (other != 0).then(|| self.wrapping_rem(other))
            }
            fn is_missing(self) -> bool {
                false
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn from_f64(value: f64) -> Self {
                value as Self
            }
            fn to_i128(self) -> i128 {
                i128::from(self)
            }
        })*
    };
}
integer_numbers!(i64, i32, i16, i8, u64, u32, u16, u8);

macro_rules! real_numbers {
    ($($type:ident, $zero:expr, $one:expr, $least:expr, $greatest:expr, $to:expr, $from:expr);*) => {
        $(impl Number for $type {
            const ZERO: Self = $zero;
            const ONE: Self = $one;
            const LEAST: Self = $least;
            const GREATEST: Self = $greatest;
            const REAL: bool = true;
            fn plus(self, other: Self) -> Self {
                self + other
            }
            fn minus(self, other: Self) -> Self {
                self - other
            }
            fn times(self, other: Self) -> Self {
                self * other
            }
            fn over(self, other: Self) -> Option<Self> {
                Some(self / other)
            }
            fn remainder(self, other: Self) -> Option<Self> {
                Some(self % other)
            }
            fn is_missing(self) -> bool {
                self.is_nan()
            }
            fn to_f64(self) -> f64 {
                $to(self)
            }
            fn from_f64(value: f64) -> Self {
                $from(value)
            }
            fn to_i128(self) -> i128 {
                self.to_f64() as i128
            }
        })*
    };
}
real_numbers!(
    f32, 0.0, 1.0, f32::NEG_INFINITY, f32::INFINITY, f64::from, |value| value as f32;
    f64, 0.0, 1.0, f64::NEG_INFINITY, f64::INFINITY, |value| value, |value| value;
    f16, f16::ZERO, f16::ONE, f16::NEG_INFINITY, f16::INFINITY, f16::to_f64, f16::from_f64;
    bf16, bf16::ZERO, bf16::ONE, bf16::NEG_INFINITY, bf16::INFINITY, bf16::to_f64, bf16::from_f64
);

/// Runs `$body` with `$values` bound to the vector inside a `TensorData` of numbers; other types are a fault.
macro_rules! for_any_number {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::TensorData::Fp32($values) => $body,
            $crate::TensorData::Fp64($values) => $body,
            $crate::TensorData::Fp16($values) => $body,
            $crate::TensorData::Bf16($values) => $body,
            $crate::TensorData::Int64($values) => $body,
            $crate::TensorData::Int32($values) => $body,
            $crate::TensorData::Int16($values) => $body,
            $crate::TensorData::Int8($values) => $body,
            $crate::TensorData::Uint64($values) => $body,
            $crate::TensorData::Uint32($values) => $body,
            $crate::TensorData::Uint16($values) => $body,
            $crate::TensorData::Uint8($values) => $body,
            other => {
                let reason = format!("expected numbers, found {}", other.element_type());
                return Err($crate::classical::fault::Fault::invalid(reason));
            }
        }
    };
}
pub(super) use for_any_number;
