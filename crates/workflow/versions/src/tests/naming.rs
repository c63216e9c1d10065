//! What versions may be called.

use ropewalk_types::{Diagnose as _, TagName};

use super::{Project, name};
use crate::history;

#[tokio::test]
async fn the_beginning_of_a_digest_that_is_here_is_no_tag_and_means_its_version() {
    let project = Project::new().await;
    project.write("data/a", "1");
    let first = project.commit_data("first").await;
    project.write("data/a", "2");
    project.commit("second").await;
    let (data, workspace) = (name("data"), &project.workspace);
    let second = workspace.resolve(&data, "latest").await.unwrap().digest;
    let short = TagName::new(first.short()).unwrap();
    let error = workspace.tag(&data, "v2", &short, false).await.unwrap_err();
    assert_eq!(error.code(), "versions.name");
    assert!(error.to_string().contains("a digest with this beginning"), "{error}");
    // As it could be set once; then it can be moved, too.
    history::tag_set(&project.store, &data, &short, &second, false).await.unwrap();
    workspace.tag(&data, "v1", &short, true).await.unwrap();
    workspace.tag(&data, "v2", &short, true).await.unwrap();
    // Such as the beginning of a commit of git.
    let begins = |tag: &str| [first, second].iter().any(|digest| digest.to_string().starts_with(tag));
    let commit = ["beef", "cafe"].into_iter().find(|tag| !begins(tag)).unwrap();
    workspace.tag(&data, "v2", &TagName::new(commit).unwrap(), false).await.unwrap();
    assert_eq!(workspace.resolve(&data, &first.short()).await.unwrap().digest, first);
    assert_eq!(workspace.resolve(&data, commit).await.unwrap().digest, second);
    for tag in workspace.tags(&data).await.unwrap().into_keys() {
        workspace.tag_remove(&data, &tag).await.unwrap();
    }
    assert!(workspace.tags(&data).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_tag_is_what_it_is_where_histories_cannot_be_read() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.commit_data("first").await;
    project.write("data/a", "2");
    let second = project.commit_data("second").await;
    let (data, tag) = (name("data"), TagName::new("beef").unwrap());
    history::tag_set(&project.store, &data, &tag, &second, false).await.unwrap();
    // Content under the name of a version: no object of one.
    let garbage = project.store.put_bytes("no version".into()).await.unwrap().digest;
    super::damaged::point(&project.store, "datasets/data/tags/other", &garbage).await;
    assert!(project.workspace.log(&data).await.unwrap_err().is_of_content());
    assert_eq!(project.workspace.resolve(&data, "beef").await.unwrap().digest, second);
}
