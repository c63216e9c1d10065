//! Which datasets are meant by names: tracked files, tables, or both.

use std::collections::BTreeSet;

use ropewalk_data::version_history;
use ropewalk_store::Store;
use ropewalk_types::DatasetName;

use super::layout::listed;
use crate::collecting::TRACKED;
use crate::project::catalog_open;
use crate::{DataProject, ServerError};

/// The datasets that a journey is about; an empty list means all of that kind, none that there are none to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Tracked files.
    pub files: Option<Vec<DatasetName>>,
    /// Tables.
    pub tables: Option<Vec<DatasetName>>,
}

impl DataProject {
    /// Tells names of tables from those of tracked files, by what is here and in the remote; without names all of both.
    ///
    /// A name that neither has anything of is left to the tracked files, which say so.
    pub async fn chosen(&self, remote: &Store, names: &[DatasetName]) -> Result<Chosen, ServerError> {
        if names.is_empty() {
            return Ok(Chosen { files: Some(Vec::new()), tables: Some(Vec::new()) });
        }
        let catalog = catalog_open(self.root(), self.file()).await?;
        let known = version_history(&catalog, None).await;
        catalog.close().await;
        let known: BTreeSet<DatasetName> = known?.into_iter().map(|one| one.version.name).collect();
        let there = listed(remote, names).await?.tables;
        let (mut files, mut tables) = (Vec::new(), Vec::new());
        for name in names {
            let table = known.contains(name) || there.get(name).is_some_and(|refs| !refs.versions.is_empty());
            let tracked =
                self.is_tracked(name).await? || !remote.ref_list(&format!("{TRACKED}{name}/")).await?.is_empty();
            if tracked || !table {
                files.push(name.clone());
            }
            if table {
                tables.push(name.clone());
            }
        }
        let some = |names: Vec<DatasetName>| Some(names).filter(|names| !names.is_empty());
        Ok(Chosen { files: some(files), tables: some(tables) })
    }
}
