//! The digests by which other tools name bytes.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use md5::Md5;
use ropewalk_store::files::{self, FileError};
use ropewalk_types::Digest;
use sha2::{Digest as _, Sha256};

use crate::error::VersionsError;

/// DVC reads this much at a time, and a line end that is cut apart by it stays as it is.
const CHUNK: usize = 1 << 20;
/// DVC tells text from bytes by the beginning of a file.
const BEGINNING: usize = 512;

/// By which rule DVC has hashed a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Md5Rule {
    /// The bytes as they are (`hash: md5`, DVC 3).
    Plain,
    /// Text with `\r\n` made `\n`, other bytes as they are (`md5-dos2unix`, DVC 2 and before); or as they are.
    Unix,
}

/// What one pass over some bytes has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Md5s {
    /// The MD5 of the bytes as they are.
    plain: String,
    /// By the rule of DVC 2, if that was asked for.
    unix: Option<String>,
    /// The digest of the bytes in our store.
    pub(super) content: Digest,
    /// In bytes.
    pub(super) size: u64,
}

impl Md5s {
    /// The MD5 that DVC has for these bytes, by the rule that was asked for.
    pub(super) fn by_rule(&self) -> &str {
        self.unix.as_deref().unwrap_or(&self.plain)
    }

    /// Whether DVC would name these bytes so.
    pub(super) fn fit(&self, md5: &str) -> bool {
        self.plain == md5 || self.unix.as_deref() == Some(md5)
    }
}

/// One pass over bytes that come in pieces.
pub(super) struct Md5Pass {
    plain: Md5,
    unix: Option<UnixText>,
    content: blake3::Hasher,
    size: u64,
}

impl Md5Pass {
    pub(super) fn new(rule: Md5Rule) -> Self {
        let unix = (rule == Md5Rule::Unix).then(UnixText::default);
        Self { plain: Md5::new(), unix, content: blake3::Hasher::new(), size: 0 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.plain.update(bytes);
        self.content.update(bytes);
        self.size += bytes.len() as u64;
        if let Some(unix) = &mut self.unix {
            unix.update(bytes);
        }
    }

    pub(super) fn finish(self) -> Md5s {
        let unix = self.unix.map(UnixText::finish);
        Md5s { plain: hex(&self.plain.finalize()), unix, content: self.content.finalize().into(), size: self.size }
    }
}

/// The MD5 of DVC 2, of chunks as it would read them.
#[derive(Default)]
struct UnixText {
    md5: Md5,
    is_text: Option<bool>,
    chunk: Vec<u8>,
}

impl UnixText {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK {
                self.take_chunk();
            }
        }
    }

    fn take_chunk(&mut self) {
        let beginning = self.chunk.get(..BEGINNING).unwrap_or(&self.chunk);
        if *self.is_text.get_or_insert_with(|| is_text(beginning)) {
            self.md5.update(unix_lines(&self.chunk));
        } else {
            self.md5.update(&self.chunk);
        }
        self.chunk.clear();
    }

    fn finish(mut self) -> String {
        self.take_chunk();
        hex(&self.md5.finalize())
    }
}

pub(super) fn md5s(path: &Path, rule: Md5Rule) -> Result<Md5s, VersionsError> {
    let mut pass = Md5Pass::new(rule);
    chunks(path, |chunk| pass.update(chunk))?;
    Ok(pass.finish())
}

pub(crate) fn md5_of(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

/// What one pass over a file has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sha256s {
    pub(super) sha256: String,
    /// The digest of the bytes in our store.
    pub(super) content: Digest,
    /// In bytes.
    pub(super) size: u64,
}

pub(super) fn sha256s(path: &Path) -> Result<Sha256s, VersionsError> {
    let (mut sha256, mut content, mut size) = (Sha256::new(), blake3::Hasher::new(), 0);
    chunks(path, |chunk| {
        sha256.update(chunk);
        content.update(chunk);
        size += chunk.len() as u64;
    })?;
    Ok(Sha256s { sha256: hex(&sha256.finalize()), content: content.finalize().into(), size })
}

/// Shows the file piece by piece.
fn chunks(path: &Path, mut each: impl FnMut(&[u8])) -> Result<(), VersionsError> {
    let mut file = files::open(path)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => each(&chunk[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(FileError::Io { action: "read", path: path.to_owned(), source }.into()),
        }
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
            md5s(&path, Md5Rule::Unix).unwrap()
        };
        // `printf 'hemp' | md5sum`, as md5 of the empty file is known from RFC 1321.
        assert_eq!(of(b"").plain, "d41d8cd98f00b204e9800998ecf8427e");
        let crlf = of(b"a\r\nb\r\n");
        assert_eq!(crlf.plain, md5_of(b"a\r\nb\r\n"));
        assert_eq!(crlf.unix, Some(md5_of(b"a\nb\n")));
        assert!(crlf.fit(&md5_of(b"a\nb\n")) && crlf.fit(&crlf.plain) && !crlf.fit(&md5_of(b"")));
        assert!(!md5s(&path, Md5Rule::Plain).unwrap().fit(&md5_of(b"a\nb\n")), "DVC 3 hashes bytes as they are");
        assert_eq!(crlf.content, Digest::of(b"a\r\nb\r\n"));
        assert_eq!(crlf.size, 6);
        let binary = of(b"a\r\n\0b");
        assert_eq!(Some(&binary.plain), binary.unix.as_ref());
        assert_eq!(of(b"abc").plain, "900150983cd24fb0d6963f7d28e17f72");
        let found = sha256s(&path).unwrap();
        assert_eq!(found.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((found.content, found.size), (Digest::of(b"abc"), 3));
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
        assert_eq!(md5s(&path, Md5Rule::Unix).unwrap().unix, Some(md5_of(&expected)));
        let mut pass = Md5Pass::new(Md5Rule::Unix);
        bytes.chunks(1000).for_each(|piece| pass.update(piece));
        assert_eq!(pass.finish(), md5s(&path, Md5Rule::Unix).unwrap(), "in whatever pieces they come");
    }

    #[test]
    fn text_is_told_as_dvc_tells_it() {
        assert!(is_text(b"") && is_text(b"a,b\r\n1,2\r\n") && is_text("größer als klein, und mehr".as_bytes()));
        assert!(!is_text(b"a\0b") && !is_text(&[0xff, 0xfe, b'a', b'b']));
    }
}
