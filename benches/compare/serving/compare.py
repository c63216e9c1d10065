#!/usr/bin/env python3
"""Ropewalk's inference server against FastAPI + onnxruntime, MLServer and `mlflow models serve`, one after the other, one model.

    apt-get install wrk nghttp2-client
    python3 -m venv VENV && VENV/bin/pip install -r requirements.txt
    cargo build --release -p ropewalk-load --examples
    VENV/bin/python compare.py ROPEWALK_BINARY [--mlflow MLFLOW_VENV/bin/mlflow] [--constant target/release/examples/constant]
        [--steadiness target/release/examples/steadiness] [--seconds 6] [--json FILE]

The model is a scaler and a logistic regression over 30 columns, exported by skl2onnx. The figure of a row is the CPU (user and
system) that the server's processes spend for one request, since wall time tells of the neighbours on a shared machine. Every
server's first answer is held against onnxruntime's; a rate with errors is no result.

Latency is measured by `ropewalk bench serve --rate`, a process of its own, at half of what each server answers at most; for both
the server has one core and whoever asks it another, so that they do not wait for each other's turns. It counts from when a
request was due. A second is measured several times: the second table has the run in the middle, how many runs were within the target, how
late the generator was by its own fault, and the same load against a server that answers a constant: what the machine and the
generator add. `--steadiness` tells how often the server's core was slow by itself. The exit code is 1 if a target was missed.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
MODEL = "logreg"
# Row, unit, target of Ropewalk.
ROWS = [
    ("REST, batch 1, concurrency 16", "ms", 0.06),
    ("REST binary, batch 1, concurrency 16", "ms", 0.06),
    ("gRPC raw, batch 1, concurrency 16", "ms", 0.05),
    ("p99 / p50 at half of the saturation load", "x", 5),
]
CONNECTIONS = 16
# Runs of a second at half of the saturation load.
RUNS = 15
# The server has the first where latency is measured, whoever asks it the others.
CORES = sorted(os.sched_getaffinity(0))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def family(pid: int) -> list[int]:
    found = [pid]
    for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in children.read_text().split():
                found += family(int(child))
        except OSError:
            pass
    return found


def cpu_seconds(pid: int) -> float:
    ticks = 0
    for one in family(pid):
        try:
            fields = pathlib.Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


class Server:
    """A server with all its children, stopped at the end."""

    def __init__(self, name: str, command: list[str], ready: str, folder: pathlib.Path, **environment: str):
        self.name = name
        self.log = (folder / f"{name.split()[0]}.log").open("wb")
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True,
            env={**os.environ, **environment},
        )
        while True:
            try:
                with urllib.request.urlopen(ready, timeout=5) as answer:
                    if answer.status == 200:
                        break
            except (OSError, urllib.error.HTTPError):
                pass
            if self.process.poll() is not None or time.perf_counter() - begun > 180:
                self.stop()
                sys.exit(f"{name} did not start:\n{pathlib.Path(self.log.name).read_text()[-3000:]}")
            time.sleep(0.002)
        self.startup_ms = (time.perf_counter() - begun) * 1e3

    def errors(self, said: str) -> str:
        """What the load's generator said, and the server."""
        return f"{self.name}: the load met errors: {said}\nIts log ends:\n{pathlib.Path(self.log.name).read_text()[-2000:]}"

    def stop(self) -> None:
        for how in [signal.SIGTERM, signal.SIGKILL]:
            try:
                os.killpg(self.process.pid, how)
                self.process.wait(timeout=20)
            except (subprocess.TimeoutExpired, ProcessLookupError):
                pass
        self.log.close()


def parted(server: Server) -> None:
    """From now on the server has one core to itself, as far as it has company from us."""
    for pid in family(server.process.pid):
        for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {CORES[0]})


def away() -> None:
    """Another core than the server's."""
    os.sched_setaffinity(0, set(CORES[1:]))


