#!/usr/bin/env python3
"""Our evaluator of linear models and trees against onnxruntime: same models, same rows, one thread each, in turns.

    cargo build --release -p ropewalk-inference --example time_model
    engine.py ../../../target/release/examples/time_model [--rounds N] [--only NAME,...] [--keep FOLDER]

The models are fitted here and written by the real exporters. One JSON line for each model and batch size: medians of
the CPU microseconds of the process for one call over the rounds, their ratio, and the largest difference of any
answer (labels and scores), relative where the answer is above 1.
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


def time_onnxruntime(model, rows):
    """CPU microseconds for one call."""
    inputs = {model.get_inputs()[0].name: rows}
    model.run(None, inputs)
    start, calls = time.process_time(), 0
    while time.process_time() - start < BUDGET_SECONDS:
        for _ in range(16):
            model.run(None, inputs)
        calls += 16
    return (time.process_time() - start) / calls * 1e6


def difference(model, rows, answers):
    outputs = model.run(None, {model.get_inputs()[0].name: rows})
    expected = np.concatenate([np.asarray(output, np.float32).ravel() for output in outputs])
    found = np.fromfile(answers, "<f4")
    return float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected))))


def compare(make, program, folder, rounds):
    data = training_data()
    rows = np.ascontiguousarray(data[0][: max(BATCHES)]) + np.float32(0.01)
    path, raw, answers = folder / f"{make.__name__}.onnx", folder / "rows.f32", folder / "answers.f32"
    if not path.exists():
        path.write_bytes(make(data).SerializeToString())
    rows.tofile(raw)
    model = session(path)
    theirs, ours = {batch: [] for batch in BATCHES}, {batch: [] for batch in BATCHES}
    for _ in range(rounds):
        for batch in BATCHES:
            theirs[batch].append(time_onnxruntime(model, rows[:batch]))
        command = [program, path, ",".join(map(str, BATCHES)), raw, answers]
        figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        for batch in BATCHES:
            ours[batch].append(figures[str(batch)])
    for batch in BATCHES:
        one, other = statistics.median(theirs[batch]), statistics.median(ours[batch])
        print(json.dumps({
            "model": make.__name__, "batch": batch, "onnxruntime_us": round(one, 2), "ropewalk_us": round(other, 2),
            "ratio": round(other / one, 3), "difference": difference(model, rows, answers),
        }), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="names of models, comma-separated")
    parser.add_argument("--keep", type=pathlib.Path, help="folder in which models are kept and looked for")
    arguments = parser.parse_args()
    only = arguments.only.split(",") if arguments.only else [make.__name__ for make in MODELS]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for make in MODELS:
            if make.__name__ in only:
                compare(make, arguments.program.resolve(), folder, arguments.rounds)


if __name__ == "__main__":
    main()
