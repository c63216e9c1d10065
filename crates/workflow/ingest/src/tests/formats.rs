use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;

use super::fixture::{Project, gzip, parquet, zip, zstandard};
use crate::{Dialect, HeaderRow, IngestError, TableFormat, report};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn ids(ids: Vec<i32>) -> RecordBatch {
    batch(vec![("id", Arc::new(Int32Array::from(ids)))])
}

#[tokio::test]
async fn typed_files_keep_their_types() {
    let project = Project::new().await;
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let prices = Decimal128Array::from(vec![125, 250]).with_precision_and_scale(10, 2).unwrap();
    let rows = batch(vec![
        ("id", Arc::new(Int32Array::from(vec![1, 2]))),
        ("tags", Arc::new(lists)),
        ("price", Arc::new(prices)),
    ]);
    let mut writer = arrow::ipc::writer::FileWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    let arrow = writer.into_inner().unwrap();
    for (name, bytes) in [("p.parquet", parquet(&rows)), ("p.arrow", arrow), ("p.parquet.gz", gzip(&parquet(&rows)))] {
        let made = project.ingest(name, &bytes).await.unwrap();
        let types: Vec<_> = made.report.columns.iter().map(|column| column.data_type.as_str()).collect();
        assert_eq!(types, ["int32", "list(int32)", "decimal128(10, 2)"], "{name}");
        assert_eq!(project.rows(&made.tree).await, ["1|[1, ]|1.25", "2||2.50"], "{name}");
    }
}

#[tokio::test]
async fn files_widen_or_disagree_by_name() {
    let project = Project::new().await;
    let wide = batch(vec![
        ("name", Arc::new(StringArray::from(vec!["x"]))),
        ("id", Arc::new(Int64Array::from(vec![1_i64 << 40]))),
    ]);
    let source = zip(&[("a.parquet", &parquet(&ids(vec![1]))), ("b.parquet", &parquet(&wide)), ("c.csv", b"id\n7\n")]);
    let made = project.ingest("t.zip", &source).await.unwrap();
    assert_eq!(made.report.columns[0].data_type, "int64");
    assert_eq!(project.rows(&made.tree).await, ["1|", "1099511627776|x", "7|"]);
    assert_eq!(made.report.files[0].missing_columns, ["name"]);
    let source = zip(&[("a.parquet", &parquet(&ids(vec![1]))), ("b.csv", b"id\nmany\n")]);
    let error = project.ingest("t.zip", &source).await.unwrap_err();
    assert!(matches!(error, IngestError::Types { .. }), "{error}");
    assert!(error.to_string().contains("`a.parquet`") && error.to_string().contains("`b.csv`"), "{error}");
}

#[tokio::test]
async fn values_that_would_lose_digits_are_in_quarantine() {
    let project = Project::new().await;
    let exact = batch(vec![("id", Arc::new(Int64Array::from(vec![5, (1 << 53) + 1])))]);
    let source = zip(&[("a.parquet", &parquet(&exact)), ("b.csv", b"id\n0.5\n")]);
    let made = project.ingest("t.zip", &source).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["5.0", "0.5"]);
    assert_eq!(
        project.quarantine(&made.tree).await,
        ["a.parquet||2|id|9007199254740993|the value does not fit float64 without loss"]
    );
}

#[tokio::test]
async fn a_truncated_parquet_says_so() {
    let project = Project::new().await;
    let whole = parquet(&ids((0..5000).collect()));
    for end in [whole.len() - 1, whole.len() / 2, 6] {
        let error = project.ingest("p.parquet", &whole[..end]).await.unwrap_err();
        assert!(matches!(error, IngestError::Table { .. }), "{error}");
        assert!(error.to_string().contains("`p.parquet`: it is damaged or cut off"), "{error}");
    }
    let mut scribbled = whole.clone();
    scribbled[10..60].fill(0xff);
    let error = project.ingest("p.parquet", &scribbled).await.unwrap_err().to_string();
    assert!(error.contains("damaged or cut off"), "{error}");
    let error = project.ingest("p.parquet", b"id\n1\n").await.unwrap_err().to_string();
    assert!(error.contains("no Parquet file"), "{error}");
}

#[tokio::test]
async fn text_of_other_encodings() {
    let text = "id;name\n1;Zoë\n2;Øre\n";
    let utf16: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let project = Project::new().await;
    let made = project.ingest("u.csv", &utf16).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1|Zoë", "2|Øre"]);
    assert_eq!(made.report.files[0].encoding.as_deref(), Some("UTF-16LE"));
    assert_eq!(report(&project.store, &made.tree).await.unwrap(), made.report);
    let mut settings = project.settings("l.csv.gz", &gzip(b"id;name\n1;Zo\xeb\n"));
    let error = project.run(&settings).await.unwrap_err().to_string();
    assert!(error.contains("`l.csv.gz`") && error.contains("byte 12, on line 2; declare its encoding"), "{error}");
    settings.dialect.encoding = Some("windows-1252".to_owned());
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1|Zoë"]);
    settings.dialect.encoding = Some("utf-99".to_owned());
    assert!(matches!(project.run(&settings).await.unwrap_err(), IngestError::Settings { .. }));
}

