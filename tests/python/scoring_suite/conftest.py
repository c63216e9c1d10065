"""MLflow's own clients against a scoring server: `mlflow models serve`, or ours with the same models.

Needs mlflow, onnxruntime, numpy, openapi-spec-validator, pandas, pyarrow and pytest, and in the environment:
  SCORING_URL   for example http://127.0.0.1:8080
  SCORING_MODEL name of the model, where the server has several; none with `mlflow models serve`
  SCORING_ONNX  path of the model: a classifier with one input of three values and a ZipMap (`make_models.py`)
"""

import os

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from mlflow.pyfunc.scoring_server.client import ScoringServerClient


@pytest.fixture(scope="session")
def root():
    return os.environ["SCORING_URL"].rstrip("/")


@pytest.fixture(scope="session")
def base(root):
    model = os.environ.get("SCORING_MODEL")
    return f"{root}/models/{model}" if model else root


@pytest.fixture(scope="session")
def client(base):
    client = ScoringServerClient("127.0.0.1", 0)
    client.url_prefix = base
    return client


@pytest.fixture(scope="session")
def rows():
    return np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75], [-2.0, 0.0, 1.0]], dtype=np.float32)


@pytest.fixture(scope="session")
def frame(rows):
    return pd.DataFrame(rows.astype(float), columns=["c", "a", "b"])


@pytest.fixture(scope="session")
def expected(rows):
    """Label and probabilities by class, as onnxruntime has them."""
    session = onnxruntime.InferenceSession(os.environ["SCORING_ONNX"], providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    labels, probabilities = session.run(None, {name: rows})
    names = [output.name for output in session.get_outputs()]
    by_class = [{str(key): value for key, value in row.items()} for row in probabilities]
    return names, labels.tolist(), by_class
