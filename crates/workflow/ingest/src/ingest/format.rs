use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _};

use serde::{Deserialize, Serialize};

use crate::IngestError;

/// How a file holds a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// Separated values (RFC 4180, with any delimiter).
    Csv,
    /// Values separated by tabs.
    Tsv,
    /// One JSON document (RFC 8259): an array of objects, one object, or objects one after the other.
    Json,
    /// JSON Lines: an object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, as a file or as a stream.
    Arrow,
    /// Office Open XML workbook.
    Xlsx,
    /// Binary workbook of Excel 2007 and later.
    Xlsb,
    /// Binary workbook of Excel 97.
    Xls,
    /// OpenDocument spreadsheet.
    Ods,
}

impl TableFormat {
    /// The name used in settings and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Json => "json",
            Self::JsonLines => "jsonlines",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Xlsx => "xlsx",
            Self::Xlsb => "xlsb",
            Self::Xls => "xls",
            Self::Ods => "ods",
        }
    }

    /// Whether it is read sheet by sheet.
    pub(crate) const fn is_workbook(self) -> bool {
        matches!(self, Self::Xlsx | Self::Xlsb | Self::Xls | Self::Ods)
    }

    /// Whether it is a workbook that is a zip of parts.
    pub(crate) const fn is_zip(self) -> bool {
        matches!(self, Self::Xlsx | Self::Xlsb | Self::Ods)
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::Json | Self::JsonLines)
    }
}

impl fmt::Display for TableFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a file's name says that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamedKind {
    pub(crate) kind: FileKind,
    /// How the whole file is packed.
    pub(crate) compression: Option<Compression>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Table(TableFormat),
    Archive(ArchiveFormat),
    Media,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveFormat {
    Zip,
    Tar,
}

/// How the bytes of one file are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878.
    Zstandard,
}

const IMAGES: [&str; 16] = [
    "avif", "bmp", "dds", "exr", "gif", "heic", "heif", "ico", "jpeg", "jpg", "jxl", "png", "psd", "tif", "tiff",
    "webp",
];
const AUDIO: [&str; 16] =
    ["aac", "aif", "aiff", "ape", "flac", "m4a", "m4b", "mka", "mp2", "mp3", "mpc", "oga", "ogg", "opus", "spx", "wav"];

/// What is to be found out about a file that is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaKind {
    Image,
    Audio,
}

/// Whether the name is that of an image or of audio.
pub(crate) fn media_kind(name: &str) -> Option<MediaKind> {
    let file = file_name(name).to_ascii_lowercase();
    file.rsplit_once('.').and_then(|(_, extension)| media_kind_of(extension))
}

fn media_kind_of(extension: &str) -> Option<MediaKind> {
    if IMAGES.contains(&extension) {
        Some(MediaKind::Image)
    } else if AUDIO.contains(&extension) {
        Some(MediaKind::Audio)
    } else {
        None
    }
}

/// The kind that the extension of `name` says; otherwise why it is nothing to read. `declared` goes before the name,
/// except for archives.
pub(crate) fn kind_of_name(name: &str, declared: Option<TableFormat>) -> Result<NamedKind, &'static str> {
    match aside(name) {
        Some(reason) => Err(reason),
        None => kind_of_file(name, declared),
    }
}

/// [`kind_of_name`] of a file that somebody names, wherever it lies and though it is hidden.
pub(crate) fn kind_of_file(name: &str, declared: Option<TableFormat>) -> Result<NamedKind, &'static str> {
    let file = file_name(name).to_ascii_lowercase();
    let (stem, compression) = packed(&file);
    let kind = kind_of_extension(stem.rsplit_once('.').map(|(_, extension)| extension));
    match (kind, declared) {
        (Ok(FileKind::Archive(archive)), _) => Ok(NamedKind { kind: FileKind::Archive(archive), compression }),
        (_, Some(format)) => Ok(NamedKind { kind: FileKind::Table(format), compression }),
        (kind, None) => Ok(NamedKind { kind: kind?, compression }),
    }
}

