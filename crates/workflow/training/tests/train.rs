//! The whole way from a table to a checked model, and every way in which a table can be unfit.
#![expect(clippy::expect_used, clippy::float_cmp, reason = "a test may panic, and counts kept as floats are exact")]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, NullArray, RecordBatch, StringArray,
    StringViewArray, TimestampMillisecondArray,
};
use arrow::datatypes::Int32Type;
use ropewalk_inference::{ClassicalEngine, NamedTensor, Tensor, TensorData};
use ropewalk_training::{
    FeatureKind, GradientBoostingParams, IterationMetrics, NoProgress, Part, Progress, TrainSettings, Trained,
    TrainingError, train,
};
use ropewalk_types::{Diagnose, ElementType};

const ROWS: usize = 1_200;
const CITIES: [&str; 4] = ["Oslo", "Bergen", "Ålesund", "Tromsø"];

/// Repeats on every machine (Knuth's MMIX multiplier and increment).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

struct Columns {
    key: Vec<String>,
    temperature: Vec<Option<f64>>,
    stops: Vec<Option<i64>>,
    city: Vec<Option<&'static str>>,
    night: Vec<bool>,
    late: Vec<i64>,
    part: Vec<&'static str>,
}

fn columns() -> Columns {
    let mut random = Random(7);
    let mut made = Columns {
        key: Vec::new(),
        temperature: Vec::new(),
        stops: Vec::new(),
        city: Vec::new(),
        night: Vec::new(),
        late: Vec::new(),
        part: Vec::new(),
    };
    for row in 0..ROWS {
        let part = ["train", "validation", "test"][row * 3 / ROWS];
        let temperature = random.unit() * 40.0 - 10.0;
        let stops = (random.unit() * 5.0) as i64;
        let city = (random.unit() * 4.0) as usize;
        let night = random.unit() < 0.5;
        let odds = 0.15 * temperature - 0.5 * stops as f64 + if city == 2 { 1.5 } else { 0.0 } - 0.5;
        let missing = random.unit() < 0.1;
        // A city that only the test part knows, and one that is nowhere said.
        let city = if part == "test" && row % 17 == 0 { Some("Vardø") } else { (row % 13 > 0).then(|| CITIES[city]) };
        made.key.push(format!("k{row}"));
        made.temperature.push((!missing).then_some(temperature));
        made.stops.push((row % 29 > 0).then_some(stops));
        made.city.push(city);
        made.night.push(night);
        made.late.push(i64::from(random.unit() < 1.0 / (1.0 + (-odds).exp())));
        made.part.push(part);
    }
    made
}

fn batch_of(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(name, array)| (*name, Arc::clone(array), true)))
        .expect("columns of equal length")
}

fn arrays() -> Vec<(&'static str, ArrayRef)> {
    let made = columns();
    vec![
        ("key", Arc::new(StringArray::from(made.key)) as ArrayRef),
        ("temperature", Arc::new(Float64Array::from(made.temperature))),
        ("stops", Arc::new(Int64Array::from(made.stops))),
        ("city", Arc::new(StringArray::from(made.city))),
        ("night", Arc::new(BooleanArray::from(made.night))),
        ("late", Arc::new(Int64Array::from(made.late))),
        ("part", Arc::new(StringArray::from(made.part))),
    ]
}

/// The table in three batches.
fn table() -> Vec<RecordBatch> {
    let whole = batch_of(&arrays());
    vec![whole.slice(0, 500), whole.slice(500, 1), whole.slice(501, ROWS - 501)]
}

/// The table with one column replaced or added.
fn table_with(name: &'static str, array: ArrayRef) -> Vec<RecordBatch> {
    let mut arrays = arrays();
    arrays.retain(|(one, _)| *one != name);
    arrays.push((name, array));
    vec![batch_of(&arrays)]
}

fn settings() -> TrainSettings {
    TrainSettings {
        split: Some("part".to_owned()),
        ignore: vec!["key".to_owned()],
        params: GradientBoostingParams { trees: 60, learning_rate: 0.1, depth: 4, ..GradientBoostingParams::default() },
        ..TrainSettings::new("late")
    }
}

