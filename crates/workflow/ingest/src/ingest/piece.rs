use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, NullArray, RecordBatch, StringBuilder, UInt64Array};
use arrow::datatypes::{Field, Schema, UInt64Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::column_buffer::{ColumnBuffer, LooseColumn};
use super::evidence::Evidence;
use super::header::Header;
use crate::IngestError;
use crate::error::MISTAKE;

/// Changes when the same bytes would be read into another piece, so that old checkpoints are not taken for new ones.
pub(crate) const READER_VERSION: u32 = 5;

const MAGIC: &[u8; 8] = b"RWPIECE1";
const CHUNK_ROWS: usize = 8192;
const CHUNK_TEXT: usize = 16 << 20;
/// Longer than any cell of Excel (32,767 characters), short enough for the 31-bit offsets of a chunk.
const CELL_BYTES: usize = 16 << 20;
const SUMMARY_BYTES: u64 = 256 << 20;

/// What was found in one file, without its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PieceSummary {
    pub(crate) sheet: Option<String>,
    pub(crate) delimiter: Option<String>,
    /// The encoding of a text that is not UTF-8.
    pub(crate) encoding: Option<String>,
    pub(crate) columns: Vec<PieceColumn>,
    /// Rows kept, with those that were rejected.
    pub(crate) rows: u64,
    pub(crate) empty_rows: u64,
    pub(crate) error_cells: u64,
    pub(crate) notes: Vec<String>,
    chunks: Vec<ChunkPlace>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PieceColumn {
    pub(crate) name: String,
    /// Which column of the chunks it is.
    pub(crate) place: usize,
    pub(crate) evidence: Evidence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ChunkPlace {
    offset: u64,
    length: u64,
}

/// Where the chunks of a piece go.
pub(crate) enum PieceTarget<'a> {
    /// Into a file that a [`PieceReader`] opens: chunks of loosely typed columns (Arrow IPC streams), then the summary as
    /// JSON, its length as eight little-endian bytes, and a magic word.
    File { file: BufWriter<File>, written: u64 },
    /// Nowhere: only what the columns are is wanted.
    Nowhere,
    /// To whom knows already what the columns are.
    Taker(&'a mut ChunkTaker<'a>),
}

/// Takes the chunks of a piece in their order.
pub(crate) type ChunkTaker<'a> = dyn FnMut(&Chunk) -> Result<(), IngestError> + 'a;

impl PieceTarget<'_> {
    pub(crate) fn file(file: File) -> Self {
        Self::File { file: BufWriter::new(file), written: 0 }
    }
}

/// Takes the rows of one file as they come, and finds what its columns could be. Memory is that of one chunk.
pub(crate) struct PieceWriter<'a> {
    target: PieceTarget<'a>,
    name: String,
    header: Header,
    buffers: Vec<ColumnBuffer>,
    evidence: Vec<Evidence>,
    numbers: Vec<u64>,
    rejects: Vec<Option<(String, String)>>,
    text_bytes: usize,
    keeps_unnamed: bool,
    summary: PieceSummary,
}

impl<'a> PieceWriter<'a> {
    /// Begins the piece of the file `name` with the columns of `header`.
    pub(crate) fn new(target: PieceTarget<'a>, name: &str, header: Header) -> Self {
        Self {
            target,
            name: name.to_owned(),
            header,
            buffers: Vec::new(),
            evidence: Vec::new(),
            numbers: Vec::new(),
            rejects: Vec::new(),
            text_bytes: 0,
            keeps_unnamed: false,
            summary: PieceSummary::default(),
        }
    }

    /// The counts and notes that go into the summary.
    pub(crate) fn summary(&mut self) -> &mut PieceSummary {
        &mut self.summary
    }

    /// Says that there are more rows than come here, which may have values where these have none.
    pub(crate) fn more_follow(&mut self) {
        self.keeps_unnamed = true;
    }

    /// Begins the row that its file shows as `number`, counted from 1.
    pub(crate) fn row_begin(&mut self, number: u64) -> Result<(), IngestError> {
        if self.numbers.len() >= CHUNK_ROWS || self.text_bytes >= CHUNK_TEXT {
            self.chunk_flush()?;
        }
        self.numbers.push(number);
        Ok(())
    }

