"""A caller's mistake is 400 or 404 in both protocols, in the same words, and names what is wrong."""

import http.client
import json

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from conftest import GRPC_URL, REST_URL, given
from tritonclient.utils import InferenceServerException

ROW = np.array([[5.1, 3.5, 1.4, 0.2]], dtype=np.float32)


def both(http, grpc, status, code, inputs, model="iris", outputs=None, **how):
    messages = []
    for client, library, expected in ((http, triton_http, status), (grpc, triton_grpc, f"StatusCode.{code}")):
        wanted = [library.InferRequestedOutput(name) for name in outputs] if outputs else None
        with pytest.raises(InferenceServerException) as refused:
            client.infer(model, given(library, inputs), outputs=wanted, **how)
        assert refused.value.status() == expected, refused.value.message()
        messages.append(refused.value.message())
    assert messages[0] == messages[1]
    return messages[0]


BAD = ("400", "INVALID_ARGUMENT")
GONE = ("404", "NOT_FOUND")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"Y": ROW}, ["Y", "X"]),
        ({}, ["X"]),
        ({"X": ROW, "Y": ROW}, ["Y"]),
        ({"X": ROW[:, :3]}, ["X", "[1, 3]"]),
        ({"X": ROW[0]}, ["X", "[4]"]),
        ({"X": ROW[np.newaxis]}, ["X", "[1, 1, 4]"]),
        ({"X": ROW.astype(np.float64)}, ["X", "FP32", "FP64"]),
        ({"X": ROW.astype(np.int64)}, ["X", "FP32", "INT64"]),
        ({"X": np.array([["a", "b", "c", "d"]], dtype=object)}, ["X", "FP32", "BYTES"]),
    ],
)
def test_wrong_inputs(http, grpc, inputs, words):
    message = both(http, grpc, *BAD, inputs)
    assert all(word in message for word in words), message


def test_unknown_outputs(http, grpc):
    assert "nothing" in both(http, grpc, *BAD, {"X": ROW}, outputs=["nothing"])


def test_an_output_wanted_twice(http, grpc):
    both(http, grpc, *BAD, {"X": ROW}, outputs=["label", "label"])


def test_unknown_models_and_versions(http, grpc):
    assert "other" in both(http, grpc, *GONE, {"X": ROW}, model="other")
    assert "77" in both(http, grpc, *GONE, {"X": ROW}, model_version="77")
    assert "newest" in both(http, grpc, *BAD, {"X": ROW}, model_version="newest")


def test_sequences(http, grpc):
    message = both(http, grpc, *BAD, {"X": ROW}, sequence_id=5, sequence_start=True)
    assert "sequence_id" in message


def test_priority_and_timeout_are_taken(http, grpc):
    http.infer("iris", given(triton_http, {"X": ROW}), priority=1, timeout=10_000_000)
    grpc.infer("iris", given(triton_grpc, {"X": ROW}), priority=1, timeout=10_000_000)


def test_unknown_parameters_are_ignored(http, grpc):
    http.infer("iris", given(triton_http, {"X": ROW}), parameters={"mine": 1})
    grpc.infer("iris", given(triton_grpc, {"X": ROW}), parameters={"mine": "x"})


def test_shared_memory(http, grpc):
    for client, library, status in ((http, triton_http, "400"), (grpc, triton_grpc, "StatusCode.INVALID_ARGUMENT")):
        tensor = library.InferInput("X", [1, 4], "FP32")
        tensor.set_shared_memory("region", 16)
        with pytest.raises(InferenceServerException) as refused:
            client.infer("iris", [tensor])
        assert refused.value.status() == status


def post(path, body, headers=None):
    connection = http.client.HTTPConnection(REST_URL)
    connection.request("POST", path, body, headers or {})
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


GOOD = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}


def changed(**change):
    return {"inputs": [{**GOOD["inputs"][0], **change}]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"null",
        {"inputs": 3},
        {"inputs": []},
        changed(data=[1, 2, 3]),
        changed(data=[1, 2, 3, 4, 5]),
        changed(data=[[1, 2], [3, 4]]),
        changed(data=[1, 2, 3, "a"]),
        changed(data={"a": 1}),
        changed(data=None),
        changed(shape=[-1, 4]),
        changed(shape=[2**62, 2**62]),
        changed(shape="one"),
        changed(shape=[0, 4]),
        changed(datatype="FLOAT"),
        changed(datatype="fp32"),
        changed(parameters={"binary_data_size": 16}),
        {**GOOD, "outputs": [{"name": "label", "parameters": {"shared_memory_region": "r"}}]},
        {**GOOD, "parameters": {"timeout": "soon"}},
        {**GOOD, "parameters": {"priority": -1}},
        {**GOOD, "id": 7},
    ],
)
def test_json_that_is_wrong_is_400(body):
    status, answer = post("/v2/models/iris/infer", body if isinstance(body, bytes) else json.dumps(body))
    assert status == 400, answer
    assert json.loads(answer)["error"]


@pytest.mark.parametrize("length", ["100000", "-1", "x", "99999999999999999999", "3", "1.5"])
def test_lengths_that_lie_are_400(length):
    status, answer = post("/v2/models/iris/infer", json.dumps(GOOD), {"Inference-Header-Content-Length": length})
    assert status == 400, answer


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 400), ("deflate", 400), ("br", 415)])
def test_bodies_that_cannot_be_decompressed(encoding, status):
    assert post("/v2/models/iris/infer", json.dumps(GOOD), {"Content-Encoding": encoding})[0] == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/iris/infer", 405),
        ("POST", "/v2/health/live", 405),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/iris/nothing", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/config", 404),
        ("GET", "/v2/models/other/stats", 404),
        ("GET", "/v2/models/%ff", 400),
    ],
)
def test_paths_that_are_wrong(method, path, status):
    connection = http.client.HTTPConnection(REST_URL)
    connection.request(method, path)
    response = connection.getresponse()
    assert response.status == status
    assert json.loads(response.read())["error"]
    connection.close()


def test_an_error_in_a_stream_does_not_end_it():
    answers = []
    with triton_grpc.InferenceServerClient(GRPC_URL) as client:
        client.start_stream(callback=lambda result, error: answers.append((result, error)))
        for model in ("iris", "other", "iris"):
            client.async_stream_infer(model, given(triton_grpc, {"X": ROW}), request_id=model)
        client.stop_stream()
    assert [error is not None for _, error in answers] == [False, True, False]
    assert "other" in answers[1][1].message()


def test_errors_are_never_compressed():
    connection = http.client.HTTPConnection(REST_URL)
    body = json.dumps({**GOOD, "outputs": [{"name": "x" * 20_000}]})
    connection.request("POST", "/v2/models/iris/infer", body, {"Accept-Encoding": "gzip, deflate"})
    response = connection.getresponse()
    assert response.status == 400 and response.headers["Content-Encoding"] is None
    assert json.loads(response.read())["error"]
    connection.close()
