//! Tensors as JSON, in the one spelling that the prediction log and every JSON protocol share.
//!
//! - Numbers are written in the fewest digits that read back as the same number of the tensor's own type.
//! - JSON has no NaN and no infinity (RFC 8259 section 6): NaN, which is a missing value to the models, is `null`;
//!   the infinities are the strings `"Infinity"` and `"-Infinity"`, as in the JSON mapping of Protocol Buffers.
//! - An element of a BYTES tensor is a string if it is UTF-8, else `{"base64": "…"}`.

use std::collections::BTreeSet;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ropewalk_inference::{NamedTensor, Tensor, TensorData};

/// Appends all elements as one flat array, row-major: the `data` of the Open Inference Protocol.
pub fn push_flat(data: &TensorData, text: &mut String) {
    push_array(data.len(), text, |position, text| push_element(data, position, text));
}

/// Appends a tensor as a column: an array with one entry for each row (the first dimension), in which each further
/// dimension is a nested array; trailing dimensions of extent 1 are left out, so that \[n, 1\] is written as \[n\].
pub fn push_column(tensor: &Tensor, text: &mut String) {
    let mut shape = tensor.shape.as_slice();
    while let [first @ .., 1] = shape {
        if first.is_empty() {
            break;
        }
        shape = first;
    }
    if tensor.data.is_empty() {
        // A shape without elements can have any number of empty rows: [1000000, 0] must not become a long text.
        text.push_str("[]");
    } else {
        push_nested(&tensor.data, shape, 0, text);
    }
}

/// Named tensors as one object of columns, in the order given.
pub fn columns(tensors: &[NamedTensor]) -> String {
    let mut text = String::with_capacity(32 * tensors.len());
    push_columns(tensors, &BTreeSet::new(), &mut text);
    text
}

/// Appends named tensors as one object of columns, in the order given; those in `redact` are `null`.
pub fn push_columns(tensors: &[NamedTensor], redact: &BTreeSet<String>, text: &mut String) {
    text.push('{');
    for (position, NamedTensor { name, tensor }) in tensors.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        push_text(name, text);
        text.push(':');
        if redact.contains(name) {
            text.push_str("null");
        } else {
            push_column(tensor, text);
        }
    }
    text.push('}');
}

/// Appends a string with its quotes.
pub fn push_text(value: &str, text: &mut String) {
    text.push('"');
    let mut plain = 0;
    for (position, byte) in value.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        // What is escaped is one byte of ASCII, so both sides of it are whole characters.
        text.push_str(value.get(plain..position).unwrap_or_default());
        plain = position + 1;
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            control => push_display(format_args!("\\u{control:04x}"), text),
        }
    }
    text.push_str(value.get(plain..).unwrap_or_default());
    text.push('"');
}

fn push_array(length: usize, text: &mut String, element: impl Fn(usize, &mut String)) {
    text.push('[');
    for position in 0..length {
        if position > 0 {
            text.push(',');
        }
        element(position, text);
    }
    text.push(']');
}

fn push_nested(data: &TensorData, shape: &[usize], start: usize, text: &mut String) {
    let Some((extent, inner)) = shape.split_first() else {
        return push_element(data, start, text);
    };
    let stride: usize = inner.iter().product();
    push_array(*extent, text, |position, text| push_nested(data, inner, start + position * stride, text));
}

/// Appends element `position`; `null` past the end.
pub fn push_element(data: &TensorData, position: usize, text: &mut String) {
    macro_rules! element {
        ($values:expr, $value:ident => $push:expr) => {
            match $values.get(position) {
                Some($value) => $push,
                None => text.push_str("null"),
            }
        };
    }
    match data {
        TensorData::Bool(values) => element!(values, value => text.push_str(if *value { "true" } else { "false" })),
        TensorData::Uint8(values) => element!(values, value => push_display(value, text)),
        TensorData::Uint16(values) => element!(values, value => push_display(value, text)),
        TensorData::Uint32(values) => element!(values, value => push_display(value, text)),
        TensorData::Uint64(values) => element!(values, value => push_display(value, text)),
        TensorData::Int8(values) => element!(values, value => push_display(value, text)),
        TensorData::Int16(values) => element!(values, value => push_display(value, text)),
        TensorData::Int32(values) => element!(values, value => push_display(value, text)),
        TensorData::Int64(values) => element!(values, value => push_display(value, text)),
        TensorData::Fp16(values) => element!(values, value => push_float(f64::from(*value), value.to_f32(), text)),
        TensorData::Bf16(values) => element!(values, value => push_float(f64::from(*value), value.to_f32(), text)),
        TensorData::Fp32(values) => element!(values, value => push_float(f64::from(*value), *value, text)),
        TensorData::Fp64(values) => element!(values, value => push_float(*value, *value, text)),
        TensorData::Bytes(values) => element!(values, value => push_bytes(value, text)),
    }
}

