use std::time::{Duration, Instant};

use crate::world::{World, client, row};

/// Waits until the server says that it is not ready.
async fn until_draining(url: &str) {
    loop {
        let ready = client().get(url).send().await.expect("it still listens");
        if ready.status() == 503 {
            return;
        }
    }
}

#[tokio::test]
async fn what_is_under_way_is_answered_and_the_rest_is_sent_elsewhere() {
    let world = World::start(|_| ()).await;
    world.latch.close();
    let (ready, infer, live) = (world.url("/v2/health/ready"), world.infer_url(), world.url("/v2/health/live"));
    let under_way = tokio::spawn(client().post(&infer).json(&row()).send());
    world.latch.holds(1).await;
    let stopping = tokio::spawn(world.server.stop());
    until_draining(&ready).await;
    let refused = client().post(&infer).json(&row()).send().await.expect("answer");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(client().get(&live).send().await.expect("answer").status(), 200, "it still lives");
    assert!(!stopping.is_finished());
    world.latch.open();
    assert_eq!(under_way.await.expect("joined").expect("answer").status(), 200);
    stopping.await.expect("joined").expect("stopped");
    assert!(client().get(&live).send().await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let world = World::start(|serve| serve.drain_seconds = 1).await;
    world.latch.close();
    let under_way = tokio::spawn(client().post(world.infer_url()).json(&row()).send());
    world.latch.holds(1).await;
    let begun = Instant::now();
    world.server.stop().await.expect("stopped");
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(20));
    assert!(under_way.await.expect("joined").is_err(), "it was cut off");
    world.latch.open();
}
