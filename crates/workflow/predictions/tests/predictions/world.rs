use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_catalog::{Catalog, query};
use ropewalk_inference::{NamedTensor, Tensor};
use ropewalk_predictions::{
    LogSettings, MIGRATIONS, PredictionFilter, PredictionHome, PredictionLog, PredictionReader, PredictionRecord,
};
use ropewalk_serving::{Answered, PredictionSink as _};
use ropewalk_store::Store;
use ropewalk_types::{Ambient, ManualAmbient, ModelName, PredictionId};
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) home: PredictionHome,
    pub(crate) ambient: Arc<ManualAmbient>,
    folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
        let store = Store::open("memory:").await.unwrap();
        let home = PredictionHome { folder: folder.path().join("predictions"), store, catalog };
        Self { home, ambient: Arc::new(ManualAmbient::default()), folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn log(&self, settings: LogSettings) -> PredictionLog {
        let ambient: Arc<dyn Ambient> = Arc::<ManualAmbient>::clone(&self.ambient);
        PredictionLog::open(self.home.clone(), settings, ambient).await.unwrap()
    }

    pub(crate) fn reader(&self) -> PredictionReader {
        PredictionReader::new(self.home.clone())
    }

    /// An answer of version `version` of the model `m` to one row.
    pub(crate) fn answered(&self, version: u64, x: f32) -> Answered {
        let column = |name: &str, x: f32| NamedTensor::new(name, Tensor::new(vec![1], vec![x]).unwrap());
        let carrier = NamedTensor::new("carrier", Tensor::new(vec![1], vec![Bytes::from_static(b"UA")]).unwrap());
        Answered {
            prediction: PredictionId::new(&*self.ambient),
            request: Some("mine".to_owned()),
            client: Some("key".into()),
            model: name(),
            version,
            latency_us: 12,
            rows: 1,
            inputs: vec![carrier, column("x", x)],
            outputs: vec![column("double", 2.0 * x)],
        }
    }

    /// Records `count` answers and gives their ids.
    pub(crate) fn fill(&self, log: &PredictionLog, version: u64, count: u16) -> Vec<PredictionId> {
        let each = |x| {
            let answered = self.answered(version, f32::from(x));
            let id = answered.prediction;
            log.record(answered);
            id
        };
        (0..count).map(each).collect()
    }

    /// All that `filter` wants, by pages of `limit`.
    pub(crate) async fn all(&self, filter: &PredictionFilter, limit: usize) -> Vec<PredictionRecord> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.reader().prediction_list(filter, after, limit).await.unwrap();
            assert!(page.records.len() <= limit);
            all.extend(page.records);
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    }

    /// The ids of all.
    pub(crate) async fn ids(&self) -> Vec<PredictionId> {
        self.all(&PredictionFilter::default(), 1000).await.iter().map(|record| record.prediction).collect()
    }

    pub(crate) async fn statement(&self, text: &str) {
        let text = text.to_owned();
        let done = self.home.catalog.write(move |connection| {
            Box::pin(async move {
                query(text).execute(connection).await?;
                Ok::<_, ropewalk_catalog::CatalogError>(())
            })
        });
        done.await.unwrap();
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        query(format!("SELECT COUNT(*) FROM {table}")).read_one(&self.home.catalog).await.unwrap()
    }
}

pub(crate) fn name() -> ModelName {
    ModelName::new("m").unwrap()
}

/// Tries often.
pub(crate) fn hasty() -> LogSettings {
    LogSettings { linger: Duration::from_millis(1), retry: Duration::from_millis(5), ..LogSettings::default() }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_mins(1), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}
