"""MLflow's own Python client against Ropewalk's tracking API.

Needs a running server: MLFLOW_TRACKING_URI, and MLFLOW_TRACKING_TOKEN if it asks for one.
"""

import json
import math
import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid

import pytest

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
URI = os.environ["MLFLOW_TRACKING_URI"]

import mlflow  # noqa: E402  the variables above are read at import
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param, RunTag, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

LARGEST = sys.float_info.max


@pytest.fixture(scope="module")
def experiment():
    name = f"experiment {uuid.uuid4().hex}"
    return mlflow.set_experiment(name)


@pytest.fixture
def client(experiment):
    return MlflowClient()


@pytest.fixture
def run(experiment):
    with mlflow.start_run() as run:
        yield run


def test_experiments_are_found_by_id_and_name(client, experiment):
    assert experiment.lifecycle_stage == "active"
    assert client.get_experiment(experiment.experiment_id).name == experiment.name
    assert client.get_experiment_by_name(experiment.name).experiment_id == experiment.experiment_id
    assert client.get_experiment_by_name("no such experiment") is None
    assert client.get_experiment("0").name == "Default"
    names = [found.name for found in mlflow.search_experiments()]
    assert experiment.name in names and "Default" in names
    client.set_experiment_tag(experiment.experiment_id, "team", "weather")
    assert client.get_experiment(experiment.experiment_id).tags["team"] == "weather"
    with pytest.raises(MlflowException) as error:
        client.create_experiment(experiment.name)
    assert error.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_a_run_from_beginning_to_end(client, experiment):
    with mlflow.start_run(run_name="first", tags={"a": "b"}, description="a note") as run:
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
    ended = client.get_run(run.info.run_id)
    assert ended.info.status == "FINISHED"
    assert ended.info.end_time >= ended.info.start_time
    assert ended.info.run_name == ended.data.tags["mlflow.runName"] == "first"
    assert ended.data.tags["a"] == "b"
    assert ended.info.experiment_id == experiment.experiment_id
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as failed:
        1 / 0
    assert client.get_run(failed.info.run_id).info.status == "FAILED"


def test_unnamed_runs_get_a_name_and_can_be_renamed(client, run):
    adjective, noun, number = run.info.run_name.split("-")
    assert adjective and noun and number.isdigit()
    mlflow.set_tag("mlflow.runName", "tagged")
    assert client.get_run(run.info.run_id).info.run_name == "tagged"
    client.update_run(run.info.run_id, name="renamed")
    assert client.get_run(run.info.run_id).data.tags["mlflow.runName"] == "renamed"


def test_nested_runs_know_their_parent(client, run):
    with mlflow.start_run(nested=True) as child:
        mlflow.log_param("depth", 3)
    assert client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == run.info.run_id
    assert client.get_parent_run(child.info.run_id).info.run_id == run.info.run_id


def test_a_child_process_resumes_the_run_of_its_environment(client, experiment):
    run = client.create_run(experiment.experiment_id)
    script = "import mlflow\nwith mlflow.start_run():\n    mlflow.log_param('from', 'child')\n    mlflow.log_metric('m', 1)"
    environment = {**os.environ, "MLFLOW_RUN_ID": run.info.run_id}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=120)
    found = client.get_run(run.info.run_id)
    assert found.data.params == {"from": "child"} and found.data.metrics == {"m": 1}
    assert found.info.status == "FINISHED"


def test_params_never_change(client, run):
    mlflow.log_param("depth", 3)
    mlflow.log_param("depth", 3)
    mlflow.log_params({"rate": 0.1, "name": "ü", "long": "x" * 6000})
    with pytest.raises(MlflowException) as error:
        mlflow.log_param("depth", 5)
    assert error.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "depth" in error.value.message and "`3`" in error.value.message and "`5`" in error.value.message
    params = client.get_run(run.info.run_id).data.params
    assert params == {"depth": "3", "rate": "0.1", "name": "ü", "long": "x" * 6000}


