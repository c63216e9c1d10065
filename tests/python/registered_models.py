"""Models that MLflow's client registered, behind `ropewalk serve` on the same home.

Usage: registered_models.py URL ROPEWALK HOME…, where HOME are the flags that say where the server's records are.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import mlflow
import numpy as np
import onnx
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import infer_signature
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

URL, ROPEWALK, *HOME = sys.argv[1:]
NAME = "scaled"
ROWS = np.array([[1.0] * 64, [2.0] * 64], np.float32)

mlflow.set_tracking_uri(URL)
client = MlflowClient()


def graph(factor):
    """y = x times `factor`, in 64 columns."""
    weights = numpy_helper.from_array(np.full(64, factor, np.float32), "w")
    shape = ["rows", 64]
    made = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "scaling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [weights],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def registered(factor, expected=None, outside=False):
    """A version whose example is answered with `expected` times its values, if that is said, with weights inside or beside."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "model"
        mlflow.onnx.save_model(
            graph(factor), str(folder), input_example=ROWS, pip_requirements=["onnx"], save_as_external_data=False
        )
        if outside:
            (folder / "model.onnx").unlink()
            onnx.save_model(
                graph(factor), str(folder / "model.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0
            )
            assert (folder / "weights.bin").stat().st_size == 64 * 4
        if expected is not None:
            answer = {"outputs": {"y": (ROWS * expected).tolist()}}
            (folder / "expected_output.json").write_text(json.dumps(answer))
        with mlflow.start_run() as run:
            mlflow.log_artifacts(str(folder), "model")
    return client.create_model_version(NAME, f"runs:/{run.info.run_id}/model", run.info.run_id).version


def serving(*models):
    settings = pathlib.Path("serve.toml")
    settings.write_text("[serve]\nalias_seconds = 1\n")
    return subprocess.Popen(
        [ROPEWALK, "serve", *models, *HOME, "--config", settings, "--port", "0", "--grpc-port", "0", "--output", "json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # What is no ONNX runs in this environment: another would have to be downloaded.
        env={**os.environ, "ROPEWALK_PYTHON": sys.executable},
    )


def started(process):
    told = ""
    for line in process.stdout:
        told += line
        if line == "}\n":
            return json.loads(told)["rest_url"]
    raise AssertionError(process.communicate())


def ask(url, path, body):
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def factor(url):
    """By how much the model that answers now multiplies."""
    body = {"inputs": [{"name": "x", "shape": [2, 64], "datatype": "FP32", "data": ROWS.ravel().tolist()}]}
    data = ask(url, f"/v2/models/{NAME}/infer", body)["outputs"][0]["data"]
    found = {value / given for value, given in zip(data, ROWS.ravel().tolist())}
    assert len(found) == 1, found
    return found.pop()


def refused(version, why):
    process = serving(f"models:/{NAME}/{version}")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode not in (0, None) and not stdout, (process.returncode, stdout, stderr)
    assert why in stderr, stderr


client.create_registered_model(NAME)
plain, right, wrong, outside = registered(2), registered(3, 3), registered(5, 4), registered(7, 7, outside=True)

# One whose own example says that it should answer something else is not served.
refused(wrong, "example")

client.set_registered_model_alias(NAME, "champion", plain)
server = serving(f"models:/{NAME}@champion")
try:
    url = started(server)
    assert factor(url) == 2
    seen, problems, stop = set(), [], threading.Event()

    def keep_asking():
        while not stop.is_set():
            try:
                seen.add(factor(url))
            except (OSError, urllib.error.HTTPError, AssertionError) as problem:
                problems.append(problem)

    asking = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in asking:
        thread.start()
    for version, expected in [(right, 3), (outside, 7)]:
        client.set_registered_model_alias(NAME, "champion", version)
        limit = time.monotonic() + 60
        while factor(url) != expected:
            assert time.monotonic() < limit, f"the alias moved to {version}, and {factor(url)} answers"
    # To one that must not be served: what answered before goes on.
    client.set_registered_model_alias(NAME, "champion", wrong)
    limit = time.monotonic() + 3
    while time.monotonic() < limit:
        assert factor(url) == 7
    stop.set()
    for thread in asking:
        thread.join()
    assert not problems, problems[:3]
    assert seen == {2, 3, 7}, seen
finally:
    server.terminate()
    server.wait(30)


class Lengths(mlflow.pyfunc.PythonModel):
    """Something that no graph says."""

    def predict(self, context, model_input, params=None):
        return model_input["text"].str.len() + model_input["extra"]


def flavours():
    """Models that are no ONNX are served as they were logged."""
    table = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
    fitted = LogisticRegression().fit(table, [0, 0, 1, 1])
    texts = pd.DataFrame({"text": ["tar", "hemp"], "extra": [1, 2]})
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            fitted, name="classes", input_example=table, registered_model_name="classes", pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )
        mlflow.pyfunc.log_model(
            name="lengths", python_model=Lengths(), registered_model_name="lengths", pip_requirements=["pandas"],
            signature=infer_signature(texts, pd.Series([4, 6])),
        )
    server = serving("models:/classes/1", "models:/lengths/1")
    try:
        url = started(server)
        answer = ask(url, "/models/classes/invocations", {"dataframe_split": table.to_dict(orient="split")})
        assert answer["predictions"] == fitted.predict(table).tolist(), answer
        answer = ask(url, "/predict/lengths", texts.to_dict(orient="records"))
        assert [row["output"] for row in answer] == [4, 6], answer
    finally:
        server.terminate()
        server.wait(30)


flavours()
print("done")
