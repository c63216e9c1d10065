"""An unmodified `tritonclient` against a running server.

Needs tritonclient[http,grpc], numpy and pytest, and in the environment:
  REST_URL  for example http://127.0.0.1:8080
  GRPC_URL  for example 127.0.0.1:8081
  MODELS    the folder that make_models.py made, which is what the server serves
  CONTROL   `on` if clients may load and unload models, else `off`
"""

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import np_to_triton_dtype

REST_URL = os.environ["REST_URL"].rstrip("/").removeprefix("http://")
GRPC_URL = os.environ["GRPC_URL"]
MODELS = Path(os.environ["MODELS"])
CONTROL = os.environ.get("CONTROL", "off") == "on"


class Case:
    """A model, what is asked of it, and what onnxruntime answers."""

    def __init__(self, name):
        self.name = name
        with np.load(MODELS / name / "expected.npz", allow_pickle=True) as arrays:
            self.inputs = {key[3:]: arrays[key] for key in arrays.files if key.startswith("in:")}
            self.outputs = {key[4:]: arrays[key] for key in arrays.files if key.startswith("out:")}

    def check(self, result, outputs=None):
        for name in outputs or self.outputs:
            same(result.as_numpy(name), self.outputs[name], name)


def datatype(array):
    return "BYTES" if array.dtype == object else np_to_triton_dtype(array.dtype)


def given(library, inputs, **how):
    """The inputs as a client wants them; `how` is `binary_data` over HTTP."""
    tensors = []
    for name, array in inputs.items():
        tensor = library.InferInput(name, list(array.shape), datatype(array))
        tensors.append(tensor.set_data_from_numpy(array, **how))
    return tensors


def texts(array):
    return [value.decode() if isinstance(value, bytes) else value for value in array.flat]


def same(found, expected, name):
    assert found is not None, f"no output {name}"
    assert found.shape == expected.shape, name
    if expected.dtype == object:
        assert texts(found) == texts(expected), name
    elif expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)
    else:
        np.testing.assert_array_equal(found, expected, err_msg=name)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


@pytest.fixture(scope="session")
def http():
    with triton_http.InferenceServerClient(REST_URL, concurrency=4) as client:
        yield client


@pytest.fixture(scope="session")
def grpc():
    with triton_grpc.InferenceServerClient(GRPC_URL) as client:
        yield client


@pytest.fixture(scope="session")
def case():
    cases = {}
    return lambda name: cases.setdefault(name, Case(name))


@pytest.fixture(scope="session", autouse=True)
def loaded():
    """Where clients load and unload models, none is loaded at the start."""
    if CONTROL:
        with triton_http.InferenceServerClient(REST_URL) as client:
            for folder in sorted(path.parent.name for path in MODELS.glob("*/model.onnx")):
                client.load_model(folder)
