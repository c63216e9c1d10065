"""Asks the model `flights` over gRPC, one request after another, until its input ends: `serving_grpc_load.py HOST:PORT NAME`.

A line of JSON for each request: what was answered and when, or the status with which it was refused. The requests are those of
`load.rs` among the product's tests.
"""

import json
import sys
import threading
import time

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

PAUSE = 0.01
#: A server that is started again is found at once.
CHANNEL = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]
CARRIERS = ["AA", "B6", "Zürich", "UA"]


def inputs_of(number):
    row = number % 8
    columns = {
        "a": np.array([[row / 4]], np.float32),
        "b": np.array([[-1.25]], np.float32),
        "carrier": np.array([[CARRIERS[row % 4].encode()]], object),
        "month": np.array([[row + 1]], np.int64),
    }
    kinds = {"a": "FP32", "b": "FP32", "carrier": "BYTES", "month": "INT64"}
    return [triton.InferInput(name, [1, 1], kinds[name]).set_data_from_numpy(value) for name, value in columns.items()]


def shortest(value):
    """As JSON has it: text, or the double that is written like the float."""
    return value.decode() if isinstance(value, bytes) else float(str(value))


def ask(client, name, number):
    request = f"{name}-{number}"
    sent = time.time()
    try:
        result = client.infer("flights", inputs_of(number), request_id=request)
    except InferenceServerException as error:
        return {"request": request, "status": str(error.status()), "message": error.message()}
    at = time.time()
    response = result.get_response()
    outputs = {one.name: [shortest(value) for value in result.as_numpy(one.name).flatten()] for one in response.outputs}
    prediction = response.parameters["prediction_id"].string_param
    return {"request": request, "prediction": prediction, "sent": sent, "at": at, "outputs": outputs}


def main(address, name):
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    with triton.InferenceServerClient(address, channel_args=CHANNEL) as client:
        number = 0
        while not ended.wait(PAUSE):
            print(json.dumps(ask(client, name, number)), flush=True)
            number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
