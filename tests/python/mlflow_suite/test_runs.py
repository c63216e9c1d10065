import os
import subprocess
import sys
import time

import mlflow
import pytest
from conftest import refused, unique
from mlflow.entities import RunStatus, ViewType


def test_a_run_from_beginning_to_end(client, experiment):
    with mlflow.start_run(run_name="first", tags={"a": "b"}, description="a note") as run:
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
        assert len(run.info.run_id) == 32 and int(run.info.run_id, 16) >= 0
        assert run.info.artifact_uri
    ended = client.get_run(run.info.run_id)
    assert ended.info.status == "FINISHED" and ended.info.end_time >= ended.info.start_time
    assert ended.info.run_name == ended.data.tags["mlflow.runName"] == "first"
    assert ended.data.tags["a"] == "b" and ended.data.tags["mlflow.note.content"] == "a note"
    assert ended.info.experiment_id == experiment.experiment_id
    assert ended.data.tags["mlflow.user"] == ended.info.user_id
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as failed:
        1 / 0
    assert client.get_run(failed.info.run_id).info.status == "FAILED"
    assert mlflow.last_active_run().info.run_id == failed.info.run_id


def test_names(client, run):
    adjective, noun, number = run.info.run_name.split("-")
    assert adjective and noun and number.isdigit()
    mlflow.set_tag("mlflow.runName", "tagged")
    assert client.get_run(run.info.run_id).info.run_name == "tagged"
    client.update_run(run.info.run_id, name="renamed")
    assert client.get_run(run.info.run_id).data.tags["mlflow.runName"] == "renamed"
    client.update_run(run.info.run_id, status="SCHEDULED")
    changed = client.get_run(run.info.run_id).info
    assert (changed.status, changed.run_name) == ("SCHEDULED", "renamed")


def test_a_run_with_everything_given(client, experiment):
    made = client.create_run(
        experiment.experiment_id, start_time=12345, tags={"x": "y", "mlflow.user": "someone"}, run_name="given"
    )
    assert (made.info.start_time, made.info.run_name) == (12345, "given")
    assert made.info.end_time is None and made.info.lifecycle_stage == "active"
    client.set_terminated(made.info.run_id, "KILLED", end_time=23456)
    ended = client.get_run(made.info.run_id).info
    assert (ended.status, ended.end_time) == ("KILLED", 23456)
    assert RunStatus.is_terminated(RunStatus.from_string(ended.status))


def test_names_that_disagree_are_refused(client, experiment):
    with refused("INVALID_PARAMETER_VALUE"):
        client.create_run(experiment.experiment_id, run_name="a", tags={"mlflow.runName": "b"})


def test_deleted_runs(client, experiment, run_id):
    client.delete_run(run_id)
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    refusals = [
        lambda: client.log_metric(run_id, "m", 1),
        lambda: client.log_param(run_id, "p", 1),
        lambda: client.set_tag(run_id, "t", 1),
        lambda: client.delete_tag(run_id, "mlflow.runName"),
        lambda: client.log_batch(run_id, tags=[mlflow.entities.RunTag("a", "b")]),
        lambda: client.update_run(run_id, "RUNNING"),
    ]
    for refusal in refusals:
        with refused("INVALID_PARAMETER_VALUE"):
            refusal()
    where = [experiment.experiment_id]
    listed = {view: {run.info.run_id for run in client.search_runs(where, run_view_type=view)} for view in (1, 2, 3)}
    assert run_id not in listed[ViewType.ACTIVE_ONLY]
    assert run_id in listed[ViewType.DELETED_ONLY] and run_id in listed[ViewType.ALL]
    client.restore_run(run_id)
    client.log_param(run_id, "p", 1)


def test_absent_runs(client):
    for call in [client.get_run, client.delete_run, client.restore_run, client.set_terminated]:
        with refused("RESOURCE_DOES_NOT_EXIST", "0" * 32):
            call("0" * 32)
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.log_metric("0" * 32, "m", 1)
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.create_run("99999999")


