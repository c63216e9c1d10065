#!/usr/bin/env python3
"""Ropewalk's tracking server against MLflow's, one after the other on fresh folders, by the same calls.

    python3 -m venv VENV && VENV/bin/pip install -r requirements.txt
    compare.py ROPEWALK_BINARY VENV/bin/mlflow [--catalog postgresql://…] [--json FILE] [--seconds 4] [--runs 5000]
    compare.py ROPEWALK_BINARY --scale [--points 100000000]

The figure of a row is the CPU (user and system) that the server's processes spend for one call: on a shared machine wall
time tells of the neighbours. Waits as the client sees them are in the JSON. The exit code is 1 if a target was missed.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import load

# Name, unit, target of Ropewalk.
ROWS = [
    ("log_metric", "ms", 0.15),
    ("create_run", "ms", 0.3),
    ("log_param", "ms", 0.15),
    ("set_tag", "ms", 0.15),
    ("get_run", "ms", 0.1),
    ("search, filter and order", "ms", 5),
    ("page of 1000 runs, 30 keys", "ms", 40),
    ("history of 20,000 points", "ms", 30),
    ("log_batch of 1000 metrics", "ms", 4),
    ("artifact up, 100 MB", "ms", 150),
    ("artifact down, 100 MB", "ms", 60),
    ("memory idle", "MB", 60),
    ("processes", "", 1),
    ("start-up", "ms", 100),
]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A server on a folder of its own; stopped with all its children."""

    def __init__(self, command: list[str], port: int, folder: pathlib.Path):
        self.url = f"http://127.0.0.1:{port}"
        self.log = (folder / "server.log").open("wb")
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True
        )
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                pass
            if self.process.poll() is not None or time.perf_counter() - begun > 180:
                self.stop()
                sys.exit(f"{command[0]} did not start:\n{(folder / 'server.log').read_text()[-3000:]}")
            time.sleep(0.002)
        self.startup_ms = (time.perf_counter() - begun) * 1e3

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=20)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()


def ropewalk(binary: str, folder: pathlib.Path, catalog: str | None) -> Server:
    port = free_port()
    command = [binary, "server", "--host", "127.0.0.1", "--port", str(port), "--data", str(folder / "data")]
    return Server(command + (["--catalog", catalog] if catalog else []), port, folder)


def mlflow(program: str, folder: pathlib.Path) -> Server:
    port = free_port()
    database, artifacts = f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts")
    command = [program, "server", "--host", "127.0.0.1", "--port", str(port)]
    return Server([*command, "--backend-store-uri", database, "--artifacts-destination", artifacts], port, folder)


