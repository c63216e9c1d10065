//! CSV as `pandas.DataFrame.to_csv(index=False)` writes it (RFC 4180), with a line of names.

use csv::{ReaderBuilder, StringRecord};

use crate::cells::Reading;
use crate::json::Json;
use crate::table::{Table, within};
use crate::{ScoringError, ScoringLimits};

pub(super) fn read(body: &[u8], limits: &ScoringLimits) -> Result<Table, ScoringError> {
    let wrong = |problem: csv::Error| ScoringError::malformed("CSV", &problem);
    // A byte order mark, which Excel writes, is no part of the first name.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    within(0, names_in(body), limits)?;
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(body);
    let headers = reader.headers().map_err(wrong)?;
    // Before there is a place for each of them.
    within(1, headers.len(), limits)?;
    let names: Vec<String> = headers.iter().map(str::to_owned).collect();
    if names.is_empty() {
        return Err(ScoringError::malformed("CSV", &"it has no line of names"));
    }
    let mut columns: Vec<Vec<Json>> = vec![Vec::new(); names.len()];
    let (mut record, mut rows) = (StringRecord::new(), 0);
    while reader.read_record(&mut record).map_err(wrong)? {
        rows += 1;
        within(rows, names.len(), limits)?;
        if record.len() != names.len() {
            let (expected, found) = (format!("{} cells", names.len()), format!("{} cells", record.len()));
            return Err(ScoringError::Row { row: rows, expected, found });
        }
        for (column, cell) in columns.iter_mut().zip(&record) {
            column.push(Json::Text(cell.to_owned()));
        }
    }
    Table::new(names.into_iter().zip(columns).collect(), Reading::Lexical, limits)
}

/// How many names the first line has: the reader would keep the place of each, however many there are.
fn names_in(body: &[u8]) -> usize {
    let start = body.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(body.len());
    let (mut names, mut quoted) = (1, false);
    for byte in body.iter().skip(start) {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => names += 1,
            b'\r' | b'\n' if !quoted => break,
            _ => {}
        }
    }
    names
}
