"""An unmodified `tritonclient` against a running server: JSON, binary tensors and gRPC must agree.

Needs tritonclient[http,grpc], numpy and pytest, and in the environment:
  REST_URL  for example http://127.0.0.1:8080
  GRPC_URL  for example 127.0.0.1:8081
  MODEL     name of a model that is served
  COLUMNS   path of a JSON file with one row or more of raw columns: {"carrier": ["UA", "DL"], "distance": [1400, 760]};
            null is a missing number
"""

import json
import os
import urllib.error
import urllib.request
from urllib.parse import quote

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

REST_URL = os.environ["REST_URL"].rstrip("/")
GRPC_URL = os.environ["GRPC_URL"]
MODEL = os.environ["MODEL"]


@pytest.fixture(scope="module")
def http():
    with triton_http.InferenceServerClient(REST_URL.removeprefix("http://")) as client:
        yield client


@pytest.fixture(scope="module")
def grpc():
    with triton_grpc.InferenceServerClient(GRPC_URL) as client:
        yield client


@pytest.fixture(scope="module")
def metadata(http):
    return http.get_model_metadata(MODEL)


@pytest.fixture(scope="module")
def arrays(metadata):
    """The columns in the types and shapes that the model says it takes."""
    with open(os.environ["COLUMNS"], encoding="utf-8") as file:
        columns = json.load(file)
    arrays = {}
    for spec in metadata["inputs"]:
        values = columns[spec["name"]]
        if spec["datatype"] == "BYTES":
            array = np.array([str(value).encode() for value in values], dtype=object)
        else:
            array = np.array(values, dtype=triton_to_np_dtype(spec["datatype"]))
        arrays[spec["name"]] = array.reshape([len(values) if extent == -1 else extent for extent in spec["shape"]])
    return arrays


def http_inputs(metadata, arrays, binary):
    inputs = []
    for spec in metadata["inputs"]:
        array = arrays[spec["name"]]
        one = triton_http.InferInput(spec["name"], list(array.shape), spec["datatype"])
        inputs.append(one.set_data_from_numpy(array, binary_data=binary))
    return inputs


def grpc_inputs(metadata, arrays):
    inputs = []
    for spec in metadata["inputs"]:
        array = arrays[spec["name"]]
        one = triton_grpc.InferInput(spec["name"], list(array.shape), spec["datatype"])
        inputs.append(one.set_data_from_numpy(array))
    return inputs


def answer(result, metadata):
    return {spec["name"]: result.as_numpy(spec["name"]) for spec in metadata["outputs"]}


def as_bytes(array):
    """Elements that can be compared: over JSON text comes as `str`, in binary as `bytes`."""
    if array.dtype != object:
        return array
    return np.array([value.encode() if isinstance(value, str) else value for value in array.flat], dtype=object)


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].shape == right[name].shape, name
        np.testing.assert_array_equal(as_bytes(left[name]), as_bytes(right[name]), err_msg=name)


def json_outputs(metadata):
    return [triton_http.InferRequestedOutput(spec["name"], binary_data=False) for spec in metadata["outputs"]]


@pytest.fixture(scope="module")
def binary_answer(http, metadata, arrays):
    return answer(http.infer(MODEL, http_inputs(metadata, arrays, True)), metadata)


def test_server_and_model_are_ready_in_both_protocols(http, grpc):
    assert http.is_server_live() and http.is_server_ready() and http.is_model_ready(MODEL)
    assert grpc.is_server_live() and grpc.is_server_ready() and grpc.is_model_ready(MODEL)
    assert not http.is_model_ready("no such model")
    assert not grpc.is_model_ready("no such model")


def test_metadata_is_the_same_in_both_protocols(http, grpc, metadata):
    assert http.get_server_metadata()["name"] == grpc.get_server_metadata().name
    assert "binary_tensor_data" in http.get_server_metadata()["extensions"]
    other = grpc.get_model_metadata(MODEL, as_json=True)
    for side in ("inputs", "outputs"):
        ours = [(spec["name"], spec["datatype"], spec["shape"]) for spec in metadata[side]]
        theirs = [(spec["name"], spec["datatype"], [int(extent) for extent in spec["shape"]]) for spec in other[side]]
        assert ours == theirs


def test_repository_index_names_the_model(http, grpc):
    assert MODEL in [entry["name"] for entry in http.get_model_repository_index()]
    assert MODEL in [entry.name for entry in grpc.get_model_repository_index().models]


