use ropewalk_store::Store;
use ropewalk_types::Digest;

use crate::harness::{Project, python};

/// Where a project has its store.
const STORE: &str = ".ropewalk/store";

const SALES: &str = "\
[project]
name = \"sales\"
[data.sales]
source = \"sales.csv\"
[stage.totals]
sql = \"totals.sql\"
";

fn sales() -> Project {
    Project::with(&[
        ("ropewalk.toml", SALES),
        ("sales.csv", "shop,amount\nA,1\nB,2\nA,3\n"),
        ("totals.sql", "SELECT shop, sum(amount) AS total FROM sales GROUP BY shop ORDER BY shop"),
    ])
}

#[test]
fn a_misspelt_key_is_told_with_the_right_one() {
    let project = Project::with(&[("ropewalk.toml", "[project]\nname = \"x\"\n[data.a]\nsorce = \"a.csv\"\n")]);
    let said = project.fail(2, &["run"]);
    assert!(said.contains("sorce") && said.contains("did you mean `source`?"), "{said}");
}

#[test]
fn without_a_project_every_command_says_what_to_do() {
    let project = Project::new();
    for command in
        [["run"].as_slice(), &["status"], &["serve"], &["data", "ls"], &["trace", "git:aa"], &["sql", "SELECT 1"]]
    {
        let said = project.fail(2, command);
        assert!(said.contains("ropewalk init"), "{command:?}: {said}");
    }
}

#[test]
fn a_changed_input_executes_what_hangs_on_it_and_nothing_else() {
    let project = sales();
    project.succeed(&["run"]);
    assert_eq!(project.json(&["sql", "SELECT total FROM totals WHERE shop = 'A'"])[0]["total"], 4);
    project.write("totals.sql", "SELECT shop, max(amount) AS total FROM sales GROUP BY shop ORDER BY shop");
    let told = project.json(&["run"]);
    assert_eq!(told["stages"][0]["state"], "cached", "{told}");
    assert_eq!(told["stages"][1]["state"], "executed", "{told}");
    assert_eq!(project.json(&["sql", "SELECT total FROM totals WHERE shop = 'A'"])[0]["total"], 3);
    assert_eq!(project.json(&["data", "ls"]).as_array().expect("versions").len(), 3, "the old version stays");
}

#[test]
fn bad_input_is_one_clear_error() {
    let project = sales();
    std::fs::remove_file(project.path("sales.csv")).expect("remove");
    let said = project.fail(1, &["run"]);
    assert!(said.contains("sales.csv"), "{said}");

    project.write("sales.csv", "shop,amount\nA,1\n");
    project.write("totals.sql", "SELECT shp FROM sales");
    let said = project.fail(1, &["run"]);
    assert!(said.contains("shp"), "{said}");

    project.write("totals.sql", "DROP TABLE sales");
    project.fail(1, &["run"]);
    assert!(project.json(&["data", "ls"]).as_array().expect("versions").iter().all(|row| row["name"] == "sales"));
}

/// A gate that cannot hold: exit code 1 with the figures, the version is kept, the alias does not move.
#[test]
fn a_failed_gate_is_exit_code_1_with_the_figures() {
    let project = Project::flights();
    let text = std::fs::read_to_string(project.path("ropewalk.toml")).expect("project file");
    project.write("ropewalk.toml", &text.replace("auc >= 0.66", "auc >= 0.99"));
    let said = project.fail(1, &["run"]);
    assert!(said.contains("0.99") && said.contains("auc"), "{said}");
    let models = project.json(&["models", "ls"]);
    assert_eq!(models[0]["latest"]["version"], 1);
    assert_eq!(models[0]["aliases"], serde_json::json!({}));
    let said = project.fail(2, &["serve"]);
    assert!(said.contains("champion"), "{said}");

    project.write("ropewalk.toml", &text);
    project.succeed(&["run"]);
    assert_eq!(project.json(&["models", "ls"])[0]["aliases"]["champion"], 1, "the same version, now promoted");
}

const STEP: &str = r#"
import mlflow, os, pathlib
assert pathlib.Path("inputs/sales/data").is_dir()
mlflow.log_param("colour", "blue")
for step in range(3):
    mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
pathlib.Path("note.txt").write_text("made of " + os.environ["FLAVOUR"])
mlflow.log_artifact("note.txt")
# It is no output, and no part of the code of a later run: only this run has it.
pathlib.Path("logged.txt").write_text("logged with " + os.environ["FLAVOUR"])
mlflow.log_artifact("logged.txt")
pathlib.Path("logged.txt").unlink()
"#;