def wrk(server: Server, url: str, body: pathlib.Path, connections: int, seconds: float, core=None, **headers: str) -> dict:
    # Flask and MLflow answer 500 where there is no type.
    headers = {"Content_Type": "application/json", **headers}
    script = "wrk.method = 'POST'\nlocal f = io.open(os.getenv('BODY'), 'rb'); wrk.body = f:read('*a'); f:close()\n"
    script += "".join(f"wrk.headers['{name.replace('_', '-')}'] = '{value}'\n" for name, value in headers.items())
    script += (
        "function done(s, l, r) io.write(string.format('RESULT %d %d %f %f %f\\n', s.requests, s.errors.status + s.errors.connect"
        " + s.errors.read + s.errors.write + s.errors.timeout, s.duration / 1e6, l:percentile(50) / 1e3, l:percentile(99) / 1e3)) end\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as lua:
        lua.write(script)
        lua.flush()
        before = cpu_seconds(server.process.pid)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", lua.name, url]
        said = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "BODY": str(body)}, preexec_fn=core)
        used = cpu_seconds(server.process.pid) - before
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)", said.stdout)
    if not found or int(found[2]) or not int(found[1]):
        sys.exit(server.errors(said.stdout + said.stderr))
    requests = int(found[1])
    return {
        "cpu_ms": used * 1e3 / requests, "requests_per_second": requests / float(found[3]),
        "p50_ms": float(found[4]), "p99_ms": float(found[5]),
    }


def latencies(options, server: Server, port: int, body: pathlib.Path, path: str | None = None) -> dict:
    """Latencies at half of what the server answers at most, both on one core."""
    parted(server)
    url = f"http://127.0.0.1:{port}{path or f'/v2/models/{MODEL}/infer'}"
    most = wrk(server, url, body, CONNECTIONS, options.seconds, core=away)["requests_per_second"]
    return {**middle(options, server, port, body, most / 2, path), "most": most}


