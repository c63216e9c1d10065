use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};

use super::header::Header;
use super::limits::COLUMNS;
use super::nulls::NullTexts;
use super::piece::{PieceSummary, PieceWriter};
use super::record::Record;
use crate::DataError;

const SAMPLE_BYTES: u64 = 64 << 10;
/// A quote that is never closed must not swallow the rest of the file.
const RECORD_BYTES: usize = 16 << 20;
const REJECT_BYTES: usize = 1000;
const DELIMITERS: [(u8, &str); 4] = [(b',', "comma"), (b';', "semicolon"), (b'\t', "tab"), (b'|', "bar")];

/// Reads a text of separated values (RFC 4180, with any of four delimiters) into a piece.
///
/// The first record that is not empty is the header. A record of another length is rejected. Rows are numbered by the
/// line on which they begin, counted from 1.
pub(crate) fn delimited_read(
    name: &str,
    source: File,
    target: File,
    nulls: &NullTexts,
    tab: bool,
) -> Result<PieceSummary, DataError> {
    let mut lines = Lines::new(name, source)?;
    let (delimiter, called) = if tab { DELIMITERS[2] } else { sniff(lines.sample()?) };
    let mut record = Record::new(delimiter);
    let Some((mut empty, _)) = lines.record_next(&mut record)? else {
        return PieceWriter::new(target, name, Header::default()).finish();
    };
    let header: Vec<_> = record.fields().map(str::to_owned).collect();
    let width = header.len();
    if width > COLUMNS {
        return Err(lines.broken(format!("its header has {width} columns, {COLUMNS} are accepted")));
    }
    let mut piece = PieceWriter::new(target, name, Header::new(header));
    while let Some((skipped, line)) = lines.record_next(&mut record)? {
        empty += skipped;
        if record.fields().all(|field| field.trim().is_empty()) {
            empty += 1;
        } else if record.len() == width {
            piece.row_begin(line)?;
            for (place, field) in record.fields().enumerate() {
                piece.cell(place, &nulls.cell(field.into()))?;
            }
        } else {
            let reason = format!("the record has {} fields, the header has {width}", record.len());
            piece.row_reject(line, shortened(record.text()), reason)?;
        }
    }
    let summary = piece.summary();
    summary.delimiter = Some(called.to_owned());
    summary.empty_rows = empty + lines.skipped;
    piece.finish()
}

fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(REJECT_BYTES);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// The delimiter that cuts most of the sample's records into as many fields as the first; a comma when none does.
fn sniff(sample: &[u8]) -> (u8, &'static str) {
    let score = |delimiter: u8| {
        let mut record = Record::new(delimiter);
        let mut widths = Vec::new();
        for line in sample.split_inclusive(|byte| *byte == b'\n') {
            if record.push_line(line) {
                widths.push(record.len());
                record.clear();
            }
        }
        let first = widths.first().copied().unwrap_or(1);
        let alike = widths.iter().filter(|width| **width == first).count();
        if first < 2 { (0, 0) } else { (alike * 1000 / widths.len(), first) }
    };
    let best = DELIMITERS.into_iter().rev().max_by_key(|(delimiter, _)| score(*delimiter));
    best.filter(|(delimiter, _)| score(*delimiter).1 > 0).unwrap_or(DELIMITERS[0])
}

/// The lines of a UTF-8 file, with their numbers and offsets.
struct Lines<'a> {
    name: &'a str,
    reader: BufReader<File>,
    buffer: Vec<u8>,
    /// Number of the next line, from 1.
    next: u64,
    /// Byte offset of the next line.
    offset: u64,
    /// Blank lines after the last record.
    skipped: u64,
}

