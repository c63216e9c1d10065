"""What is asked of the server and not of a model."""

import json

import grpc as grpc_library
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as aio_grpc
import tritonclient.http as triton_http
import tritonclient.http.aio as aio_http
from conftest import CONTROL, GRPC_URL, MODELS, REST_URL, given, run, texts
from google.protobuf import descriptor_pb2
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException


def test_liveness_and_readiness(http, grpc):
    for client in (http, grpc):
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("iris") and not client.is_model_ready("other")


def test_aio_liveness_and_readiness():
    async def ask():
        async with aio_http.InferenceServerClient(REST_URL) as client:
            found = [await client.is_server_live(), await client.is_server_ready(), await client.is_model_ready("iris")]
            found.append((await client.get_model_metadata("iris"))["name"] == "iris")
            found.append(len(await client.get_model_repository_index()) > 0)
        async with aio_grpc.InferenceServerClient(GRPC_URL) as client:
            found += [await client.is_server_live(), await client.is_model_ready("iris")]
            found.append((await client.get_server_metadata()).name == "ropewalk")
        return found

    assert all(run(ask()))


def test_server_metadata(http, grpc):
    ours, theirs = http.get_server_metadata(), grpc.get_server_metadata()
    assert (ours["name"], ours["version"]) == (theirs.name, theirs.version)
    assert ours["extensions"] == list(theirs.extensions)
    assert {"binary_tensor_data", "statistics", "model_repository", "classification"} <= set(ours["extensions"])


def test_the_index_names_every_model(http, grpc):
    expected = {folder.name for folder in MODELS.iterdir() if folder.is_dir()}
    assert expected <= {entry["name"] for entry in http.get_model_repository_index()}
    assert expected <= {entry.name for entry in grpc.get_model_repository_index().models}


def test_versions_can_be_named(http, grpc):
    [version, *_] = http.get_model_metadata("iris")["versions"]
    assert http.is_model_ready("iris", version) and grpc.is_model_ready("iris", version)
    assert http.get_model_metadata("iris", version)["name"] == "iris"
    assert http.get_model_config("iris", version)["name"] == "iris"
    assert http.get_inference_statistics("iris", version)["model_stats"][0]["version"] == version
    assert not http.is_model_ready("iris", "77") and not grpc.is_model_ready("iris", "77")


def test_statistics_of_all_models(http, grpc):
    ours = {entry["name"] for entry in http.get_inference_statistics()["model_stats"]}
    assert ours == {entry.name for entry in grpc.get_inference_statistics().model_stats}
    assert "iris" in ours


def test_shared_memory_is_off(http, grpc):
    assert http.get_system_shared_memory_status() == [] and http.get_cuda_shared_memory_status() == []
    assert len(grpc.get_system_shared_memory_status().regions) == len(grpc.get_cuda_shared_memory_status().regions) == 0
    for client in (http, grpc):
        client.unregister_system_shared_memory()
        client.unregister_cuda_shared_memory()
        with pytest.raises(InferenceServerException, match="not supported"):
            client.register_system_shared_memory("region", "/key", 64)
        with pytest.raises(InferenceServerException, match="not supported"):
            client.register_cuda_shared_memory("region", b"aGFuZGxl", 0, 64)
        with pytest.raises(InferenceServerException, match="Unable to find"):
            client.get_system_shared_memory_status("region")


def test_tracing_is_off(http, grpc):
    assert http.get_trace_settings()["trace_level"] == ["OFF"]
    assert list(grpc.get_trace_settings("iris").settings["trace_level"].value) == ["OFF"]
    for client in (http, grpc):
        client.update_trace_settings(settings={"trace_level": "OFF"})
        with pytest.raises(InferenceServerException):
            client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]})


def test_logging_is_told(http, grpc):
    assert http.get_log_settings()["log_error"] is True
    assert grpc.get_log_settings().settings["log_error"].bool_param
    for client in (http, grpc):
        client.update_log_settings({"log_verbose_level": 0})
        with pytest.raises(InferenceServerException):
            client.update_log_settings({"log_verbose_level": 3})


