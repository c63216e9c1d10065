import json

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput
from raw import call


def test_datasets_of_runs(client, run):
    import pandas

    frame = pandas.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]})
    data = mlflow.data.from_pandas(frame, source="https://example.org/data.csv", name="table", targets="y")
    mlflow.log_input(data, context="training", tags={"part": "first"})
    mlflow.log_input(data, context="training")
    [found] = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest, found.dataset.source_type) == ("table", data.digest, "http")
    assert json.loads(found.dataset.source)["url"] == "https://example.org/data.csv"
    assert json.loads(found.dataset.profile)["num_rows"] == 2 and "mlflow_colspec" in json.loads(found.dataset.schema)
    tags = {tag.key: tag.value for tag in found.tags}
    assert tags["mlflow.data.context"] == "training"
    source = mlflow.data.get_source(found)
    assert source.url == "https://example.org/data.csv"


def test_one_dataset_in_many_runs(client, experiment):
    entity = Dataset("shared", "digest1", "local", "{}")
    runs = [client.create_run(experiment.experiment_id).info.run_id for _ in range(3)]
    for number, run in enumerate(runs):
        client.log_inputs(run, [DatasetInput(entity, [InputTag("mlflow.data.context", f"c{number % 2}")])])
    found = client.search_runs([experiment.experiment_id], "dataset.name = 'shared' and dataset.context = 'c0'")
    assert {one.info.run_id for one in found} == {runs[0], runs[2]}
    body = {"experiment_ids": [experiment.experiment_id]}
    status, answer = call("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets", body)
    assert status == 200
    seen = {(one["name"], one["digest"], one.get("context")) for one in answer["dataset_summaries"]}
    assert {("shared", "digest1", "c0"), ("shared", "digest1", "c1")} <= seen


def test_models_of_runs(client, run):
    model = mlflow.create_external_model(name="outside", source_run_id=run.info.run_id)
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 3)])
    client.log_inputs(run.info.run_id, models=[mlflow.entities.LoggedModelInput(model.model_id)])
    found = client.get_run(run.info.run_id)
    assert [one.model_id for one in found.inputs.model_inputs] == [model.model_id]
    assert (model.model_id, 3) in [(one.model_id, one.step) for one in found.outputs.model_outputs]
