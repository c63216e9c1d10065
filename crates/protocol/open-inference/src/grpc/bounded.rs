//! Messages of gRPC that are read only if they cannot make more of themselves than they are.
//!
//! An input without contents is two bytes in a message and some 300 in memory, so that a message of 16 MiB could take
//! gigabytes. All else that can be repeated stays within 32 bytes for each of the message's.

use bytes::Buf as _;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Fields of a message itself: its inputs, their raw contents, parameters and outputs.
const FIELDS: usize = 1 << 16;

/// tonic's codec of Protocol Buffers, with a bound.
#[derive(Debug)]
pub(crate) struct BoundedCodec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> Codec for BoundedCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(self.0.decoder())
    }
}

/// The decoder of [`BoundedCodec`].
#[derive(Debug)]
pub(crate) struct BoundedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        if !is_bounded(buffer.chunk(), FIELDS) {
            let problem = format!("cannot read the request: it is no message, or one of more than {FIELDS} fields");
            return Err(Status::invalid_argument(problem));
        }
        self.0.decode(buffer)
    }
}

/// Whether bytes are at most so many whole fields.
pub(crate) fn is_bounded(message: &[u8], fields: usize) -> bool {
    let mut rest = message;
    for _ in 0..fields {
        if rest.is_empty() {
            break;
        }
        match after_field(rest) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// What comes after the field with which `bytes` begin (Protocol Buffers, "Encoding"); none if there is no whole one.
fn after_field(bytes: &[u8]) -> Option<&[u8]> {
    let (key, rest) = varint(bytes)?;
    let length = match key & 7 {
        0 => return varint(rest).map(|(_, rest)| rest),
        1 => 8,
        2 => {
            let (length, rest) = varint(rest)?;
            return rest.get(usize::try_from(length).ok()?..);
        }
        5 => 4,
        // Groups, which the protocol does not have. The decoder would pass over them.
        _ => return None,
    };
    rest.get(length..)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let (number, rest) = bytes.split_at_checked(end + 1)?;
    let value = number.iter().rev().fold(0_u64, |value, byte| (value << 7) | u64::from(byte & 0x7f));
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::proto::model_infer_request::InferInputTensor;
    use crate::proto::{InferParameter, ModelInferRequest};

    #[test]
    fn fields_are_counted_as_the_decoder_counts_them() {
        let request = ModelInferRequest {
            model_name: "m".into(),
            inputs: vec![InferInputTensor { shape: vec![-1, 300], ..Default::default() }; 3],
            parameters: HashMap::from([("p".to_owned(), InferParameter::default())]),
            raw_input_contents: vec![vec![0; 1000].into(), "".into()],
            ..Default::default()
        };
        let bytes = request.encode_to_vec();
        assert!(is_bounded(&bytes, 7) && !is_bounded(&bytes, 6));
        assert!(is_bounded(&[], 0));
        let numbers = [0x08, 0xff, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1d, 1, 2, 3, 4];
        assert!(is_bounded(&numbers, 3) && !is_bounded(&numbers, 2));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let group = [0x7b, 0x7c];
        assert!(ModelInferRequest::decode(&group[..]).is_ok(), "the decoder passes over groups");
        for broken in [&[0x2a][..], &[0x2a, 5, 0], &group, &[0xff; 20], &[0x2a, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
            assert!(!is_bounded(broken, 100), "{broken:?}");
        }
    }
}
