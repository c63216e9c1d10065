import math
import sys

import mlflow
import pytest
from conftest import on_mlflow, refused
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from raw import call

LARGEST = sys.float_info.max


def test_params_never_change(client, run):
    mlflow.log_param("depth", 3)
    mlflow.log_param("depth", 3)
    mlflow.log_params({"rate": 0.1, "name": "ü", "long": "x" * 6000, "empty": ""})
    with refused("INVALID_PARAMETER_VALUE", "depth"):
        mlflow.log_param("depth", 5)
    params = client.get_run(run.info.run_id).data.params
    assert params == {"depth": "3", "rate": "0.1", "name": "ü", "long": "x" * 6000, "empty": ""}


def test_long_values_are_cut(client, run):
    mlflow.log_param("long", "x" * 6001)
    mlflow.set_tag("long", "y" * 8001)
    data = client.get_run(run.info.run_id).data
    assert data.params["long"] == "x" * 6000 and data.tags["long"] == "y" * 8000


def test_long_keys(client, run):
    key = "k" * 250
    mlflow.log_metric(key, 1)
    mlflow.log_param(key, 1)
    mlflow.set_tag(key, 1)
    data = client.get_run(run.info.run_id).data
    assert data.metrics[key] == 1 and data.params[key] == "1" and data.tags[key] == "1"
    for log in [mlflow.log_metric, mlflow.log_param, mlflow.set_tag]:
        with refused("INVALID_PARAMETER_VALUE"):
            log(key + "k", 1)


@pytest.mark.parametrize("name", ["a b", "a/b", "a.b-c_d", "ä", "a:b", "x/y/z"])
def test_names_that_are_fine(client, run_id, name):
    client.log_metric(run_id, name, 1)
    client.log_param(run_id, name, 1)
    client.set_tag(run_id, name, 1)
    data = client.get_run(run_id).data
    assert data.metrics[name] == 1 and data.params[name] == data.tags[name] == "1"


@pytest.mark.parametrize("name", ["../x", "/abs", "a//b", "..", ".", "a/../b", "a/", "./a", "a\\b", "a,b", "a;b", "a=b", "a\nb"])
def test_names_that_are_not(run_id, name):
    body = {"run_id": run_id, "key": name, "value": 1.0, "timestamp": 1}
    for endpoint, value in [("log-metric", 1.0), ("log-parameter", "1"), ("set-tag", "1")]:
        status, answer = call("POST", f"/api/2.0/mlflow/runs/{endpoint}", {**body, "value": value})
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), (endpoint, answer)
    batch = {"run_id": run_id, "params": [{"key": "fine", "value": "1"}, {"key": name, "value": "1"}]}
    assert call("POST", "/api/2.0/mlflow/runs/log-batch", batch)[0] == 400
    assert mlflow.get_run(run_id).data.params == {}


def test_tags(client, run):
    mlflow.set_tags({"stage": "a", "other": "x"})
    mlflow.set_tag("stage", "b")
    mlflow.delete_tag("other")
    tags = client.get_run(run.info.run_id).data.tags
    assert tags["stage"] == "b" and "other" not in tags
    with refused("RESOURCE_DOES_NOT_EXIST", "other"):
        mlflow.delete_tag("other")


def test_metrics_keep_their_latest(client, run_id):
    for step, at, value in [(0, 10, 0.5), (2, 5, 0.7), (2, 6, 0.1), (2, 6, 0.2), (1, 99, 0.6)]:
        client.log_metric(run_id, "auc", value, timestamp=at, step=step)
    client.log_metric(run_id, "loss", 0.25, step=-1)
    data = client.get_run(run_id).data
    assert data.metrics == {"auc": 0.2, "loss": 0.25}
    history = client.get_metric_history(run_id, "auc")
    assert [(one.timestamp, one.step, one.value) for one in history] == [
        (5, 2, 0.7), (6, 2, 0.1), (6, 2, 0.2), (10, 0, 0.5), (99, 1, 0.6),
    ]
    assert client.get_metric_history(run_id, "none") == []


