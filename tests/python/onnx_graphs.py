"""Small graphs of ONNX that several suites serve."""

import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 8


def graph_of(name, nodes, inputs, outputs, constants=(), domains=()):
    """A checked model: inputs and outputs by name, type and shape, constants by name, further domains with their version."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        name,
        [value(key, kind, shape) for key, kind, shape in inputs],
        [value(key, kind, shape) for key, kind, shape in outputs],
        [numpy_helper.from_array(array, key) for key, array in dict(constants).items()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in [("", OPSET), *domains]]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR)
    onnx.checker.check_model(model)
    return model


def columns_of(name):
    """A text, a whole number and a number: the text comes back, the numbers in a sum."""
    nodes = [
        helper.make_node("Identity", ["name"], ["same"]),
        helper.make_node("Cast", ["count"], ["count_f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["count_f", "amount"], ["sum"]),
    ]
    column = ["batch", 1]
    inputs = [("name", TensorProto.STRING, column), ("count", TensorProto.INT64, column), ("amount", TensorProto.FLOAT, column)]
    return graph_of(name, nodes, inputs, [("same", TensorProto.STRING, column), ("sum", TensorProto.FLOAT, column)])
