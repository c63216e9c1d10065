//! The conformance suite against servers of the protocols of clouds, which check signatures and honour conditional
//! writes: SeaweedFS for S3, Microsoft's emulator Azurite for Azure Blob Storage. `cargo xtask test` starts them and
//! says by environment variables where they are, and with which credentials.

#![expect(clippy::unwrap_used, reason = "clippy exempts test functions, not what they share")]

#[path = "store/blobs.rs"]
mod blobs;
#[path = "store/collection.rs"]
mod collection;
#[path = "store/harness.rs"]
mod harness;
#[path = "store/healing.rs"]
mod healing;
#[path = "store/merging.rs"]
mod merging;
#[path = "store/refs.rs"]
mod refs;
#[path = "store/sharing.rs"]
mod sharing;
#[path = "store/transfer.rs"]
mod transfer;
#[path = "store/trees.rs"]
mod trees;
#[path = "store/work_trees.rs"]
mod work_trees;

use ropewalk_store::{BackendOptions, Store, object_store_at};
use ropewalk_types::Diagnose as _;

pub(crate) use harness::{Harness, dropped_after, noise};

/// Runs an `async fn(Harness)` as one test against each server.
macro_rules! on_every_backend {
    ($($test:ident),* $(,)?) => {
        mod in_s3 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::Cloud::s3().harness()).await;
            })*
        }
        mod in_azure {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::Cloud::azure().harness()).await;
            })*
        }
    };
}
pub(crate) use on_every_backend;

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests by `cargo xtask test`, which starts the servers"))
}

/// A bucket or container, and how it is reached.
struct Cloud {
    url: String,
    settings: Vec<(&'static str, String)>,
    secret: (&'static str, String),
    /// One that the server must refuse.
    wrong: &'static str,
}

impl Cloud {
    fn s3() -> Self {
        Self {
            url: format!("s3://{}", variable("ROPEWALK_TEST_S3_BUCKET")),
            settings: vec![
                ("AWS_ENDPOINT_URL", variable("ROPEWALK_TEST_S3")),
                ("AWS_ACCESS_KEY_ID", variable("ROPEWALK_TEST_S3_KEY")),
            ],
            secret: ("AWS_SECRET_ACCESS_KEY", variable("ROPEWALK_TEST_S3_SECRET")),
            wrong: "wrong-secret-of-the-test",
        }
    }

    fn azure() -> Self {
        Self {
            url: format!("az://{}", variable("ROPEWALK_TEST_AZURE_CONTAINER")),
            settings: vec![
                ("AZURE_STORAGE_ENDPOINT", variable("ROPEWALK_TEST_AZURE")),
                ("AZURE_STORAGE_ACCOUNT_NAME", variable("ROPEWALK_TEST_AZURE_ACCOUNT")),
            ],
            secret: ("AZURE_STORAGE_ACCOUNT_KEY", variable("ROPEWALK_TEST_AZURE_KEY")),
            // Base64, as every key of Azure is.
            wrong: "d3Jvbmctc2VjcmV0LW9mLXRoZS10ZXN0",
        }
    }

    fn all() -> [Self; 2] {
        [Self::s3(), Self::azure()]
    }

    fn options(&self) -> BackendOptions {
        self.options_with(&self.secret.1)
    }

    fn options_with(&self, secret: &str) -> BackendOptions {
        let secret = (self.secret.0, secret.to_owned());
        BackendOptions::new(self.settings.iter().cloned().chain([secret]))
    }

    fn harness(&self) -> Harness {
        Harness::remote(&self.url, self.options())
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_not_repeated() {
    for cloud in Cloud::all() {
        let opened = Store::open_with(&format!("{}/wrong", cloud.url), &cloud.options_with(cloud.wrong)).await;
        let error = opened.unwrap_err();
        assert_eq!(error.code(), "store.backend", "{error}");
        assert!(!format!("{error} {error:?}").contains(cloud.wrong), "{error}");
    }
}

#[tokio::test]
async fn a_store_shows_no_secret() {
    for cloud in Cloud::all() {
        let store = cloud.harness().open().await;
        assert!(!format!("{store:?} {:?}", cloud.options()).contains(&cloud.secret.1), "{}", cloud.url);
    }
}

#[tokio::test]
async fn large_blobs_go_in_parts_and_objects_are_found_by_others() {
    use object_store::ObjectStoreExt as _;
    let bytes = noise(1, 40 << 20);
    for cloud in Cloud::all() {
        let harness = cloud.harness();
        let blob = harness.open().await.put_bytes(bytes.clone().into()).await.unwrap();
        assert!(harness.open().await.get_bytes(&blob.digest).await.unwrap() == bytes, "{}", cloud.url);

        let url = format!("{}/foreign/{}.csv", cloud.url, blob.digest);
        let (foreign, path) = object_store_at(&url, &cloud.options()).unwrap();
        foreign.put(&path, "a,b".into()).await.unwrap();
        assert_eq!(foreign.get(&path).await.unwrap().bytes().await.unwrap(), "a,b");
    }
}
