//! Files that are read without being kept: the same table as an import makes of them.

use arrow::datatypes::{Field, Schema};
use ropewalk_types::Diagnose as _;

use super::fixture::{Project, Put, flights, gzip, parquet, tar, texts, workbook, zip, zstandard};
use crate::{FileScan, IngestError, IngestSettings, ScannedFile, Source, plain_format, scan, table_schema};

async fn opened(project: &Project, names: &[&str]) -> Result<FileScan, IngestError> {
    let named = |name: &&str| ScannedFile { path: project.path().join(name), name: (*name).to_owned() };
    let files: Vec<_> = names.iter().map(named).collect();
    scan(&files, &IngestSettings::new(Source::Files(Vec::new()), project.scratch())).await
}

/// Its rows as texts.
fn rows(scan: &FileScan) -> Result<Vec<String>, IngestError> {
    let mut rows = Vec::new();
    for part in 0..scan.parts() {
        scan.read(part, &mut |batch| {
            assert_eq!(batch.schema().fields(), scan.schema().fields());
            rows.extend(texts(&[batch]));
            true
        })?;
    }
    Ok(rows)
}

fn columns(schema: &Schema) -> Vec<(String, String)> {
    let column = |field: &Field| (field.name().clone(), field.data_type().to_string());
    schema.fields().iter().map(|field| column(field)).collect()
}

/// Checks that the files make the same table in both ways; gives the notes of the scan.
async fn same(files: &[(&str, Vec<u8>)]) -> Vec<String> {
    let project = Project::new().await;
    let mut settings = IngestSettings::new("source", project.scratch());
    for (name, bytes) in files {
        project.write(&format!("source/{name}"), bytes);
    }
    let shown = files.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    settings.source = Source::Files(vec!["source".to_owned()]);
    let kept = project.run(&settings).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let paths: Vec<_> = files.iter().map(|(name, _)| format!("source/{name}")).collect();
    let names: Vec<_> = paths.iter().map(String::as_str).collect();
    let scan = opened(&project, &names).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let schema = table_schema(&project.store, &kept.tree).await.unwrap();
    assert_eq!(columns(scan.schema()), columns(&schema), "{shown}");
    assert_eq!(rows(&scan).unwrap(), project.rows(&kept.tree).await, "{shown}");
    let notes = scan.notes();
    let aside = notes.iter().filter(|note| note.starts_with("left out")).count();
    assert_eq!(aside > 0, kept.report.quarantined > 0, "{shown}: {notes:?}");
    notes
}

fn utf16(text: &str) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

#[tokio::test]
async fn texts_of_every_dialect() {
    for (name, text) in [
        ("comma.csv", "id,name\n1,\"two\nlines\"\n2,\"a \"\"b\"\"\"\n"),
        ("semicolon.csv", "id;name;price\n1;\"x;y\";1,5\n2;z;2,5\n"),
        ("bar.csv", "id|at\n1|2013-01-01T10:00:00Z\n2|2013-01-02 11:00\n"),
        ("tab.tsv", "id\tname\n1\tx\n"),
        ("codes.csv", "code,n,d,ok\n007, 3 ,2013-01-01,TRUE\n008,NA,NaN,false\n"),
        ("wide.csv", "big,mixed\n9223372036854775808,1\n1,1.5\n"),
        ("names.csv", " id ,id,,x\n1,2,3,4\n"),
        ("unnamed.csv", "id,,\n1,,\n2,,5\n"),
        ("blank.csv", "\n\nid,name\n\n1,x\n,\n\n2,y\n"),
        ("nothing.csv", "id,name\n"),
        ("mark.csv", "\u{feff}id,é\n1,ü\n"),
    ] {
        assert_eq!(same(&[(name, text.as_bytes().to_vec())]).await, Vec::<String>::new(), "{name}");
    }
    same(&[("wide.csv", utf16("id;é\n1;😀\n"))]).await;
    same(&[("packed.csv.gz", gzip(b"id;x\n1;2\n")), ("packed.csv.zst", zstandard(b"id;x\n3;4\n"))]).await;
}

#[tokio::test]
async fn what_does_not_fit_is_said() {
    let notes = same(&[("ragged.csv", b"a,b\n1,2\n3\n4,5\n6,7,8\n".to_vec())]).await;
    assert_eq!(
        notes,
        [
            "left out of `source/ragged.csv`: 2 rows that did not fit; the first: row 3, `3`: the record has 1 fields, the \
         header has 2"
        ]
    );
    let text = format!("a\n{}x\n", "1\n".repeat(200));
    let notes = same(&[("misfit.csv", text.into_bytes())]).await;
    assert!(
        notes[0].contains("1 row that did not fit; the first: row 202, column `a`, `x`: not a value of"),
        "{notes:?}"
    );
    let notes = same(&[("lines.jsonl", b"{\"a\": 1}\n{\"a\": \n{\"a\": 2}\n".to_vec())]).await;
    assert!(notes[0].contains("row 2"), "{notes:?}");
}