/// Appends `value`, which `spelled` writes in the fewest digits: Rust's `Debug` of a float is a JSON number.
fn push_float(value: f64, spelled: impl std::fmt::Debug, text: &mut String) {
    if value.is_finite() {
        push_display(format_args!("{spelled:?}"), text);
    } else if value.is_nan() {
        text.push_str("null");
    } else {
        text.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    }
}

fn push_bytes(value: &Bytes, text: &mut String) {
    if let Ok(value) = std::str::from_utf8(value) {
        push_text(value, text);
    } else {
        text.push_str("{\"base64\":\"");
        STANDARD.encode_string(value, text);
        text.push_str("\"}");
    }
}

fn push_display(value: impl std::fmt::Display, text: &mut String) {
    // Writing to a String never fails.
    let _ = write!(text, "{value}");
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn flat(data: impl Into<TensorData>) -> String {
        let mut text = String::new();
        push_flat(&data.into(), &mut text);
        text
    }

    fn column(shape: &[usize], data: impl Into<TensorData>) -> Value {
        let mut text = String::new();
        push_column(&Tensor::new(shape.to_vec(), data).unwrap(), &mut text);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_not_finite_has_a_spelling() {
        assert_eq!(
            flat(vec![0.7_f32, f32::NAN, f32::INFINITY, -f32::INFINITY]),
            r#"[0.7,null,"Infinity","-Infinity"]"#
        );
        assert_eq!(flat(vec![f16::NAN, f16::from_f32(0.1)]), "[null,0.099975586]");
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        let values = vec![Bytes::from_static(b"UA\n\0\"\\"), Bytes::from_static(b"\xff")];
        assert_eq!(flat(values), r#"["UA\n\u0000\"\\",{"base64":"/w=="}]"#);
    }

    #[test]
    fn a_column_has_one_entry_for_each_row() {
        assert_eq!(column(&[2, 1], vec![1_i64, 2]), json!([1, 2]));
        assert_eq!(column(&[1, 1, 1], vec![true]), json!([true]));
        assert_eq!(column(&[2, 2], vec![0.5_f64, 1.0, 2.0, 3.0]), json!([[0.5, 1.0], [2.0, 3.0]]));
        assert_eq!(column(&[1, 2, 1], vec![1_u8, 2]), json!([[1, 2]]));
        assert_eq!(column(&[], vec![7_i8]), json!(7));
        assert_eq!(column(&[1 << 40, 0], Vec::<f32>::new()), json!([]));
    }

    proptest! {
        #[test]
        fn finite_floats_read_back_as_they_were(value in any::<f32>(), wide in any::<f64>()) {
            prop_assume!(value.is_finite() && wide.is_finite());
            // Read by Rust's own parser: serde_json's may be off by the last bit of a double.
            let narrow = flat(vec![value]);
            prop_assert!(serde_json::from_str::<Value>(&narrow).is_ok());
            prop_assert_eq!(narrow.trim_matches(['[', ']']).parse::<f32>().unwrap().to_bits(), value.to_bits());
            let wider = flat(vec![wide]);
            prop_assert!(serde_json::from_str::<Value>(&wider).is_ok());
            prop_assert_eq!(wider.trim_matches(['[', ']']).parse::<f64>().unwrap().to_bits(), wide.to_bits());
        }

        #[test]
        fn texts_read_back_as_they_were(value in ".*") {
            let mut text = String::new();
            push_text(&value, &mut text);
            prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
        }
    }
}
