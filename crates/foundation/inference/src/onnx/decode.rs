use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::ModelProto;
use crate::InferenceError;

/// The largest model that is decoded; protobuf itself ends at 2 GiB.
const MODEL_BYTES_LIMIT: u64 = 1 << 30;
/// The most messages that a model may consist of: an empty one takes two bytes in a file, but hundreds in memory.
const MESSAGES_LIMIT: u64 = 1 << 18;

/// How deep messages may be nested, as in prost.
const DEPTH_LIMIT: u32 = 100;

/// Reads a model. Unknown fields are skipped; nesting is bounded by prost's limit of 100.
///
/// # Errors
/// [`InferenceError::TooLarge`] over 1 GiB or 262,144 nodes, attributes, constants and declarations together,
/// [`InferenceError::Malformed`] if the bytes are no `ModelProto`.
pub fn decode_model(bytes: &[u8]) -> Result<ModelProto, InferenceError> {
    check(bytes)?;
    ModelProto::decode(bytes).map_err(|error| malformed(&error))
}

/// Whether a model may be decoded, with the errors of [`decode_model`].
pub(super) fn check(bytes: &[u8]) -> Result<(), InferenceError> {
    let size = bytes.len() as u64;
    if size > MODEL_BYTES_LIMIT {
        return Err(InferenceError::TooLarge { what: "model in bytes".into(), size, limit: MODEL_BYTES_LIMIT });
    }
    count_messages(bytes, Kind::Model, 0, &mut 0)
}

fn malformed(error: &impl ToString) -> InferenceError {
    InferenceError::Malformed { reason: error.to_string() }
}

/// The messages that hold others in numbers that matter.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    Other,
}

impl Kind {
    /// The kind of message in a field; none if the field holds no message that is counted.
    fn field(self, number: u32) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Some(Self::Graph),
            (Self::Model, 25) => Some(Self::Function),
            (Self::Graph, 1) | (Self::Function, 7) => Some(Self::Node),
            (Self::Node, 5) | (Self::Function, 11) => Some(Self::Attribute),
            (Self::Model, 8 | 14)
            | (Self::Function, 9)
            | (Self::Graph, 5 | 11 | 12 | 13 | 15)
            | (Self::Attribute, 5) => Some(Self::Other),
            _ => None,
        }
    }
}

/// Walks the wire format before anything is allocated for it.
fn count_messages(mut bytes: &[u8], kind: Kind, depth: u32, count: &mut u64) -> Result<(), InferenceError> {
    if depth > DEPTH_LIMIT {
        return Err(malformed(&"graphs are nested too deeply"));
    }
    let cut = || malformed(&"a field is cut off");
    while !bytes.is_empty() {
        let (number, wire_type) = decode_key(&mut bytes).map_err(|error| malformed(&error))?;
        let length = match wire_type {
            WireType::Varint => decode_varint(&mut bytes).map(|_| 0).map_err(|error| malformed(&error))?,
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => decode_varint(&mut bytes).map_err(|error| malformed(&error))?,
            WireType::StartGroup | WireType::EndGroup => return Err(malformed(&"a group, which ONNX does not have")),
        };
        let length = usize::try_from(length).map_err(|error| malformed(&error))?;
        let (field, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
        bytes = rest;
        if let (WireType::LengthDelimited, Some(inner)) = (wire_type, kind.field(number)) {
            *count += 1;
            if *count > MESSAGES_LIMIT {
                let what = "model in nodes, attributes, constants and declarations".into();
                return Err(InferenceError::TooLarge { what, size: *count, limit: MESSAGES_LIMIT });
            }
            count_messages(field, inner, depth + 1, count)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_empty_messages_is_refused_before_it_is_decoded() {
        // Field 8 of `ModelProto` (opset import), empty, again and again.
        let flood = [0x42, 0x00].repeat(1 << 19);
        assert!(matches!(decode_model(&flood), Err(InferenceError::TooLarge { .. })));
    }

    #[test]
    fn unknown_fields_are_skipped() {
        // Field 900, a varint; field 901, text; then the producer's name.
        let mut bytes = vec![0xa0, 0x38, 0x07, 0xaa, 0x38, 0x02, b'h', b'i'];
        bytes.extend([0x12, 0x01, b'p']);
        assert_eq!(decode_model(&bytes).unwrap().producer_name, "p");
    }

    #[test]
    fn cut_fields_are_malformed() {
        for bytes in [&[0x12, 0x05, b'p'][..], &[0x12], &[0x08], &[0x15, 0x00], &[0x0b]] {
            assert!(matches!(decode_model(bytes), Err(InferenceError::Malformed { .. })), "{bytes:?}");
        }
    }
}
