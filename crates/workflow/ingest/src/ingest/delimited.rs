use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};

use super::header::Header;
use super::limits::COLUMNS;
use super::line_end::LineEnd;
use super::nulls::NullTexts;
use super::piece::{ChunkTaker, PieceSummary, PieceTarget, PieceWriter};
use super::quarantine::shortened;
use super::record::Record;
use crate::error::{ENCODING, MISTAKE};
use crate::{Dialect, HeaderRow, IngestError};

const QUOTE: &str = "close it there; if quotes mean nothing in this file, declare `quote = \"\"` for the dataset";
const HEADER: &str = "`header` of the dataset is the number of the line that names the columns, counted from 1";
const DELIMITER: &str = "look whether `delimiter` of the dataset is what parts the columns";

const SAMPLE_BYTES: u64 = 64 << 10;
/// A quote that is never closed must not swallow the rest of the file.
const RECORD_BYTES: usize = 16 << 20;
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// The beginning of a text: so many rows, or so many bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Beginning {
    pub(crate) const ALL: Self = Self { rows: u64::MAX, bytes: u64::MAX };

    /// The first `rows`, or everything.
    pub(crate) fn of_rows(rows: Option<u64>) -> Self {
        Self { rows: rows.unwrap_or(u64::MAX), ..Self::ALL }
    }
}

/// How a text of separated values is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DelimitedReader<'a> {
    pub(crate) dialect: &'a Dialect,
    pub(crate) header: HeaderRow,
    pub(crate) nulls: &'a NullTexts,
    /// Whether the format promises tabs.
    pub(crate) tab: bool,
}

impl DelimitedReader<'_> {
    /// Reads a text of separated values (RFC 4180, with any delimiter) into a piece; `source` is UTF-8 from where it
    /// stands, whatever its `encoding` was.
    ///
    /// A record of another length than the header is rejected, and one with a NUL byte. Rows are numbered by the line
    /// on which they begin, counted from 1.
    pub(crate) fn read(
        self,
        name: &str,
        source: File,
        target: File,
        encoding: Option<&str>,
    ) -> Result<PieceSummary, IngestError> {
        let (summary, _) = self.records(name, source, PieceTarget::file(target), encoding, Beginning::ALL)?;
        Ok(summary)
    }

    /// Finds what the columns are from the `beginning` of a text; also gives whether that was all of it.
    pub(crate) fn sample(
        self,
        name: &str,
        source: File,
        encoding: Option<&str>,
        beginning: Beginning,
    ) -> Result<(PieceSummary, bool), IngestError> {
        self.records(name, source, PieceTarget::Nowhere, encoding, beginning)
    }

    /// Gives the rows to `take` as they come; gives the number of rows that hold nothing.
    pub(crate) fn stream<'a>(self, name: &str, source: File, take: &'a mut ChunkTaker<'a>) -> Result<u64, IngestError> {
        let (summary, _) = self.records(name, source, PieceTarget::Taker(take), None, Beginning::ALL)?;
        Ok(summary.empty_rows)
    }

    fn records(
        self,
        name: &str,
        source: File,
        target: PieceTarget<'_>,
        encoding: Option<&str>,
        beginning: Beginning,
    ) -> Result<(PieceSummary, bool), IngestError> {
        let mut lines = Lines::new(name, source, self.dialect)?;
        if let HeaderRow::Row(row) = self.header {
            lines.skip_to(row)?;
        }
        let delimiter = match self.dialect.delimiter {
            Some(delimiter) => delimiter,
            None if self.tab => '\t',
            None => {
                let ends = lines.ends;
                self.sniff(lines.sample()?, ends)
            }
        };
        let mut record = Record::new(delimiter as u8, self.dialect.quote);
        let Some(start) = lines.record_next(&mut record)? else {
            return Ok((PieceWriter::new(target, name, Header::default()).finish()?, true));
        };
        let header = self.names(&record, &lines)?;
        let width = header.len();
        let mut piece = PieceWriter::new(target, name, Header::new(header));
        let (mut empty, mut rows, mut all) = (start.blank, 0, true);
        if self.header == HeaderRow::Absent {
            empty += self.row(&mut piece, &record, start.line, width)?;
        }
        while let Some(start) = lines.record_next(&mut record)? {
            if rows >= beginning.rows || lines.offset > beginning.bytes {
                all = false;
                piece.more_follow();
                break;
            }
            rows += 1;
            empty += start.blank + self.row(&mut piece, &record, start.line, width)?;
        }
        let summary = piece.summary();
        summary.delimiter = Some(called(delimiter));
        summary.encoding = encoding.map(str::to_owned);
        summary.empty_rows = empty + lines.skipped;
        if let HeaderRow::Row(row @ 2..) = self.header {
            summary.notes.push(format!("{} lines above the header were passed over", row - 1));
        }
        if lines.ends == LineEnd::CarriageReturn {
            summary.notes.push("its lines end with a carriage return alone".to_owned());
        }
        Ok((piece.finish()?, all))
    }

    fn names(self, record: &Record, lines: &Lines<'_>) -> Result<Vec<String>, IngestError> {
        let width = record.len();
        if width > COLUMNS {
            return Err(lines.broken(format!("its header has {width} columns, {COLUMNS} are accepted"), DELIMITER));
        }
        if record.text().contains('\0') {
            let reason = "its first record holds NUL bytes: it is no text, or one whose encoding has to be declared";
            return Err(lines.broken(reason.to_owned(), ENCODING));
        }
        Ok(match self.header {
            HeaderRow::Absent => (1..=width).map(|place| format!("column_{place}")).collect(),
            HeaderRow::First | HeaderRow::Row(_) => record.fields().map(str::to_owned).collect(),
        })
    }

    /// Puts a record into the piece; gives 1 when it is a blank line. One of delimiters alone has no values, but is a row.
    fn row(self, piece: &mut PieceWriter<'_>, record: &Record, line: u64, width: usize) -> Result<u64, IngestError> {
        if record.len() == 1 && record.text().trim().is_empty() {
            return Ok(1);
        }
        let reason = if record.len() != width {
            format!("the record has {} fields, the header has {width}", record.len())
        } else if record.text().contains('\0') {
            "the record holds a NUL byte".to_owned()
        } else {
            piece.row_begin(line)?;
            for (place, field) in record.fields().enumerate() {
                piece.cell(place, &self.nulls.cell(field.into(), record.is_quoted(place)))?;
            }
            return Ok(0);
        };
        piece.row_reject(line, shortened(record.text()), reason)?;
        Ok(0)
    }

    /// The delimiter that cuts most of the sample's records into as many fields as the first; a comma when none does.
    fn sniff(self, sample: &[u8], ends: LineEnd) -> char {
        // The end of the sample may lie within a character.
        let sample = sample.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let score = |delimiter: char| {
            let mut record = Record::new(delimiter as u8, self.dialect.quote);
            let mut widths = Vec::new();
            for line in sample.split_inclusive(ends.bytes()).filter(|line| !is_comment(line, self.dialect.comment)) {
                if record.push_line(line) {
                    widths.push(record.len());
                    record.clear();
                }
            }
            let first = widths.first().copied().unwrap_or(1);
            let alike = widths.iter().filter(|width| **width == first).count();
            if first < 2 { (0, 0) } else { (alike * 1000 / widths.len(), first) }
        };
        let free = |delimiter: &char| ![self.dialect.quote, self.dialect.comment].contains(&Some(*delimiter));
        let best = DELIMITERS.into_iter().filter(free).rev().max_by_key(|delimiter| score(*delimiter));
        best.filter(|delimiter| score(*delimiter).1 > 0).unwrap_or(DELIMITERS[0])
    }
}

