//! Real MLflow models (`tests/python/mlflow_workers.py`) in real worker processes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ropewalk_inference::{
    Engine, EngineName, Example, InferenceError, LoadOptions, Model, ModelSource, NamedTensor, PythonEngine,
    PythonSettings, Tensor, TensorData, example,
};
use ropewalk_types::Diagnose;

use super::python;

/// What any wait of these tests may take: imports are slow where many tests share few processors.
const PATIENCE: Duration = Duration::from_mins(5);

/// The folder of models, made once for all test processes.
fn models() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/python/mlflow_workers.py");
    let text = std::fs::read(&script).unwrap();
    let digest = ropewalk_types::Digest::of(&text).short();
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = parent.join(format!("mlflow-workers-{digest}"));
    let lock = std::fs::File::create(parent.join(format!("mlflow-workers-{digest}.lock"))).unwrap();
    lock.lock().unwrap();
    if !folder.join("whole").exists() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let status = Command::new(python()).arg(script).arg(&folder).status().unwrap();
        assert!(status.success(), "the models could not be made");
        std::fs::write(folder.join("whole"), "").unwrap();
    }
    folder
}

fn settings(cache: &tempfile::TempDir) -> PythonSettings {
    let base = PythonSettings::new(cache.path().to_owned());
    PythonSettings { interpreter: Some(python()), start_limit: PATIENCE, ..base }
}

fn load_with(name: &str, settings: PythonSettings, workers: usize) -> Result<Arc<dyn Model>, InferenceError> {
    let engine = PythonEngine::new(settings);
    engine.load(&ModelSource::Folder(models().join(name)), &LoadOptions { threads: 1, workers })
}

fn texts(name: &str, values: &[&str]) -> NamedTensor {
    let values: Vec<Bytes> = values.iter().map(|value| Bytes::from((*value).to_owned())).collect();
    NamedTensor::new(name, Tensor::new(vec![values.len(), 1], values).unwrap())
}

fn doubles(name: &str, values: &[f64]) -> NamedTensor {
    NamedTensor::new(name, Tensor::new(vec![values.len(), 1], values.to_vec()).unwrap())
}

fn told(model: &dyn Model, what: &str, number: f64) -> Result<Vec<NamedTensor>, InferenceError> {
    model.predict(&[texts("what", &[what]), doubles("number", &[number])])
}

fn is_up(model: &dyn Model) -> bool {
    let start = Instant::now();
    while model.ready().is_err() && start.elapsed() < PATIENCE {
        std::thread::yield_now();
        std::thread::sleep(Duration::from_millis(20));
    }
    model.ready().is_ok()
}

#[test]
fn a_pipeline_on_mixed_columns_is_answered_as_its_author_did() {
    let cache = tempfile::tempdir().unwrap();
    let engine = PythonEngine::new(settings(&cache));
    assert!(engine.available().unwrap().contains("configured"));
    let model = load_with("mixed", settings(&cache), 1).unwrap();
    assert_eq!((model.engine(), model.ready()), (EngineName::Python, Ok(())));
    let shown: Vec<String> = model.signature().inputs.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["temperature: FP64[-1, 1]", "carrier: BYTES[-1, 1]", "flights: INT64[-1, 1]"]);
    let example = Example::read(&models().join("mixed")).unwrap().unwrap();
    assert!(example.has_answer());
    example::check(&*model, &example).unwrap();

    let mut inputs = example.inputs(model.signature()).unwrap();
    inputs[2].tensor.data = vec![0_i64; 5].into();
    inputs[0].tensor.data = vec![0.0_f64; 5].into();
    let answer = model.predict(&inputs).unwrap();
    assert_eq!((answer[0].name.as_str(), answer[0].tensor.shape.as_slice()), ("output", &[5][..]));

    // A column may be without its second axis; what does not fit is refused here, not in Python.
    inputs[0].tensor.shape = vec![5];
    assert_eq!(model.predict(&inputs).unwrap(), answer);
    inputs[0].tensor.shape = vec![5, 2];
    assert_eq!(model.predict(&inputs).unwrap_err().code(), "inference.invalid_input");
    assert!(model.predict(&inputs[1..]).unwrap_err().to_string().ends_with("found nothing"));
    let short = [doubles("temperature", &[1.0]), inputs[1].clone(), inputs[2].clone()];
    let error = model.predict(&short).unwrap_err();
    assert!(error.to_string().contains("the columns differ in length"), "{error}");
    let bad = NamedTensor::new("carrier", Tensor::new(vec![1, 1], vec![Bytes::from_static(b"\xff")]).unwrap());
    let flights = NamedTensor::new("flights", Tensor::new(vec![1, 1], vec![1_i64]).unwrap());
    let error = model.predict(&[doubles("temperature", &[1.0]), bad, flights]).unwrap_err();
    assert_eq!(error.code(), "inference.evaluation");
    assert!(error.to_string().contains("not UTF-8"), "{error}");
}