    /// Names the columns up to `place` by their numbers, for files without a header.
    pub(crate) fn name_until(&mut self, place: usize) {
        if self.header.len() <= place {
            self.header.cover_named(place);
        }
    }

    /// Puts a cell into column `place`, counted from 0, of the row that was begun last.
    pub(crate) fn cell(&mut self, place: usize, cell: &Cell<'_>) -> Result<(), IngestError> {
        let Some(row) = self.numbers.len().checked_sub(1) else {
            return Err(self.broken("a cell comes before the first row"));
        };
        if self.buffers.len() <= place {
            self.header.cover(place);
            self.buffers.resize_with(place + 1, ColumnBuffer::default);
            self.evidence.resize_with(place + 1, Evidence::default);
        }
        if let Cell::Text(text) | Cell::TextOrNull(text) = cell {
            if text.len() > CELL_BYTES {
                return Err(self.broken(&format!("a cell has more than {CELL_BYTES} bytes of text")));
            }
            self.text_bytes += text.len();
        }
        let buffer = &mut self.buffers[place];
        if !buffer.is_free(row) {
            return Err(self.broken("a cell is written twice or its row is out of order"));
        }
        if !matches!(self.target, PieceTarget::Nowhere) {
            buffer.push(row, cell);
        }
        if !matches!(self.target, PieceTarget::Taker(_)) {
            self.evidence[place].add(cell);
        }
        Ok(())
    }

    /// Puts a whole row into quarantine: its text and why it is no row of the table.
    pub(crate) fn row_reject(&mut self, number: u64, text: String, reason: String) -> Result<(), IngestError> {
        self.row_begin(number)?;
        self.text_bytes += text.len();
        self.rejects.resize(self.numbers.len() - 1, None);
        self.rejects.push(Some((text, reason)));
        Ok(())
    }

    /// An error about the row that was begun last.
    pub(crate) fn broken(&self, reason: &str) -> IngestError {
        let row = self.numbers.last().map(|row| format!(" (row {row})")).unwrap_or_default();
        IngestError::table(self.name.as_str(), format!("{reason}{row}"), MISTAKE)
    }

    fn chunk_flush(&mut self) -> Result<(), IngestError> {
        let rows = self.numbers.len();
        if rows == 0 {
            return Ok(());
        }
        self.text_bytes = 0;
        self.summary.rows += rows as u64;
        let (numbers, mut rejects) = (std::mem::take(&mut self.numbers), std::mem::take(&mut self.rejects));
        if matches!(self.target, PieceTarget::Nowhere) {
            return Ok(());
        }
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(numbers))];
        if !rejects.is_empty() {
            rejects.resize(rows, None);
        }
        arrays.extend(reject_arrays(&rejects, rows));
        for buffer in &mut self.buffers {
            arrays.push(buffer.finish(rows).map_err(IngestError::arrow("encode a piece"))?);
        }
        match &mut self.target {
            PieceTarget::Taker(take) => {
                let broken = |reason: String| IngestError::Encoding { action: "read a chunk", reason };
                take(&Chunk::new(&arrays).map_err(broken)?)
            }
            PieceTarget::Nowhere => Ok(()),
            PieceTarget::File { file, written } => {
                let bytes = encode(arrays).map_err(IngestError::arrow("encode a piece"))?;
                file.write_all(&bytes).map_err(IngestError::stream("write a piece"))?;
                let length = bytes.len() as u64;
                self.summary.chunks.push(ChunkPlace { offset: *written, length });
                *written += length;
                Ok(())
            }
        }
    }

    /// Ends the piece. A column that the header does not name and that has no value is left out.
    pub(crate) fn finish(mut self) -> Result<PieceSummary, IngestError> {
        self.chunk_flush()?;
        let mut left_out = 0;
        for place in 0..self.header.len() {
            let evidence = self.evidence.get(place).cloned().unwrap_or_default();
            match self.header.name(place) {
                Some((name, named)) if named || !evidence.is_empty() || self.keeps_unnamed => {
                    if !named {
                        self.summary.notes.push(format!("column {} has no name and is read as `{name}`", place + 1));
                    }
                    self.summary.columns.push(PieceColumn { name: name.to_owned(), place, evidence });
                }
                _ => left_out += 1,
            }
        }
        if left_out > 0 {
            self.summary.notes.push(format!("{left_out} columns without a name and a value were left out"));
        }
        self.summary.notes.extend_from_slice(self.header.notes());
        if let PieceTarget::File { file, .. } = &mut self.target {
            let json = serde_json::to_vec(&self.summary)
                .map_err(|error| IngestError::Encoding { action: "encode a piece", reason: error.to_string() })?;
            let length = (json.len() as u64).to_le_bytes();
            let written = [json.as_slice(), &length, MAGIC].into_iter().try_for_each(|bytes| file.write_all(bytes));
            written.and_then(|()| file.flush()).map_err(IngestError::stream("write a piece"))?;
        }
        Ok(self.summary)
    }
}