fn is_comment(line: &str, comment: Option<char>) -> bool {
    comment.is_some_and(|comment| line.starts_with(comment))
}

fn called(delimiter: char) -> String {
    match delimiter {
        ',' => "comma".to_owned(),
        ';' => "semicolon".to_owned(),
        '\t' => "tab".to_owned(),
        '|' => "bar".to_owned(),
        ' ' => "space".to_owned(),
        other => other.to_string(),
    }
}

/// Where a record begins.
struct RecordStart {
    /// Counted from 1.
    line: u64,
    /// Blank lines before it.
    blank: u64,
}

/// The lines of a UTF-8 file, with their numbers and offsets.
struct Lines<'a> {
    name: &'a str,
    reader: BufReader<File>,
    comment: Option<char>,
    ends: LineEnd,
    buffer: Vec<u8>,
    /// Number of the next line, from 1.
    next: u64,
    /// Byte offset of the next line, from where the text begins.
    offset: u64,
    /// Blank lines after the last record.
    skipped: u64,
}

impl<'a> Lines<'a> {
    fn new(name: &'a str, source: File, dialect: &Dialect) -> Result<Self, IngestError> {
        let reader = BufReader::with_capacity(SAMPLE_BYTES as usize, source);
        let (comment, ends) = (dialect.comment, LineEnd::default());
        let mut lines = Self { name, reader, comment, ends, buffer: Vec::new(), next: 1, offset: 0, skipped: 0 };
        lines.ends = LineEnd::of(lines.sample()?, dialect.quote);
        Ok(lines)
    }

    fn broken(&self, reason: String, hint: &'static str) -> IngestError {
        IngestError::table(self.name, reason, hint)
    }

    /// What the buffer holds of the rest of the file, at least one byte before its end.
    fn sample(&mut self) -> Result<&[u8], IngestError> {
        let name = self.name;
        self.reader.fill_buf().map_err(IngestError::stream(format!("read `{name}`")))
    }

