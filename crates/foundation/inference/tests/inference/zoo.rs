//! The zoo: models of the real exporters on each engine, against the answers of the real onnxruntime.
//!
//! `cargo xtask test` makes it (`tests/python/onnx_zoo.py`) and names its folder in `ROPEWALK_ONNX_ZOO`; without it
//! the committed part of it is checked. The tables of `docs/serving-zoo.md` are written anew with `ROPEWALK_UPDATE=1`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ropewalk_inference::{
    EmbeddedEngine, Engine, EngineName, InferenceError, LoadOptions, Model, ModelSource, NamedTensor,
};
use serde_json::Value;

use crate::record::{TOLERANCE, compare, models, nan_or_larger, read, tensor};

/// The fewest models that the embedded engine must serve.
const EMBEDDED_LEAST: usize = 17;
/// Graphs made by hand to reach every branch of an operator: checked, but no part of the table.
const HAND_MADE: [&str; 2] = ["operators_", "trees_"];

/// The engines of this machine.
fn engines() -> Vec<Arc<dyn Engine>> {
    let all: Vec<Arc<dyn Engine>> = vec![Arc::new(EmbeddedEngine), Arc::new(crate::foreign::onnxruntime::engine())];
    all.into_iter().filter(|engine| engine.available().is_ok()).collect()
}

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn zoo() -> Option<PathBuf> {
    std::env::var_os("ROPEWALK_ONNX_ZOO").map(PathBuf::from)
}

