#!/usr/bin/env python3
"""Our trainer against scikit-learn's HistGradientBoostingClassifier: same rows, split, encoding and settings.

    cargo build --release -p ropewalk-training --example train_parquet
    compare.py FEATURES.parquet ../../../target/release/examples/train_parquet [forust/target/release/compare-forust]

Each trainer runs in a process of its own, in turn, three times; one JSON line each with the median of the CPU seconds
of the process (reading the table included), its largest memory, and the AUC on the test months.
"""

import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 3
IGNORED = ["flight_id", "month"]
SETTINGS = {"target": "late", "split": "split", "ignore": IGNORED, "params": {}}
SMOOTHING_ROWS = 20


def matrices(path: str) -> dict:
    """(features, labels) of each part, with our encoding: categories by their smoothed share in the training part."""
    import numpy
    import pandas

    table = pandas.read_parquet(path)
    parts = {part: table[table["split"] == part] for part in ("train", "validation", "test")}
    features = [column for column in table.columns if column not in (*IGNORED, "late", "split")]
    codes = {}
    for column in features:
        if not pandas.api.types.is_numeric_dtype(table[column]):
            sums = parts["train"].groupby(column)["late"].agg(["sum", "size"])
            average = parts["train"]["late"].mean()
            share = (sums["sum"] + SMOOTHING_ROWS * average) / (sums["size"] + SMOOTHING_ROWS)
            codes[column] = {word: code for code, word in enumerate(share.sort_values(kind="stable").index)}

    def matrix(part: str) -> numpy.ndarray:
        columns = [parts[part][one].map(codes[one]) if one in codes else parts[part][one] for one in features]
        return numpy.column_stack([column.to_numpy("float32", na_value=numpy.nan) for column in columns])

    return {part: (matrix(part), parts[part]["late"].to_numpy()) for part in parts}


def scores(labels, probabilities) -> dict:
    from sklearn.metrics import log_loss, roc_auc_score

    return {"auc": float(roc_auc_score(labels, probabilities)), "log_loss": float(log_loss(labels, probabilities))}


def run_scikit(path: str) -> dict:
    """HistGradientBoosting with the defaults of our trainer where it has the same setting."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    parts = matrices(path)
    model = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=300, max_depth=6, l2_regularization=1.0, early_stopping=True, scoring="loss",
        n_iter_no_change=30, random_state=0,
    )
    start = time.monotonic()
    model.fit(*parts["train"], X_val=parts["validation"][0], y_val=parts["validation"][1])
    seconds = time.monotonic() - start
    probabilities = model.predict_proba(parts["test"][0])[:, 1]
    return scores(parts["test"][1], probabilities) | {"trees": int(model.n_iter_), "seconds": seconds}


def run_forust(program: str, path: str) -> dict:
    import numpy

    with tempfile.TemporaryDirectory() as directory:
        parts = matrices(path)
        for part, (values, labels) in parts.items():
            numbers = numpy.concatenate([values.shape, values.T.ravel(), labels]).astype("<f8")
            numbers.tofile(f"{directory}/{part}.f64")
        answer = subprocess.run([program, directory], check=True, capture_output=True, text=True)
        probabilities = numpy.fromfile(f"{directory}/probabilities.f64", dtype="<f8")
    return scores(parts["test"][1], probabilities) | json.loads(answer.stdout)


def run_ours(program: str, path: str) -> dict:
    answer = subprocess.run([program, path, json.dumps(SETTINGS)], check=True, capture_output=True, text=True)
    figures = json.loads(answer.stdout)
    metrics = figures["metrics"]
    return {
        "auc": metrics["auc"],
        "log_loss": metrics["log_loss"],
        "trees": metrics["trees_kept"],
        "seconds": figures["seconds"],
        "export_difference": figures["check"]["max_abs_difference"],
    }


def child(which: str, path: str, program: str) -> None:
    trainers = {"scikit-learn": lambda: run_scikit(path), "ropewalk": lambda: run_ours(program, path)}
    trainers["forust"] = lambda: run_forust(program, path)
    figures = trainers[which]()
    usage = resource.getrusage(resource.RUSAGE_SELF if which == "scikit-learn" else resource.RUSAGE_CHILDREN)
    figures |= {"cpu_seconds": usage.ru_utime + usage.ru_stime, "memory_mb": usage.ru_maxrss / 1024}
    print(json.dumps(figures))


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return child(*sys.argv[2:])
    path, *programs = sys.argv[1:]
    programs = [str(pathlib.Path(program).resolve()) for program in programs]
    contestants = {"scikit-learn": "-"} | dict(zip(("ropewalk", "forust"), programs))
    runs = {which: [] for which in contestants}
    for _ in range(ROUNDS):
        for which, program in contestants.items():
            command = [sys.executable, __file__, "--child", which, path, program]
            answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            runs[which].append(json.loads(answer.stdout))
    for which, figures in runs.items():
        median = {name: statistics.median(one[name] for one in figures) for name in figures[0]}
        print(json.dumps({"trainer": which} | {name: round(value, 9) for name, value in median.items()}))
    difference = runs["scikit-learn"][0]["auc"] - runs["ropewalk"][0]["auc"]
    print(json.dumps({"auc_below_scikit_learn": round(difference, 6), "within_0.005": difference <= 0.005}))


if __name__ == "__main__":
    main()