def test_outputs_have_their_types_and_one_row_for_each_row(metadata, arrays, binary_answer):
    rows = next(iter(arrays.values())).shape[0]
    for spec in metadata["outputs"]:
        array = binary_answer[spec["name"]]
        assert array.dtype == triton_to_np_dtype(spec["datatype"]), spec
        assert array.shape[0] == rows, spec


def test_grpc_answers_what_http_answers(grpc, metadata, arrays, binary_answer):
    assert_same(answer(grpc.infer(MODEL, grpc_inputs(metadata, arrays)), metadata), binary_answer)


def test_json_outputs_are_the_binary_ones(http, metadata, arrays, binary_answer):
    result = http.infer(MODEL, http_inputs(metadata, arrays, True), outputs=json_outputs(metadata))
    assert_same(answer(result, metadata), binary_answer)


def test_json_inputs_are_the_binary_ones(http, metadata, arrays):
    # tritonclient writes a missing number as NaN, which is no JSON; null is tested by the request written by hand.
    whole = {name: array if array.dtype == object else np.nan_to_num(array) for name, array in arrays.items()}
    over_json = http.infer(MODEL, http_inputs(metadata, whole, False), outputs=json_outputs(metadata))
    binary = http.infer(MODEL, http_inputs(metadata, whole, True))
    assert_same(answer(over_json, metadata), answer(binary, metadata))


def raw_request(metadata, arrays):
    """A request as somebody writes it by hand: missing numbers are null."""
    inputs = []
    for spec in metadata["inputs"]:
        array = arrays[spec["name"]]
        data = [value.decode() if isinstance(value, bytes) else value.item() for value in array.flatten()]
        data = [None if isinstance(value, float) and np.isnan(value) else value for value in data]
        inputs.append({"name": spec["name"], "datatype": spec["datatype"], "shape": list(array.shape), "data": data})
    return {"id": "by hand", "inputs": inputs}


