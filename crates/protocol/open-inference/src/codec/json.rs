use std::str::FromStr;

use bytes::Bytes;
use half::{bf16, f16};
use ropewalk_inference::{Tensor, TensorData};
use ropewalk_types::ElementType;

use super::{TensorError, extents};

/// Reads the `data` of a tensor: an array, flat or nested as the shape says, row-major.
///
/// `data` must be the text of one JSON value, as a parser found it. Each number is read from its own digits into
/// `datatype`, so nothing is rounded twice; a whole number may be written `3.0`. `null` and the strings `"NaN"`,
/// `"Infinity"` and `"-Infinity"` are floating point numbers, an addition to the protocol.
pub fn decode_json(datatype: ElementType, shape: &[i64], data: &str) -> Result<Tensor, TensorError> {
    let (shape, count) = extents(shape)?;
    macro_rules! read {
        ($variant:ident) => {
            TensorData::$variant(read(datatype, &shape, count, data)?)
        };
    }
    let data = match datatype {
        ElementType::Bool => read!(Bool),
        ElementType::Uint8 => read!(Uint8),
        ElementType::Uint16 => read!(Uint16),
        ElementType::Uint32 => read!(Uint32),
        ElementType::Uint64 => read!(Uint64),
        ElementType::Int8 => read!(Int8),
        ElementType::Int16 => read!(Int16),
        ElementType::Int32 => read!(Int32),
        ElementType::Int64 => read!(Int64),
        ElementType::Fp16 => read!(Fp16),
        ElementType::Bf16 => read!(Bf16),
        ElementType::Fp32 => read!(Fp32),
        ElementType::Fp64 => read!(Fp64),
        ElementType::Bytes => read!(Bytes),
    };
    Ok(Tensor { shape, data })
}

/// A type whose elements have a spelling in JSON; the text is one JSON value that is no array.
trait Element: Sized {
    fn from_json(text: &str) -> Option<Self>;
}

fn read<T: Element>(datatype: ElementType, shape: &[usize], count: usize, data: &str) -> Result<Vec<T>, TensorError> {
    let mut nesting = Nesting::new(shape, data);
    // An element and its comma take two bytes, whatever the shape claims.
    let mut elements = Vec::with_capacity(count.min(data.len() / 2 + 1));
    let mut rest = data.trim_ascii();
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'[' => nesting.open().map(|()| 1),
            b']' => nesting.close().map(|()| 1),
            b',' | b' ' | b'\t' | b'\n' | b'\r' => Some(1),
            _ => nesting.element().map(|()| element_length(rest)),
        };
        let (token, left) = length.and_then(|length| rest.split_at_checked(length)).ok_or_else(|| nesting.error())?;
        if !matches!(first, b'[' | b']' | b',' | b' ' | b'\t' | b'\n' | b'\r') {
            let position = elements.len();
            let refuse = || TensorError::Element { position, datatype, found: shortened(token) };
            elements.push(T::from_json(token).ok_or_else(refuse)?);
            if elements.len() > count {
                return Err(TensorError::ElementCount {
                    shape: shape.to_vec(),
                    expected: count,
                    found: elements.len(),
                });
            }
        }
        rest = left;
    }
    if elements.len() == count {
        Ok(elements)
    } else {
        Err(TensorError::ElementCount { shape: shape.to_vec(), expected: count, found: elements.len() })
    }
}

/// Length of the element with which `text` begins.
fn element_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return bytes
            .iter()
            .position(|byte| matches!(byte, b',' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
            .unwrap_or(bytes.len());
    }
    let mut escaped = false;
    let end = bytes.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(bytes.len(), |end| end + 2)
}

/// Follows the brackets: elements lie in one array, or in arrays nested as deep as the shape is long, each as long
/// as its extent.
struct Nesting<'a> {
    shape: &'a [usize],
    /// Depth at which elements lie.
    leaf: usize,
    /// Entries of each array that is open.
    open: Vec<usize>,
}

impl<'a> Nesting<'a> {
    fn new(shape: &'a [usize], data: &str) -> Self {
        let nested = data.bytes().filter(|byte| !byte.is_ascii_whitespace()).nth(1) == Some(b'[');
        Self { shape, leaf: if nested { shape.len() } else { 1 }, open: Vec::new() }
    }

    fn open(&mut self) -> Option<()> {
        self.count_entry();
        self.open.push(0);
        (self.open.len() <= self.leaf).then_some(())
    }

    fn close(&mut self) -> Option<()> {
        let entries = self.open.pop()?;
        // One flat array is as long as all elements; these are counted elsewhere.
        (self.leaf == 1 || self.shape.get(self.open.len()) == Some(&entries)).then_some(())
    }

    fn element(&mut self) -> Option<()> {
        self.count_entry();
        (self.open.len() == self.leaf).then_some(())
    }

    fn count_entry(&mut self) {
        if let Some(entries) = self.open.last_mut() {
            *entries += 1;
        }
    }

    fn error(&self) -> TensorError {
        TensorError::Nesting { shape: self.shape.to_vec() }
    }
}

fn shortened(token: &str) -> String {
    const LENGTH: usize = 40;
    match token.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", token.get(..end).unwrap_or_default()),
        None => token.to_owned(),
    }
}

/// A whole number, also where it is written with a fraction of zero or an exponent.
fn whole<T: FromStr + TryFrom<i64>>(text: &str) -> Option<T> {
    /// Up to here every whole number is a double, so the double is the number that was written.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = number(text)?;
    let whole = number.fract() == 0.0 && number.abs() <= EXACT;
    whole.then(|| T::try_from(number as i64).ok()).flatten()
}

