"""What goes over the wire, for clients in other languages and for scripts with curl."""

import pytest
from conftest import on_mlflow, unique
from raw import call, exchange

API = "/api/2.0/mlflow"


@pytest.mark.parametrize("prefix", ["/api/2.0/mlflow", "/ajax-api/2.0/mlflow"])
def test_both_prefixes(prefix):
    status, answer = call("GET", f"{prefix}/experiments/get?experiment_id=0")
    assert status == 200
    found = answer["experiment"]
    assert (found["experiment_id"], found["name"], found["lifecycle_stage"]) == ("0", "Default", "active")
    assert int(found["creation_time"]) > 0


def test_health_and_version():
    assert exchange("GET", "/health")[:2] == (200, b"OK")
    status, text, _ = exchange("GET", "/version")
    assert status == 200 and text.decode().split(".")[0] == "3"


ERRORS = [
    ("GET", f"{API}/experiments/get?experiment_id=99999999", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", f"{API}/experiments/get-by-name?experiment_name=no-such-name", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", f"{API}/experiments/get", None, 400, "INVALID_PARAMETER_VALUE"),
    ("POST", f"{API}/experiments/create", {}, 400, "INVALID_PARAMETER_VALUE"),
    ("POST", f"{API}/experiments/create", {"name": "Default"}, 400, "RESOURCE_ALREADY_EXISTS"),
    ("GET", f"{API}/runs/get?run_id={'0' * 32}", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", f"{API}/runs/get", None, 400, "INVALID_PARAMETER_VALUE"),
    ("POST", f"{API}/runs/log-metric", {"run_id": "0" * 32, "key": "m"}, 400, "INVALID_PARAMETER_VALUE"),
    ("POST", f"{API}/runs/log-parameter", {"run_id": "0" * 32, "value": "x"}, 400, "INVALID_PARAMETER_VALUE"),
    ("POST", f"{API}/runs/log-batch", {}, 400, "INVALID_PARAMETER_VALUE"),
    ("POST", f"{API}/runs/search", {"experiment_ids": ["0"], "filter": "nonsense"}, 400, "INVALID_PARAMETER_VALUE"),
    ("POST", f"{API}/runs/search", {"experiment_ids": ["0"], "max_results": "many"}, 400, "INVALID_PARAMETER_VALUE"),
    ("GET", f"{API}/registered-models/get?name=no-such-model", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", f"{API}/registered-models/alias?name=no-such-model&alias=x", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", f"{API}/model-versions/get?name=no-such-model&version=1", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", f"{API}/logged-models/m-{'0' * 32}", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", f"{API}/artifacts/list?run_id={'0' * 32}", None, 404, "RESOURCE_DOES_NOT_EXIST"),
    ("GET", f"{API}/metrics/get-history?run_id={'0' * 32}", None, 400, "INVALID_PARAMETER_VALUE"),
]


@pytest.mark.parametrize("method, path, body, status, code", ERRORS, ids=[f"{case[0]} {case[1][12:60]} {case[4]}" for case in ERRORS])
def test_errors(method, path, body, status, code):
    answered, answer = call(method, path, body)
    assert (answered, answer.get("error_code")) == (status, code), answer
    assert answer["message"]


def test_bodies_that_are_no_json():
    status, answer = call("POST", f"{API}/runs/create", b"{no json")
    assert (status, answer["error_code"]) == (400, "BAD_REQUEST" if not on_mlflow() else answer["error_code"]), answer
    status, _ = call("POST", f"{API}/runs/create", {"experiment_id": ["a"]})
    assert status == 400


@pytest.mark.skipif(on_mlflow(), reason="MLflow answers by an HTML page")
def test_unknown_endpoints():
    for path in [f"{API}/no-such-endpoint", "/api/2.0/other", "/api/9.0/mlflow/runs/get"]:
        for method in ["GET", "POST"]:
            status, answer = call(method, path, {} if method == "POST" else None)
            assert (status, answer["error_code"]) == (404, "ENDPOINT_NOT_FOUND"), answer


def test_a_run_by_hand():
    _, made = call("POST", f"{API}/experiments/create", {"name": unique("wire")})
    tags = [{"key": "a", "value": "b"}]
    status, made = call("POST", f"{API}/runs/create", {"experiment_id": made["experiment_id"], "start_time": "123", "tags": tags})
    info = made["run"]["info"]
    assert status == 200 and info["run_uuid"] == info["run_id"] and info["status"] == "RUNNING"
    assert int(info["start_time"]) == 123 and "end_time" not in info
    run_id = info["run_id"]
    assert call("POST", f"{API}/runs/log-metric", {"run_uuid": run_id, "key": "m", "value": 0.5, "timestamp": 1}) == (200, {})
    assert call("POST", f"{API}/runs/log-metric", {"run_id": run_id, "key": "n", "value": "NaN", "timestamp": 1}) == (200, {})
    assert call("POST", f"{API}/runs/log-parameter", {"run_id": run_id, "key": "p", "value": "x", "unknown": 1})[0] == 200
    _, answer = call("GET", f"{API}/runs/get?run_id={run_id}")
    data = answer["run"]["data"]
    assert data["params"] == [{"key": "p", "value": "x"}] and {"key": "a", "value": "b"} in data["tags"]
    metrics = {one["key"]: one["value"] for one in data["metrics"]}
    assert metrics["m"] == 0.5 and str(metrics["n"]).lower() == "nan"
    _, answer = call("POST", f"{API}/runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 456})
    assert answer["run_info"]["status"] == "FINISHED" and int(answer["run_info"]["end_time"]) == 456


@pytest.mark.skipif(on_mlflow(), reason="the reference server of these tests allows every host")
def test_foreign_hosts_are_refused():
    status, answer = call("GET", f"{API}/experiments/get?experiment_id=0", headers={"Host": "rebound.example.org"})
    assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED")
