use std::borrow::Cow;
use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufReader, Read, Seek};

use calamine::{Data, DataRef, ExcelDateTime, Ods, Reader, Sheet, SheetType, SheetVisible, Xls, Xlsb, Xlsx};

use super::archive;
use super::cell::Cell;
use super::format::TableFormat;
use super::header::Header;
use super::limits::{COLUMNS, Limits};
use super::nulls::NullTexts;
use super::piece::{PieceSummary, PieceTarget, PieceWriter};
use crate::error::{DAMAGED, MISTAKE};
use crate::{HeaderRow, IngestError, SheetName, Sheets};

const SHEETS: &str = "choose one of its sheets with `sheet` of the dataset, by its name or its number";
const HEADER: &str = "`header` of the dataset is the number of the row that names the columns, counted from 1";
const HELD: &str = "save it as .xlsx, which is read piece by piece, or raise `held_bytes` in `limits` of the dataset";

/// How the sheets of a workbook are to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkbookReader<'a> {
    pub(crate) header: HeaderRow,
    pub(crate) nulls: &'a NullTexts,
    pub(crate) limits: &'a Limits,
}

/// One sheet to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SheetTask {
    pub(crate) name: String,
    /// Whether rows get a first column with the sheet's name.
    pub(crate) named: bool,
    pub(crate) notes: Vec<String>,
}

impl WorkbookReader<'_> {
    /// Guards the workbook and finds the sheets that are wanted.
    pub(crate) fn sheets(
        self,
        name: &str,
        format: TableFormat,
        source: &File,
        wanted: &Sheets,
    ) -> Result<Vec<SheetTask>, IngestError> {
        self.check(name, format, source)?;
        let source = source.try_clone().map_err(IngestError::stream(format!("read `{name}`")))?;
        let sheets = match format {
            TableFormat::Xlsb => sheets_of::<Xlsb<_>>(name, source)?,
            TableFormat::Xls => sheets_of::<Xls<_>>(name, source)?,
            TableFormat::Ods => sheets_of::<Ods<_>>(name, source)?,
            _ => sheets_of::<Xlsx<_>>(name, source)?,
        };
        sheet_tasks(name, &sheets, wanted)
    }

    /// Guards the workbook, finds its first visible sheet or the one that is wanted, and reads it into a piece.
    pub(crate) fn read_one(
        self,
        name: &str,
        format: TableFormat,
        source: File,
        target: File,
        wanted: &Sheets,
    ) -> Result<PieceSummary, IngestError> {
        self.check(name, format, &source)?;
        let choose = |sheets: &[Sheet]| -> Result<SheetTask, IngestError> {
            let tasks = sheet_tasks(name, sheets, wanted)?;
            tasks.into_iter().next().ok_or_else(|| table_error(name, "no sheet of it is wanted".to_owned()))
        };
        self.read_chosen(name, format, source, target, choose)
    }

    /// Reads one sheet into a piece, of a workbook that [`WorkbookReader::sheets`] has guarded.
    ///
    /// Rows are numbered as the program that shows the workbook numbers them. xlsx and xlsb sheets are streamed; xls
    /// and ods sheets are held in memory, which `limits` bounds.
    pub(crate) fn read(
        self,
        name: &str,
        format: TableFormat,
        source: File,
        target: File,
        task: &SheetTask,
    ) -> Result<PieceSummary, IngestError> {
        self.read_chosen(name, format, source, target, |_| Ok(task.clone()))
    }

    fn check(self, name: &str, format: TableFormat, source: &File) -> Result<(), IngestError> {
        if format.is_zip() {
            archive::check_workbook(name, source, self.limits)
        } else {
            check_size(name, source, self.limits)
        }
    }

    fn read_chosen(
        self,
        name: &str,
        format: TableFormat,
        source: File,
        target: File,
        choose: impl FnOnce(&[Sheet]) -> Result<SheetTask, IngestError>,
    ) -> Result<PieceSummary, IngestError> {
        let mut source = BufReader::new(source);
        source.rewind().map_err(IngestError::stream(format!("read `{name}`")))?;
        let broken = |error: &dyn std::fmt::Display| broken(name, error);
        match format {
            TableFormat::Xlsb => {
                let mut book = Xlsb::new(source).map_err(|error| broken(&error))?;
                let mut rows = RowWriter::new(name, target, self, choose(book.sheets_metadata())?);
                let mut cells = book.worksheet_cells_reader(&rows.task.name).map_err(|error| broken(&error))?;
                while let Some(cell) = cells.next_cell().map_err(|error| broken(&error))? {
                    rows.put(cell.get_position(), Found::of(cell.get_value()))?;
                }
                rows.finish()
            }
            TableFormat::Xls => self.whole_sheet::<Xls<_>, _>(name, source, target, choose),
            TableFormat::Ods => self.whole_sheet::<Ods<_>, _>(name, source, target, choose),
            _ => {
                let mut book = Xlsx::new(source).map_err(|error| broken(&error))?;
                let mut rows = RowWriter::new(name, target, self, choose(book.sheets_metadata())?);
                let mut cells = book.worksheet_cells_reader(&rows.task.name).map_err(|error| broken(&error))?;
                while let Some(cell) = cells.next_cell().map_err(|error| broken(&error))? {
                    rows.put(cell.get_position(), Found::of(cell.get_value()))?;
                }
                rows.finish()
            }
        }
    }

    fn whole_sheet<B, R>(
        self,
        name: &str,
        source: R,
        target: File,
        choose: impl FnOnce(&[Sheet]) -> Result<SheetTask, IngestError>,
    ) -> Result<PieceSummary, IngestError>
    where
        R: Read + Seek,
        B: Reader<R>,
        B::Error: std::fmt::Display,
    {
        let mut book = B::new(source).map_err(|error| broken(name, &error))?;
        let mut rows = RowWriter::new(name, target, self, choose(book.sheets_metadata())?);
        let range = book.worksheet_range(&rows.task.name).map_err(|error| broken(name, &error))?;
        let (top, left) = range.start().unwrap_or_default();
        for (row, column, data) in range.used_cells() {
            rows.put((top + row as u32, left + column as u32), Found::of_whole(data))?;
        }
        rows.finish()
    }
}

