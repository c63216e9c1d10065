"""Makes the suite's model: `python make_models.py FOLDER` writes `zipmap.onnx` and the same as MLflow lays it down."""

import sys
from pathlib import Path

import mlflow.onnx
import numpy as np
import onnx
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(7).normal(size=(200, 3)).astype(np.float32)
    labels = (values[:, 0] + values[:, 1] > 0).astype(int)
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(values, labels)
    model = to_onnx(fitted, values[:1])
    onnx.save(model, folder / "zipmap.onnx")
    mlflow.onnx.save_model(model, str(folder / "mlflow_zipmap"))


if __name__ == "__main__":
    main()
