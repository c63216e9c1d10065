"""The static `ropewalk-serve`: its size, its start, its memory, its answers and its end, by itself and as an image from scratch.

    python static_binary.py PROGRAM MODEL.onnx PAGE.md [--requests 20000]

MODEL.onnx is one of the zoo, with the answers of onnxruntime in MODEL.json beside it. PAGE.md has the Containerfile. Figures are
printed; the exit code is 1 if a limit is missed. Needs tritonclient[grpc]; only root can try the image.
"""

import argparse
import atexit
import http.client
import http.server
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import tritonclient.grpc as triton

# The limits of the issue, in bytes and milliseconds.
SIZE, MEMORY, READY = 30_000_000, 30_000_000, 50
# The type of the segment that names the program which loads shared libraries (ELF-64 Object File Format, 1.5).
PT_INTERP = 3
# Starts that are tried; more, up to the second number, as long as none was fast enough: others may have the processors.
STARTS, MOST_STARTS = 5, 40
REST_THREADS, GRPC_THREADS = 8, 4
PATIENCE = 60
# Of what every engine adds to an image (OCI Runtime Specification, "Default Devices"), what is read.
DEVICES = {"random": 8, "urandom": 9}
KEY = "0123456789abcdef0123456789abcdef"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
complaints = []


def check(fine: bool, what: str) -> None:
    print(f"{'ok  ' if fine else 'FAIL'}  {what}", flush=True)
    if not fine:
        complaints.append(what)


