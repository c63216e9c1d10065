"""Clients that ask in every protocol, and know what they must be answered."""

import http.client
import json
import queue
import random
import time

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import np_to_triton_dtype

from mistakes import MISTAKES, READS, grpc_mistake, grpc_read

#: Requests of one stream, and of one client before it makes its connections anew.
OF_A_STREAM, OF_A_CLIENT = 40, 500


class Wrong(AssertionError):
    """An answer that is not the expected one."""


def as_bytes(array):
    array = np.asarray(array)
    if array.dtype != object and array.dtype.kind not in "SU":
        return array
    return np.array([one if isinstance(one, bytes) else str(one).encode() for one in array.flat], dtype=object)


def same(found, expected, tolerance):
    """Whether all outputs are the expected ones, apart from their shape, which protocols write differently."""
    if found.keys() != expected.keys():
        return False
    for name, value in expected.items():
        one, other = as_bytes(found[name]).ravel(), as_bytes(value).ravel()
        if one.shape != other.shape:
            return False
        if other.dtype == object:
            if list(one) != list(other):
                return False
        elif not np.allclose(one.astype(float), other.astype(float), rtol=tolerance, atol=tolerance):
            return False
    return True


class Client:
    """One client with connections of its own."""

    def __init__(self, place, models, standing, seed):
        self.rest, self.grpc = place
        self.models, self.standing, self.random = models, standing, random.Random(seed)
        #: Requests by kind, and answers that are in the prediction log.
        self.done, self.predictions = {}, 0
        self._asked = 0
        self.open()

    def open(self):
        self.http = triton_http.InferenceServerClient(self.rest)
        self.grpc_client = triton_grpc.InferenceServerClient(self.grpc)
        self.raw = http.client.HTTPConnection(self.rest, timeout=60)

    def close(self):
        self.http.close()
        self.grpc_client.close()
        self.raw.close()

    def again(self):
        """Makes its connections anew."""
        self.close()
        self.open()
        self._asked = 0

    def step(self):
        """One request of a kind that chance decides, or a stream of them."""
        kinds = {
            self.rest_json: 4, self.rest_binary: 4, self.rest_compressed: 2, self.grpc_unary: 4, self.grpc_stream: 0.3,
            self.invocations_json: 2, self.invocations_csv: 2, self.predict: 2, self.read: 2, self.mistake: 2,
        }  # fmt: skip
        kind = self.random.choices(list(kinds), list(kinds.values()))[0]
        count = kind() or 1
        self.done[kind.__name__] = self.done.get(kind.__name__, 0) + count
        self._asked += count
        if self._asked > OF_A_CLIENT:
            self.again()
        return count

    # What is asked, and what must come of it.

    def pick(self, tables=False):
        """A model and some of its rows."""
        model = self.random.choice([one for one in self.models.values() if one.is_table or not tables])
        total = len(next(iter(model.inputs.values())))
        count = self.random.choice([1, 1, 1, 2, 8])
        begin = self.random.randrange(total - count + 1)
        return model, slice(begin, begin + count)

    def check(self, model, rows, found, sent, version=None):
        allowed = self.standing[model.name].between(sent, time.time())
        if model.name == "line" and version is not None:
            if version not in allowed:
                raise Wrong(f"line: version {version} answered, where {allowed} may")
            allowed = {version}
        expected = {content: {name: array[rows] for name, array in model.expected[content].items()} for content in allowed}
        if not any(same(found, outputs, model.tolerance) for outputs in expected.values()):
            raise Wrong(f"{model.name}, rows {rows}: {found}, expected one of {expected}")
        self.predictions += 1

    def check_result(self, model, rows, result, sent, version):
        self.check(model, rows, {name: result.as_numpy(name) for name in model.expected[next(iter(model.expected))]}, sent, version)

    def inputs(self, triton, model, rows, **how):
        made = []
        for name, array in model.inputs.items():
            part = array[rows]
            one = triton.InferInput(name, list(part.shape), np_to_triton_dtype(part.dtype))
            made.append(one.set_data_from_numpy(part, **how))
        return made

    def over_http(self, binary, **how):
        model, rows = self.pick()
        names = model.expected[next(iter(model.expected))]
        outputs = [triton_http.InferRequestedOutput(name, binary_data=binary) for name in names]
        sent = time.time()
        inputs = self.inputs(triton_http, model, rows, binary_data=binary)
        result = self.http.infer(model.name, inputs, outputs=outputs, **how)
        self.check_result(model, rows, result, sent, result.get_response()["model_version"])

    def rest_json(self):
        self.over_http(False)

    def rest_binary(self):
        self.over_http(True)

    def rest_compressed(self):
        one, other = (self.random.choice(["gzip", "deflate"]) for _ in range(2))
        binary = self.random.random() < 0.5
        self.over_http(binary, request_compression_algorithm=one, response_compression_algorithm=other)

    def grpc_unary(self):
        model, rows = self.pick()
        how = {"compression_algorithm": "gzip"} if self.random.random() < 0.2 else {}
        sent = time.time()
        result = self.grpc_client.infer(model.name, self.inputs(triton_grpc, model, rows), **how)
        self.check_result(model, rows, result, sent, result.get_response().model_version)

    def grpc_stream(self):
        heard = queue.Queue()
        self.grpc_client.start_stream(lambda result, error: heard.put((result, error)))
        try:
            asked = []
            for _ in range(OF_A_STREAM):
                model, rows = self.pick()
                asked.append((model, rows, time.time()))
                self.grpc_client.async_stream_infer(model.name, self.inputs(triton_grpc, model, rows))
                # A few are under way at the same time.
                if len(asked) % 4 == 0:
                    self.hear(heard, asked, len(asked) - 4)
        finally:
            self.grpc_client.stop_stream()
        return OF_A_STREAM

    def hear(self, heard, asked, begin):
        for model, rows, sent in asked[begin:]:
            result, error = heard.get(timeout=60)
            if error is not None:
                raise Wrong(f"{model.name} in a stream: {error}")
            self.check_result(model, rows, result, sent, result.get_response().model_version)

    def ask(self, method, path, body=None, headers=None):
        body = body.encode() if isinstance(body, str) else body
        self.raw.request(method, path, body, headers or {})
        answer = self.raw.getresponse()
        return answer.status, answer.read()

    def post(self, path, body, kind="application/json"):
        status, answer = self.ask("POST", path, body if isinstance(body, str) else json.dumps(body), {"Content-Type": kind})
        if status != 200:
            raise Wrong(f"{path}: {status} {answer[:500]}")
        return json.loads(answer)

    def objects(self, model, rows):
        """Rows as objects of columns."""
        columns = {name: [one.item() if isinstance(one, np.generic) else one for one in array[rows].ravel()]
                   for name, array in model.inputs.items()}  # fmt: skip
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def check_table(self, model, rows, answered, sent):
        names = list(model.expected["1"])
        if not isinstance(answered[0], dict):
            answered = [{names[0]: one} for one in answered]
        self.check(model, rows, {name: [one[name] for one in answered] for name in names}, sent)

    def invocations_json(self):
        model, rows = self.pick(tables=True)
        objects = self.objects(model, rows)
        sent = time.time()
        if self.random.random() < 0.5:
            body = {"dataframe_records": objects}
        else:
            body = {"dataframe_split": {"columns": list(objects[0]), "data": [list(one.values()) for one in objects]}}
        self.check_table(model, rows, self.post(f"/models/{model.name}/invocations", body)["predictions"], sent)

    def invocations_csv(self):
        model, rows = self.pick(tables=True)
        objects = self.objects(model, rows)

        def cell(value):
            return '"' + value + '"' if isinstance(value, str) else repr(value)

        lines = [",".join(objects[0]), *(",".join(cell(value) for value in one.values()) for one in objects)]
        sent = time.time()
        answer = self.post(f"/models/{model.name}/invocations", "\n".join(lines) + "\n", "text/csv")
        self.check_table(model, rows, answer["predictions"], sent)

    def predict(self):
        model, rows = self.pick(tables=True)
        objects = self.objects(model, rows)
        sent = time.time()
        alone = len(objects) == 1
        answer = self.post(f"/predict/{model.name}", objects[0] if alone else objects)
        self.check_table(model, rows, [answer] if alone else answer, sent)

    def read(self):
        if self.random.random() < 0.3:
            return grpc_read(self.grpc_client, self.random)
        method, path = self.random.choice(READS)
        status, answer = self.ask(method, path)
        if status != 200:
            raise Wrong(f"{method} {path}: {status} {answer[:500]}")
        return None

    def mistake(self):
        """What a caller does wrong is the caller's: 4xx, never more."""
        if self.random.random() < 0.3:
            return grpc_mistake(self.grpc_client, self.random)
        method, path, body, headers, expected = self.random.choice(MISTAKES)
        status, answer = self.ask(method, path, body, headers)
        if status != expected:
            raise Wrong(f"{method} {path} {body}: {status} and not {expected}: {answer[:500]}")
        return None