fn check_size(name: &str, source: &File, limits: &Limits) -> Result<(), IngestError> {
    let size = source.metadata().map_err(IngestError::stream(format!("look at `{name}`")))?.len();
    if size > limits.held_bytes {
        let reason =
            format!("it has {size} bytes, {} are accepted of workbooks that are held whole", limits.held_bytes);
        return Err(IngestError::table(name, reason, HELD));
    }
    Ok(())
}

fn table_error(name: &str, reason: String) -> IngestError {
    IngestError::table(name, reason, MISTAKE)
}

fn broken(name: &str, error: &dyn std::fmt::Display) -> IngestError {
    IngestError::table(name, format!("it is damaged or cut off ({error})"), DAMAGED)
}

fn sheets_of<B>(name: &str, source: File) -> Result<Vec<Sheet>, IngestError>
where
    B: Reader<BufReader<File>>,
    B::Error: std::fmt::Display,
{
    let mut source = BufReader::new(source);
    source.rewind().map_err(IngestError::stream(format!("read `{name}`")))?;
    let book = B::new(source).map_err(|error| broken(name, &error))?;
    Ok(book.sheets_metadata().to_vec())
}

/// Picks the sheets to read, and notes which others there are.
fn sheet_tasks(name: &str, sheets: &[Sheet], wanted: &Sheets) -> Result<Vec<SheetTask>, IngestError> {
    let tables: Vec<_> = sheets.iter().filter(|sheet| sheet.typ == SheetType::WorkSheet).collect();
    let visible = || tables.iter().copied().filter(|sheet| sheet.visible == SheetVisible::Visible);
    let missing = |what: String| {
        IngestError::table(name, format!("it has no {what}; its sheets are {}", listed(&tables)), SHEETS)
    };
    let chosen: Vec<&Sheet> = match wanted {
        Sheets::First => visible().take(1).collect(),
        Sheets::All => visible().collect(),
        Sheets::Chosen(names) => {
            let found = names.iter().map(|wanted| match wanted {
                SheetName::Name(name) => {
                    let found = tables.iter().copied().find(|sheet| sheet.name == *name);
                    found.ok_or_else(|| missing(format!("sheet `{name}`")))
                }
                SheetName::Number(number) => {
                    let found = number.checked_sub(1).and_then(|place| tables.get(place).copied());
                    found.ok_or_else(|| missing(format!("sheet number {number}")))
                }
            });
            found.collect::<Result<_, _>>()?
        }
    };
    if chosen.is_empty() {
        return Err(missing("visible worksheet".to_owned()));
    }
    let others: Vec<_> = tables.iter().filter(|sheet| !chosen.contains(sheet)).copied().collect();
    let notes = if others.is_empty() { Vec::new() } else { vec![format!("sheets not read: {}", listed(&others))] };
    let named = match wanted {
        Sheets::First => false,
        Sheets::All => true,
        Sheets::Chosen(names) => names.len() > 1,
    };
    let task = |sheet: &Sheet| SheetTask { name: sheet.name.clone(), named, notes: notes.clone() };
    Ok(chosen.into_iter().map(task).collect())
}

fn listed(sheets: &[&Sheet]) -> String {
    sheets.iter().map(|sheet| format!("`{}`", sheet.name)).collect::<Vec<_>>().join(", ")
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
            Self::Cell(Cell::Text(text)) => nulls.cell(text, false),
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
    header: HeaderCells,
    task: SheetTask,
    rows: Option<Rows>,
}

impl<'a> RowWriter<'a> {
    fn new(name: &'a str, target: File, reader: WorkbookReader<'a>, task: SheetTask) -> Self {
        let header = HeaderCells::new(reader.header);
        Self { name, target: Some(target), nulls: reader.nulls, header, task, rows: None }
    }

