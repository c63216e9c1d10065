/// Follows the messages of a gRPC body as their bytes pass: each is a flag, its length in four bytes, and as many bytes.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Bytes of the prefix that have passed.
    prefix: usize,
    length: u32,
    /// Bytes of the message that are still to come.
    left: usize,
}

/// Length of the prefix of a message.
const PREFIX: usize = 5;

impl Messages {
    /// These bytes come next.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        loop {
            let step = self.left.min(bytes.len());
            self.left -= step;
            let Some((byte, rest)) = bytes.get(step..).and_then(<[u8]>::split_first) else { return };
            bytes = rest;
            self.prefix += 1;
            // The flag comes before the length.
            self.length = if self.prefix == 1 { 0 } else { self.length << 8 | u32::from(*byte) };
            if self.prefix == PREFIX {
                self.prefix = 0;
                self.left = usize::try_from(self.length).unwrap_or(usize::MAX);
            }
        }
    }

    /// Whether the last message has come to its end and nothing of the next has come.
    pub(super) fn is_between(&self) -> bool {
        self.prefix == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_messages_are_found_however_they_are_cut() {
        let body = [b"\0\0\0\0\x02ab".as_slice(), b"\x01\0\0\0\0", b"\0\0\0\x01\x00", &[7; 256]].concat();
        let ends = [0, 7, 12, body.len()];
        for piece in [1, 2, 3, 5, 300] {
            let (mut messages, mut passed) = (Messages::default(), 0);
            assert!(messages.is_between());
            for part in body.chunks(piece) {
                messages.pass(part);
                passed += part.len();
                assert_eq!(messages.is_between(), ends.contains(&passed), "{passed} bytes in pieces of {piece}");
            }
        }
    }
}
