//! The prediction log of a project: its journals beside the embedded back-ends, its segments in the store.

use std::path::Path;
use std::sync::Arc;

use ropewalk_catalog::Catalog;
use ropewalk_predictions::{LogSettings, PredictionHome, PredictionLog, PredictionReader};
use ropewalk_store::Store;

use crate::{OpenProject, ServerError};

/// The folder of journals, in the folder of the embedded back-ends.
const PREDICTIONS: &str = "predictions";

/// Where predictions are kept by whoever has the folder `state`.
pub(crate) fn prediction_home(state: &Path, store: &Store, catalog: &Catalog) -> PredictionHome {
    PredictionHome { folder: state.join(PREDICTIONS), store: store.clone(), catalog: catalog.clone() }
}

impl OpenProject {
    /// The prediction log, for writing; [`PredictionSink::close`](ropewalk_serving::PredictionSink::close) seals what was
    /// written.
    ///
    /// # Errors
    /// A setting is out of its range, or the folder of journals cannot be written.
    pub(crate) async fn prediction_log_open(&self, settings: LogSettings) -> Result<Arc<PredictionLog>, ServerError> {
        let home = prediction_home(&self.state(), &self.store, &self.catalog);
        Ok(Arc::new(PredictionLog::open(home, settings, Arc::clone(&self.ambient)).await?))
    }

    /// The prediction log, for reading.
    pub(crate) fn predictions(&self) -> PredictionReader {
        PredictionReader::new(prediction_home(&self.state(), &self.store, &self.catalog))
    }
}