#[test]
fn an_answer_that_is_not_the_authors_is_a_disagreement() {
    let cache = tempfile::tempdir().unwrap();
    let model = load_with("mixed", settings(&cache), 1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(models().join("mixed/input_example.json"), folder.path().join("input_example.json")).unwrap();
    let other = r#"{"predictions": ["late", "late", "late", "late", "late"]}"#;
    std::fs::write(folder.path().join("expected_output.json"), other).unwrap();
    let example = Example::read(folder.path()).unwrap().unwrap();
    let error = example::check(&*model, &example).unwrap_err();
    assert_eq!(error.code(), "inference.disagrees");
    assert!(error.to_string().contains("at output `output`"), "{error}");
}

#[test]
fn arrays_go_in_with_and_without_a_signature() {
    let cache = tempfile::tempdir().unwrap();
    let model = load_with("array", settings(&cache), 1).unwrap();
    let row: TensorData = vec![1.0_f32, 2.0, 3.0].into();
    let answer = model.predict(&[NamedTensor::new("input", Tensor::new(vec![1, 3], row).unwrap())]).unwrap();
    let TensorData::Fp32(values) = &answer[0].tensor.data else { panic!("{answer:?}") };
    assert!((values[0] - 6.5).abs() < 1e-4 && (values[1] - 11.0).abs() < 1e-4, "{values:?}");

    let learned = load_with("unsigned", settings(&cache), 1).unwrap();
    let shown = |specs: &[ropewalk_types::TensorSpec]| specs.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&learned.signature().inputs), ["input: FP64[-1, 3]"]);
    assert_eq!(shown(&learned.signature().outputs).len(), 1);
    assert_eq!(learned.signature().outputs[0].shape, [-1, 2]);

    let error = load_with("bare", settings(&cache), 1).unwrap_err();
    assert_eq!(error.code(), "inference.unsupported");
    assert!(error.to_string().contains("log it with `signature`"), "{error}");
}

#[test]
fn what_a_model_prints_raises_or_answers_stays_apart() {
    let cache = tempfile::tempdir().unwrap();
    // MLflow would take what follows the number sign for the fragment of a URL.
    let folder = cache.path().join("odd #1%20");
    assert!(Command::new("cp").arg("-r").arg(models().join("odd")).arg(&folder).status().unwrap().success());
    let model = load_with(folder.to_str().unwrap(), settings(&cache), 1).unwrap();
    let answer = told(&*model, "print", 2.5).unwrap();
    assert_eq!(answer[0], NamedTensor::new("twice", Tensor::new(vec![1], vec![5.0]).unwrap()));
    assert_eq!(answer[1].tensor.data, vec![Bytes::from("print: 2.5")].into());
    let error = told(&*model, "raise", 1.0).unwrap_err();
    assert_eq!(error.code(), "inference.engine_failed");
    assert!(error.to_string().contains("RuntimeError: a rope broke"), "{error}");
    let error = told(&*model, "refuse", 1.0).unwrap_err();
    assert_eq!(error.code(), "inference.evaluation");
    assert!(error.to_string().contains("ValueError: no such rope"), "{error}");
    // One allocation that cannot be is an error of the model's; the worker lives on.
    let error = told(&*model, "huge", 1.0).unwrap_err();
    assert!(error.to_string().contains("MemoryError"), "{error}");
    assert!(told(&*model, "print", 1.0).is_ok());
}

#[test]
fn a_model_that_hangs_eats_or_dies_is_restarted() {
    let cache = tempfile::tempdir().unwrap();
    let short = PythonSettings { request_limit: Duration::from_secs(5), ..settings(&cache) };
    // Eating takes a while where many tests share few processors, so that only its memory is bounded.
    let small = PythonSettings { request_limit: PATIENCE, memory_limit: Some(700 << 20), ..settings(&cache) };
    let (short, small) = (load_with("odd", short, 1).unwrap(), load_with("odd", small, 1).unwrap());
    let cases = [
        (&short, "die", "a last word"),
        (&short, "hang", "longer than the time limit"),
        (&small, "eat", "MiB of memory"),
    ];
    for (model, what, said) in cases {
        let error = told(&**model, what, 1.0).unwrap_err();
        assert_eq!(error.code(), "inference.not_ready", "{what}: {error}");
        assert!(error.to_string().contains(said), "{what}: {error}");
        assert!(is_up(&**model), "{what}: {:?}", model.ready());
        assert!(told(&**model, "fine", 1.0).is_ok(), "{what}");
    }
}

