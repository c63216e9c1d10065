//! The store as its users see it, on every back-end that is built in.

#![expect(clippy::unwrap_used, reason = "clippy exempts test functions, not what they share")]

mod blobs;
mod collection;
mod damage;
mod erasing;
mod harness;
mod healing;
mod histories;
#[cfg(unix)]
mod linking;
mod merging;
#[cfg(target_os = "linux")]
mod reflink;
mod refs;
mod sharing;
mod transfer;
mod trees;
mod work_trees;

pub(crate) use harness::{Harness, dropped_after, noise};

/// Runs an `async fn(Harness)` as one test for each back-end: the conformance suite is all that is named here.
macro_rules! on_every_backend {
    ($($test:ident),* $(,)?) => {
        mod on_disk {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::Harness::on_disk()).await;
            })*
        }
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::Harness::in_memory()).await;
            })*
        }
    };
}
pub(crate) use on_every_backend;