def measure(server: Server, options) -> dict:
    """The rows of one server."""
    found = {"start-up": {"value": server.startup_ms}}
    time.sleep(options.settle)
    idle = load.memory(server.pid)
    found["memory idle"] = {"value": idle["pss_mb"], **idle}
    found["processes"] = {"value": idle["processes"]}

    def keep(name: str, figure: dict) -> None:
        found[name] = {"value": figure["cpu_ms"], **figure}
        print(f"  {name:28} {figure['cpu_ms']:10.3f} ms", flush=True)

    client = load.Client(server.url)
    for kind in ["create_run", "log_metric", "log_param", "set_tag", "get_run"]:
        keep(kind, load.rate(server.url, server.pid, kind, options.processes, options.seconds))
    keep("log_batch of 1000 metrics", load.rate(server.url, server.pid, "log_batch", options.processes, options.seconds))

    place = load.seed(server.url, options.runs, options.processes, metrics=5, params=5)
    hits = load.search(client, place, load.FILTER, ["metrics.m1 DESC"], 1000)
    if len(hits) != min(1000, load.wanted(options.runs)):
        sys.exit(f"the search found {len(hits)} runs, not {load.wanted(options.runs)}")
    values = [next(one["value"] for one in hit["data"]["metrics"] if one["key"] == "m1") for hit in hits]
    if values != sorted(values, reverse=True):
        sys.exit("the search is not in order")
    times = 5 if server.startup_ms > 5000 else 50
    keep(
        "search, filter and order",
        load.repeated(server.pid, lambda: load.search(client, place, load.FILTER, ["metrics.m1 DESC"], 100), times),
    )
    wide = load.seed(server.url, 1000, options.processes, metrics=15, params=14)
    if len(load.search(client, wide, "", [], 1000)) != 1000:
        sys.exit("the page has not 1000 runs")
    keep("page of 1000 runs, 30 keys", load.repeated(server.pid, lambda: load.search(client, wide, "", [], 1000), max(5, times // 5)))

    run = client.run(client.experiment())
    load.points_write(client, run, "loss", 0, 20_000)
    keep("history of 20,000 points", load.repeated(server.pid, lambda: load.history(client, run, 20_000), max(3, times // 5)))
    up, down = load.artifact(client, server.pid, options.megabytes)
    keep("artifact up, 100 MB", up)
    keep("artifact down, 100 MB", down)
    found["memory after"] = {"value": load.memory(server.pid)["pss_mb"]}
    return found


def compare(options) -> bool:
    """Measures and prints; true if all targets are met."""
    told = {"host": os.uname().nodename, "cpus": os.cpu_count(), "catalog": "postgresql" if options.catalog else "sqlite"}
    for name in ["mlflow", "ropewalk"]:
        if name == "mlflow" and not options.mlflow:
            continue
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(f"{name}:", flush=True)
            place = pathlib.Path(folder)
            server = mlflow(options.mlflow, place) if name == "mlflow" else ropewalk(options.ropewalk, place, options.catalog)
            try:
                told[name] = measure(server, options)
            finally:
                server.stop()
    theirs, ours = told.get("mlflow"), told["ropewalk"]
    print(f"\n| {'server CPU per call':28} | {'MLflow':>10} | {'Ropewalk':>10} | {'ratio':>7} | {'target':>8} |     |")
    print("|---|---|---|---|---|---|")
    all_met = True
    for name, unit, target in ROWS:
        value = ours[name]["value"]
        other = theirs[name]["value"] if theirs else None
        met = value <= target
        all_met &= met
        ratio = f"{other / value:.0f}x" if other is not None and value else "-"
        shown = f"{other:.2f}" if other is not None else "-"
        print(f"| {name:28} | {shown:>7} {unit:2} | {value:>7.2f} {unit:2} | {ratio:>7} | {target:>5} {unit:2} | {'met' if met else 'MISSED'} |")
    told["all_targets_met"] = all_met
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(told, indent=1))
    return all_met


def scale(options) -> bool:
    """Ropewalk alone: a search over 100,000 runs with 50 metrics each, and a catalogue of very many points."""
    told, met = {}, True
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        server = ropewalk(options.ropewalk, pathlib.Path(folder), options.catalog)
        try:
            client = load.Client(server.url)
            begun, before = time.perf_counter(), load.cpu_seconds(server.pid)
            place = load.seed(server.url, options.scale_runs, options.processes, metrics=50, params=5)
            told["seed"] = {"wall_s": time.perf_counter() - begun, "cpu_s": load.cpu_seconds(server.pid) - before}
            print(f"seeded {options.scale_runs} runs in {told['seed']['wall_s']:.0f} s, {told['seed']['cpu_s']:.0f} s CPU", flush=True)
            for name, condition, order in [
                ("filter and order by metric", load.FILTER, ["metrics.m1 DESC"]),
                ("order by metric", "", ["metrics.m1 DESC"]),
                ("narrow metric", "metrics.m0 > 0.999", ["metrics.m2 ASC"]),
            ]:
                figure = load.repeated(server.pid, lambda: load.search(client, place, condition, order, 100), 20)
                told[name] = figure
                reached = figure["cpu_ms"] < 50
                met &= reached
                print(f"{name:28} {figure['cpu_ms']:8.1f} ms CPU (target 50) {'met' if reached else 'MISSED'}", flush=True)
            if options.points:
                met &= many_points(server, options, told)
            told["memory"] = load.memory(server.pid)
            print(f"memory after all: {told['memory']['pss_mb']} MB")
        finally:
            server.stop()
        size = sum(entry.stat().st_size for entry in pathlib.Path(folder).rglob("*") if entry.is_file())
        told["bytes"] = size
        print(f"on disk: {size / 1e6:.0f} MB")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(told, indent=1))
    return met


def many_points(server: Server, options, told: dict) -> bool:
    """Writes points of many series, then reads one history and the latest of a run among them."""
    client, series = load.Client(server.url), 20_000
    place = client.experiment()
    runs = max(1, options.points // series)
    begun, before = time.perf_counter(), load.cpu_seconds(server.pid)
    ids = []
    for number in range(runs):
        ids.append(client.run(place))
        load.points_write(client, ids[-1], "loss", 0, series)
        if number % 100 == 99:
            done = (number + 1) * series
            print(f"{done / 1e6:.0f} million points, {done / (time.perf_counter() - begun):.0f} a second", flush=True)
    told["points"] = {"count": runs * series, "wall_s": time.perf_counter() - begun, "cpu_s": load.cpu_seconds(server.pid) - before}
    history = load.repeated(server.pid, lambda: load.history(client, ids[len(ids) // 2], series), 10)
    latest = load.repeated(server.pid, lambda: client.get("runs/get", run_id=ids[len(ids) // 2]), 200)
    told["history among points"], told["latest among points"] = history, latest
    print(f"history of 20,000 among them: {history['cpu_ms']:.1f} ms CPU (target 30); latest: {latest['cpu_ms']:.2f} ms CPU (target 0.1)")
    return history["cpu_ms"] <= 30 and latest["cpu_ms"] <= 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ropewalk")
    parser.add_argument("mlflow", nargs="?", help="the program `mlflow`; without it Ropewalk is measured alone")
    parser.add_argument("--catalog", help="Ropewalk on this PostgreSQL, which must be empty")
    parser.add_argument("--json")
    parser.add_argument("--folder", help="where the folders of the servers are made")
    parser.add_argument("--processes", type=int, default=4, help="clients at the same time")
    parser.add_argument("--seconds", type=float, default=4, help="how long each kind of call is made")
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--settle", type=float, default=5, help="seconds until a server that started counts as idle")
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--scale-runs", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=0, help="with --scale: write so many points, too")
    options = parser.parse_args()
    options.ropewalk = str(pathlib.Path(options.ropewalk).resolve())
    options.mlflow = options.mlflow and shutil.which(options.mlflow)
    return 0 if (scale(options) if options.scale else compare(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
