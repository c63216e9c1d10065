//! Files on disk, asked and added as a person does.

use crate::harness::{Project, talk};

fn project() -> Project {
    Project::with(&[("ropewalk.toml", "[project]\nname = \"files\"\n[data.a]\nsource = \"a.csv\"\n")])
}

#[test]
fn a_file_is_the_same_table_asked_and_imported() {
    let project = project();
    project.write("a.csv", "code;at\n007;2013-01-01\n8\nNA;2013-01-02\n");
    let asked = project.run(&["sql", "SELECT code, at FROM 'a.csv' ORDER BY at", "--format", "csv"]);
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "code,at\n007,2013-01-01\n,2013-01-02\n");
    let said = talk(&asked);
    assert!(said.contains("left out of `a.csv`: 1 row that did not fit; the first: row 3, `8`"), "{said}");
    project.succeed(&["data", "import", "a"]);
    assert_eq!(project.succeed(&["sql", "SELECT code, at FROM a ORDER BY at", "--format", "csv"]).lines().count(), 3);
    let described = project.json(&["data", "describe", "--file", "*.csv"]);
    assert_eq!((&described["rows"], &described["columns"][1]["type"]), (&2.into(), &"date".into()), "{described}");
    project.write("late.csv", &format!("n\n{}1.5\n", "1\n".repeat(1 << 18)));
    let said = project.fail(2, &["sql", "SELECT max(n) AS m FROM 'late.csv'"]);
    assert!(said.contains("`late.csv`") && said.contains("row 262146") && said.contains("hint: import"), "{said}");
    project.fail(2, &["data", "describe"]);
}

#[cfg(unix)]
#[test]
fn links_are_decided_on() {
    let project = project();
    project.write("photos/a.jpg", "1");
    project.write("shared/b.jpg", "22");
    std::os::unix::fs::symlink("../shared", project.path("photos/more")).expect("link");
    let said = project.fail(2, &["data", "add", "photos"]);
    assert!(said.contains("`more`") && said.contains("--follow-links") && said.contains("--skip-links"), "{said}");
    let added = project.json(&["data", "add", "photos", "--skip-links"]);
    assert_eq!(added["skipped_links"][0], "more", "{added}");
    project.succeed(&["data", "commit", "photos", "-m", "without the link"]);
    project.succeed(&["data", "status"]);
    let added = project.json(&["data", "add", "photos", "--follow-links"]);
    assert_eq!((&added["followed_links"][0], &added["pointer"]["files"]), (&"more".into(), &2.into()), "{added}");
    assert!(project.path("photos/more/b.jpg").is_file() && !project.path("photos/more").is_symlink());
}
