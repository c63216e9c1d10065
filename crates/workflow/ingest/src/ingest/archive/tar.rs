use std::io::{self, Read};

use ropewalk_types::Digest;
use tar::{Archive, Entry, EntryType, PaxExtensions};
use tempfile::TempPath;

use super::super::limits::Limits;
use super::{Budget, Guard, HashingWriter, damaged, refused, unpack_error};
use crate::IngestError;
use crate::scratch::Scratch;

/// Extended headers hold a name and some numbers; a larger one is an attack on memory.
const HEADER_BYTES: u64 = 1 << 20;

/// A file of a tar archive.
#[derive(Debug)]
pub(crate) struct TarEntry {
    pub(crate) name: String,
    /// Its bytes and their digest; none when they were not wanted.
    pub(crate) unpacked: Option<(TempPath, Digest)>,
}

/// Reads a tar archive (POSIX.1-2001 pax, ustar, GNU) once from its beginning to its end and unpacks the files that
/// are `wanted`; sorted by name.
///
/// The same guards hold as for a zip. Links, devices, pipes and sparse files are refused.
pub(crate) fn tar_unpack(
    archive: &str,
    reader: impl Read,
    limits: &Limits,
    budget: &mut Budget,
    scratch: &Scratch,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<TarEntry>, IngestError> {
    let broken = |error: io::Error| unpack_error(archive, "it", error);
    let mut guard = Guard::new(archive, limits, budget);
    let mut files = Vec::new();
    let mut extended = Extended::default();
    let mut tar = Archive::new(reader);
    // Raw: the crate would hold extended headers of any size.
    for entry in tar.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        if extended.take_header(archive, &mut entry)? {
            continue;
        }
        let name = std::mem::take(&mut extended).name(archive, &entry)?;
        guard.entry(&name)?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous if !name.ends_with('/') => {}
            // Archives older than POSIX mark a directory by its name alone.
            EntryType::Directory | EntryType::Regular => continue,
            kind => return Err(guard.refused(format!("entry `{name}` is {}", kind_name(kind)))),
        }
        guard.file(&name, entry.size(), None)?;
        let unpacked = if wanted(&name) { Some(file_unpack(archive, &name, &mut entry, scratch)?) } else { None };
        files.push(TarEntry { name, unpacked });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn kind_name(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Symlink => "a symbolic link",
        EntryType::Link => "a hard link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a pipe",
        EntryType::GNUSparse => "a sparse file",
        _ => "of a kind that is not known",
    }
}

fn file_unpack<R: Read>(
    archive: &str,
    name: &str,
    entry: &mut Entry<'_, R>,
    scratch: &Scratch,
) -> Result<(TempPath, Digest), IngestError> {
    let mut target = scratch.file()?;
    let mut hashing = HashingWriter::new(target.as_file_mut());
    let declared = entry.size();
    let copied =
        io::copy(entry, &mut hashing).map_err(|error| unpack_error(archive, &format!("entry `{name}`"), error))?;
    if copied != declared {
        return Err(damaged(archive, format!("entry `{name}` is cut off: {copied} of its {declared} bytes are there")));
    }
    let digest = hashing.digest();
    Ok((target.into_temp_path(), digest))
}

/// What extended headers say of the entry after them.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extended {
    /// Takes an extended header; false when `entry` is none.
    fn take_header<R: Read>(&mut self, archive: &str, entry: &mut Entry<'_, R>) -> Result<bool, IngestError> {
        match entry.header().entry_type() {
            EntryType::GNULongName => {
                let mut name = held(archive, entry)?;
                while name.last() == Some(&0) {
                    name.pop();
                }
                self.name = Some(name);
            }
            EntryType::XHeader => self.take_pax(archive, &held(archive, entry)?)?,
            // The target of a link, which is refused, and what holds for all entries, which is no name.
            EntryType::GNULongLink | EntryType::XGlobalHeader => drop(held(archive, entry)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_pax(&mut self, archive: &str, bytes: &[u8]) -> Result<(), IngestError> {
        for extension in PaxExtensions::new(bytes) {
            let broken = |error| damaged(archive, format!("an extended header is damaged ({error})"));
            let extension = extension.map_err(broken)?;
            match extension.key_bytes() {
                b"path" => self.name = Some(extension.value_bytes().to_owned()),
                b"size" => self.size = extension.value().ok().and_then(|value| value.parse().ok()),
                key if key.starts_with(b"GNU.sparse.") => return Err(refused(archive, "an entry is a sparse file")),
                _ => {}
            }
        }
        Ok(())
    }

    /// The entry's name; an error when the extended headers say another size than its own header.
    fn name<R: Read>(self, archive: &str, entry: &Entry<'_, R>) -> Result<String, IngestError> {
        let name = self.name.unwrap_or_else(|| entry.path_bytes().into_owned());
        let name = String::from_utf8(name).map_err(|error| {
            let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
            refused(archive, format!("the name of entry `{}` is not UTF-8", shown.escape_debug()))
        })?;
        match self.size {
            Some(size) if size != entry.size() => Err(refused(
                archive,
                format!("entry `{name}` has {size} bytes by its extended header and {} by its own", entry.size()),
            )),
            _ => Ok(name),
        }
    }
}

fn held<R: Read>(archive: &str, entry: &mut Entry<'_, R>) -> Result<Vec<u8>, IngestError> {
    let mut bytes = Vec::new();
    let broken = |error| unpack_error(archive, "an extended header", error);
    entry.take(HEADER_BYTES + 1).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 > HEADER_BYTES {
        return Err(refused(archive, format!("an extended header has more than {HEADER_BYTES} bytes")));
    }
    Ok(bytes)
}
