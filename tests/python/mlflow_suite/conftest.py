"""A broad suite of MLflow's own clients, against the server at MLFLOW_TRACKING_URI.

Every expectation was first seen to hold for `mlflow server` 3.17.2. What Ropewalk does otherwise on purpose is
marked by SUITE_SERVER=mlflow: unset, the server under test is Ropewalk. Names are unique, so that a server may have other
users meanwhile.
"""

import os
import uuid

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# Traces are looked for as soon as they are written.
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MPLBACKEND", "Agg")

import mlflow  # noqa: E402  the variables above are read at import
import pytest  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def on_mlflow():
    """Whether the server under test is MLflow's own."""
    return os.environ.get("SUITE_SERVER") == "mlflow"


class Refused:
    """`with refused("CODE", "words")`: the call must fail with MLflow's error code and say these words."""

    def __init__(self, code, *words):
        self.code, self.words = code, words

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        assert kind is not None, f"was not refused; expected {self.code}"
        if not issubclass(kind, MlflowException):
            return False
        assert error.error_code == self.code, f"{error.error_code}: {error.message}"
        for word in self.words:
            assert word in error.message, error.message
        return True


refused = Refused


@pytest.fixture(scope="session")
def client():
    return MlflowClient()


@pytest.fixture(scope="module")
def experiment():
    found = mlflow.set_experiment(unique("suite"))
    yield found


@pytest.fixture(autouse=True)
def in_experiment(experiment):
    mlflow.set_experiment(experiment_id=experiment.experiment_id)
    yield
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def run(experiment):
    with mlflow.start_run() as started:
        yield started


@pytest.fixture
def run_id(client, experiment):
    """A run that is nobody's active run."""
    return client.create_run(experiment.experiment_id).info.run_id