/// Texts and reasons of rejected rows; of Arrow's null type when there are none, which costs nothing.
fn reject_arrays(rejects: &[Option<(String, String)>], rows: usize) -> [ArrayRef; 2] {
    if rejects.is_empty() {
        return [Arc::new(NullArray::new(rows)), Arc::new(NullArray::new(rows))];
    }
    let (mut texts, mut reasons) = (StringBuilder::new(), StringBuilder::new());
    for reject in rejects {
        texts.append_option(reject.as_ref().map(|(text, _)| text));
        reasons.append_option(reject.as_ref().map(|(_, reason)| reason));
    }
    [Arc::new(texts.finish()), Arc::new(reasons.finish())]
}

fn encode(arrays: Vec<ArrayRef>) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let fields: Vec<_> = arrays
        .iter()
        .enumerate()
        .map(|(place, array)| Field::new(place.to_string(), array.data_type().clone(), true))
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(&batch)?;
    writer.into_inner()
}

/// Some rows of a file, as they were found.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The number of each row, counted from 1 as its file shows it.
    pub(crate) numbers: UInt64Array,
    columns: Vec<LooseColumn>,
    rejects: Option<(LooseColumn, LooseColumn)>,
}

impl Chunk {
    pub(crate) fn rows(&self) -> usize {
        self.numbers.len()
    }

    /// The column at `place`; one that this chunk does not reach has no values.
    pub(crate) fn column(&self, place: usize) -> &LooseColumn {
        self.columns.get(place).unwrap_or(&LooseColumn::Null)
    }

    /// Whether any row was rejected.
    pub(crate) fn has_rejects(&self) -> bool {
        self.rejects.is_some()
    }

    /// The text of `row` and why it is no row of the table, if it was rejected.
    pub(crate) fn reject(&self, row: usize) -> Option<(String, String)> {
        let (texts, reasons) = self.rejects.as_ref()?;
        let reason = reasons.cell(row).text()?.into_owned();
        Some((texts.cell(row).text().unwrap_or_default().into_owned(), reason))
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = StreamReader::try_new(bytes, None).map_err(|error| error.to_string())?;
        let batch = reader.next().ok_or("a chunk is empty")?.map_err(|error| error.to_string())?;
        Self::new(batch.columns())
    }

    /// The chunk of the numbers of its rows, the texts of those that were rejected, the reasons, and its columns.
    fn new(arrays: &[ArrayRef]) -> Result<Self, String> {
        let (numbers, rest) = arrays.split_first().ok_or("a chunk has no columns")?;
        let numbers = numbers.as_primitive_opt::<UInt64Type>().ok_or("the row numbers have another type")?.clone();
        let loose: Option<Vec<_>> = rest.iter().map(LooseColumn::new).collect();
        let mut loose = loose.ok_or("a column has an unknown type")?;
        if loose.len() < 2 {
            return Err("a chunk lacks its marks of rejected rows".to_owned());
        }
        let columns = loose.split_off(2);
        let rejects = match (loose.remove(0), loose.remove(0)) {
            (_, LooseColumn::Null) => None,
            pair => Some(pair),
        };
        Ok(Self { numbers, columns, rejects })
    }
}

/// Reads what a [`PieceWriter`] wrote.
#[derive(Debug)]
pub(crate) struct PieceReader {
    file: File,
    chunks: std::vec::IntoIter<ChunkPlace>,
}

