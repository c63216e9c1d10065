"""Writes the ONNX operator specification's own examples as models with inputs and expected outputs.

    python onnx_specification.py OUTPUT [--only NAME,...] [--list]

The `onnx` package has an example or more for most operators (`onnx.backend.test.case.node`): a model of one node, its
inputs, and the outputs that the specification says it has. For each whose operators are in OPERATORS and whose types
are tensors it writes OUTPUT/NAME.onnx and OUTPUT/NAME.json in the form of `onnx_zoo.py`; what an operator has no
example for is written by hand here (SVM, CategoryMapper, Tokenizer, CDist...), with the answer of onnxruntime.
OUTPUT/skipped.json says what was left out, and why.

Needs numpy, onnx, onnxruntime.
"""

import argparse
import collections
import importlib.metadata
import json
import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

warnings.filterwarnings("ignore")

SEED = 20130101
# The versions that the evaluator reads; later ones are refused by it.
NEWEST = {"": 25, "ai.onnx.ml": 5}
DATATYPES = {
    "float32": "FP32", "float64": "FP64", "float16": "FP16", "bfloat16": "BF16", "int64": "INT64", "int32": "INT32",
    "int16": "INT16", "int8": "INT8", "uint64": "UINT64", "uint32": "UINT32", "uint16": "UINT16", "uint8": "UINT8",
    "bool": "BOOL", "object": "BYTES",
}
MAIN = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Cast CastLike Ceil Celu Clip Compress Concat Constant
    ConstantOfShape Cos Cosh CumSum Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu
    Gemm Greater GreaterOrEqual HardSigmoid HardSwish Hardmax Identity If IsInf IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax
    Loop LpNormalization MatMul Max Mean Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    RegexFullMatch Relu Reshape Round Scan Scatter ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh Size Slice
    Softmax Softplus Softsign Split Sqrt Squeeze StringConcat StringNormalizer StringSplit Sub Sum Tan Tanh
    TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Unsqueeze Where Xor
"""
CLASSICAL = """
    ArrayFeatureExtractor Binarizer LabelEncoder TreeEnsemble
