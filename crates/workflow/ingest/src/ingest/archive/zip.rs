use std::fs::File;
use std::io::{self, Read, Seek, Write};

use ropewalk_types::Digest;
use zip::ZipArchive;
use zip::result::ZipError;

use super::super::limits::Limits;
use super::{Budget, Guard, HashingWriter, damaged, refused, too_much, unpack_error};
use crate::IngestError;

/// An entry of a zip archive that is safe to unpack.
#[derive(Clone, Debug)]
pub(crate) struct ZipEntry {
    pub(crate) name: String,
    index: usize,
    /// Its bytes, as it declares them; unpacking holds it to that.
    pub(crate) size: u64,
}

fn opened<R: Read + Seek>(archive: &str, reader: R) -> Result<ZipArchive<R>, IngestError> {
    ZipArchive::new(reader).map_err(|error| match error {
        ZipError::Io(source) => IngestError::Stream { action: format!("read `{archive}`"), source },
        error => damaged(archive, format!("it is no whole zip archive ({error})")),
    })
}

/// Opens an archive and lists its files, sorted by name, after every guard that needs no unpacking: names that lead
/// outside, links, encryption, names used twice, entries that overlap, and sizes, counts and ratios over `limits`.
pub(crate) fn zip_list<R: Read + Seek>(
    archive: &str,
    reader: R,
    limits: &Limits,
    budget: &mut Budget,
) -> Result<(ZipArchive<R>, Vec<ZipEntry>), IngestError> {
    let mut zip = opened(archive, reader)?;
    guard_whole(archive, &mut zip, limits)?;
    let mut guard = Guard::new(archive, limits, budget);
    let mut entries = Vec::new();
    for index in 0..zip.len() {
        let entry = zip.by_index_data(index).map_err(|error| refused(archive, error.to_string()))?;
        let name = entry.name().map_err(|error| guard.refused(format!("an entry's name is not text ({error})")))?;
        let name = name.into_owned();
        guard.entry(&name)?;
        if entry.is_dir() {
            continue;
        }
        if entry.is_symlink() {
            return Err(guard.refused(format!("entry `{name}` is a symbolic link")));
        }
        if entry.encrypted() {
            return Err(guard.refused(format!("entry `{name}` is encrypted")));
        }
        guard.file(&name, entry.size(), Some(entry.compressed_size()))?;
        entries.push(ZipEntry { name, index, size: entry.size() });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((zip, entries))
}

fn guard_whole<R: Read + Seek>(archive: &str, zip: &mut ZipArchive<R>, limits: &Limits) -> Result<(), IngestError> {
    if zip.has_duplicate_names() {
        return Err(refused(archive, "two entries have the same name"));
    }
    if zip.len() > limits.entries {
        return Err(too_much(
            archive,
            format!("it has {} entries, {} are accepted (`limits.entries`)", zip.len(), limits.entries),
        ));
    }
    // Entries that share their bytes are how a small archive unpacks to a huge one.
    match zip.has_overlapping_entries() {
        Ok(false) => Ok(()),
        Ok(true) => Err(refused(archive, "some entries share their bytes")),
        Err(error) => Err(damaged(archive, format!("an entry cannot be read ({error})"))),
    }
}

/// Unpacks an entry and returns the digest of its bytes; one that holds more than it declares is refused.
pub(crate) fn zip_unpack<R: Read + Seek>(
    archive: &str,
    zip: &mut ZipArchive<R>,
    entry: &ZipEntry,
    target: &mut File,
) -> Result<Digest, IngestError> {
    let reader = zip
        .by_index(entry.index)
        .map_err(|error| damaged(archive, format!("entry `{}` cannot be read ({error})", entry.name)))?;
    let mut hashing = HashingWriter::new(target);
    copy_declared(archive, &entry.name, reader, entry.size, &mut hashing)?;
    Ok(hashing.digest())
}

fn copy_declared(
    archive: &str,
    name: &str,
    reader: impl Read,
    declared: u64,
    target: &mut impl Write,
) -> Result<(), IngestError> {
    // One byte more tells an entry that lies about its size.
    let copied = io::copy(&mut reader.take(declared.saturating_add(1)), target)
        .map_err(|error| unpack_error(archive, &format!("entry `{name}`"), error))?;
    if copied == declared {
        Ok(())
    } else {
        Err(damaged(archive, format!("entry `{name}` declares {declared} bytes and unpacks to another size")))
    }
}

/// Checks a workbook that is a zip of XML parts before its reader, which trusts it, unpacks them into memory.
///
/// Declared sizes are checked against `limits`; since they may lie, every part is unpacked once into nothing.
pub(crate) fn check_workbook(name: &str, file: &File, limits: &Limits) -> Result<(), IngestError> {
    let action = format!("read `{name}`");
    let mut reader = io::BufReader::new(file);
    reader.rewind().map_err(IngestError::stream(action.as_str()))?;
    let (mut zip, entries) = zip_list(name, reader, limits, &mut Budget::new(limits))?;
    for entry in &entries {
        // Sheets are streamed; all other parts are held.
        if entry.size > limits.held_bytes && !entry.name.starts_with("xl/worksheets/") {
            let (part, size, limit) = (&entry.name, entry.size, limits.held_bytes);
            return Err(too_much(
                name,
                format!("part `{part}` unpacks to {size} bytes, {limit} are accepted (`limits.held_bytes`)"),
            ));
        }
        let reader =
            zip.by_index(entry.index).map_err(|error| damaged(name, format!("part `{}`: {error}", entry.name)))?;
        copy_declared(name, &entry.name, reader, entry.size, &mut io::sink())?;
    }
    Ok(())
}
