use std::fs::File;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Fields, Schema};
use arrow::json::reader::{Decoder, ReaderBuilder};
use serde::{Deserialize, Serialize};

use super::super::delimited::Beginning;
use super::super::limits::COLUMNS;
use super::super::quarantine::shortened;
use super::records::Records;
use super::shape::Shape;
use crate::IngestError;
use crate::error::MISTAKE;

const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 16 << 20;
/// What to do about JSON without objects.
const OBJECTS: &str = "a table needs records such as {\"id\": 1}: an array of them, or one a line; it may also be an error \
                       page that was saved under this name";

/// What the first look at a JSON file found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JsonSummary {
    pub(crate) shape: Shape,
    /// The encoding of a text that is not UTF-8.
    pub(crate) encoding: Option<String>,
    /// Records that are no JSON objects, among those that were looked at.
    rejected: u64,
    /// Whether all records were looked at.
    complete: bool,
}

impl JsonSummary {
    /// The columns that this file alone has.
    pub(crate) fn columns(&self, tolerance: f64) -> Result<Fields, super::Conflict> {
        self.shape.fields_type(tolerance)
    }

    /// Whether all records were looked at.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether every record is known to fit `fields`, so that none need be checked again.
    fn fits(&self, fields: &Fields) -> bool {
        self.complete && self.rejected == 0 && self.shape.misfit(&DataType::Struct(fields.clone())).is_none()
    }
}

/// Some records of a JSON file.
pub(crate) struct JsonBatch {
    pub(crate) rows: RecordBatch,
    /// The line on which each row begins.
    pub(crate) lines: Vec<u64>,
}

/// A record that is not among the rows.
pub(crate) struct JsonReject {
    pub(crate) line: u64,
    pub(crate) column: Option<String>,
    pub(crate) text: String,
    pub(crate) reason: String,
}

/// A file of JSON records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonFile<'a> {
    pub(crate) name: &'a str,
    /// Whether each line is a record.
    pub(crate) lines: bool,
}

impl JsonFile<'_> {
    /// Finds the shape of the records of the `beginning`; at least one is looked at. `source` is text from where it stands.
    pub(crate) fn infer(self, source: File, beginning: Beginning) -> Result<JsonSummary, IngestError> {
        let mut records = Records::new(self.name, source, self.lines);
        let (mut summary, mut bytes) = (JsonSummary { complete: true, ..JsonSummary::default() }, Vec::new());
        let (mut count, mut seen, mut example) = (0, 0, None);
        while let Some(line) = records.next(&mut bytes)? {
            if count > 0 && (count >= beginning.rows || seen >= beginning.bytes) {
                summary.complete = false;
                break;
            }
            count += 1;
            seen += bytes.len() as u64;
            if let Err(reason) = summary.shape.add(&bytes) {
                summary.rejected += 1;
                example.get_or_insert((line, reason));
            }
        }
        if let Some((line, reason)) = example
            && count == summary.rejected
        {
            let reason = format!("none of {count} records is an object; that on line {line}: {reason}");
            return Err(IngestError::table(self.name, reason, OBJECTS));
        }
        if summary.shape.fields().len() > COLUMNS {
            return Err(records.broken(format!("its records have more than {COLUMNS} keys")));
        }
        Ok(summary)
    }

    /// Reads the records as rows of `columns`, in batches; those that do not fit go to `rejects`. Gives the number of
    /// blank lines.
    pub(crate) fn read<S: JsonSink>(
        self,
        source: File,
        summary: &JsonSummary,
        columns: &Fields,
        sink: &mut S,
    ) -> Result<u64, IngestError> {
        let mut records = Records::new(self.name, source, self.lines);
        let checked = !summary.fits(columns);
        let wanted = DataType::Struct(columns.clone());
        let mut rows = Rows::new(self.name, columns)?;
        let mut bytes = Vec::new();
        while let Some(line) = records.next(&mut bytes)? {
            if checked && let Some(reject) = reject(line, &bytes, &wanted) {
                sink.reject(reject)?;
                continue;
            }
            rows.push(line, &bytes)?;
            if rows.is_full()
                && let Some(batch) = rows.flush()?
            {
                sink.batch(batch)?;
            }
        }
        if let Some(batch) = rows.flush()? {
            sink.batch(batch)?;
        }
        Ok(records.blank)
    }
}

/// Takes what is read of a JSON file, in its order within rows and within rejected records.
pub(crate) trait JsonSink {
    fn batch(&mut self, batch: JsonBatch) -> Result<(), IngestError>;
    fn reject(&mut self, reject: JsonReject) -> Result<(), IngestError>;
}

fn reject(line: u64, bytes: &[u8], wanted: &DataType) -> Option<JsonReject> {
    let mut shape = Shape::default();
    let (column, reason) = if let Err(reason) = shape.add(bytes) {
        (None, reason)
    } else {
        let conflict = shape.misfit(wanted)?;
        let column = (!conflict.path.is_empty()).then(|| conflict.path.join("."));
        (column, format!("the record holds {}", conflict.found))
    };
    let text = shortened(String::from_utf8_lossy(bytes).trim());
    Some(JsonReject { line, column, text, reason })
}

