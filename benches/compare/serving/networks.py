"""Networks of a common size for `engine.py`, built of the pieces of the zoo's (`tests/python/onnx_networks.py`).

Each function takes a number of rows and gives (onnx model, rows by input).
"""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests/python"))

from onnx_networks import SEED, Graph, attention, convolution, images, linear, residual  # noqa: E402


def numbers(*shape):
    return np.random.default_rng(SEED).normal(size=shape).astype(np.float32)


def mlp(rows):
    """784-512-256-10, as for handwritten digits."""
    graph, x = Graph(), "input"
    for narrow, wide in [(784, 512), (512, 256)]:
        x = graph("Relu", linear(graph, x, narrow, wide))
    return graph.model({"input": numbers(rows, 784)}, linear(graph, x, 256, 10), [10])


def cnn(rows):
    """Two convolutions and two layers over 28 x 28 pixels."""
    graph, x, narrow = Graph(), "input", 1
    for wide in [16, 32]:
        x = graph("Relu", convolution(graph, x, wide, narrow, 3))
        x, narrow = graph("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), wide
    x = graph("Relu", linear(graph, graph("Flatten", x, axis=1), 32 * 7 * 7, 64))
    return graph.model({"input": images(rows, 1, 28)}, linear(graph, x, 64, 10), [10])


def resnet18(rows):
    """ResNet-18 in its own width over 64 x 64 pixels."""
    graph = Graph()
    x = residual(graph, 64)
    return graph.model({"input": images(rows, 3, 64)}, linear(graph, x, 512, 10), [10])


def transformer(rows):
    """Four layers of an encoder, 128 wide with four heads, over 32 tokens of a vocabulary of 1000."""
    width, heads, length, words = 128, 4, 32, 1000
    graph = Graph()
    x = graph("Gather", graph.weight(words, width), "input", axis=0)
    x = graph("Add", x, graph.weight(1, length, width))
    for _ in range(4):
        one = [graph.constant(np.ones(width, np.float32)), graph.constant(np.zeros(width, np.float32))]
        x = graph("LayerNormalization", graph("Add", x, attention(graph, x, width, heads)), *one, axis=-1)
        inner = linear(graph, x, width, 4 * width)
        gate = graph("Erf", graph("Div", inner, graph.constant(np.float32(np.sqrt(2)))))
        gate = graph("Add", gate, graph.constant(np.float32(1)))
        inner = graph("Mul", graph("Mul", inner, gate), graph.constant(np.float32(0.5)))
        x = graph("LayerNormalization", graph("Add", x, linear(graph, inner, 4 * width, width)), *one, axis=-1)
    first = graph("Gather", x, graph.constant(np.int64(0)), axis=1)
    tokens = np.random.default_rng(SEED).integers(0, words, (rows, length))
    return graph.model({"input": tokens}, linear(graph, first, width, 3), [3])


def lstm(rows):
    """One layer of 128 units over 32 steps of 16 numbers, its last state classified."""
    steps, narrow, wide = 32, 16, 128
    graph = Graph()
    x = graph("Transpose", "input", perm=[1, 0, 2])
    _, last, _ = graph("LSTM", x, graph.weight(1, 4 * wide, narrow), graph.weight(1, 4 * wide, wide),
                       graph.weight(1, 8 * wide), outputs=3, hidden_size=wide)
    last = graph("Squeeze", last, graph.ints(0))
    return graph.model({"input": numbers(rows, steps, narrow)}, linear(graph, last, wide, 2), [2])


NETWORKS = [mlp, cnn, resnet18, transformer, lstm]
