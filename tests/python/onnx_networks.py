"""Networks for the zoo of `onnx_zoo.py`. Each function takes the table and the number of recorded rows, and gives
(onnx model, inputs by name).

`jax_*` come out of a real exporter, jax2onnx, from JAX and Flax modules with seeded weights. PyTorch has no wheel on
PyPI without half a gigabyte of libraries for graphics cards, so `torch_*` are built here with the `onnx` helpers, in
the operators that `torch.onnx` writes (opset 17: Conv with its batch normalisation folded in, Shape-Gather-Concat
before a Reshape, Slice to INT64_MAX, LSTM and GRU nodes); they come from no exporter. `quantized_*` are made from
these by onnxruntime.quantization. `mixed_*` join what skl2onnx and jax2onnx wrote into one graph.
"""

import pathlib
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 20130101
OPSET = 17


def images(rows, channels, side):
    return np.random.default_rng(SEED).normal(size=(rows, channels, side, side)).astype(np.float32)


class Graph:
    """Nodes and seeded weights, one after another."""

    def __init__(self):
        self.random = np.random.default_rng(SEED)
        self.nodes, self.weights, self.count = [], [], 0

    def weight(self, *shape, scale=None):
        scale = scale or 1 / np.sqrt(np.prod(shape[1:]) or 1)
        return self.constant((self.random.normal(size=shape) * scale).astype(np.float32))

    def constant(self, value):
        name = f"onnx::{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def __call__(self, operator, *inputs, outputs=1, **attributes):
        self.count += 1
        names = [f"/{operator}_{self.count}_output_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, f"/{operator}_{self.count}", **attributes))
        return names[0] if outputs == 1 else names

    def model(self, inputs, output, result_shape, element_type=TensorProto.FLOAT):
        kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}
        given = [helper.make_tensor_value_info(name, kinds[value.dtype], ["batch", *value.shape[1:]])
                 for name, value in inputs.items()]
        self.nodes.append(helper.make_node("Identity", [output], ["output"]))
        result = helper.make_tensor_value_info("output", element_type, ["batch", *result_shape])
        graph = helper.make_graph(self.nodes, "main_graph", given, [result], self.weights)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(proto, full_check=True)
        return proto, inputs


