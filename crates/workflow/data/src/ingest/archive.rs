use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, Write};

use ropewalk_types::Digest;
use zip::ZipArchive;
use zip::result::ZipError;

use super::limits::Limits;
use crate::DataError;

/// Small entries may compress as well as they like: a page of zeros is no attack.
const RATIO_FREE_BYTES: u64 = 1 << 20;

/// An entry of an archive that is safe to unpack.
#[derive(Clone, Debug)]
pub(crate) struct ArchiveEntry {
    pub(crate) name: String,
    pub(crate) index: usize,
    size: u64,
}

fn refused(archive: &str, reason: impl Into<String>) -> DataError {
    DataError::Archive { archive: archive.to_owned(), reason: reason.into() }
}

fn opened<R: Read + Seek>(archive: &str, reader: R) -> Result<ZipArchive<R>, DataError> {
    ZipArchive::new(reader).map_err(|error| match error {
        ZipError::Io(source) => DataError::Stream { action: format!("read `{archive}`"), source },
        error => refused(archive, format!("it is no whole zip archive ({error})")),
    })
}

/// The files of an archive, sorted by name, after every guard that needs no unpacking: names that lead outside, links,
/// encryption, names used twice, entries that overlap, and sizes, counts and ratios over `limits`.
pub(crate) fn entry_list(archive: &str, file: File, limits: &Limits) -> Result<Vec<ArchiveEntry>, DataError> {
    let mut zip = opened(archive, io::BufReader::new(file))?;
    guard_whole(archive, &mut zip, limits)?;
    let mut entries = Vec::new();
    let mut names = BTreeSet::new();
    let mut total = 0_u64;
    for index in 0..zip.len() {
        let entry = zip.by_index_data(index).map_err(|error| refused(archive, error.to_string()))?;
        let name =
            entry.name().map_err(|error| refused(archive, format!("the name of an entry is not text ({error})")))?;
        let name = name.into_owned();
        guard_name(archive, &name)?;
        if entry.is_dir() {
            continue;
        }
        if entry.is_symlink() {
            return Err(refused(archive, format!("entry `{name}` is a symbolic link")));
        }
        if entry.encrypted() {
            return Err(refused(archive, format!("entry `{name}` is encrypted")));
        }
        guard_ratio(archive, &name, entry.size(), entry.compressed_size(), limits)?;
        total = total.saturating_add(entry.size());
        if total > limits.total_bytes {
            return Err(refused(archive, format!("its entries unpack to more than {} bytes", limits.total_bytes)));
        }
        if !names.insert(name.clone()) {
            return Err(refused(archive, format!("two entries are called `{name}`")));
        }
        entries.push(ArchiveEntry { name, index, size: entry.size() });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn guard_whole<R: Read + Seek>(archive: &str, zip: &mut ZipArchive<R>, limits: &Limits) -> Result<(), DataError> {
    if zip.has_duplicate_names() {
        return Err(refused(archive, "two entries have the same name"));
    }
    if zip.len() > limits.entries {
        return Err(refused(archive, format!("it has {} entries, {} are accepted", zip.len(), limits.entries)));
    }
    // Entries that share their bytes are how a small archive unpacks to a huge one.
    match zip.has_overlapping_entries() {
        Ok(false) => Ok(()),
        Ok(true) => Err(refused(archive, "some entries share their bytes")),
        Err(error) => Err(refused(archive, format!("an entry cannot be read ({error})"))),
    }
}

fn guard_name(archive: &str, name: &str) -> Result<(), DataError> {
    let outside = name.starts_with(['/', '\\'])
        || name.contains('\0')
        || name.as_bytes().get(1) == Some(&b':')
        || name.split(['/', '\\']).any(|part| part == "..");
    if outside { Err(refused(archive, format!("entry `{}` leads outside of it", name.escape_debug()))) } else { Ok(()) }
}

fn guard_ratio(archive: &str, name: &str, size: u64, packed: u64, limits: &Limits) -> Result<(), DataError> {
    if size > RATIO_FREE_BYTES && size / packed.max(1) > limits.ratio {
        let times = size / packed.max(1);
        return Err(refused(
            archive,
            format!("entry `{name}` unpacks to {times} times its size, {} times are accepted", limits.ratio),
        ));
    }
    Ok(())
}

/// Unpacks an entry and returns the digest of its bytes; one that holds more than it declares is refused.
pub(crate) fn unpack(archive: &str, file: File, entry: &ArchiveEntry, target: &mut File) -> Result<Digest, DataError> {
    let mut zip = opened(archive, io::BufReader::new(file))?;
    let reader = zip
        .by_index(entry.index)
        .map_err(|error| refused(archive, format!("entry `{}` cannot be read ({error})", entry.name)))?;
    let mut hashing = HashingWriter { target, hasher: blake3::Hasher::new() };
    copy_declared(archive, &entry.name, reader, entry.size, &mut hashing)?;
    Ok(hashing.hasher.finalize().into())
}

fn copy_declared(
    archive: &str,
    name: &str,
    reader: impl Read,
    declared: u64,
    target: &mut impl Write,
) -> Result<(), DataError> {
    // One byte more tells an entry that lies about its size.
    let copied = io::copy(&mut reader.take(declared + 1), target).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::Other => refused(archive, format!("entry `{name}` is damaged or cut off ({error})")),
        _ => DataError::Stream { action: format!("unpack `{name}` of `{archive}`"), source: error },
    })?;
    if copied == declared {
        Ok(())
    } else {
        Err(refused(archive, format!("entry `{name}` declares {declared} bytes and unpacks to another size")))
    }
}

struct HashingWriter<'a> {
    target: &'a mut File,
    hasher: blake3::Hasher,
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.target.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

/// Checks a workbook that is a zip of XML parts before its reader, which trusts it, unpacks them into memory.
///
/// Declared sizes are checked against `limits`; since they may lie, every part is unpacked once into nothing.
pub(crate) fn check_workbook(name: &str, file: &File, limits: &Limits) -> Result<(), DataError> {
    let action = format!("read `{name}`");
    let mut file = file.try_clone().map_err(DataError::stream(action.as_str()))?;
    let entries = entry_list(name, file.try_clone().map_err(DataError::stream(action.as_str()))?, limits)?;
    file.rewind().map_err(DataError::stream(action.as_str()))?;
    let mut zip = opened(name, io::BufReader::new(&file))?;
    for entry in &entries {
        // Sheets are streamed; all other parts are held.
        if entry.size > limits.held_bytes && !entry.name.starts_with("xl/worksheets/") {
            let (part, size, limit) = (&entry.name, entry.size, limits.held_bytes);
            return Err(refused(name, format!("part `{part}` unpacks to {size} bytes, {limit} are accepted")));
        }
        let reader =
            zip.by_index(entry.index).map_err(|error| refused(name, format!("part `{}`: {error}", entry.name)))?;
        copy_declared(name, &entry.name, reader, entry.size, &mut io::sink())?;
    }
    file.rewind().map_err(DataError::stream(action.as_str()))
}
