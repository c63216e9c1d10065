use std::fmt;
use std::io::Read as _;
use std::path::Path;

use ropewalk_store::files;

use crate::ListeningError;

/// Longest file of secrets that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// Something that a client must know. Only its hash is kept, and it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(blake3::Hash);

impl Secret {
    /// The secret that `text` is.
    pub fn new(text: &str) -> Self {
        Self(blake3::hash(text.as_bytes()))
    }

    /// Whether `presented` is the secret. `blake3::Hash` compares in constant time.
    pub fn is(&self, presented: &[u8]) -> bool {
        self.0 == blake3::hash(presented)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The text of a file that nobody but its owner can read.
///
/// # Errors
/// The file cannot be read as text, or its mode lets others at it.
pub fn private_text(path: &Path) -> Result<String, ListeningError> {
    let failed = |source| ListeningError::File(files::FileError::Io { action: "read", path: path.to_owned(), source });
    let file = files::open(path)?;
    let metadata = file.metadata().map_err(failed)?;
    // A pipe, as of `<(pass show token)`, is nobody else's; it can be read but once.
    if metadata.is_file() && exposed(&metadata) {
        return Err(ListeningError::Exposed(path.to_owned()));
    }
    let mut text = String::new();
    file.take(LONGEST_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(unix)]
fn exposed(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn exposed(_metadata: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_hash_and_not_shown() {
        let secret = Secret::new("manila hemp");
        assert!(secret.is(b"manila hemp"));
        assert!(!secret.is(b"manila hem"));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("key");
        files::write_atomic(&path, b"twine").expect("write");
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o606, false)] {
            let file = files::open(&path).expect("open");
            file.set_permissions(std::fs::Permissions::from_mode(mode)).expect("mode");
            assert_eq!(private_text(&path).is_ok(), good, "{mode:o}");
        }
    }
}