fn committed() -> Vec<PathBuf> {
    let fixtures = crate_folder().join("tests/fixtures");
    [models(&fixtures), models(&fixtures.join("zoo"))].concat()
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// The largest difference to the recorded answers, or why the engine does not take the model.
fn check(engine: &dyn Engine, path: &Path) -> Result<f64, InferenceError> {
    let name = name(path);
    let source = ModelSource::from(Bytes::from(read(path)));
    let model = engine.load(&source, &LoadOptions::default())?;
    let record: Value = serde_json::from_slice(&read(&path.with_extension("json"))).unwrap();
    let inputs: Vec<NamedTensor> = record["inputs"].as_array().unwrap().iter().map(tensor).collect();
    let outputs = model.predict(&inputs).unwrap_or_else(|error| panic!("{name} on {}: {error}", engine.name()));
    let expected = record["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), expected.len(), "{name}");
    let mut largest = 0.0;
    for ((output, expected), spec) in outputs.iter().zip(expected).zip(&model.signature().outputs) {
        let expected = tensor(expected);
        let place = format!("{name} on {}, output {}", engine.name(), output.name);
        assert_eq!((&output.name, &output.name), (&expected.name, &spec.name), "{place}");
        assert_eq!(output.tensor.element_type(), spec.datatype, "{place}");
        let shape: Vec<i64> = output.tensor.shape.iter().map(|extent| *extent as i64).collect();
        assert!(spec.accepts(&shape), "{place}: {spec} does not accept {shape:?}");
        largest = nan_or_larger(largest, compare(&output.tensor, &expected.tensor, &place));
    }
    assert_same_signature(&*model, &inputs, &name);
    Ok(largest)
}

/// The signature is the model's own: it names what was recorded, with the type that was recorded.
fn assert_same_signature(model: &dyn Model, inputs: &[NamedTensor], name: &str) {
    let declared: Vec<_> = model.signature().inputs.iter().map(|spec| (spec.name.as_str(), spec.datatype)).collect();
    let given: Vec<_> = inputs.iter().map(|input| (input.name.as_str(), input.tensor.element_type())).collect();
    assert_eq!(declared, given, "{name}");
}

/// What an engine makes of each model: a cell of its table. Differences and reasons go into the target folder.
fn outcomes(engine: &dyn Engine, paths: &[PathBuf]) -> BTreeMap<String, String> {
    let mut figures = String::new();
    let outcome = |path: &PathBuf| {
        let name = name(path);
        let text = match check(engine, path) {
            Ok(largest) => {
                writeln!(figures, "{name:<28} {largest:.1e}").unwrap();
                assert!(largest <= TOLERANCE, "{name} on {}: {largest}", engine.name());
                "yes".to_owned()
            }
            Err(InferenceError::Unsupported { domain, operator, reason, .. }) => {
                writeln!(figures, "{name:<28} {domain}.{operator}: {reason}").unwrap();
                format!("no: `{domain}.{operator}`")
            }
            Err(other) => panic!("{name} on {}: {other}", engine.name()),
        };
        (name, text)
    };
    let outcomes = paths.iter().map(outcome).collect();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("zoo-{}.txt", engine.name()));
    std::fs::write(file, figures).unwrap();
    outcomes
}

fn served(outcomes: &BTreeMap<String, String>) -> usize {
    outcomes.values().filter(|outcome| *outcome == "yes").count()
}

fn table(engine: EngineName, outcomes: &BTreeMap<String, String>) -> String {
    let mut text = format!("{} of {} models on `{engine}`.\n\n", served(outcomes), outcomes.len());
    text += "| model | served |\n| --- | --- |\n";
    for (name, outcome) in outcomes {
        writeln!(text, "| `{name}` | {outcome} |").unwrap();
    }
    text
}

/// The document with a table between its markers.
fn with_table(document: &str, engine: EngineName, table: &str) -> String {
    let (from, to) = (format!("<!-- zoo: {engine} -->\n"), format!("<!-- end of {engine} -->\n"));
    let start = document.find(&from).map(|at| at + from.len());
    let end = document.find(&to);
    let (Some(start), Some(end)) = (start, end) else { panic!("docs/serving-zoo.md has no place for {engine}") };
    format!("{}\n{table}\n{}", &document[..start], &document[end..])
}

/// Writes what was found into the target folder and holds the document against it.
fn compare_document(tables: &[(EngineName, String)]) {
    let path = crate_folder().join("../../../docs/serving-zoo.md");
    let document = String::from_utf8(read(&path)).unwrap();
    let fresh = tables.iter().fold(document.clone(), |text, (engine, table)| with_table(&text, *engine, table));
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("serving-zoo.md"), &fresh).unwrap();
    if std::env::var_os("ROPEWALK_UPDATE").is_some() {
        std::fs::write(&path, fresh).unwrap();
    } else {
        assert_eq!(document, fresh, "docs/serving-zoo.md is stale: run the test with ROPEWALK_UPDATE=1");
    }
}

#[test]
fn each_model_is_served_rightly_or_refused_by_name() {
    let paths = zoo().map_or_else(committed, |folder| models(&folder));
    let mut tables = Vec::new();
    for engine in engines() {
        let mut outcomes = outcomes(&*engine, &paths);
        outcomes.retain(|name, _| !HAND_MADE.iter().any(|prefix| name.starts_with(prefix)));
        if engine.name() == EngineName::Embedded {
            let count = served(&outcomes);
            assert!(count >= EMBEDDED_LEAST, "only {count} of {} models", outcomes.len());
        }
        tables.push((engine.name(), table(engine.name(), &outcomes)));
    }
    if zoo().is_some() {
        compare_document(&tables);
    }
}

#[test]
fn the_embedded_engine_serves_the_committed_networks() {
    let networks = committed()
        .into_iter()
        .filter(|path| ["jax_", "torch_", "quantized_", "mixed_"].iter().any(|prefix| name(path).starts_with(prefix)));
    let mut count = 0;
    for path in networks {
        let largest = check(&EmbeddedEngine, &path).unwrap_or_else(|error| panic!("{}: {error}", name(&path)));
        assert!(largest <= TOLERANCE, "{}: {largest}", name(&path));
        count += 1;
    }
    assert!(count >= 8, "only {count} networks");
}
