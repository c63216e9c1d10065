use arrow::array::RecordBatch;
use ropewalk_data::{
    DatasetVersion, NamedTable, QueryLimits, QueryResult, TableReport, quarantine, query, report, version_list,
    version_resolve,
};
use ropewalk_types::DatasetName;

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

    /// What a version of a dataset holds, and the rows of its sources that it does not hold, with the reason.
    ///
    /// `version` is `latest`, a digest or the beginning of one. The second value is none where every row fits.
    pub async fn dataset_report(
        &self,
        name: &DatasetName,
        version: &str,
    ) -> Result<(DatasetVersion, TableReport, Option<QueryResult>), ServerError> {
        let version = version_resolve(&self.catalog, name, version).await?;
        let report = report(&self.store, &version.digest).await?;
        let batches = quarantine(&self.store, &version.digest).await?;
        let aside = batches.first().map(RecordBatch::schema).map(|schema| QueryResult { schema, batches });
        Ok((version, report, aside))
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