    fn put(&mut self, (row, column): (u32, u32), found: Found<'_>) -> Result<(), IngestError> {
        if matches!(found, Found::Empty) {
            return Ok(());
        }
        // Workbooks have no columns beyond this one; a file that says so is damaged, and would take all memory.
        if column as usize >= COLUMNS {
            let reason = format!("row {} has a cell in column {column}, {COLUMNS} are accepted", u64::from(row) + 1);
            return Err(table_error(self.name, reason));
        }
        match self.header.place(row) {
            HeaderPlace::Above => {
                self.header.above = true;
                return Ok(());
            }
            HeaderPlace::Here => {
                self.header.put(row, column as usize, found);
                return Ok(());
            }
            HeaderPlace::Below => {}
        }
        let error = matches!(found, Found::Error);
        let cell = found.into_cell(self.nulls);
        let rows = self.rows()?;
        rows.errors += u64::from(error);
        rows.cell(row, column as usize, &cell)
    }

    fn rows(&mut self) -> Result<&mut Rows, IngestError> {
        if let Some(target) = self.target.take() {
            let mut texts = std::mem::take(&mut self.header.texts);
            let sheet = self.task.named.then(|| self.task.name.clone());
            if sheet.is_some() {
                texts.insert(0, SHEET_COLUMN.to_owned());
            }
            let piece = PieceWriter::new(PieceTarget::file(target), self.name, Header::new(texts));
            let (plain, row) = (self.header.row == HeaderRow::Absent, self.header.found);
            self.rows = Some(Rows { piece, sheet, plain, row, empty: 0, errors: 0 });
        }
        self.rows.as_mut().ok_or_else(|| table_error(self.name, "its rows were already ended".to_owned()))
    }

    fn finish(mut self) -> Result<PieceSummary, IngestError> {
        if let (HeaderRow::Row(row), None) = (self.header.row, self.header.found) {
            let reason = format!("the header should be in row {row} of sheet `{}`, which is empty", self.task.name);
            return Err(IngestError::table(self.name, reason, HEADER));
        }
        self.rows()?;
        let Some(Rows { mut piece, empty, errors, .. }) = self.rows else {
            return Err(table_error(self.name, "its rows were never begun".to_owned()));
        };
        let summary = piece.summary();
        summary.sheet = Some(self.task.name);
        summary.empty_rows = empty;
        summary.error_cells = errors;
        summary.notes.append(&mut self.task.notes);
        if self.header.above {
            summary.notes.push("what stands above the header was passed over".to_owned());
        }
        piece.finish()
    }
}

/// The column that says which sheet a row comes from.
const SHEET_COLUMN: &str = "sheet";

/// The cells of the header, which comes before all rows.
struct HeaderCells {
    row: HeaderRow,
    /// The row that it was found in, from 0.
    found: Option<u32>,
    /// Whether a cell stands above it.
    above: bool,
    texts: Vec<String>,
}

enum HeaderPlace {
    Above,
    Here,
    Below,
}

impl HeaderCells {
    fn new(row: HeaderRow) -> Self {
        Self { row, found: None, above: false, texts: Vec::new() }
    }

    fn place(&self, row: u32) -> HeaderPlace {
        match (self.row, self.found) {
            (_, Some(found)) if found == row => HeaderPlace::Here,
            // One before the header is out of order, which the rows find.
            (HeaderRow::Absent, _) | (_, Some(_)) => HeaderPlace::Below,
            (HeaderRow::First, None) => HeaderPlace::Here,
            (HeaderRow::Row(wanted), None) => match (u64::from(row) + 1).cmp(&wanted) {
                Ordering::Less => HeaderPlace::Above,
                Ordering::Equal => HeaderPlace::Here,
                Ordering::Greater => HeaderPlace::Below,
            },
        }
    }

    fn put(&mut self, row: u32, column: usize, found: Found<'_>) {
        self.found = Some(row);
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
    piece: PieceWriter<'static>,
    /// What goes into the first column of every row.
    sheet: Option<String>,
    /// Whether columns have no names, so that it is not worth a note.
    plain: bool,
    /// The row that was begun last, from 0.
    row: Option<u32>,
    empty: u64,
    errors: u64,
}

impl Rows {
    fn cell(&mut self, row: u32, column: usize, cell: &Cell<'_>) -> Result<(), IngestError> {
        if self.row != Some(row) {
            let next = self.row.map_or(0, |before| before + 1);
            let Some(gap) = row.checked_sub(next) else {
                return Err(self.piece.broken(&format!("row {} comes after a later one", u64::from(row) + 1)));
            };
            self.empty += u64::from(gap);
            self.row = Some(row);
            self.piece.row_begin(u64::from(row) + 1)?;
            if let Some(sheet) = &self.sheet {
                self.piece.cell(0, &Cell::Text(Cow::Borrowed(sheet)))?;
            }
        }
        let column = column + usize::from(self.sheet.is_some());
        if self.plain {
            self.piece.name_until(column);
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
