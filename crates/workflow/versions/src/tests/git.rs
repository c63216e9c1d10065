use ropewalk_store::Root;
use ropewalk_types::Diagnose as _;

use super::Project;
use crate::AddRequest;
use crate::git;

#[tokio::test]
async fn what_git_ignores_or_tracks_is_no_dataset() {
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    project.write(".gitignore", "/scratch/\n");
    project.write("scratch/data/a", "1");
    project.write("code/a.py", "1");
    project.git(&["add", "."]).await;
    let ignored = project.try_add("scratch/data").await.unwrap_err();
    assert!(ignored.to_string().contains("git ignores its folder"), "{ignored}");
    let tracked = project.try_add("code").await.unwrap_err();
    assert!(tracked.to_string().contains("git tracks it already"), "{tracked}");
    assert!(tracked.hint().unwrap().contains("git rm"), "{tracked}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_refused_command_leaves_is_nothing_to_git() {
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    project.write("data/a", "1");
    std::os::unix::fs::symlink("a", project.path("data/link")).unwrap();
    assert_eq!(project.try_add("data").await.unwrap_err().code(), "versions.links");
    assert!(project.read(".ropewalk/work/lock").is_some());
    assert_eq!(project.read(".ropewalk/.gitignore").as_deref(), Some("*\n"));
    // What somebody wrote there stays.
    project.write(".ropewalk/.gitignore", "/work\n");
    project.try_add("data").await.unwrap_err();
    assert_eq!(project.read(".ropewalk/.gitignore").as_deref(), Some("/work\n"));
}

#[tokio::test]
async fn what_any_commit_of_git_names_is_kept() {
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    project.write(".gitignore", "/.ropewalk\n");
    // Named like a pointer, and more than is read of an answer of git at once.
    project.write("notes.dataset", &"x".repeat(17 << 20));
    let mut trees = Vec::new();
    for text in ["first", "second", "third"] {
        project.write("data/a", text);
        trees.push(project.add("data").await.pointer.digest);
        if text != "third" {
            project.git(&["add", "."]).await;
            project.git(&["commit", "-q", "-m", text]).await;
        }
        if text == "first" {
            project.git(&["checkout", "-q", "-b", "topic"]).await;
        }
    }
    project.git(&["checkout", "-q", "-f", "-"]).await;
    // Nothing was ever committed as a version: only pointers name these trees.
    let roots = project.workspace.roots().await.unwrap();
    let mut expected: Vec<_> = trees.into_iter().map(Root::Tree).collect();
    expected.sort();
    assert_eq!(roots, expected);
}

#[tokio::test]
async fn what_git_tracks_can_be_tracked_all_the_same() {
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    project.write("data/a", "1");
    project.git(&["add", "."]).await;
    assert!(project.try_add("data").await.is_err());
    let request = AddRequest { path: "data".into(), force: true, ..AddRequest::default() };
    project.workspace.add(request).await.unwrap();
    assert!(project.workspace.git_tracks("data").await.unwrap(), "that is for who called to end");
    assert!(!project.workspace.git_tracks("other").await.unwrap());
}

#[tokio::test]
async fn branches_that_each_add_a_dataset_merge_cleanly() {
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    project.write("README", "1");
    project.write(".gitignore", "/.ropewalk\n");
    project.git(&["add", "."]).await;
    project.git(&["commit", "-q", "-m", "begin"]).await;
    for branch in ["birds", "cats"] {
        project.git(&["checkout", "-q", "-b", branch, if branch == "birds" { "HEAD" } else { "birds~1" }]).await;
        project.write(&format!("{branch}/a"), branch);
        project.add(branch).await;
        let pointer = format!("{branch}.dataset");
        project.git(&["add", ".gitignore", ".gitattributes", &pointer]).await;
        project.git(&["commit", "-q", "-m", branch]).await;
    }
    project.git(&["merge", "-q", "-m", "both", "birds"]).await;
    for path in ["birds/a", "cats/a", ".ropewalk/x"] {
        assert!(crate::git::ignores(project.root(), path.as_ref()).await.unwrap(), "{path}");
    }
    let names = project.workspace.datasets().await.unwrap().into_iter().map(|dataset| dataset.unwrap().path);
    assert_eq!(names.collect::<Vec<_>>(), ["birds", "cats"]);
    project.add("birds").await;
    project.add("cats").await;
    let lines = project.read(".gitignore").unwrap();
    assert_eq!(lines.lines().filter(|line| line.contains("birds")).count(), 1, "{lines}");
}

#[tokio::test]
async fn the_data_stays_out_of_git_and_the_pointer_does_not() {
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    project.write("data/a", "1");
    project.add("data").await;
    project.git(&["add", "."]).await;
    assert!(crate::git::tracks(project.root(), "data.dataset".as_ref()).await.unwrap());
    assert!(!crate::git::tracks(project.root(), "data".as_ref()).await.unwrap());
    assert!(crate::git::ignores(project.root(), "data/a".as_ref()).await.unwrap());
}

#[tokio::test]
async fn a_repository_may_have_any_number_of_files() {
    const FILES: usize = 100_000;
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    project.git(&["config", "filter.lfs.clean", "cat"]).await;
    project.write(".gitattributes", "data/** filter=lfs\n");
    project.write("data/first", "the only text");
    project.git(&["add", ".gitattributes", "data"]).await;
    let first = git::lfs_files(project.root()).await.unwrap();
    let [git::Staged { path, object }] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!(path, "data/first");
    // More than git may print for anything that is held in memory as a whole.
    let long = "x".repeat(180);
    let lines = (0..FILES).map(|number| format!("100644 {object} 0\tdata/{number:06}-{long}\n"));
    let lines: String = lines.collect();
    assert!(lines.len() > 16 << 20);
    let program = ropewalk_execution::Program {
        name: "git".to_owned(),
        arguments: ["update-index", "--add", "--index-info"].map(str::to_owned).to_vec(),
        directory: project.root().to_owned(),
        limit: 1 << 20,
    };
    let told = program.stream(lines.as_bytes(), &mut |_| ()).await.unwrap();
    assert!(told.exit.success(), "{}", told.error);

    let kept = git::lfs_files(project.root()).await.unwrap();
    assert_eq!(kept.len(), FILES + 1);
    assert_eq!(git::tracked_files(project.root()).await.unwrap().len(), FILES + 2);
    let objects = kept.iter().map(|file| file.object.as_str()).collect();
    for (limit, expected) in [(1023, vec![(object.clone(), b"the only text".to_vec())]), (4, Vec::new())] {
        let mut found = Vec::new();
        let mut each = |object: &str, bytes: &[u8]| found.push((object.to_owned(), bytes.to_owned()));
        git::small_blobs(project.root(), &objects, limit, &mut each).await.unwrap();
        assert_eq!(found, expected);
    }
}
