use ropewalk_types::Digest;
use serde_json::json;

use super::super::piece::READER_VERSION;
use super::super::place::FoundFile;
use crate::IngestError;

/// A source is cut into about so many batches, as long as that gives them a size between the two bounds.
const BATCHES: usize = 32;
const LEAST_FILES: usize = 64;
const MOST_FILES: usize = 1024;
/// What a kill loses at most, for each batch at work.
const BATCH_BYTES: u64 = 256 << 20;

/// Files that are stored together, in one pack where they are small: one checkpoint.
pub(super) struct Batch {
    pub(super) files: Vec<FoundFile>,
    /// Stands for the names and bytes of all of them.
    pub(super) key: Digest,
}

/// Cuts files into batches in their order.
///
/// Where a batch ends depends on what its last file holds, so that a file that comes or goes changes its own batch and
/// leaves the others as they are.
pub(super) fn batches(files: Vec<FoundFile>) -> Result<Vec<Batch>, IngestError> {
    let wanted = (files.len() / BATCHES).next_power_of_two().clamp(LEAST_FILES, MOST_FILES);
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    for file in files {
        let identity = file.identity();
        bytes += file.size()?;
        batch.push((file, identity));
        let ends = batch.len() >= wanted / 2 && ends_batch(&identity, wanted / 2);
        if ends || batch.len() >= 2 * wanted || bytes >= BATCH_BYTES {
            batches.push(Batch::new(std::mem::take(&mut batch)));
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        batches.push(Batch::new(batch));
    }
    Ok(batches)
}

/// True of one digest in `one_in`, a power of two of at most 65,536.
fn ends_batch(digest: &Digest, one_in: usize) -> bool {
    let [first, second, ..] = digest.as_bytes();
    usize::from(u16::from_le_bytes([*first, *second])) % one_in == 0
}

impl Batch {
    fn new(files: Vec<(FoundFile, Digest)>) -> Self {
        let listed: Vec<_> = files.iter().map(|(file, identity)| (&file.name, identity)).collect();
        let key = Digest::of_json(&json!({ "kind": "files", "reader": READER_VERSION, "files": listed }));
        Self { files: files.into_iter().map(|(file, _)| file).collect(), key }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::super::place::{Place, Readable};
    use super::super::super::stamp::Stamp;
    use super::*;

    fn files(numbers: impl Iterator<Item = usize>, size: u64) -> Vec<FoundFile> {
        let file = |number: usize| {
            let readable = Readable::Local(PathBuf::from("x"), Stamp::sized(size));
            let place = Place::Whole(readable, Digest::of(&number.to_le_bytes()));
            FoundFile { name: format!("{number:06}.png"), kind: Err("a test"), compression: None, place }
        };
        numbers.map(file).collect()
    }

    #[test]
    fn a_file_that_goes_changes_its_own_batch_only() {
        let all = batches(files(0..10_000, 1)).unwrap();
        assert!((16..=64).contains(&all.len()), "{}", all.len());
        assert_eq!(all.iter().map(|batch| batch.files.len()).sum::<usize>(), 10_000);
        let fewer = batches(files((0..10_000).filter(|number| *number != 5000), 1)).unwrap();
        let known: Vec<_> = all.iter().map(|batch| batch.key).collect();
        let other = fewer.iter().filter(|batch| !known.contains(&batch.key)).count();
        assert!((1..=2).contains(&other), "{other} of {} batches are others", fewer.len());
    }

    #[test]
    fn large_files_make_short_batches() {
        let all = batches(files(0..10, BATCH_BYTES / 2)).unwrap();
        assert_eq!(all.iter().map(|batch| batch.files.len()).collect::<Vec<_>>(), [2; 5]);
    }
}
