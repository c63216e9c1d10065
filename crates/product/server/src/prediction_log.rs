//! The prediction log of a project: its journals beside the embedded back-ends, its segments in the store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_catalog::Catalog;
use ropewalk_config::ServeLog;
use ropewalk_predictions::{LogSettings, PayloadSettings, PredictionHome, PredictionLog, PredictionReader};
use ropewalk_serving::{NoPredictionLog, PredictionSink};
use ropewalk_store::Store;
use ropewalk_types::Ambient;

use crate::{OpenProject, ServerError, SystemAmbient, TrackingHome};

/// The folder of journals, in the folder of the embedded back-ends.
const PREDICTIONS: &str = "predictions";
const DAY: Duration = Duration::from_hours(24);

/// Where predictions are kept by whoever has the folder `state`.
pub(crate) fn prediction_home(state: &Path, store: &Store, catalog: &Catalog) -> PredictionHome {
    PredictionHome { folder: state.join(PREDICTIONS), store: store.clone(), catalog: catalog.clone() }
}

/// What `[serve.log]` says, as the log takes it.
fn settings(said: &ServeLog) -> LogSettings {
    let standard = LogSettings::default();
    LogSettings {
        linger: said.linger_ms.map_or(standard.linger, Duration::from_millis),
        keep: said.keep_days.map(|days| DAY.saturating_mul(days)),
        payload: PayloadSettings {
            sample: said.sample,
            sample_of: said.sample_of.clone(),
            redact: said.redact.iter().cloned().collect(),
            ..PayloadSettings::default()
        },
        ..standard
    }
}

impl TrackingHome {
    /// Where predictions of what is served from here are kept; nowhere, if that is what is wanted.
    ///
    /// # Errors
    /// A setting is out of its range, or the folder of journals cannot be written.
    pub(crate) async fn prediction_log(&self, said: &ServeLog) -> Result<Arc<dyn PredictionSink>, ServerError> {
        if !said.predictions {
            return Ok(Arc::new(NoPredictionLog));
        }
        let ambient: Arc<dyn Ambient> = Arc::new(SystemAmbient);
        let home = prediction_home(&self.folder, &self.store, &self.catalog);
        Ok(Arc::new(PredictionLog::open(home, settings(said), ambient).await?))
    }
}

impl OpenProject {
    /// The prediction log, for reading.
    pub(crate) fn predictions(&self) -> PredictionReader {
        PredictionReader::new(prediction_home(&self.state(), &self.store, &self.catalog))
    }
}