fn trained(settings: &TrainSettings) -> Trained {
    train(settings, &table(), &NoProgress).expect("a fit table")
}

fn refused(settings: &TrainSettings, table: &[RecordBatch]) -> TrainingError {
    let error = train(settings, table, &NoProgress).expect_err("an unfit table");
    assert!(error.code().starts_with("training."));
    error
}

#[test]
fn a_model_learns_and_says_how_well() {
    let trained = trained(&settings());
    assert!(trained.metrics["auc"] > 0.75, "{:?}", trained.metrics);
    assert!(trained.metrics["calibration_error"] < 0.15);
    for name in ["log_loss", "accuracy", "brier_score", "validation_auc", "validation_log_loss"] {
        assert!(trained.metrics[name].is_finite(), "{name}");
    }
    for part in ["train_rows", "validation_rows", "test_rows"] {
        assert_eq!(trained.metrics[part], 400.0);
    }
    assert_eq!(trained.calibration.iter().map(|bin| bin.rows).sum::<u64>(), 400);
    assert_eq!((trained.check.rows, trained.check.engine.as_str()), (400, "classical"));
    assert!(trained.check.max_abs_difference <= 1e-5);
    assert_eq!(trained.params["trees"], "60");

    let names: Vec<&str> = trained.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["temperature", "stops", "city", "night"]);
    let FeatureKind::Categorical { categories } = &trained.features[2].kind else { panic!("the city is a category") };
    assert_eq!(categories.last().map(String::as_str), Some("Ålesund"));
    assert_eq!(categories.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(CITIES));

    let gains: Vec<f64> = trained.importances.iter().map(|one| one.gain).collect();
    assert!((gains.iter().sum::<f64>() - 1.0).abs() < 1e-9 && gains.is_sorted_by(|a, b| a >= b), "{gains:?}");
    assert_eq!(trained.importances.last().map(|one| one.feature.as_str()), Some("night"), "it is pure chance");
}

#[test]
fn the_model_takes_raw_columns() {
    let trained = trained(&settings());
    let inputs: Vec<String> = trained.signature.inputs.iter().map(ToString::to_string).collect();
    assert_eq!(inputs, ["temperature: FP32[-1, 1]", "stops: FP32[-1, 1]", "city: BYTES[-1, 1]", "night: FP32[-1, 1]"]);
    let outputs: Vec<String> = trained.signature.outputs.iter().map(ToString::to_string).collect();
    assert_eq!(outputs, ["label: INT64[-1]", "probability: FP32[-1, 2]"]);

    let column =
        |name: &str, values: TensorData| NamedTensor::new(name, Tensor { shape: vec![values.len(), 1], data: values });
    let ask = |city: &str| {
        let inputs = [
            column("temperature", vec![29.0_f32, -9.0, f32::NAN].into()),
            column("stops", vec![0.0_f32, 4.0, 2.0].into()),
            column("city", TensorData::Bytes(vec![bytes::Bytes::copy_from_slice(city.as_bytes()); 3])),
            column("night", vec![1.0_f32; 3].into()),
        ];
        let outputs = ClassicalEngine.load(&trained.onnx).unwrap().predict(&inputs).unwrap();
        let TensorData::Int64(labels) = &outputs[0].tensor.data else { panic!("{outputs:?}") };
        let TensorData::Fp32(probabilities) = &outputs[1].tensor.data else { panic!("{outputs:?}") };
        (labels.clone(), probabilities.clone())
    };
    let (labels, probabilities) = ask("Ålesund");
    assert_eq!(labels[..2], [1, 0]);
    assert!(probabilities[1] > 0.85 && probabilities[3] < 0.35, "{probabilities:?}");
    assert!(probabilities.chunks(2).all(|pair| (pair[0] + pair[1] - 1.0).abs() < 1e-6));
    assert_eq!(ask("").1, ask("never heard of").1, "both are missing");
}

