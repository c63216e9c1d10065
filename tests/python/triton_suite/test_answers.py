"""Every way to ask gives what onnxruntime answers."""

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as aio_grpc
import tritonclient.http as triton_http
import tritonclient.http.aio as aio_http
from conftest import GRPC_URL, REST_URL, given, run, same, texts
from tritonclient.utils import InferenceServerException

NAMES = ["iris", "wide", "text", "mixed"] + [f"identity_{name}" for name in ("BOOL", "INT32", "INT64", "FP32", "FP64")]
#: A number that JSON cannot hold exactly in every client.
JSON = [name for name in NAMES if name != "identity_INT64"]

pytestmark = pytest.mark.parametrize("name", NAMES)


def over_http_binary(case):
    with triton_http.InferenceServerClient(REST_URL) as client:
        return client.infer(case.name, given(triton_http, case.inputs, binary_data=True))


def over_http_json(case):
    outputs = [triton_http.InferRequestedOutput(output, binary_data=False) for output in case.outputs]
    with triton_http.InferenceServerClient(REST_URL) as client:
        return client.infer(case.name, given(triton_http, case.inputs, binary_data=False), outputs=outputs)


def over_http_binary_in_json_out(case):
    outputs = [triton_http.InferRequestedOutput(output, binary_data=False) for output in case.outputs]
    with triton_http.InferenceServerClient(REST_URL) as client:
        return client.infer(case.name, given(triton_http, case.inputs, binary_data=True), outputs=outputs)


def over_http_async(case):
    with triton_http.InferenceServerClient(REST_URL) as client:
        return client.async_infer(case.name, given(triton_http, case.inputs)).get_result()


def over_http_gzip(case):
    with triton_http.InferenceServerClient(REST_URL) as client:
        inputs = given(triton_http, case.inputs)
        how = {"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"}
        return client.infer(case.name, inputs, **how)


def over_http_deflate(case):
    with triton_http.InferenceServerClient(REST_URL) as client:
        inputs = given(triton_http, case.inputs)
        how = {"request_compression_algorithm": "deflate", "response_compression_algorithm": "deflate"}
        return client.infer(case.name, inputs, **how)


def over_http_aio(case):
    async def ask():
        async with aio_http.InferenceServerClient(REST_URL) as client:
            return await client.infer(case.name, given(aio_http, case.inputs))

    return run(ask())


def over_grpc(case):
    with triton_grpc.InferenceServerClient(GRPC_URL) as client:
        return client.infer(case.name, given(triton_grpc, case.inputs), client_timeout=30)


def over_grpc_gzip(case):
    with triton_grpc.InferenceServerClient(GRPC_URL) as client:
        return client.infer(case.name, given(triton_grpc, case.inputs), compression_algorithm="gzip")


def over_grpc_aio(case):
    async def ask():
        async with aio_grpc.InferenceServerClient(GRPC_URL) as client:
            return await client.infer(case.name, given(triton_grpc, case.inputs))

    return run(ask())


@pytest.mark.parametrize(
    "ask",
    [
        over_http_binary,
        over_http_async,
        over_http_gzip,
        over_http_deflate,
        over_http_aio,
        over_grpc,
        over_grpc_gzip,
        over_grpc_aio,
    ],
)
def test_the_answer_is_onnxruntimes(case, name, ask):
    case(name).check(ask(case(name)))


@pytest.mark.parametrize("ask", [over_http_json, over_http_binary_in_json_out])
def test_so_it_is_in_json(case, name, ask):
    if name in JSON:
        case(name).check(ask(case(name)))
    else:
        result = ask(case(name))
        assert result.get_output("y")["data"] == case(name).outputs["y"].flatten().tolist()


def test_each_row_alone_gives_its_row(case, name, http, grpc):
    one = case(name)
    rows = next(iter(one.inputs.values())).shape[0]
    for row in range(min(rows, 3)):
        inputs = {key: array[row : row + 1] for key, array in one.inputs.items()}
        for result in (http.infer(name, given(triton_http, inputs)), grpc.infer(name, given(triton_grpc, inputs))):
            for output, expected in one.outputs.items():
                same(result.as_numpy(output), expected[row : row + 1], output)


