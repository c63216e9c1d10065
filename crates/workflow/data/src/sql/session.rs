use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::Translation;
use super::exact::ExactNumbers;
use super::exact_sum::ExactSum;
use super::full_sort::FullSorts;
use super::memory::{Merges, SpillPool};
use super::sort_merge::SortMergeJoins;
use crate::DataError;

/// Rows of the batches that flow between operators.
const BATCH_ROWS: usize = 8192;
/// Where even a few batches are too much for the memory, they get so many times fewer rows, and at least so many.
const FEWER: usize = 8;
const LEAST_ROWS: usize = 128;
/// Operators that hold a few batches whatever they spill, by the beginnings of their names.
const HOLDERS: [&str; 3] = ["ExternalSorter", "SortPreservingMerge", "SMJStream"];

/// The part of the memory that each sort keeps back for merging what it spilled, and the most that it keeps.
pub(super) const MERGE_SHARE: usize = 64;
const MERGE_LIMIT: usize = 10 << 20;

/// DataFusion's rule that pushes limits into sorts.
const LIMITS: &str = "LimitPushdown";

/// Whether rows must come out in the same order at every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One partition, files one after the other: the same rows in the same order (docs/adr/003).
    Fixed,
    /// As many partitions as given; without ORDER BY the order is nobody's promise.
    Free(NonZeroUsize),
}

/// How tables are joined on equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joins {
    /// One side in memory: fast, and an error where it does not fit.
    Hash,
    /// Both sides sorted, on disk where they do not fit; the first rows of a sort likewise, where they are many.
    SortMerge {
        /// Rows of a batch.
        batch_rows: usize,
        /// What merges of what was spilled may hold.
        merges: Merges,
    },
}

impl Joins {
    /// How to try again what failed for want of memory; none where that is not the reason, or nothing is left to try.
    ///
    /// First, merges of what was spilled leave half of the memory to the sorts after them. Then batches get fewer rows: a sort
    /// holds a batch of its input, and one of each of two files when it merges.
    pub(crate) fn after(self, error: &DataError) -> Option<Self> {
        let DataError::Memory { reason, .. } = error else { return None };
        match self {
            Self::Hash => Some(Self::SortMerge { batch_rows: BATCH_ROWS, merges: Merges::WhatIsLeft }),
            Self::SortMerge { .. } if !HOLDERS.iter().any(|name| reason.starts_with(name)) => None,
            Self::SortMerge { batch_rows, merges: Merges::WhatIsLeft } => {
                Some(Self::SortMerge { batch_rows, merges: Merges::Half })
            }
            Self::SortMerge { batch_rows, merges } => {
                (batch_rows > LEAST_ROWS).then_some(Self::SortMerge { batch_rows: batch_rows / FEWER, merges })
            }
        }
    }

    fn batch_rows(self) -> usize {
        match self {
            Self::Hash => BATCH_ROWS,
            Self::SortMerge { batch_rows, .. } => batch_rows,
        }
    }

    fn merges(self) -> Merges {
        match self {
            Self::Hash => Merges::WhatIsLeft,
            Self::SortMerge { merges, .. } => merges,
        }
    }
}

/// A session that reads one table in its order and never touches the disk by itself.
pub(crate) fn reading_session() -> Result<SessionContext, DataError> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    session_with(Order::Fixed, RuntimeEnvBuilder::new().with_disk_manager_builder(disk), usize::MAX, Joins::Hash)
}

/// A DataFusion session that knows no table yet, spills to `scratch` and uses at most `memory_limit` bytes for it.
pub(crate) fn session(
    order: Order,
    memory_limit: usize,
    scratch: &Path,
    joins: Joins,
) -> Result<SessionContext, DataError> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(SpillPool::new(memory_limit, joins.merges())))
        .with_temp_file_path(scratch);
    session_with(order, runtime, memory_limit, joins)
}

fn session_with(
    order: Order,
    runtime: RuntimeEnvBuilder,
    memory_limit: usize,
    joins: Joins,
) -> Result<SessionContext, DataError> {
    let partitions = match order {
        Order::Fixed => 1,
        Order::Free(partitions) => partitions.get(),
    };
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(joins.batch_rows())
        // What checks its arithmetic may be null where the planner knew better; a UNION keeps what it was planned with.
        .set_bool("datafusion.execution.skip_physical_aggregate_schema_check", true)
        // Filters that appear while a query runs depend on which operator was first.
        .set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", order != Order::Fixed);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.execution.parquet.schema_force_view_types = false;
    options.execution.sort_spill_reservation_bytes = (memory_limit / MERGE_SHARE).min(MERGE_LIMIT);
    let runtime = runtime.build_arc().map_err(|error| Translation { memory_limit }.error(&error))?;
    let mut rules = PhysicalOptimizer::new().rules;
    if joins != Joins::Hash {
        // Before those that have a sort that keeps few rows tell its scan what it no longer needs.
        let after_limits = rules.iter().rposition(|rule| rule.name() == LIMITS).map_or(rules.len(), |at| at + 1);
        rules.insert(after_limits, Arc::new(FullSorts));
        // Before all others, so that they see what the new joins ask for.
        rules.insert(0, Arc::new(SortMergeJoins));
    }
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_analyzer_rule(Arc::new(ExactNumbers))
        .with_physical_optimizer_rules(rules)
        .build();
    let context = SessionContext::new_with_state(state);
    context.register_udaf(AggregateUDF::from(ExactSum::default()));
    Ok(context)
}
