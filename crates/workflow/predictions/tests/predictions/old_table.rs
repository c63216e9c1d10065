use ropewalk_predictions::PredictionFilter;
use ropewalk_serving::PredictionSink as _;
use ropewalk_types::{PredictionId, Timestamp};
use serde_json::json;

use crate::world::{World, hasty, until};

/// Writes rows as earlier versions did.
async fn old_rows(world: &World, count: u64) -> Vec<PredictionId> {
    let ids: Vec<_> = (0..count).map(|_| PredictionId::new(&*world.ambient)).collect();
    for ids in ids.chunks(200) {
        let values: Vec<_> = ids
            .iter()
            .map(|id| format!("('{id}', 'mine', 'm', 1, {}, 12, 1, '{{\"x\":[1.5]}}', '{{\"y\":[2.0]}}')", id.millis()))
            .collect();
        let columns = "id, request_id, model, version, at, latency_us, rows, inputs, outputs";
        world.statement(&format!("INSERT INTO prediction ({columns}) VALUES {}", values.join(", "))).await;
    }
    ids
}

#[tokio::test]
async fn rows_of_earlier_versions_are_read_and_then_moved() {
    let world = World::new().await;
    let mut ids = old_rows(&world, 1500).await;
    assert_eq!(world.all(&PredictionFilter::default(), 400).await.len(), 1500, "before any server was started");
    let mut scan = world.reader().scan(&PredictionFilter::default(), None).await.unwrap();
    let first = scan.page(10).await.unwrap().records;

    let log = world.log(hasty()).await;
    ids.extend(world.fill(&log, 2, 3));
    log.flush().await.unwrap();
    until("moved", || log.report().sealed.moved == 1500).await;
    assert_eq!(world.count("prediction").await, 0);
    assert_eq!(world.ids().await, ids);
    let record = world.reader().prediction_get(ids[700]).await.unwrap();
    assert_eq!((record.request.as_deref(), record.client), (Some("mine"), None));
    assert_eq!((json!(record.inputs), json!(record.outputs)), (json!({"x": [1.5]}), json!({"y": [2.0]})));
    assert_eq!(record.at, Timestamp(ids[700].millis()));

    // Who had begun to read before finds them where they are now.
    let mut seen: Vec<_> = first.iter().map(|record| record.prediction).collect();
    loop {
        let page = scan.page(1000).await.unwrap();
        seen.extend(page.records.iter().map(|record| record.prediction));
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids[..1500]);
    log.close().await.unwrap();
    assert_eq!(log.counts().logged, 3);
}

#[tokio::test]
async fn two_that_move_the_same_rows_lose_none_and_double_none() {
    let world = World::new().await;
    let ids = old_rows(&world, 600).await;
    let (one, other) = tokio::join!(world.log(hasty()), world.log(hasty()));
    let closed = tokio::join!(one.close(), other.close());
    closed.0.unwrap();
    closed.1.unwrap();
    assert_eq!(world.ids().await, ids);
    assert_eq!(world.count("prediction").await, 0);
}

/// Reads many rows that are not wanted.
async fn skip_many() {
    let world = World::new().await;
    let columns = "id, request_id, model, version, at, latency_us, rows, inputs, outputs";
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)";
    let values = "SELECT printf('%032x', i), NULL, 'm', 1, 0, 12, 1, '{}', '{}' FROM n";
    world.statement(&format!("INSERT INTO prediction ({columns}) {numbers} {values}")).await;
    let filter = PredictionFilter { model: Some(("other".parse().unwrap(), None)), ..PredictionFilter::default() };
    assert!(world.all(&filter, 10).await.is_empty());
}

/// On a small stack, so that it is noticed if each reading of some rows is made within the one before.
#[test]
fn many_rows_of_earlier_versions_that_nobody_wants_are_skipped() {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(skip_many());
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
    thread.join().unwrap();
}
