"""An MLflow without a server, filled by its own client, and the proof that another place has all of it.

    mlflow_filled.py fill db|files FOLDER    prints where it is
    mlflow_filled.py check URI FOLDER        asks the server, or the folder `mlruns` that MLflow reads itself, for everything
    mlflow_filled.py check URI FOLDER plain  for everything but traces, which no folder that was exported has
"""

import json
import math
import os
import pathlib
import sys

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
# MLflow keeps the folders alive for whoever has them still.
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

import mlflow  # noqa: E402  the variables above are read at import
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, ViewType  # noqa: E402


def fill(kind, folder):
    folder = pathlib.Path(folder).resolve()
    if kind == "db":
        place, uri = folder / "mlflow.db", f"sqlite:///{folder}/mlflow.db"
    else:
        place, uri = folder / "mlruns", f"file://{folder}/mlruns"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    client = MlflowClient()
    files = {"artifact_location": f"file://{folder}/files"} if kind == "db" else {}
    first = client.create_experiment("first", tags={"team": "weather"}, **files)
    gone = client.create_experiment("gone")
    runs = [full_run(client, first, number) for number in range(3)]
    client.delete_run(runs[2])
    lost = client.create_run(gone).info.run_id
    client.delete_experiment(gone)
    models = logged_models(client, first, runs[0])
    registered(client, runs, models)
    prompts(client)
    told = {"experiments": [first, gone], "runs": [*runs, lost], "models": models, "traces": [trace(client, first)]}
    told["seen"] = seen(client, told)
    (folder / "told.json").write_text(json.dumps(told, indent=1, sort_keys=True))
    print(place)


def full_run(client, experiment, number):
    tags = {"kind": f"k{number}", "mlflow.user": "ada", "long": "x" * 5000}
    run = client.create_run(experiment, start_time=1_000 + number, run_name=f"run {number}", tags=tags).info.run_id
    points = [Metric("loss", 1 / (n + 1), 5_000 + n, n) for n in range(1_000)]
    client.log_batch(run, points)
    points = [Metric("odd/name with space", value, 7, step) for step, value in enumerate([math.nan, math.inf, -math.inf, -0.5])]
    client.log_batch(run, points)
    client.log_param(run, "depth", number)
    client.log_param(run, "text", "several\nlines: ü # 'x'")
    client.log_param(run, "in/folder", "")
    data = Dataset("wine", f"digest{number}", "local", '{"uri": "x"}', '{"a": 1}', None)
    client.log_inputs(run, [DatasetInput(data, [InputTag("mlflow.data.context", "train")])])
    client.log_text(run, "top", "notes.txt")
    client.log_text(run, f"deep {number}", "a/b/ü c.txt")
    client.log_text(run, "", "a/empty")
    client.set_terminated(run, ["FINISHED", "FAILED", "KILLED"][number], end_time=9_000 + number)
    return run


def logged_models(client, experiment, run):
    models = []
    for name in ["one", "two"]:
        model = client.create_logged_model(experiment, name, run, tags={"t": name}, params={"p": "1"}, model_type="kind")
        path = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"filled-{os.getpid()}" / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "MLmodel").write_text(f"flavors: {{}}\nmodel_id: {model.model_id}\n")
        client.log_model_artifacts(model.model_id, str(path))
        client.finalize_logged_model(model.model_id, "READY")
        models.append(model.model_id)
    client.log_batch(run, [Metric("auc", 0.75, 11, 2, model_id=models[0])])
    client.log_outputs(run, [LoggedModelOutput(models[0], 4)])
    return models


def registered(client, runs, models):
    client.create_registered_model("weather model", tags={"a": "b"}, description="of the weather")
    artifacts = client.get_run(runs[0]).info.artifact_uri
    for number in range(3):
        client.create_model_version("weather model", f"{artifacts}/a", runs[0], tags={"n": str(number)}, description=f"d{number}")
    client.create_model_version("weather model", f"models:/{models[0]}", runs[0], model_id=models[0])
    client.set_registered_model_alias("weather model", "champion", "2")
    client.transition_model_version_stage("weather model", "1", "Production")
    client.delete_model_version("weather model", "3")
    client.create_registered_model("empty one")


def prompts(client):
    for number, template in enumerate(["Hello {{name}}", "Good day, {{name}}: ü"]):
        client.register_prompt("greeting", template, commit_message=f"c{number}", tags={"n": str(number)})
    client.set_prompt_alias("greeting", "live", 1)


def trace(client, experiment):
    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_span("outer", span_type="CHAIN", attributes={"of": "test"}) as outer:
        outer.set_inputs({"question": "ü?"})
        with mlflow.start_span("inner") as inner:
            inner.set_outputs([1, 2.5, None])
        outer.set_outputs({"answer": 42})
    client.set_trace_tag(outer.trace_id, "kind", "asked")
    mlflow.log_feedback(trace_id=outer.trace_id, name="good", value=True, rationale="it is")
    mlflow.log_expectation(trace_id=outer.trace_id, name="expected", value={"answer": 42})
    return outer.trace_id


def number(value):
    """NaN equals itself, and infinities are what MLflow's server makes of them."""
    return str(max(-sys.float_info.max, min(value, sys.float_info.max))) if not math.isnan(value) else "nan"


