//! A table and tracked files must not share a name: what is declared of the one would be said of the other too, and the
//! versions of the files would be out of reach by it.

use std::collections::BTreeMap;
use std::path::Path;

use ropewalk_config::{FILE_NAME, ProjectFile};
use ropewalk_types::DatasetName;
use ropewalk_versions::{AddLinks, AddRequest, Added, DvcSurroundings, ImportPlan};

use crate::planning::{rows_name, tracked_source};
use crate::{DataProject, OpenProject, ServerError};

/// The tables that a project file makes, each with the place that says so.
fn tables(file: &ProjectFile) -> Result<BTreeMap<DatasetName, String>, ServerError> {
    let is_table = |name: &DatasetName| {
        let source = file.data.get(name).and_then(tracked_source);
        source.is_none_or(|(files, _)| files != *name)
    };
    let named = file.data.keys().filter(|name| is_table(name));
    let mut tables: BTreeMap<_, _> = named.map(|name| (name.clone(), format!("[data.{name}]"))).collect();
    for (name, stage) in file.stages(FILE_NAME)? {
        if let Some(out) = stage.dataset() {
            tables.insert(DatasetName::new(out)?, format!("[stage.{name}]"));
        }
    }
    Ok(tables)
}

impl OpenProject {
    /// Refuses a table that has the name of tracked files. Gives the names of tracked files, where the project had to be
    /// looked through for them: nobody has to do it again.
    pub(crate) async fn check_names(&self) -> Result<Option<Vec<DatasetName>>, ServerError> {
        let tables = tables(&self.file)?;
        if tables.is_empty() {
            return Ok(None);
        }
        let names = self.workspace().tracked_names().await?;
        if !names.iter().any(|name| tables.contains_key(name)) {
            return Ok(Some(names));
        }
        for tracked in self.workspace().datasets().await?.into_iter().flatten() {
            let name = &tracked.pointer.name;
            if let Some(place) = tables.get(name) {
                return Err(ServerError::Unknown {
                    what: format!(
                        "{FILE_NAME}: {place} makes a dataset `{name}`, and other files, `{}`, are tracked under that \
                         name",
                        tracked.path
                    ),
                    hint: format!(
                        "give it another name, such as `{}`: what is declared of it would be said of the files \
                         too, and their versions would be out of reach",
                        rows_name(name.as_str())
                    ),
                });
            }
        }
        Ok(Some(names))
    }
}

impl DataProject {
    /// Begins to track a file or a folder, or takes in what changed; refused under the name of a table.
    pub async fn add(&self, request: AddRequest) -> Result<Added, ServerError> {
        self.check_no_table(&request).await?;
        Ok(self.workspace().add(request).await?)
    }

    /// [`Workspace::dvc_plan`](ropewalk_versions::Workspace::dvc_plan), in which no dataset has the name of a table.
    pub async fn dvc_plan(
        &self,
        folder: &Path,
        links: AddLinks,
        surroundings: &DvcSurroundings,
    ) -> Result<ImportPlan, ServerError> {
        Ok(self.workspace().dvc_plan(folder, links, surroundings, &self.tables()?).await?)
    }

    /// [`Workspace::lfs_plan`](ropewalk_versions::Workspace::lfs_plan), in which no dataset has the name of a table.
    pub async fn lfs_plan(&self, path: &Path, links: AddLinks) -> Result<ImportPlan, ServerError> {
        Ok(self.workspace().lfs_plan(path, None, links, &self.tables()?).await?)
    }

    fn tables(&self) -> Result<Vec<DatasetName>, ServerError> {
        Ok(tables(self.file())?.into_keys().collect())
    }

    async fn check_no_table(&self, request: &AddRequest) -> Result<(), ServerError> {
        let last = || DatasetName::new(request.path.file_name()?.to_str()?).ok();
        let Some(name) = request.name.clone().or_else(last) else { return Ok(()) };
        let Some(place) = tables(self.file())?.remove(&name) else { return Ok(()) };
        // What is tracked already goes by the name that it has.
        if request.name.is_none()
            && let Ok((known, None)) = self.workspace().locate(&request.path).await
            && known != name
        {
            return Ok(());
        }
        Err(ServerError::Unknown {
            what: format!("{FILE_NAME}: {place} makes a dataset `{name}`: files cannot be tracked under that name too"),
            hint: "choose another name for the files with `--name`, or give the table another one".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_what_is_no_name_of_files() {
        let file = ProjectFile::parse(
            "f",
            "[project]\nname = \"x\"\n[data.a]\nsource = \"data:a\"\n[data.b]\nsource = \"data:a@v1\"\n\
             [data.c]\nsource = \"a/*.csv\"\n[stage.s]\nsql = \"s.sql\"\n",
        )
        .expect("project file");
        let tables = tables(&file).expect("tables");
        let told: Vec<_> = tables.iter().map(|(name, place)| (name.as_str(), place.as_str())).collect();
        assert_eq!(told, [("b", "[data.b]"), ("c", "[data.c]"), ("s", "[stage.s]")]);
        assert_eq!(rows_name("a.csv"), "a_csv_rows");
    }
}
