use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::IngestError;
use crate::error::ENCODING;
use crate::scratch::Scratch;

const BUFFER_BYTES: usize = 64 << 10;

/// The text of a file in UTF-8, without its byte order mark, and the name of its encoding when that is another.
///
/// A byte order mark tells the encoding; otherwise it is the `declared` one, or UTF-8. Bytes that are not text in it
/// are an error that names their place; none are replaced. UTF-8 itself is checked by those who read the lines.
pub(crate) fn utf8_text(
    name: &str,
    mut file: File,
    declared: Option<&str>,
    scratch: &Scratch,
) -> Result<(File, Option<&'static str>), IngestError> {
    let failed = || IngestError::stream(format!("read `{name}`"));
    let mut start = Vec::new();
    (&mut file).take(3).read_to_end(&mut start).map_err(failed())?;
    let declared = declared.and_then(|label| Encoding::for_label_no_replacement(label.as_bytes()));
    let (encoding, mark) = match (Encoding::for_bom(&start), declared) {
        (Some((marked, length)), declared) if declared.is_none_or(|declared| agree(declared, marked)) => {
            (marked, length)
        }
        (Some((marked, _)), Some(declared)) => {
            let reason = format!("its byte order mark says {}, {} is declared", marked.name(), declared.name());
            return Err(IngestError::table(name, reason, "leave `encoding` of the dataset out: the mark is right"));
        }
        (_, declared) => (declared.unwrap_or(UTF_8), 0),
    };
    file.seek(SeekFrom::Start(mark as u64)).map_err(failed())?;
    if encoding == UTF_8 {
        return Ok((file, None));
    }
    let target = transcoded(name, &mut file, mark as u64, encoding, scratch)?;
    Ok((target, Some(encoding.name())))
}

/// Whoever declares UTF-16 leaves the order of the bytes to the mark.
fn agree(declared: &'static Encoding, marked: &'static Encoding) -> bool {
    declared == marked || ([UTF_16LE, UTF_16BE].contains(&declared) && marked != UTF_8)
}

fn transcoded(
    name: &str,
    source: &mut File,
    mut offset: u64,
    encoding: &'static Encoding,
    scratch: &Scratch,
) -> Result<File, IngestError> {
    let failed = || IngestError::stream(format!("read `{name}`"));
    let mut target = scratch.file()?.into_file();
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut bytes = vec![0; BUFFER_BYTES];
    let mut text = vec![0; BUFFER_BYTES * 3];
    let mut line = 1;
    loop {
        let read = source.read(&mut bytes).map_err(failed())?;
        let mut rest = &bytes[..read];
        loop {
            let (result, used, written) = decoder.decode_to_utf8_without_replacement(rest, &mut text, read == 0);
            target.write_all(&text[..written]).map_err(IngestError::stream("write a scratch file"))?;
            line += line_count(&text[..written]);
            offset += used as u64;
            rest = &rest[used..];
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(length, beyond) => {
                    let at = offset.saturating_sub(u64::from(length) + u64::from(beyond));
                    let reason = format!("it is not {} text: byte {at}, on line {line}", encoding.name());
                    return Err(IngestError::table(name, reason, ENCODING));
                }
            }
        }
        if read == 0 {
            break;
        }
    }
    target.rewind().map_err(IngestError::stream("write a scratch file"))?;
    Ok(target)
}

/// The ends of lines in `bytes`.
pub(crate) fn line_count(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').count() as u64 - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], declared: Option<&str>) -> Result<(String, Option<&'static str>), String> {
        let directory = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(directory.path()).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let (mut file, encoding) = utf8_text("t.csv", file, declared, &scratch).map_err(|error| error.to_string())?;
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        Ok((text, encoding))
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(order).collect()
    }

    #[test]
    fn byte_order_marks() {
        assert_eq!(text(b"\xef\xbb\xbfid\n", None), Ok(("id\n".to_owned(), None)));
        let long = "é€😀\n".repeat(40_000);
        assert_eq!(text(&utf16(&long, u16::to_le_bytes), None), Ok((long.clone(), Some("UTF-16LE"))));
        assert_eq!(text(&utf16(&long, u16::to_be_bytes), Some("utf-16")), Ok((long, Some("UTF-16BE"))));
        let error = text(b"\xef\xbb\xbfid\n", Some("windows-1252")).unwrap_err();
        assert!(error.contains("says UTF-8, windows-1252 is declared"), "{error}");
    }

    #[test]
    fn declared_encodings() {
        assert_eq!(text(b"caf\xe9\n", Some("windows-1252")), Ok(("café\n".to_owned(), Some("windows-1252"))));
        let error = text(b"ok\n\x81\x20\n", Some("shift_jis")).unwrap_err();
        assert!(error.contains("not Shift_JIS text: byte 3, on line 2"), "{error}");
    }

    #[test]
    fn half_a_character_at_the_end() {
        let mut bytes = utf16("ab\n", u16::to_le_bytes);
        bytes.pop();
        let error = text(&bytes, None).unwrap_err();
        assert!(error.contains("not UTF-16LE text"), "{error}");
    }
}