def middle(options, server: Server, port: int, body: pathlib.Path, rate: float, path: str | None = None) -> dict:
    """The run in the middle of several, by its ratio; one that did not hold the rate is the worst."""
    runs = [paced(options, server, port, body, rate, path) for _ in range(RUNS)]
    runs.sort(key=lambda run: run["ratio"] or float("inf"))
    ratios = [run["ratio"] for run in runs]
    within = sum(ratio is not None and ratio <= ROWS[3][2] for ratio in ratios)
    return {**runs[RUNS // 2], "ratios": ratios, "within": within}


def paced(options, server: Server, port: int, body: pathlib.Path, rate: float, path: str | None = None) -> dict:
    """Latencies at a fixed rate of arrivals, by a generator in a process of its own."""
    command = [options.generator, "--output", "json", "bench", "serve", f"127.0.0.1:{port}", "--input", str(body)]
    command += ["--path", path] if path else ["--model", MODEL]
    command += ["--rate", f"{rate:.1f}", "--concurrency", str(CONNECTIONS), "--seconds", "1", "--warm-up", "1"]
    before = cpu_seconds(server.process.pid)
    said = subprocess.run(command, capture_output=True, text=True, preexec_fn=away)
    used = cpu_seconds(server.process.pid) - before
    if said.returncode:
        sys.exit(f"{server.name}: the generator failed: {said.stderr}")
    report = json.loads(said.stdout)[0]
    if report["errors"]:
        sys.exit(server.errors(f"{report['errors']} {report['said']}"))
    held = report["unsent"] <= report["answered"] / 100
    # The warm-up is part of what was used.
    requests = report["answered"] * 2
    latency = report["latency_ms"]
    return {
        "ratio": latency["p99"] / latency["p50"] if held else None, "rate": rate, "paced_cpu_ms": used * 1e3 / requests,
        "due": latency, "sent": report["from_send_ms"], "late": report["lateness_ms"],
    }


def grpc(server: Server, port: int, row: np.ndarray, requests: int, folder: pathlib.Path) -> dict:
    from tritonclient.grpc import service_pb2 as messages

    request = messages.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="X", datatype="FP32", shape=[1, row.size])
    request.raw_input_contents.append(row.astype(np.float32).tobytes())
    message = request.SerializeToString()
    body = folder / "grpc.bin"
    body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
    before = cpu_seconds(server.process.pid)
    said = subprocess.run(
        ["h2load", "-n", str(requests), "-c", "8", "-m", "2", "-t", "1", "-d", str(body), "-H", "content-type: application/grpc",
         "-H", "te: trailers", f"http://127.0.0.1:{port}/inference.GRPCInferenceService/ModelInfer"],
        capture_output=True, text=True,
    )
    used = cpu_seconds(server.process.pid) - before
    good = re.search(r"status codes: (\d+) 2xx", said.stdout)
    if not good or int(good[1]) != requests:
        sys.exit(server.errors(said.stdout + said.stderr))
    return {"cpu_ms": used * 1e3 / requests}


def grpc_answer(port: int, row: np.ndarray) -> np.ndarray:
    import tritonclient.grpc as client

    given = client.InferInput("X", [1, row.size], "FP32")
    given.set_data_from_numpy(row.reshape(1, -1).astype(np.float32))
    with client.InferenceServerClient(f"127.0.0.1:{port}") as connection:
        answer = connection.infer(MODEL, [given])
    return answer.as_numpy("probabilities")


def post(url: str, body: bytes, kind: str = "application/json") -> dict:
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def train(folder: pathlib.Path):
    import joblib
    import onnxruntime
    from skl2onnx import to_onnx
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table, target = load_breast_cancer(return_X_y=True)
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(table, target)
    graph = to_onnx(fitted, table[:1].astype(np.float32), options={"zipmap": False})
    (folder / f"{MODEL}.onnx").write_bytes(graph.SerializeToString())
    mlserver = folder / "mlserver" / MODEL
    mlserver.mkdir(parents=True)
    joblib.dump(fitted, mlserver / "model.joblib")
    settings = {"name": MODEL, "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib", "version": "1"}}
    (mlserver / "model-settings.json").write_text(json.dumps(settings))
    row = table[0].astype(np.float32)
    session = onnxruntime.InferenceSession(str(folder / f"{MODEL}.onnx"))
    expected = session.run(None, {"X": row.reshape(1, -1)})
    body = {"inputs": [{"name": "X", "shape": [1, row.size], "datatype": "FP32", "data": [float(value) for value in row]}]}
    (folder / "v2.json").write_text(json.dumps(body))
    head = json.dumps({
        "inputs": [{"name": "X", "shape": [1, row.size], "datatype": "FP32", "parameters": {"binary_data_size": row.nbytes}}],
        "parameters": {"binary_data_output": True},
    }).encode()
    (folder / "v2.bin").write_bytes(head + row.tobytes())
    (folder / "split.json").write_text(json.dumps({"inputs": [[float(value) for value in row]]}))
    return fitted, row, expected, len(head)


def probabilities(answer: dict) -> np.ndarray:
    return np.array(next(one["data"] for one in answer["outputs"] if one["name"] == "probabilities"))


