"""Makes the models of the pages: `python make_models.py FOLDER` writes `FOLDER/models/iris/model.onnx`, `…/flights/…`.

`iris` takes one matrix, `flights` columns of text and of numbers; both name their classes. `FOLDER/rows.parquet` is a row
for `flights`.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

OPSET = {"": 17, "ai.onnx.ml": 3}


def iris():
    values, kinds = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(values, names[kinds])
    return to_onnx(fitted, initial_types=[("X", FloatTensorType([None, 4]))], target_opset=OPSET)


def flights():
    draws = np.random.default_rng(7)
    frame = pd.DataFrame({
        "carrier": draws.choice(["UA", "AA", "B6"], 500),
        "distance": draws.uniform(200, 2500, 500).astype(np.float32),
        "hour": draws.integers(5, 23, 500),
    })
    late = ((frame["hour"] > 15) ^ (frame["carrier"] == "UA")).astype(int)
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["carrier"]), (StandardScaler(), ["distance", "hour"]))
    fitted = make_pipeline(columns, LogisticRegression()).fit(frame, late)
    types = [
        ("carrier", StringTensorType([None, 1])),
        ("distance", FloatTensorType([None, 1])),
        ("hour", Int64TensorType([None, 1])),
    ]
    return to_onnx(fitted, initial_types=types, target_opset=OPSET)


def main() -> None:
    folder = Path(sys.argv[1])
    for name, make in (("iris", iris), ("flights", flights)):
        place = folder / "models" / name
        place.mkdir(parents=True, exist_ok=True)
        onnx.save(make(), place / "model.onnx")
    pd.DataFrame({"carrier": ["UA"], "distance": [1400.0], "hour": [7]}).to_parquet(folder / "rows.parquet")


if __name__ == "__main__":
    main()