impl<'a> Lines<'a> {
    fn new(name: &'a str, source: File) -> Result<Self, DataError> {
        let reader = BufReader::with_capacity(SAMPLE_BYTES as usize, source);
        let mut lines = Self { name, reader, buffer: Vec::new(), next: 1, offset: 0, skipped: 0 };
        let start = lines.sample()?;
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
            return Err(lines.broken("it is UTF-16 text; save it as UTF-8".to_owned()));
        }
        if start.starts_with(b"\xef\xbb\xbf") {
            lines.reader.consume(3);
            lines.offset = 3;
        }
        Ok(lines)
    }

    fn broken(&self, reason: String) -> DataError {
        DataError::Table { file: self.name.to_owned(), reason }
    }

    /// What the buffer holds of the rest of the file, at least one byte before its end.
    fn sample(&mut self) -> Result<&[u8], DataError> {
        let name = self.name;
        self.reader.fill_buf().map_err(DataError::stream(format!("read `{name}`")))
    }

    /// Reads the next record; returns how many blank lines came before it and the line on which it begins.
    fn record_next(&mut self, record: &mut Record) -> Result<Option<(u64, u64)>, DataError> {
        record.clear();
        let mut blank = 0;
        let mut first = self.next;
        while self.line_next()? {
            if record.is_empty() && matches!(self.buffer.as_slice(), b"\n" | b"\r\n" | b"\r") {
                blank += 1;
                first = self.next;
                continue;
            }
            if record.push_line(&self.buffer) {
                return Ok(Some((blank, first)));
            }
            if record.text().len() > RECORD_BYTES {
                break;
            }
        }
        if record.is_empty() {
            self.skipped = blank;
            return Ok(None);
        }
        Err(self.broken(format!("the quote that is opened in the record on line {first} is never closed")))
    }

    fn line_next(&mut self) -> Result<bool, DataError> {
        self.buffer.clear();
        let limit = RECORD_BYTES as u64 + 1;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.buffer);
        let read = read.map_err(DataError::stream(format!("read `{}`", self.name)))?;
        if let Err(error) = std::str::from_utf8(&self.buffer) {
            let offset = self.offset + error.valid_up_to() as u64;
            return Err(self.broken(format!("it is not UTF-8 text: byte {offset}, on line {}", self.next)));
        }
        if read > RECORD_BYTES {
            return Err(self.broken(format!("line {} has more than {RECORD_BYTES} bytes", self.next)));
        }
        self.offset += read as u64;
        self.next += u64::from(read > 0);
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::super::cell::Cell;
    use super::super::piece::{Chunk, PieceReader};
    use super::*;

    fn read(bytes: &[u8]) -> Result<(PieceSummary, Option<Chunk>), DataError> {
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(bytes).unwrap();
        source.seek(SeekFrom::Start(0)).unwrap();
        let target = tempfile::tempfile().unwrap();
        let nulls = NullTexts::new(&[String::new(), "NA".to_owned()]);
        let summary = delimited_read("t.csv", source, target.try_clone().unwrap(), &nulls, false)?;
        let mut reader = PieceReader::open(target).unwrap().0;
        Ok((summary, reader.chunk_next().unwrap()))
    }

    #[test]
    fn delimiters_are_told_apart() {
        for (text, called) in [
            ("a,b\n1,2\n", "comma"),
            ("a;b\n\"1,5;x\";2\n", "semicolon"),
            ("a\tb c\n1\t2,3\n", "tab"),
            ("a|b|c\n1,0|2|3", "bar"),
            ("a\n1\n", "comma"),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap().0.delimiter.as_deref(), Some(called), "{text}");
        }
    }

    #[test]
    fn rows_are_numbered_by_line_and_ragged_ones_rejected() {
        let text = "\u{feff}id,note\r\n1,\"two\nlines\"\r\n\r\n2,NA\r\n,\r\n3\r\n4,\"a \"\"b\"\"\"\r\n\n";
        let (summary, chunk) = read(text.as_bytes()).unwrap();
        let chunk = chunk.unwrap();
        assert_eq!(summary.columns[0].name, "id");
        assert_eq!(chunk.numbers.values().to_vec(), [2, 5, 7, 8]);
        assert_eq!(chunk.column(1).cell(0), Cell::Text("two\nlines".into()));
        assert_eq!(chunk.column(1).cell(1), Cell::Null);
        assert_eq!(chunk.column(1).cell(3), Cell::Text("a \"b\"".into()));
        assert_eq!(chunk.reject(2), Some(("3".to_owned(), "the record has 1 fields, the header has 2".to_owned())));
        assert_eq!(summary.empty_rows, 3);
    }

    #[test]
    fn encodings_are_checked() {
        let error = read(b"id\n1\nab\xffc\n").unwrap_err().to_string();
        assert!(error.contains("byte 7, on line 3"), "{error}");
        assert!(read(b"\xff\xfei\0d\0").unwrap_err().to_string().contains("UTF-16"));
    }

    #[test]
    fn an_open_quote_is_an_error() {
        let error = read(b"id,a\n1,\"x\n2,y\n").unwrap_err().to_string();
        assert!(error.contains("record on line 2"), "{error}");
    }

    #[test]
    fn nothing_at_all() {
        assert!(read(b"").unwrap().0.columns.is_empty());
        assert_eq!(read(b"id,a").unwrap().0.rows, 0);
    }
}
