"""The service that one writes by hand: FastAPI and onnxruntime with one thread."""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = settings.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL_FILE"], settings, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
datatypes = {np.dtype(np.int64): "INT64", np.dtype(np.float32): "FP32"}
app = FastAPI()


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list


class Request(BaseModel):
    inputs: list[Tensor]
    id: str | None = None


@app.get("/ready")
async def ready():
    return {}


@app.post("/v2/models/{model}/infer")
async def infer(model: str, request: Request):
    given = {tensor.name: np.array(tensor.data, np.float32).reshape(tensor.shape) for tensor in request.inputs}
    outputs = zip(names, session.run(names, given))
    described = [
        {"name": name, "shape": list(value.shape), "datatype": datatypes[value.dtype], "data": value.ravel().tolist()}
        for name, value in outputs
    ]
    return {"model_name": model, "outputs": described}