def check(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    if not np.allclose(np.ravel(found), np.ravel(expected), rtol=1e-5, atol=1e-6):
        sys.exit(f"{name} answers {found}, onnxruntime {expected}")


def measure_ropewalk(options, folder: pathlib.Path, row, expected, head: int) -> dict:
    rest, raw = free_port(), free_port()
    command = [options.ropewalk, "serve", str(folder / f"{MODEL}.onnx"), "--port", str(rest), "--grpc-port", str(raw)]
    server = Server("ropewalk", command, f"http://127.0.0.1:{rest}/v2/health/ready", folder)
    url, body = f"http://127.0.0.1:{rest}/v2/models/{MODEL}/infer", folder / "v2.json"
    try:
        check("ropewalk", probabilities(post(url, body.read_bytes())), expected[1])
        check("ropewalk over gRPC", grpc_answer(raw, row), expected[1])
        found = {"start-up": {"ms": server.startup_ms}}
        wrk(server, url, body, CONNECTIONS, 1)
        found[ROWS[0][0]] = wrk(server, url, body, CONNECTIONS, options.seconds)
        found[ROWS[1][0]] = wrk(
            server, url, folder / "v2.bin", CONNECTIONS, options.seconds, Content_Type="application/octet-stream",
            Inference_Header_Content_Length=str(head),
        )
        found[ROWS[2][0]] = grpc(server, raw, row, int(20_000 * options.seconds / 6), folder)
        found[ROWS[3][0]] = latencies(options, server, rest, body)
        return found
    finally:
        server.stop()


def measure_fastapi(options, folder: pathlib.Path, expected) -> dict:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "fastapi_service:app", "--port", str(port), "--log-level", "warning"]
    server = Server("fastapi", command, f"http://127.0.0.1:{port}/ready", folder, MODEL_FILE=str(folder / f"{MODEL}.onnx"))
    url, body = f"http://127.0.0.1:{port}/v2/models/{MODEL}/infer", folder / "v2.json"
    try:
        check("FastAPI", probabilities(post(url, body.read_bytes())), expected[1])
        wrk(server, url, body, CONNECTIONS, 1)
        found = {ROWS[0][0]: wrk(server, url, body, CONNECTIONS, options.seconds)}
        found[ROWS[3][0]] = latencies(options, server, port, body)
        return found
    finally:
        server.stop()


def measure_mlserver(options, folder: pathlib.Path, row, expected) -> dict:
    port, raw, metrics = free_port(), free_port(), free_port()
    settings = {"debug": False, "host": "127.0.0.1", "http_port": port, "grpc_port": raw, "metrics_port": metrics, "parallel_workers": 0}
    (folder / "mlserver" / "settings.json").write_text(json.dumps(settings))
    command = [str(pathlib.Path(sys.executable).with_name("mlserver")), "start", str(folder / "mlserver")]
    server = Server("mlserver", command, f"http://127.0.0.1:{port}/v2/models/{MODEL}/ready", folder)
    url, body = f"http://127.0.0.1:{port}/v2/models/{MODEL}/infer", folder / "v2.json"
    try:
        label = post(url, body.read_bytes())["outputs"][0]["data"][0]
        if label != expected[0][0]:
            sys.exit(f"MLServer answers {label}")
        wrk(server, url, body, CONNECTIONS, 1)
        found = {ROWS[0][0]: wrk(server, url, body, CONNECTIONS, options.seconds)}
        found[ROWS[2][0]] = grpc(server, raw, row, int(3000 * options.seconds / 6), folder)
        found[ROWS[3][0]] = latencies(options, server, port, body)
        return found
    finally:
        server.stop()


def measure_mlflow(options, folder: pathlib.Path, fitted, expected) -> dict:
    model = folder / "mlflow"
    script = (
        "import joblib, mlflow.sklearn, sys\n"
        "mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2], serialization_format='cloudpickle')\n"
    )
    python = str(pathlib.Path(options.mlflow).with_name("python"))
    subprocess.run([python, "-c", script, str(folder / "mlserver" / MODEL / "model.joblib"), str(model)], check=True)
    port = free_port()
    command = [options.mlflow, "models", "serve", "-m", str(model), "--env-manager", "local", "--port", str(port), "--workers", "1"]
    path = str(pathlib.Path(options.mlflow).parent)
    server = Server("mlflow", command, f"http://127.0.0.1:{port}/health", folder, PATH=f"{path}:{os.environ['PATH']}")
    url, body = f"http://127.0.0.1:{port}/invocations", folder / "split.json"
    try:
        if post(url, body.read_bytes())["predictions"][0] != expected[0][0]:
            sys.exit("mlflow answers something else")
        wrk(server, url, body, CONNECTIONS, 1)
        found = {ROWS[0][0]: wrk(server, url, body, CONNECTIONS, options.seconds)}
        found[ROWS[3][0]] = latencies(options, server, port, body, "/invocations")
        return found
    finally:
        server.stop()


