//! The fields of an encoded message, without decoding what is inside of them: a model's weights are not copied.

use prost::encoding::{WireType, decode_key, decode_varint};

use crate::InferenceError;

/// One field as it stands in the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    /// Key, length and content.
    pub(super) whole: &'a [u8],
    /// What a field with a length holds; empty for others.
    pub(super) content: &'a [u8],
    /// The value of a varint.
    pub(super) value: u64,
}

pub(super) fn malformed(reason: &(impl ToString + ?Sized)) -> InferenceError {
    InferenceError::Malformed { reason: reason.to_string() }
}

/// The fields of the message in `bytes`, in order.
pub(super) fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<Field<'_>, InferenceError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next(rest);
        rest = field.as_ref().map_or(&[][..], |field| rest.get(field.whole.len()..).unwrap_or_default());
        Some(field)
    })
}

fn next(start: &[u8]) -> Result<Field<'_>, InferenceError> {
    let mut bytes = start;
    let (number, wire_type) = decode_key(&mut bytes).map_err(|error| malformed(&error))?;
    let (mut value, mut length) = (0, 0);
    match wire_type {
        WireType::Varint => value = decode_varint(&mut bytes).map_err(|error| malformed(&error))?,
        WireType::SixtyFourBit => length = 8,
        WireType::ThirtyTwoBit => length = 4,
        WireType::LengthDelimited => length = decode_varint(&mut bytes).map_err(|error| malformed(&error))?,
        WireType::StartGroup | WireType::EndGroup => return Err(malformed("a group, which ONNX does not have")),
    }
    let length = usize::try_from(length).map_err(|error| malformed(&error))?;
    let cut = || malformed("a field is cut off");
    let (content, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
    let whole = start.get(..start.len() - rest.len()).ok_or_else(cut)?;
    Ok(Field { number, whole, content, value })
}

/// Appends a field with a length.
pub(super) fn put(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    prost::encoding::encode_key(number, WireType::LengthDelimited, out);
    prost::encoding::encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}
