//! Sources, checks, questions and governance, as the project file declares them.

mod asked_again;
mod looked_at;

use serde_json::Value;

use crate::harness::{Draws, Project, talk};

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
pub(crate) const TOTALS: &str = "SELECT p.name, sum(o.amount) AS total FROM orders o JOIN people p ON p.id = o.person GROUP BY p.name ORDER BY p.name";

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
    let again = project.run(&["run"]);
    let again = String::from_utf8_lossy(&again.stderr);
    assert!(again.contains("check-orders: warning: between(amount): 1 row breaks it"), "it is said each time: {again}");
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
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("out.parquet", project.path("link.csv")).unwrap();
        let said = project.fail(2, &["sql", "SELECT 1 AS a", "-f", "link.csv"]);
        assert!(said.contains("something of another kind is in the way"), "{said}");
        assert!(project.path("link.csv").is_symlink());
    }
    assert_eq!(project.json(&["sql", "SELECT count(*) AS n FROM 'out.parquet'"])[0]["n"], 3);
    project.succeed(&["data", "tag", "orders@v1", "first"]);
    assert!(project.fail(2, &["data", "tag", "orders@v2", "first"]).contains("first"), "a tag stays where it is");
    assert_eq!(project.json(&["sql", "SELECT sum(amount) AS a FROM orders@first"])[0]["a"], 11);
    let log = project.json(&["data", "log", "orders"]);
    assert_eq!((log[1]["number"].as_u64(), log[1]["tags"][0]["tag"].as_str()), (Some(1), Some("first")), "{log}");
    assert_eq!(project.json(&["data", "tag", "orders"])[0][0], "first");
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
    project.succeed(&["data", "describe", "people"]);
    let trail = project.json(&["data", "audit"]);
    let read = |what: &str| {
        let mut entries = trail.as_array().expect("trail").iter();
        entries.any(|one| one["action"] == "read" && one["details"].to_string().contains(what))
    };
    assert!(read("describe") && read("\"stage\":\"totals\""), "people and stages that read are in it: {trail}");
    let actions: Vec<_> = trail.as_array().expect("trail").iter().map(|one| one["action"].as_str()).collect();
    assert!(actions.contains(&Some("declare")) && actions.contains(&Some("query")), "{trail}");
    assert!(project.json(&["data", "retention"]).as_array().expect("due").is_empty());

    project.write("ropewalk.toml", SHOP);
    let run = project.json(&["run"]);
    assert!(run["stages"].as_array().expect("stages").iter().all(|one| one["state"] == "cached"), "{run}");
    let lineage = project.json(&["data", "lineage", "totals"]);
    assert_eq!(lineage["facts"]["classification"]["value"], "personal", "nobody says otherwise any longer: {lineage}");
    let withdrawn = |name: &str| {
        let trail = project.json(&["data", "audit", name]);
        let mut entries = trail.as_array().expect("trail").iter().filter(|one| one["action"] == "declare");
        entries.next().expect("a declaration")["details"]["withdrawn"].clone()
    };
    assert_eq!(withdrawn("totals")["classification"], "internal");
    let shorter = SHOP.replace("classification = \"personal\"\n", "").replace("retention_days = 30\n", "");
    project.write("ropewalk.toml", &shorter);
    project.succeed(&["run"]);
    let facts = |name: &str| project.json(&["data", "lineage", name])["facts"].clone();
    assert_eq!(facts("totals")["classification"]["value"], Value::Null);
    assert_eq!(facts("people")["owners"][0], "ada@example.com", "that is said as before");
    assert_eq!((&facts("orders")["retention"]["value"], &facts("orders")["declared"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (withdrawn("people")["classification"].as_str(), withdrawn("people").get("owner")),
        (Some("personal"), None)
    );
    assert_eq!(withdrawn("orders")["retention"], 30);
}

#[test]
fn the_trail_is_checked_against_an_entry_that_was_kept() {
    let project = Project::with(&[
        ("ropewalk.toml", "[project]\nname = \"x\"\n[data.a]\nsource = \"a.csv\"\n"),
        ("a.csv", "id\n1\n"),
    ]);
    let mut nobody = project.command(&["run"]);
    for name in ["ROPEWALK_USER", "USER", "LOGNAME", "USERNAME"] {
        nobody.env_remove(name);
    }
    assert!(nobody.output().expect("starts").status.success());
    let trail = project.json(&["data", "audit"]);
    assert!(trail[0]["who"].as_str().is_some_and(|who| who.starts_with("uid:")), "{trail}");
    let named = project
        .command(&["sql", "SELECT * FROM a"])
        .env_remove("ROPEWALK_USER")
        .env_remove("USER")
        .env("LOGNAME", "ada")
        .output();
    assert!(named.expect("starts").status.success());
    assert_eq!(project.json(&["data", "audit", "--who", "ada"])[0]["action"], "query");

    let text = project.succeed(&["data", "audit", "--verify"]);
    let head = text.lines().find_map(|line| line.strip_prefix("newest ")).expect("the newest entry").to_owned();
    let report = project.json(&["data", "audit", "--verify"]);
    assert_eq!(head, format!("{}:{}", report["entries"], report["head"]["digest"].as_str().expect("digest")));
    project.succeed(&["sql", "SELECT * FROM a"]);
    project.succeed(&["data", "audit", "--verify", "--head", &head]);
    let other = format!("1{}", &head[head.find(':').expect("colon")..]);
    project.fail(1, &["data", "audit", "--verify", "--head", &other]);
    project.fail(2, &["data", "audit", "--head", &head]);
}

const KEPT: &str = "[project]\nname = \"x\"\n[data.a]\nsource = \"a.csv\"\nretention_days = 0\n";

#[test]
fn what_was_kept_too_long_is_removed_with_its_bytes_and_can_be_made_again() {
    let mut draws = Draws(7);
    let rows: Vec<String> = (0..3000).map(|_| format!("{}\n", draws.next())).collect();
    let project = Project::with(&[("ropewalk.toml", KEPT), ("a.csv", &format!("x\n{}", rows.concat()))]);
    let count = || project.json(&["sql", "SELECT count(*) AS n FROM a"])[0]["n"].as_u64();
    let state = |told: &Value| told["stages"][0]["state"].as_str().map(str::to_owned);
    project.succeed(&["run"]);
    assert_eq!(count(), Some(3000));
    assert!(files_over(&project.path(".ropewalk/cache"), 10_000) > 0, "laid out for the query");
    let due = project.json(&["data", "retention", "--remove", "--reason", "gdpr"]);
    assert_eq!(due.as_array().map(Vec::len), Some(1), "{due}");
    assert_eq!(files_over(&project.path(".ropewalk/cache"), 10_000), 0, "they are gone at once");
    let gone = project.json(&["data", "gc", "--grace", "0"]);
    let amount = |what: &str| gone[what]["bytes"].as_u64().expect("bytes");
    assert!(amount("removed") > 30_000 && amount("kept") < 10_000, "rows in parts and in checkpoints: {gone}");
    assert!(project.fail(2, &["sql", "SELECT * FROM a"]).contains("gdpr"));
    // What is known of it stays to be told, by whichever name it is asked for.
    for version in ["a", "a@v1"] {
        let lineage = project.json(&["data", "lineage", version]);
        assert_eq!(lineage["removed"]["why"], "gdpr", "{lineage}");
        let parents = lineage["up"].as_array().expect("steps").iter().map(|step| step["link"]["parent"].as_str());
        let parents: Vec<&str> = parents.flatten().collect();
        assert!(parents.iter().any(|parent| parent.starts_with("file:a.csv#")), "{lineage}");
    }
    let text = project.succeed(&["data", "lineage", "a", "--up"]);
    assert!(text.contains("removed by ") && text.contains(": gdpr)") && text.contains("file:a.csv#"), "{text}");
    assert!(project.json(&["status"])[0]["reason"].as_str().is_some_and(|reason| reason.contains("was removed")));
    assert_eq!(state(&project.json(&["run"])).as_deref(), Some("executed"));
    assert_eq!(count(), Some(3000));

    project.succeed(&["data", "retention", "--remove", "--reason", "gdpr"]);
    project.succeed(&["data", "import", "a"]);
    assert_eq!(count(), Some(3000), "made again by an import");
    let log = project.json(&["data", "log", "a"]);
    assert_eq!((log.as_array().map(Vec::len), &log[0]["removed"]), (Some(1), &Value::Null), "{log}");
    project.write("twice.sql", "SELECT x * 2 AS y FROM a");
    project.write("ropewalk.toml", &format!("{KEPT}[stage.twice]\nsql = \"twice.sql\"\n"));
    project.succeed(&["run"]);
    assert_eq!(project.json(&["sql", "SELECT count(*) AS n FROM twice"])[0]["n"], 3000);
    let trail = project.json(&["data", "audit", "a"]);
    let removed = trail.as_array().expect("trail").iter().filter(|one| one["action"] == "delete").count();
    assert_eq!(removed, 2, "{trail}");
}

#[test]
fn what_something_else_needs_stays() {
    let file = format!("{KEPT}[data.b]\nsource = \"*.csv\"\n");
    let project = Project::with(&[("ropewalk.toml", &file), ("a.csv", "x\n1\n2\n")]);
    project.succeed(&["run"]);
    project.succeed(&["data", "retention", "--remove", "--reason", "gdpr"]);
    project.succeed(&["data", "gc", "--grace", "0"]);
    project.fail(2, &["sql", "SELECT * FROM a"]);
    assert_eq!(project.json(&["sql", "SELECT count(*) AS n FROM b"])[0]["n"], 2);
    project.write("b.csv", "x\n3\n");
    let told = project.json(&["run"]);
    let b = told["stages"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "b")).expect("b");
    assert_eq!(b["summary"]["pieces_reused"], 1, "the checkpoint of the same file was used by both: {told}");
}