    /// Passes over the lines before `line`.
    fn skip_to(&mut self, line: u64) -> Result<(), IngestError> {
        while self.next < line {
            if self.line_next()?.is_none() {
                let reason = format!("the header should be on line {line}, it has {} lines", self.next - 1);
                return Err(self.broken(reason, HEADER));
            }
        }
        Ok(())
    }

    /// Reads the next record; none at the end of the file.
    fn record_next(&mut self, record: &mut Record) -> Result<Option<RecordStart>, IngestError> {
        record.clear();
        let comment = self.comment;
        let mut start = RecordStart { line: self.next, blank: 0 };
        while let Some(line) = self.line_next()? {
            if record.is_empty() {
                let blank = matches!(line, "\n" | "\r\n" | "\r");
                if blank || is_comment(line, comment) {
                    start = RecordStart { line: self.next, blank: start.blank + u64::from(blank) };
                    continue;
                }
            }
            if record.push_line(line) {
                return Ok(Some(start));
            }
            if record.text().len() > RECORD_BYTES {
                break;
            }
        }
        if record.is_empty() {
            self.skipped = start.blank;
            return Ok(None);
        }
        let line = start.line;
        Err(self.broken(format!("the quote that is opened in the record on line {line} is never closed"), QUOTE))
    }

    /// Reads the next line with its end; none at the end of the file.
    fn line_next(&mut self) -> Result<Option<&str>, IngestError> {
        self.buffer.clear();
        let limit = RECORD_BYTES as u64 + 1;
        let read = match self.ends {
            LineEnd::LineFeed => (&mut self.reader).take(limit).read_until(b'\n', &mut self.buffer),
            LineEnd::CarriageReturn => read_until_either(&mut self.reader, limit, &mut self.buffer),
        };
        let read = read.map_err(IngestError::stream(format!("read `{}`", self.name)))?;
        if read > RECORD_BYTES {
            return Err(self.broken(format!("line {} has more than {RECORD_BYTES} bytes", self.next), MISTAKE));
        }
        let (line, offset) = (self.next, self.offset);
        self.offset += read as u64;
        self.next += u64::from(read > 0);
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => Ok((read > 0).then_some(text)),
            Err(error) => {
                let offset = offset + error.valid_up_to() as u64;
                let reason = format!("it is not UTF-8 text: byte {offset}, on line {line}; declare its encoding");
                Err(self.broken(reason, ENCODING))
            }
        }
    }
}

