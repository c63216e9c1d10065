use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::common::DataFusionError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, SortMergeJoinExec};

/// Makes sort-merge joins of hash joins.
///
/// A hash join holds one of its sides in memory and cannot spill it; a sort-merge join sorts both sides, and sorts
/// spill. DataFusion's own switch (`prefer_hash_join`) is heeded only with more than one partition.
#[derive(Debug)]
pub(crate) struct SortMergeJoins;

impl PhysicalOptimizerRule for SortMergeJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        plan.transform_up(|node| match node.downcast_ref::<HashJoinExec>() {
            Some(join) => Ok(replacement(join)?.map_or_else(|| Transformed::no(Arc::clone(&node)), Transformed::yes)),
            None => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "sort_merge_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The join of the same meaning; none for `NOT IN` over values that may be null, which only a hash join answers rightly.
fn replacement(join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>, DataFusionError> {
    if join.null_aware || join.contains_projection() || join.on().is_empty() {
        return Ok(None);
    }
    let sorts = vec![SortOptions::default(); join.on().len()];
    let merged = SortMergeJoinExec::try_new(
        Arc::clone(join.left()),
        Arc::clone(join.right()),
        join.on().to_vec(),
        join.filter().cloned(),
        *join.join_type(),
        sorts,
        join.null_equality(),
    )?;
    Ok(Some(Arc::new(merged)))
}
