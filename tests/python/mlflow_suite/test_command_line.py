"""The `mlflow` command, as people and their scripts call it."""

import csv
import io
import os
import subprocess
import sys

import mlflow
from click.testing import CliRunner
from conftest import unique
from mlflow.cli import cli


def mlflow_command(*arguments, code=0):
    # What the fluent calls of this process have set must not reach it.
    environment = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")}
    done = subprocess.run([sys.executable, "-m", "mlflow", *arguments], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def within(*arguments, code=0):
    """The same command without the seconds that a new interpreter takes."""
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, done.output
    return done.output


def test_runs(client, experiment, tmp_path):
    name = unique("listed")
    with mlflow.start_run(run_name=name) as run:
        mlflow.log_text("from the server", "notes/a.txt")
    listed = mlflow_command("runs", "list", "--experiment-id", experiment.experiment_id)
    assert name in listed and run.info.run_id in listed
    described = within("runs", "describe", "--run-id", run.info.run_id)
    assert run.info.run_id in described
    found = within("artifacts", "list", "--run-id", run.info.run_id)
    assert '"notes"' in found
    target = tmp_path / "here"
    mlflow_command("artifacts", "download", "--run-id", run.info.run_id, "--artifact-path", "notes", "--dst-path", str(target))
    assert (target / "notes/a.txt").read_text() == "from the server"
    (tmp_path / "up.txt").write_text("up")
    within("artifacts", "log-artifact", "--local-file", str(tmp_path / "up.txt"), "--run-id", run.info.run_id)
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/up.txt") == "up"


def test_experiments(client, tmp_path):
    name = unique("by command")
    within("experiments", "create", "--experiment-name", name)
    made = client.get_experiment_by_name(name).experiment_id
    assert name in mlflow_command("experiments", "search")
    run = client.create_run(made).info.run_id
    client.log_metric(run, "m", 0.5)
    table = tmp_path / "runs.csv"
    within("experiments", "csv", "--experiment-id", made, "--filename", str(table))
    [row] = csv.DictReader(io.StringIO(table.read_text()))
    assert row["run_id"] == run and row["metrics.m"] == "0.5"
    within("experiments", "delete", "--experiment-id", made)
    assert client.get_experiment(made).lifecycle_stage == "deleted"
    within("runs", "describe", "--run-id", "0" * 32, code=1)