def test_duplicates_are_stored_once(client, run_id):
    for _ in range(3):
        client.log_metric(run_id, "m", 1.5, timestamp=7, step=3)
    client.log_batch(run_id, metrics=[Metric("m", 1.5, 7, 3), Metric("m", 1.5, 7, 3), Metric("m", 2.5, 7, 3)])
    assert [one.value for one in client.get_metric_history(run_id, "m")] == [1.5, 2.5]


def test_what_is_no_finite_number(client, run_id):
    for step, value in enumerate([math.nan, math.inf, -math.inf]):
        client.log_metric(run_id, "m", value, step=step, timestamp=step + 1)
    values = [point.value for point in client.get_metric_history(run_id, "m")]
    assert math.isnan(values[0]) and values[1:] == [LARGEST, -LARGEST]
    client.log_metric(run_id, "n", math.nan)
    metrics = client.get_run(run_id).data.metrics
    assert math.isnan(metrics["n"]) and metrics["m"] == -LARGEST


@pytest.mark.parametrize("value", [0.1, 1e-300, -1.7976931348623157e308, 123456789.123456789, 5e-324, -0.0])
def test_numbers_come_back_exactly(client, run_id, value):
    client.log_metric(run_id, "m", value, step=2**53 + 1, timestamp=2**53 + 3)
    [point] = client.get_metric_history(run_id, "m")
    assert (point.value, point.step, point.timestamp) == (value, 2**53 + 1, 2**53 + 3)


@pytest.mark.parametrize("value", ["abc", None, "x1"])
def test_no_numbers_are_refused(run_id, value):
    body = {"run_id": run_id, "key": "m", "value": value, "timestamp": 1}
    status, answer = call("POST", "/api/2.0/mlflow/runs/log-metric", body)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer


def test_integers_as_text(client, run_id):
    body = {"run_id": run_id, "key": "m", "value": 1, "timestamp": "12", "step": "34"}
    assert call("POST", "/api/2.0/mlflow/runs/log-metric", body) == (200, {})
    [point] = client.get_metric_history(run_id, "m")
    assert (point.timestamp, point.step) == (12, 34)


def test_batches(client, run_id):
    client.log_batch(run_id, metrics=[Metric(f"m{n % 7}", n, n, n) for n in range(1000)])
    params = [Param(f"p{n}", str(n)) for n in range(100)]
    tags = [RunTag(f"t{n}", str(n)) for n in range(100)]
    client.log_batch(run_id, params=params, tags=tags)
    client.log_batch(run_id, params=params)
    data = client.get_run(run_id).data
    assert data.params["p99"] == "99" and data.tags["t99"] == "99" and data.metrics["m0"] == 994
    assert len(client.get_metric_history(run_id, "m3")) == 143


@pytest.mark.parametrize("metrics, params, tags", [(1001, 0, 0), (0, 101, 0), (0, 0, 101), (900, 60, 60)])
def test_batches_too_large_write_nothing(client, run_id, metrics, params, tags):
    batch = {
        "run_id": run_id,
        "metrics": [{"key": "m", "value": 1, "timestamp": n, "step": n} for n in range(metrics)],
        "params": [{"key": f"p{n}", "value": "1"} for n in range(params)],
        "tags": [{"key": f"t{n}", "value": "1"} for n in range(tags)],
    }
    status, answer = call("POST", "/api/2.0/mlflow/runs/log-batch", batch)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer
    data = client.get_run(run_id).data
    assert data.metrics == {} and data.params == {} and "t0" not in data.tags


@pytest.mark.skipif(on_mlflow(), reason="documented by MLflow, but it counts the keys of the request, not its bytes")
def test_many_long_values_that_python_writes_longer(client, run):
    mlflow.log_params({f"p{n}": "ä" * 6000 for n in range(100)})
    mlflow.set_tags({f"t{n}": "😀" * 8000 for n in range(100)})
    data = client.get_run(run.info.run_id).data
    assert all(data.params[f"p{n}"] == "ä" * 6000 and data.tags[f"t{n}"] == "😀" * 8000 for n in range(100))


@pytest.mark.skipif(on_mlflow(), reason="MLflow keeps it on SQLite and fails on PostgreSQL")
def test_a_nul_is_refused(client, experiment, run_id):
    for write in (client.set_tag, client.log_param):
        with pytest.raises(MlflowException) as refused:
            write(run_id, "k", "a\0b")
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    status, _ = call("GET", "/api/3.0/mlflow/traces/a%00b")
    assert status in (400, 404)


