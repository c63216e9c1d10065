//! A source that cannot say whether it changed, asked again.

use crate::harness::Project;

#[test]
fn the_same_rows_make_no_version_and_nothing_after_them() {
    let file = |rows: &str| {
        format!(
            "[project]\nname = \"x\"\n[data.a]\nsource = \"sqlite:.ropewalk/catalog.db\"\nquery = \"{rows}\"\n\
             [stage.twice]\nsql = \"twice.sql\"\n"
        )
    };
    let project =
        Project::with(&[("ropewalk.toml", "[project]\nname = \"x\"\n"), ("twice.sql", "SELECT 2 * n AS m FROM a")]);
    // Any database will do: the catalogue is one.
    project.succeed(&["status"]);
    project.write("ropewalk.toml", &file("SELECT 1 AS n UNION ALL SELECT 2"));
    project.succeed(&["run"]);
    let report = || project.json(&["data", "show", "a"])["report"].clone();
    let first = report();
    project.succeed(&["data", "import", "a"]);
    project.succeed(&["data", "import", "a", "--full"]);
    let versions = |name: &str| project.json(&["data", "log", name]).as_array().map(Vec::len);
    assert_eq!((versions("a"), report()), (Some(1), first));
    let trail = project.json(&["data", "audit", "a"]);
    let entries = |action: &str| -> Vec<_> {
        trail.as_array().into_iter().flatten().filter(|entry| entry["action"] == action).collect()
    };
    let (looked, wrote) = (entries("import"), entries("write"));
    assert_eq!((looked.len(), wrote.len()), (2, 1), "{trail}");
    assert_eq!((looked[0]["details"]["new_rows"].as_u64(), &looked[0]["object"]), (Some(0), &wrote[0]["object"]));
    let told = project.json(&["run"]);
    let stages = told["stages"].as_array().expect("stages");
    assert!(stages.len() == 2 && stages.iter().all(|stage| stage["state"] == "cached"), "{told}");

    project.write("ropewalk.toml", &file("SELECT 1 AS n UNION ALL SELECT 3"));
    project.succeed(&["run"]);
    assert_eq!((versions("a"), versions("twice")), (Some(2), Some(2)));
}
