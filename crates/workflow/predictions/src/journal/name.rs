use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ropewalk_store::{FileError, files};

const JOURNAL: &str = ".journal";
const LOCK: &str = ".lock";

/// A writer of journals: 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WriterName(pub(crate) u128);

/// A journal: its writer, and the how manieth of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JournalName {
    pub(crate) writer: WriterName,
    pub(crate) number: u64,
}

impl WriterName {
    pub(crate) fn lock_path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{self}{LOCK}"))
    }

    /// Where its segments are made.
    pub(crate) fn scratch(self, folder: &Path) -> PathBuf {
        folder.join(format!("{self}.scratch"))
    }
}

impl fmt::Display for WriterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for WriterName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let plain = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if plain { u128::from_str_radix(text, 16).map(Self).map_err(|_| ()) } else { Err(()) }
    }
}

impl JournalName {
    pub(crate) fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{self}{JOURNAL}"))
    }

    /// Its name when a part of it cannot be read.
    pub(crate) fn damaged_path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{self}.damaged"))
    }
}

impl fmt::Display for JournalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.writer, self.number)
    }
}

impl FromStr for JournalName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (writer, number) = text.split_once('.').ok_or(())?;
        let digits = number.len() >= 9 && number.bytes().all(|byte| byte.is_ascii_digit());
        if !digits {
            return Err(());
        }
        Ok(Self { writer: writer.parse()?, number: number.parse().map_err(|_| ())? })
    }
}

/// The journals in `folder`, in the order of their writers; none where there is no folder.
pub(crate) fn list_journals(folder: &Path) -> Result<Vec<JournalName>, FileError> {
    let names = names(folder)?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(JOURNAL)?.parse().ok()).collect())
}

/// The writers that have left something in `folder`, dead and alive.
pub(crate) fn list_writers(folder: &Path) -> Result<BTreeSet<WriterName>, FileError> {
    let names = names(folder)?;
    Ok(names.iter().filter_map(|name| name.split_once('.')?.0.parse().ok()).collect())
}

fn names(folder: &Path) -> Result<Vec<String>, FileError> {
    match files::list(folder) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        listed => Ok(listed?.into_iter().map(|entry| entry.name).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_left_alone() {
        let name = JournalName { writer: WriterName(0xab), number: 7 };
        assert_eq!(name.to_string().parse(), Ok(name));
        for other in
            ["", "x.000000001", "000000000000000000000000000000ab.1", "000000000000000000000000000000AB.000000001"]
        {
            assert!(other.parse::<JournalName>().is_err(), "{other}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(list_journals(&folder.path().join("none")).unwrap().is_empty());
        files::write_atomic(&name.path(folder.path()), b"").unwrap();
        files::write_atomic(&name.damaged_path(folder.path()), b"").unwrap();
        files::write_atomic(&WriterName(1).lock_path(folder.path()), b"").unwrap();
        files::write_atomic(&folder.path().join("note.journal"), b"").unwrap();
        assert_eq!(list_journals(folder.path()).unwrap(), [name]);
        // A damaged journal is nobody's work any more, but its writer is still looked for.
        assert_eq!(list_writers(folder.path()).unwrap(), BTreeSet::from([WriterName(1), WriterName(0xab)]));
    }
}