def test_metrics_name_whole_datasets(client, run_id):
    metric = {"run_id": run_id, "key": "m", "value": 1, "timestamp": 1, "dataset_name": "d"}
    status, answer = call("POST", "/api/2.0/mlflow/runs/log-metric", metric)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer
    status, answer = call("POST", "/api/2.0/mlflow/runs/log-batch", {"run_id": run_id, "metrics": [metric]})
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer
    assert call("POST", "/api/2.0/mlflow/runs/log-metric", {**metric, "dataset_digest": "g"}) == (200, {})


def test_absent_runs_have_no_history(client):
    assert client.get_metric_history("0" * 32, "m") == []


def test_a_batch_over_a_megabyte(client, run_id):
    batch = {"run_id": run_id, "tags": [{"key": f"t{n}", "value": "x" * 20_000} for n in range(60)]}
    status, answer = call("POST", "/api/2.0/mlflow/runs/log-batch", batch)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer
    assert "t0" not in client.get_run(run_id).data.tags


def test_a_refused_batch_writes_nothing(client, run_id):
    client.log_param(run_id, "p", "1")
    with refused("INVALID_PARAMETER_VALUE", "p"):
        client.log_batch(run_id, metrics=[Metric("m", 1, 1, 1)], params=[Param("q", "1"), Param("p", "2")], tags=[RunTag("t", "1")])
    with refused("INVALID_PARAMETER_VALUE"):
        client.log_batch(run_id, params=[Param("r", "1"), Param("r", "2")])
    data = client.get_run(run_id).data
    assert data.params == {"p": "1"} and data.metrics == {} and "t" not in data.tags


def test_histories_of_many_pages(client, run_id):
    for begin in range(0, 3_000, 1_000):
        points = [Metric("m", step / 7, 1_000_000 + step, step) for step in range(begin, begin + 1_000)]
        client.log_batch(run_id, metrics=points)
    history = client.get_metric_history(run_id, "m")
    assert [point.step for point in history] == list(range(3_000)) and history[2_999].value == 2_999 / 7
    page = "/api/2.0/mlflow/metrics/get-history?run_id={}&metric_key=m&max_results=1700".format(run_id)
    status, first = call("GET", page)
    assert status == 200 and len(first["metrics"]) == 1700 and first["next_page_token"]
    _, second = call("GET", f"{page}&page_token={first['next_page_token']}")
    assert len(second["metrics"]) == 1300 and not second.get("next_page_token")
    assert second["metrics"][0]["step"] in (1700, "1700")


def test_histories_in_bulk(client, experiment):
    runs = [client.create_run(experiment.experiment_id).info.run_id for _ in range(2)]
    for offset, run in enumerate(runs):
        client.log_batch(run, metrics=[Metric("m", step + offset, step, step) for step in range(1000)])
    query = "&".join(f"run_id={run}" for run in runs)
    status, answer = call("GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{query}&metric_key=m&max_results=1500")
    assert status == 200 and len(answer["metrics"]) == 1500
    assert {point["run_id"] for point in answer["metrics"]} == set(runs)
    query = "&".join(f"run_ids={run}" for run in runs)
    path = f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?{query}&metric_key=m"
    status, answer = call("GET", f"{path}&start_step=100&end_step=899&max_results=50")
    assert status == 200
    for run in runs:
        steps = [int(point["step"]) for point in answer["metrics"] if point["run_id"] == run]
        assert 100 in steps and 899 in steps and 25 <= len(steps) <= 60, steps
        assert steps == sorted(steps) and min(steps) == 100 and max(steps) == 899
    assert call("GET", f"{path}&start_step=10&end_step=5")[0] == 400
    assert call("GET", f"{path}&max_results=0")[0] == 400


def test_numbers_of_whole_structures(client, run):
    mlflow.log_params({"a": {"b": [1, 2]}, "none": None, "yes": True})
    assert client.get_run(run.info.run_id).data.params == {"a": "{'b': [1, 2]}", "none": "None", "yes": "True"}
