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

use crate::classical::fault::Fault;

/// Bytes as text; the string operators need UTF-8.
fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::invalid(format!("`{}` is not UTF-8", String::from_utf8_lossy(bytes))))
}
