"""Exports a zoo of models to ONNX and records what onnxruntime answers.

    python onnx_zoo.py OUTPUT [--only NAME,...] [--rows N] [--list]

For each model NAME it writes OUTPUT/NAME.onnx and OUTPUT/NAME.json:

    {"inputs":  [{"name", "datatype", "shape", "data"}, ...],
     "outputs": [...], "class_labels": {OUTPUT: [...]}}

`data` is row-major. Floats are written as text ("0.1", "NaN") so that NaN and the exact f32 survive JSON. A
sequence(map) output of ZipMap is written as the tensor of its values, its keys under "class_labels". An input NAME
of maps (a list of dicts, of which onnxruntime is asked one at a time) is written as NAME_keys and NAME_values, [rows,
entries], where shorter rows are filled with empty keys.
OUTPUT/versions.json says which libraries made them. Everything is seeded. More estimators are in
`onnx_estimators.py` and networks in `onnx_networks.py`; the pins of everything in `zoo-requirements.txt`.

Needs numpy, pandas, scikit-learn, skl2onnx, onnx, onnxruntime; xgboost, lightgbm and onnxmltools for the models
that are named after them; jax2onnx and Flax for the networks. protobuf must be < 7 (skl2onnx 1.20 passes numpy integers).
"""

import argparse
import importlib.metadata
import json
import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from onnx_estimators import ESTIMATORS
from onnx_networks import NETWORKS

warnings.filterwarnings("ignore")

SEED = 20130101
FEATURES = 8
DATATYPES = {
    "float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "int8": "INT8",
    "uint8": "UINT8", "float16": "FP16", "bool": "BOOL",
    "object": "BYTES", "str": "BYTES",
}
ZOO = {}


def model(make):
    """Registers a function that returns (onnx model, inputs by name)."""
    ZOO[make.__name__] = make
    return make


class Data:
    """The same table for everybody: numbers (a tenth missing where asked), a string and an integer category."""

    def __init__(self, rows):
        random = np.random.default_rng(SEED)
        self.numbers = random.normal(size=(rows, FEATURES)).astype(np.float32)
        signal = self.numbers[:, 0] + self.numbers[:, 1] * self.numbers[:, 2]
        self.two = (signal > 0.2).astype(np.int64)
        self.three = np.digitize(signal, [-0.7, 0.7]).astype(np.int64)
        self.words = np.array(["late", "on time"])[self.two]
        self.real = (signal + random.normal(size=rows) / 10).astype(np.float32)
        self.missing = self.numbers.copy()
        self.missing[random.random(self.missing.shape) < 0.1] = np.nan
        self.missing[-1] = np.nan
        self.carrier = random.choice(["AA", "B6", "DL", "UA", "Zürich"], rows)
        self.month = random.integers(1, 13, rows)

    def frame(self):
        return pd.DataFrame({
            "a": self.missing[:, 0], "b": self.missing[:, 1], "carrier": self.carrier, "month": self.month,
        })

    def columns(self, rows):
        table = self.frame().iloc[-rows:]
        unknown = table["carrier"].to_numpy(dtype=object).copy()
        unknown[0] = "??"
        return {
            "a": table[["a"]].to_numpy(np.float32), "b": table[["b"]].to_numpy(np.float32),
            "carrier": unknown.reshape(-1, 1), "month": table[["month"]].to_numpy(np.int64),
        }


def sklearn_model(estimator, inputs, zipmap=False, **options):
    from skl2onnx import to_onnx

    classifier = hasattr(estimator, "predict_proba")
    options = {"options": {"zipmap": zipmap}, **options} if classifier else options
    return to_onnx(estimator, inputs[:1], **options), {"X": inputs}


@model
def logistic_scaled(data, rows):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(data.numbers, data.two)
    return sklearn_model(fitted, data.numbers[-rows:])


@model
def logistic_three_zipmap(data, rows):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    fitted = make_pipeline(MinMaxScaler(), LogisticRegression()).fit(data.numbers, data.three)
    return sklearn_model(fitted, data.numbers[-rows:], zipmap=True)


@model
def logistic_raw_columns(data, rows):
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    columns = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b"]),
        ("carrier", OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
        ("month", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["month"]),
    ])
    fitted = make_pipeline(columns, LogisticRegression()).fit(data.frame(), data.words)
    types = [
        ("a", FloatTensorType([None, 1])), ("b", FloatTensorType([None, 1])),
        ("carrier", StringTensorType([None, 1])), ("month", Int64TensorType([None, 1])),
    ]
    return convert_sklearn(fitted, initial_types=types), data.columns(rows)