def test_no_rows_are_refused_or_answered_with_no_rows(case, name, http):
    one = case(name)
    inputs = {key: array[:0] for key, array in one.inputs.items()}
    try:
        result = http.infer(name, given(triton_http, inputs))
    except InferenceServerException as error:
        assert error.status() == "400", error
    else:
        assert all(result.as_numpy(output).shape[0] == 0 for output in one.outputs)


def test_metadata_and_configuration_agree(case, name, http, grpc):
    one = case(name)
    metadata = http.get_model_metadata(name)
    assert [spec["name"] for spec in metadata["inputs"]] == list(one.inputs)
    assert {spec["name"] for spec in metadata["outputs"]} == set(one.outputs)
    config = http.get_model_config(name)
    other = grpc.get_model_config(name, as_json=True)["config"]
    for ours, side in ((metadata["inputs"], "input"), (metadata["outputs"], "output")):
        for spec, said, also in zip(ours, config[side], other[side], strict=True):
            kind = "TYPE_STRING" if spec["datatype"] == "BYTES" else f"TYPE_{spec['datatype']}"
            assert (said["name"], said["data_type"]) == (spec["name"], kind)
            assert (also["name"], also["data_type"]) == (spec["name"], kind)
    assert config["max_batch_size"] == other.get("max_batch_size", 0)


def test_a_stream_answers_in_order(case, name):
    one, answers = case(name), []
    with triton_grpc.InferenceServerClient(GRPC_URL) as client:
        client.start_stream(callback=lambda result, error: answers.append((result, error)))
        for number in range(20):
            client.async_stream_infer(name, given(triton_grpc, one.inputs), request_id=str(number))
        client.stop_stream()
    assert [error for _, error in answers if error] == []
    assert [result.get_response().id for result, _ in answers] == [str(number) for number in range(20)]
    for result, _ in answers:
        one.check(result)
        assert result.get_response().parameters["triton_final_response"].bool_param


def test_a_stream_of_the_other_client_too(case, name):
    one = case(name)

    async def requests():
        for number in range(5):
            final = number % 2 == 0
            yield {
                "model_name": name,
                "inputs": given(triton_grpc, one.inputs),
                "request_id": str(number),
                "enable_empty_final_response": final,
            }

    async def ask():
        async with aio_grpc.InferenceServerClient(GRPC_URL) as client:
            return [answer async for answer in client.stream_infer(requests())]

    answers = run(ask())
    assert len(answers) == 5
    for result, error in answers:
        assert error is None
        one.check(result)


def test_statistics_count(case, name, http, grpc):
    def count():
        [entry] = http.get_inference_statistics(name)["model_stats"]
        return int(entry["inference_stats"]["success"]["count"])

    before = count()
    http.infer(name, given(triton_http, case(name).inputs))
    grpc.infer(name, given(triton_grpc, case(name).inputs))
    assert count() == before + 2
    entries = grpc.get_inference_statistics(name, as_json=True)["model_stats"]
    assert int(entries[0]["inference_stats"]["success"]["count"]) == before + 2


def test_a_raw_request_needs_no_json(case, name):
    import http.client

    one = case(name)
    if len(one.inputs) > 1:
        return
    [array] = one.inputs.values()
    body = texts(array)[0].encode() if array.dtype == object else np.ascontiguousarray(array).tobytes()
    connection = http.client.HTTPConnection(REST_URL)
    connection.request("POST", f"/v2/models/{name}/infer", body, {"Inference-Header-Content-Length": "0"})
    response = connection.getresponse()
    length = int(response.headers["Inference-Header-Content-Length"])
    body = response.read()
    connection.close()
    result = triton_http.InferenceServerClient.parse_response_body(body, header_length=length)
    if array.dtype == object:
        assert texts(result.as_numpy("y")) == texts(array)[:1]
    else:
        one.check(result)
