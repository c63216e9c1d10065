/// Bytes of a status's message as it is sent. gRPC's C core, on which Python's clients are built, refuses metadata of
/// more than 8 KiB in all, and says RESOURCE_EXHAUSTED in the place of what was wrong.
const LONGEST: usize = 4 << 10;
/// What stands for the rest of a message that is cut.
const MARK: &str = "…";

/// A message as a status can carry it: whole, or as much of its beginning as there is room for.
pub(crate) fn carried(mut text: String) -> String {
    if text.chars().map(encoded_length).sum::<usize>() <= LONGEST {
        return text;
    }
    let mut length: usize = MARK.chars().map(encoded_length).sum();
    let end = text.char_indices().find(|(_, character)| {
        length += encoded_length(*character);
        length > LONGEST
    });
    text.truncate(end.map_or(text.len(), |(end, _)| end));
    text.push_str(MARK);
    text
}

/// Bytes of a character that is percent-encoded at most: which of the ASCII signs are is left to whoever sends it
/// (gRPC over HTTP/2, "Percent-Encoded").
fn encoded_length(character: char) -> usize {
    if character.is_ascii_alphanumeric() { 1 } else { 3 * character.len_utf8() }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use tonic::{Code, Status};

    use super::*;
    use crate::ProtocolError;

    #[test]
    fn a_message_that_fits_is_left_whole() {
        for whole in [String::new(), "input `x`: größer".to_owned(), "x".repeat(LONGEST)] {
            assert_eq!(carried(whole.clone()), whole);
        }
    }

    #[test]
    fn a_longer_message_is_cut_between_characters() {
        for text in ["x", "é", "日本", "🪢", "a`é", " "] {
            let long = text.repeat(LONGEST + 1);
            let cut = carried(long.clone());
            let beginning = cut.strip_suffix(MARK).unwrap();
            assert!(long.starts_with(beginning) && beginning.len() > LONGEST / 4, "{cut}");
            let encoded = utf8_percent_encode(&cut, NON_ALPHANUMERIC).to_string().len();
            assert!((LONGEST - 12..=LONGEST).contains(&encoded), "{encoded}");
        }
    }

    #[test]
    fn a_status_carries_the_beginning_of_a_long_error() {
        let status = Status::from(ProtocolError::malformed(&"é".repeat(9000)));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("cannot read the request: é"));
        assert!(status.message().ends_with(MARK) && status.message().len() < LONGEST);
    }
}