def post(path, body, headers=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{REST_URL}{path}", data, headers or {}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def infer_path(model=MODEL):
    return f"/v2/models/{quote(model)}/infer"


def test_a_request_written_by_hand_gives_the_same(metadata, arrays, binary_answer):
    status, body = post(infer_path(), raw_request(metadata, arrays))
    assert status == 200, body
    assert body["id"] == "by hand"
    assert len(body["parameters"]["prediction_id"]) == 32
    found = {
        output["name"]: np.array(output["data"], dtype=triton_to_np_dtype(output["datatype"])).reshape(output["shape"])
        for output in body["outputs"]
    }
    assert_same(found, binary_answer)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_are_read(http, metadata, arrays, binary_answer, algorithm):
    inputs = http_inputs(metadata, arrays, True)
    result = http.infer(MODEL, inputs, request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)
    assert_same(answer(result, metadata), binary_answer)


def test_request_id_and_prediction_id_come_back(http, grpc, metadata, arrays):
    over_http = http.infer(MODEL, http_inputs(metadata, arrays, True), request_id="mine").get_response()
    over_grpc = grpc.infer(MODEL, grpc_inputs(metadata, arrays), request_id="mine").get_response()
    assert over_http["id"] == over_grpc.id == "mine"
    ids = {over_http["parameters"]["prediction_id"], over_grpc.parameters["prediction_id"].string_param}
    assert len(ids) == 2


def test_each_row_alone_gives_its_row_of_the_batch(http, metadata, arrays, binary_answer):
    for row in range(min(3, next(iter(arrays.values())).shape[0])):
        one = {name: array[row : row + 1] for name, array in arrays.items()}
        alone = answer(http.infer(MODEL, http_inputs(metadata, one, True)), metadata)
        assert_same(alone, {name: array[row : row + 1] for name, array in binary_answer.items()})


def both_refuse(http, grpc, http_status, grpc_status, metadata, arrays, model=MODEL, version="", output=None):
    """Both protocols refuse the same request in the same words."""
    http_outputs = [triton_http.InferRequestedOutput(output)] if output else None
    grpc_outputs = [triton_grpc.InferRequestedOutput(output)] if output else None
    with pytest.raises(InferenceServerException) as over_http:
        http.infer(model, http_inputs(metadata, arrays, True), model_version=version, outputs=http_outputs)
    assert over_http.value.status() == http_status, over_http.value.message()
    with pytest.raises(InferenceServerException) as over_grpc:
        grpc.infer(model, grpc_inputs(metadata, arrays), model_version=version, outputs=grpc_outputs)
    assert over_grpc.value.status() == f"StatusCode.{grpc_status}", over_grpc.value.message()
    assert over_http.value.message() == over_grpc.value.message()
    return over_http.value.message()


def test_unknown_models_and_versions(http, grpc, metadata, arrays):
    given = {"metadata": metadata, "arrays": arrays}
    assert "no-such-model" in both_refuse(http, grpc, "404", "NOT_FOUND", model="no-such-model", **given)
    assert "987654" in both_refuse(http, grpc, "404", "NOT_FOUND", version="987654", **given)
    assert "latest" in both_refuse(http, grpc, "400", "INVALID_ARGUMENT", version="latest", **given)


def test_unknown_outputs(http, grpc, metadata, arrays):
    given = {"metadata": metadata, "arrays": arrays}
    assert "no such output" in both_refuse(http, grpc, "400", "INVALID_ARGUMENT", output="no such output", **given)


def test_missing_unknown_and_repeated_inputs(http, grpc, metadata, arrays):
    first = metadata["inputs"][0]
    rest = {"inputs": metadata["inputs"][1:]}
    assert first["name"] in both_refuse(http, grpc, "400", "INVALID_ARGUMENT", metadata=rest, arrays=arrays)
    twice = {"inputs": [*metadata["inputs"], first]}
    assert first["name"] in both_refuse(http, grpc, "400", "INVALID_ARGUMENT", metadata=twice, arrays=arrays)
    unknown = {"inputs": [*metadata["inputs"], {**first, "name": "no such input"}]}
    more = {**arrays, "no such input": arrays[first["name"]]}
    assert "no such input" in both_refuse(http, grpc, "400", "INVALID_ARGUMENT", metadata=unknown, arrays=more)


def test_a_wrong_type_names_input_expected_and_found(http, grpc, metadata, arrays):
    first = metadata["inputs"][0]
    shape = arrays[first["name"]].shape
    wrong = {"inputs": [{**first, "datatype": "UINT16"}, *metadata["inputs"][1:]]}
    other = {**arrays, first["name"]: np.zeros(shape, dtype=np.uint16)}
    message = both_refuse(http, grpc, "400", "INVALID_ARGUMENT", metadata=wrong, arrays=other)
    assert first["name"] in message and first["datatype"] in message and "UINT16" in message


def test_a_wrong_shape_names_the_input(http, grpc, metadata, arrays):
    first = metadata["inputs"][0]["name"]
    other = {**arrays, first: arrays[first][..., np.newaxis]}
    assert first in both_refuse(http, grpc, "400", "INVALID_ARGUMENT", metadata=metadata, arrays=other)


def test_inputs_that_differ_in_rows_are_refused(http, grpc, metadata, arrays):
    if len(metadata["inputs"]) > 1:
        first = metadata["inputs"][0]["name"]
        other = {**arrays, first: np.concatenate([arrays[first], arrays[first]])}
        both_refuse(http, grpc, "400", "INVALID_ARGUMENT", metadata=metadata, arrays=other)


def test_callers_mistakes_in_json_are_400(metadata, arrays):
    good = raw_request(metadata, arrays)

    def changed(**change):
        return {**good, "inputs": [{**good["inputs"][0], **change}, *good["inputs"][1:]]}

    huge = 2**62
    for body in [
        b"",
        b"{",
        b"[]",
        b"\xff",
        {"inputs": []},
        {"inputs": "none"},
        changed(datatype="TEXT"),
        changed(shape=[-1, 1]),
        changed(shape=[huge, huge]),
        changed(data=[]),
        changed(data={"a": 1}),
        changed(data=[[[[1]]]]),
        changed(parameters={"binary_data_size": 4}),
        {**good, "parameters": {"sequence_id": 1}},
    ]:
        status, answer = post(infer_path(), body)
        assert status == 400, (body, answer)
        assert isinstance(answer["error"], str) and answer["error"]


def test_lengths_that_lie_are_400():
    for length in ["1000000", "-1", "x", "99999999999999999999"]:
        status, answer = post(infer_path(), b"{}", {"Inference-Header-Content-Length": length})
        assert status == 400 and answer["error"], length
