"""Gates as an MLflow client and the command line meet them, on one home at once.

Usage: tracking_gates.py URL ROPEWALK HOME…, where HOME are the flags that say where the server's records are.
"""

import json
import os
import subprocess
import sys

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import RestException
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

URL, ROPEWALK, *HOME = sys.argv[1:]
NAME = "gated"

mlflow.set_tracking_uri(URL)
client = MlflowClient()


def ropewalk(*words):
    """What the command line answers, as JSON."""
    command = [ROPEWALK, *words, *HOME, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "ROPEWALK_USER": "alice"})
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return json.loads(done.stdout)


def refused(why, call, *arguments, **named):
    """That a call is refused, and that the refusal says why."""
    try:
        call(*arguments, **named)
    except RestException as error:
        assert error.error_code == "PERMISSION_DENIED", error
        assert why in str(error), (why, str(error))
    else:
        raise AssertionError(f"not refused: {why}")


def table(shift):
    columns = {name: [row * place + shift for row in range(20)] for place, name in enumerate("abc", start=1)}
    return pd.DataFrame(columns).astype("float64")


def registered(auc, data, columns):
    """A version of a model with these columns, measured on `data`."""
    features, label = data[columns], data["a"] > 5
    with mlflow.start_run():
        mlflow.log_input(mlflow.data.from_pandas(data, name="d"), context="evaluation")
        mlflow.log_metric("auc", auc)
        model = LogisticRegression().fit(features, label)
        signature = infer_signature(features, model.predict(features))
        logged = mlflow.sklearn.log_model(model, name="model", signature=signature, pip_requirements=["scikit-learn"])
    return mlflow.register_model(logged.model_uri, NAME)


data, other = table(0), table(1)
registered(0.7, data, ["a", "b", "c"])
second = registered(0.8, data, ["a", "b", "c"])
registered(0.9, other, ["a", "b", "c"])
registered(0.95, data, ["a", "b"])

ropewalk("models", "gate", "set", NAME, "champion", "--conditions", "auc >= 0.7", "--higher", "auc", "--signature")
client.set_registered_model_alias(NAME, "champion", 1)
client.set_registered_model_alias(NAME, "champion", 2)
refused("(0.700000 and 0.800000): no", client.set_registered_model_alias, NAME, "champion", 1)
refused("the candidate was measured on d@", client.set_registered_model_alias, NAME, "champion", 3)
refused("it has no input `c`", client.set_registered_model_alias, NAME, "champion", 4)
assert int(client.get_model_version_by_alias(NAME, "champion").version) == 2

changes = ropewalk("models", "history", NAME)["changes"]
assert [change["moved"] for change in changes] == [False, False, False, True, True], changes
assert {change["who"] for change in changes} == {"anonymous"}, changes

refused("a gate guards `champion`", client.delete_registered_model, NAME)
refused("a gate guards `champion`", client.rename_registered_model, NAME, "free")
refused("a gate guards `champion`", client.delete_model_version, NAME, "2")

ropewalk("models", "gate", "set", NAME, "stage:Production", "--approval", "role:reviewer")
refused("approved by role:reviewer: no", client.transition_model_version_stage, NAME, "2", "Production")
ropewalk("models", "role", "add", "reviewer", "alice")
ropewalk("models", "approve", NAME, "2", "--role", "reviewer", "--why", "fair")
assert client.transition_model_version_stage(NAME, "2", "Production").current_stage == "Production"

thread = ropewalk("trace", f"models:/{NAME}/2")
assert second.run_id in json.dumps(thread), thread

ropewalk("models", "gate", "rm", NAME, "champion")
client.set_registered_model_alias(NAME, "champion", 4)
print("done")
