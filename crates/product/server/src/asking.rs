use ropewalk_data::{DatasetVersion, NamedTable, QueryLimits, QueryResult, query, version_list};

use crate::kinds::referenced_tables;
use crate::{OpenProject, ServerError};

impl OpenProject {
    pub(crate) fn query_limits(&self) -> QueryLimits {
        QueryLimits::new(self.state().join("scratch"))
    }

    /// Every version of every dataset, newest first in each.
    pub async fn datasets(&self) -> Result<Vec<DatasetVersion>, ServerError> {
        Ok(version_list(&self.catalog, None).await?)
    }

    /// Answers a question in SQL over the latest version of each dataset that it names.
    pub async fn sql(&self, question: &str) -> Result<QueryResult, ServerError> {
        let named = referenced_tables(question)?;
        let mut tables: Vec<NamedTable> = Vec::new();
        // Newest first: the first version of a name is its latest.
        for version in self.datasets().await? {
            let name = version.name.to_string();
            if named.contains(&name) && !tables.iter().any(|table| table.name == name) {
                tables.push(NamedTable { name, tree: version.digest });
            }
        }
        Ok(query(question, &tables, &[], &self.store, &self.query_limits()).await?)
    }
}
