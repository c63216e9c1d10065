use std::fs::File;
use std::io::{Read as _, Seek as _};

use crate::DataError;

/// What a file's name says that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceKind {
    Archive,
    Table(TableFormat),
}

/// A file that holds one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableFormat {
    Workbook(WorkbookFormat),
    /// Separated values; `tab` when the name promises tabs.
    Delimited {
        tab: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkbookFormat {
    Xlsx,
    Xlsb,
    Xls,
    Ods,
}

impl WorkbookFormat {
    /// Whether the format is a zip of parts.
    pub(crate) const fn is_zip(self) -> bool {
        !matches!(self, Self::Xls)
    }
}

/// The kind that the extension of `name` says; otherwise why it is no table.
pub(crate) fn kind_of_name(name: &str) -> Result<SourceKind, &'static str> {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    if name.starts_with("__MACOSX/") || name.contains("/__MACOSX/") {
        return Err("metadata of macOS");
    }
    if file.starts_with("~$") {
        return Err("lock file of a program that has the workbook open");
    }
    if file.starts_with('.') {
        return Err("hidden file");
    }
    let extension = file.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    Ok(match extension.as_deref() {
        Some("zip") => SourceKind::Archive,
        Some("xlsx" | "xlsm") => SourceKind::Table(TableFormat::Workbook(WorkbookFormat::Xlsx)),
        Some("xlsb") => SourceKind::Table(TableFormat::Workbook(WorkbookFormat::Xlsb)),
        Some("xls") => SourceKind::Table(TableFormat::Workbook(WorkbookFormat::Xls)),
        Some("ods") => SourceKind::Table(TableFormat::Workbook(WorkbookFormat::Ods)),
        Some("csv") => SourceKind::Table(TableFormat::Delimited { tab: false }),
        Some("tsv") => SourceKind::Table(TableFormat::Delimited { tab: true }),
        Some(_) => return Err("not a workbook, a CSV or a TSV file by its name"),
        None => return Err("its name has no extension"),
    })
}

const ZIP: &[u8] = b"PK\x03\x04";
const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// Compares the first bytes of a file with what its name says, so that the error names the mistake.
pub(crate) fn check_content(name: &str, format: TableFormat, file: &mut File) -> Result<(), DataError> {
    let mut start = Vec::new();
    let failed = || DataError::stream(format!("read `{name}`"));
    file.by_ref().take(8).read_to_end(&mut start).map_err(failed())?;
    file.rewind().map_err(failed())?;
    let reason = match format {
        TableFormat::Workbook(workbook) if workbook.is_zip() => match start.as_slice() {
            start if start.starts_with(ZIP) => return Ok(()),
            b"" => "it is empty",
            start if start.starts_with(OLE) => {
                "it is protected by a password, or an old .xls workbook under another name"
            }
            _ => "it is no workbook: it does not begin as one",
        },
        TableFormat::Workbook(_) if start.starts_with(ZIP) => "it is an .xlsx or .ods workbook under another name",
        TableFormat::Delimited { .. } if start.starts_with(ZIP) => "it is a workbook or an archive, not text",
        TableFormat::Delimited { .. } if start.starts_with(OLE) => "it is an old .xls workbook, not text",
        TableFormat::Workbook(_) | TableFormat::Delimited { .. } => return Ok(()),
    };
    Err(DataError::Table { file: name.to_owned(), reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let xlsx = SourceKind::Table(TableFormat::Workbook(WorkbookFormat::Xlsx));
        assert_eq!(kind_of_name("2013/January.XLSX"), Ok(xlsx));
        assert_eq!(kind_of_name("x.zip"), Ok(SourceKind::Archive));
        for name in ["__MACOSX/a.xlsx", "a/~$b.xlsx", "a/.b.csv", "README", "a.pdf"] {
            assert!(kind_of_name(name).is_err(), "{name}");
        }
    }
}
