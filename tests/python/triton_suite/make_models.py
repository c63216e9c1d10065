"""Makes the models of the suite, and what onnxruntime answers for them: `python make_models.py FOLDER`.

FOLDER becomes a folder of models, one sub-folder each with a `model.onnx`; each answer lies beside it in `expected.npz`.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from onnx_graphs import OPSET, columns_of, graph_of  # noqa: E402


def write(folder, name, model, inputs):
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    data = model.SerializeToString()
    (place / "model.onnx").write_bytes(data)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    outputs = session.run(None, inputs)
    arrays = {f"in:{key}": value for key, value in inputs.items()}
    arrays.update({f"out:{spec.name}": value for spec, value in zip(session.get_outputs(), outputs, strict=True)})
    np.savez(place / "expected.npz", **arrays)


def iris(folder):
    """A scaler and a logistic regression, with its probabilities as one tensor."""
    features, labels = load_iris(return_X_y=True)
    features = features.astype(np.float32)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(features, labels)
    graph = to_onnx(model, features[:1], options={"zipmap": False}, target_opset={"": OPSET, "ai.onnx.ml": 3})
    write(folder, "iris", graph, {"X": features[::10]})


def wide(folder):
    """Rows of 1000 numbers and their doubles: what is large enough to be compressed."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    shape = ["batch", 1000]
    model = graph_of("wide", nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)])
    write(folder, "wide", model, {"x": np.arange(2000, dtype=np.float32).reshape(2, 1000)})


def text(folder):
    """Texts as they are."""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    shape = ["batch", 1]
    model = graph_of("text", nodes, [("x", TensorProto.STRING, shape)], [("y", TensorProto.STRING, shape)])
    write(folder, "text", model, {"x": np.array([["a"], ["d\u00e9j\u00e0 vu"], [""]], dtype=object)})


def mixed(folder):
    """A text, a whole number and two numbers: each comes back, the numbers in a sum."""
    given = {
        "name": np.array([["x"], ["y"]], dtype=object),
        "count": np.array([[1], [-2]], dtype=np.int64),
        "amount": np.array([[0.5], [4.25]], dtype=np.float32),
    }
    write(folder, "mixed", columns_of("mixed"), given)


#: What the protocol calls each type whose numbers come back as they were, in the model `identity_TYPE`.
TYPES = {
    "BOOL": (TensorProto.BOOL, np.array([[True, False, True]])),
    "INT32": (TensorProto.INT32, np.array([[-(2**31), 0, 2**31 - 1]], dtype=np.int32)),
    "INT64": (TensorProto.INT64, np.array([[-(2**63), 0, 2**63 - 1]], dtype=np.int64)),
    "FP32": (TensorProto.FLOAT, np.array([[-1.5, 0.1, 3e38]], dtype=np.float32)),
    "FP64": (TensorProto.DOUBLE, np.array([[-1.5, 0.1, 1e300]], dtype=np.float64)),
}


def identities(folder):
    for name, (kind, array) in TYPES.items():
        nodes = [helper.make_node("Identity", ["x"], ["y"])]
        shape = ["batch", 3]
        model = graph_of(name, nodes, [("x", kind, shape)], [("y", kind, shape)])
        write(folder, f"identity_{name}", model, {"x": array})


#: How Triton would serve `labelled`.
CONFIG = """
name: "labelled"
platform: "onnxruntime_onnx"
max_batch_size: 8
output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" } ]
dynamic_batching {
  preferred_batch_size: [ 2, 4 ]
  max_queue_delay_microseconds: 2000
  priority_levels: 2
  default_priority_level: 1
  priority_queue_policy { key: 2 value { default_timeout_microseconds: 5000000 max_queue_size: 16 } }
}
"""


def labelled(folder):
    """Numbers as they are, of three classes of which a file names two; requests are joined."""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    shape = ["batch", 3]
    model = graph_of("labelled", nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)])
    write(folder, "labelled", model, {"x": np.array([[0.25, 2, -1], [7, 0, 3]], dtype=np.float32)})
    (folder / "labelled" / "config.pbtxt").write_text(CONFIG)
    (folder / "labelled" / "labels.txt").write_text("cat\ndog\n")


def make(folder):
    for one in (iris, wide, text, mixed, identities, labelled):
        one(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