#[test]
fn the_same_input_gives_the_same_bytes_with_any_threads_and_batches() {
    let mut sampled = settings();
    sampled.params.subsample = 0.7;
    sampled.params.feature_sample = 0.7;
    let first = trained(&sampled);
    for threads in [1, 2] {
        sampled.params.threads = threads;
        assert_eq!(trained(&sampled), first, "{threads} threads");
    }
    let whole = [batch_of(&arrays())];
    assert_eq!(train(&sampled, &whole, &NoProgress).unwrap().onnx, first.onnx, "one batch");
    sampled.params.seed = 1;
    assert_ne!(trained(&sampled).onnx, first.onnx, "the seed matters where rows are sampled");
}

#[test]
fn the_test_part_teaches_nothing() {
    let first = trained(&settings());
    let mut late = columns().late;
    for label in &mut late[ROWS * 2 / 3..] {
        *label = 1 - *label;
    }
    let turned = train(&settings(), &table_with("late", Arc::new(Int64Array::from(late))), &NoProgress);
    // The column moved to the end of the table, which is no feature's place.
    let turned = turned.unwrap();
    assert_eq!(turned.onnx, first.onnx);
    assert!((turned.metrics["auc"] + first.metrics["auc"] - 1.0).abs() < 1e-9);
}

#[test]
fn early_stopping_keeps_the_trees_up_to_the_best() {
    let mut settings = settings();
    settings.params = GradientBoostingParams {
        trees: 500,
        learning_rate: 0.3,
        early_stopping_rounds: 5,
        ..GradientBoostingParams::default()
    };
    let trained = trained(&settings);
    let losses: Vec<f64> = trained.history.iter().filter_map(|one| one.validation_log_loss).collect();
    let best = (1..losses.len()).fold(0, |best, one| if losses[one] < losses[best] { one } else { best });
    assert_eq!(trained.metrics["trees_kept"], (best + 1) as f64);
    assert_eq!(trained.history.len(), best + 1 + 5);
    assert!((trained.metrics["validation_log_loss"] - losses[best]).abs() < 1e-5);
    assert_eq!(trained.history[0].iteration, 1);
}

#[test]
fn without_a_split_the_figures_are_called_those_of_the_training_part() {
    let mut settings = settings();
    settings.split = None;
    settings.ignore.push("part".to_owned());
    settings.params.early_stopping_rounds = 0;
    let trained = trained(&settings);
    assert!(trained.metrics.contains_key("train_auc") && !trained.metrics.contains_key("auc"));
    assert_eq!(trained.metrics["trees_kept"], 60.0);
    assert_eq!(trained.check.rows, ROWS as u64);
}

#[test]
fn every_spelling_of_a_string_column_is_the_same_to_the_model() {
    let first = train(&settings(), &table_with("city", Arc::new(StringArray::from(columns().city))), &NoProgress);
    let first = first.unwrap().onnx;
    let view: ArrayRef = Arc::new(StringViewArray::from(columns().city));
    let dictionary: ArrayRef = Arc::new(columns().city.into_iter().collect::<DictionaryArray<Int32Type>>());
    for array in [view, dictionary] {
        assert_eq!(train(&settings(), &table_with("city", array), &NoProgress).unwrap().onnx, first);
    }
}

#[test]
fn a_model_of_one_feature_and_without_a_split_worth_making_still_exports() {
    let constant: ArrayRef = Arc::new(Float64Array::from(vec![1.0; ROWS]));
    let mut settings = settings();
    settings.ignore = ["key", "temperature", "stops", "city", "night"].map(str::to_owned).to_vec();
    let trained = train(&settings, &table_with("constant", constant), &NoProgress).unwrap();
    assert_eq!(trained.metrics["auc"], 0.5);
    assert_eq!(trained.importances[0].gain, 0.0);
    assert_eq!(trained.signature.inputs[0].datatype, ElementType::Fp32);
}

struct StopAfter(u32, AtomicU32);

