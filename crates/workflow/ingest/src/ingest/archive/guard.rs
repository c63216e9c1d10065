use std::collections::BTreeSet;

use super::super::limits::Limits;
use super::{RATIO_FREE_BYTES, refused, too_much};
use crate::IngestError;

/// Longer names are no names of files: the longest path that common systems take has 4,096 bytes.
const NAME_BYTES: usize = 4096;

/// What an archive and the archives inside it may still bring.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    entries: usize,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { entries: limits.entries, bytes: limits.total_bytes }
    }
}

/// Checks the entries of one archive as they are listed.
pub(crate) struct Guard<'a> {
    archive: &'a str,
    limits: &'a Limits,
    budget: &'a mut Budget,
    names: BTreeSet<String>,
}

impl<'a> Guard<'a> {
    pub(crate) fn new(archive: &'a str, limits: &'a Limits, budget: &'a mut Budget) -> Self {
        Self { archive, limits, budget, names: BTreeSet::new() }
    }

    /// One more entry, of any kind, called `name`: counted, and refused when its name leads outside.
    pub(crate) fn entry(&mut self, name: &str) -> Result<(), IngestError> {
        let Some(left) = self.budget.entries.checked_sub(1) else {
            return Err(self.too_much(format!("it has more than {} entries (`limits.entries`)", self.limits.entries)));
        };
        self.budget.entries = left;
        let outside = name.starts_with(['/', '\\'])
            || name.contains('\0')
            || name.as_bytes().get(1) == Some(&b':')
            || name.split(['/', '\\']).any(|part| part == "..");
        if outside {
            return Err(self.refused(format!("entry `{}` leads outside of it", name.escape_debug())));
        }
        if name.len() > NAME_BYTES {
            return Err(self.refused(format!("the name of an entry has {} bytes", name.len())));
        }
        Ok(())
    }

    /// The entry `name` is a file of `size` bytes that are packed in `packed`, where that is known.
    pub(crate) fn file(&mut self, name: &str, size: u64, packed: Option<u64>) -> Result<(), IngestError> {
        if let Some(packed) = packed {
            self.ratio(name, size, packed)?;
        }
        let Some(left) = self.budget.bytes.checked_sub(size) else {
            return Err(self.too_much(format!(
                "its entries unpack to more than {} bytes (`limits.total_bytes`)",
                self.limits.total_bytes
            )));
        };
        self.budget.bytes = left;
        if self.names.insert(plain_name(name)) {
            Ok(())
        } else {
            Err(self.refused(format!("two entries are called `{name}`")))
        }
    }

    fn ratio(&self, name: &str, size: u64, packed: u64) -> Result<(), IngestError> {
        let (times, limit) = (size / packed.max(1), self.limits.ratio);
        if size > RATIO_FREE_BYTES && times > limit {
            let reason = format!(
                "entry `{name}` unpacks to {times} times its size, {limit} times are accepted (`limits.ratio`)"
            );
            return Err(self.too_much(reason));
        }
        Ok(())
    }

    fn too_much(&self, reason: impl Into<String>) -> IngestError {
        too_much(self.archive, reason)
    }

    pub(crate) fn refused(&self, reason: impl Into<String>) -> IngestError {
        refused(self.archive, reason)
    }
}

/// The name without steps that lead nowhere: `./a` and `a` are the same file.
pub(crate) fn plain_name(name: &str) -> String {
    name.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}
