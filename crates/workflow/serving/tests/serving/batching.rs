use ropewalk_inference::TensorData;
use ropewalk_serving::{Batching, Elapsed, Fault, ModelSettings};

use crate::world::{SPOILS, UNMEASURED, WAITS, WIDE, World, doubles, request, wide_request};

/// What is joined while the only place is taken, or as soon as there are eight rows.
fn joins() -> ModelSettings {
    let batching = Some(Batching { max_rows: 8, max_delay_us: 0 });
    ModelSettings { batching, concurrency: Some(1), ..UNMEASURED }
}

#[tokio::test]
async fn requests_that_wait_are_joined_and_their_answers_split() {
    let mut world = World::new(WAITS, joins()).await;
    let first = world.ask(request(&[1.0]));
    assert_eq!(world.evaluation().await.x, [1.0]);
    let mut others = Vec::new();
    for (pending, x) in [(1, &[2.0, 3.0][..]), (2, &[4.0]), (3, &[5.0, 6.0, 7.0])] {
        others.push((x, world.ask_and_wait(request(x), pending).await));
    }
    world.controls.open(2);
    first.await.unwrap().unwrap();
    assert_eq!(world.evaluation().await.x, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    for (x, asking) in others {
        let answer = asking.await.unwrap().unwrap();
        assert_eq!(*doubles(&answer), TensorData::Fp32(x.iter().map(|x| 2.0 * x).collect()));
        assert_eq!(answer.outputs[1].tensor.shape, [x.len(), 2]);
    }
    assert!(!world.was_asked());
    let statistics = world.statistics();
    assert_eq!((statistics.inference_count, statistics.execution_count, statistics.success.count), (7, 2, 4));
    let sizes: Vec<_> = statistics.batches.iter().map(|batch| (batch.batch_size, batch.compute_infer.count)).collect();
    assert_eq!(sizes, [(1, 1), (6, 1)]);
    assert!(statistics.compute_input.ns > 0 && statistics.compute_output.ns > 0);
    // Each has a record of its own.
    let kept = world.kept.0.lock().unwrap();
    assert_eq!(kept.iter().map(|record| record.rows).sum::<usize>(), 7);
    assert!(kept.iter().all(|record| record.outputs[0].tensor.shape == [record.rows]));
}

#[tokio::test]
async fn a_full_batch_does_not_wait_for_the_delay() {
    let batching = Some(Batching { max_rows: 3, max_delay_us: 3_600_000_000 });
    let mut world = World::new(WAITS, ModelSettings { batching, ..joins() }).await;
    world.controls.open(1);
    let two = world.ask_and_wait(request(&[1.0, 2.0]), 1).await;
    let one = world.ask(request(&[3.0]));
    assert_eq!(world.evaluation().await.x, [1.0, 2.0, 3.0]);
    assert!(two.await.unwrap().is_ok() && one.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_batch_of_a_preferred_size_does_not_wait_for_the_delay() {
    let batching = Some(Batching { max_rows: 8, max_delay_us: 3_600_000_000 });
    let mut world = World::new(WAITS, ModelSettings { batching, preferred_rows: vec![3], ..joins() }).await;
    world.controls.open(1);
    let two = world.ask_and_wait(request(&[1.0, 2.0]), 1).await;
    let one = world.ask(request(&[3.0]));
    assert_eq!(world.evaluation().await.x, [1.0, 2.0, 3.0]);
    assert!(two.await.unwrap().is_ok() && one.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_batch_is_never_longer_than_it_may_be() {
    let mut world = World::new(WAITS, joins()).await;
    let first = world.ask(request(&[0.0]));
    world.evaluation().await;
    let mut asking = vec![first];
    for (at, rows) in [5, 4, 20].into_iter().enumerate() {
        asking.push(world.ask_and_wait(request(&vec![1.0; rows]), at as u64 + 1).await);
    }
    world.controls.open(4);
    for rows in [5, 4, 20] {
        assert_eq!(world.evaluation().await.x.len(), rows);
    }
    for asking in asking {
        assert!(asking.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn one_bad_request_does_not_spoil_the_others() {
    let mut world = World::new(SPOILS, joins()).await;
    let first = world.ask(request(&[1.0]));
    world.evaluation().await;
    let good = world.ask_and_wait(request(&[2.0]), 1).await;
    let bad = world.ask_and_wait(request(&[-1.0]), 2).await;
    let last = world.ask_and_wait(request(&[3.0]), 3).await;
    // What does not fit the signature never comes so far.
    let mut wrong = request(&[4.0]);
    wrong.inputs.pop();
    assert_eq!(world.ask(wrong).await.unwrap().unwrap_err().fault(), Fault::Request);
    world.controls.open(5);
    assert!(first.await.unwrap().is_ok());
    assert_eq!(*doubles(&good.await.unwrap().unwrap()), TensorData::Fp32(vec![4.0]));
    assert_eq!(bad.await.unwrap().unwrap_err().fault(), Fault::Request);
    assert_eq!(*doubles(&last.await.unwrap().unwrap()), TensorData::Fp32(vec![6.0]));
    assert_eq!(world.evaluation().await.x, [2.0, -1.0, 3.0]);
    let statistics = world.statistics();
    assert_eq!((statistics.unjoined, statistics.answered, statistics.refused), (1, 3, 2));
}

#[tokio::test]
async fn only_equal_shapes_are_joined() {
    let mut world = World::new(WIDE, joins()).await;
    let first = world.ask(wide_request(&[0.0], &[1, 1]));
    world.evaluation().await;
    let two = world.ask_and_wait(wide_request(&[1.0, 2.0], &[1, 2]), 1).await;
    let one = world.ask_and_wait(wide_request(&[3.0], &[1, 1]), 2).await;
    let again = world.ask_and_wait(wide_request(&[4.0, 5.0], &[1, 2]), 3).await;
    world.controls.open(3);
    assert_eq!(world.evaluation().await.x, [1.0, 2.0, 4.0, 5.0]);
    assert_eq!(world.evaluation().await.x, [3.0]);
    assert_eq!(*doubles(&again.await.unwrap().unwrap()), TensorData::Fp32(vec![8.0, 10.0]));
    for asking in [first, two, one] {
        assert!(asking.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn without_batching_nothing_is_joined() {
    let mut world = World::new(WAITS, ModelSettings { concurrency: Some(1), ..UNMEASURED }).await;
    let first = world.ask(request(&[1.0]));
    world.evaluation().await;
    let second = world.ask_and_wait(request(&[2.0]), 1).await;
    let third = world.ask_and_wait(request(&[3.0]), 2).await;
    world.controls.open(3);
    assert_eq!((world.evaluation().await.x, world.evaluation().await.x), (vec![2.0], vec![3.0]));
    for asking in [first, second, third] {
        assert!(asking.await.unwrap().is_ok());
    }
    assert_eq!(world.statistics().compute_input, Elapsed { count: 3, ns: 0 });
}