/// Rows that are collected for a batch.
struct Rows<'a> {
    name: &'a str,
    decoder: Decoder,
    lines: Vec<u64>,
    bytes: usize,
}

impl<'a> Rows<'a> {
    fn new(name: &'a str, columns: &Fields) -> Result<Self, IngestError> {
        let decoder = ReaderBuilder::new(Arc::new(Schema::new(columns.clone())))
            .with_batch_size(BATCH_ROWS)
            .with_coerce_primitive(true)
            .build_decoder()
            .map_err(IngestError::arrow("read JSON"))?;
        Ok(Self { name, decoder, lines: Vec::new(), bytes: 0 })
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> IngestError {
        let from = self.lines.first().copied().unwrap_or_default();
        let reason = format!("a record on or after line {from} cannot be read ({error})");
        IngestError::table(self.name, reason, MISTAKE)
    }

    fn push(&mut self, line: u64, bytes: &[u8]) -> Result<(), IngestError> {
        self.lines.push(line);
        self.bytes += bytes.len();
        self.decoder.decode(bytes).map(drop).map_err(|error| self.broken(&error))
    }

    fn flush(&mut self) -> Result<Option<JsonBatch>, IngestError> {
        let rows = self.decoder.flush().map_err(|error| self.broken(&error))?;
        self.bytes = 0;
        let lines = std::mem::take(&mut self.lines);
        match rows {
            Some(rows) if rows.num_rows() != lines.len() => Err(IngestError::Encoding {
                action: "read JSON",
                reason: format!("{} records became {} rows", lines.len(), rows.num_rows()),
            }),
            rows => Ok(rows.map(|rows| JsonBatch { rows, lines })),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[derive(Default)]
    struct Kept {
        batches: Vec<JsonBatch>,
        rejects: Vec<JsonReject>,
    }

    impl JsonSink for Kept {
        fn batch(&mut self, batch: JsonBatch) -> Result<(), IngestError> {
            self.batches.push(batch);
            Ok(())
        }

        fn reject(&mut self, reject: JsonReject) -> Result<(), IngestError> {
            self.rejects.push(reject);
            Ok(())
        }
    }

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn read(text: &str, first: Option<u64>) -> (Fields, Kept) {
        let json = JsonFile { name: "t.jsonl", lines: true };
        let summary = json.infer(file(text), Beginning::of_rows(first)).unwrap();
        let columns = summary.columns(0.1).unwrap();
        let mut kept = Kept::default();
        json.read(file(text), &summary, &columns, &mut kept).unwrap();
        (columns, kept)
    }

    #[test]
    fn later_misfits_are_rejected_with_their_line_and_value() {
        let text = "{\"a\":1}\n{\"a\":2}\n{\"a\":2.5}\n{\"a\":3,\"b\":1}\nnonsense\n{\"a\":4}\n";
        let (columns, kept) = read(text, Some(2));
        assert_eq!(columns.len(), 1);
        assert_eq!(kept.batches[0].lines, [1, 2, 6]);
        let rejects: Vec<_> = kept.rejects.iter().map(|reject| (reject.line, reject.column.as_deref())).collect();
        assert_eq!(rejects, [(3, Some("a")), (4, Some("b")), (5, None)]);
        assert_eq!(kept.rejects[0].text, "{\"a\":2.5}");
    }

    #[test]
    fn all_records_are_looked_at() {
        let text = "{\"a\":1}\n".repeat(BATCH_ROWS + 1) + "{\"a\":1.5,\"b\":{\"c\":[true]}}\n";
        let (columns, kept) = read(&text, None);
        assert_eq!((columns[0].data_type(), columns.len()), (&DataType::Float64, 2));
        assert_eq!(kept.batches.len(), 2);
        assert_eq!(kept.batches[1].lines, [BATCH_ROWS as u64 + 1, BATCH_ROWS as u64 + 2]);
        assert!(kept.rejects.is_empty());
    }

    #[test]
    fn no_more_bytes_are_looked_at_than_the_beginning_has() {
        let record = format!("{{\"a\":\"{}\"}}", "y".repeat(1000));
        // An array that is cut off is an error to whoever comes to its end.
        for (lines, text) in
            [(true, format!("{record}\n").repeat(5)), (false, format!("[{}", [record.as_str(); 5].join(",")))]
        {
            let json = JsonFile { name: "t.json", lines };
            let infer = |bytes| json.infer(file(&text), Beginning { bytes, ..Beginning::ALL });
            let summary = infer(2000).unwrap();
            assert!(!summary.is_complete() && summary.columns(0.1).unwrap().len() == 1, "{lines}");
            assert!(!infer(0).unwrap().is_complete(), "one record is looked at in any case");
            assert_eq!(infer(u64::MAX).is_ok_and(|summary| summary.is_complete()), lines);
        }
    }

    #[test]
    fn a_file_without_any_object_says_why() {
        let json = JsonFile { name: "t.jsonl", lines: true };
        let error = json.infer(file("<html>\n</html>\n"), Beginning::ALL).unwrap_err().to_string();
        assert!(error.contains("none of 2 records is an object; that on line 1"), "{error}");
    }
}