#[tokio::test]
async fn declared_dialects_and_formats() {
    let project = Project::new().await;
    let mut settings = project.settings("export.txt", b"% made by hand\nx\ty\n1\t'a\tb'\n");
    settings.format = Some(TableFormat::Tsv);
    settings.dialect = Dialect { quote: Some('\''), comment: Some('%'), ..Dialect::default() };
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1|a\tb"]);
    let mut settings = project.settings("plain.csv.zst", &zstandard(b"1|a\n2|b\n"));
    settings.header = HeaderRow::Absent;
    let made = project.run(&settings).await.unwrap();
    assert_eq!(made.report.columns[1].name, "column_2");
    assert_eq!(made.report.files[0].delimiter.as_deref(), Some("bar"));
    assert_eq!(project.rows(&made.tree).await, ["1|a", "2|b"]);
}

/// A text is null when it is the whole cell; blanks and quotes around it make it null where no text is wanted.
#[tokio::test]
async fn null_texts_in_columns_of_text_and_of_numbers() {
    let project = Project::new().await;
    let text = "n,t,d\n1,NA,2024-01-01\n NA , NA ,\"NA\"\n , ,\n\"NA\",\"NA\", \n 5 ,\"\",2024-01-02\n";
    let made = project.ingest("t.csv", text.as_bytes()).await.unwrap();
    let types: Vec<_> = made.report.columns.iter().map(|column| column.data_type.as_str()).collect();
    assert_eq!((types, made.report.quarantined), (vec!["int64", "text", "date"], 0));
    assert_eq!(project.rows(&made.tree).await, ["1||2024-01-01", "| NA |", "| |", "|NA|", "5||2024-01-02"]);
}

#[tokio::test]
async fn a_column_of_texts_that_may_be_null_has_values() {
    let project = Project::new().await;
    let made = project.ingest("t.csv", b"id,code,none\n1,\"NA\",NA\n2,\"NA\",NA\n").await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1|NA|", "2|NA|"]);
    let noted = |place: usize| made.report.columns[place].notes.iter().any(|note| note == "no row has a value");
    assert_eq!((noted(1), noted(2)), (false, true), "{:?}", made.report.columns);
    // They go with a type that another file declares.
    project.write("in/a.csv", b"n\n\"NA\"\n");
    project.write("in/b.jsonl", b"{\"n\": 7}\n");
    let made = project.run(&crate::IngestSettings::new("in", project.scratch())).await.unwrap();
    assert_eq!(made.report.columns[0].data_type, "int64");
}

#[tokio::test]
async fn nul_bytes_are_listed() {
    let project = Project::new().await;
    let made = project.ingest("n.csv", b"id,name\n1,a\n2,b\0c\n").await.unwrap();
    assert_eq!((made.report.rows, made.report.quarantined), (1, 1));
    let listed = project.quarantine(&made.tree).await;
    assert!(listed[0].contains("|3||") && listed[0].contains("NUL"), "{listed:?}");
    let error = project.ingest("n.csv", b"i\0d\0\n\0").await.unwrap_err().to_string();
    assert!(error.contains("NUL"), "{error}");
}

#[tokio::test]
async fn lines_that_end_with_a_carriage_return_alone() {
    let project = Project::new().await;
    let text = "id,name\r1,Zoë\r2,\"two\rlines\"\r";
    let utf16: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for (name, bytes) in [("m.csv", text.as_bytes()), ("u.csv", &utf16)] {
        let made = project.ingest(name, bytes).await.unwrap();
        assert_eq!(project.rows(&made.tree).await, ["1|Zoë", "2|two\rlines"], "{name}");
        assert_eq!(made.report.files[0].notes, ["its lines end with a carriage return alone"]);
    }
}

#[tokio::test]
async fn whole_numbers_are_never_rounded() {
    let project = Project::new().await;
    for (name, text) in [
        ("t.csv", "id\n9007199254740993\n0.5\n"),
        ("t.jsonl", "{\"id\":9007199254740993}\n{\"id\":0.5}\n"),
        ("t.json", "[{\"id\":[9007199254740993,0.5]}]"),
    ] {
        let made = project.ingest(name, text.as_bytes()).await.unwrap();
        let rows = project.rows(&made.tree).await;
        assert!(rows[0].contains("9007199254740993"), "{name}: {rows:?}");
        assert_eq!(made.report.quarantined, 0);
    }
    // One among many measures is set aside, and said.
    let measures = "0.5\n".repeat(200);
    let made = project.ingest("m.csv", format!("id\n9007199254740993\n{measures}").as_bytes()).await.unwrap();
    assert_eq!((made.report.rows, made.report.columns[0].data_type.as_str()), (200, "float64"));
    let listed = project.quarantine(&made.tree).await;
    assert_eq!(listed, ["m.csv||2|id|9007199254740993|not a value of type float64"]);
    let records = "{\"id\":0.5}\n".repeat(200);
    let made = project.ingest("m.jsonl", format!("{{\"id\":9007199254740993}}\n{records}").as_bytes()).await.unwrap();
    assert_eq!((made.report.rows, made.report.quarantined), (200, 1));
}
