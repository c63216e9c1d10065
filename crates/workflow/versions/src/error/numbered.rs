//! Versions that share a number.

use ropewalk_types::Digest;

use super::NAMED;
use crate::version::Version;

/// One of several versions that have the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedVersion {
    /// Its name.
    pub digest: Digest,
    /// Who made it.
    pub author: String,
    /// The first line of why it was made.
    pub message: String,
}

impl NumberedVersion {
    pub(crate) fn of(digest: Digest, version: &Version) -> Self {
        let message = version.message.lines().next().unwrap_or_default().to_owned();
        Self { digest, author: version.author.clone(), message }
    }
}

/// What an error says of them.
pub(super) fn numbered(found: &[NumberedVersion]) -> String {
    let told = |one: &NumberedVersion| format!("{} by {} ({})", one.digest.short(), one.author, one.message);
    let mut text = found.iter().take(NAMED).map(told).collect::<Vec<_>>().join(", ");
    if found.len() > NAMED {
        text.push_str(", …");
    }
    text
}
