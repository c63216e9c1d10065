use ropewalk_store::files;
use ropewalk_types::Digest;

use crate::{Harness, noise, on_every_backend};

on_every_backend!(handles_see_each_other, many_commits_make_few_index_objects, writers_do_not_disturb_each_other);

async fn handles_see_each_other(harness: Harness) {
    let (one, two) = (harness.open().await, harness.open().await);
    for round in 0..3 {
        let (writer, reader) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let bytes = noise(round, 600_000);
        let blob = writer.put_bytes(bytes.clone().into()).await.unwrap();
        assert_eq!(reader.get_bytes(&blob.digest).await.unwrap(), bytes);
        assert!(reader.contains(&blob.digest).await.unwrap());
    }
}

async fn many_commits_make_few_index_objects(harness: Harness) {
    const COMMITS: u32 = 70;
    let (store, idle) = (harness.open().await, harness.open().await);
    for number in 0..COMMITS {
        store.put_bytes(number.to_string().into()).await.unwrap();
    }
    assert!(harness.count("index").await < COMMITS as usize / 2);
    let fresh = harness.open().await;
    for number in 0..COMMITS {
        let digest = Digest::of(number.to_string().as_bytes());
        assert_eq!(fresh.get_bytes(&digest).await.unwrap(), number.to_string());
        assert!(idle.contains(&digest).await.unwrap());
    }
}

async fn writers_do_not_disturb_each_other(harness: Harness) {
    let mut tasks = Vec::new();
    for task in 0..4_u64 {
        let store = harness.open().await;
        tasks.push(tokio::spawn(async move {
            for number in 0..25 {
                // Half of them are the same for all, so that everybody merges and repeats what others do.
                let seed = if number % 2 == 0 { number } else { task * 100 + number };
                store.put_bytes(noise(seed, 100).into()).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let store = harness.open().await;
    for seed in (0..25).filter(|seed| seed % 2 == 0).chain((0..4).flat_map(|task| [task * 100 + 1, task * 100 + 23])) {
        let bytes = noise(seed, 100);
        assert_eq!(store.get_bytes(&Digest::of(&bytes)).await.unwrap(), bytes, "{seed}");
    }
}

/// A changed file costs its change: 1 MB inserted into the middle of 64 MB.
#[tokio::test]
async fn an_insertion_is_cheap() {
    let harness = Harness::on_disk();
    let store = harness.open().await;
    let mut bytes = noise(1, 64 << 20);
    let path = harness.file("large", &bytes);
    store.put_file(&path).await.unwrap();
    let before: u64 = harness.objects("packs").iter().map(|pack| pack.size).sum();
    bytes.splice((32 << 20)..(32 << 20), noise(2, 1 << 20));
    files::write_atomic(&path, &bytes).unwrap();
    let blob = store.put_file(&path).await.unwrap();
    let after: u64 = harness.objects("packs").iter().map(|pack| pack.size).sum();
    assert!(after - before < 4 << 20, "{}", after - before);
    store.materialize(&blob.digest, &path).await.unwrap();
    assert!(files::read(&path).unwrap() == bytes);
}
