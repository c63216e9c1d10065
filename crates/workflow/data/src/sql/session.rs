use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::Translation;
use crate::DataError;

/// Rows of the batches that flow between operators.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Whether rows must come out in the same order at every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One partition, files one after the other: the same rows in the same order (docs/adr/003).
    Fixed,
    /// As many partitions as given; without ORDER BY the order is nobody's promise.
    Free(NonZeroUsize),
}

/// A session that reads one table in its order and never touches the disk by itself.
pub(crate) fn reading_session() -> Result<SessionContext, DataError> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    session_with(Order::Fixed, RuntimeEnvBuilder::new().with_disk_manager_builder(disk), usize::MAX)
}

/// A DataFusion session that knows no table yet, spills to `scratch` and uses at most `memory_limit` bytes for it.
pub(crate) fn session(order: Order, memory_limit: usize, scratch: &Path) -> Result<SessionContext, DataError> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(memory_limit)))
        .with_temp_file_path(scratch);
    session_with(order, runtime, memory_limit)
}

fn session_with(order: Order, runtime: RuntimeEnvBuilder, memory_limit: usize) -> Result<SessionContext, DataError> {
    let partitions = match order {
        Order::Fixed => 1,
        Order::Free(partitions) => partitions.get(),
    };
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(BATCH_ROWS)
        // Filters that appear while a query runs depend on which operator was first.
        .set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", order != Order::Fixed);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.execution.parquet.schema_force_view_types = false;
    let runtime = runtime.build_arc().map_err(|error| Translation { memory_limit }.error(&error))?;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}
