use super::fixture::{Project, gzip, zip};
use crate::IngestError;

#[tokio::test]
async fn documents_and_lines_with_nested_values() {
    let project = Project::new().await;
    let lines = "{\"id\":1,\"at\":{\"x\":1.5,\"tags\":[\"a\",\"b\"]}}\n\n{\"id\":2,\"at\":null,\"ok\":true}\n";
    let document = "[ {\"id\":1,\"at\":{\"x\":1.5,\"tags\":[\"a\",\"b\"]}},\n {\"id\":2,\"at\":null,\"ok\":true} ]";
    let rows = ["1|{x: 1.5, tags: [a, b]}|", "2||true"];
    for (name, bytes) in [
        ("t.jsonl", lines.as_bytes().to_vec()),
        ("t.json", document.as_bytes().to_vec()),
        ("t.ndjson.gz", gzip(lines.as_bytes())),
    ] {
        let made = project.ingest(name, &bytes).await.unwrap();
        assert_eq!(project.rows(&made.tree).await, rows, "{name}");
        let types: Vec<_> = made.report.columns.iter().map(|column| column.data_type.as_str()).collect();
        assert_eq!((types[0], types[2]), ("int64", "boolean"));
        assert!(types[1].starts_with("struct("), "{types:?}");
        assert_eq!(made.report.empty_rows, u64::from(name != "t.json"));
        let again = project.ingest(name, &bytes).await.unwrap();
        assert_eq!((again.reused_pieces, again.tree), (1, made.tree));
    }
    let made = project.ingest("one.json", b"{\"id\": 7}").await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["7"]);
}

#[tokio::test]
async fn misfits_are_listed_with_their_line() {
    let project = Project::new().await;
    let mut text = "{\"a\":1}\n".repeat(300);
    text.push_str("{\"a\":\"many\"}\n{\"a\":\n[]\n");
    let made = project.ingest("t.jsonl", text.as_bytes()).await.unwrap();
    assert_eq!((made.report.rows, made.report.quarantined, made.report.columns[0].misfits), (300, 3, 1));
    let listed = project.quarantine(&made.tree).await;
    assert!(listed[0].starts_with("t.jsonl||301|a|{\"a\":\"many\"}|the record holds a text"), "{listed:?}");
    assert!(listed[1].starts_with("t.jsonl||302||{\"a\":|it is not JSON"), "{listed:?}");
    assert!(listed[2].contains("it is not a JSON object"), "{listed:?}");
}

#[tokio::test]
async fn only_the_first_records_decide_when_that_is_asked() {
    let project = Project::new().await;
    let mut settings = project.settings("t.jsonl", b"{\"a\":1}\n{\"a\":2,\"b\":1}\n{\"a\":2.5}\n");
    assert_eq!(project.run(&settings).await.unwrap().report.columns[0].data_type, "float64");
    settings.inferred_records = Some(1);
    let made = project.run(&settings).await.unwrap();
    assert_eq!((made.report.rows, made.report.quarantined, made.report.columns.len()), (1, 2, 1));
}

#[tokio::test]
async fn types_that_do_not_meet() {
    let project = Project::new().await;
    let error = project.ingest("t.jsonl", b"{\"a\":{\"b\":1}}\n{\"a\":[1]}\n").await.unwrap_err().to_string();
    assert!(error.contains("`t.jsonl`") && error.contains("1 objects, 1 lists"), "{error}");
    let source = zip(&[("1.json", b"{\"a\":{\"b\":1}}"), ("2.json", b"{\"a\":[1]}")]);
    let error = project.ingest("t.zip", &source).await.unwrap_err();
    assert!(matches!(error, IngestError::Types { .. }), "{error}");
    assert!(error.to_string().contains("`1.json`") && error.to_string().contains("`2.json`"), "{error}");
}

#[tokio::test]
async fn files_agree_on_the_types_of_their_values() {
    let project = Project::new().await;
    let source = zip(&[
        ("1.json", b"[{\"a\":1,\"s\":{\"x\":1},\"e\":{},\"l\":[]}]"),
        ("2.json", b"[{\"a\":1.5,\"s\":{\"y\":[1]}}]"),
        ("3.csv", b"a\n7\n"),
    ]);
    let made = project.ingest("t.zip", &source).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1.0|{x: 1, y: }||[]", "1.5|{x: , y: [1]}||", "7.0|||"]);
    assert!(made.report.columns[2].notes[0].contains("an object without keys"), "{:?}", made.report.columns);
}

#[tokio::test]
async fn broken_documents_are_errors() {
    let project = Project::new().await;
    for (text, says) in [
        (&b"[{\"a\":1},\n{\"a\":"[..], "begins on line 2 is not ended"),
        (b"[{\"a\":1}", "array that begins on line 1 is not ended"),
        (b"<html></html>", "a page of the web (HTML), not data"),
        (b"[1]", "none of 1 records is an object"),
        (b"", "not even the names of columns"),
    ] {
        let error = project.ingest("t.json", text).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let error = project.ingest("t.json", deep.as_bytes()).await.unwrap_err().to_string();
    assert!(error.contains("recursion limit"), "{error}");
}
