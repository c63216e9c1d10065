use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Project, talk};

const SHOPS: &str = r#"
[project]
name = "shops"
[data.sales]
source = "sales.csv"
[stage.totals]
sql = "totals.sql"
out = "totals"
[stage.note]
run = "ls inputs/totals > listed.txt; printf '%s' \"$FLAVOUR\" | cat - text.txt > note.txt; date +%N"
deps = ["text.txt"]
in = ["totals"]
env = ["FLAVOUR"]
out = { note = "note.txt" }
"#;

fn shops() -> Project {
    Project::with(&[
        ("ropewalk.toml", SHOPS),
        ("sales.csv", "shop,amount\nA,1\nB,2\nA,3\n"),
        ("totals.sql", "SELECT shop, sum(amount) AS total FROM sales GROUP BY shop ORDER BY shop"),
        ("text.txt", "one\n"),
        ("uv.lock", "version = 1\n"),
    ])
}

/// The exit code and what was printed, with FLAVOUR set.
fn flavoured(project: &Project, flavour: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let arguments = [arguments, &["--output", "json"]].concat();
    let output = project.command(&arguments).env("FLAVOUR", flavour).output().expect("starts");
    let told = serde_json::from_slice(&output.stdout);
    (output.status.code(), told.unwrap_or_else(|_| panic!("{arguments:?}: {}", talk(&output))))
}

/// The run of each stage, by the stage's name.
fn runs(project: &Project, flavour: &str) -> impl Fn(&str) -> String {
    let (code, told) = flavoured(project, flavour, &["run"]);
    assert_eq!(code, Some(0), "{told}");
    let stages = told["stages"].as_array().expect("stages").clone();
    move |name: &str| {
        let stage = stages.iter().find(|stage| stage["name"] == name).expect("a stage");
        stage["run"].as_str().expect("a run").to_owned()
    }
}

fn verdicts(told: &Value, what: &str) -> Vec<(String, String)> {
    let compared = told["compared"].as_array().expect("compared").iter().filter(|one| one["what"] == what);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    compared.map(|one| (text(&one["name"]), text(&one["verdict"]))).collect()
}

fn git(project: &Project, arguments: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"];
    let mut command = Command::new("git");
    let output = command.args(identity).args(arguments).current_dir(project.root()).output().expect("git");
    assert!(output.status.success(), "{arguments:?}: {}", talk(&output));
}

#[test]
fn a_run_is_done_again_from_what_is_recorded_whatever_became_of_the_work_tree() {
    let project = shops();
    let first = runs(&project, "hemp");
    let count = project.json(&["runs", "list"]).as_array().expect("runs").len();
    // Code and source are others by now.
    project.write("totals.sql", "SELECT shop FROM sales");
    project.write("text.txt", "two\n");
    std::fs::remove_file(project.path("sales.csv")).expect("remove");
    for stage in ["totals", "note"] {
        let (code, told) = flavoured(&project, "hemp", &["reproduce", &first(stage)]);
        assert_eq!((code, &told["held"], &told["same_key"]), (Some(0), &json!(true), &json!(true)), "{told}");
    }
    let (code, told) = flavoured(&project, "jute", &["reproduce", &first("note")]);
    assert_eq!((code, &told["held"], &told["same_key"]), (Some(1), &json!(false), &json!(false)), "{told}");
    let different = ("note".to_owned(), "different".to_owned());
    assert_eq!(verdicts(&told, "output"), [different], "{told}");
    assert_eq!(project.json(&["runs", "list"]).as_array().expect("runs").len(), count, "nothing is recorded anew");

    // The source is read as it is now.
    let said = project.fail(1, &["reproduce", &first("sales")]);
    assert!(said.contains("sales.csv"), "{said}");
    project.write("sales.csv", "shop,amount\nA,1\nB,2\nA,3\n");
    let (code, told) = flavoured(&project, "hemp", &["reproduce", &first("sales")]);
    assert_eq!((code, &told["sources"]), (Some(0), &json!([])), "{told}");
    project.write("sales.csv", "shop,amount\nA,9\n");
    let (code, told) = flavoured(&project, "hemp", &["reproduce", &first("sales")]);
    assert_eq!((code, &told["sources"][0]["name"]), (Some(1), &json!("sales.csv")), "{told}");
    project.write("uv.lock", "version = 2\n");
    let (_, told) = flavoured(&project, "hemp", &["reproduce", &first("note")]);
    assert_eq!(told["environment"][0]["name"], "uv.lock", "{told}");
    project.fail(2, &["reproduce", &"0".repeat(32)]);
}

#[test]
fn what_differs_between_two_runs_is_told_by_what_it_is_about() {
    let project = shops();
    git(&project, &["init", "-q"]);
    project.write(".gitignore", ".ropewalk\n");
    git(&project, &["add", "."]);
    git(&project, &["commit", "-q", "-m", "one"]);
    let clean = runs(&project, "hemp")("note");
    project.write("text.txt", "two\n");
    project.write("sales.csv", "shop,amount\nA,1\n");
    let dirty = runs(&project, "hemp")("note");
    let shown = project.json(&["runs", "show", &dirty]);
    let code = &shown["lineage"]["code"];
    assert_eq!((&code["clean"], code["patch"].is_string()), (&json!(false), true), "{shown}");
    assert!(shown["lineage"]["hardware"]["cores"].as_u64().is_some_and(|cores| cores > 0), "{shown}");
    assert_eq!(shown["lineage"]["environment"]["lock"]["path"], "uv.lock");

    let told = project.json(&["runs", "diff", &clean, &dirty]);
    let names = |section: &str| -> Vec<String> {
        let section = told[section].as_array().unwrap_or_else(|| panic!("{section} in {told}"));
        section.iter().map(|one| one["name"].as_str().expect("name").to_owned()).collect()
    };
    assert_eq!(names("code"), ["files", "patch"]);
    assert_eq!(names("data"), ["totals"]);
    assert!(names("artifacts").contains(&"note.txt".to_owned()), "{told}");
    assert!(names("environment").is_empty() && names("hardware").is_empty() && names("params").is_empty(), "{told}");
    let text = project.succeed(&["runs", "diff", &clean, &dirty]);
    assert!(text.contains("data") && text.contains("totals"), "{text}");
    assert!(project.succeed(&["runs", "diff", &clean, &clean]).contains("nothing differs"));

    // A collection of garbage lets go of code that git has: it comes from there.
    project.succeed(&["data", "gc", "--grace", "0"]);
    for run in [&clean, &dirty] {
        let (code, told) = flavoured(&project, "hemp", &["reproduce", run]);
        assert_eq!(code, Some(0), "{told}");
    }
}
