"""Requests that are refused whatever the server does, and those that only look."""

import json

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def one(**change):
    return json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4], **change}]})


LINE, TABLE, JSON = "/v2/models/line/infer", "/models/table/invocations", {"Content-Type": "application/json"}

#: Method, path, body, headers, status.
MISTAKES = [
    ("POST", "/v2/models/nobody/infer", one(), JSON, 404),
    ("POST", "/v2/models/line/versions/77/infer", one(), JSON, 404),
    ("POST", LINE, "{", JSON, 400),
    ("POST", LINE, b"\xff", JSON, 400),
    ("POST", LINE, one(name="nobody"), JSON, 400),
    ("POST", LINE, one(shape=[1, 5], data=[1, 2, 3, 4, 5]), JSON, 400),
    ("POST", LINE, one(shape=[4]), JSON, 400),
    ("POST", LINE, one(data=[1, 2]), JSON, 400),
    ("POST", LINE, one(datatype="BYTES", data=["a", "b", "c", "d"]), JSON, 400),
    ("POST", LINE, one(data=["a", "b", "c", "d"]), JSON, 400),
    ("POST", LINE, one(), {"Inference-Header-Content-Length": "9999"}, 400),
    ("POST", LINE, b"not gzip", {"Content-Encoding": "gzip"}, 400),
    ("POST", LINE, b"", {"Content-Encoding": "br"}, 415),
    ("GET", LINE, None, {}, 405),
    ("GET", "/v2/nowhere", None, {}, 404),
    ("POST", TABLE, json.dumps({"instances": [[1]], "inputs": [[1]]}), JSON, 400),
    ("POST", TABLE, json.dumps({"dataframe_records": [{"name": "a"}]}), JSON, 400),
    ("POST", TABLE, "name,count,amount\na,1.5,2\n", {"Content-Type": "text/csv"}, 400),
    ("POST", TABLE, "x", {"Content-Type": "text/plain"}, 415),
    ("POST", "/predict/table", json.dumps({"name": "a", "count": 1, "amoun": 2}), JSON, 400),
    ("POST", "/predict/nobody", "{}", JSON, 404),
    ("POST", "/v2/repository/models/nobody/load", "", JSON, 404),
]  # fmt: skip

#: Not whether the server is ready: it is not while a model comes that was not there before.
READS = [
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/models/trees"),
    ("GET", "/v2/models/trees/ready"),
    ("GET", "/v2/models/network/config"),
    ("GET", "/v2/models/stats"),
    ("POST", "/v2/repository/index"),
    ("GET", "/metrics"),
    ("GET", "/version"),
    ("GET", "/openapi.json"),
]


def grpc_read(client, random):
    reads = [
        client.is_server_live,
        client.get_server_metadata,
        client.get_inference_statistics,
        client.get_model_repository_index,
        lambda: client.get_model_metadata("trees"),
        lambda: client.get_model_config("network"),
    ]
    assert random.choice(reads)(), "it says nothing, or no"


def grpc_mistake(client, random):
    name, shape, kind, model, expected = random.choice([
        ("x", [1, 4], "FP32", "nobody", "NOT_FOUND"),
        ("nobody", [1, 4], "FP32", "line", "INVALID_ARGUMENT"),
        ("x", [1, 5], "FP32", "line", "INVALID_ARGUMENT"),
        ("x", [1, 4], "UINT16", "line", "INVALID_ARGUMENT"),
    ])  # fmt: skip
    array = np.zeros(shape, np.float32 if kind == "FP32" else np.uint16)
    given = triton.InferInput(name, shape, kind).set_data_from_numpy(array)
    try:
        client.infer(model, [given])
    except InferenceServerException as error:
        assert error.status() == f"StatusCode.{expected}", f"{error.status()} and not {expected}: {error.message()}"
    else:
        raise AssertionError(f"{model} answered {name} {shape} {kind}")