def convolution(graph, x, wide, narrow, kernel, stride=1):
    pads = [kernel // 2] * 4
    return graph("Conv", x, graph.weight(wide, narrow, kernel, kernel), graph.weight(wide, scale=0.1), dilations=[1, 1],
                 group=1, kernel_shape=[kernel, kernel], pads=pads, strides=[stride, stride])


def residual(graph, width):
    """The shape of ResNet-18 (eight blocks of two convolutions) up to its last layer, from `width` to 8 times as wide."""
    x = graph("Relu", convolution(graph, "input", width, 3, 7, 2))
    x = graph("MaxPool", x, ceil_mode=0, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    narrow = width
    for wide, first_stride in [(width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)]:
        for stride in (first_stride, 1):
            inner = graph("Relu", convolution(graph, x, wide, narrow, 3, stride))
            inner = convolution(graph, inner, wide, wide, 3)
            shortcut = x if (stride, narrow) == (1, wide) else convolution(graph, x, wide, narrow, 1, stride)
            x, narrow = graph("Relu", graph("Add", inner, shortcut)), wide
    return graph("Flatten", graph("GlobalAveragePool", x), axis=1)


def torch_resnet18(data, rows):
    """ResNet-18, an eighth as wide."""
    graph = Graph()
    x = residual(graph, 8)
    x = graph("Gemm", x, graph.weight(10, 64), graph.weight(10, scale=0.1), alpha=1.0, beta=1.0, transB=1)
    return graph.model({"input": images(min(rows, 3), 3, 32)}, x, [10])


def torch_cnn_classes(data, rows):
    """A small convolutional network with two branches that answers the class as INT64."""
    graph = Graph()
    x = graph("LeakyRelu", convolution(graph, "input", 6, 1, 3), alpha=0.1)
    left = graph("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    right = graph("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = graph("HardSwish", graph("Concat", left, right, axis=1))
    x = graph("ReduceMean", x, axes=[2, 3], keepdims=0)
    x = graph("MatMul", x, graph.weight(12, 5))
    return graph.model({"input": images(rows, 1, 12)}, graph("ArgMax", x, axis=1, keepdims=0), [], TensorProto.INT64)


def linear(graph, x, narrow, wide):
    return graph("Add", graph("MatMul", x, graph.weight(narrow, wide)), graph.weight(wide, scale=0.1))


def extent(graph, x, axis):
    picked = graph("Gather", graph("Shape", x), graph.constant(np.int64(axis)), axis=0)
    return graph("Unsqueeze", picked, graph.ints(0))


def attention(graph, x, width, heads):
    batch, length = extent(graph, x, 0), extent(graph, x, 1)
    shape = graph("Concat", batch, length, graph.ints(heads), graph.ints(width // heads), axis=0)

    def split(perm):
        return graph("Transpose", graph("Reshape", linear(graph, x, width, width), shape), perm=perm)

    query, key, value = split([0, 2, 1, 3]), split([0, 2, 3, 1]), split([0, 2, 1, 3])
    scores = graph("Div", graph("MatMul", query, key), graph.constant(np.float32(np.sqrt(width // heads))))
    mixed = graph("MatMul", graph("Softmax", scores, axis=-1), value)
    flat = graph("Concat", batch, length, graph.ints(width), axis=0)
    mixed = graph("Reshape", graph("Transpose", mixed, perm=[0, 2, 1, 3]), flat)
    return linear(graph, mixed, width, width)


def torch_transformer(data, rows):
    """Two layers of an encoder over INT64 tokens, the first token's state classified."""
    width, heads, length = 16, 2, 10
    graph = Graph()
    x = graph("Gather", graph.weight(50, width), "input", axis=0)
    x = graph("Add", x, graph.weight(1, length, width))
    for _ in range(2):
        one = [graph.constant(np.ones(width, np.float32)), graph.constant(np.zeros(width, np.float32))]
        x = graph("LayerNormalization", graph("Add", x, attention(graph, x, width, heads)), *one, axis=-1)
        inner = linear(graph, x, width, 4 * width)
        half = graph("Div", inner, graph.constant(np.float32(np.sqrt(2))))
        gate = graph("Add", graph("Erf", half), graph.constant(np.float32(1)))
        inner = graph("Mul", graph("Mul", inner, gate), graph.constant(np.float32(0.5)))
        x = graph("LayerNormalization", graph("Add", x, linear(graph, inner, 4 * width, width)), *one, axis=-1)
    x = graph("Slice", x, graph.ints(0), graph.ints(2**63 - 1), graph.ints(1), graph.ints(1))
    first = graph("Gather", x, graph.constant(np.int64(0)), axis=1)
    tokens = np.random.default_rng(SEED).integers(0, 50, (rows, length))
    return graph.model({"input": tokens}, graph("Softmax", linear(graph, first, width, 3), axis=1), [3])


def recurrent(rows, operator, gates, states, **attributes):
    graph = Graph()
    narrow, wide = 5, 7
    x = graph("Transpose", "input", perm=[1, 0, 2])
    batch = extent(graph, x, 1)
    zeros = graph("ConstantOfShape", graph("Concat", graph.ints(2), batch, graph.ints(wide), axis=0))
    y = graph(operator, x, graph.weight(2, gates * wide, narrow), graph.weight(2, gates * wide, wide),
              graph.weight(2, 2 * gates * wide), "", *[zeros] * states, outputs=1 + states, direction="bidirectional",
              hidden_size=wide, **attributes)[0]
    y = graph("Transpose", y, perm=[2, 0, 1, 3])
    y = graph("Reshape", y, graph.ints(0, 0, -1))
    last = graph("Gather", y, graph.constant(np.int64(-1)), axis=1)
    series = np.random.default_rng(SEED).normal(size=(rows, 9, narrow)).astype(np.float32)
    out = graph("Gemm", last, graph.weight(2, 2 * wide), graph.weight(2), transB=1)
    return graph.model({"input": series}, out, [2])


def torch_lstm(data, rows):
    return recurrent(rows, "LSTM", 4, 2)


def torch_gru(data, rows):
    return recurrent(rows, "GRU", 3, 1, linear_before_reset=1)


def torch_mlp(data, rows):
    graph = Graph()
    x = graph("Relu", linear(graph, "input", data.numbers.shape[1], 32))
    x = graph("Relu", linear(graph, x, 32, 16))
    return graph.model({"input": data.numbers[-rows:]}, linear(graph, x, 16, 3), [3])


def quantized_mlp(data, rows):
    """Weights INT8, activations UINT8 whose scale is found as they come (dynamic quantisation)."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    proto, inputs = torch_mlp(data, rows)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        onnx.save(proto, path / "whole.onnx")
        # Seven bits: processors without VNNI add products of eight bits in sixteen and saturate.
        quantize_dynamic(path / "whole.onnx", path / "small.onnx", weight_type=QuantType.QInt8, reduce_range=True)
        return onnx.load(path / "small.onnx"), inputs


def jax_model(call, *inputs, opset=21):
    import jax
    import jax2onnx

    kinds = [jax.ShapeDtypeStruct(jax.export.symbolic_shape(",".join(["B", *map(str, one.shape[1:])])), one.dtype)
             for one in inputs]
    proto = jax2onnx.to_onnx(call, inputs=kinds, opset=opset)
    return proto, {value.name: one for value, one in zip(proto.graph.input, inputs)}


def jax_cnn(data, rows):
    import jax
    from flax import nnx

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Conv(1, 6, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(6, use_running_average=True, rngs=rngs)
            self.second = nnx.Conv(6, 8, (3, 3), strides=2, rngs=rngs)
            self.out = nnx.Linear(8, 4, rngs=rngs)

        def __call__(self, x):
            x = nnx.max_pool(nnx.relu(self.norm(self.first(x))), window_shape=(2, 2), strides=(2, 2))
            return nnx.softmax(self.out(nnx.relu(self.second(x)).mean(axis=(1, 2))))

    inputs = images(rows, 16, 16)[:, :, :, :1]
    with jax.default_matmul_precision("highest"):
        return jax_model(Network(nnx.Rngs(SEED)), inputs)


def jax_transformer(data, rows):
    import jax
    from flax import nnx

    class Block(nnx.Module):
        def __init__(self, width, rngs):
            self.before, self.after = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, width, decode=False, deterministic=True, rngs=rngs)
            self.up, self.down = nnx.Linear(width, 4 * width, rngs=rngs), nnx.Linear(4 * width, width, rngs=rngs)

        def __call__(self, x):
            x = x + self.attention(self.before(x))
            return x + self.down(nnx.gelu(self.up(self.after(x))))

    class Encoder(nnx.Module):
        def __init__(self, rngs):
            self.embedding, self.out = nnx.Embed(50, 16, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)
            self.places = nnx.Param(jax.random.normal(jax.random.key(1), (12, 16)))
            self.first, self.second = Block(16, rngs), Block(16, rngs)

        def __call__(self, tokens):
            x = self.embedding(tokens) + self.places[...]
            return self.out(self.second(self.first(x)).mean(axis=1))

    tokens = np.random.default_rng(SEED).integers(0, 50, (rows, 12)).astype(np.int32)
    return jax_model(Encoder(nnx.Rngs(SEED)), tokens)


def jax_recurrent(data, rows):
    """A recurrence written as `lax.scan`, which becomes control flow in ONNX."""
    import jax
    import jax.numpy as jnp

    random = np.random.default_rng(SEED)
    into, across, out = (random.normal(size=shape).astype(np.float32) / 3 for shape in [(4, 8), (8, 8), (8, 2)])

    def network(series):
        def step(state, x):
            return jnp.tanh(x @ into + state @ across), None

        start = jnp.zeros((series.shape[0], 8), jnp.float32)
        return jax.lax.scan(step, start, jnp.swapaxes(series, 0, 1))[0] @ out

    return jax_model(network, random.normal(size=(rows, 6, 4)).astype(np.float32))


def mixed_columns(data, rows):
    """Raw columns, scaled and one-hot encoded as scikit-learn does it, into a convolution; the answer is a text."""
    import jax
    from flax import nnx
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = ColumnTransformer([("numbers", StandardScaler(), ["a", "b"]), ("carrier", OneHotEncoder(), ["carrier"])])
    table = data.frame().fillna(0.0)
    kinds = [(name, FloatTensorType([None, 1])) for name in ("a", "b")] + [("carrier", StringTensorType([None, 1]))]
    prepared = convert_sklearn(columns.fit(table), initial_types=kinds, target_opset={"": 21, "ai.onnx.ml": 3})
    width = len(columns.get_feature_names_out())

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.convolution, self.out = nnx.Conv(1, 4, (3,), rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            return self.out(nnx.relu(self.convolution(x[..., None])).mean(axis=1))

    network, _ = jax_model(Network(nnx.Rngs(SEED)), np.zeros((1, width), np.float32))
    prepared.ir_version = network.ir_version = 10
    for imported in prepared.opset_import:
        # skl2onnx imports the oldest versions that its nodes need; they are the same in these.
        imported.version = 3 if imported.domain else 21
    whole = onnx.compose.merge_models(
        prepared, network, prefix2="network/",
        io_map=[(prepared.graph.output[0].name, network.graph.input[0].name)])
    scores = whole.graph.output[0].name
    whole.graph.node.extend([
        helper.make_node("ArgMax", [scores], ["best"], axis=1, keepdims=0),
        helper.make_node("LabelEncoder", ["best"], ["label"], domain="ai.onnx.ml", keys_int64s=[0, 1, 2],
                         values_strings=["early", "on time", "spät"], default_string="?"),
    ])
    whole.graph.output.insert(0, helper.make_tensor_value_info("label", TensorProto.STRING, [None]))
    last = table.iloc[-rows:]
    return whole, {"a": last[["a"]].to_numpy(np.float32), "b": last[["b"]].to_numpy(np.float32),
                   "carrier": last[["carrier"]].to_numpy(dtype=object)}


NETWORKS = [
    jax_cnn, jax_transformer, jax_recurrent, torch_resnet18, torch_cnn_classes, torch_transformer, torch_lstm, torch_gru,
    torch_mlp, quantized_mlp, mixed_columns,
]