def test_nested_runs(client, run, experiment):
    with mlflow.start_run(nested=True, run_name="child") as child:
        with mlflow.start_run(nested=True) as grandchild:
            mlflow.log_param("depth", 3)
    assert client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == run.info.run_id
    assert client.get_parent_run(grandchild.info.run_id).info.run_id == child.info.run_id
    assert client.get_parent_run(run.info.run_id) is None
    with pytest.raises(Exception, match="already active"):
        mlflow.start_run()
    found = mlflow.search_runs(
        [experiment.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'", output_format="list"
    )
    assert [one.info.run_id for one in found] == [child.info.run_id]


CHILD = """
import os, sys, mlflow
with mlflow.start_run(run_id=os.environ["SHARED_RUN"]):
    for step in range(20):
        mlflow.log_metric("of " + sys.argv[1], step, step=step)
    mlflow.log_param("p" + sys.argv[1], sys.argv[1])
with mlflow.start_run(experiment_id=os.environ["SHARED_EXPERIMENT"], run_name="child " + sys.argv[1], parent_run_id=os.environ["SHARED_RUN"]):
    mlflow.log_text(sys.argv[1], "who.txt")
"""


def test_parallel_child_processes(client, experiment, run_id):
    environment = {**os.environ, "SHARED_RUN": run_id, "SHARED_EXPERIMENT": experiment.experiment_id}
    children = [subprocess.Popen([sys.executable, "-c", CHILD, str(n)], env=environment) for n in range(3)]
    assert [child.wait(timeout=180) for child in children] == [0, 0, 0]
    data = client.get_run(run_id).data
    assert data.params == {"p0": "0", "p1": "1", "p2": "2"}
    assert data.metrics == {"of 0": 19, "of 1": 19, "of 2": 19}
    assert [point.value for point in client.get_metric_history(run_id, "of 1")] == list(range(20))
    runs = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'")
    texts = [mlflow.artifacts.load_text(f"runs:/{one.info.run_id}/who.txt") for one in runs]
    assert sorted(texts) == ["0", "1", "2"]


def test_system_metrics(client, experiment):
    mlflow.set_system_metrics_sampling_interval(0.2)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(log_system_metrics=True) as run:
        deadline = time.monotonic() + 30
        while "system/cpu_utilization_percentage" not in client.get_run(run.info.run_id).data.metrics:
            assert time.monotonic() < deadline, "no system metric came"
            time.sleep(0.1)
    metrics = client.get_run(run.info.run_id).data.metrics
    assert 0 < metrics["system/system_memory_usage_percentage"] < 100
    mlflow.set_system_metrics_sampling_interval(None)
    mlflow.set_system_metrics_samples_before_logging(None)


def test_asynchronous_logging(client, experiment):
    with mlflow.start_run() as run:
        waits = [mlflow.log_metric("m", step, step=step, synchronous=False) for step in range(50)]
        waits.append(mlflow.log_params({"a": 1, "b": 2}, synchronous=False))
        waits.append(mlflow.set_tags({"t": "x"}, synchronous=False))
        for wait in waits:
            wait.wait()
    data = client.get_run(run.info.run_id).data
    assert len(client.get_metric_history(run.info.run_id, "m")) == 50
    assert data.params == {"a": "1", "b": "2"} and data.tags["t"] == "x"


def test_frames_of_runs(client):
    made = client.create_experiment(unique("frame"))
    for n in range(3):
        run = client.create_run(made, start_time=n + 1)
        client.log_param(run.info.run_id, "p", n)
        client.log_metric(run.info.run_id, "m", n / 2)
    frame = mlflow.search_runs([made], order_by=["metrics.m ASC"])
    assert list(frame["params.p"]) == ["0", "1", "2"] and list(frame["metrics.m"]) == [0, 0.5, 1]
    assert mlflow.search_runs([made], "params.p = 'no'").empty