@model
def forest_two(data, rows):
    from sklearn.ensemble import RandomForestClassifier

    fitted = RandomForestClassifier(9, max_depth=5, random_state=SEED).fit(data.numbers, data.two)
    return sklearn_model(fitted, data.numbers[-rows:])


@model
def forest_three_words(data, rows):
    from sklearn.ensemble import RandomForestClassifier

    words = np.array(["early", "on time", "late"])[data.three]
    fitted = RandomForestClassifier(10, max_depth=5, random_state=SEED).fit(data.numbers, words)
    return sklearn_model(fitted, data.numbers[-rows:], zipmap=True)


@model
def forest_regressor(data, rows):
    from sklearn.ensemble import RandomForestRegressor

    targets = np.stack([data.real, -2 * data.real], axis=1)
    fitted = RandomForestRegressor(8, max_depth=5, random_state=SEED).fit(data.numbers, targets)
    return sklearn_model(fitted, data.numbers[-rows:])


@model
def boosting_two(data, rows):
    from sklearn.ensemble import GradientBoostingClassifier

    fitted = GradientBoostingClassifier(n_estimators=20, max_depth=3, random_state=SEED).fit(data.numbers, data.two)
    return sklearn_model(fitted, data.numbers[-rows:])


@model
def boosting_three(data, rows):
    from sklearn.ensemble import GradientBoostingClassifier

    fitted = GradientBoostingClassifier(n_estimators=8, max_depth=3, random_state=SEED).fit(data.numbers, data.three)
    return sklearn_model(fitted, data.numbers[-rows:])


@model
def hist_boosting_missing(data, rows):
    from sklearn.ensemble import HistGradientBoostingClassifier

    fitted = HistGradientBoostingClassifier(max_iter=10, max_depth=4, random_state=SEED).fit(data.missing, data.two)
    return sklearn_model(fitted, data.missing[-rows:])


@model
def hist_boosting_regressor(data, rows):
    from sklearn.ensemble import HistGradientBoostingRegressor

    fitted = HistGradientBoostingRegressor(max_iter=10, max_depth=4, random_state=SEED).fit(data.missing, data.real)
    return sklearn_model(fitted, data.missing[-rows:])


@model
def ridge(data, rows):
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    fitted = make_pipeline(Normalizer("l2"), Ridge()).fit(data.numbers, np.stack([data.real, data.real**2], axis=1))
    return sklearn_model(fitted, data.numbers[-rows:])


def onnxmltools_model(convert, fitted, inputs, **options):
    from onnxmltools.convert.common.data_types import FloatTensorType

    return convert(fitted, initial_types=[("X", FloatTensorType([None, FEATURES]))], **options), {"X": inputs}


def xgboost_model(fitted, inputs):
    from onnxmltools import convert_xgboost

    return onnxmltools_model(convert_xgboost, fitted, inputs)


@model
def xgboost_two(data, rows):
    import xgboost

    fitted = xgboost.XGBClassifier(n_estimators=10, max_depth=4, random_state=SEED).fit(data.missing, data.two)
    return xgboost_model(fitted, data.missing[-rows:])


@model
def xgboost_three(data, rows):
    import xgboost

    fitted = xgboost.XGBClassifier(n_estimators=8, max_depth=3, random_state=SEED).fit(data.missing, data.three)
    return xgboost_model(fitted, data.missing[-rows:])


@model
def xgboost_regressor(data, rows):
    import xgboost

    fitted = xgboost.XGBRegressor(n_estimators=10, max_depth=4, random_state=SEED).fit(data.missing, data.real)
    return xgboost_model(fitted, data.missing[-rows:])


@model
def lightgbm_two(data, rows):
    import lightgbm
    from onnxmltools import convert_lightgbm

    fitted = lightgbm.LGBMClassifier(n_estimators=10, max_depth=4, verbose=-1, random_state=SEED)
    fitted.fit(data.missing, data.two)
    return onnxmltools_model(convert_lightgbm, fitted, data.missing[-rows:], zipmap=False)


@model
def lightgbm_three_zipmap(data, rows):
    import lightgbm
    from onnxmltools import convert_lightgbm

    fitted = lightgbm.LGBMClassifier(n_estimators=8, max_depth=4, verbose=-1, random_state=SEED)
    fitted.fit(data.missing, data.three)
    return onnxmltools_model(convert_lightgbm, fitted, data.missing[-rows:])