/// A number in JSON's spelling: Rust would also read `inf`, `nan` and `+1`, but no parser lets these through.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Element for $number {
            fn from_json(text: &str) -> Option<Self> {
                whole(text)
            }
        }
    )*};
}
whole_numbers!(u8, u16, u32, u64, i8, i16, i32, i64);

macro_rules! floating_point_numbers {
    ($($number:ty),*) => {$(
        impl Element for $number {
            fn from_json(text: &str) -> Option<Self> {
                match text {
                    "null" | "\"NaN\"" => Some(<$number>::NAN),
                    "\"Infinity\"" => Some(<$number>::INFINITY),
                    "\"-Infinity\"" => Some(<$number>::NEG_INFINITY),
                    _ => number::<$number>(text).filter(|number| number.is_finite()),
                }
            }
        }
    )*};
}
floating_point_numbers!(f16, bf16, f32, f64);

impl Element for bool {
    fn from_json(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Element for Bytes {
    fn from_json(text: &str) -> Option<Self> {
        let inside = text.strip_prefix('"')?.strip_suffix('"')?;
        if inside.contains('\\') {
            serde_json::from_str::<String>(text).ok().map(Self::from)
        } else {
            Some(Self::copy_from_slice(inside.as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fp32(shape: &[i64], data: &str) -> Result<Vec<f32>, TensorError> {
        match decode_json(ElementType::Fp32, shape, data)?.data {
            TensorData::Fp32(values) => Ok(values),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flat_and_nested_data_are_the_same() {
        let six = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(fp32(&[2, 3], "[1, 2,3,4,5,6]").unwrap(), six);
        assert_eq!(fp32(&[2, 3], " [[1,2,3] ,\n[4,5,6]]").unwrap(), six);
        assert_eq!(fp32(&[1, 2, 3], "[[[1,2,3],[4,5,6]]]").unwrap(), six);
        assert_eq!(fp32(&[], "[7]").unwrap(), [7.0]);
        assert_eq!(fp32(&[0, 3], "[]").unwrap(), [0.0; 0]);
        assert_eq!(fp32(&[2, 0], "[[],[]]").unwrap(), [0.0; 0]);
    }

    #[test]
    fn what_the_shape_does_not_say_is_refused() {
        for (shape, data) in [
            (&[2, 3][..], "[[1,2],[3,4],[5,6]]"),
            (&[2, 3], "[[1,2,3],[4,5]]"),
            (&[2, 3], "[[1,2,3],4,5,6]"),
            (&[2, 3], "[[[1,2,3],[4,5,6]]]"),
            (&[1, 2, 3], "[[1,2,3],[4,5,6]]"),
            (&[2], "[[1],[2]]"),
            (&[], "7"),
            (&[1], "{\"a\":1}"),
        ] {
            assert!(matches!(fp32(shape, data), Err(TensorError::Nesting { .. })), "{shape:?} {data}");
        }
        for (shape, data) in [(&[2, 2][..], "[1,2,3]"), (&[2, 2], "[1,2,3,4,5]"), (&[1], "[]")] {
            assert!(matches!(fp32(shape, data), Err(TensorError::ElementCount { .. })), "{shape:?} {data}");
        }
    }

    #[test]
    fn elements_are_of_the_type() {
        let reads = |datatype, text: &str| decode_json(datatype, &[1], &format!("[{text}]")).is_ok();
        for (datatype, good, bad) in [
            (ElementType::Int8, &["-128", "127", "3.0", "1e2"][..], &["128", "0.5", "null", "\"1\"", "true"][..]),
            (ElementType::Uint64, &["18446744073709551615", "0"], &["-1", "18446744073709551616", "1e300"]),
            (ElementType::Int64, &["-9223372036854775808"], &["9223372036854775808", "9.1e18"]),
            (ElementType::Fp32, &["1", "-1.5e-3", "null", "\"NaN\"", "\"-Infinity\""], &["1e39", "\"1\"", "true"]),
            (ElementType::Fp16, &["65504", "null"], &["65536", "1e9"]),
            (ElementType::Bool, &["true", "false"], &["1", "\"true\"", "null"]),
            (ElementType::Bytes, &["\"UA\"", "\"\\u00e9\\\"\""], &["1", "null", "{}"]),
        ] {
            for text in good {
                assert!(reads(datatype, text), "{datatype} {text}");
            }
            for text in bad {
                assert!(!reads(datatype, text), "{datatype} {text}");
            }
        }
    }

    #[test]
    fn a_wrong_element_is_named() {
        let error = decode_json(ElementType::Int32, &[3], "[1, 2, \"three\"]").unwrap_err();
        assert_eq!(error.to_string(), "element 2 is no INT32: \"three\"");
    }

    proptest! {
        #[test]
        fn every_float_is_read_from_its_digits(values in prop::collection::vec(any::<f64>(), 1..20)) {
            let mut text = String::new();
            ropewalk_serving::json::push_flat(&TensorData::Fp64(values.clone()), &mut text);
            let tensor = decode_json(ElementType::Fp64, &[values.len() as i64], &text).unwrap();
            let TensorData::Fp64(read) = tensor.data else { panic!() };
            for (read, value) in read.iter().zip(&values) {
                prop_assert!(read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()));
            }
        }

        #[test]
        fn every_text_comes_back(values in prop::collection::vec(".*", 1..8)) {
            let text = serde_json::to_string(&values).unwrap();
            let tensor = decode_json(ElementType::Bytes, &[values.len() as i64], &text).unwrap();
            let expected = values.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(tensor.data, TensorData::Bytes(expected));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}", shape in prop::collection::vec(-1_i64..5, 0..4)) {
            for datatype in [ElementType::Fp32, ElementType::Int8, ElementType::Bytes, ElementType::Bool] {
                let _ = decode_json(datatype, &shape, &text);
                let _ = decode_json(datatype, &shape, &format!("[{text}]"));
            }
        }
    }
}