def measure_constant(options, folder: pathlib.Path, rate: float) -> dict:
    """What the machine and the generators add: a server that parses nothing and answers a constant, at Ropewalk's rate."""
    port = free_port()
    server = Server("constant", [options.constant, f"127.0.0.1:{port}"], f"http://127.0.0.1:{port}/v2/health/ready", folder)
    url, body = f"http://127.0.0.1:{port}/v2/models/{MODEL}/infer", folder / "v2.json"
    try:
        wrk(server, url, body, CONNECTIONS, 1)
        found = {ROWS[0][0]: wrk(server, url, body, CONNECTIONS, options.seconds)}
        parted(server)
        found[ROWS[3][0]] = middle(options, server, port, body, rate)
        return found
    finally:
        server.stop()


def steadiness(program: str) -> str:
    """How steady the server's core is, with nobody else in it where real-time priority is allowed."""
    command = ["taskset", "-c", str(CORES[0]), str(pathlib.Path(program).resolve()), "5"]
    said = subprocess.run(["chrt", "-f", "50", *command], capture_output=True, text=True)
    if said.returncode:
        said = subprocess.run(command, capture_output=True, text=True, check=True)
    return said.stdout.strip()


def show_latencies(found: dict) -> None:
    """Milliseconds; `late` is the generator's own fault."""
    print(f"\n{'at half of the saturation load':32}{'a second':>10}{'CPU':>8}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}  from")
    for server, figures in found.items():
        latencies = figures[ROWS[3][0]]
        for since in ["due", "sent", "late"]:
            times = latencies[since]
            head = f"{server:32}{latencies['rate']:>10.0f}{latencies['paced_cpu_ms']:>8.3f}" if since == "due" else " " * 50
            tail = f"  {since}" + (f", {latencies['within']} of {RUNS} runs within the target" if since == "due" else "")
            print(head + "".join(f"{times[place]:>9.3f}" for place in ["p50", "p99", "p999", "max"]) + tail)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ropewalk")
    parser.add_argument("--mlflow", help="mlflow's program, in an environment of its own with scikit-learn")
    parser.add_argument("--constant", help="the example `constant` of ropewalk-load: the floor under all figures")
    parser.add_argument("--steadiness", help="the example `steadiness` of ropewalk-load: how steady the server's core is")
    parser.add_argument("--generator", help="the program whose `bench serve` makes the load at a fixed rate; by default ropewalk")
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--only-ropewalk", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    options.ropewalk = str(pathlib.Path(options.ropewalk).resolve())
    options.generator = options.generator or options.ropewalk
    options.constant = options.constant and str(pathlib.Path(options.constant).resolve())
    if len(CORES) < 2:
        sys.exit("latency is measured with one core for the server and another for the load: there is one alone")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        fitted, row, expected, head = train(folder)
        steady = [steadiness(options.steadiness)] if options.steadiness else []
        found = {"ropewalk": measure_ropewalk(options, folder, row, expected, head)}
        steady += [steadiness(options.steadiness)] if options.steadiness else []
        if options.constant:
            found["constant"] = measure_constant(options, folder, found["ropewalk"][ROWS[3][0]]["rate"])
        if not options.only_ropewalk:
            found["FastAPI"] = measure_fastapi(options, folder, expected)
            found["MLServer"] = measure_mlserver(options, folder, row, expected)
            if options.mlflow:
                found["MLflow"] = measure_mlflow(options, folder, fitted, expected)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    names = list(found)
    print(f"{'':42}{'target':>8}" + "".join(f"{name:>12}" for name in names))
    missed = False
    for name, unit, target in ROWS:
        cells = []
        for server in names:
            figure = found[server].get(name)
            value = None if figure is None else figure.get("cpu_ms", figure.get("ratio"))
            cells.append("-" if value is None else f"{value:.3f}")
            missed |= server == "ropewalk" and (value is None or value > target)
        print(f"{name:42}{target:>8}" + "".join(f"{cell:>12}" for cell in cells) + f"  {unit}")
    show_latencies(found)
    for line in steady:
        print(f"steadiness of the server's core, before and after Ropewalk: {line}")
    print(f"\nstart to ready: {found['ropewalk']['start-up']['ms']:.0f} ms")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