/// Plain `mlflow` calls in the user's own code land in the stage's run, with no set-up.
#[test]
fn a_python_stage_is_tracked_by_plain_mlflow_calls() {
    let line = format!("{} step.py", python().display());
    let file = format!(
        "[project]\nname = \"sales\"\n[data.sales]\nsource = \"sales.csv\"\n[stage.step]\nrun = \"{line}\"\n\
         deps = [\"step.py\"]\nin = [\"sales\"]\nout = {{ note = \"note.txt\" }}\nenv = [\"FLAVOUR\"]\n"
    );
    let project = Project::with(&[("ropewalk.toml", &file), ("sales.csv", "shop,amount\nA,1\n"), ("step.py", STEP)]);
    let run = |flavour: &str| {
        let output = project.command(&["run", "--output", "json"]).env("FLAVOUR", flavour).output().expect("starts");
        assert!(output.status.success(), "{}", crate::harness::talk(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")["stages"][1].clone()
    };
    let stage = run("hemp");
    assert_eq!(stage["state"], "executed", "{stage}");
    let runs = project.json(&["runs", "ls"]);
    let tracked = runs.as_array().expect("runs").iter().find(|run| run["info"]["id"] == stage["run"]).expect("run");
    assert_eq!(tracked["info"]["status"], "FINISHED");
    assert_eq!(tracked["params"]["colour"], "blue");
    let loss =
        tracked["metrics"].as_array().expect("metrics").iter().find(|metric| metric["key"] == "loss").expect("loss");
    assert_eq!(loss["step"], 2);
    assert_eq!(run("hemp")["state"], "cached");
    assert_eq!(run("jute")["state"], "executed", "a declared variable is part of the key");

    let digest = |text: &str| Digest::of(text.as_bytes());
    let scrap = digest("nobody needs it");
    project.in_store(STORE, async |store: Store| store.put_bytes("nobody needs it".into()).await.expect("put"));
    project.succeed(&["data", "gc", "--grace", "0"]);
    project.in_store(STORE, async |store: Store| {
        assert!(!store.contains(&scrap).await.expect("the store"));
        for text in ["made of hemp", "made of jute", "logged with hemp", "logged with jute"] {
            assert_eq!(store.get_bytes(&digest(text)).await.expect("an artifact"), text);
        }
    });
    assert_eq!(run("hemp")["state"], "cached", "what it made is there");
}

#[test]
fn a_failing_command_shows_its_code_and_its_last_words() {
    let file = "[project]\nname = \"x\"\n[stage.step]\nrun = \"echo the reason >&2; exit 3\"\nout = { a = \"a\" }\n";
    let project = Project::with(&[("ropewalk.toml", file)]);
    let said = project.fail(1, &["run"]);
    assert!(said.contains("exit code 3") && said.contains("the reason"), "{said}");
    assert_eq!(project.json(&["runs", "ls"])[0]["info"]["status"], "FAILED");
}

#[test]
fn init_overwrites_nothing() {
    let project = Project::with(&[("ropewalk.toml", "mine")]);
    let said = project.fail(2, &["init"]);
    assert!(said.contains("ropewalk.toml"), "{said}");
    assert_eq!(std::fs::read_to_string(project.path("ropewalk.toml")).expect("file"), "mine");
}

#[test]
fn help_and_completions_are_there() {
    let project = Project::new();
    for command in
        ["demo", "init", "run", "status", "serve", "monitor", "trace", "sql", "data", "runs", "models", "doctor"]
    {
        assert!(project.succeed(&[command, "--help"]).contains("Usage:"), "{command}");
    }
    assert!(project.succeed(&["completions", "bash"]).contains("_ropewalk"));
}

/// A store on a file system without room: one error that says so, exit code 1 or 2, and nothing half-made is visible.
#[test]
fn a_full_disk_is_one_clear_error_and_leaves_nothing_half_made() {
    let project = Project::flights();
    let text = std::fs::read_to_string(project.path("ropewalk.toml")).expect("project file");
    let backends = "[backends]\nstorage = \"file:small/store\"\n[serve]";
    project.write("ropewalk.toml", &text.replace("[serve]", backends));
    let said = crate::harness::talk(&project.on_small_disk("1m", "\"$ropewalk\" run; echo \"code $?\" >&2"));
    assert!(said.contains("code 1") || said.contains("code 2"), "{said}");
    assert!(said.contains("No space left") && said.contains("free some space"), "{said}");
    // That file system is gone now, and with it the store: no other one is made in its place.
    let gone = project.fail(2, &["data", "ls"]);
    assert!(gone.contains("is gone") && gone.contains("store.place"), "{gone}");
    assert!(!project.path("small/store").exists());
    std::fs::remove_file(project.path(".ropewalk/store.place")).expect("the note");
    assert!(project.json(&["data", "ls"]).as_array().expect("versions").is_empty(), "{said}");
}
