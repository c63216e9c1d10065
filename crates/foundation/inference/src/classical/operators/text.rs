//! Operators on strings.

mod hash;
mod join;
mod n_grams;
mod normalizer;
mod pattern;
mod tokenizer;

pub(super) use hash::murmur_hash;
pub(super) use join::{regex_full_match, string_concat, string_split};
pub(super) use n_grams::tfidf_vectorizer;
pub(super) use normalizer::string_normalizer;
pub(super) use tokenizer::tokenizer;

use bytes::Bytes;

use crate::classical::fault::{Fault, checked_count};

/// The most texts of a table whose lines are as long as its longest: a gigabyte, whatever they say.
const TABLE_LIMIT: usize = (1 << 30) / size_of::<Bytes>();

/// The number of texts of such a table about to be made: one long line makes all others as long.
fn checked_table(shape: &[usize]) -> Result<usize, Fault> {
    let count = checked_count(shape)?;
    if count > TABLE_LIMIT {
        let (size, limit) = (count as u64, TABLE_LIMIT as u64);
        return Err(Fault::TooLarge { what: "output in texts".to_owned(), size, limit });
    }
    Ok(count)
}

/// Bytes as text; the string operators need UTF-8.
fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::invalid(format!("`{}` is not UTF-8", String::from_utf8_lossy(bytes))))
}
