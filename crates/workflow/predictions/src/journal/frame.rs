use ropewalk_types::PredictionId;

use crate::record::StoredRecord;

/// Length and checksum, before each frame.
pub(crate) const PREFIX: usize = 8;
/// Numbers at the beginning of a frame: id, version, latency, rows.
const HEAD: usize = 16 + 3 * 8;
/// No frame is longer: the text of a record has at most about six times the bytes of its tensors.
pub(crate) const LONGEST: usize = 256 << 20;
/// The length of a text that is absent.
const ABSENT: u32 = u32::MAX;

/// The numbers of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) prediction: PredictionId,
    pub(crate) version: u64,
    pub(crate) latency_us: u64,
    pub(crate) rows: u64,
}

/// Appends one frame: the length of what follows the prefix (4 bytes, little-endian), its CRC-32, the numbers, and the texts
/// request, model, client, inputs, outputs, each after its length.
pub(crate) fn push_frame(head: &FrameHead, texts: [Option<&str>; 5], frames: &mut Vec<u8>) {
    let start = frames.len();
    frames.extend_from_slice(&[0; PREFIX]);
    frames.extend_from_slice(&head.prediction.bits().to_be_bytes());
    for number in [head.version, head.latency_us, head.rows] {
        frames.extend_from_slice(&number.to_le_bytes());
    }
    for text in texts {
        frames.extend_from_slice(&text.map_or(ABSENT, |text| text.len() as u32).to_le_bytes());
        frames.extend_from_slice(text.unwrap_or_default().as_bytes());
    }
    let Some((prefix, body)) = frames.get_mut(start..).and_then(|frame| frame.split_first_chunk_mut::<PREFIX>()) else {
        return;
    };
    let (length, checksum) = ((body.len() as u32).to_le_bytes(), crc32fast::hash(body).to_le_bytes());
    for (byte, value) in prefix.iter_mut().zip(length.into_iter().chain(checksum)) {
        *byte = value;
    }
}

/// Length of the frame after a prefix, and its checksum.
pub(crate) fn prefix(bytes: [u8; PREFIX]) -> (usize, u32) {
    let both = u64::from_le_bytes(bytes);
    (both as u32 as usize, (both >> 32) as u32)
}

/// The record in a frame without its prefix; none if it is not one.
pub(crate) fn parse(body: &[u8], checksum: u32) -> Option<StoredRecord> {
    if body.len() < HEAD || crc32fast::hash(body) != checksum {
        return None;
    }
    let mut rest = body;
    let prediction = PredictionId::from_bits(u128::from_be_bytes(take(&mut rest)?));
    let mut number = || take(&mut rest).map(u64::from_le_bytes);
    let (version, latency_us, rows) = (number()?, number()?, number()?);
    let mut text = || {
        let length = u32::from_le_bytes(take(&mut rest)?);
        if length == ABSENT {
            return Some(None);
        }
        let (text, after) = rest.split_at_checked(length as usize)?;
        rest = after;
        std::str::from_utf8(text).ok().map(|text| Some(text.to_owned()))
    };
    let (request, model, client) = (text()?, text()??, text()?);
    let (inputs, outputs) = (text()?, text()?);
    rest.is_empty().then_some(StoredRecord {
        prediction,
        request,
        model,
        version,
        latency_us,
        rows,
        inputs,
        outputs,
        client,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}