def test_metrics_keep_their_history_and_their_latest(client, run):
    for step, value in [(0, 0.5), (2, 0.7), (1, 0.6)]:
        mlflow.log_metric("auc", value, step=step)
    mlflow.log_metrics({"loss": 0.25, "val/loss": 0.5}, step=-1)
    metrics = client.get_run(run.info.run_id).data.metrics
    assert metrics == {"auc": 0.7, "loss": 0.25, "val/loss": 0.5}
    history = client.get_metric_history(run.info.run_id, "auc")
    assert [(point.step, point.value) for point in history] == [(0, 0.5), (2, 0.7), (1, 0.6)]
    assert client.get_metric_history(run.info.run_id, "none") == []


def test_what_is_no_finite_number(client, run):
    for step, value in enumerate([math.nan, math.inf, -math.inf]):
        mlflow.log_metric("m", value, step=step, timestamp=step + 1)
    values = [point.value for point in client.get_metric_history(run.info.run_id, "m")]
    assert math.isnan(values[0]) and values[1:] == [LARGEST, -LARGEST]
    mlflow.log_metric("n", math.nan)
    assert math.isnan(client.get_run(run.info.run_id).data.metrics["n"])


def test_batches_and_histories_of_many_pages(client, run):
    run_id = run.info.run_id
    for begin in range(0, 30_000, 1_000):
        points = [Metric("m", step / 7, 1_000_000 + step, step) for step in range(begin, begin + 1_000)]
        client.log_batch(run_id, metrics=points)
    history = client.get_metric_history(run_id, "m")
    assert [point.step for point in history] == list(range(30_000))
    assert history[29_999].value == 29_999 / 7
    params = [Param(f"p{n}", str(n)) for n in range(100)]
    tags = [RunTag(f"t{n}", str(n)) for n in range(100)]
    client.log_batch(run_id, params=params, tags=tags)
    data = client.get_run(run_id).data
    assert data.params["p99"] == "99" and data.tags["t99"] == "99"


def test_a_refused_batch_writes_nothing(client, run):
    run_id = run.info.run_id
    client.log_param(run_id, "p", "1")
    with pytest.raises(MlflowException):
        client.log_batch(run_id, metrics=[Metric("m", 1, 1, 1)], params=[Param("q", "1"), Param("p", "2")])
    data = client.get_run(run_id).data
    assert data.params == {"p": "1"} and data.metrics == {}


def test_tags_are_set_again_and_deleted(client, run):
    mlflow.set_tags({"stage": "a", "other": "x"})
    mlflow.set_tag("stage", "b")
    mlflow.delete_tag("other")
    tags = client.get_run(run.info.run_id).data.tags
    assert tags["stage"] == "b" and "other" not in tags
    with pytest.raises(MlflowException) as error:
        mlflow.delete_tag("other")
    assert error.value.error_code == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize("name", ["../x", "/abs", "a//b", "..", "a/../b", "a\\b"])
def test_names_cannot_climb(client, run, name):
    body = {"run_id": run.info.run_id, "key": name, "value": "1", "timestamp": 1}
    for endpoint in ["log-metric", "log-parameter", "set-tag"]:
        status, answer = call("POST", f"/api/2.0/mlflow/runs/{endpoint}", body)
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), endpoint


def test_artifacts_of_all_kinds_come_back(client, run, tmp_path):
    run_id = run.info.run_id
    large = os.urandom(1 << 20) * 5
    (tmp_path / "large.bin").write_bytes(large)
    (tmp_path / "a name with ü.txt").write_text("ü")
    (tmp_path / "empty").write_bytes(b"")
    mlflow.log_artifact(tmp_path / "large.bin", "deep/down")
    mlflow.log_artifacts(tmp_path, "all")
    mlflow.log_dict({"a": [1, 2]}, "config/a.json")
    mlflow.log_text("text", "notes.txt")
    mlflow.log_text("text again", "notes.txt")
    listed = {file.path: file for file in client.list_artifacts(run_id)}
    assert set(listed) == {"all", "config", "deep", "notes.txt"}
    assert listed["deep"].is_dir and listed["notes.txt"].file_size == len("text again")
    assert [file.path for file in client.list_artifacts(run_id, "deep/down")] == ["deep/down/large.bin"]
    assert client.list_artifacts(run_id, "notes.txt") == []
    target = client.download_artifacts(run_id, "", str(tmp_path / "back"))
    assert (tmp_path / "back/deep/down/large.bin").read_bytes() == large
    assert (tmp_path / "back/all/a name with ü.txt").read_text() == "ü"
    assert (tmp_path / "back/all/empty").read_bytes() == b""
    assert os.path.isdir(target)
    assert mlflow.artifacts.load_dict(f"runs:/{run_id}/config/a.json") == {"a": [1, 2]}
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes.txt") == "text again"
    single = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="notes.txt", dst_path=tmp_path / "one")
    assert open(single).read() == "text again"


