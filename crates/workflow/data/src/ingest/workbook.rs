use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek};

use calamine::{Data, DataRef, ExcelDateTime, Ods, Reader, Sheet, SheetType, SheetVisible, Xls, Xlsb, Xlsx};

use super::archive;
use super::cell::Cell;
use super::header::Header;
use super::limits::Limits;
use super::nulls::NullTexts;
use super::piece::{PieceSummary, PieceWriter};
use super::source::WorkbookFormat;
use crate::DataError;

/// Reads one sheet of a workbook into a piece: the named one, or the first visible worksheet.
///
/// The first row with a cell is the header. Rows are numbered as the program that shows the workbook numbers them.
/// xlsx and xlsb sheets are streamed; xls and ods sheets are held in memory, which `limits` bounds.
pub(crate) fn workbook_read(
    name: &str,
    format: WorkbookFormat,
    source: File,
    target: File,
    reader: &SheetReader<'_>,
) -> Result<PieceSummary, DataError> {
    if format.is_zip() {
        archive::check_workbook(name, &source, reader.limits)?;
    } else {
        check_size(name, &source, reader.limits)?;
    }
    let source = BufReader::new(source);
    let mut rows = RowWriter::new(name, target, reader.nulls);
    let broken = |error: &dyn std::fmt::Display| table_error(name, format!("it is damaged or cut off ({error})"));
    match format {
        WorkbookFormat::Xlsx => {
            let mut book = Xlsx::new(source).map_err(|error| broken(&error))?;
            rows.sheet_choose(book.sheets_metadata(), reader.sheet)?;
            let mut cells = book.worksheet_cells_reader(&rows.sheet).map_err(|error| broken(&error))?;
            while let Some(cell) = cells.next_cell().map_err(|error| broken(&error))? {
                rows.put(cell.get_position(), Found::of(cell.get_value()))?;
            }
        }
        WorkbookFormat::Xlsb => {
            let mut book = Xlsb::new(source).map_err(|error| broken(&error))?;
            rows.sheet_choose(book.sheets_metadata(), reader.sheet)?;
            let mut cells = book.worksheet_cells_reader(&rows.sheet).map_err(|error| broken(&error))?;
            while let Some(cell) = cells.next_cell().map_err(|error| broken(&error))? {
                rows.put(cell.get_position(), Found::of(cell.get_value()))?;
            }
        }
        WorkbookFormat::Xls => whole_sheet::<Xls<_>, _>(source, reader.sheet, &mut rows)?,
        WorkbookFormat::Ods => whole_sheet::<Ods<_>, _>(source, reader.sheet, &mut rows)?,
    }
    rows.finish()
}

fn check_size(name: &str, source: &File, limits: &Limits) -> Result<(), DataError> {
    let size = source.metadata().map_err(DataError::stream(format!("look at `{name}`")))?.len();
    if size > limits.held_bytes {
        return Err(table_error(name, format!("it has {size} bytes, {} are accepted", limits.held_bytes)));
    }
    Ok(())
}

/// How a sheet is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SheetReader<'a> {
    pub(crate) sheet: Option<&'a str>,
    pub(crate) nulls: &'a NullTexts,
    pub(crate) limits: &'a Limits,
}

fn table_error(name: &str, reason: String) -> DataError {
    DataError::Table { file: name.to_owned(), reason }
}

fn whole_sheet<B, R>(source: R, sheet: Option<&str>, rows: &mut RowWriter<'_>) -> Result<(), DataError>
where
    R: Read + Seek,
    B: Reader<R>,
    B::Error: std::fmt::Display,
{
    let name = rows.name;
    let broken = |error: &dyn std::fmt::Display| table_error(name, format!("it is damaged or cut off ({error})"));
    let mut book = B::new(source).map_err(|error| broken(&error))?;
    rows.sheet_choose(book.sheets_metadata(), sheet)?;
    let range = book.worksheet_range(&rows.sheet).map_err(|error| broken(&error))?;
    let (top, left) = range.start().unwrap_or_default();
    for (row, column, data) in range.used_cells() {
        rows.put((top + row as u32, left + column as u32), Found::of_whole(data))?;
    }
    Ok(())
}

/// A cell as calamine found it.
enum Found<'a> {
    Empty,
    Error,
    Cell(Cell<'a>),
}

impl<'a> Found<'a> {
    fn of(data: &'a DataRef<'_>) -> Self {
        Self::Cell(match data {
            DataRef::Empty => return Self::Empty,
            DataRef::Error(_) => return Self::Error,
            DataRef::Int(number) => Cell::Number(*number as f64),
            DataRef::Float(number) => Cell::Number(*number),
            DataRef::Bool(value) => Cell::Boolean(*value),
            DataRef::DateTime(moment) => instant(*moment),
            DataRef::SharedString(text) => Cell::Text(Cow::Borrowed(text)),
            DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
                Cell::Text(Cow::Borrowed(text))
            }
        })
    }

    fn of_whole(data: &'a Data) -> Self {
        Self::Cell(match data {
            Data::Empty => return Self::Empty,
            Data::Error(_) => return Self::Error,
            Data::Int(number) => Cell::Number(*number as f64),
            Data::Float(number) => Cell::Number(*number),
            Data::Bool(value) => Cell::Boolean(*value),
            Data::DateTime(moment) => instant(*moment),
            Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => Cell::Text(Cow::Borrowed(text)),
        })
    }

    fn into_cell(self, nulls: &NullTexts) -> Cell<'a> {
        match self {
            Self::Cell(Cell::Text(text)) => nulls.cell(text),
            Self::Cell(cell) => cell,
            Self::Empty | Self::Error => Cell::Null,
        }
    }
}

