//! What a store forgets, and what it may not.

use ropewalk_store::{NoProgress, Root, Store};
use ropewalk_types::TagName;

use super::removing::{collect_here, root_of, with_a_hole};
use super::{Project, name};
use crate::PushOptions;

#[tokio::test]
async fn tombstones_and_deletions_outlive_a_dataset_that_is_forgotten() {
    let ada = with_a_hole().await;
    let (data, tag) = (name("data"), TagName::new("t").unwrap());
    ada.workspace.tag(&data, "v1", &tag, false).await.unwrap();
    ada.workspace.tag_remove(&data, &tag).await.unwrap();
    let removed = ada.workspace.recorded(&data, "v2").await.unwrap().digest;
    let (first, third) = (root_of(&ada, "v1").await, root_of(&ada, "v3").await);
    ada.workspace.remove(&data, false, false).await.unwrap();
    ada.workspace.forget(&data).await.unwrap();
    let left: Vec<_> =
        ada.store.ref_list("datasets/data/").await.unwrap().into_iter().map(|name| name.to_string()).collect();
    assert_eq!(left, [format!("datasets/data/removed/{removed}"), "datasets/data/untagged/t".to_owned()]);
    assert!(ada.workspace.names().await.unwrap().is_empty());
    assert_eq!(ada.workspace.roots().await.unwrap(), [Root::Blob(removed)], "nothing behind it");
    collect_here(&ada).await;
    assert!(ada.store.contains(&removed).await.unwrap());
    for root in [first, third] {
        assert!(!ada.store.contains(&root).await.unwrap());
    }
}

#[tokio::test]
async fn a_new_tag_that_an_old_deletion_meets_is_told_of() {
    let remote = Store::open("memory:").await.unwrap();
    let (data, tag) = (name("data"), TagName::new("t").unwrap());
    let push = async |project: &Project| {
        project.workspace.push(&remote, &[name("data")], PushOptions::default(), &NoProgress).await.unwrap()
    };
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    push(&ada).await;
    let bob = Project::at(1_800_000_000_000).await;
    bob.write("data.dataset", &ada.read("data.dataset").unwrap());
    bob.workspace.fetch(&remote, &[name("data")], false, &NoProgress).await.unwrap();
    ada.workspace.tag(&data, "v1", &tag, false).await.unwrap();
    push(&ada).await;
    ada.workspace.tag_remove(&data, &tag).await.unwrap();
    push(&ada).await;
    // Bob heard neither of the tag nor of its deletion.
    bob.workspace.tag(&data, "v1", &tag, false).await.unwrap();
    let pushed = push(&bob).await;
    assert_eq!((pushed.tags, pushed.gone_tags.as_slice()), (0, [(data.clone(), tag.clone())].as_slice()));
    bob.workspace.fetch(&remote, &[name("data")], false, &NoProgress).await.unwrap();
    assert!(bob.workspace.tags(&data).await.unwrap().is_empty());
    bob.workspace.tag(&data, "v1", &tag, false).await.unwrap();
    let pushed = push(&bob).await;
    assert_eq!((pushed.tags, pushed.gone_tags.len()), (1, 0));
}