def test_figures_come_back_as_pictures(client, run):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot([0, 1], [1, 0])
    mlflow.log_figure(figure, "plots/line.png")
    [picture] = client.list_artifacts(run.info.run_id, "plots")
    assert picture.path == "plots/line.png" and picture.file_size > 1_000


def test_artifacts_cannot_climb(run):
    root = f"/api/2.0/mlflow-artifacts/artifacts/{run.info.experiment_id}/{run.info.run_id}/artifacts"
    for path in ["..%2f..%2fx", "%2e%2e/x", "%252e%252e%252fx", "a/%2e%2e/%2e%2e/x", "a%5c..%5cx", "%2fetc/passwd"]:
        for method in ["PUT", "GET", "DELETE"]:
            status, answer = call(method, f"{root}/{path}")
            assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), (method, path)


def test_searches_are_newest_first_and_paged(client):
    experiment_id = client.create_experiment(f"search {uuid.uuid4().hex}")
    ids = [client.create_run(experiment_id, start_time=start).info.run_id for start in [30, 10, 20]]
    client.log_metric(ids[0], "m", 0.5)
    client.log_param(ids[0], "p", "x")
    newest_first = [ids[0], ids[2], ids[1]]
    page = client.search_runs([experiment_id], max_results=2)
    rest = client.search_runs([experiment_id], max_results=2, page_token=page.token)
    assert [run.info.run_id for run in [*page, *rest]] == newest_first and not rest.token
    found = mlflow.search_runs([experiment_id], output_format="list")
    assert found[0].data.metrics == {"m": 0.5} and found[0].data.params == {"p": "x"}
    assert client.search_runs([]) == []
    client.delete_run(ids[1])
    assert len(client.search_runs([experiment_id])) == 2
    assert len(client.search_runs([experiment_id], run_view_type=ViewType.ALL)) == 3
    with pytest.raises(MlflowException):
        client.log_param(ids[1], "p", "x")
    client.restore_run(ids[1])
    client.log_param(ids[1], "p", "x")


def test_a_filter_is_refused_not_ignored(client, experiment):
    with pytest.raises(MlflowException) as error:
        client.search_runs([experiment.experiment_id], filter_string="metrics.auc > 0.5")
    assert error.value.error_code == "INVALID_PARAMETER_VALUE"


def test_what_is_absent_is_an_error_in_mlflows_shape(client):
    with pytest.raises(MlflowException) as error:
        client.get_run("0" * 32)
    assert error.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    status, answer = call("GET", "/api/2.0/mlflow/no-such-endpoint")
    assert (status, answer["error_code"]) == (404, "ENDPOINT_NOT_FOUND")


def test_the_token_is_asked_for():
    if not os.environ.get("MLFLOW_TRACKING_TOKEN"):
        # Without a token the server must answer without one.
        assert call("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", token=None)[0] == 200
        return
    for token in [None, "wrong"]:
        status, answer = call("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", token=token)
        assert (status, answer["error_code"]) == (401, "UNAUTHENTICATED")


def test_foreign_hosts_are_refused():
    status, answer = call("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", host="rebound.example.org")
    assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED")


def call(method, path, body=None, token=os.environ.get("MLFLOW_TRACKING_TOKEN"), host=None):
    """Status and JSON body of a request made without MLflow's client."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if host:
        headers["Host"] = host
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(URI.rstrip("/") + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
