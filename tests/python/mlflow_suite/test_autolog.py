"""Autologging and evaluation, with fits of a few rows."""

import mlflow
import numpy
import pandas
import pytest
from conftest import unique

RANDOM = numpy.random.default_rng(7)
ROWS = pandas.DataFrame(RANDOM.normal(size=(80, 3)), columns=["a", "b", "c"])
LABELS = (ROWS["a"] + ROWS["b"] > 0).astype(int)


@pytest.fixture(autouse=True)
def quiet_again():
    yield
    mlflow.autolog(disable=True)


def test_scikit_learn(client):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    mlflow.sklearn.autolog(log_input_examples=True)
    with mlflow.start_run() as run:
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(ROWS, LABELS)
        accuracy = pipeline.score(ROWS, LABELS)
    found = client.get_run(run.info.run_id)
    assert found.data.params["logisticregression__C"] == "0.5"
    assert found.data.metrics["training_accuracy_score"] == pytest.approx(accuracy)
    assert found.data.tags["estimator_name"] == "Pipeline"
    assert len(found.outputs.model_outputs) == 1 and found.inputs.dataset_inputs
    loaded = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model")
    assert list(loaded.predict(ROWS)) == list(pipeline.predict(ROWS))
    assert "training_confusion_matrix.png" in {one.path for one in client.list_artifacts(run.info.run_id)}


def test_searches_of_parameters(client, experiment):
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    mlflow.sklearn.autolog(log_models=False, log_post_training_metrics=False, max_tuning_runs=3)
    with mlflow.start_run() as run:
        GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 3]}, cv=2).fit(ROWS, LABELS)
    children = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert sorted(child.data.params["max_depth"] for child in children) == ["1", "2", "3"]
    assert all(0 <= child.data.metrics["mean_test_score"] <= 1 for child in children)
    assert "best_cv_score" in client.get_run(run.info.run_id).data.metrics


def test_xgboost(client):
    import xgboost

    mlflow.xgboost.autolog()
    matrix = xgboost.DMatrix(ROWS, LABELS)
    with mlflow.start_run() as run:
        booster = xgboost.train(
            {"objective": "binary:logistic", "max_depth": 2, "nthread": 1}, matrix, 5, evals=[(matrix, "train")], verbose_eval=False
        )
    found = client.get_run(run.info.run_id)
    assert found.data.params["max_depth"] == "2"
    history = client.get_metric_history(run.info.run_id, "train-logloss")
    assert [point.step for point in history] == list(range(5))
    loaded = mlflow.xgboost.load_model(f"runs:/{run.info.run_id}/model")
    assert numpy.allclose(loaded.predict(matrix), booster.predict(matrix))


def test_lightgbm(client):
    import lightgbm

    mlflow.lightgbm.autolog()
    rows = lightgbm.Dataset(ROWS, LABELS)
    parameters = {"objective": "binary", "num_leaves": 4, "num_threads": 1, "verbose": -1, "min_data_in_leaf": 5}
    with mlflow.start_run() as run:
        booster = lightgbm.train(parameters, rows, 5, valid_sets=[rows], valid_names=["train"])
    found = client.get_run(run.info.run_id)
    assert found.data.params["num_leaves"] == "4"
    assert len(client.get_metric_history(run.info.run_id, "train-binary_logloss")) == 5
    loaded = mlflow.lightgbm.load_model(f"runs:/{run.info.run_id}/model")
    assert numpy.allclose(loaded.predict(ROWS), booster.predict(ROWS))


@pytest.mark.parametrize("evaluate", [mlflow.models.evaluate, mlflow.evaluate], ids=["models", "former"])
def test_evaluation(client, evaluate):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(ROWS.to_numpy(), LABELS)
    data = ROWS.assign(label=LABELS)
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(model, name="model", pip_requirements=["scikit-learn"])
        result = evaluate(
            info.model_uri,
            mlflow.data.from_pandas(data, targets="label", name="held out"),
            model_type="classifier",
            evaluator_config={"log_model_explainability": False},
        )
    metrics = client.get_run(run.info.run_id).data.metrics
    assert metrics["accuracy_score"] == result.metrics["accuracy_score"] == model.score(ROWS.to_numpy(), LABELS)
    artifacts = {one.path for one in client.list_artifacts(run.info.run_id)}
    assert {"confusion_matrix.png", "roc_curve_plot.png"} <= artifacts, artifacts
    measured = {one.key: one.value for one in client.get_logged_model(info.model_id).metrics}
    assert measured["accuracy_score"] == metrics["accuracy_score"]


def test_evaluation_of_predictions():
    frame = pandas.DataFrame({"prediction": [1.0, 2.0, 3.0], "truth": [1.0, 2.0, 5.0]})
    with mlflow.start_run(run_name=unique("static")):
        result = mlflow.models.evaluate(data=frame, predictions="prediction", targets="truth", model_type="regressor")
    assert result.metrics["mean_absolute_error"] == pytest.approx(2 / 3)
