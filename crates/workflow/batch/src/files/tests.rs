use std::ops::ControlFlow;
use std::path::Path;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Float32Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ropewalk_inference::{EmbeddedEngine, Engine as _, LoadOptions, ModelSource};
use ropewalk_store::files::{TemporaryDirectory, list, open, read, temporary_directory, write_atomic};

use super::*;

/// Four columns: FP32 `a` and `b`, BYTES `carrier`, INT64 `month`; gives a label and two probabilities.
const FLIGHTS: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../foundation/inference/tests/fixtures/logistic_raw_columns.onnx"
));
const CSV: &str = "id,a,b,carrier,month\n1,-0.5,-1.25,B6,5\n2,0.75,,Zürich,10\n3,2.5,0.5,AA,2\n";

struct Silent;

impl Progress for Silent {
    fn rows(&self, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

fn model() -> Arc<dyn Model> {
    let source = ModelSource::from(Bytes::from_static(FLIGHTS));
    EmbeddedEngine.load(&source, &LoadOptions::default()).unwrap()
}

fn settings() -> ScoreSettings {
    ScoreSettings {
        choice: ColumnChoice::default(),
        kept: None,
        prefix: String::new(),
        batch_rows: 2,
        workers: 2,
        again: false,
    }
}

fn folder(files: &[(&str, &str)]) -> TemporaryDirectory {
    let folder = temporary_directory(&std::env::temp_dir()).unwrap();
    for (name, text) in files {
        write_atomic(&folder.path().join(name), text.as_bytes()).unwrap();
    }
    folder
}

fn scored(input: &Path, output: &Path, settings: &ScoreSettings) -> Result<Vec<ScoredFile>, BatchError> {
    let digest = Digest::of(FLIGHTS);
    tasks(input, output)?.iter().map(|task| score_files(task, &model(), &digest, settings, &Silent)).collect()
}

fn rows(path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(open(path).unwrap()).unwrap().build().unwrap();
    reader.collect::<Result<_, _>>().unwrap()
}

#[test]
fn scores_stand_beside_the_rows_with_the_labels_and_where_they_come_from() {
    let folder = folder(&[("new.csv", CSV)]);
    let (input, output) = (folder.path().join("new.csv"), folder.path().join("out/scored.parquet"));
    let done = scored(&input, &output, &settings()).unwrap();
    assert_eq!((done[0].rows, done[0].known), (3, false));
    let table = rows(&output);
    let schema = table[0].schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "a", "b", "carrier", "month", "output_label", "output_probability"]);
    let probability = schema.field_with_name("output_probability").unwrap();
    assert!(matches!(probability.data_type(), DataType::FixedSizeList(_, 2)), "{probability:?}");
    assert_eq!(probability.metadata()["ropewalk.labels"], r#"["late","on time"]"#);
    assert!(table[0].column_by_name("output_label").unwrap().as_string::<i32>().iter().flatten().count() == 3);
    let entries = table[0].column_by_name("output_probability").unwrap().as_fixed_size_list();
    let sums = entries.values().as_primitive::<Float32Type>().values().chunks(2).map(|pair| pair[0] + pair[1]);
    assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    let reader = ParquetRecordBatchReaderBuilder::try_new(open(&output).unwrap()).unwrap();
    let facts = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let fact = |key: &str| facts.iter().find(|fact| fact.key == key).and_then(|fact| fact.value.clone());
    assert_eq!(fact(MODEL_KEY), Some(Digest::of(FLIGHTS).to_string()));
    assert_eq!(fact(INPUT_KEY), Some(Digest::of(CSV.as_bytes()).to_string()));
}

#[test]
fn the_same_table_in_any_format_gives_the_same_scores() {
    let lines = "{\"id\":1,\"a\":-0.5,\"b\":-1.25,\"carrier\":\"B6\",\"month\":5}\n\
                 {\"id\":2,\"a\":0.75,\"b\":null,\"carrier\":\"Zürich\",\"month\":10}\n\
                 {\"id\":3,\"a\":2.5,\"b\":0.5,\"carrier\":\"AA\",\"month\":2}\n";
    let tabs = CSV.replace(',', "\t");
    let folder = folder(&[("c.csv", CSV), ("j.ndjson", lines), ("t.tsv", &tabs), ("notes.txt", "x")]);
    let first = TableFile::open(&folder.path().join("c.csv")).unwrap();
    let batch = first.batches(100).unwrap().next().unwrap().unwrap();
    let mut arrow = arrow::ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    arrow.write(&batch).unwrap();
    write_atomic(&folder.path().join("f.arrow"), &arrow.into_inner().unwrap()).unwrap();
    let output = folder.path().join("scored");
    let done = scored(folder.path(), &output, &settings()).unwrap();
    assert_eq!(done.len(), 4);
    let labels = |name: &str| rows(&output.join(name))[0].column_by_name("output_probability").unwrap().clone();
    for name in ["j.parquet", "t.parquet", "f.parquet"] {
        assert_eq!(&labels(name), &labels("c.parquet"), "{name}");
    }
    // What was made is a table again; lines of JSON have their columns in the order of the alphabet.
    let settings = ScoreSettings { prefix: "again_".to_owned(), ..settings() };
    let again = scored(&output.join("[cft].parquet"), &folder.path().join("one.parquet"), &settings).unwrap();
    assert_eq!((again.len(), again[0].rows, again[0].inputs.len()), (1, 9, 3));
}

#[test]
fn what_is_finished_is_known_until_model_input_or_settings_change() {
    let folder = folder(&[("a.csv", CSV), ("b.csv", CSV)]);
    let output = folder.path().join("out");
    let known = |settings: &ScoreSettings| {
        let done = scored(&folder.path().join("*.csv"), &output, settings).unwrap();
        done.iter().map(|one| (one.known, one.rows)).collect::<Vec<_>>()
    };
    assert_eq!(known(&settings()), [(false, 3), (false, 3)]);
    assert_eq!(known(&settings()), [(true, 3), (true, 3)]);
    write_atomic(&folder.path().join("b.csv"), CSV.replace("2.5", "2.25").as_bytes()).unwrap();
    assert_eq!(known(&settings()), [(true, 3), (false, 3)]);
    write_atomic(&output.join("a.parquet"), b"PAR1 half").unwrap();
    assert_eq!(known(&settings()), [(false, 3), (true, 3)]);
    assert_eq!(known(&ScoreSettings { kept: Some(vec!["id".to_owned()]), ..settings() }), [(false, 3), (false, 3)]);
    assert_eq!(known(&ScoreSettings { again: true, ..settings() }), [(false, 3), (false, 3)]);
}

#[test]
fn what_fails_leaves_what_was_there() {
    let wrong = format!("{CSV}4,1.0,1.0,,3\n");
    let folder = folder(&[("a.csv", &wrong)]);
    let output = folder.path().join("out/a.parquet");
    write_atomic(&output, b"before").unwrap();
    let error = scored(&folder.path().join("a.csv"), &output, &settings()).unwrap_err();
    assert_eq!(error.to_string(), "column `carrier`, row 4: null is no BYTES");
    assert_eq!(read(&output).unwrap(), b"before");
    assert_eq!(list(&folder.path().join("out")).unwrap().len(), 1);
}

#[test]
fn a_table_without_rows_has_the_columns_of_the_scores() {
    let folder = folder(&[("a.csv", CSV), ("b.csv", CSV)]);
    let full = TableFile::open(&folder.path().join("a.csv")).unwrap().schema().unwrap();
    let mut empty = arrow::ipc::writer::FileWriter::try_new(Vec::new(), &full).unwrap();
    empty.finish().unwrap();
    write_atomic(&folder.path().join("e.arrow"), &empty.into_inner().unwrap()).unwrap();
    let out = |name: &str| folder.path().join("out").join(name);
    let done = scored(&folder.path().join("e.arrow"), &out("e.parquet"), &settings()).unwrap();
    assert_eq!(done[0].rows, 0);
    scored(&folder.path().join("a.csv"), &out("a.parquet"), &settings()).unwrap();
    let schema = |name: &str| TableFile::open(&out(name)).unwrap().schema().unwrap();
    assert_eq!(schema("e.parquet"), schema("a.parquet"));
}

#[test]
fn places_that_do_not_go_together_are_refused() {
    let folder = folder(&[("a.csv", CSV), ("a.tsv", "x\ty\n"), ("c.txt", "x")]);
    let at = |name: &str| folder.path().join(name);
    let says = |input: &str, output: &str| tasks(&at(input), &at(output)).unwrap_err().to_string();
    assert!(says("none.csv", "o.parquet").starts_with("there is no table at"));
    assert!(says("*.xlsx", "o.parquet").starts_with("there is no table at"));
    assert!(says("", "out").contains("would both be"));
    assert!(says("*.csv", ".").contains("among the inputs"));
    assert!(says("a.csv", "o.csv").contains("can be written"));
    write_atomic(&at("p.parquet"), b"x").unwrap();
    assert!(says("p.parquet", "p.parquet").contains("take the place"));
    let text = scored(&at("c.txt"), &at("o.parquet"), &settings()).unwrap_err();
    assert!(text.to_string().contains("can be read"), "{text}");
    let other = scored(&at("a.*"), &at("o.parquet"), &settings()).unwrap_err();
    assert!(matches!(other, BatchError::OtherColumns { .. }), "{other}");
}

/// Cargo runs tests in the folder of their package, where this name is a file.
#[test]
fn a_bare_name_is_in_the_working_directory() {
    let input = Path::new("Cargo.toml");
    assert!(input.is_file());
    for output in [".", "", "src/..", "../batch", "new/.."] {
        let error = tasks(input, Path::new(output)).unwrap_err().to_string();
        assert!(error.contains("among the inputs"), "{output}: {error}");
    }
    assert_eq!(tasks(input, Path::new("src")).unwrap()[0].output, Path::new("src/Cargo.parquet"));
}

#[cfg(unix)]
#[test]
fn no_output_takes_the_place_of_an_input_through_a_link() {
    use std::os::unix::fs::symlink;
    let folder = folder(&[("in/other.parquet", "x"), ("out/data.parquet", "x"), ("real/kept.parquet", "x")]);
    let at = |name: &str| folder.path().join(name);
    let says = |input: &str, output: &str| tasks(&at(input), &at(output)).unwrap_err().to_string();
    // The input is a link to what would be its own output.
    symlink(at("out/data.parquet"), at("in/data.parquet")).unwrap();
    assert!(says("in", "out").contains("take the place"));
    assert!(says("in/data.parquet", "out").contains("take the place"));
    assert!(says("in/data.parquet", "out/data.parquet").contains("take the place"));
    // The output is a link to an input.
    symlink(at("real/kept.parquet"), at("out/kept.parquet")).unwrap();
    assert!(says("real", "out").contains("take the place"));
    assert!(says("real/kept.parquet", "out/kept.parquet").contains("take the place"));
    // The folder is a link, or is not there yet.
    symlink(at("real"), at("way")).unwrap();
    assert!(says("real", "way").contains("among the inputs"));
    assert!(says("real/kept.parquet", "way/kept.parquet").contains("take the place"));
    assert!(says("real", "new/../real").contains("among the inputs"));
    assert_eq!(tasks(&at("real"), &at("new")).unwrap()[0].output, at("new/kept.parquet"));
}