fn file_name(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// Why a file of this name is no data at all, if it is none.
pub(crate) fn aside(name: &str) -> Option<&'static str> {
    let file = file_name(name);
    if name.starts_with("__MACOSX/") || name.contains("/__MACOSX/") {
        Some("metadata of macOS")
    } else if file.starts_with("~$") {
        Some("lock file of a program that has the workbook open")
    } else if name.split(['/', '\\']).any(|part| part.starts_with('.') && !matches!(part, "." | "..")) {
        Some("hidden file")
    } else {
        None
    }
}

fn packed(file: &str) -> (&str, Option<Compression>) {
    let endings = [(".gz", Compression::Gzip), (".zst", Compression::Zstandard), (".zstd", Compression::Zstandard)];
    for (ending, compression) in endings {
        if let Some(stem) = file.strip_suffix(ending) {
            return (stem, Some(compression));
        }
    }
    match file.rsplit_once('.') {
        Some((_, "tgz")) => (".tar", Some(Compression::Gzip)),
        Some((_, "tzst" | "tzstd")) => (".tar", Some(Compression::Zstandard)),
        _ => (file, None),
    }
}

fn kind_of_extension(extension: Option<&str>) -> Result<FileKind, &'static str> {
    Ok(FileKind::Table(match extension {
        Some("csv") => TableFormat::Csv,
        Some("tsv") => TableFormat::Tsv,
        Some("json") => TableFormat::Json,
        Some("jsonl" | "ndjson") => TableFormat::JsonLines,
        Some("parquet" | "pq") => TableFormat::Parquet,
        Some("arrow" | "arrows" | "feather" | "ipc") => TableFormat::Arrow,
        Some("xlsx" | "xlsm") => TableFormat::Xlsx,
        Some("xlsb") => TableFormat::Xlsb,
        Some("xls") => TableFormat::Xls,
        Some("ods") => TableFormat::Ods,
        Some("zip") => return Ok(FileKind::Archive(ArchiveFormat::Zip)),
        Some("tar") => return Ok(FileKind::Archive(ArchiveFormat::Tar)),
        Some(other) if media_kind_of(other).is_some() => return Ok(FileKind::Media),
        Some(_) => return Err("nothing that is read, by its name"),
        None => return Err("its name has no extension"),
    }))
}

const ZIP: &[u8] = b"PK\x03\x04";
const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
const PARQUET: &[u8] = b"PAR1";
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTANDARD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Compares the first bytes of a file with what its name says, so that the error names the mistake.
pub(crate) fn check_content(name: &str, format: TableFormat, file: &mut File) -> Result<(), IngestError> {
    let mut start = Vec::new();
    let failed = || IngestError::stream(format!("read `{name}`"));
    file.by_ref().take(64).read_to_end(&mut start).map_err(failed())?;
    file.rewind().map_err(failed())?;
    match mistaken(format, &start) {
        None => Ok(()),
        Some((reason, hint)) => Err(IngestError::table(name, reason, hint)),
    }
}

const NAME: &str = "give the file the ending of what it is, or declare its `format`";
const NOTHING: &str = "look where it was made or downloaded: nothing has arrived";
const PASSWORD: &str = "save it without a password; an old workbook has to be called .xls";
const PAGE: &str = "look into it: a server may have sent a page to log in, or an error, in place of the file";
const EXPORT: &str = "look at its beginning: what programs export under this ending is often CSV or HTML; open it and save it \
                      again, or give it the ending of what it is";

/// Whether a text begins as HTML does.
fn is_page(start: &[u8]) -> bool {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word));
    begins(b"<!doctype html") || begins(b"<html")
}

