//! What a record of the prediction log costs: on the request's path, and on the thread that writes.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use ropewalk_catalog::Catalog;
use ropewalk_inference::{NamedTensor, Tensor};
use ropewalk_predictions::{LogSettings, MIGRATIONS, PredictionHome, PredictionLog};
use ropewalk_serving::{Answered, PredictionSink as _};
use ropewalk_store::Store;
use ropewalk_types::{ManualAmbient, ModelName, PredictionId};

/// Records of one burst, which fit into memory.
const BURST: u32 = 20_000;
const BURSTS: u32 = 10;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("file:{}", folder.path().join("store").display())).await.unwrap();
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
    let home = PredictionHome { folder: folder.path().join("predictions"), store, catalog };
    let ambient = Arc::new(ManualAmbient::default());
    let log = PredictionLog::open(home, LogSettings::default(), ambient.clone()).await.unwrap();
    let (mut recording, mut writing) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..BURSTS {
        let records: Vec<_> = (0..BURST).map(|row| answered(PredictionId::new(&*ambient), row)).collect();
        let started = Instant::now();
        for record in records {
            log.record(record);
        }
        recording += started.elapsed();
        let started = Instant::now();
        log.flush().await.unwrap();
        writing += started.elapsed();
    }
    let started = Instant::now();
    log.close().await.unwrap();
    let count = BURST * BURSTS;
    println!("record: {:?} each, thread: {:?} each", recording / count, (recording + writing) / count);
    println!("closing: {:?}; {:?}", started.elapsed(), log.report());
}

/// A request of one row of ten numbers, and its answer.
fn answered(prediction: PredictionId, row: u32) -> Answered {
    let column = |column: u32| {
        let value = (row as f32 * 0.37 + column as f32).sin();
        NamedTensor::new(format!("feature_{column}"), Tensor::new(vec![1], vec![value]).unwrap())
    };
    Answered {
        prediction,
        request: Some(format!("request-{row}")),
        client: None,
        model: ModelName::new("flight-delays").unwrap(),
        version: 3,
        latency_us: 120,
        rows: 1,
        inputs: (0..10).map(column).collect(),
        outputs: vec![NamedTensor::new("probability", Tensor::new(vec![1, 2], vec![0.25_f32, 0.75]).unwrap())],
    }
}
