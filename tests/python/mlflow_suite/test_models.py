"""Logged models, and models by flavour: what they predict survives the way through the server."""

import mlflow
import numpy
import pytest
from conftest import refused, unique
from mlflow.entities import LoggedModelStatus, Metric
from raw import call
from sklearn import linear_model

FEATURES = numpy.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
TARGETS = numpy.array([1.0, 2.0, 5.0, 6.0])


@pytest.fixture(scope="module")
def fitted():
    return linear_model.LinearRegression().fit(FEATURES, TARGETS)


def test_life_of_a_logged_model(client, experiment, run):
    model = client.create_logged_model(
        experiment.experiment_id, "named", run.info.run_id, tags={"a": "1"}, params={"depth": "3"}, model_type="Agent"
    )
    assert model.model_id.startswith("m-") and len(model.model_id) == 34 and int(model.model_id[2:], 16) >= 0
    assert (model.name, model.model_type, model.source_run_id) == ("named", "Agent", run.info.run_id)
    assert model.status == LoggedModelStatus.PENDING and model.artifact_location
    client.set_logged_model_tags(model.model_id, {"b": "2", "c": "3"})
    client.delete_logged_model_tag(model.model_id, "c")
    client.log_model_params(model.model_id, {"rate": "0.1"})
    ready = client.finalize_logged_model(model.model_id, "READY")
    assert ready.status == LoggedModelStatus.READY
    found = client.get_logged_model(model.model_id)
    assert found.params == {"depth": "3", "rate": "0.1"}
    assert {key: value for key, value in found.tags.items() if not key.startswith("mlflow.")} == {"a": "1", "b": "2"}
    assert found.last_updated_timestamp >= found.creation_timestamp
    client.delete_logged_model(model.model_id)
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.get_logged_model(model.model_id)
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.get_logged_model("m-" + "0" * 32)


def test_unnamed_models_get_a_name(client, experiment):
    model = client.create_logged_model(experiment.experiment_id)
    assert model.name


def test_metrics_of_models(client, run, experiment):
    model = mlflow.create_external_model("measured", source_run_id=run.info.run_id)
    data = mlflow.data.from_numpy(FEATURES, name="held-out")
    mlflow.log_metric("auc", 0.7, model_id=model.model_id, dataset=data, step=1)
    mlflow.log_metric("auc", 0.8, model_id=model.model_id, dataset=data, step=2)
    mlflow.log_metric("loss", 0.2, model_id=model.model_id)
    client.log_batch(run.info.run_id, [Metric("f1", 0.5, 1, 0, model_id=model.model_id)])
    found = client.get_logged_model(model.model_id)
    values = {(one.key, one.step, one.value, one.dataset_name) for one in found.metrics}
    assert {("auc", 2, 0.8, "held-out"), ("loss", 0, 0.2, None), ("f1", 0, 0.5, None)} <= values
    assert client.get_run(run.info.run_id).data.metrics["auc"] == 0.8


@pytest.fixture(scope="module")
def several(client):
    made = client.create_experiment(unique("models"))
    run = client.create_run(made).info.run_id
    table = {
        "a": ("alpha", 0.9, {"depth": "3"}, {"team": "red"}, "READY"),
        "b": ("beta", 0.5, {"depth": "10"}, {"team": "blue"}, "FAILED"),
        "c": ("Gamma", None, {}, {"team": "Red"}, "READY"),
    }
    ids = {}
    for letter, (name, auc, params, tags, status) in table.items():
        model = client.create_logged_model(made, name, run, tags=tags, params=params)
        ids[letter] = model.model_id
        if auc is not None:
            client.log_metric(run, "auc", auc, model_id=model.model_id, step=1, dataset_name="wine", dataset_digest="d1")
        client.finalize_logged_model(model.model_id, status)
    return made, ids


SEARCHES = [
    (None, "cba"),
    ("name = 'alpha'", "a"),
    ("attributes.name != 'alpha'", "cb"),
    ("name LIKE '%a'", "cba"),
    ("name ILIKE 'gam%'", "c"),
    ("params.depth = '3'", "a"),
    ("params.`depth` != '3'", "b"),
    ("tags.team = 'red'", "a"),
    ("tags.team ILIKE 'red'", "ca"),
    ("metrics.auc > 0.6", "a"),
    ("metrics.auc <= 0.9", "ba"),
    ("creation_timestamp > 1", "cba"),
    ("metrics.auc > 0.1 and params.depth = '10'", "b"),
    ("name IN ('alpha', 'beta')", "ba"),
    ("name NOT IN ('alpha', 'beta')", "c"),
]


