//! What a person is told, in words that are true and can be used as they stand.

use super::{Place, birds, git, read};
use crate::harness::{Project, talk};

#[cfg(unix)]
#[test]
fn a_change_of_mode_is_told_as_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = birds(&Place::local());
    let set_mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(project.path("photos/wren.jpg"), permissions).expect("mode");
    };
    set_mode(0o755);
    assert!(project.succeed(&["data", "status"]).contains("~ wren.jpg (now executable)"));
    assert!(project.succeed(&["data", "diff", "photos"]).contains("~ wren.jpg (now executable)"));
    project.succeed(&["data", "commit", "photos", "-m", "executable"]);
    let told = project.succeed(&["data", "diff", "photos@v2", "photos@v1"]);
    assert!(told.contains("~ wren.jpg (no longer executable)"), "{told}");
    set_mode(0o644);
    project.write("photos/wren.jpg", "changed");
    let told = project.succeed(&["data", "diff", "photos"]);
    assert!(told.contains("~ wren.jpg (8 B to 7 B, no longer executable)"), "{told}");
    let told = project.json(&["data", "diff", "photos"]);
    assert_eq!(told["changed"][0]["executable"], false, "{told}");
}

#[test]
fn names_that_are_no_words_of_a_shell() {
    let project = Project::new();
    git(project.root(), &["init", "-q"]);
    project.succeed(&["init", "."]);
    project.write("two birds /a", "1");
    let said = project.fail(2, &["data", "add", "two birds "]);
    assert!(said.contains("cannot name a dataset") && said.contains("`--name`"), "{said}");
    let told = project.succeed(&["data", "add", "two birds ", "--name", "two"]);
    assert!(told.contains("git add 'two birds .dataset'"), "{told}");
    project.succeed(&["data", "commit", "-m", "two"]);
    let before = read(&project, ".gitignore");
    for _ in 0..2 {
        project.succeed(&["data", "checkout", "two"]);
    }
    assert_eq!(read(&project, ".gitignore"), before);
}

#[test]
fn what_is_misspelt_is_not_fetched() {
    let place = Place::local();
    let project = birds(&place);
    project.succeed(&["push"]);
    let said = project.fail(2, &["fetch", "photo"]);
    assert!(said.contains("`photo`") && said.contains("there are `photos`"), "{said}");
    project.succeed(&["fetch", "photos"]);
}

#[test]
fn a_table_is_told_from_a_dataset_that_is_not_there() {
    let project = Project::with(&[
        ("ropewalk.toml", "[project]\nname = \"x\"\n[data.orders]\nsource = \"orders.csv\"\n"),
        ("orders.csv", "a\n1\n"),
    ]);
    project.succeed(&["run"]);
    for arguments in [
        ["checkout", "orders"].as_slice(),
        &["restore", "orders"],
        &["commit", "orders", "-m", "x"],
        &["merge", "orders"],
        &["rm", "orders"],
    ] {
        let said = project.fail(2, &[["data"].as_slice(), arguments].concat());
        assert!(said.contains("`orders` is a table") && said.contains("data show orders"), "{arguments:?}: {said}");
    }
    let said = project.fail(2, &["data", "checkout", "order"]);
    assert!(said.contains("there is no dataset `order`"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed_makes_a_command_fail() {
    let project = birds(&Place::local());
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = project.command(&["data", "status"]).stdout(full).output().expect("starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(talk(&output).contains("cannot be printed"), "{}", talk(&output));
}

#[cfg(unix)]
#[test]
fn data_that_became_a_link_is_not_clean() {
    let project = birds(&Place::local());
    std::fs::rename(project.path("photos"), project.path("elsewhere")).expect("rename");
    std::os::unix::fs::symlink("elsewhere", project.path("photos")).expect("link");
    let output = project.run(&["data", "status"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && told.contains("it is a symbolic link"), "{told}");
    assert!(project.fail(2, &["data", "commit", "photos", "-m", "x"]).contains("it is a symbolic link"));
}
