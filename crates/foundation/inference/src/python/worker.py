"""Answers requests to one MLflow model, over the socket that is its standard input.

A message is two little-endian lengths (u32 of the header, u64 of the body), a header in JSON and a body of raw tensors,
one after another as the header lists them; the elements of BYTES are each led by their length (u32), as in the Open
Inference Protocol. Nothing that comes over the socket is ever unpickled.
"""

import json
import os
import socket
import struct
import sys


def take_socket():
    """The socket moves away from standard input, and what the model prints goes to standard error."""
    connection = socket.socket(fileno=os.dup(0))
    connection.set_inheritable(False)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return connection


def bind_to_parent():
    """The kernel kills this process when the thread that started it is gone (Linux)."""
    try:
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
    except (ImportError, OSError, AttributeError):
        pass


def limit_memory(limit):
    """A bound on the address space catches one huge allocation; what is resident is watched from outside."""
    if limit:
        import resource

        space = 2 * limit + (4 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (space, space))


class Connection:
    def __init__(self, connection):
        self.connection = connection

    def exactly(self, count):
        parts = bytearray()
        while len(parts) < count:
            part = self.connection.recv(min(count - len(parts), 1 << 20))
            if not part:
                sys.exit(0)
            parts += part
        return bytes(parts)

    def receive(self):
        header, body = struct.unpack("<IQ", self.exactly(12))
        return json.loads(self.exactly(header)), self.exactly(body)

    def send(self, header, body=b""):
        header = json.dumps(header).encode()
        self.connection.sendall(struct.pack("<IQ", len(header), len(body)) + header + body)


def said(error):
    text = f"{type(error).__name__}: {error}".strip()
    return text[:4000]


class BadInput(Exception):
    pass


class BadAnswer(Exception):
    pass


def main():
    bind_to_parent()
    connection = Connection(take_socket())
    start, _ = connection.receive()
    sys.path[:] = [place for place in sys.path if place]
    try:
        limit_memory(start["memory"])
        model = load(start["model"])
    except BaseException as error:
        import traceback

        traceback.print_exc()
        connection.send({"error": said(error), "fault": "model"})
        return
    connection.send({"tensors": []})
    while True:
        header, body = connection.receive()
        try:
            given = arguments(header, body)
            answer = model.predict(given)
            tensors, body = encoded(named(answer, header.get("outputs")))
        except BadInput as error:
            connection.send({"error": str(error), "fault": "input"})
        except BadAnswer as error:
            connection.send({"error": str(error), "fault": "model"})
        except Exception as error:
            connection.send({"error": said(error), "fault": "input" if is_of_values(error) else "model"})
        else:
            connection.send({"tensors": tensors}, body)


def load(path):
    global numpy, pandas
    import numpy
    import pandas
    import mlflow.pyfunc

    path = plain(path)
    with open(os.path.join(path, "MLmodel"), encoding="utf-8") as file:
        has_function = any(line.strip() == "python_function:" for line in file)
    if has_function:
        return mlflow.pyfunc.load_model(path)
    import mlflow.sklearn

    return mlflow.sklearn.load_model(path)


def plain(path):
    """The model, or a copy of it in this process's own folder where MLflow would read its path as a URL's."""
    if not any(mark in path for mark in "#%?"):
        return path
    import shutil

    copy = os.path.abspath(f"model-{os.getpid()}")
    return shutil.copytree(path, copy)


def is_of_values(error):
    """Whether what the model raised is about the values that it was given."""
    if getattr(error, "error_code", None) is not None:
        return error.error_code == "INVALID_PARAMETER_VALUE"
    return isinstance(error, (ValueError, TypeError)) and not isinstance(error, UnicodeError)


TYPES = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def decoded(tensor, body):
    """One array out of its bytes; elements of BYTES as `bytes`."""
    if tensor["datatype"] != "BYTES":
        # A copy: models write into what they are given.
        return numpy.frombuffer(body, TYPES[tensor["datatype"]]).reshape(tensor["shape"]).copy()
    elements, at = [], 0
    while at < len(body):
        (length,) = struct.unpack_from("<I", body, at)
        elements.append(body[at + 4 : at + 4 + length])
        at += 4 + length
    array = numpy.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(tensor["shape"])


def typed(array, tensor):
    """The array as MLflow's type of the input wants it."""
    kind = tensor["type"]
    if tensor["datatype"] != "BYTES" or kind == "binary":
        return array
    try:
        texts = [element.decode() for element in array.reshape(-1)]
    except UnicodeDecodeError:
        raise BadInput(f"input `{tensor['name']}`: the text is not UTF-8") from None
    if kind == "datetime":
        try:
            return pandas.to_datetime(texts).to_numpy().reshape(array.shape)
        except (ValueError, TypeError) as error:
            raise BadInput(f"input `{tensor['name']}`: {error}") from None
    out = numpy.array(texts, dtype=object if kind == "string" else str)
    return out.reshape(array.shape)