/// Turns the cells of a sheet into rows of a piece.
struct RowWriter<'a> {
    name: &'a str,
    target: Option<File>,
    nulls: &'a NullTexts,
    sheet: String,
    notes: Vec<String>,
    header: HeaderRow,
    rows: Option<Rows>,
}

impl<'a> RowWriter<'a> {
    fn new(name: &'a str, target: File, nulls: &'a NullTexts) -> Self {
        let header = HeaderRow::default();
        Self { name, target: Some(target), nulls, sheet: String::new(), notes: Vec::new(), header, rows: None }
    }

    /// Picks the sheet to read, and notes which others there are.
    fn sheet_choose(&mut self, sheets: &[Sheet], wanted: Option<&str>) -> Result<(), DataError> {
        let tables: Vec<_> = sheets.iter().filter(|sheet| sheet.typ == SheetType::WorkSheet).collect();
        let chosen = match wanted {
            Some(wanted) => tables.iter().find(|sheet| sheet.name == wanted),
            None => tables.iter().find(|sheet| sheet.visible == SheetVisible::Visible),
        };
        let listed =
            |sheets: &[&Sheet]| sheets.iter().map(|sheet| format!("`{}`", sheet.name)).collect::<Vec<_>>().join(", ");
        let Some(chosen) = chosen else {
            let wanted = wanted.map_or_else(|| "visible worksheet".to_owned(), |wanted| format!("sheet `{wanted}`"));
            return Err(table_error(self.name, format!("it has no {wanted}; its sheets are {}", listed(&tables))));
        };
        let others: Vec<_> = tables.iter().filter(|sheet| sheet.name != chosen.name).copied().collect();
        if !others.is_empty() {
            self.notes.push(format!("sheets not read: {}", listed(&others)));
        }
        self.sheet.clone_from(&chosen.name);
        Ok(())
    }

    fn put(&mut self, (row, column): (u32, u32), found: Found<'_>) -> Result<(), DataError> {
        if matches!(found, Found::Empty) {
            return Ok(());
        }
        if self.header.takes(row) {
            self.header.put(row, column as usize, found);
            return Ok(());
        }
        let error = matches!(found, Found::Error);
        let cell = found.into_cell(self.nulls);
        let rows = self.rows()?;
        rows.errors += u64::from(error);
        rows.cell(row, column as usize, &cell)
    }

    fn rows(&mut self) -> Result<&mut Rows, DataError> {
        if let Some(target) = self.target.take() {
            let piece = PieceWriter::new(target, self.name, Header::new(std::mem::take(&mut self.header.texts)));
            self.rows = Some(Rows { piece, row: self.header.row, empty: 0, errors: 0 });
        }
        self.rows.as_mut().ok_or_else(|| table_error(self.name, "its rows were already ended".to_owned()))
    }

    fn finish(mut self) -> Result<PieceSummary, DataError> {
        self.rows()?;
        let Some(Rows { mut piece, empty, errors, .. }) = self.rows else {
            return Err(table_error(self.name, "its rows were never begun".to_owned()));
        };
        let summary = piece.summary();
        summary.sheet = Some(self.sheet);
        summary.empty_rows = empty;
        summary.error_cells = errors;
        summary.notes.append(&mut self.notes);
        piece.finish()
    }
}

/// The first row that has a cell.
#[derive(Default)]
struct HeaderRow {
    row: Option<u32>,
    texts: Vec<String>,
}

impl HeaderRow {
    fn takes(&self, row: u32) -> bool {
        self.row.is_none_or(|header| header == row)
    }

    fn put(&mut self, row: u32, column: usize, found: Found<'_>) {
        self.row = Some(row);
        if self.texts.len() <= column {
            self.texts.resize(column + 1, String::new());
        }
        if let Found::Cell(cell) = found {
            self.texts[column] = cell.text().unwrap_or_default().into_owned();
        }
    }
}

/// The rows after the header.
struct Rows {
    piece: PieceWriter,
    /// The row that was begun last, from 0.
    row: Option<u32>,
    empty: u64,
    errors: u64,
}

impl Rows {
    fn cell(&mut self, row: u32, column: usize, cell: &Cell<'_>) -> Result<(), DataError> {
        if self.row != Some(row) {
            let next = self.row.map_or(0, |before| before + 1);
            let Some(gap) = row.checked_sub(next) else {
                return Err(self.piece.broken(&format!("row {} comes after a later one", u64::from(row) + 1)));
            };
            self.empty += u64::from(gap);
            self.row = Some(row);
            self.piece.row_begin(u64::from(row) + 1)?;
        }
        self.piece.cell(column, cell)
    }
}

/// A moment; a time of day or a duration, which no type of ours holds, stays a text `HH:MM:SS`.
fn instant(moment: ExcelDateTime) -> Cell<'static> {
    if moment.is_duration() || (0.0..1.0).contains(&moment.as_f64()) {
        return Cell::Text(duration_text(moment.as_f64()).into());
    }
    match moment.as_datetime() {
        Some(datetime) => Cell::Instant(datetime.and_utc().timestamp_micros()),
        None => Cell::Number(moment.as_f64()),
    }
}

fn duration_text(days: f64) -> String {
    let millis = (days * 86_400_000.0).round() as i64;
    let sign = if millis < 0 { "-" } else { "" };
    let (seconds, millis) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    let clock = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if millis == 0 { clock } else { format!("{clock}.{millis:03}") }
}

#[cfg(test)]
mod tests {
    use super::duration_text;

    #[test]
    fn durations() {
        assert_eq!(duration_text(0.5), "12:00:00");
        assert_eq!(duration_text(1.25), "30:00:00");
        assert_eq!(duration_text(-1.0 / 86_400.0), "-00:00:01");
        assert_eq!(duration_text(0.25 / 86_400.0), "00:00:00.250");
    }
}