/// How many files below a folder have more than `bytes`.
fn files_over(folder: &std::path::Path, bytes: u64) -> usize {
    let entries = std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry"));
    entries
        .map(|entry| match entry.metadata().expect("metadata") {
            found if found.is_dir() => files_over(&entry.path(), bytes),
            found => usize::from(found.len() > bytes),
        })
        .sum()
}

#[test]
fn tracked_files_are_no_tables_but_have_a_lineage() {
    let file = "[project]\nname = \"x\"\n[data.d]\nsource = \"data:birds\"\n[data.birds]\nsource = \"data:birds\"\n\
                [stage.count]\nrun = \"cat inputs/d/a.csv > out.txt\"\nin = [\"d\"]\nout = { lines = \"out.txt\" }\n";
    let project = Project::with(&[("ropewalk.toml", file), ("birds/a.csv", "id\n1\n")]);
    project.succeed(&["data", "add", "birds"]);
    project.succeed(&["data", "commit", "birds", "-m", "first birds", "--author", "Ada <ada@example.com>"]);
    for name in ["birds", "d"] {
        let question = format!("SELECT * FROM {name}");
        for command in [
            vec!["data", "describe", name],
            vec!["data", "show", name],
            vec!["data", "check", name],
            vec!["sql", question.as_str()],
        ] {
            let said = project.fail(2, &command);
            assert!(said.contains("tracked files") && said.contains("data log birds"), "{command:?}: {said}");
        }
    }
    let told = project.json(&["run"]);
    let find = |name: &str| told["stages"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
    let run = find("count").and_then(|one| one["run"].as_str()).expect("a run");
    let thread = project.succeed(&["trace", &format!("runs:/{run}")]);
    assert!(thread.contains("data:birds@") && thread.contains("v1, 1 file, \"first birds\" by Ada"), "{thread}");

    project.write("birds/a.csv", "id\n2\n");
    project.succeed(&["data", "commit", "birds", "-m", "second birds"]);
    let versions = project.json(&["data", "lineage", "birds"]);
    let used = |place: usize| versions["versions"][place]["down"].to_string().contains(&format!("runs:/{run}"));
    assert!(!used(0) && used(1), "only the first version was read: {versions}");
    let first = project.succeed(&["data", "lineage", "birds@v1"]);
    assert!(first.contains("first birds") && first.contains("stage:d@") && !first.contains("second birds"), "{first}");
    assert_eq!(project.json(&["data", "lineage", "d"])["versions"], versions["versions"], "another name of the same");
    assert_eq!(project.succeed(&["data", "lineage", "d@v1"]), first);
    project.fail(2, &["data", "lineage", "fish"]);

    project.write("ids.sql", "SELECT * FROM d");
    project.write("ropewalk.toml", &format!("{file}[stage.ids]\nsql = \"ids.sql\"\n"));
    let said = project.fail(2, &["run"]);
    assert!(said.contains("`ids` reads `d` as a table") && said.contains("source = "), "{said}");
    let table = file.replace("[data.d]\nsource = \"data:birds\"", "[data.d]\nsource = \"birds/*.csv\"");
    project.write("ropewalk.toml", &format!("{table}[stage.ids]\nsql = \"ids.sql\"\n"));
    project.succeed(&["run", "ids"]);
    assert_eq!(project.json(&["sql", "SELECT id FROM ids"])[0]["id"], 2, "as the hint says");
}

#[test]
fn a_source_with_a_new_column_is_read_anew_when_asked() {
    let project = Project::new();
    project.write("ropewalk.toml", "[project]\nname = \"x\"\n");
    // Any database will do: the catalogue is one.
    project.succeed(&["status"]);
    let source = |query: &str| {
        let database = project.path(".ropewalk/catalog.db");
        let text = format!(
            "[project]\nname = \"x\"\n[data.a]\nsource = \"sqlite://{}\"\nquery = \"{query}\"\ncursor = \"n\"\n",
            database.display()
        );
        project.write("ropewalk.toml", &text);
    };
    let count = || project.json(&["sql", "SELECT count(*) AS n FROM a"])[0]["n"].as_u64();
    source("SELECT 1 AS n UNION ALL SELECT 2");
    project.succeed(&["run"]);
    assert_eq!(count(), Some(2));
    source("SELECT 2 AS n, 5 AS m UNION ALL SELECT 3, 6");
    let said = project.fail(1, &["data", "import", "a"]);
    assert!(said.contains("`m` is new") && said.contains("data import a --full"), "{said}");
    project.succeed(&["data", "import", "a", "--full"]);
    assert_eq!(project.json(&["sql", "SELECT n, m FROM a ORDER BY n"])[0]["m"], 5, "everything was read");
    source("SELECT 2 AS n, 5 AS m UNION ALL SELECT 3, 6 UNION ALL SELECT 4, 7");
    project.succeed(&["data", "import", "a"]);
    assert_eq!(count(), Some(3), "the cursor went on from there");
}

#[test]
fn a_cursor_that_is_new_or_another_neither_doubles_nor_loses_rows() {
    let project = Project::new();
    project.write("ropewalk.toml", "[project]\nname = \"x\"\n");
    project.succeed(&["status"]);
    // Relative to the project, from wherever the command is run.
    let source = |more: &str| {
        let query = "SELECT 1 AS n, 7 AS m UNION ALL SELECT 2, 8";
        let text = format!(
            "[project]\nname = \"x\"\n[data.a]\nsource = \"sqlite:.ropewalk/catalog.db\"\nquery = \"{query}\"\n{more}"
        );
        project.write("ropewalk.toml", &text);
    };
    project.write("deep/down/.keep", "");
    let run = |arguments: &[&str]| {
        let output = project.command(arguments).current_dir(project.path("deep/down")).output().expect("starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let count = || project.json(&["sql", "SELECT count(*) AS n FROM a"])[0]["n"].as_u64();
    source("");
    let (code, said) = run(&["run"]);
    assert_eq!(code, Some(0), "{said}");
    source("cursor = \"n\"\n");
    let (code, said) = run(&["run"]);
    assert_eq!((code, count()), (Some(0), Some(2)), "everything was read anew: {said}");
    source("cursor = \"m\"\n");
    for command in [["run"].as_slice(), &["data", "import", "a"]] {
        let (code, said) = run(command);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("the cursor is `m` now") && said.contains("data import a --full"), "{said}");
    }
    assert_eq!(run(&["data", "import", "a", "--full"]).0, Some(0));
    assert_eq!((run(&["data", "import", "a"]).0, count()), (Some(0), Some(2)));
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

#[test]
fn a_source_that_is_as_it_was_makes_its_table_so_again() {
    let file = "[project]\nname = \"x\"\n[data.a]\nsource = \"a.csv\"\n[stage.twice]\nsql = \"twice.sql\"\n";
    let project = Project::with(&[("ropewalk.toml", file), ("twice.sql", "SELECT 2 * x AS y FROM a")]);
    let made = |number: u32| {
        project.write("a.csv", &format!("x\n{number}\n"));
        project.json(&["run"])
    };
    let answer = || {
        let rows = project.json(&["sql", "SELECT x, y FROM a, twice"]);
        (rows[0]["x"].as_u64(), rows[0]["y"].as_u64())
    };
    made(1);
    made(2);
    assert_eq!(answer(), (Some(2), Some(4)));
    let told = made(1);
    for (stage, output) in [(0, "a"), (1, "twice")] {
        let stage = &told["stages"][stage];
        assert_eq!((&stage["state"], &stage["latest_again"][0]), (&"cached".into(), &output.into()), "{told}");
    }
    assert_eq!(answer(), (Some(1), Some(2)));
    let log = project.json(&["data", "log", "a"]);
    assert_eq!((log[0]["number"].as_u64(), log[1]["number"].as_u64()), (Some(1), Some(2)), "{log}");
    let written = |trail: &Value| trail.to_string().matches("\"latest_again\":true").count();
    assert_eq!(written(&project.json(&["data", "audit", "a"])), 1);
    let said = talk(&project.run(&["run"]));
    assert!(said.contains("nothing to do: all 2 stages are known"), "{said}");
    project.write("a.csv", "x\n2\n");
    let said = talk(&project.run(&["run"]));
    assert!(said.contains("an earlier version is the latest again of a, twice"), "{said}");
    assert_eq!(answer(), (Some(2), Some(4)));
}