#[tokio::test]
async fn all_formats_and_archives() {
    let nested = br#"[{"id": 1, "tags": ["a"], "at": {"x": 1.5}}, {"id": 2, "tags": null}]"#;
    same(&[("nested.json", nested.to_vec())]).await;
    same(&[("values.json", b"{\"id\": 1}\n{\"id\": 2.5, \"b\": true}".to_vec())]).await;
    let header = [Put::Text("id"), Put::Text("at"), Put::Text("price")];
    let row = [Put::Number(1.0), Put::Moment(41_275.5), Put::NotAvailable];
    same(&[("book.xlsx", workbook(&[&header, &row]))]).await;
    let archive = zip(&[("b/2.csv", b"id;x\n3;a\n"), ("a.xlsx", &flights(1, 3)), ("README", b"hello")]);
    let notes = same(&[("all.zip", archive.clone())]).await;
    assert_eq!(notes, ["1 files in archives were passed over: `source/all.zip/README` (its name has no extension)"]);
    same(&[("deep.tar.gz", gzip(&tar(&[("x/inner.zip", &archive), ("y.csv", b"id,name\n9,z\n")])))]).await;
    let batch = arrow::array::RecordBatch::try_from_iter([(
        "id",
        std::sync::Arc::new(arrow::array::Int32Array::from(vec![1, 2])) as arrow::array::ArrayRef,
    )]);
    same(&[("one.parquet", parquet(&batch.unwrap())), ("two.csv", b"id,x\n3,y\n".to_vec())]).await;
}

#[tokio::test]
async fn a_long_text_that_changes_its_mind() {
    let project = Project::new().await;
    let many = "1,\n".repeat(1 << 18);
    project.write("late.csv", format!("a,\n{many}2,seen\n3\n").as_bytes());
    let scanned = opened(&project, &["late.csv"]).await.unwrap();
    let mut all = 0;
    scanned
        .read(0, &mut |batch| {
            all += batch.num_rows();
            true
        })
        .unwrap();
    assert_eq!(
        (all, scanned.schema().fields().len()),
        ((1 << 18) + 1, 2),
        "a column without a name has a value at last"
    );
    assert!(scanned.notes()[0].contains("row 262147"), "{:?}", scanned.notes());
    project.write("late.csv", format!("a,b\n{many}2.5,x\n").as_bytes());
    let scanned = opened(&project, &["late.csv"]).await.unwrap();
    let error = rows(&scanned).unwrap_err();
    assert_eq!(error.code(), "ingest.sampled");
    let says = "`late.csv` does not fit the types that its beginning has, of at most 262144 rows or 256 MiB: row 262146, \
                column `a`, `2.5`: not a value of type int64";
    assert_eq!(error.to_string(), says);
    let mut read = 0;
    scanned
        .read(0, &mut |batch| {
            read += batch.num_rows();
            false
        })
        .unwrap();
    assert_eq!(read, 8192, "nothing is read beyond what is wanted");
    project.write("late.jsonl", format!("{}{{\"a\": 1, \"b\": 2}}\n", "{\"a\": 1}\n".repeat(1 << 18)).as_bytes());
    let error = rows(&opened(&project, &["late.jsonl"]).await.unwrap()).unwrap_err().to_string();
    assert!(error.contains("row 262145, column `b`"), "{error}");
}

#[tokio::test]
async fn what_is_no_table() {
    let project = Project::new().await;
    project.write("empty.csv", b"");
    project.write("empty.zip", &zip(&[]));
    project.write("latin.csv", b"id,name\n1,caf\xe9\n");
    for (name, says) in [
        ("empty.csv", "`empty.csv` holds no table: nothing is in it, not even the names of columns"),
        ("empty.zip", "`empty.zip` holds no table: it is empty"),
        ("latin.csv", "cannot read `latin.csv`: it is not UTF-8 text: byte 13, on line 2"),
        ("missing.csv", "missing.csv"),
    ] {
        let error = opened(&project, &[name]).await.unwrap_err().to_string();
        assert!(error.contains(says), "{name}: {error}");
    }
    assert_eq!(plain_format("a/.b/x.PQ"), Ok(Some(crate::TableFormat::Parquet)));
    assert_eq!(plain_format("x.parquet.gz"), Ok(None));
    assert!(plain_format("x.png").is_err() && plain_format("README").is_err());
}