/// Reads at most `limit` bytes up to and with a carriage return, a line feed, or the one and then the other.
fn read_until_either(reader: &mut BufReader<File>, limit: u64, line: &mut Vec<u8>) -> io::Result<usize> {
    while (line.len() as u64) < limit {
        let waiting = reader.fill_buf()?;
        let left = usize::try_from(limit - line.len() as u64).unwrap_or(usize::MAX).min(waiting.len());
        let end = waiting[..left].iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let used = end.map_or(left, |end| end + 1);
        line.extend_from_slice(&waiting[..used]);
        reader.consume(used);
        if end.is_some() {
            if line.ends_with(b"\r") && reader.fill_buf()?.first() == Some(&b'\n') {
                line.push(b'\n');
                reader.consume(1);
            }
            break;
        }
        if used == 0 {
            break;
        }
    }
    Ok(line.len())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::super::cell::Cell;
    use super::super::piece::{Chunk, PieceReader};
    use super::*;

    fn read_as(
        bytes: &[u8],
        dialect: &Dialect,
        header: HeaderRow,
    ) -> Result<(PieceSummary, Option<Chunk>), IngestError> {
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(bytes).unwrap();
        source.seek(SeekFrom::Start(0)).unwrap();
        let target = tempfile::tempfile().unwrap();
        let nulls = NullTexts::new(&[String::new(), "NA".to_owned()]);
        let reader = DelimitedReader { dialect, header, nulls: &nulls, tab: false };
        let summary = reader.read("t.csv", source, target.try_clone().unwrap(), None)?;
        let mut reader = PieceReader::open(target).unwrap().0;
        Ok((summary, reader.chunk_next().unwrap()))
    }

    fn read(bytes: &[u8]) -> Result<(PieceSummary, Option<Chunk>), IngestError> {
        read_as(bytes, &Dialect::default(), HeaderRow::First)
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
        let text = "id,note\r\n1,\"two\nlines\"\r\n\r\n2,NA\r\n,\r\n3\r\n4,\"a \"\"b\"\"\"\r\n5,\0\n\n";
        let (summary, chunk) = read(text.as_bytes()).unwrap();
        let chunk = chunk.unwrap();
        assert_eq!(summary.columns[0].name, "id");
        assert_eq!(chunk.numbers.values().to_vec(), [2, 5, 6, 7, 8, 9]);
        assert_eq!(chunk.column(1).cell(0), Cell::Text("two\nlines".into()));
        assert_eq!(chunk.column(1).cell(1), Cell::Null);
        assert_eq!((chunk.column(0).cell(2), chunk.column(1).cell(2)), (Cell::Null, Cell::Null));
        assert_eq!(chunk.column(1).cell(4), Cell::Text("a \"b\"".into()));
        assert_eq!(chunk.reject(3), Some(("3".to_owned(), "the record has 1 fields, the header has 2".to_owned())));
        assert!(chunk.reject(5).unwrap().1.contains("NUL"));
        assert_eq!(summary.empty_rows, 2);
    }

    #[test]
    fn delimiters_alone_are_a_row_and_a_blank_line_is_none() {
        for (text, rows, rejected, empty) in [
            ("a,b\n1,2\n,\n \n , \n\"\",\n", 4, None, 1),
            ("a\tb\n\t\n \n\n1\t2\n", 2, None, 2),
            ("a;b\n1;2\n;;\n", 2, Some(1), 0),
            ("a\n1\n\n\"\"\n  \n2\n", 3, None, 2),
        ] {
            let (summary, chunk) = read(text.as_bytes()).unwrap();
            let chunk = chunk.unwrap();
            assert_eq!((summary.rows, chunk.rows(), summary.empty_rows), (rows, rows as usize, empty), "{text:?}");
            assert_eq!((0..chunk.rows()).find(|row| chunk.reject(*row).is_some()), rejected, "{text:?}");
        }
    }

    #[test]
    fn dialects_are_declared() {
        let dialect = Dialect { delimiter: Some('~'), quote: Some('\''), comment: Some('#'), encoding: None };
        let text = b"title\n# note\nid~b\n#1~2\n3~'x~y'\n\n";
        let (summary, chunk) = read_as(text, &dialect, HeaderRow::Row(2)).unwrap();
        assert_eq!(summary.delimiter.as_deref(), Some("~"));
        assert_eq!(summary.notes, ["1 lines above the header were passed over"]);
        assert_eq!(summary.empty_rows, 1);
        let chunk = chunk.unwrap();
        assert_eq!((chunk.rows(), chunk.column(1).cell(0)), (1, Cell::Text("x~y".into())));
        let error = read_as(text, &dialect, HeaderRow::Row(9)).unwrap_err().to_string();
        assert!(error.contains("on line 9, it has 6 lines"), "{error}");
    }

    #[test]
    fn no_header() {
        let (summary, chunk) = read_as(b"1;a\n2;b\n", &Dialect::default(), HeaderRow::Absent).unwrap();
        let names: Vec<_> = summary.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["column_1", "column_2"]);
        assert!(summary.notes.is_empty(), "{:?}", summary.notes);
        assert_eq!(chunk.unwrap().numbers.values().to_vec(), [1, 2]);
    }

    #[test]
    fn bytes_that_are_not_text() {
        let error = read(b"id\n1\nab\xffc\n").unwrap_err().to_string();
        assert!(error.contains("byte 7, on line 3"), "{error}");
        let error = read(b"i\0d\0\n\0").unwrap_err().to_string();
        assert!(error.contains("NUL"), "{error}");
    }

    #[test]
    fn carriage_returns_alone_end_lines() {
        let text = "id;note\r1;\"two\rlines\"\r\r2;\"a\nb\"\r3\r4;x\r5;y";
        let (summary, chunk) = read(text.as_bytes()).unwrap();
        let chunk = chunk.unwrap();
        assert_eq!((summary.delimiter.as_deref(), summary.rows, summary.empty_rows), (Some("semicolon"), 5, 1));
        assert_eq!(chunk.column(1).cell(0), Cell::Text("two\rlines".into()));
        assert_eq!(chunk.column(1).cell(1), Cell::Text("a\nb".into()));
        assert!(chunk.reject(2).is_some(), "a row without its second field");
        assert_eq!(chunk.column(1).cell(4), Cell::Text("y".into()));
        assert_eq!(chunk.numbers.values().to_vec(), [2, 5, 7, 8, 9]);
        assert_eq!(summary.notes, ["its lines end with a carriage return alone"]);
        let rows = "12345,67890\r".repeat(40_000);
        let (summary, _) = read(format!("a,b\r{rows}7,8\n9,10\r\n").as_bytes()).unwrap();
        assert_eq!((summary.rows, summary.columns.len()), (40_002, 2), "others end lines there too");
        let (summary, chunk) = read(b"a\rb,c\n1,2\n").unwrap();
        assert_eq!((summary.rows, chunk.unwrap().column(1).cell(0)), (1, Cell::Text("2".into())));
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