def arguments(header, body):
    """What the model's signature wants: a frame of columns, an array, or arrays by name."""
    arrays, at = [], 0
    for tensor in header["tensors"]:
        part = body[at : at + tensor["size"]]
        at += tensor["size"]
        arrays.append((tensor["key"], typed(decoded(tensor, part), tensor)))
    if header["form"] == "frame":
        columns = [array.reshape(-1) for _, array in arrays]
        if len({len(column) for column in columns}) > 1:
            raise BadInput("the columns differ in length")
        names = [place if key is None else key for place, (key, _) in enumerate(arrays)]
        return pandas.DataFrame(dict(zip(names, columns)), columns=names)
    if header["form"] == "array":
        return arrays[0][1]
    return dict(arrays)


def array_of(value):
    if hasattr(value, "toarray"):
        value = value.toarray()
    if hasattr(value, "to_numpy"):
        value = value.to_numpy()
    elif hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        array = numpy.asarray(value)
    except ValueError as error:
        raise BadAnswer(f"the model's answer is no array: {error}") from None
    return array.reshape(1) if array.ndim == 0 else array


def entries(answer):
    """The parts of an answer, each with its name, or none."""
    if isinstance(answer, list) and answer and all(isinstance(row, dict) for row in answer):
        answer = pandas.DataFrame(answer)
    if isinstance(answer, pandas.DataFrame):
        return [(str(name), array_of(answer[name])) for name in answer.columns]
    if isinstance(answer, dict):
        return [(str(name), array_of(value)) for name, value in answer.items()]
    if isinstance(answer, tuple):
        return [(None, array_of(value)) for value in answer]
    return [(None, array_of(answer))]


def named(answer, outputs):
    parts = entries(answer)
    if outputs is None:
        many = len(parts) > 1
        return [(name or (f"output_{place}" if many else "output"), array) for place, (name, array) in enumerate(parts)]
    if len(parts) == 1 and len(outputs) > 1 and parts[0][1].ndim == 2 and parts[0][1].shape[1] == len(outputs):
        whole = parts[0][1]
        parts = [(None, whole[:, place]) for place in range(len(outputs))]
    by_name = dict(parts)
    if all(output["key"] is not None and output["key"] in by_name for output in outputs):
        extra = [name for name in by_name if name not in {output["key"] for output in outputs}]
        if extra:
            raise BadAnswer(f"the model answers {extra}, which its signature does not have")
        parts = [(output["key"], by_name[output["key"]]) for output in outputs]
    if len(parts) != len(outputs):
        raise BadAnswer(f"the model answers {[name for name, _ in parts]}, its signature has {len(outputs)} outputs")
    return [
        (output["name"], converted(array, output["name"], output["datatype"]))
        for output, (_, array) in zip(outputs, parts)
    ]


def converted(array, name, datatype):
    """The array in the type of the signature, if no value changes by it."""
    if datatype == "BYTES":
        return array
    want = numpy.dtype(TYPES[datatype])
    if array.dtype == want:
        return array
    try:
        out = array.astype(want)
    except (ValueError, TypeError) as error:
        raise BadAnswer(f"output `{name}` is no {datatype}: {error}") from None
    exact = want.kind in "iub" and array.dtype.kind not in "OUS"
    if exact and not numpy.array_equal(out, array):
        raise BadAnswer(f"output `{name}` has values that are no {datatype}")
    return out


def encoded(parts):
    tensors, bodies = [], []
    for name, array in parts:
        datatype, body = raw(array, name)
        tensors.append({"name": name, "datatype": datatype, "shape": list(array.shape), "size": len(body)})
        bodies.append(body)
    return tensors, b"".join(bodies)


def raw(array, name):
    if array.dtype.kind in "biuf":
        for datatype, spelled in TYPES.items():
            if array.dtype == numpy.dtype(spelled).newbyteorder("="):
                return datatype, numpy.ascontiguousarray(array, spelled).tobytes()
    if array.dtype.kind == "O":
        kinds = {type(element) for element in array.reshape(-1)}
        if kinds and all(issubclass(kind, (bool, int, float, numpy.number, numpy.bool_)) for kind in kinds):
            return raw(numpy.array(array.tolist()), name)
    if array.dtype.kind == "M":
        array = numpy.datetime_as_string(array)
    body = bytearray()
    for element in array.reshape(-1):
        if isinstance(element, str):
            element = element.encode()
        elif hasattr(element, "isoformat"):
            element = element.isoformat().encode()
        if not isinstance(element, bytes):
            raise BadAnswer(f"output `{name}` holds a {type(element).__name__}, which is no number and no text")
        body += struct.pack("<I", len(element)) + element
    return "BYTES", bytes(body)


main()
