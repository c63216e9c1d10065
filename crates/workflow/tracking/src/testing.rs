use std::sync::Arc;

use ropewalk_catalog::Catalog;
use ropewalk_store::Store;
use ropewalk_types::{ManualAmbient, RunId, Timestamp};

use crate::{DEFAULT_EXPERIMENT, MIGRATIONS, NewRun, Tracking};

/// A tracking of its own, in memory.
pub(crate) async fn tracking() -> Tracking {
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.expect("catalogue in memory");
    let store = Store::open("memory:").await.expect("store in memory");
    Tracking::new(catalog, store, Arc::new(ManualAmbient::default()))
}

/// A tracking with one run in the default experiment.
pub(crate) async fn tracking_with_run() -> (Tracking, RunId) {
    let tracking = tracking().await;
    let run = tracking.run_create(NewRun::new(DEFAULT_EXPERIMENT, Timestamp(1))).await.expect("run");
    (tracking, run.info.id)
}
