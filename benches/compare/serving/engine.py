#!/usr/bin/env python3
"""Our engines against onnxruntime called from Python: same models, same rows, one thread each, in turns.

    cargo build --release -p ropewalk-inference --example time_model
    engine.py ../../../target/release/examples/time_model [--rounds N] [--only NAME,...] [--keep FOLDER] [--zoo FOLDER]

`embedded` is the engine inside the program, `library` the very library of the `onnxruntime` package, called by our
ONNX Runtime engine. Linear models and trees are fitted here and written by the real exporters, networks of a common
size are built here (`networks.py`), and with `--zoo` those of the zoo of `tests/python/onnx_zoo.py` are timed too.
One JSON line for each model and batch size: medians of the CPU microseconds of the process for one call over the
rounds, their ratios to Python's, and the largest difference of any answer, relative where the answer is above 1.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time
import warnings

import numpy as np
import onnxruntime

from networks import NETWORKS

warnings.filterwarnings("ignore")

SEED = 20130101
FEATURES = 20
TRAINING_ROWS = 5000
BATCHES = [1, 64]
BUDGET_SECONDS = 0.3


def scikit(estimator, data, **options):
    from skl2onnx import to_onnx

    numbers, labels = data
    estimator.fit(numbers, labels)
    if hasattr(estimator, "predict_proba"):
        options["options"] = {"zipmap": False}
    return to_onnx(estimator, numbers[:1], **options)


def logistic(data):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return scikit(make_pipeline(StandardScaler(), LogisticRegression()), data)


def random_forest(data):
    from sklearn.ensemble import RandomForestClassifier

    return scikit(RandomForestClassifier(100, random_state=SEED, n_jobs=1), data)


def random_forest_shallow(data):
    from sklearn.ensemble import RandomForestClassifier

    return scikit(RandomForestClassifier(100, max_depth=6, random_state=SEED, n_jobs=1), data)


def gradient_boosting(data):
    from sklearn.ensemble import GradientBoostingClassifier

    return scikit(GradientBoostingClassifier(n_estimators=100, random_state=SEED), data)


def gradient_boosting_three(data):
    from sklearn.ensemble import GradientBoostingClassifier

    numbers, _ = data
    three = np.digitize(numbers[:, 0] + numbers[:, 1], [-0.7, 0.7])
    return scikit(GradientBoostingClassifier(n_estimators=100, random_state=SEED), (numbers, three))


def onnxmltools_model(convert, fitted, **options):
    from onnxmltools.convert.common.data_types import FloatTensorType

    return convert(fitted, initial_types=[("X", FloatTensorType([None, FEATURES]))], **options)


def xgboost(data):
    import xgboost
    from onnxmltools import convert_xgboost

    return onnxmltools_model(convert_xgboost, xgboost.XGBClassifier(n_estimators=100, n_jobs=1).fit(*data))


def lightgbm(data):
    import lightgbm
    from onnxmltools import convert_lightgbm

    fitted = lightgbm.LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1, random_state=SEED).fit(*data)
    return onnxmltools_model(convert_lightgbm, fitted, zipmap=False)


def isolation_forest(data):
    from sklearn.ensemble import IsolationForest

    return scikit(IsolationForest(n_estimators=100, random_state=SEED), data, target_opset={"": 18, "ai.onnx.ml": 3})


MODELS = [logistic, random_forest, random_forest_shallow, gradient_boosting, gradient_boosting_three, xgboost, lightgbm,
          isolation_forest]


def training_data():
    random = np.random.default_rng(SEED)
    numbers = random.normal(size=(TRAINING_ROWS, FEATURES)).astype(np.float32)
    signal = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + np.sin(3 * numbers[:, 3])
    return numbers, (signal + random.normal(size=TRAINING_ROWS) / 2 > 0.2).astype(np.int64)


def session(path):
    options = onnxruntime.SessionOptions()
    # LightGBM's exporter declares labels as [1]; a warning at each call would count as onnxruntime's time.
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def library():
    """The library that Python's package loaded."""
    return str(next(pathlib.Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")))


def time_python(model, inputs):
    """CPU microseconds for one call."""
    once = time.process_time()
    model.run(None, inputs)
    at_once = 1 if time.process_time() - once > BUDGET_SECONDS / 16 else 16
    start, calls = time.process_time(), 0
    while time.process_time() - start < BUDGET_SECONDS:
        for _ in range(at_once):
            model.run(None, inputs)
        calls += at_once
    return (time.process_time() - start) / calls * 1e6


def difference(model, inputs, answers):
    expected = np.concatenate([np.asarray(output, np.float32).ravel() for output in model.run(None, inputs)])
    found = np.fromfile(answers, "<f4")
    return float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected))))