impl Progress for StopAfter {
    fn iteration(&self, metrics: &IterationMetrics) -> ControlFlow<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        if metrics.iteration < self.0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

#[test]
fn the_caller_hears_of_each_tree_and_may_stop() {
    let progress = StopAfter(3, AtomicU32::new(0));
    let error = train(&settings(), &table(), &progress).unwrap_err();
    assert!(matches!(error, TrainingError::Stopped { iterations: 3 }), "{error}");
    assert_eq!(progress.1.load(Ordering::Relaxed), 3);
}

#[test]
fn a_target_is_zero_or_one() {
    let mut late = columns().late.into_iter().map(Some).collect::<Vec<_>>();
    late[41] = None;
    let error = refused(&settings(), &table_with("late", Arc::new(Int64Array::from(late.clone()))));
    assert_eq!(error.to_string(), "target `late`, row 42: expected 0 or 1, found nothing");
    late[41] = Some(2);
    let error = refused(&settings(), &table_with("late", Arc::new(Int64Array::from(late))));
    assert!(matches!(error, TrainingError::Target { row: 42, .. }), "{error}");
    let words: ArrayRef = Arc::new(StringArray::from(vec!["yes"; ROWS]));
    assert!(matches!(refused(&settings(), &table_with("late", words)), TrainingError::Target { .. }));
    let sure: ArrayRef = Arc::new(Int64Array::from(vec![1; ROWS]));
    let error = refused(&settings(), &table_with("late", sure));
    assert!(matches!(error, TrainingError::OneClass { part: Part::Train, class: 1 }), "{error}");
}

#[test]
fn each_row_belongs_to_a_part_and_each_part_has_rows() {
    let mut parts = columns().part;
    parts[7] = "Test";
    let error = refused(&settings(), &table_with("part", Arc::new(StringArray::from(parts))));
    assert!(matches!(&error, TrainingError::Split { row: 8, value, .. } if value == "`Test`"), "{error}");
    let without = |gone: &str, instead: &'static str| -> ArrayRef {
        let parts = columns().part.into_iter().map(|part| if part == gone { instead } else { part });
        Arc::new(StringArray::from_iter_values(parts))
    };
    for (gone, part) in [("train", Part::Train), ("validation", Part::Validation), ("test", Part::Test)] {
        let instead = if gone == "test" { "train" } else { "test" };
        let error = refused(&settings(), &table_with("part", without(gone, instead)));
        assert!(matches!(error, TrainingError::EmptyPart { part: found } if found == part), "{error}");
    }
    let mut settings = settings();
    settings.params.early_stopping_rounds = 0;
    train(&settings, &table_with("part", without("validation", "train")), &NoProgress).expect("nothing to watch");
}

#[test]
fn unfit_features_are_refused_by_name() {
    let unknown = TrainSettings { ignore: vec!["kye".to_owned()], ..settings() };
    assert!(refused(&unknown, &table()).to_string().contains("no column `kye`"));
    let all = ["key", "temperature", "stops", "city", "night"].map(str::to_owned).to_vec();
    let none = TrainSettings { ignore: all, ..settings() };
    assert!(matches!(refused(&none, &table()), TrainingError::NoFeatures));

    let mut numbers = vec![0.0; ROWS];
    numbers[99] = 1e300;
    let cases: [(ArrayRef, &str); 4] = [
        (Arc::new(NullArray::new(ROWS)), "training.all_null"),
        (Arc::new(Float64Array::from(vec![f64::NAN; ROWS])), "training.all_null"),
        (Arc::new(TimestampMillisecondArray::from(vec![0; ROWS])), "training.unsupported_type"),
        (Arc::new(Float64Array::from(numbers)), "training.not_finite"),
    ];
    for (array, code) in cases {
        let error = refused(&settings(), &table_with("odd", array));
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains("`odd`") && error.hint().is_some(), "{error}");
    }
    for name in ["label", "probability", "", "ropewalk:features"] {
        let error = refused(&settings(), &table_with(name, Arc::new(Float64Array::from(vec![0.0; ROWS]))));
        assert!(matches!(error, TrainingError::ColumnName { .. }), "{error}");
    }
}

#[test]
fn a_table_without_rows_or_of_two_kinds_is_refused() {
    assert!(matches!(refused(&settings(), &[]), TrainingError::EmptyTable));
    assert!(matches!(refused(&settings(), &[batch_of(&arrays()).slice(0, 0)]), TrainingError::EmptyTable));
    let mut unlike = table();
    unlike.extend(table_with("more", Arc::new(Float64Array::from(vec![0.0; ROWS]))));
    assert!(matches!(refused(&settings(), &unlike), TrainingError::UnlikeBatches { batch: 3 }));
}
