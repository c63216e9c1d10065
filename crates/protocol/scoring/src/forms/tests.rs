use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float32Array, Int8Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{Float64Type, Int32Type};
use axum::http::HeaderValue;

use super::*;

fn headers(content_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    headers
}

fn read(kind: Kind, body: impl Into<Bytes>) -> Result<Asking, String> {
    let limits = ScoringLimits { rows: 5, columns: 8, cells: 20, ..ScoringLimits::default() };
    kind.read(body.into(), &limits).map_err(|error| error.to_string())
}

fn table(text: &str) -> Table {
    read(Kind::Json, text.to_owned()).unwrap().table
}

fn names(table: &Table) -> Vec<&str> {
    table.names.as_ref().unwrap().iter().map(String::as_str).collect()
}

#[test]
fn the_content_type_says_what_is_read() {
    assert_eq!(Kind::of(&headers("application/json")).unwrap(), Kind::Json);
    assert_eq!(Kind::of(&headers("application/json; charset=UTF-8")).unwrap(), Kind::Json);
    assert_eq!(Kind::of(&headers("text/csv;charset=utf-8")).unwrap(), Kind::Csv);
    assert_eq!(Kind::of(&headers("application/vnd.apache.parquet")).unwrap(), Kind::Parquet);
    assert_eq!(Kind::of(&headers("application/parquet")).unwrap(), Kind::Parquet);
    for wrong in ["text/html", "", "application/json; charset=latin1", "application/json; format=pandas-split"] {
        assert_eq!(Kind::of(&headers(wrong)).unwrap_err().status().0, 415, "{wrong}");
    }
    assert_eq!(Kind::of(&HeaderMap::new()).unwrap_err().status().0, 415);
}

