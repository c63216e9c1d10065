"""Models for the soak, the rows that they are asked with, and what onnxruntime answers for them."""

import dataclasses
import pathlib
import sys

import mlflow
import numpy as np
import onnx
import onnxruntime
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import ColSpec, Schema
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from onnx_graphs import columns_of, graph_of  # noqa: E402

#: Beside the main domain.
ML = [("ai.onnx.ml", 3)]

#: Rows that requests are taken from.
ROWS = 32

WORKER = '''
import mlflow.pyfunc
import pandas as pd


class Twice(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return pd.DataFrame({"twice": model_input["number"] * 2.0})


mlflow.models.set_model(Twice())
'''


@dataclasses.dataclass
class Model:
    """One name under which something is served."""

    name: str
    #: Input by name; the first axis is that of rows.
    inputs: dict
    #: For each content that may stand behind the name: output by name.
    expected: dict
    tolerance: float = 1e-5
    #: Whether a row is an object of columns with one value each, so that tables can ask it.
    is_table: bool = False


def answers(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([one.name for one in session.get_outputs()], session.run(None, inputs), strict=True))


def line(factor):
    """A linear model; another factor is another content."""
    coefficients = [factor * one for one in (0.5, -1.25, 2.0, 0.125)]
    node = helper.make_node(
        "LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", coefficients=coefficients, intercepts=[factor], targets=1
    )
    shape = ["batch", 4]
    return graph_of("line", [node], [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, ["batch", 1])], domains=ML)


def trees(rng):
    values = rng.normal(size=(400, 6)).astype(np.float32)
    labels = (values[:, 0] * values[:, 1] > 0).astype(np.int64) + (values[:, 2] > 1)
    fitted = RandomForestClassifier(n_estimators=40, max_depth=7, random_state=1).fit(values, labels)
    return to_onnx(fitted, values[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})


def network(rng):
    """A convolution and two layers: enough weights for the embedded engine's networks."""

    def weights(*shape):
        return rng.normal(0, 0.1, size=shape).astype(np.float32)

    nodes = [
        helper.make_node("Conv", ["x", "filters"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["g"]),
        helper.make_node("Gemm", ["g", "w2", "b2"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
    ]
    constants = {"filters": weights(8, 1, 3, 3), "w1": weights(800, 128), "b1": weights(128), "w2": weights(128, 4), "b2": weights(4)}
    inputs = [("x", TensorProto.FLOAT, ["batch", 1, 12, 12])]
    return graph_of("network", nodes, inputs, [("p", TensorProto.FLOAT, ["batch", 4])], constants, ML)


def place(folder, name, model):
    """As a Triton repository has it."""
    where = folder / "repository" / name / "1"
    where.mkdir(parents=True, exist_ok=True)
    onnx.save(model, where / "model.onnx")


def make(folder):
    """Makes everything below `folder`: the models by name."""
    rng = np.random.default_rng(20)
    made = {}

    def add(name, contents, inputs, **more):
        expected = {content: answers(graph, inputs) for content, graph in contents.items()}
        made[name] = Model(name, inputs, expected, **more)

    versions = {"1": line(1.0), "2": line(3.0)}
    for version, graph in versions.items():
        onnx.save(graph, folder / f"line-{version}.onnx")
    four = {"x": rng.normal(size=(ROWS, 4)).astype(np.float32)}
    add("line", versions, four)
    # What is loaded again and again in another form, and what comes and goes.
    swapped = {"a": line(-1.0), "b": line(7.0)}
    for content, graph in swapped.items():
        onnx.save(graph, folder / f"swapped-{content}.onnx")
    place(folder, "swapped", swapped["a"])
    add("swapped", swapped, four)
    single = {
        "guest": (line(5.0), four, {}),
        "trees": (trees(rng), {"X": rng.normal(size=(ROWS, 6)).astype(np.float32)}, {}),
        "network": (network(rng), {"x": rng.normal(size=(ROWS, 1, 12, 12)).astype(np.float32)}, {"tolerance": 1e-4}),
        "table": (columns_of("table"), columns(rng), {"is_table": True}),
    }
    for name, (graph, inputs, more) in single.items():
        place(folder, name, graph)
        add(name, {"1": graph}, inputs, **more)
    made["worker"] = worker(folder, rng)
    return made


def columns(rng):
    words = np.array([[word] for word in ["oak", "déjà vu", "x", "ash, or not"] * (ROWS // 4)], dtype=object)
    counts = rng.integers(-1000, 1000, size=(ROWS, 1))
    return {"name": words, "count": counts, "amount": rng.normal(size=(ROWS, 1)).astype(np.float32)}


def worker(folder, rng):
    """A model that only Python can run."""
    code = folder / "twice.py"
    code.write_text(WORKER)
    signature = ModelSignature(inputs=Schema([ColSpec("double", "number")]), outputs=Schema([ColSpec("double", "twice")]))
    mlflow.pyfunc.save_model(folder / "worker", python_model=str(code), signature=signature)
    numbers = rng.normal(size=(ROWS, 1))
    return Model("worker", {"number": numbers}, {"1": {"twice": numbers * 2}}, is_table=True)
