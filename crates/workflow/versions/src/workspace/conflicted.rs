use std::collections::BTreeSet;
use std::path::PathBuf;

use ropewalk_store::files;
use ropewalk_types::DatasetName;

use super::{Problem, Workspace};
use crate::error::{VersionsError, blocking};
use crate::pointer;

/// A pointer that cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// What either side of its conflict calls the dataset, but for names that a pointer which can be read has; none where
    /// it is damaged otherwise.
    pub(crate) names: BTreeSet<DatasetName>,
    /// What is wrong with it.
    pub(crate) problem: Problem,
}

impl Workspace {
    /// The pointers that cannot be read, sorted by path.
    pub(crate) async fn unreadable(&self) -> Result<Vec<Unreadable>, VersionsError> {
        let tracked = self.discover().await?;
        let good = tracked.iter().filter_map(|one| one.pointer.as_ref().ok()).map(|pointer| pointer.name.clone());
        let good: BTreeSet<_> = good.collect();
        let mut unreadable = Vec::new();
        for one in tracked {
            let names = one.sides().into_iter().map(|side| side.name).filter(|name| !good.contains(name)).collect();
            if let Err(error) = one.pointer {
                let problem = Problem { path: one.place.path, error: Box::new(error) };
                unreadable.push(Unreadable { names, problem });
            }
        }
        Ok(unreadable)
    }

    /// The pointer of `name` if it holds git's conflict markers: what [`Workspace::merge_pointer`] is for.
    pub async fn conflicted(&self, name: &DatasetName) -> Result<Option<PathBuf>, VersionsError> {
        let line = format!("name {name}");
        for tracked in self.discover().await? {
            let Err(VersionsError::PointerConflict { path, .. }) = tracked.pointer else { continue };
            let file = path.clone();
            let text = blocking(move || Ok(files::read_text(&file, pointer::MAX_BYTES)?)).await?;
            if text.lines().any(|found| found == line) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}
