//! Removals that come from a remote.

use ropewalk_data::Removal;
use ropewalk_pipeline::outcome_list;
use serde_json::json;

use crate::governing::Doomed;
use crate::{OpenProject, ServerError};

impl OpenProject {
    /// Puts on versions here the tombstones that they have in a remote: with who removed them, why and when.
    ///
    /// As if they had been removed here: stages that made one are executed again by the next run, and checkpoints that could
    /// hold its rows go. What was made again or tagged here in the meantime stays, and is given. Waits
    /// for a run of this project; `waits` hears who holds it.
    pub(crate) async fn removals_take(
        &self,
        removals: &[Removal],
        remote: &str,
        waits: &(dyn Fn(&str) + Sync),
    ) -> Result<Vec<Removal>, ServerError> {
        let _alone = self.lock("ropewalk fetch", waits).await?;
        let outcomes = outcome_list(&self.catalog, u32::MAX).await?;
        let doomed = removals.iter().map(|removal| {
            let Removal { who, why, at, .. } = removal;
            let details = json!({ "why": why, "by": who, "removed_at": at, "fetched_from": remote });
            Doomed::new(removal.clone(), details, &outcomes).elsewhere()
        });
        self.tables_forget(&doomed.collect::<Vec<_>>()).await
    }
}