/// The worker processes that run below `cache`.
fn workers(cache: &Path) -> Vec<u32> {
    let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let id: u32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
        std::fs::read_link(format!("/proc/{id}/cwd")).ok()?.starts_with(cache).then_some(id)
    });
    children.collect()
}

#[test]
fn killed_under_load_clients_see_retryable_errors_only() {
    let cache = tempfile::tempdir().unwrap();
    let model = load_with("odd", settings(&cache), 2).unwrap();
    let mine = workers(cache.path());
    assert_eq!(mine.len(), 2);
    let (done, answered, retryable) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    match told(&*model, "slow", 4.0) {
                        Ok(answer) => {
                            assert_eq!(answer[0].tensor.data, vec![8.0].into());
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert_eq!(error.code(), "inference.not_ready", "{error}");
                            retryable.fetch_add(1, Ordering::Relaxed);
                            std::thread::sleep(Duration::from_millis(5));
                        }
                    }
                }
            });
        }
        let start = Instant::now();
        let waited = |condition: &dyn Fn() -> bool| {
            while !condition() && start.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        waited(&|| answered.load(Ordering::Relaxed) > 20);
        for id in mine {
            Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
        }
        waited(&|| retryable.load(Ordering::Relaxed) > 0);
        let before = answered.load(Ordering::Relaxed);
        waited(&|| answered.load(Ordering::Relaxed) > before + 50);
        done.store(true, Ordering::Relaxed);
        assert!(answered.load(Ordering::Relaxed) > before + 50, "it did not recover: {:?}", model.ready());
    });
    assert!(retryable.load(Ordering::Relaxed) > 0);
}

#[test]
fn what_cannot_start_says_why() {
    let cache = tempfile::tempdir().unwrap();
    let nowhere = PythonSettings { interpreter: Some("/no/such/python".into()), ..settings(&cache) };
    let error = PythonEngine::new(nowhere.clone()).available().unwrap_err();
    assert!(error.to_string().contains("/no/such/python"), "{error}");
    assert!(load_with("odd", nowhere, 1).unwrap_err().to_string().contains("/no/such/python"));

    let without = PythonSettings { interpreter: None, ..settings(&cache) };
    let error = load_with("odd", without.clone(), 1).unwrap_err();
    assert_eq!(error.code(), "inference.engine_absent");
    let uv = cache.path().join("uv");
    std::fs::write(&uv, "#!/bin/sh\necho no network here >&2\nexit 2\n").unwrap();
    Command::new("chmod").arg("+x").arg(&uv).status().unwrap();
    let error = load_with("odd", PythonSettings { uv: Some(uv), ..without }, 1).unwrap_err();
    assert_eq!(error.code(), "inference.engine_absent");
    assert!(error.to_string().contains("exit code 2: no network here"), "{error}");

    let broken = tempfile::tempdir().unwrap();
    let text = "flavors:\n  python_function:\n    loader_module: no_such_module\n\
                signature:\n  inputs: '[{\"type\": \"double\", \"name\": \"a\"}]'\n  outputs: '[{\"type\": \"double\"}]'\n";
    std::fs::write(broken.path().join("MLmodel"), text).unwrap();
    let engine = PythonEngine::new(settings(&cache));
    let error = engine.load(&ModelSource::Folder(broken.path().into()), &LoadOptions::default()).unwrap_err();
    assert_eq!(error.code(), "inference.engine_failed");
    assert!(error.to_string().contains("no_such_module"), "{error}");
}

#[test]
fn an_environment_is_made_once() {
    let cache = tempfile::tempdir().unwrap();
    let (uv, log) = (cache.path().join("uv"), cache.path().join("log"));
    // Stands for `uv`: an environment whose Python is the one of the tests.
    let script = format!(
        "#!/bin/sh\necho \"$1\" >> {}\nif [ \"$1\" = venv ]; then mkdir -p \"$2/bin\"; \
         printf '#!/bin/sh\\nexec {} \"$@\"\\n' > \"$2/bin/python\"; chmod +x \"$2/bin/python\"; fi\n",
        log.display(),
        python().display()
    );
    std::fs::write(&uv, script).unwrap();
    Command::new("chmod").arg("+x").arg(&uv).status().unwrap();
    let with_uv = PythonSettings { interpreter: None, uv: Some(uv), ..settings(&cache) };
    for _ in 0..2 {
        let model = load_with("odd", with_uv.clone(), 1).unwrap();
        assert!(told(&*model, "fine", 1.0).is_ok());
    }
    assert_eq!(std::fs::read_to_string(log).unwrap(), "venv\npip\n");
}
