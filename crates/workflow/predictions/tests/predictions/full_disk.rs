use std::time::{Duration, Instant};

use ropewalk_predictions::{LogSettings, LogState};
use ropewalk_serving::{PredictionSink as _, ServingError};

use crate::world::{World, hasty, until};

/// The folder is not there and cannot be made, as a disk on which nothing has room.
struct FullDisk<'a>(&'a World);

impl<'a> FullDisk<'a> {
    fn begin(world: &'a World) -> Self {
        std::fs::rename(&world.home.folder, world.folder().join("aside")).unwrap();
        std::fs::write(&world.home.folder, b"in the way").unwrap();
        Self(world)
    }

    fn end(self) {
        std::fs::remove_file(&self.0.home.folder).unwrap();
        std::fs::rename(self.0.folder().join("aside"), &self.0.home.folder).unwrap();
    }
}

#[tokio::test]
async fn while_the_disk_is_full_records_wait_as_far_as_there_is_room_and_the_rest_is_counted() {
    let world = World::new().await;
    let log = world.log(LogSettings { waiting: 10, ..hasty() }).await;
    let full = FullDisk::begin(&world);
    let ids = world.fill(&log, 1, 10);
    let error = log.flush().await.unwrap_err();
    assert!(matches!(&error, ServingError::LogBroken { .. }), "{error}");
    assert!(matches!(log.state(), LogState::Broken { .. }));
    let started = Instant::now();
    world.fill(&log, 1, 1000);
    assert!(started.elapsed() < Duration::from_secs(1), "nobody waits");
    let counts = log.counts();
    assert_eq!((counts.logged, counts.logging, counts.lost), (0, 10, 1000));
    full.end();
    until("it recovers by itself", || log.state() == LogState::Working).await;
    log.flush().await.unwrap();
    assert_eq!(world.ids().await, ids);
    log.close().await.unwrap();
    assert_eq!(world.ids().await, ids);
    assert_eq!(log.counts().logged, 10);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_says_at_its_end_what_is_lost() {
    let world = World::new().await;
    let log = world.log(hasty()).await;
    let _full = FullDisk::begin(&world);
    world.fill(&log, 1, 7);
    let error = log.close().await.unwrap_err();
    assert!(matches!(error, ServingError::LogLost { records: 7, .. }), "{error}");
    let counts = log.counts();
    assert_eq!((counts.logged, counts.logging, counts.lost), (0, 0, 7));
}

#[tokio::test]
async fn while_the_catalogue_is_gone_journals_wait_and_then_so_does_memory() {
    let world = World::new().await;
    let log = world.log(LogSettings { journal_records: 1, unsealed_bytes: 1, ..hasty() }).await;
    until("it has looked around", || log.report().sealing_problem.is_none()).await;
    world.statement("ALTER TABLE prediction_journal RENAME TO elsewhere").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.extend(world.fill(&log, 1, 1));
        // The first two are written: a journal is ended when the next begins.
        let _ = log.flush().await;
    }
    until("it is said", || log.report().sealing_problem.is_some()).await;
    assert!(matches!(log.state(), LogState::Broken { problem } if problem.contains("wait to be sealed")));
    assert_eq!(log.counts().lost, 0);
    world.statement("ALTER TABLE elsewhere RENAME TO prediction_journal").await;
    until("it recovers by itself", || log.state() == LogState::Working).await;
    log.close().await.unwrap();
    assert_eq!(world.ids().await, ids);
}

#[tokio::test]
async fn what_cannot_be_sealed_at_the_end_is_said_and_not_lost() {
    let world = World::new().await;
    let log = world.log(hasty()).await;
    let ids = world.fill(&log, 1, 5);
    log.flush().await.unwrap();
    world.statement("ALTER TABLE prediction_journal RENAME TO elsewhere").await;
    let error = log.close().await.unwrap_err();
    assert!(matches!(&error, ServingError::LogBroken { problem } if problem.contains("is safe")), "{error}");
    assert_eq!(world.ids().await, ids, "it is read from the journal");
    world.statement("ALTER TABLE elsewhere RENAME TO prediction_journal").await;
    let next = world.log(hasty()).await;
    until("the next one seals it", || next.report().sealed.records == 5).await;
    next.close().await.unwrap();
    assert_eq!(world.ids().await, ids);
}