#[test]
fn the_four_forms_are_the_same_table() {
    let split = table(r#"{"dataframe_split": {"columns": ["b", "a"], "index": [7, 8], "data": [[1, "x"], [2, "y"]]}}"#);
    let records = table(r#"{"dataframe_records": [{"b": 1, "a": "x"}, {"a": "y", "b": 2}]}"#);
    assert_eq!(split, records);
    assert_eq!((names(&split), split.rows), (vec!["b", "a"], 2));
    let by_row = table(r#"{"instances": [{"b": 1, "a": "x"}, {"b": 2, "a": "y"}]}"#);
    let by_name = table(r#"{"inputs": {"b": [1, 2], "a": ["x", "y"]}, "params": {"p": 1}}"#);
    assert_eq!(by_row, by_name);
    assert_eq!((by_row.columns, by_row.names), (records.columns, records.names));
}

#[test]
fn forms_without_names_are_read() {
    let split = table(r#"{"dataframe_split": {"data": [[1, 2], [3, 4]]}}"#);
    assert_eq!((split.names, split.columns.len(), split.rows), (None, 2, 2));
    let matrix = table(r#"{"instances": [[1, 2], [3, 4]]}"#);
    assert_eq!((matrix.names, matrix.columns.len(), matrix.rows), (None, 1, 2));
    let scalar = table(r#"{"inputs": 5}"#);
    assert_eq!((scalar.columns, scalar.rows), (vec![vec![Json::Int(5)]], 1));
    let one = table(r#"{"inputs": {"a": 1, "b": "x"}}"#);
    assert_eq!((names(&one), one.rows), (vec!["a", "b"], 1));
}

#[test]
fn what_a_record_lacks_is_missing() {
    let read = table(r#"{"dataframe_records": [{"a": 1}, {"b": 2}, {"b": 3, "a": NaN, "c": 1}]}"#);
    assert_eq!(names(&read), ["a", "b", "c"]);
    let (null, int) = (Json::Null, Json::Int);
    let wanted = [
        vec![int(1), null.clone(), null.clone()],
        vec![null.clone(), int(2), int(3)],
        vec![null.clone(), null, int(1)],
    ];
    assert_eq!(read.columns, wanted);
    let twice = table(r#"{"dataframe_records": [{"a": 1, "a": 2}]}"#);
    assert_eq!(twice.columns, [vec![int(2)]], "the last of a key that stands twice counts");
}

#[test]
fn params_are_noticed_and_left_out() {
    let asked = |text: &str| read(Kind::Json, text.to_owned()).unwrap();
    assert!(asked(r#"{"inputs": [1], "params": {"temperature": 1}}"#).has_params);
    assert!(!asked(r#"{"inputs": [1], "params": null}"#).has_params);
    assert_eq!(asked(r#"{"inputs": [1]}"#).asked, Asked::Tensors);
    assert_eq!(asked(r#"{"dataframe_records": []}"#).asked, Asked::Frame);
}

#[test]
fn mistakes_in_json_are_named() {
    let wrong = |text: &str| read(Kind::Json, text.to_owned()).unwrap_err();
    assert!(wrong("[1]").ends_with("found no object"));
    assert!(wrong(r#"{"data": []}"#).ends_with("found `data`"));
    assert!(wrong("{}").ends_with("found none"));
    let two = wrong(r#"{"instances": [1], "id": 7, "inputs": [2]}"#);
    assert!(two.contains("exactly one of") && two.ends_with("found `instances`, `inputs`, `id`"), "{two}");
    assert!(wrong(r#"{"inputs": [1"#).starts_with("cannot read the request as JSON: EOF"));
    assert!(wrong(r#"{"dataframe_split": []}"#).contains("`dataframe_split` must be an object, found a list of 0"));
    assert!(wrong(r#"{"dataframe_split": {"columns": ["a"]}}"#).contains("`data` must be a list, found null"));
    assert!(wrong(r#"{"dataframe_split": {"data": [], "dtypes": []}}"#).contains("found `dtypes`"));
    assert!(wrong(r#"{"dataframe_split": {"data": [[1]], "columns": [null]}}"#).contains("a list of names"));
    let ragged = wrong(r#"{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3]]}}"#);
    assert_eq!(ragged, "row 2: expected 2 cells, found 1 cells");
    assert!(wrong(r#"{"dataframe_records": {"a": 1}}"#).contains("must be a list, found an object"));
    assert!(wrong(r#"{"dataframe_records": [{"a": 1}, 2]}"#).contains("row 2: expected an object of columns, found 2"));
    assert!(wrong(r#"{"instances": {"a": [1], "b": [1, 2]}}"#).contains("as many values for each name"));
}

#[test]
fn tables_are_bounded() {
    let wrong = |text: &str| read(Kind::Json, text.to_owned()).unwrap_err();
    assert_eq!(wrong(r#"{"inputs": [1, 2, 3, 4, 5, 6]}"#), "the table has more than 5 rows");
    let wide = r#"{"dataframe_records": [{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}]}"#;
    assert_eq!(wrong(wide), "the table has more than 8 columns");
    let large = r#"{"dataframe_split": {"data": [[1,2,3,4,5],[1,2,3,4,5],[1,2,3,4,5],[1,2,3,4,5],[1,2,3,4,5]]}}"#;
    assert_eq!(wrong(large), "the table has more than 20 cells");
    let long = read(Kind::Csv, "a\n1\n2\n3\n4\n5\n6\n").unwrap_err();
    assert_eq!(long, "the table has more than 5 rows");
    // The line of names alone, of which each would take some hundred bytes.
    assert_eq!(read(Kind::Csv, ",".repeat(1 << 20)).unwrap_err(), "the table has more than 8 columns");
    // Nothing after it is read, nor is the line itself.
    assert_eq!(read(Kind::Csv, &b",,,,,,,,\xff\n1\n"[..]).unwrap_err(), "the table has more than 8 columns");
    let quoted = read(Kind::Csv, "\r\n\"a,\"\"b\"\",c,d,e,f,g,h,i,j\",k\n1,2\n").unwrap();
    assert_eq!(names(&quoted.table), ["a,\"b\",c,d,e,f,g,h,i,j", "k"]);
}

#[test]
fn csv_is_read_as_pandas_writes_it() {
    let read = read(Kind::Csv, "\u{feff}carrier,\"dis\"\"tance\"\r\n\"a,\nb\",1.5\r\n,\r\n").unwrap();
    let text = |text: &str| Json::Text(text.to_owned());
    assert_eq!(names(&read.table), ["carrier", "dis\"tance"]);
    assert_eq!(read.table.columns, [vec![text("a,\nb"), text("")], vec![text("1.5"), text("")]]);
    assert_eq!((read.table.reading, read.asked), (Reading::Lexical, Asked::Frame));
}

#[test]
fn mistakes_in_csv_are_named() {
    let wrong = |body: &'static [u8]| read(Kind::Csv, body).unwrap_err();
    assert_eq!(wrong(b"a,b\n1,2\n3\n"), "row 2: expected 2 cells, found 1 cells");
    assert!(wrong(b"").contains("no line of names"));
    assert!(wrong(b"a\n\xff\n").starts_with("cannot read the request as CSV"));
}

fn file(columns: Vec<(&str, ArrayRef)>) -> Bytes {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes.into()
}

#[test]
fn parquet_columns_are_read_in_every_type() {
    let lists = ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(0.5), None]), None]);
    let body = file(vec![
        ("small", Arc::new(Int8Array::from(vec![Some(1), None]))),
        ("real", Arc::new(Float32Array::from(vec![0.5, 1.0]))),
        ("is", Arc::new(BooleanArray::from(vec![true, false]))),
        ("word", Arc::new(StringArray::from(vec![Some("UA"), None]))),
        ("category", Arc::new(["x", "y"].into_iter().collect::<DictionaryArray<Int32Type>>())),
        ("list", Arc::new(lists)),
    ]);
    let read = read(Kind::Parquet, body).unwrap().table;
    let text = |text: &str| Json::Text(text.to_owned());
    let wanted = [
        vec![Json::Int(1), Json::Null],
        vec![Json::Float(0.5), Json::Float(1.0)],
        vec![Json::Bool(true), Json::Bool(false)],
        vec![text("UA"), Json::Null],
        vec![text("x"), text("y")],
        vec![Json::List(vec![Json::Float(0.5), Json::Null]), Json::Null],
    ];
    assert_eq!((read.columns.as_slice(), read.rows), (wanted.as_slice(), 2));
}

#[test]
fn mistakes_in_parquet_are_named() {
    let wrong = |body: Bytes| read(Kind::Parquet, body).unwrap_err();
    assert!(wrong(Bytes::from_static(b"PAR1 and no more")).starts_with("cannot read the request as Parquet"));
    let times = file(vec![("at", Arc::new(TimestampMillisecondArray::from(vec![1])))]);
    assert!(wrong(times).contains("column `at` has type Timestamp"));
    let long = file(vec![("a", Arc::new(Int64Array::from(vec![1; 6])))]);
    assert_eq!(wrong(long), "the table has more than 5 rows");
    let texts = file(vec![("a", Arc::new(StringArray::from(vec!["x".repeat(11), "y".repeat(11)])))]);
    assert_eq!(wrong(texts), "the table has more than 20 values and bytes of text");
    let limits = ScoringLimits { parquet_bytes: 100_000, ..ScoringLimits::default() };
    let one = file(vec![("a", Arc::new(StringArray::from(vec!["x".repeat(200_000)])))]);
    let refusal = Kind::Parquet.read(one, &limits).unwrap_err().to_string();
    assert!(refusal.ends_with("100000 bytes without compression"), "{refusal}");
}

proptest::proptest! {
    #[test]
    fn foreign_bytes_do_no_harm(body: Vec<u8>) {
        for kind in [Kind::Json, Kind::Csv, Kind::Parquet] {
            let _ = read(kind, body.clone());
        }
    }
}

#[test]
fn a_short_body_makes_no_large_table() {
    let refused = |text: String| Kind::Json.read(text.into(), &ScoringLimits::default()).unwrap_err().to_string();
    // 200 KiB of empty objects, each of which would be a row of a hundred cells.
    let keys: Vec<String> = (0..100).map(|key| format!("\"c{key}\":1")).collect();
    let sparse = format!(r#"{{"dataframe_records": [{{{}}}{}]}}"#, keys.join(","), ",{}".repeat(70_000));
    assert_eq!(refused(sparse), format!("the table has more than {} cells", (1 << 16) + 16 * 100));
    let narrow = r#"{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], 3]}}"#;
    assert_eq!(refused(narrow.to_owned()), "row 2: expected 2 cells, found 1 cells");
}
