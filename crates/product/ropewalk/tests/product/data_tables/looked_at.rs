//! A table looked at: compared by a key, described, followed in one direction, asked within a limit of memory, and shown
//! without its control characters.

use crate::harness::Project;

const FILE: &str = "\
[project]
name = \"x\"
[data.goods]
source = \"goods.csv\"
[stage.dear]
sql = \"dear.sql\"
";

/// Forty goods, of which one costs much more than the others.
fn goods(changed: &str) -> String {
    let rows: Vec<String> = (1..=40)
        .map(|id| format!("{id},{},{}\n", if id % 4 == 0 { "rope" } else { "yarn" }, if id == 40 { 100 } else { 1 }))
        .collect();
    format!("id,kind,price\n{}", rows.concat()).replace("\n7,yarn,1\n", changed)
}

#[test]
fn versions_are_compared_by_a_key_described_and_followed_each_way() {
    let project = Project::with(&[
        ("ropewalk.toml", FILE),
        ("dear.sql", "SELECT id FROM goods WHERE price > 50"),
        ("goods.csv", &goods("\n7,yarn,1\n")),
    ]);
    project.succeed(&["run"]);
    project.write("goods.csv", &goods("\n7,yarn,2\n41,rope,1\n"));
    project.succeed(&["run"]);

    let rows = |key: &[&str]| {
        let diff = project.json(&[&["data", "diff", "goods@v1", "goods@v2"], key].concat());
        ["rows_added", "rows_removed", "rows_changed"].map(|what| diff[what].as_u64().expect("a number"))
    };
    assert_eq!((rows(&["--key", "id"]), rows(&["--key", "id,kind"]), rows(&[])), ([1, 0, 1], [1, 0, 1], [2, 1, 0]));
    let said = project.succeed(&["data", "diff", "goods@v1", "goods@v2", "--key", "id"]);
    assert!(said.contains("1 row changed in price") && said.contains("~ 7: price: 1 to 2"), "{said}");
    let said = project.fail(2, &["data", "diff", "goods@v1", "goods@v2", "--key", "kind"]);
    assert!(said.contains("kind"), "{said}");

    let described = project.succeed(&["data", "describe", "goods@v1"]);
    let line = |column: &str| {
        let mut lines = described.lines().filter(|line| line.split_whitespace().next() == Some(column));
        lines.next().unwrap_or_else(|| panic!("no {column} in {described}"))
    };
    assert!(described.starts_with("goods v1: 40 rows, 3 columns\n") && line("COLUMN").ends_with("DISTRIBUTION"));
    assert!(line("kind").ends_with("yarn 30, rope 10"), "{described}");
    let bars = line("price").rsplit("100").next().expect("behind the greatest value").trim();
    assert!(
        bars.starts_with('█') && bars.ends_with('▁') && bars.contains("  "),
        "one is far from the others: {described}"
    );
    assert!(line("id").contains('█') && !line("id").contains('▁'), "all are alike: {described}");

    let (up, down) = (project.succeed(&["data", "lineage", "dear", "--up"]), "went into");
    assert!(up.contains("came from\n") && up.contains("data:goods@") && !up.contains(down), "{up}");
    let text = project.succeed(&["data", "lineage", "goods", "--down"]);
    assert!(text.contains("went into\n") && text.contains("data:dear@") && !text.contains("came from"), "{text}");
    let both = project.succeed(&["data", "lineage", "goods"]);
    assert!(both.contains("came from\n") && both.contains("went into\n"), "{both}");
    project.fail(2, &["data", "lineage", "goods", "--up", "--down"]);
}

#[test]
fn a_question_keeps_to_its_memory() {
    let rows: Vec<String> = (0..400_000_u32).map(|row| format!("{}\n", row.wrapping_mul(2_654_435_761))).collect();
    let project = Project::with(&[("ropewalk.toml", FILE), ("numbers.csv", &format!("n\n{}", rows.concat()))]);
    let sorted = "SELECT n, count(*) OVER () AS total \
                  FROM (SELECT n FROM 'numbers.csv' ORDER BY n LIMIT 300000) WHERE n < 20000 ORDER BY n";
    let all = "SELECT array_length(array_agg(concat('a text that takes its place, ', n))) AS n FROM 'numbers.csv'";
    let whole = project.json(&["sql", sorted]);
    assert_eq!(project.json(&["sql", "--memory", "2", sorted]), whole, "it spills");
    assert_eq!((whole[0]["n"].as_u64(), whole[0]["total"].as_u64()), (Some(0), Some(3)));
    assert_eq!(project.json(&["sql", all])[0]["n"], 400_000);
    let said = project.fail(2, &["sql", "--memory", "4", all]);
    assert!(said.contains("more memory than its limit of 4000000 bytes"), "{said}");
}

/// A sort over a join has three sorts on their way at once, of which each must find something to begin with.
#[test]
fn a_sort_over_a_join_keeps_to_its_memory() {
    let table = |factor: u64| {
        let row = |row: u64| format!("{},{row},a text that takes its place {row}\n", row * factor % 300_000);
        format!("id,n,words\n{}", (0..300_000).map(row).collect::<Vec<_>>().concat())
    };
    let project = Project::with(&[("ropewalk.toml", FILE), ("a.csv", &table(7_919)), ("b.csv", &table(104_729))]);
    let sorted = "SELECT * FROM (SELECT a.id, a.words, b.words AS other, row_number() OVER (ORDER BY b.n) AS place \
                  FROM 'a.csv' a JOIN 'b.csv' b ON a.id = b.id) WHERE place IN (1, 150000, 300000) ORDER BY place";
    let whole = project.json(&["sql", sorted]);
    assert_eq!(
        (whole.as_array().map(Vec::len), whole[2]["other"].as_str()),
        (Some(3), Some("a text that takes its place 299999"))
    );
    for memory in ["16", "4"] {
        assert_eq!(project.json(&["sql", "--memory", memory, sorted]), whole, "{memory} MB");
    }
    assert!(project.fail(2, &["sql", "--memory", "0", sorted]).contains("--memory"));
}

#[test]
fn nothing_that_is_in_a_table_reaches_the_terminal_as_an_escape() {
    let project = Project::with(&[
        ("ropewalk.toml", "[project]\nname = \"x\"\n[data.a]\nsource = \"a.jsonl\"\n"),
        ("a.jsonl", "{\"x\\u001b[2J\":1,\"t\":\"\\u001b[2J\\r\"}\n"),
    ]);
    project.succeed(&["run"]);
    project.write("a.jsonl", "{\"x\\u001b[2J\":2,\"t\":\"\\u001b[2J\\r\",\"more\\u001b[2J\":1}\n");
    project.succeed(&["run"]);
    let commands: [&[&str]; 4] = [
        &["data", "show", "a"],
        &["data", "describe", "a"],
        &["data", "diff", "a@v1", "a@v2"],
        &["sql", "SELECT * FROM a"],
    ];
    for command in commands {
        let said = project.succeed(command);
        assert!(said.contains("\\u{1b}[2J") && !said.contains(['\u{1b}', '\r']), "{command:?}: {said}");
    }
    project.succeed(&["data", "rm", "a@v1", "--reason", "wrong\u{1b}[2J"]);
    let said = project.succeed(&["data", "log", "a"]);
    assert!(said.contains("wrong\\u{1b}[2J") && !said.contains('\u{1b}'), "{said}");
}
