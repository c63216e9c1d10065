use std::path::Path as FilePath;
use std::time::SystemTime;

use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::{Store, blocking, failed};
use crate::error::StoreError;
use crate::files;
use crate::index::PackId;

pub(super) const PACKS: &str = "packs";

/// What [`Store::sweep_orphans`] or [`Store::sweep_cache`] has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Packs and half-written files.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes what writers that died before their commit have left: packs in no index, and half-written files.
    ///
    /// They are invisible and harm nothing but cost space. Only what was last written before `before` goes, which must
    /// therefore lie further back than the longest commit takes; a writer that is slower still finds its pack gone, and
    /// its commit fails with [`StoreError::PackRemoved`]. Blobs that nothing refers to are not looked for.
    pub async fn sweep_orphans(&self, before: SystemTime) -> Result<Swept, StoreError> {
        let mut swept = self.half_written_remove(before).await?;
        let folder = Path::from(PACKS);
        let packs: Vec<_> =
            self.inner.backend.list(Some(&folder)).try_collect().await.map_err(failed("list", &folder))?;
        // After the packs were listed: a pack that was committed before it was listed is seen in an index.
        self.inner.refresh().await?;
        for meta in packs.into_iter().filter(|meta| SystemTime::from(meta.last_modified) < before) {
            let orphan =
                PackId::of_path(&meta.location).is_some_and(|id| !self.inner.index(|index| index.has_pack(&id)));
            if orphan {
                self.inner.backend.delete(&meta.location).await.map_err(failed("remove", &meta.location))?;
                swept.add(meta.size);
            }
        }
        Ok(swept)
    }

    /// Files that are being written are not objects yet, so that only the directory itself shows them.
    async fn half_written_remove(&self, before: SystemTime) -> Result<Swept, StoreError> {
        let Some(directory) = self.inner.directory.clone() else { return Ok(Swept::default()) };
        blocking(move || sweep_leftovers(&directory, before)).await
    }
}

/// Removes half-written files below `directory` that were last written before `before`, whose process must have died.
///
/// It blocks.
pub fn sweep_leftovers(directory: &FilePath, before: SystemTime) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    remove_leftovers(directory, before, &mut swept)?;
    Ok(swept)
}

impl Swept {
    pub(super) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

fn remove_leftovers(directory: &FilePath, before: SystemTime, swept: &mut Swept) -> Result<(), StoreError> {
    let entries = match files::list(directory) {
        // Another command's scratch folder, which went meanwhile.
        Err(_) if !files::exists(directory)? => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let old = entry.modified.is_some_and(|modified| modified < before);
        match entry.kind {
            files::EntryKind::Directory => remove_leftovers(&entry.path, before, swept)?,
            files::EntryKind::File if old && files::is_leftover(&entry.name) && files::remove_file(&entry.path)? => {
                swept.add(entry.size);
            }
            _ => {}
        }
    }
    Ok(())
}
