//! What versions may be called.

use ropewalk_types::{Diagnose as _, TagName};

use super::{Project, name};
use crate::history;

#[tokio::test]
async fn the_beginning_of_a_digest_is_no_tag_and_means_its_version() {
    let project = Project::new().await;
    project.write("data/a", "1");
    let first = project.commit_data("first").await;
    project.write("data/a", "2");
    project.commit("second").await;
    let (data, workspace) = (name("data"), &project.workspace);
    let second = workspace.resolve(&data, "latest").await.unwrap().digest;
    for tag in [first.short(), "beef".to_owned()] {
        let tag = TagName::new(tag).unwrap();
        let error = workspace.tag(&data, "v2", &tag, false).await.unwrap_err();
        assert_eq!(error.code(), "versions.name");
        assert!(error.to_string().contains("the beginning of a digest"), "{error}");
        // As it could be set once.
        history::tag_set(&project.store, &data, &tag, &second, false).await.unwrap();
    }
    assert_eq!(workspace.resolve(&data, &first.short()).await.unwrap().digest, first);
    assert_eq!(workspace.resolve(&data, "beef").await.unwrap().digest, second);
    for tag in workspace.tags(&data).await.unwrap().into_keys() {
        workspace.tag_remove(&data, &tag).await.unwrap();
    }
    assert!(workspace.tags(&data).await.unwrap().is_empty());
}