"""
OPERATORS = {("", name) for name in MAIN.split()} | {("ai.onnx.ml", name) for name in CLASSICAL.split()}
OWN = {}


def own(make):
    """Registers a function that returns (nodes, inputs by name, outputs by name with their type)."""
    OWN[make.__name__] = make
    return make


def node(operator, inputs, outputs, domain="ai.onnx.ml", **attributes):
    return helper.make_node(operator, inputs, outputs, domain=domain, **attributes)


def numbers(rows=7, columns=3):
    return np.random.default_rng(SEED).normal(size=(rows, columns)).astype(np.float32)


def machine(kind, name, **attributes):
    """Support vector machines of every kernel side by side; their coefficients are random, so no score is at an edge."""
    nodes, outputs = [], {}
    for index, kernel in enumerate(["LINEAR", "POLY", "RBF", "SIGMOID"]):
        random = np.random.default_rng(SEED + index)
        given = {key: list(value(random)) if callable(value) else value for key, value in attributes.items()}
        names = [f"{name}{kernel}"] if kind == "SVMRegressor" else [f"label{kernel}", f"{name}{kernel}"]
        if kind == "SVMClassifier":
            outputs[names[0]] = TensorProto.INT64 if "classlabels_ints" in given else TensorProto.STRING
        outputs[names[-1]] = TensorProto.FLOAT
        nodes.append(node(kind, ["X"], names, kernel_type=kernel, kernel_params=[0.4, 0.3, 3.0 + (index == 9)], **given))
    return nodes, {"X": numbers()}, outputs


def drawn(count, least=-1.0, most=1.0):
    return lambda random: [float(np.float32(value)) for value in random.uniform(least, most, count)]


@own
def svm_classifier_two(_=None):
    return machine("SVMClassifier", "scores", classlabels_ints=[3, 8], vectors_per_class=[2, 3],
                   support_vectors=drawn(15), coefficients=drawn(5), rho=drawn(1))


@own
def svm_classifier_three(_=None):
    return machine("SVMClassifier", "scores", classlabels_strings=["a", "b", "c"], vectors_per_class=[2, 3, 1],
                   support_vectors=drawn(18), coefficients=drawn(12), rho=drawn(3), post_transform="SOFTMAX")


@own
def svm_classifier_probabilities(_=None):
    return machine("SVMClassifier", "scores", classlabels_ints=[0, 1, 2, 3], vectors_per_class=[2, 3, 1, 2],
                   support_vectors=drawn(24), coefficients=drawn(24), rho=drawn(6), prob_a=drawn(6, -3, -1),
                   prob_b=drawn(6))


@own
def svm_classifier_two_probabilities(_=None):
    return machine("SVMClassifier", "scores", classlabels_strings=["no", "yes"], vectors_per_class=[2, 3],
                   support_vectors=drawn(15), coefficients=drawn(5), rho=drawn(1), prob_a=drawn(1, -3, -1),
                   prob_b=drawn(1))


@own
def svm_regressor(_=None):
    return machine("SVMRegressor", "target", n_supports=4, support_vectors=drawn(12), coefficients=drawn(4), rho=drawn(1))


@own
def svm_regressor_one_class(_=None):
    return machine("SVMRegressor", "target", n_supports=4, support_vectors=drawn(12), coefficients=drawn(4),
                   rho=drawn(1), one_class=1)


@own
def category_mapper(_=None):
    pairs = {"cats_int64s": [4, 7, -1], "cats_strings": ["vier", "sieben", "é"]}
    nodes = [node("CategoryMapper", ["S"], ["numbers"], default_int64=99, **pairs),
             node("CategoryMapper", ["N"], ["words"], default_string="?", **pairs)]
    inputs = {"S": np.array([["vier", "x"], ["é", "sieben"]], object), "N": np.array([[4, 0], [-1, 7]], np.int64)}
    return nodes, inputs, {"numbers": TensorProto.INT64, "words": TensorProto.STRING}


TEXTS = np.array(["The cat, the CAT sat", "", "x", "naïve Ä_1 22 a.b", "a\u000bb\tc\nd  e"], object)


@own
def control_flow(_=None):
    """Branches and loops that use values from around them, nested, and results that are named twice."""
    value, main = helper.make_tensor_value_info, lambda *arguments, **attributes: node(*arguments, domain="", **attributes)
    real, many = TensorProto.FLOAT, TensorProto.INT64
    doubled = helper.make_graph([main("Add", ["X", "X"], ["twice"])], "then", [], [value("twice", real, None)])
    kept = helper.make_graph([main("Identity", ["X"], ["same"])], "else", [], [value("same", real, None)])
    branch = main("If", ["some"], ["chosen"], then_branch=doubled, else_branch=kept)
    inner = helper.make_graph(
        [main("Add", ["total", "chosen"], ["more"]), main("ReduceSum", ["more"], ["sum"], keepdims=0),
         main("Identity", ["go"], ["on"])],
        "inner", [value("turn", many, []), value("go", TensorProto.BOOL, []), value("total", real, None)],
        [value("on", TensorProto.BOOL, []), value("more", real, None), value("sum", real, [])])
    outer = helper.make_graph(
        [branch, main("Loop", ["step", "", "state"], ["last", "sums"], body=inner), main("Less", ["step", "N"], ["next"])],
        "outer", [value("step", many, []), value("before", TensorProto.BOOL, []), value("state", real, None)],
        [value("next", TensorProto.BOOL, []), value("last", real, None), value("last", real, None)])
    nodes = [main("ReduceMax", ["N"], ["most"], keepdims=0), main("ReduceSum", ["X"], ["all"], keepdims=0),
             main("Constant", [], ["zero"], value=helper.make_tensor("zero", real, [], [0.0])),
             main("Greater", ["all", "zero"], ["some"]), main("Loop", ["most", "", "X"], ["end", "steps"], body=outer)]
    return nodes, {"X": numbers(2, 2), "N": np.array(4, np.int64)}, {"end": real, "steps": real}


@own
def tokenizer(_=None):
    rules = [
        {"tokenexp": "[a-zA-Z0-9_]+"}, {"tokenexp": "\\b\\w\\w+\\b"}, {"tokenexp": "[^\\s]+", "mark": 1},
        {"tokenexp": "a|at|a.", "mincharnum": 2}, {"tokenexp": "a*?.?"}, {"tokenexp": "[a-z]{1,3}", "mincharnum": 3},
        {"separators": [" "]}, {"separators": [" ", "[,.]", "a|at"], "mark": 1}, {"separators": [""]},
        {"separators": [" "], "mincharnum": 3}, {"separators": ["c*"]}, {"tokenexp": "(?i)THE|ä"},
    ]
    nodes = [node("Tokenizer", ["S"], [f"tokens{index}"], domain="com.microsoft",
                  **{"mark": 0, "pad_value": "#", "mincharnum": 1, **rule}) for index, rule in enumerate(rules)]
    return nodes, {"S": TEXTS}, {f"tokens{index}": TensorProto.STRING for index in range(len(rules))}


@own
def tokenizer_matrix(_=None):
    nodes = [node("Tokenizer", ["S"], ["tokens"], domain="com.microsoft", mark=1, pad_value="", mincharnum=1,
                  tokenexp="\\S+")]
    return nodes, {"S": TEXTS[:4].reshape(2, 2)}, {"tokens": TensorProto.STRING}


@own
def n_grams_of_words(_=None):
    pool = ["a", "b", "c", "a", "b", "b", "c", "a", "b", "c"]
    rules = [("TF", 1, 3, 0), ("IDF", 1, 2, 1), ("TFIDF", 2, 3, 2), ("TFIDF", 1, 1, 3)]
    nodes = [node("TfIdfVectorizer", ["S"], [f"counts{index}"], domain="", mode=mode, min_gram_length=least,
                  max_gram_length=most, max_skip_count=skips, ngram_counts=[0, 3, 7], ngram_indexes=[0, 1, 2, 3, 4, 5],
                  pool_strings=pool, weights=[0.5, 2.0, 3.0, 0.25, 1.5, 4.0])
             for index, (mode, least, most, skips) in enumerate(rules)]
    words = np.array([list("abcab"), list("aabbc"), list("xxxxx"), ["a", "#", "b", "#", "c"]], object)
    return nodes, {"S": words}, {f"counts{index}": TensorProto.FLOAT for index in range(len(rules))}


@own
def distances(_=None):
    nodes = [node("CDist", ["A", "B"], [metric], domain="com.microsoft", metric=metric)
             for metric in ["euclidean", "sqeuclidean"]]
    return nodes, {"A": numbers(4, 5), "B": numbers(9, 5)[4:]}, {"euclidean": 1, "sqeuclidean": 1}


@own
def hashes(_=None):
    nodes = [node("MurmurHash3", ["S"], ["signed"], domain="com.microsoft", positive=0, seed=0),
             node("MurmurHash3", ["S"], ["unsigned"], domain="com.microsoft", positive=1, seed=7)]
    return nodes, {"S": TEXTS}, {"signed": TensorProto.INT32, "unsigned": TensorProto.UINT32}


@own
def scalers(_=None):
    x = numbers()
    nodes = [node("Scaler", ["X"], ["scaled"], offset=[0.5, -1.0, 2.0], scale=[2.0, 0.1, -1.0]),
             node("Scaler", ["X"], ["shifted"], offset=[0.5], scale=[2.0]),
             *(node("Normalizer", ["X"], [norm], norm=norm) for norm in ["L1", "L2", "MAX"]),
             node("Imputer", ["M"], ["imputed"], imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan"))]
    missing = x.copy()
    missing[::2, 1] = np.nan
    return nodes, {"X": x, "M": missing}, dict.fromkeys(["scaled", "shifted", "L1", "L2", "MAX", "imputed"], 1)


def to_numpy(value):
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value)


def written(name, value):
    """A tensor as JSON; reals as the shortest text that reads back as the same."""
    array = np.asarray(value)
    kind = "object" if array.dtype.kind in "SU" else array.dtype.name
    if array.dtype.kind == "f" or kind == "bfloat16":
        data = [str(float(one)) for one in array.ravel()]
    elif kind == "object":
        data = [one.decode() if isinstance(one, bytes) else str(one) for one in array.ravel()]
    else:
        data = array.ravel().tolist()
    return {"name": name, "datatype": DATATYPES[kind], "shape": list(array.shape), "data": data}


def lower(model):
    """Gives a model of a later version the newest one that is read, if it means the same there: newer versions mostly
    add types. `Mod` of reals without `fmod` is one that came later."""
    real = model.graph.input and model.graph.input[0].type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    first = model.graph.node[0]
    if first.op_type == "Mod" and real and not any(one.name == "fmod" and one.i for one in first.attribute):
        return
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    for opset in lowered.opset_import:
        opset.version = min(opset.version, NEWEST.get(opset.domain, opset.version))
    try:
        onnx.checker.check_model(lowered, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return
    model.CopyFrom(lowered)


def reason_to_skip(case):
    """Why a case is not for this evaluator; none if it is."""
    for proto in case.model.graph.node:
        if (proto.domain, proto.op_type) not in OPERATORS:
            return f"{proto.domain or 'ai.onnx'}.{proto.op_type} is not evaluated"
    if case.name.startswith("test_training_"):
        return "it trains"
    lower(case.model)
    for opset in case.model.opset_import:
        if opset.version > NEWEST.get(opset.domain, 0):
            return f"{opset.domain or 'ai.onnx'} {opset.version}"
    for value in [*case.model.graph.input, *case.model.graph.output]:
        if not value.type.HasField("tensor_type"):
            return f"`{value.name}` is no tensor"
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if kind.name not in DATATYPES:
            return f"type {onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)}"
    return None


def specification_cases():
    from onnx.backend.test.case.node import collect_testcases

    return [case for case in collect_testcases(None) if not case.name.endswith("_expanded")]


def record_case(case):
    inputs, outputs = case.data_sets[0]
    graph = case.model.graph
    pairs = zip([value.name for value in graph.input], inputs)
    expected = zip([value.name for value in graph.output], outputs)
    return {"inputs": [written(name, to_numpy(value)) for name, value in pairs],
            "outputs": [written(name, to_numpy(value)) for name, value in expected]}


def own_model(name):
    nodes, inputs, outputs = OWN[name]()
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "object": TensorProto.STRING}
    declared = [helper.make_tensor_value_info(key, kinds[value.dtype.name], list(value.shape)) for key, value in inputs.items()]
    made = [helper.make_tensor_value_info(key, kind, None) for key, kind in outputs.items()]
    graph = helper.make_graph(nodes, name, declared, made)
    versions = {"": 21, "ai.onnx.ml": 3, "com.microsoft": 1}
    imports = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answers = zip([output.name for output in session.get_outputs()], session.run(None, inputs))
    return model, {"inputs": [written(key, value) for key, value in inputs.items()],
                   "outputs": [written(key, value) for key, value in answers]}


def save(folder, name, model, record):
    onnx.save(model, folder / f"{name}.onnx")
    (folder / f"{name}.json").write_text(json.dumps(record, ensure_ascii=False, separators=(",", ":")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path, nargs="?")
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    arguments = parser.parse_args()
    skipped = collections.defaultdict(list)
    cases = {}
    for case in specification_cases():
        reason = reason_to_skip(case)
        if reason:
            skipped[reason].append(case.name)
        else:
            cases[case.name] = case
    names = arguments.only.split(",") if arguments.only else [*cases, *OWN]
    if arguments.list:
        print("\n".join(names))
        return
    if arguments.output is None:
        parser.error("OUTPUT is missing")
    onnxruntime.set_default_logger_severity(4)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in names:
        model, record = own_model(name) if name in OWN else (cases[name].model, record_case(cases[name]))
        save(arguments.output, name, model, record)
    (arguments.output / "skipped.json").write_text(json.dumps(skipped, indent=1) + "\n")
    versions = {package: importlib.metadata.version(package) for package in ["numpy", "onnx", "onnxruntime"]}
    (arguments.output / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")
    print(f"{len(names)} examples")


if __name__ == "__main__":
    main()
