use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::harness::{Draws, Project};

/// Takes `a`, `b`, `carrier` and `month`; gives a label and two probabilities.
const MODEL: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../foundation/inference/tests/fixtures/logistic_raw_columns.onnx");

/// Questions in SQL need one.
const PROJECT: &str = "[project]\nname = \"x\"\n";

fn table(rows: usize) -> String {
    let mut text = "id,a,b,carrier,month\n".to_owned();
    for row in 0..rows {
        let carrier = ["AA", "B6", "Zürich", "UA"][row % 4];
        writeln!(text, "{row},{}.5,-{}.25,{carrier},{}", row % 7, row % 5, row % 12 + 1).expect("text");
    }
    text
}

#[test]
fn a_model_scores_a_table_in_order() {
    let project = Project::with(&[("ropewalk.toml", PROJECT), ("new.csv", &table(50_000))]);
    let told = project.json(&["predict", MODEL, "--in", "new.csv", "--out", "scored.parquet", "--keep", "id,month"]);
    assert_eq!((&told["rows"], &told["known"]), (&50_000.into(), &0.into()), "{told}");
    let columns = "SELECT count(*) AS n, count(output_label) AS labels, sum(output_probability[1] + output_probability[2]) \
                   AS p FROM 'scored.parquet'";
    let found = &project.json(&["sql", columns])[0];
    assert_eq!((&found["n"], &found["labels"]), (&50_000.into(), &50_000.into()), "{found}");
    assert!((found["p"].as_f64().expect("p") - 50_000.0).abs() < 1.0, "{found}");
    let ids = project.json(&["sql", "SELECT id FROM 'scored.parquet' LIMIT 3"]);
    assert_eq!((&ids[0]["id"], &ids[2]["id"]), (&0.into(), &2.into()));
    // The same scores, whatever the number of threads and the size of batches.
    for (jobs, rows) in [("1", "1000"), ("5", "77")] {
        let to = format!("scored-{jobs}.parquet");
        let asked =
            ["predict", MODEL, "--in", "new.csv", "--out", &to, "--keep", "id", "--jobs", jobs, "--batch-rows", rows];
        project.json(&asked);
        let differ = format!(
            "SELECT count(*) AS n FROM 'scored.parquet' AS x JOIN '{to}' AS y ON x.id = y.id \
             WHERE x.output_probability[1] = y.output_probability[1]"
        );
        assert_eq!(project.json(&["sql", &differ])[0]["n"], 50_000, "{to}");
    }
    let again = project.json(&["predict", MODEL, "--in", "new.csv", "--out", "scored.parquet", "--keep", "id,month"]);
    assert_eq!((&again["rows"], &again["known"]), (&0.into(), &1.into()), "{again}");
}

#[test]
fn what_cannot_be_scored_is_said_with_column_and_row() {
    let with = |text: &str| Project::with(&[("t.csv", text)]);
    let says = |project: &Project, more: &[&str]| {
        let mut asked = vec!["predict", MODEL, "--in", "t.csv", "--out", "o.parquet"];
        asked.extend(more);
        let said = project.fail(2, &asked);
        assert!(!project.path("o.parquet").exists(), "{said}");
        said
    };
    let half = with(&format!("{}9,1.5,1.5,AA,2.5\n", table(3)));
    assert!(says(&half, &[]).contains("column `month`, row 4: 2.5 is no INT64"));
    let absent = with(&format!("{}9,1.5,1.5,,2\n", table(3)));
    assert!(says(&absent, &[]).contains("column `carrier`, row 4: null is no BYTES"));
    let other = with(&table(3).replace("carrier", "airline"));
    assert!(says(&other, &[]).contains("input `carrier` has no column: there are id, a, b, airline, month"));
    let words = with(&table(3).replace(".5,", "x,"));
    assert!(says(&words, &[]).contains("column `a` is Utf8"));
    assert!(says(&with(&table(3)), &["--keep", "no"]).contains("`no`"));
    let none = with(&table(0));
    let told = none.json(&["predict", MODEL, "--in", "t.csv", "--out", "o.parquet"]);
    assert_eq!(told["rows"], 0, "{told}");
}

#[test]
fn killed_in_the_middle_nothing_is_half_written_and_it_goes_on() {
    let days: Vec<(String, String)> = (0..6).map(|day| (format!("days/{day}.csv"), table(30_000 + day))).collect();
    let files = days.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let files: Vec<(&str, &str)> = std::iter::once(("ropewalk.toml", PROJECT)).chain(files).collect();
    let project = Project::with(&files);
    let asked = ["predict", MODEL, "--in", "days", "--out", "scored"];
    let begun = Instant::now();
    project.succeed(&asked);
    let whole = begun.elapsed().max(Duration::from_millis(20));
    let mut draws = Draws(0xba7c);
    let mut kills = 0;
    while kills < 5 {
        std::fs::remove_dir_all(project.path("scored")).expect("scored");
        for _ in 0..4 {
            kills += usize::from(project.killed(&asked, whole.mul_f64(draws.next() * 0.6)));
            for day in 0..6 {
                let name = format!("scored/{day}.parquet");
                if project.path(&name).exists() {
                    let count = format!("SELECT count(*) AS n FROM '{name}'");
                    assert_eq!(project.json(&["sql", &count])[0]["n"], 30_000 + day, "{name} after {kills} kills");
                }
            }
        }
        let told = project.json(&asked);
        assert_eq!(told["files"].as_array().map(Vec::len), Some(6), "{told}");
    }
    assert_eq!(project.json(&asked)["known"], 6);
}

#[test]
fn a_stage_scores_a_dataset_by_what_another_stage_made() {
    let file = "[project]\nname = \"p\"\n[data.new]\nsource = \"new.csv\"\n\
                [stage.made]\nrun = \"cp given.onnx model.onnx\"\ndeps = [\"given.onnx\"]\nout = { model = \"model.onnx\" }\n\
                [stage.score]\npredict = { model = \"made\", table = \"new\", keep = [\"id\"] }\nout = \"scores\"\n";
    let project = Project::with(&[("ropewalk.toml", file), ("new.csv", &table(1000))]);
    std::fs::copy(MODEL, project.path("given.onnx")).expect("model");
    project.succeed(&["run"]);
    let found = project.json(&["sql", "SELECT count(*) AS n, min(id) AS first FROM scores"]);
    assert_eq!((&found[0]["n"], &found[0]["first"]), (&1000.into(), &0.into()), "{found}");
    let again = project.json(&["run"]);
    let states: Vec<_> = again["stages"].as_array().expect("stages").iter().map(|stage| &stage["state"]).collect();
    assert!(states.iter().all(|state| *state == "cached"), "{again}");
    project.write("new.csv", &table(1001));
    project.succeed(&["run"]);
    assert_eq!(project.json(&["sql", "SELECT count(*) AS n FROM scores"])[0]["n"], 1001);
}
