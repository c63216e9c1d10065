//! The conformance suite against a real server of the S3 protocol, which must check signatures and honour conditional
//! writes. `ROPEWALK_TEST_S3` is its endpoint, `ROPEWALK_TEST_S3_KEY` and `ROPEWALK_TEST_S3_SECRET` are its credentials;
//! it must have a bucket called `ropewalk-test`, or make it when it is first written to.

#![expect(clippy::unwrap_used, reason = "clippy exempts test functions, not what they share")]

#[path = "store/collection.rs"]
mod collection;
#[path = "store/harness.rs"]
mod harness;
#[path = "store/refs.rs"]
mod refs;
#[path = "store/sharing.rs"]
mod sharing;
#[path = "store/transfer.rs"]
mod transfer;
#[path = "store/work_trees.rs"]
mod work_trees;

use ropewalk_store::{BackendOptions, Store, object_store_at};
use ropewalk_types::Diagnose as _;

pub(crate) use harness::{Harness, noise};

/// Runs an `async fn(Harness)` as one test against the server.
macro_rules! on_every_backend {
    ($($test:ident),* $(,)?) => {
        mod in_s3 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::in_s3()).await;
            })*
        }
    };
}
pub(crate) use on_every_backend;

const BUCKET: &str = "s3://ropewalk-test";

fn variable(name: &str) -> String {
    let missing = "the set-up of the tests starts an S3 server and exports its endpoint, key and secret";
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: {missing}"))
}

fn options(secret: &str) -> BackendOptions {
    BackendOptions::new([
        ("AWS_ENDPOINT_URL", variable("ROPEWALK_TEST_S3")),
        ("AWS_ACCESS_KEY_ID", variable("ROPEWALK_TEST_S3_KEY")),
        ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
    ])
}

fn in_s3() -> Harness {
    Harness::remote(BUCKET, options(&variable("ROPEWALK_TEST_S3_SECRET")))
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_not_repeated() {
    let error = Store::open_with(&format!("{BUCKET}/wrong"), &options("wrong-secret-of-the-test")).await.unwrap_err();
    assert_eq!(error.code(), "store.backend");
    assert!(!format!("{error} {error:?}").contains("wrong-secret-of-the-test"), "{error}");
}

#[tokio::test]
async fn a_store_shows_no_secret() {
    let secret = variable("ROPEWALK_TEST_S3_SECRET");
    let store = in_s3().open().await;
    assert!(!format!("{store:?} {:?}", options(&secret)).contains(&secret));
}

#[tokio::test]
async fn large_blobs_go_in_parts_and_objects_are_found_by_others() {
    use object_store::ObjectStoreExt as _;
    let store = in_s3().open().await;
    let bytes = noise(1, 40 << 20);
    let blob = store.put_bytes(bytes.clone().into()).await.unwrap();
    assert!(store.get_bytes(&blob.digest).await.unwrap() == bytes);

    let url = format!("{BUCKET}/foreign/{}.csv", blob.digest);
    let (foreign, path) = object_store_at(&url, &options(&variable("ROPEWALK_TEST_S3_SECRET"))).unwrap();
    foreign.put(&path, "a,b".into()).await.unwrap();
    assert_eq!(foreign.get(&path).await.unwrap().bytes().await.unwrap(), "a,b");
}