impl PieceReader {
    /// Opens a piece; the summary is what the writer returned. Errors are texts: the caller knows which piece it is.
    pub(crate) fn open(mut file: File) -> Result<(Self, PieceSummary), String> {
        let says = |error: std::io::Error| error.to_string();
        let end = file.seek(SeekFrom::End(0)).map_err(says)?;
        let mut tail = [0_u8; 16];
        file.seek(SeekFrom::Start(end.checked_sub(16).ok_or("it is too short")?)).map_err(says)?;
        file.read_exact(&mut tail).map_err(says)?;
        let (length, magic) = tail.split_at(8);
        let length = u64::from_le_bytes(length.try_into().map_err(|_| "it has no length")?);
        if magic != MAGIC || length > SUMMARY_BYTES || length > end - 16 {
            return Err("it does not end as a piece does".to_owned());
        }
        file.seek(SeekFrom::Start(end - 16 - length)).map_err(says)?;
        let mut json = vec![0; length as usize];
        file.read_exact(&mut json).map_err(says)?;
        let summary: PieceSummary = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
        let fits = |chunk: &ChunkPlace| chunk.offset.checked_add(chunk.length).is_some_and(|to| to <= end);
        if !summary.chunks.iter().all(fits) {
            return Err("a chunk lies outside of it".to_owned());
        }
        Ok((Self { file, chunks: summary.chunks.clone().into_iter() }, summary))
    }

    /// The next chunk, in the order of the rows.
    pub(crate) fn chunk_next(&mut self) -> Result<Option<Chunk>, String> {
        let Some(place) = self.chunks.next() else { return Ok(None) };
        self.file.seek(SeekFrom::Start(place.offset)).map_err(|error| error.to_string())?;
        let mut bytes = vec![0; place.length as usize];
        self.file.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        Chunk::decode(&bytes).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header::new(vec!["id".to_owned(), "note".to_owned(), String::new()])
    }

    #[test]
    fn rows_come_back_over_several_chunks() {
        let file = tempfile::tempfile().unwrap();
        let mut writer = PieceWriter::new(PieceTarget::file(file.try_clone().unwrap()), "a.xlsx", header());
        let rows = CHUNK_ROWS as u64 + 10;
        for row in 0..rows {
            writer.row_begin(row + 2).unwrap();
            writer.cell(0, &Cell::Number(row as f64)).unwrap();
        }
        writer.cell(4, &Cell::Text("far".into())).unwrap();
        writer.row_reject(99_999, "a;b".to_owned(), "ragged".to_owned()).unwrap();
        let written = writer.finish().unwrap();
        assert_eq!(written.rows, rows + 1);
        let names: Vec<_> = written.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "note", "column_5"]);
        let (mut reader, summary) = PieceReader::open(file).unwrap();
        assert_eq!(summary, written);
        let first = reader.chunk_next().unwrap().unwrap();
        assert_eq!(first.column(0).cell(7), Cell::Number(7.0));
        assert_eq!(first.column(4).cell(7), Cell::Null);
        let second = reader.chunk_next().unwrap().unwrap();
        assert_eq!(second.rows(), 11);
        assert_eq!(second.numbers.value(9), rows + 1);
        assert_eq!(second.column(4).cell(9), Cell::Text("far".into()));
        assert_eq!(second.reject(10), Some(("a;b".to_owned(), "ragged".to_owned())));
        assert_eq!(second.reject(9), None);
        assert!(reader.chunk_next().unwrap().is_none());
    }

    #[test]
    fn a_cell_written_twice_is_an_error() {
        let mut writer = PieceWriter::new(PieceTarget::file(tempfile::tempfile().unwrap()), "a.xlsx", header());
        writer.row_begin(2).unwrap();
        writer.cell(0, &Cell::Boolean(true)).unwrap();
        let error = writer.cell(0, &Cell::Boolean(true)).unwrap_err();
        assert!(error.to_string().contains("(row 2)"), "{error}");
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b"short"[..], &[0xff; 64], b"................\xff\xff\xff\xff\xff\xff\xff\xffRWPIECE1"] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            assert!(PieceReader::open(file).is_err());
        }
    }
}
