//! Random histories: whatever several handles put, transfer, forget and collect, nothing that a root needs is lost.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ropewalk_store::{NoProgress, Root, Store, StoreError, Tree, TreeEntry};
use ropewalk_types::Digest;

use crate::collection::settings;
use crate::{Harness, noise};

#[derive(Clone, Debug)]
enum Step {
    /// A handle puts a directory of these blobs and makes it a root.
    Put { handle: usize, blobs: Vec<u64> },
    /// The same, begun before and ended after a collection.
    PutAround { handle: usize, blobs: Vec<u64> },
    /// A root is given up.
    Forget { root: usize },
    /// A day passes, and a handle collects.
    Collect { handle: usize },
    /// All roots go to another store, which collects.
    Copy { handle: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let blobs = || prop::collection::vec(0..12_u64, 1..5);
    let step = prop_oneof![
        (0..3_usize, blobs()).prop_map(|(handle, blobs)| Step::Put { handle, blobs }),
        (0..3_usize, blobs()).prop_map(|(handle, blobs)| Step::PutAround { handle, blobs }),
        any::<usize>().prop_map(|root| Step::Forget { root }),
        (0..3_usize).prop_map(|handle| Step::Collect { handle }),
        (0..3_usize).prop_map(|handle| Step::Copy { handle }),
    ];
    prop::collection::vec(step, 1..14)
}

struct History {
    handles: Vec<Store>,
    other: Store,
    roots: Vec<Root>,
    graces: u32,
}

impl History {
    async fn collect(&mut self, handle: usize) {
        self.graces += 1;
        self.handles[handle].collect(&self.roots, &settings(self.graces)).await.unwrap();
    }

    async fn put(&mut self, handle: usize, blobs: &[u64], around: bool) {
        let store = self.handles[handle].clone();
        let mut tries = 0;
        loop {
            let mut writer = store.writer();
            let mut files = BTreeMap::new();
            for seed in blobs {
                let blob = writer.add_bytes(noise(*seed, 500 + *seed as usize).into()).await.unwrap();
                files.insert(
                    seed.to_string(),
                    TreeEntry::File { digest: blob.digest, size: blob.size, executable: false },
                );
            }
            if around && tries == 0 {
                self.collect((handle + 1) % 3).await;
            }
            let mut tree = Tree::new();
            for (name, entry) in files {
                tree.insert(name, entry).unwrap();
            }
            let digest = writer.add_tree(&tree).await.unwrap();
            match writer.commit().await {
                Ok(()) => return self.roots.push(Root::Tree(digest)),
                // Its handle had not looked since another collected, or one collected in between.
                Err(StoreError::Collected { .. }) if tries < 2 => tries += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Put { handle, blobs } => self.put(handle, &blobs, false).await,
            Step::PutAround { handle, blobs } => self.put(handle, &blobs, true).await,
            Step::Forget { .. } if self.roots.is_empty() => {}
            Step::Forget { root } => {
                self.roots.swap_remove(root % self.roots.len());
            }
            Step::Collect { handle } => self.collect(handle).await,
            Step::Copy { handle } => {
                self.handles[handle].copy_to(&self.other, &self.roots, &NoProgress).await.unwrap();
                self.graces += 1;
                self.other.collect(&self.roots, &settings(self.graces)).await.unwrap();
                self.check(&self.other).await;
            }
        }
        for handle in &self.handles {
            self.check(handle).await;
        }
    }

    async fn check(&self, store: &Store) {
        for root in &self.roots {
            for file in store.tree_files(root.digest()).await.unwrap() {
                let bytes = store.get_bytes(&file.digest).await.unwrap();
                assert_eq!(Digest::of(&bytes), file.digest);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn nothing_that_a_root_needs_is_lost(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (harness, other) = (Harness::in_memory(), Harness::in_memory());
            let handles = vec![harness.open().await, harness.open().await, harness.open().await];
            let mut history = History { handles, other: other.open().await, roots: Vec::new(), graces: 0 };
            for step in steps {
                history.step(step).await;
            }
            history.check(&harness.open().await).await;
        });
    }
}
