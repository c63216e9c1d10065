use futures::future::BoxFuture;
use ropewalk_store::{NoProgress, TreeFile};
use ropewalk_types::DatasetName;

use super::{Opened, Workspace};
use crate::diff::{Diff, diff_files};
use crate::error::{VersionsError, blocking};
use crate::pointer::Kind;
use crate::work::{Data, kind_here, look};

/// One side of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A version, by any of its names.
    Version(String),
    /// What the pointer names, committed or not.
    Pointer,
    /// The version that the pointer names or was made from; nothing before the first commit.
    Committed,
    /// The files in the work tree.
    Work,
}

impl Workspace {
    /// What changed from one side to the other, file by file.
    pub fn diff<'a>(
        &'a self,
        name: &'a DatasetName,
        before: &'a Side,
        after: &'a Side,
    ) -> BoxFuture<'a, Result<Diff, VersionsError>> {
        Box::pin(async move {
            let (before, after) = (self.side(name, before).await?, self.side(name, after).await?);
            blocking(move || Ok(diff_files(&before, &after))).await
        })
    }

    async fn side(&self, name: &DatasetName, side: &Side) -> Result<Vec<TreeFile>, VersionsError> {
        match side {
            Side::Version(spec) => {
                let content = self.content_of(name, spec, &NoProgress).await?;
                self.files_of(name, &content.0, &content.1, None).await
            }
            Side::Pointer => {
                let opened = self.open_one(name).await?;
                self.files_of(name, &self.pointed(&opened.pointer).await?, opened.place.file_name(), None).await
            }
            Side::Committed => match self.open_one(name).await?.pointer.ancestor() {
                None => Ok(Vec::new()),
                Some(version) => Box::pin(self.side(name, &Side::Version(version.to_string()))).await,
            },
            Side::Work => self.work_files(self.open_one(name).await?).await,
        }
    }

    /// Everything in the work tree, and what was not to be laid out as the index has it.
    async fn work_files(&self, opened: Opened) -> Result<Vec<TreeFile>, VersionsError> {
        blocking(move || {
            let Opened { place, pointer, index } = opened;
            let here = kind_here(&place.data, pointer.kind)?;
            let index = index.filter(|index| (index.head.kind == Kind::Folder) == (here == Kind::Folder));
            let mut work = look(&Data::at(&place.data, here).with_links(pointer.links), index.as_ref())?;
            work.hash(|_| true)?;
            let mut files = work.tree_files();
            let absent = index.iter().flat_map(crate::index::Index::iter);
            let absent = absent.filter(|entry| entry.absent && work.find(entry.path).is_none());
            files.extend(absent.map(|entry| TreeFile {
                path: entry.path.to_owned(),
                digest: entry.digest,
                size: entry.stat.size,
                executable: entry.stat.executable,
            }));
            files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
            Ok(files)
        })
        .await
    }
}
