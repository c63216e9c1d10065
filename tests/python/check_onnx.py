#!/usr/bin/env python3
"""Ask onnxruntime for a model's answers and compare them with those of another engine.

    check_onnx.py MODEL.onnx INPUTS.json EXPECTED.json

INPUTS.json:   {"carrier": ["UA", null], "distance": [1400, null], ...}: one list a column; null is missing
               (NaN for a number, the empty string for a string).
EXPECTED.json: {"label": [0, 1], "probability": [[0.8, 0.2], [0.4, 0.6]]}: outputs by name.

Prints {"rows", "max_abs_difference"} and exits with 1 if a probability differs by more than 1e-5 or a label at all.
"""

import json
import sys

import numpy
import onnxruntime

LIMIT = 1e-5


def as_input(spec, values: list) -> numpy.ndarray:
    if spec.type == "tensor(string)":
        array = numpy.array(["" if value is None else value for value in values], dtype=object)
    elif spec.type == "tensor(float)":
        array = numpy.array([numpy.nan if value is None else value for value in values], dtype=numpy.float32)
    else:
        sys.exit(f"input `{spec.name}` is {spec.type}: only strings and 32-bit floats are expected")
    return array.reshape(-1, 1)


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    model, inputs, expected = sys.argv[1], *(json.load(open(path, encoding="utf-8")) for path in sys.argv[2:])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {spec.name: as_input(spec, inputs[spec.name]) for spec in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    if set(names) != set(expected):
        sys.exit(f"the model gives {names}, expected were {sorted(expected)}")
    worst = 0.0
    failed = []
    for name, found in zip(names, session.run(names, feeds)):
        wanted = numpy.array(expected[name])
        if found.shape != wanted.shape:
            sys.exit(f"output `{name}` has the shape {found.shape}, expected was {wanted.shape}")
        if found.dtype.kind == "f":
            difference = float(numpy.abs(found - wanted).max())
            worst = max(worst, difference)
            # Also true for NaN, which is no answer.
            if not difference <= LIMIT:
                failed.append(f"output `{name}` differs by {difference:g}, the limit is {LIMIT:g}")
        elif not (found == wanted).all():
            failed.append(f"output `{name}` differs in {int((found != wanted).sum())} of {len(wanted)} rows")
    rows = len(next(iter(feeds.values())))
    print(json.dumps({"rows": rows, "max_abs_difference": worst}))
    if failed:
        sys.exit("; ".join(failed))


if __name__ == "__main__":
    main()
