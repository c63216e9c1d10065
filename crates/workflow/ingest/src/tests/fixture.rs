use std::io::{Cursor, Write as _};
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use ropewalk_store::{Store, TreeEntry, files};
use ropewalk_types::Digest;
use rust_xlsxwriter::{ExcelDateTime, Format, Formula, Workbook};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::{IngestError, IngestSettings, Ingested, NoProgress, StoreCheckpoints, ingest, parts};

/// A project folder with a store, both gone when dropped.
pub(crate) struct Project {
    directory: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Project {
    pub(crate) async fn new() -> Self {
        Self::with_store(Store::open("memory:").await.unwrap())
    }

    pub(crate) fn with_store(store: Store) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = store.with_cache(directory.path().join("cache"));
        Self { directory, store }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.path().join("scratch")
    }

    pub(crate) fn settings(&self, name: &str, bytes: &[u8]) -> IngestSettings {
        self.write(name, bytes);
        IngestSettings::new(name, self.scratch())
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join(name);
        files::create_directories(path.parent().unwrap()).unwrap();
        files::write_atomic(&path, bytes).unwrap();
    }

    pub(crate) async fn run(&self, settings: &IngestSettings) -> Result<Ingested, IngestError> {
        let checkpoints = StoreCheckpoints::new(self.store.clone());
        ingest(settings, &self.path(), &self.store, &checkpoints, &NoProgress).await
    }

    pub(crate) async fn ingest(&self, name: &str, bytes: &[u8]) -> Result<Ingested, IngestError> {
        self.run(&self.settings(name, bytes)).await
    }

    /// The rows of a dataset version as texts, nulls as empty ones.
    pub(crate) async fn rows(&self, tree: &Digest) -> Vec<String> {
        let mut rows = Vec::new();
        for (digest, _) in parts(&self.store, tree).await.unwrap() {
            rows.extend(texts(&self.batches(&digest).await));
        }
        rows
    }

    async fn batches(&self, parquet: &Digest) -> Vec<RecordBatch> {
        let file = files::open(&self.store.cached_file(parquet).await.unwrap()).unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        reader.build().unwrap().collect::<Result<Vec<_>, _>>().unwrap()
    }

    /// The rows of the quarantine as texts.
    pub(crate) async fn quarantine(&self, tree: &Digest) -> Vec<String> {
        let tree = self.store.tree_get(tree).await.unwrap();
        let Some(TreeEntry::File { digest, .. }) = tree.get("quarantine.parquet") else { return Vec::new() };
        texts(&self.batches(digest).await)
    }
}

/// The rows of batches, cells joined by bars.
pub(crate) fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|array| ArrayFormatter::try_new(array, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.push(cells.join("|"));
        }
    }
    rows
}

/// A zip of files.
pub(crate) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A tar of files, ending as it should.
pub(crate) fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A tar with one entry, whatever its name and kind.
pub(crate) fn tar_raw(name: &[u8], kind: tar::EntryType, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, bytes).unwrap();
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// A Parquet file of one batch.
pub(crate) fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

/// What a test puts into a workbook.
#[derive(Clone, Copy)]
pub(crate) enum Put<'a> {
    Text(&'a str),
    Number(f64),
    Truth(bool),
    /// Days since 1899-12-30, shown as a date and time.
    Moment(f64),
    /// Days, shown as a time of day.
    Clock(f64),
    NotAvailable,
    Nothing,
}

/// A workbook of one sheet `data`.
pub(crate) fn workbook(rows: &[&[Put<'_>]]) -> Vec<u8> {
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet().set_name("data").unwrap();
    let moment = Format::new().set_num_format("yyyy-mm-dd hh:mm");
    let clock = Format::new().set_num_format("hh:mm:ss");
    for (row, cells) in (0..).zip(rows) {
        for (column, cell) in (0..).zip(*cells) {
            match cell {
                Put::Text(text) => sheet.write_string(row, column, *text),
                Put::Number(number) => sheet.write_number(row, column, *number),
                Put::Truth(value) => sheet.write_boolean(row, column, *value),
                Put::Moment(serial) => {
                    let value = ExcelDateTime::from_serial_datetime(*serial).unwrap();
                    sheet.write_datetime_with_format(row, column, &value, &moment)
                }
                Put::Clock(serial) => sheet.write_number_with_format(row, column, *serial, &clock),
                Put::NotAvailable => sheet.write_formula(row, column, Formula::new("=NA()").set_result("#N/A")),
                Put::Nothing => continue,
            }
            .unwrap();
        }
    }
    workbook.save_to_buffer().unwrap()
}

/// A workbook of `rows` rows of id, name, price.
pub(crate) fn flights(first: u32, rows: u32) -> Vec<u8> {
    let names: Vec<_> = (0..rows).map(|row| format!("name{}", row % 7)).collect();
    let cells: Vec<[Put<'_>; 3]> = (0..rows)
        .map(|row| {
            let id = f64::from(first + row);
            [Put::Number(id), Put::Text(&names[row as usize]), Put::Number(id / 4.0)]
        })
        .collect();
    let header = [Put::Text("id"), Put::Text("name"), Put::Text("price")];
    let mut all: Vec<&[Put<'_>]> = vec![&header];
    all.extend(cells.iter().map(<[Put<'_>; 3]>::as_slice));
    workbook(&all)
}

/// A workbook written by hand, for what no program writes: `sheet` is the content of `sheetData`.
pub(crate) fn raw_workbook(sheet: &str, date1904: bool) -> Vec<u8> {
    let properties = if date1904 { r#"<workbookPr date1904="1"/>"# } else { "" };
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let book = format!(
        r#"<workbook xmlns="{main}" xmlns:r="{relations}">{properties}<sheets><sheet name="data" sheetId="1" r:id="r1"/></sheets></workbook>"#
    );
    let links = format!(
        r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{relations}/styles" Target="styles.xml"/></Relationships>"#
    );
    let root = format!(
        r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#
    );
    let styles = format!(
        r#"<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs></styleSheet>"#
    );
    let sheet = format!(r#"<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData></worksheet>"#);
    zip(&[
        ("_rels/.rels", root.as_bytes()),
        ("xl/workbook.xml", book.as_bytes()),
        ("xl/_rels/workbook.xml.rels", links.as_bytes()),
        ("xl/styles.xml", styles.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
    ])
}
