//! The digests by which other tools name bytes.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use md5::Md5;
use ropewalk_store::files::{self, FileError};
use sha2::{Digest as _, Sha256};

use crate::error::VersionsError;

/// DVC reads this much at a time, and a line end that is cut apart by it stays as it is.
const CHUNK: usize = 1 << 20;
/// DVC tells text from bytes by the beginning of a file.
const BEGINNING: usize = 512;

/// The MD5 of a file, by both rules of DVC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Md5s {
    /// Of the bytes as they are (`hash: md5`, DVC 3).
    pub(super) plain: String,
    /// Of text with `\r\n` made `\n`, of other bytes as they are (`md5-dos2unix`, DVC 2 and before).
    pub(super) unix: String,
    pub(super) size: u64,
}

pub(super) fn md5s(path: &Path) -> Result<Md5s, VersionsError> {
    let (mut plain, mut unix) = (Md5::new(), Md5::new());
    let mut text = None;
    let size = chunks(path, |chunk| {
        plain.update(chunk);
        if *text.get_or_insert_with(|| is_text(chunk.get(..BEGINNING).unwrap_or(chunk))) {
            unix.update(unix_lines(chunk));
        } else {
            unix.update(chunk);
        }
    })?;
    Ok(Md5s { plain: hex(&plain.finalize()), unix: hex(&unix.finalize()), size })
}

pub(crate) fn md5_of(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

/// The SHA-256 and the size of a file.
pub(super) fn sha256(path: &Path) -> Result<(String, u64), VersionsError> {
    let mut hasher = Sha256::new();
    let size = chunks(path, |chunk| hasher.update(chunk))?;
    Ok((hex(&hasher.finalize()), size))
}

/// Shows the file piece by piece; all but the last have [`CHUNK`] bytes.
fn chunks(path: &Path, mut each: impl FnMut(&[u8])) -> Result<u64, VersionsError> {
    let mut file = files::open(path)?;
    let (mut chunk, mut size) = (Vec::with_capacity(CHUNK), 0);
    loop {
        chunk.clear();
        let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
        let read = read.map_err(|source| FileError::Io { action: "read", path: path.to_owned(), source })?;
        if read == 0 {
            return Ok(size);
        }
        size += read as u64;
        each(&chunk);
    }
}

/// Whether DVC takes a file with this beginning for text: no zero byte, and at most 30 % of other control characters.
fn is_text(beginning: &[u8]) -> bool {
    let text = |byte: &&u8| matches!(**byte, 32..127 | b'\n' | b'\r' | b'\t' | 0x0c | 0x08);
    let other = beginning.len() - beginning.iter().filter(text).count();
    !beginning.contains(&0) && other * 10 <= beginning.len() * 3
}

fn unix_lines(bytes: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\r' || rest.peek() != Some(&b'\n') {
            lines.push(byte);
        }
    }
    lines
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a text is that many hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_tools() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let of = |bytes: &[u8]| {
            files::write_atomic(&path, bytes).unwrap();
            md5s(&path).unwrap()
        };
        // `printf 'hemp' | md5sum`, as md5 of the empty file is known from RFC 1321.
        assert_eq!(of(b"").plain, "d41d8cd98f00b204e9800998ecf8427e");
        let crlf = of(b"a\r\nb\r\n");
        assert_eq!(crlf.plain, md5_of(b"a\r\nb\r\n"));
        assert_eq!(crlf.unix, md5_of(b"a\nb\n"));
        assert_eq!(crlf.size, 6);
        let binary = of(b"a\r\n\0b");
        assert_eq!(binary.plain, binary.unix);
        assert_eq!(of(b"abc").plain, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(sha256(&path).unwrap().0, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_line_end_across_two_chunks_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut bytes = vec![b'a'; CHUNK - 1];
        bytes.extend_from_slice(b"\r\nb\r\n");
        files::write_atomic(&path, &bytes).unwrap();
        let mut expected = vec![b'a'; CHUNK - 1];
        expected.extend_from_slice(b"\r\nb\n");
        assert_eq!(md5s(&path).unwrap().unix, md5_of(&expected));
    }

    #[test]
    fn text_is_told_as_dvc_tells_it() {
        assert!(is_text(b"") && is_text(b"a,b\r\n1,2\r\n") && is_text("größer als klein, und mehr".as_bytes()));
        assert!(!is_text(b"a\0b") && !is_text(&[0xff, 0xfe, b'a', b'b']));
    }
}
