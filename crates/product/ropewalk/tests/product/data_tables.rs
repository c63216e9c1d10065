//! Sources, checks, questions and governance, as the project file declares them.

use crate::harness::Project;

const SHOP: &str = r#"
[project]
name = "shop"
[data.people]
source = "people.jsonl"
owner = "ada@example.com"
classification = "personal"
checks = [{ unique = "id" }, { not_null = "name" }]
[data.orders]
source = "orders/*.csv.gz"
retention_days = 30
checks = [
  { foreign_key = { column = "person", dataset = "people", references = "id" } },
  { between = { column = "amount", min = 0 }, severity = "warning" },
]
[stage.totals]
sql = "totals.sql"
checks = [{ row_count = { min = 1 } }]
"#;
const TOTALS: &str = "SELECT p.name, sum(o.amount) AS total FROM orders o JOIN people p ON p.id = o.person GROUP BY p.name ORDER BY p.name";

fn gz(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("gz");
    encoder.finish().expect("gz")
}

fn shop() -> Project {
    let project = Project::with(&[
        ("ropewalk.toml", SHOP),
        ("totals.sql", TOTALS),
        ("people.jsonl", "{\"id\":1,\"name\":\"Ada\",\"tags\":[\"a\"]}\n{\"id\":2,\"name\":\"Bob\",\"tags\":[]}\n"),
        ("orders/.keep", ""),
    ]);
    std::fs::write(project.path("orders/a.csv.gz"), gz("person,amount\n1,5\n2,7\n")).expect("write");
    std::fs::write(project.path("orders/b.csv.gz"), gz("person,amount\n1,-1\n")).expect("write");
    project
}

#[test]
fn checks_hold_before_anything_reads_the_data() {
    let project = shop();
    let told = project.json(&["run"]);
    let stages: Vec<_> = told["stages"].as_array().expect("stages").iter().map(|one| one["name"].as_str()).collect();
    assert!(stages.contains(&Some("check-orders")), "{told}");
    assert_eq!(project.json(&["sql", "SELECT total FROM totals WHERE name = 'Ada'"])[0]["total"], 4);

    std::fs::write(project.path("orders/b.csv.gz"), gz("person,amount\n9,3\n")).expect("write");
    let said = project.fail(1, &["run"]);
    assert!(said.contains("orders") && said.contains('9'), "the offending row is listed: {said}");
    assert_eq!(project.json(&["sql", "SELECT count(*) AS n FROM totals"])[0]["n"], 2, "what was made before stays");
    project.fail(1, &["data", "check", "orders"]);
}

#[test]
fn questions_reach_versions_files_and_logs() {
    let project = shop();
    project.succeed(&["run"]);
    std::fs::write(project.path("orders/b.csv.gz"), gz("person,amount\n1,10\n")).expect("write");
    project.succeed(&["run"]);
    let both = "SELECT (SELECT sum(amount) FROM orders@v1) AS a, (SELECT sum(amount) FROM orders@v2) AS b";
    let answer = project.json(&["sql", both]);
    assert_eq!((answer[0]["a"].as_i64(), answer[0]["b"].as_i64()), (Some(11), Some(22)), "{answer}");
    assert_eq!(project.json(&["sql", "SELECT count(*) AS n FROM 'people.jsonl'"])[0]["n"], 2);
    let runs = project.json(&["sql", "SELECT count(*) AS n FROM runs WHERE status = 'FINISHED'"]);
    assert!(runs[0]["n"].as_i64() >= Some(5), "{runs}");
    project.succeed(&["sql", "SELECT * FROM orders", "-f", "out.parquet"]);
    assert_eq!(project.json(&["sql", "SELECT count(*) AS n FROM 'out.parquet'"])[0]["n"], 3);
    let diff = project.json(&["data", "diff", "orders@v1", "orders@v2"]);
    assert_eq!((diff["rows_added"].as_u64(), diff["rows_removed"].as_u64()), (Some(1), Some(1)), "{diff}");
    let described = project.json(&["data", "describe", "orders"]);
    assert_eq!(described["rows"], 3, "{described}");
    assert!(project.fail(2, &["sql", "SELECT * FROM '/etc/passwd'"]).contains("project"));
}

#[test]
fn what_is_made_of_personal_data_is_personal() {
    let project = shop();
    project.succeed(&["run"]);
    let lineage = project.json(&["data", "lineage", "totals"]);
    assert_eq!(lineage["facts"]["classification"]["value"], "personal", "{lineage}");
    let declared = SHOP.replace(
        "checks = [{ row_count = { min = 1 } }]",
        "declares = { classification = \"internal\", reason = \"sums only\" }",
    );
    project.write("ropewalk.toml", &declared);
    project.succeed(&["run"]);
    let lineage = project.json(&["data", "lineage", "totals"]);
    assert_eq!(lineage["facts"]["classification"]["value"], "internal", "{lineage}");
    project.succeed(&["sql", "SELECT * FROM people"]);
    let trail = project.json(&["data", "audit"]);
    let actions: Vec<_> = trail.as_array().expect("trail").iter().map(|one| one["action"].as_str()).collect();
    assert!(actions.contains(&Some("declare")) && actions.contains(&Some("query")), "{trail}");
    project.succeed(&["data", "audit", "--verify"]);
    assert!(project.json(&["data", "retention"]).as_array().expect("due").is_empty());
}

#[test]
fn a_database_is_a_source() {
    let url =
        std::env::var("ROPEWALK_TEST_POSTGRES").expect("ROPEWALK_TEST_POSTGRES is not set: run `cargo xtask test`");
    let (start, rest) = url.split_once("://").expect("url");
    let (user, host) = rest.split_once('@').expect("user");
    let (user, password) = user.split_once(':').expect("password");
    let file = format!(
        "[project]\nname = \"x\"\n[data.numbers]\nsource = \"{start}://{user}@{host}\"\n\
         query = \"SELECT n::bigint AS n, (n * 1.5)::numeric(12,2) AS price FROM generate_series(1, 1000) AS t(n)\"\n\
         cursor = \"n\"\npartition = {{ column = \"n\", count = 3 }}\npassword = {{ env = \"NUMBERS_PASSWORD\" }}\n"
    );
    let project = Project::with(&[("ropewalk.toml", &file)]);
    let run = |arguments: &[&str]| {
        let output = project.command(arguments).env("NUMBERS_PASSWORD", password).output().expect("starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    assert!(project.fail(1, &["run"]).contains("NUMBERS_PASSWORD"));
    run(&["run"]);
    let count = project.json(&["sql", "SELECT count(*) AS n, max(price) AS p FROM numbers"]);
    assert_eq!(count[0]["n"], 1000, "{count}");
    run(&["data", "import", "numbers"]);
    assert_eq!(project.json(&["sql", "SELECT count(*) AS n FROM numbers"])[0]["n"], 1000, "nothing was new");
    project.write("ropewalk.toml", &file.replace("1000", "1500"));
    run(&["data", "import", "numbers"]);
    assert_eq!(project.json(&["sql", "SELECT count(*) AS n FROM numbers"])[0]["n"], 1500, "only what is new was added");
}
