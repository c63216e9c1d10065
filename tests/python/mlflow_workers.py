"""Models as MLflow lays them down, for the tests of the Python engine: `mlflow_workers.py FOLDER`."""

import pathlib
import sys

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import ColSpec, Schema
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ODD = '''
import os
import signal
import sys
import time

import mlflow.pyfunc
import pandas as pd


class Odd(mlflow.pyfunc.PythonModel):
    """Does what it is told by the column `what`."""

    def predict(self, context, model_input, params=None):
        what = model_input["what"].iloc[0]
        number = model_input["number"]
        if what == "print":
            print("loud", flush=True)
            os.write(1, b"louder\\n")
            sys.stdout.flush()
        if what == "hang":
            time.sleep(600)
        if what == "die":
            print("a last word", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "eat":
            block = []
            while True:
                block.append(bytearray(8 << 20))
        if what == "huge":
            bytearray(1 << 50)
        if what == "raise":
            raise RuntimeError("a rope broke")
        if what == "refuse":
            raise ValueError("no such rope")
        if what == "slow":
            time.sleep(0.02)
        return pd.DataFrame({"twice": number * 2.0, "text": [f"{one}: {value}" for one, value in
                                                             zip(model_input["what"], number)]})


mlflow.models.set_model(Odd())
'''


def mixed():
    rows = pd.DataFrame({
        "temperature": np.linspace(-5.0, 30.0, 40),
        "carrier": ["AA", "UA", "DL", "ü"] * 10,
        "flights": np.arange(40, dtype="int64"),
    })
    late = (rows.temperature > 10) ^ (rows.carrier == "AA")
    encode = make_column_transformer((OneHotEncoder(), ["carrier"]), (StandardScaler(), ["temperature", "flights"]))
    model = make_pipeline(encode, LogisticRegression()).fit(rows, late.map({True: "late", False: "on time"}))
    return model, rows


def main(folder):
    folder = pathlib.Path(folder)
    model, rows = mixed()
    mlflow.sklearn.save_model(
        model, folder / "mixed", signature=infer_signature(rows, model.predict(rows)), input_example=rows.head(5),
        serialization_format="cloudpickle")
    (folder / "mixed" / "expected_output.json").write_text(
        pd.Series({"predictions": model.predict(rows.head(5)).tolist()}).to_json())

    array = np.random.default_rng(1).normal(size=(20, 3)).astype("float32")
    regressor = LinearRegression().fit(array, array @ np.array([[1.0, 0.0], [2.0, 1.0], [0.5, 3.0]], "float32"))
    mlflow.sklearn.save_model(
        regressor, folder / "array", signature=infer_signature(array, regressor.predict(array)),
        serialization_format="cloudpickle")

    example = array[:4].astype("float64")
    mlflow.sklearn.save_model(regressor, folder / "unsigned", serialization_format="cloudpickle")
    import json

    (folder / "unsigned" / "input_example.json").write_text(json.dumps(example.tolist()))
    mlflow.sklearn.save_model(regressor, folder / "bare", serialization_format="cloudpickle")

    code = folder / "odd_model.py"
    code.write_text(ODD)
    signature = ModelSignature(
        inputs=Schema([ColSpec("string", "what"), ColSpec("double", "number")]),
        outputs=Schema([ColSpec("double", "twice"), ColSpec("string", "text")]))
    mlflow.pyfunc.save_model(folder / "odd", python_model=str(code), signature=signature)


if __name__ == "__main__":
    main(sys.argv[1])