fn mistaken(format: TableFormat, start: &[u8]) -> Option<(&'static str, &'static str)> {
    let begins = |magic: &[u8]| start.starts_with(magic);
    if format.is_zip() {
        return match start {
            _ if begins(ZIP) => None,
            b"" => Some(("it is empty", NOTHING)),
            _ if begins(OLE) => {
                Some(("it is protected by a password, or an old .xls workbook under another name", PASSWORD))
            }
            _ => Some(("it is no workbook: it does not begin as one", EXPORT)),
        };
    }
    match format {
        TableFormat::Parquet | TableFormat::Arrow | TableFormat::Xls if start.is_empty() => {
            Some(("it is empty", NOTHING))
        }
        TableFormat::Parquet if begins(b"PARE") => {
            Some(("it is encrypted Parquet, which is not read", "write it again without encryption"))
        }
        TableFormat::Parquet if !begins(PARQUET) => Some(("it is no Parquet file: it does not begin as one", NAME)),
        TableFormat::Xls if begins(ZIP) => Some(("it is an .xlsx or .ods workbook under another name", NAME)),
        TableFormat::Xls if start.trim_ascii_start().starts_with(b"<") || begins(b"\xef\xbb\xbf<") => {
            Some(("it is HTML or XML, not a workbook", EXPORT))
        }
        TableFormat::Xls if start.iter().take(8).all(|byte| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~')) => {
            Some(("it is text, not a workbook", EXPORT))
        }
        _ if !format.is_text() => None,
        _ if is_page(start) => Some(("it is a page of the web (HTML), not data", PAGE)),
        _ if begins(ZIP) => Some(("it is a workbook or an archive, not text", NAME)),
        _ if begins(OLE) => Some(("it is an old .xls workbook, not text", NAME)),
        _ if begins(PARQUET) => Some(("it is a Parquet file, not text", NAME)),
        _ if begins(GZIP) => Some(("it is packed by gzip; its name should end in .gz", NAME)),
        _ if begins(ZSTANDARD) => Some(("it is packed by zstd; its name should end in .zst", NAME)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Option<(TableFormat, Option<Compression>)> {
        match kind_of_name(name, None) {
            Ok(NamedKind { kind: FileKind::Table(format), compression }) => Some((format, compression)),
            _ => None,
        }
    }

    #[test]
    fn kinds() {
        assert_eq!(table("2013/January.XLSX"), Some((TableFormat::Xlsx, None)));
        assert_eq!(table("a.b.csv.GZ"), Some((TableFormat::Csv, Some(Compression::Gzip))));
        assert_eq!(table("a.jsonl.zst"), Some((TableFormat::JsonLines, Some(Compression::Zstandard))));
        for name in ["__MACOSX/a.xlsx", "a/~$b.xlsx", "a/.b.csv", "README", "a.pdf", "csv", "a.gz"] {
            assert!(kind_of_name(name, None).is_err(), "{name}");
        }
        assert_eq!(kind_of_name("x.png", None).unwrap().kind, FileKind::Media);
    }

    #[test]
    fn pages_of_the_web_are_no_tables() {
        for start in ["<!DOCTYPE html>\n<html>", "\u{feff}\n <html lang=\"en\">", "<HTML>"] {
            assert!(mistaken(TableFormat::Csv, start.as_bytes()).unwrap().0.contains("HTML"), "{start}");
        }
        for start in ["html,b", "<b>,c", ""] {
            assert_eq!(mistaken(TableFormat::Csv, start.as_bytes()), None, "{start}");
        }
    }

    #[test]
    fn archives() {
        for (name, format, compression) in [
            ("x.zip", ArchiveFormat::Zip, None),
            ("x.tar", ArchiveFormat::Tar, None),
            ("x.tar.gz", ArchiveFormat::Tar, Some(Compression::Gzip)),
            ("x.tgz", ArchiveFormat::Tar, Some(Compression::Gzip)),
            ("x.tar.zst", ArchiveFormat::Tar, Some(Compression::Zstandard)),
        ] {
            let kind = NamedKind { kind: FileKind::Archive(format), compression };
            assert_eq!(kind_of_name(name, None), Ok(kind), "{name}");
            assert_eq!(kind_of_name(name, Some(TableFormat::Csv)), Ok(kind), "{name}");
        }
    }

    #[test]
    fn a_declared_format_goes_before_the_name() {
        let declared = kind_of_name("export", Some(TableFormat::Csv)).unwrap();
        assert_eq!(declared, NamedKind { kind: FileKind::Table(TableFormat::Csv), compression: None });
        let packed = kind_of_name("export.txt.gz", Some(TableFormat::Tsv)).unwrap();
        assert_eq!(packed.compression, Some(Compression::Gzip));
        assert!(kind_of_name(".hidden", Some(TableFormat::Csv)).is_err());
    }
}