def compare(name, path, rows, program, rounds):
    """Times the model at `path` on `rows`, arrays by input of as many rows as the largest batch."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(b"".join(np.ascontiguousarray(array).tobytes() for array in rows.values()))
    model = session(path)
    engines = {"embedded": "embedded", "library": library()}
    times = {engine: {batch: [] for batch in BATCHES} for engine in ["python", *engines]}
    differences = {}
    for _ in range(rounds):
        for batch in BATCHES:
            times["python"][batch].append(time_python(model, {key: array[:batch] for key, array in rows.items()}))
        for engine, argument in engines.items():
            answers = path.with_suffix(f".{engine}")
            command = [program, argument, path, ",".join(map(str, BATCHES)), raw, answers]
            figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            differences[engine] = difference(model, rows, answers)
            for batch in BATCHES:
                times[engine][batch].append(figures[str(batch)])
    for batch in BATCHES:
        medians = {engine: statistics.median(times[engine][batch]) for engine in times}
        line = {"model": name, "batch": batch, "python_us": round(medians["python"], 2)}
        for engine in engines:
            line[f"{engine}_us"] = round(medians[engine], 2)
            line[f"{engine}_ratio"] = round(medians[engine] / medians["python"], 3)
            line[f"{engine}_difference"] = differences[engine]
        print(json.dumps(line), flush=True)


def made_here(folder):
    """(name, how to make (model, rows)) of everything that is built here; a model that is kept is not made again."""
    def classical(make):
        data = training_data()
        rows = np.ascontiguousarray(data[0][: max(BATCHES)]) + np.float32(0.01)
        path = folder / f"{make.__name__}.onnx"
        if not path.exists():
            path.write_bytes(make(data).SerializeToString())
        return path, {session(path).get_inputs()[0].name: rows}

    def network(make):
        proto, rows = make(max(BATCHES))
        path = folder / f"{make.__name__}.onnx"
        path.write_bytes(proto.SerializeToString())
        return path, rows

    for kind, makes in [(classical, MODELS), (network, NETWORKS)]:
        yield from ((make.__name__, lambda kind=kind, make=make: kind(make)) for make in makes)


def of_the_zoo(zoo, folder):
    """The networks of the zoo, their recorded rows repeated."""
    kinds = {"FP32": np.float32, "INT64": np.int64, "INT32": np.int32}

    def copied(path):
        (folder / path.name).write_bytes(path.read_bytes())
        inputs = json.loads(path.with_suffix(".json").read_text())["inputs"]
        rows = {one["name"]: np.array(one["data"], kinds[one["datatype"]]).reshape(one["shape"]) for one in inputs}
        return folder / path.name, {name: np.resize(array, (max(BATCHES), *array.shape[1:]))
                                    for name, array in rows.items()}

    for path in sorted(zoo.glob("*.onnx")):
        if path.name.startswith(("jax_", "torch_", "quantized_", "mlp_")):
            yield f"zoo/{path.stem}", lambda path=path: copied(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="names of models, comma-separated")
    parser.add_argument("--keep", type=pathlib.Path, help="folder in which models are kept and looked for")
    parser.add_argument("--zoo", type=pathlib.Path, help="folder of the zoo")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        models = dict(made_here(folder))
        if arguments.zoo:
            models.update(of_the_zoo(arguments.zoo, folder))
        for name in arguments.only.split(",") if arguments.only else models:
            path, rows = models[name]()
            compare(name, path, rows, arguments.program.resolve(), arguments.rounds)


if __name__ == "__main__":
    main()