def seen(client, told):
    """Everything that a client can see, without where it is kept."""
    found = {"experiments": {}, "runs": {}, "models": {}, "registered": {}, "traces": {}, "prompts": {}}
    for one in told["experiments"]:
        experiment = client.get_experiment(one)
        own = {key: value for key, value in experiment.tags.items() if not key.startswith("mlflow.")}
        found["experiments"][one] = [experiment.name, experiment.lifecycle_stage, experiment.creation_time, own]
    for one in told["runs"]:
        found["runs"][one] = run_seen(client, one)
    for one in told["models"]:
        model = client.get_logged_model(one)
        folder = pathlib.Path(mlflow.artifacts.download_artifacts(f"models:/{one}"))
        files = {path.name: path.read_text() for path in folder.iterdir() if path.name == "MLmodel"}
        found["models"][one] = {
            "is": [model.name, model.experiment_id, model.source_run_id, str(model.status), model.model_type, model.creation_timestamp],
            "params": model.params,
            "tags": {key: value for key, value in model.tags.items() if not key.startswith("mlflow.")},
            "metrics": sorted([one.key, number(one.value), one.step, one.timestamp, one.run_id] for one in model.metrics or []),
            "files": files,
        }
    # Over HTTP no description is an empty one.
    for one in client.search_registered_models():
        if one.name not in ("weather model", "empty one"):
            continue
        versions = {}
        for version in client.search_model_versions(f"name = '{one.name}'"):
            full = client.get_model_version(one.name, version.version)
            versions[str(full.version)] = [full.run_id, full.current_stage, full.description or "", full.tags, sorted(full.aliases), full.creation_timestamp]
        aliases = {alias: str(version) for alias, version in client.get_registered_model(one.name).aliases.items()}
        found["registered"][one.name] = {"description": one.description or "", "tags": one.tags, "aliases": aliases, "versions": versions}
    for one in told["traces"]:
        found["traces"][one] = trace_seen(client, one)
    for version in (1, 2):
        prompt = client.get_prompt_version("greeting", version)
        found["prompts"][version] = [prompt.template, prompt.commit_message, prompt.tags, sorted(prompt.aliases)]
    found["prompts"]["live"] = str(client.get_prompt_version_by_alias("greeting", "live").version)
    return json.loads(json.dumps(found))


def trace_seen(client, trace_id):
    trace = client.get_trace(trace_id)
    info, names = trace.info, {span.span_id: span.name for span in trace.data.spans}
    return {
        "is": [info.experiment_id, str(info.state), info.request_time, info.request_preview, info.response_preview],
        "tags": {key: value for key, value in info.tags.items() if not key.startswith("mlflow.")},
        "assessments": sorted([one.name, json.dumps(one.value), str(one.rationale), one.source.source_type] for one in info.assessments),
        "spans": [
            [span.name, names.get(span.parent_id), span.span_type, span.inputs, span.outputs, span.start_time_ns, span.end_time_ns]
            for span in sorted(trace.data.spans, key=lambda span: span.start_time_ns)
        ],
    }


def run_seen(client, run_id):
    run = client.get_run(run_id)
    info = run.info
    found = {
        "is": [info.experiment_id, info.run_name, info.status, info.start_time, info.end_time, info.lifecycle_stage],
        "params": run.data.params,
        "tags": run.data.tags,
        "latest": {key: number(value) for key, value in run.data.metrics.items()},
        "points": {},
        "inputs": sorted(
            [one.dataset.name, one.dataset.digest, one.dataset.source, one.dataset.schema, [[tag.key, tag.value] for tag in one.tags]]
            for one in run.inputs.dataset_inputs
        ),
        "outputs": [[one.model_id, one.step] for one in run.outputs.model_outputs],
        "files": {},
    }
    for key in run.data.metrics:
        points = client.get_metric_history(run_id, key)
        found["points"][key] = sorted([point.step, point.timestamp, number(point.value)] for point in points)
    waiting = [None]
    while waiting:
        for one in client.list_artifacts(run_id, waiting.pop()):
            if one.is_dir:
                waiting.append(one.path)
            else:
                path = client.download_artifacts(run_id, one.path)
                found["files"][one.path] = pathlib.Path(path).read_text()
    return found


def differences(before, after, where=""):
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key), after.get(key), f"{where}/{key}")
    elif before != after:
        yield f"{where}: {str(before)[:300]} became {str(after)[:300]}"


def check(url, folder, without=None):
    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    client = MlflowClient()
    told = json.loads((pathlib.Path(folder) / "told.json").read_text())
    if without == "plain":
        told["traces"], told["seen"]["traces"] = [], {}
    found = list(differences(told["seen"], seen(client, told)))
    assert not found, "\n".join(found[:20])
    assert {one.experiment_id for one in client.search_experiments(view_type=ViewType.ALL)} >= set(told["experiments"])
    # Ids go on, and nothing that was taken over is in the way.
    new = client.create_experiment(f"new {len(client.search_experiments(view_type=ViewType.ALL))}")
    assert new not in told["experiments"], new
    run = client.create_run(new).info.run_id
    client.log_metric(run, "m", 1)
    version = client.create_model_version("weather model", f"{client.get_run(told['runs'][0]).info.artifact_uri}/a", told["runs"][0])
    # A second check meets the number that the first one used up.
    assert int(version.version) >= 5, version.version
    client.delete_model_version("weather model", version.version)


if __name__ == "__main__":
    {"fill": fill, "check": check}[sys.argv[1]](*sys.argv[2:])