def test_models_are_loaded_and_unloaded_where_that_is_allowed(http, grpc):
    for client, library in ((http, triton_http), (grpc, triton_grpc)):
        if not CONTROL:
            for action in (client.load_model, client.unload_model):
                with pytest.raises(InferenceServerException, match="explicit model load / unload is not allowed"):
                    action("text")
            continue
        client.unload_model("text")
        assert not client.is_model_ready("text")
        client.load_model("text")
        assert client.is_model_ready("text")
        client.infer("text", given(library, {"x": np.array([["a"]], dtype=object)}))
        with pytest.raises(InferenceServerException):
            client.load_model("other")
        with pytest.raises(InferenceServerException, match="unrecognized load parameter"):
            client.load_model("text", config="{}")


def test_request_ids_come_back(http, grpc):
    inputs = {"X": np.zeros((1, 4), dtype=np.float32)}
    ours = http.infer("iris", given(triton_http, inputs), request_id="mine").get_response()
    theirs = grpc.infer("iris", given(triton_grpc, inputs), request_id="mine").get_response()
    assert ours["id"] == theirs.id == "mine"
    assert len({ours["parameters"]["prediction_id"], theirs.parameters["prediction_id"].string_param}) == 2


def test_outputs_are_chosen_and_ordered(http, grpc):
    inputs = {"X": np.zeros((1, 4), dtype=np.float32)}
    for client, library in ((http, triton_http), (grpc, triton_grpc)):
        wanted = [library.InferRequestedOutput("probabilities")]
        result = client.infer("iris", given(library, inputs), outputs=wanted)
        assert result.as_numpy("probabilities").shape == (1, 3) and result.as_numpy("label") is None


@pytest.mark.parametrize("classes", [1, 2, 9])
def test_classes(case, http, grpc, classes):
    one = case("iris")
    for client, library in ((http, triton_http), (grpc, triton_grpc)):
        wanted = [library.InferRequestedOutput("probabilities", class_count=classes)]
        found = client.infer("iris", given(library, one.inputs), outputs=wanted).as_numpy("probabilities")
        probabilities = one.outputs["probabilities"]
        assert found.shape == (len(probabilities), min(classes, 3))
        for row, expected in zip(found, probabilities, strict=True):
            best = expected.argsort(kind="stable")[::-1][: len(row)]
            for text, index in zip(row, best, strict=True):
                value, place = text.decode().split(":")[:2]
                assert float(value) == pytest.approx(expected[index], abs=2e-6)
                assert int(place) == index or expected[int(place)] == pytest.approx(expected[index], abs=2e-6)


def test_classes_have_the_labels_of_the_models_file(case, http, grpc):
    inputs = case("labelled").inputs
    wanted = [
        (http, triton_http, triton_http.InferRequestedOutput("y", class_count=2)),
        (http, triton_http, triton_http.InferRequestedOutput("y", binary_data=False, class_count=2)),
        (grpc, triton_grpc, triton_grpc.InferRequestedOutput("y", class_count=2)),
    ]
    for client, library, output in wanted:
        found = client.infer("labelled", given(library, inputs), outputs=[output]).as_numpy("y")
        said = [texts(row) for row in found]
        assert said == [["2.000000:1:dog", "0.250000:0:cat"], ["7.000000:0:cat", "3.000000:2"]]


def test_what_config_pbtxt_says_of_batches_is_told_and_holds(case, http, grpc):
    batching = http.get_model_config("labelled")["dynamic_batching"]
    assert batching["preferred_batch_size"] == [2, 4]
    assert (batching["priority_levels"], batching["default_priority_level"]) == (2, 1)
    own = batching["priority_queue_policy"]["2"]
    assert (own["max_queue_size"], own["default_timeout_microseconds"]) == (16, 5000000)
    message = grpc.get_model_config("labelled").config.dynamic_batching
    assert list(message.preferred_batch_size) == [2, 4] and message.priority_queue_policy[2].max_queue_size == 16
    one = case("labelled")
    pending = [http.async_infer("labelled", given(triton_http, one.inputs), priority=1 + at % 2) for at in range(30)]
    for request in pending:
        one.check(request.get_result())


