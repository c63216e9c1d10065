use bytes::Bytes;
use ropewalk_store::{Blob, Store, Tree, TreeEntry};
use ropewalk_types::Digest;
use tempfile::NamedTempFile;

use crate::{IngestError, TableReport};

/// The directory of a dataset's tree that holds its parts.
pub(crate) const PARTS: &str = "data";
/// The directory of a dataset's tree that holds files kept as they are.
pub(crate) const FILES: &str = "files";
/// The report's name in a dataset's tree.
pub(crate) const REPORT: &str = "report.json";
/// The quarantine's name in a dataset's tree.
pub(crate) const QUARANTINE: &str = "quarantine.parquet";

/// The name of part `number` of `count`, so that names sort as the parts are ordered.
pub(crate) fn part_name(number: usize, count: usize) -> String {
    let width = count.saturating_sub(1).to_string().len().max(4);
    format!("part-{number:0width$}.parquet")
}

pub(crate) fn file_entry(blob: &Blob) -> TreeEntry {
    TreeEntry::File { digest: blob.digest, size: blob.size, executable: false }
}

/// What a version holds beside its report. It is in the store, except for the tree itself.
pub(crate) struct VersionContent {
    pub(crate) tree: Tree,
    /// Bytes of its files.
    pub(crate) bytes: u64,
}

impl VersionContent {
    /// Puts it into the store, with a tree of files that were kept as they are: its digest and their bytes.
    pub(crate) async fn put(
        store: &Store,
        parts: &[Blob],
        quarantine: Option<&NamedTempFile>,
        files: Option<(Digest, u64)>,
    ) -> Result<Self, IngestError> {
        let mut data = Tree::new();
        for (number, blob) in parts.iter().enumerate() {
            data.insert(part_name(number, parts.len()), file_entry(blob))?;
        }
        let mut tree = Tree::new();
        let mut bytes: u64 = parts.iter().map(|blob| blob.size).sum();
        tree.insert(PARTS, TreeEntry::Directory { digest: store.tree_put(&data).await? })?;
        if let Some((digest, size)) = files {
            bytes += size;
            tree.insert(FILES, TreeEntry::Directory { digest })?;
        }
        if let Some(quarantine) = quarantine {
            let blob = store.put_file(quarantine.path()).await?;
            bytes += blob.size;
            tree.insert(QUARANTINE, file_entry(&blob))?;
        }
        Ok(Self { tree, bytes })
    }

    /// Puts the version with its report into the store; returns its digest and the bytes of its files.
    pub(crate) async fn publish(mut self, store: &Store, report: &TableReport) -> Result<(Digest, u64), IngestError> {
        let blob = store.put_bytes(Bytes::from(report.encode()?)).await?;
        self.tree.insert(REPORT, file_entry(&blob))?;
        Ok((store.tree_put(&self.tree).await?, self.bytes + blob.size))
    }
}

/// Puts the tree of a dataset version into the store; returns its digest and the bytes of its files.
pub async fn publish(
    store: &Store,
    parts: &[Blob],
    quarantine: Option<&NamedTempFile>,
    report: &TableReport,
) -> Result<(Digest, u64), IngestError> {
    VersionContent::put(store, parts, quarantine, None).await?.publish(store, report).await
}