def letters(several, found):
    back = {model_id: letter for letter, model_id in several[1].items()}
    return "".join(back[one.model_id] for one in found)


@pytest.mark.parametrize("condition, expected", SEARCHES, ids=[str(case[0]) for case in SEARCHES])
def test_search(client, several, condition, expected):
    assert letters(several, client.search_logged_models([several[0]], condition)) == expected


def test_search_by_dataset_order_and_page(client, several):
    made, _ = several
    wine = [{"dataset_name": "wine", "dataset_digest": "d1"}]
    assert letters(several, client.search_logged_models([made], "metrics.auc > 0.4", datasets=wine)) == "ba"
    assert client.search_logged_models([made], "metrics.auc > 0.4", datasets=[{"dataset_name": "beer"}]) == []
    by_auc = [{"field_name": "metrics.auc", "ascending": False}]
    assert letters(several, client.search_logged_models([made], order_by=by_auc)) == "abc"
    by_name = [{"field_name": "name", "ascending": True}]
    assert letters(several, client.search_logged_models([made], order_by=by_name)) == "cab"
    first = client.search_logged_models([made], max_results=2)
    rest = client.search_logged_models([made], max_results=2, page_token=first.token)
    assert letters(several, [*first, *rest]) == "cba" and not rest.token


@pytest.mark.parametrize("condition", ["name >", "name = 'a' or name = 'b'", "params.depth > '3'", "nothing = 'x'"])
def test_search_refuses(client, several, condition):
    with refused("INVALID_PARAMETER_VALUE"):
        client.search_logged_models([several[0]], condition)


def test_a_model_comes_back(client, run, fitted, experiment):
    signature = mlflow.models.infer_signature(FEATURES, TARGETS)
    info = mlflow.sklearn.log_model(fitted, name="model", signature=signature, input_example=FEATURES[:2])
    assert info.model_uri == f"models:/{info.model_id}"
    expected = list(fitted.predict(FEATURES))
    assert list(mlflow.sklearn.load_model(info.model_uri).predict(FEATURES)) == expected
    assert list(mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model").predict(FEATURES)) == expected
    found = client.get_run(run.info.run_id)
    assert [one.model_id for one in found.outputs.model_outputs] == [info.model_id]
    model = client.get_logged_model(info.model_id)
    assert model.status == LoggedModelStatus.READY and model.source_run_id == run.info.run_id
    assert mlflow.models.get_model_info(info.model_uri).signature.inputs == signature.inputs
    listed = {one.path for one in mlflow.artifacts.list_artifacts(info.model_uri)}
    assert {"MLmodel", "model.pkl"} & listed and "MLmodel" in listed, listed
    status, answer = call("GET", f"/api/2.0/mlflow/logged-models/{info.model_id}/artifacts/directories")
    assert status == 200 and "MLmodel" in {one["path"] for one in answer["files"]}
    [searched] = mlflow.search_logged_models([experiment.experiment_id], f"source_run_id = '{run.info.run_id}'", output_format="list")
    assert searched.model_id == info.model_id


def test_from_training_to_the_champion(client, run, fitted):
    name = unique("champion")
    info = mlflow.sklearn.log_model(fitted, name="model", registered_model_name=name, input_example=FEATURES[:1])
    assert info.registered_model_version in (1, "1")
    client.set_registered_model_alias(name, "champion", "1")
    loaded = mlflow.sklearn.load_model(f"models:/{name}@champion")
    assert list(loaded.predict(FEATURES)) == list(fitted.predict(FEATURES))
    for uri in [f"models:/{name}/1", f"models:/{name}/latest"]:
        assert list(mlflow.pyfunc.load_model(uri).predict(FEATURES)) == list(fitted.predict(FEATURES))
    version = client.get_model_version_by_alias(name, "champion")
    assert version.run_id == run.info.run_id and version.source
    uri = client.get_model_version_download_uri(name, "1")
    assert uri
    again = mlflow.register_model(f"runs:/{run.info.run_id}/model", name)
    assert int(again.version) == 2
    assert list(mlflow.sklearn.load_model(f"models:/{name}/2").predict(FEATURES)) == list(fitted.predict(FEATURES))


def test_python_functions_come_back(run):
    class Doubler(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2

    info = mlflow.pyfunc.log_model(name="doubler", python_model=Doubler(), pip_requirements=["mlflow"])
    assert list(mlflow.pyfunc.load_model(info.model_uri).predict(numpy.array([1, 2]))) == [2, 4]