@model
def lightgbm_regressor(data, rows):
    import lightgbm
    from onnxmltools import convert_lightgbm

    fitted = lightgbm.LGBMRegressor(n_estimators=10, max_depth=4, verbose=-1, random_state=SEED)
    fitted.fit(data.missing, data.real)
    return onnxmltools_model(convert_lightgbm, fitted, data.missing[-rows:])


NUMPY = {TensorProto.FLOAT: np.float32, TensorProto.INT64: np.int64, TensorProto.BOOL: np.bool_,
         TensorProto.STRING: object, TensorProto.DOUBLE: np.float64, TensorProto.INT32: np.int32}


def operator_model(nodes, inputs, outputs, constants=None, opset=21, ml=3):
    """A graph of its own for operators that exporters seldom write; `outputs` maps a name to its element type."""
    kinds = {np.dtype(kind): onnx_kind for onnx_kind, kind in NUMPY.items()}
    declared = [helper.make_tensor_value_info(name, kinds[value.dtype], [None, *value.shape[1:]])
                for name, value in inputs.items()]
    made = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "operators", declared, made, initializers)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8), inputs


@model
def operators_main(data, rows):
    node = helper.make_node
    numbers = data.missing[-rows:]
    nodes = [
        node("IsNaN", ["X"], ["missing"]),
        node("Where", ["missing", "zero", "X"], ["filled"]),
        node("Not", ["missing"], ["present"]),
        node("Slice", ["filled", "starts", "ends", "axes", "steps"], ["sliced"]),
        node("Gather", ["filled", "picks"], ["gathered"], axis=1),
        node("Mul", ["sliced", "gathered"], ["product"]),
        node("Clip", ["product", "least", "most"], ["clipped"]),
        node("Sigmoid", ["clipped"], ["sigmoid"]),
        node("Softmax", ["clipped"], ["softmax"]),
        node("Tanh", ["clipped"], ["tanh"]),
        node("Relu", ["clipped"], ["relu"]),
        node("Neg", ["relu"], ["negative"]),
        node("Exp", ["negative"], ["exponential"]),
        node("Log", ["exponential"], ["logarithm"]),
        node("ArgMax", ["softmax"], ["best"], axis=1, keepdims=0),
        node("ReduceSum", ["tanh", "last"], ["sum"], keepdims=0),
        node("Unsqueeze", ["sum", "last"], ["column"]),
        node("Greater", ["column", "least"], ["greater"]),
        node("Less", ["column", "most"], ["less"]),
        node("And", ["greater", "less"], ["within"]),
        node("Or", ["within", "within"], ["either"]),
        node("Cast", ["either"], ["number"], to=TensorProto.FLOAT),
        node("Gemm", ["filled", "weights", "bias"], ["gemm"], transB=1, alpha=0.5, beta=2.0),
        node("MatMul", ["filled", "square"], ["matmul"]),
        node("Transpose", ["matmul"], ["transposed"]),
        node("Transpose", ["transposed"], ["back"], perm=[1, 0]),
        node("Div", ["gemm", "two"], ["halved"]),
        node("Sub", ["halved", "column"], ["difference"]),
        node("Concat", ["difference", "number", "sigmoid", "back"], ["joined"], axis=1),
        node("Flatten", ["joined"], ["flat"], axis=1),
        node("Shape", ["flat"], ["shape"]),
        node("Squeeze", ["column", "last"], ["squeezed"]),
        node("Equal", ["best", "best"], ["equal"]),
    ]
    random = np.random.default_rng(SEED + 1)
    constants = {
        "zero": np.float32(0), "two": np.array([2], np.float32), "least": np.float32(-1.5), "most": np.float32(1.5),
        "starts": np.array([-1], np.int64), "ends": np.array([0], np.int64), "axes": np.array([1], np.int64),
        "steps": np.array([-3], np.int64), "picks": np.array([0, -1, 2], np.int64), "last": np.array([-1], np.int64),
        "weights": random.normal(size=(4, FEATURES)).astype(np.float32), "bias": np.ones((4,), np.float32),
        "square": random.normal(size=(FEATURES, 3)).astype(np.float32),
    }
    outputs = {
        "flat": TensorProto.FLOAT, "softmax": TensorProto.FLOAT, "logarithm": TensorProto.FLOAT,
        "best": TensorProto.INT64, "present": TensorProto.BOOL, "shape": TensorProto.INT64,
        "squeezed": TensorProto.FLOAT, "equal": TensorProto.BOOL,
    }
    return operator_model(nodes, {"X": numbers}, outputs, constants)


