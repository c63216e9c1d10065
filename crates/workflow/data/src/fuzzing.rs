//! What the fuzz target of tables calls: the codecs of what a remote says of them.

use ropewalk_types::{DatasetName, Digest, Timestamp};

use crate::{TableRecord, TableState};

/// The table and the version that the seeds tell of, and a moment after all that they tell.
const NAME: &str = "orders";
const DIGEST: Digest = Digest::from_bytes([7; 32]);
const NOW: Timestamp = Timestamp(2_000_000_000_000);

/// A record that is read is written, and read again as it was; gives whether it is one.
///
/// # Panics
/// It is not.
pub fn record(bytes: &[u8]) -> bool {
    let Ok(name) = DatasetName::new(NAME) else { return false };
    let read = |bytes: &[u8]| TableRecord::decode(bytes, &name, &DIGEST, NOW).ok();
    let Some(record) = read(bytes) else { return false };
    let written = record.encode();
    // Numbers may be longer in the one spelling that is written.
    assert!(written.is_ok() || bytes.len() as u64 > TableRecord::MAX_BYTES / 8, "what was accepted is refused");
    if let Ok(written) = written {
        assert_eq!(read(&written).as_ref(), Some(&record), "two readings of one record");
    }
    true
}

/// A state that is read is written, and read again as it was; gives whether it is one.
///
/// # Panics
/// It is not.
pub fn state(bytes: &[u8]) -> bool {
    let Ok(name) = DatasetName::new(NAME) else { return false };
    let read = |bytes: &[u8]| TableState::decode(bytes, &name, NOW).ok();
    let Some(state) = read(bytes) else { return false };
    let written = state.encode();
    assert!(written.is_ok() || bytes.len() as u64 > TableState::MAX_BYTES / 8, "what was accepted is refused");
    if let Ok(written) = written {
        assert_eq!(read(&written).as_ref(), Some(&state), "two readings of one state");
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{record, state};

    const RECORD: &[u8] = include_bytes!("../../../../fuzz/seeds/table/record");
    const STATE: &[u8] = include_bytes!("../../../../fuzz/seeds/table/state");

    #[test]
    fn the_seeds_are_a_record_and_a_state() {
        assert!(RECORD.starts_with(b"0") && record(&RECORD[1..]));
        assert!(STATE.starts_with(b"1") && state(&STATE[1..]));
        assert!(!record(&STATE[1..]) && !state(&RECORD[1..]));
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_read_again_as_it_was(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
            let read: [fn(&[u8]) -> bool; 2] = [record, state];
            for (seed, read) in [&RECORD[1..], &STATE[1..]].into_iter().zip(read) {
                let mut bytes = seed.to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                read(&bytes);
                bytes.truncate(cut.index(bytes.len()));
                read(&bytes);
            }
        }
    }
}