def test_large_answers_are_compressed_on_request_and_read_by_every_client(case):
    one = case("wide")

    async def ask():
        async with aio_http.InferenceServerClient(REST_URL) as client:
            for algorithm in (None, "gzip", "deflate"):
                one.check(await client.infer("wide", given(aio_http, one.inputs), response_compression_algorithm=algorithm))

    run(ask())


def test_many_at_once(case, http):
    one = case("iris")
    pending = [http.async_infer("iris", given(triton_http, one.inputs)) for _ in range(50)]
    for request in pending:
        one.check(request.get_result())


def test_many_at_once_over_grpc(case):
    one = case("iris")

    async def ask():
        import asyncio

        async with aio_grpc.InferenceServerClient(GRPC_URL) as client:
            return await asyncio.gather(*(client.infer("iris", given(triton_grpc, one.inputs)) for _ in range(50)))

    for result in run(ask()):
        one.check(result)


def call(path, body, stream=False):
    """A gRPC call by hand: bytes in, bytes out."""
    with grpc_library.insecure_channel(GRPC_URL) as channel:
        kind = channel.stream_stream if stream else channel.unary_unary
        ask = kind(path, request_serializer=bytes, response_deserializer=bytes)
        return next(ask(iter([body]))) if stream else ask(body)


def test_health():
    assert call("/grpc.health.v1.Health/Check", b"") == b"\x08\x01"
    with grpc_library.insecure_channel(GRPC_URL) as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch", request_serializer=bytes, response_deserializer=bytes)
        assert next(watch(b"")) == b"\x08\x01"
        unknown = b"\x0a\x05other"
        assert next(watch(unknown)) == b"\x08\x03"
    with pytest.raises(grpc_library.RpcError) as refused:
        call("/grpc.health.v1.Health/Check", unknown)
    assert refused.value.code() == grpc_library.StatusCode.NOT_FOUND


def fields(data):
    """The fields of a message: number and, where it is of bytes, value."""
    place = 0

    def number():
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(data):
        key = number()
        if key & 7 == 2:
            length = number()
            yield key >> 3, data[place : place + length]
            place += length
        else:
            yield key >> 3, number()


def described(version):
    symbol = b"inference.GRPCInferenceService"
    request = b"\x22" + bytes([len(symbol)]) + symbol
    answer = call(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", request, stream=True)
    [response] = [value for number, value in fields(answer) if number == 4]
    files = {}
    for _, data in fields(response):
        file = descriptor_pb2.FileDescriptorProto.FromString(data)
        files[file.name] = file
    return files


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_describes_what_the_client_has(version):
    """Every service, message, field and number that the server describes is the client's own."""
    theirs = descriptor_pb2.FileDescriptorProto()
    service_pb2.DESCRIPTOR.CopyToProto(theirs)
    files = described(version)
    [ours] = [file for file in files.values() if file.service]

    def shapes(file):
        found = {}

        def walk(message, prefix):
            name = prefix + message.name
            found[name] = {field.name: (field.number, field.type, field.label) for field in message.field}
            for inner in message.nested_type:
                walk(inner, f"{name}.")

        for message in file.message_type:
            walk(message, "")
        return found

    methods = lambda file: {
        (method.name, method.input_type, method.output_type, method.client_streaming, method.server_streaming)
        for service in file.service
        for method in service.method
    }
    assert methods(ours) == methods(theirs)
    assert shapes(ours) == shapes(theirs)


def test_the_configuration_is_json_of_the_clients_message(http):
    from google.protobuf import json_format
    from tritonclient.grpc import model_config_pb2

    config = http.get_model_config("iris")
    message = json_format.Parse(json.dumps(config), model_config_pb2.ModelConfig())
    assert message.name == "iris" and message.max_batch_size > 0
