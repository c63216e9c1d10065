//! Page tokens that are bound to their query: with another filter or order they are refused, for they would show
//! some things twice and others never.

/// A page token that cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is none of ours.
    #[error("`{0}` is not a page token of this search")]
    Malformed(String),
    /// It is of a search with another filter, order or scope.
    #[error("the page token belongs to another search: filter, order and scope must stay the same from page to page")]
    OtherSearch,
}

/// A number for what a search asks, by the parts of its question (FNV-1a, 64 bits; the parts' boundaries count).
pub fn query_hash(parts: &[&str]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for part in parts {
        (part.len() as u64).to_le_bytes().into_iter().for_each(&mut take);
        part.bytes().for_each(&mut take);
    }
    hash
}

/// The token of the page that begins after `offset` things.
pub fn encode_offset(hash: u64, offset: u64) -> String {
    encode(hash, 'o', &offset.to_string())
}

/// The offset in a token of the same search.
pub fn decode_offset(token: &str, hash: u64) -> Result<u64, TokenError> {
    match decode(token, hash)? {
        ('o', offset) => offset.parse().map_err(|_| malformed(token)),
        _ => Err(malformed(token)),
    }
}

/// The hash, a letter that says what follows, and that.
pub(crate) fn encode(hash: u64, kind: char, payload: &str) -> String {
    format!("{hash:016x}{kind}{payload}")
}

pub(crate) fn decode(token: &str, hash: u64) -> Result<(char, &str), TokenError> {
    let (of, rest) = token.split_at_checked(16).ok_or_else(|| malformed(token))?;
    let plain = of.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let of = u64::from_str_radix(of, 16).ok().filter(|_| plain).ok_or_else(|| malformed(token))?;
    let kind = rest.chars().next().ok_or_else(|| malformed(token))?;
    if of != hash {
        return Err(TokenError::OtherSearch);
    }
    Ok((kind, &rest[kind.len_utf8()..]))
}

pub(crate) fn malformed(token: &str) -> TokenError {
    TokenError::Malformed(token.chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_serves_its_own_search_only() {
        let here = query_hash(&["metrics.a > 1", "start_time"]);
        let there = query_hash(&["metrics.a > 1s", "tart_time"]);
        let token = encode_offset(here, 1_000);
        assert_eq!(decode_offset(&token, here), Ok(1_000));
        assert_eq!(decode_offset(&token, there), Err(TokenError::OtherSearch));
        for bad in ["", "x", "o5", &token[..16], &format!("{token}x"), &token.replace('o', "k"), &token.to_uppercase()]
        {
            assert!(matches!(decode_offset(bad, here), Err(TokenError::Malformed(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            prop_assert!(decode_offset(&text, 7).is_err());
        }
    }
}