class Server:
    """A program that is started, with free ports, until it answers that it is ready."""

    def __init__(self, command: list[str], **environment: str):
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--grpc-port", "0"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        atexit.register(self.process.kill)
        said, ports = "", []
        for line in self.process.stderr:
            said += line
            ports += re.findall(r"^(?:REST|gRPC) .*:(\d+)", line)
            if len(ports) == 2:
                break
        else:
            sys.exit(f"{command} did not start: {said}")
        self.rest, self.grpc = map(int, ports)
        status = self.get("/v2/health/ready")[0]
        self.ready_ms = (time.perf_counter() - begun) * 1e3
        # Nanoseconds on a processor, of each thread.
        times = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        self.cpu_ms = sum(int(path.read_text().split()[0]) for path in times) / 1e6
        if status != 200:
            sys.exit(f"{command} says that it is ready, and then {status}")

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        return self.ask("GET", path, None, headers)

    def ask(self, method: str, path: str, body: bytes | None, headers: dict) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.rest, timeout=PATIENCE)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text

    def memory(self, field: str) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M)[1]) * 1024

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def refused(command: list[str], **environment: str) -> str:
    """What a program says that does not start; nothing if it ends otherwise than with exit code 2."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "it started"
    return ended.stderr if ended.returncode == 2 else f"exit code {ended.returncode}: {ended.stderr}"


def segments(program: pathlib.Path) -> set[int]:
    """The types of the segments of an ELF file of 64 bits (the same)."""
    data = program.read_bytes()
    offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    return {struct.unpack_from("<I", data, offset + size * index)[0] for index in range(count)}


class Model:
    """A model of the zoo with one request, and the answer that it must get."""

    def __init__(self, path: pathlib.Path):
        self.path, self.name = path, path.stem
        self.known = json.loads(path.with_suffix(".json").read_text())
        given = self.known["inputs"][0]
        self.row = np.array(given["data"], dtype=np.float32).reshape(given["shape"])[:1]
        one = {"name": given["name"], "datatype": "FP32", "shape": list(self.row.shape), "data": self.row.ravel().tolist()}
        self.input, self.body = given["name"], json.dumps({"inputs": [one]}).encode()

    def fits(self, name: str, values: np.ndarray) -> bool:
        wanted = next(one for one in self.known["outputs"] if one["name"] == name)
        wanted = np.array(wanted["data"], dtype=np.float64).reshape(wanted["shape"])[:1]
        return values.shape == wanted.shape and np.allclose(values, wanted, rtol=1e-5, atol=1e-7)

    def fits_json(self, answer: bytes) -> bool:
        outputs = json.loads(answer)["outputs"]
        return len(outputs) == 2 and all(self.fits(one["name"], np.array(one["data"]).reshape(one["shape"])) for one in outputs)

    def grpc(self, server: Server, times: int) -> bool:
        with triton.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client:
            given = triton.InferInput(self.input, list(self.row.shape), "FP32").set_data_from_numpy(self.row)
            answers = [client.infer(self.name, [given]) for _ in range(times)]
        return all(self.fits(name, answers[-1].as_numpy(name)) for name in ["label", "probabilities"])

    def rest(self, server: Server, times: int) -> bool:
        """All answers are alike but for the id of the prediction, and the last one is right."""
        connection, kinds = http.client.HTTPConnection("127.0.0.1", server.rest, timeout=PATIENCE), set()
        for _ in range(times):
            connection.request("POST", f"/v2/models/{self.name}/infer", self.body)
            answer = connection.getresponse()
            text = answer.read()
            kinds.add((answer.status, text.partition(b'"outputs":')[2]))
        connection.close()
        return len(kinds) == 1 and answer.status == 200 and self.fits_json(text)


def load(server: Server, model: Model, requests: int) -> None:
    """Four fifths over REST, one over gRPC, from several connections at once."""
    right = []
    ways = [(model.rest, REST_THREADS, requests * 4 // 5), (model.grpc, GRPC_THREADS, requests // 5)]
    threads = [
        threading.Thread(target=lambda ask=ask, share=total // count: right.append(ask(server, share)))
        for ask, count, total in ways
        for _ in range(count)
    ]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(len(right) == len(threads) and all(right), f"{requests} requests answered right in {time.perf_counter() - begun:.1f} s")


def drains(server: Server, model: Model) -> None:
    """A request whose body is not there yet is answered after SIGTERM, others are sent elsewhere, and the end is orderly."""
    path = f"/v2/models/{model.name}/infer"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(model.body)}\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.rest), PATIENCE) as wire:
        wire.sendall(head.encode())
        check(wire.recv(4096).startswith(b"HTTP/1.1 100"), "a request is under way")
        server.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        while server.get("/v2/health/ready")[0] == 200 and time.monotonic() < until:
            time.sleep(0.001)
        check(server.ask("POST", path, model.body, {})[0] == 503, "after SIGTERM new requests are sent elsewhere")
        wire.sendall(model.body)
        answer = b""
        while part := wire.recv(65536):
            answer += part
        check(answer.startswith(b"HTTP/1.1 200"), "after SIGTERM what is under way is answered")
    check(server.process.wait(PATIENCE) == 0, "the exit code is 0")


def by_itself(program: pathlib.Path, model: Model, requests: int) -> None:
    size, kinds = program.stat().st_size, segments(program)
    check(size < SIZE, f"size {size / 1e6:.1f} MB, limit {SIZE / 1e6:.0f}")
    said = subprocess.run(["ldd", program], capture_output=True, text=True)
    check(PT_INTERP not in kinds and "=>" not in said.stdout, f"no PT_INTERP; ldd: {(said.stdout + said.stderr).strip()}")
    command, times = [str(program), str(model.path)], []
    while len(times) < STARTS or (min(times) >= READY and len(times) < MOST_STARTS):
        server = Server(command)
        times.append(server.ready_ms)
        check(server.stop() == 0, f"started and stopped, ready after {server.ready_ms:.1f} ms, {server.cpu_ms:.1f} ms of them on a processor")
    check(min(times) < READY, f"start to ready: best {min(times):.1f} ms, worst {max(times):.1f} ms, limit {READY}")
    server = Server(command)
    show = lambda: f"VmRSS {server.memory('VmRSS') / 1e6:.1f} MB, VmHWM {server.memory('VmHWM') / 1e6:.1f} MB, limit {MEMORY / 1e6:.0f}"
    check(server.memory("VmHWM") < MEMORY, f"memory after the start: {show()}")
    check(model.rest(server, 1), "the answer over REST is onnxruntime's")
    check(model.grpc(server, 1), "the answer over gRPC is onnxruntime's")
    load(server, model, requests)
    check(server.memory("VmHWM") < MEMORY, f"memory after {requests} requests: {show()}")
    drains(server, model)
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "serve.toml")
        config.write_text(f'[serve.model.{model.name}]\nengine = "onnxruntime"\n')
        capi = pathlib.Path(importlib.util.find_spec("onnxruntime").origin).parent / "capi"
        said = refused([*command, "--config", str(config), "--port", "0", "--grpc-port", "0"], ORT_DYLIB_PATH=str(capi))
    check("linked statically" in said and "`onnxruntime`" in said, f"ONNX Runtime is refused: {said.strip()}")


class Image:
    """The files of a Containerfile in a folder, and how the program in it is started."""

    def __init__(self, page: pathlib.Path, root: pathlib.Path, context: dict[str, pathlib.Path]):
        self.root, words = root, {}
        for line in re.search(r"```dockerfile\n(.*?)```", page.read_text(encoding="utf-8"), re.S)[1].splitlines():
            word, rest = line.split(None, 1)
            if word == "COPY":
                source, target = rest.split()
                place = root / target.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(context[source], place)
            words[word] = rest
        check(words["FROM"] == "scratch", "the image is from scratch")
        root.chmod(0o755)
        (root / "dev").mkdir()
        for name, minor in DEVICES.items():
            os.mknod(root / "dev" / name, stat.S_IFCHR, os.makedev(1, minor))
            (root / "dev" / name).chmod(0o666)
        # Tests listen on loopback alone.
        command = [*json.loads(words["ENTRYPOINT"]), *json.loads(words["CMD"])]
        command = ["127.0.0.1" if word == "0.0.0.0" else word for word in command]
        chroot = shutil.which("chroot", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        self.command = [chroot, "--userspec", words["USER"], str(root), *command]

    def config(self, text: str) -> list[str]:
        (self.root / "serve.toml").write_text(text)
        return [*self.command, "--config", "/serve.toml"]


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes spans."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.spans.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def as_an_image(program: pathlib.Path, model: Model, page: pathlib.Path) -> None:
    if os.geteuid() != 0:
        print("--    not checked: the program as an image, since only root may chroot")
        return
    # Beside the program: devices are not opened on every file system for temporary files.
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        root = pathlib.Path(folder, "root")
        root.mkdir()
        image = Image(page, root, {"ropewalk-serve": program, "model.onnx": model.path})
        server = Server(image.command, APP_KEY=KEY)
        path, key = "/v2/models/model/infer", {"Authorization": f"Bearer {KEY}"}
        check(server.ask("POST", path, model.body, {})[0] == 401, "in the image: without a key nothing is answered")
        status, answer = server.ask("POST", path, model.body, key)
        check(status == 200 and model.fits_json(answer), f"in the image: ready after {server.ready_ms:.1f} ms, the answer is right")
        check(server.stop() == 0, "in the image: SIGTERM ends it with exit code 0")
        names(image, path, model.body, key, root)


def names(image: Image, path: str, body: bytes, key: dict, root: pathlib.Path) -> None:
    """Names of hosts are looked up without a library, or refused."""
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    collector.spans = []
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    command = image.config(f'[serve.trace]\nendpoint = "http://collector:{collector.server_port}"\n')
    (root / "etc").mkdir()
    (root / "etc/hosts").write_text("127.0.0.1 collector\n")
    server = Server(command, APP_KEY=KEY)
    check(server.ask("POST", path, body, {**key, "traceparent": TRACE})[0] == 200, "in the image: a request with a trace is answered")
    check(server.stop() == 0, "in the image: the end waits for the spans")
    sent = [path for path, spans in collector.spans if TRACE.split("-")[1].encode() in spans]
    check(sent == ["/v1/traces"], "in the image: a name in /etc/hosts is looked up, and the span comes there")
    (root / "etc/nsswitch.conf").write_text("hosts: mymachines resolve [!UNAVAIL=return] files dns\n")
    said = refused([*command, "--port", "0", "--grpc-port", "0"], APP_KEY=KEY)
    check("linked statically" in said and "`mymachines`" in said, f"names by other libraries are refused: {said.strip()}")
    collector.shutdown()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program", type=pathlib.Path)
    arguments.add_argument("model", type=pathlib.Path)
    arguments.add_argument("page", type=pathlib.Path)
    arguments.add_argument("--requests", type=int, default=20_000)
    given = arguments.parse_args()
    model = Model(given.model)
    by_itself(given.program.resolve(), model, given.requests)
    as_an_image(given.program.resolve(), model, given.page)
    if complaints:
        sys.exit("the static binary is not as it should be:\n" + "\n".join(complaints))


if __name__ == "__main__":
    main()