@model
def operators_ml(data, rows):
    def node(*arguments, **attributes):
        return helper.make_node(*arguments, domain="ai.onnx.ml", **attributes)

    numbers = data.numbers[-rows:]
    words = data.columns(rows)["carrier"]
    nodes = [
        node("Normalizer", ["X"], ["max"], norm="MAX"),
        node("Normalizer", ["X"], ["l1"], norm="L1"),
        node("Normalizer", ["X"], ["l2"], norm="L2"),
        node("Binarizer", ["X"], ["binary"], threshold=0.25),
        node("ArrayFeatureExtractor", ["X", "picks"], ["extracted"]),
        node("FeatureVectorizer", ["extracted", "X"], ["vector"], inputdimensions=[2, 4]),
        node("LabelEncoder", ["S"], ["code"], keys_strings=["AA", "DL", "Zürich"], values_floats=[1.5, 2.5, -3.0],
             default_float=9.0),
        node("LabelEncoder", ["N"], ["word"], keys_int64s=[1, 2, 3], values_strings=["one", "two", "three"]),
        node("LabelEncoder", ["word"], ["number"], keys_strings=["one", "two"], values_int64s=[10, 20]),
        node("OneHotEncoder", ["N"], ["hot"], cats_int64s=[1, 5, 9], zeros=1),
        node("Imputer", ["N"], ["imputed"], imputed_value_int64s=[7], replaced_value_int64=3),
        node("LinearRegressor", ["X"], ["probit"], coefficients=[0.01] * (2 * FEATURES), intercepts=[0.4, 0.6], targets=2,
             post_transform="PROBIT"),
        node("LinearClassifier", ["X"], ["label", "zero"], coefficients=list(np.linspace(-1, 1, 3 * FEATURES)),
             intercepts=[0.0, 0.1, -0.1], classlabels_strings=["x", "y", "z"], post_transform="SOFTMAX_ZERO"),
        node("LinearClassifier", ["X"], ["label2", "pair"], coefficients=[0.1] * FEATURES, intercepts=[0.2],
             classlabels_ints=[7, 8], post_transform="NONE"),
        helper.make_node("Cast", ["code"], ["text"], to=TensorProto.STRING),
        helper.make_node("Cast", ["text"], ["read"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["N"], ["int_text"], to=TensorProto.STRING),
    ]
    names = {"max": 1, "l1": 1, "l2": 1, "binary": 1, "vector": 1, "code": 1, "word": 8, "number": 7, "hot": 1,
             "imputed": 7, "probit": 1, "label": 8, "zero": 1, "label2": 7, "pair": 1, "read": 1, "int_text": 8}
    inputs = {"X": numbers, "S": words, "N": data.month[-rows:].reshape(-1, 1)}
    return operator_model(nodes, inputs, names, {"picks": np.array([3, 0], np.int64)})


def tree_nodes(random, modes, trees, classes):
    """Random complete trees of depth 3 over all branch modes, every leaf voting for every class."""
    nodes, votes = [], []
    for tree in range(trees):
        for place in range(15):
            leaf = place >= 7
            nodes.append((tree, place, 0 if leaf else int(random.integers(FEATURES)),
                          0.0 if leaf else float(np.float32(random.choice([-0.5, 0.0, 0.25, 1.0]))),
                          "LEAF" if leaf else str(random.choice(modes)),
                          0 if leaf else 2 * place + 1, 0 if leaf else 2 * place + 2, int(random.integers(2))))
            if leaf:
                votes += [(tree, place, column, float(np.float32(random.normal()))) for column in range(classes)]
    keys = ["nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids",
            "nodes_falsenodeids", "nodes_missing_value_tracks_true"]
    return dict(zip(keys, map(list, zip(*nodes)))), list(map(list, zip(*votes)))


def regressor(name, output, aggregate, modes, targets, seed):
    nodes, (trees, places, ids, weights) = tree_nodes(np.random.default_rng(seed), modes, 11, targets)
    return helper.make_node(
        "TreeEnsembleRegressor", [name], [output], domain="ai.onnx.ml", aggregate_function=aggregate, n_targets=targets,
        target_treeids=trees, target_nodeids=places, target_ids=ids, target_weights=weights,
        base_values=[0.5] * targets, **nodes)


ALL_MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


@model
def trees_all_modes(data, rows):
    # Whole and half numbers, so that equality and the edge of a threshold happen.
    coarse = (np.round(data.missing[-rows:] * 4) / 4).astype(np.float32)
    nodes = [
        regressor("X", "sum", "SUM", ALL_MODES, 1, 1), regressor("X", "average", "AVERAGE", ALL_MODES, 2, 2),
        regressor("X", "min", "MIN", ALL_MODES, 1, 3), regressor("X", "max", "MAX", ALL_MODES, 3, 4),
        regressor("X", "lt", "SUM", ["BRANCH_LT"], 1, 5), regressor("X", "gte", "SUM", ["BRANCH_GTE"], 1, 6),
    ]
    outputs = dict.fromkeys(["sum", "average", "min", "max", "lt", "gte"], TensorProto.FLOAT)
    return operator_model(nodes, {"X": coarse}, outputs)


@model
def trees_double_input(data, rows):
    coarse = np.round(data.missing[-rows:].astype(np.float64) * 4) / 4 + 1e-12
    nodes, (trees, places, ids, weights) = tree_nodes(np.random.default_rng(7), ["BRANCH_LEQ", "BRANCH_GT"], 9, 3)
    classifier = helper.make_node(
        "TreeEnsembleClassifier", ["X"], ["label", "scores"], domain="ai.onnx.ml", post_transform="SOFTMAX",
        classlabels_strings=["x", "y", "z"], class_treeids=trees, class_nodeids=places, class_ids=ids,
        class_weights=weights, base_values=[0.1, 0.2, -0.3], **nodes)
    outputs = {"label": TensorProto.STRING, "scores": TensorProto.FLOAT, "sum": TensorProto.FLOAT}
    return operator_model([classifier, regressor("X", "sum", "SUM", ALL_MODES, 1, 8)], {"X": coarse}, outputs)


def written(value):
    """A tensor as JSON; floats as the shortest text that reads back as the same float."""
    array = np.asarray(value)
    data = array.ravel()
    if array.dtype.kind == "f":
        data = [str(one) for one in data]
    elif array.dtype.kind in "OUS":
        data = [str(one) for one in data]
    else:
        data = data.tolist()
    kind = "str" if array.dtype.kind in "US" else array.dtype.name
    return {"datatype": DATATYPES[kind], "shape": list(array.shape), "data": data}


def entries(name, maps):
    """Maps as tensors of their keys and their values."""
    width = max(map(len, maps))
    keys = [[*one, *[""] * (width - len(one))] for one in maps]
    values = [[*one.values(), *[0.0] * (width - len(one))] for one in maps]
    return {f"{name}_keys": np.array(keys, object), f"{name}_values": np.array(values, np.float32)}


def answers(session, inputs):
    """What onnxruntime answers, and the inputs as tensors. It takes one map at a time."""
    maps = {name: value for name, value in inputs.items() if isinstance(value, list)}
    if not maps:
        return session.run(None, inputs), inputs
    (name, rows), = maps.items()
    parts = [session.run(None, {name: one}) for one in rows]
    return [np.concatenate(outputs) for outputs in zip(*parts)], entries(name, rows)


def record(proto, inputs):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs, labels = [], {}
    names = [output.name for output in session.get_outputs()]
    made, inputs = answers(session, inputs)
    for name, value in zip(names, made):
        if isinstance(value, list):
            labels[name] = list(value[0])
            value = np.array([list(row.values()) for row in value], np.float32)
        outputs.append({"name": name, **written(value)})
    given = [{"name": name, **written(value)} for name, value in inputs.items()]
    return {"inputs": given, "outputs": outputs, "class_labels": labels}


PACKAGES = [
    "numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx", "onnxmltools", "xgboost", "xgboost-cpu", "lightgbm", "jax",
    "jax2onnx", "flax", "protobuf",
]


def installed(package):
    return any(found.metadata["Name"] == package for found in importlib.metadata.distributions(name=package))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path, nargs="?")
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--rows", type=int, default=12, help="rows of the recorded batch (default: 12)")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    arguments = parser.parse_args()
    ZOO.update((make.__name__, make) for make in [*ESTIMATORS, *NETWORKS])
    if arguments.list:
        print("\n".join(ZOO))
        return
    if arguments.output is None:
        parser.error("OUTPUT is missing")
    onnxruntime.set_default_logger_severity(3)
    arguments.output.mkdir(parents=True, exist_ok=True)
    data = Data(1000)
    for name in arguments.only.split(",") if arguments.only else ZOO:
        proto, inputs = ZOO[name](data, arguments.rows)
        onnx.save(proto, arguments.output / f"{name}.onnx")
        answer = record(proto, inputs)
        (arguments.output / f"{name}.json").write_text(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))
        print(f"{name}: {(arguments.output / f'{name}.onnx').stat().st_size} bytes")
    versions = {name: importlib.metadata.version(name) for name in PACKAGES if installed(name)}
    (arguments.output / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
