use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};

/// Rows that a sort with a limit may hold: as many as are in one batch.
const HELD_ROWS: usize = 8192;

/// Makes a limit over a full sort of a sort that keeps only the first rows, where these are many.
///
/// A sort with a limit holds its rows in memory and cannot spill them; a full sort spills. It has to come after the
/// rules that push limits down.
#[derive(Debug)]
pub(crate) struct FullSorts;

impl PhysicalOptimizerRule for FullSorts {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        plan.transform_up(|node| match node.downcast_ref::<SortExec>().and_then(replacement) {
            Some(limited) => Ok(Transformed::yes(limited)),
            None => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "full_sorts"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn replacement(sort: &SortExec) -> Option<Arc<dyn ExecutionPlan>> {
    let rows = sort.fetch().filter(|rows| *rows > HELD_ROWS)?;
    let full: Arc<dyn ExecutionPlan> = Arc::new(sort.with_fetch(None));
    if full.output_partitioning().partition_count() == 1 {
        Some(Arc::new(GlobalLimitExec::new(full, 0, Some(rows))))
    } else {
        // What merges the partitions has the limit too.
        Some(Arc::new(LocalLimitExec::new(full, rows)))
    }
}
