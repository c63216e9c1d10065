"""What is asked of a tracking server, over plain HTTP with kept connections, and what that costs the server's processes."""

import http.client
import json
import multiprocessing
import os
import random
import statistics
import time
import urllib.parse
import uuid

API = "/api/2.0/mlflow/"
TICKS = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    children.setdefault(int(file.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
            except OSError:
                continue  # it has ended meanwhile
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process and of all below it that live."""
    total = 0
    for one in descendants(pid):
        try:
            with open(f"/proc/{one}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            continue
    return total / TICKS


def memory(pid: int) -> dict:
    """Megabytes in memory and number of processes; pages that processes share count once for each in `rss_mb`."""
    sums = {"Rss:": 0, "Pss:": 0}
    found = descendants(pid)
    for one in found:
        try:
            with open(f"/proc/{one}/smaps_rollup") as file:
                for line in file:
                    name, *rest = line.split()
                    if name in sums:
                        sums[name] += int(rest[0])
        except OSError:
            continue
    return {"processes": len(found), "rss_mb": round(sums["Rss:"] / 1024, 1), "pss_mb": round(sums["Pss:"] / 1024, 1)}


class Client:
    """One kept connection; anything but 200 is an error, so that no figure is that of a refusal."""

    def __init__(self, url: str):
        parts = urllib.parse.urlparse(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=600)

    def send(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        for last in (False, True):
            try:
                self.connection.request(method, path, body, {"Content-Type": kind} if body is not None else {})
                answer = self.connection.getresponse()
                content = answer.read()
                break
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # A server may close a connection that was idle.
                self.connection.close()
                if last:
                    raise
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content

    def post(self, endpoint: str, body: dict) -> dict:
        return json.loads(self.send("POST", API + endpoint, json.dumps(body).encode()) or b"{}")

    def get(self, endpoint: str, **query) -> dict:
        return json.loads(self.send("GET", API + endpoint + "?" + urllib.parse.urlencode(query)))

    def experiment(self) -> str:
        return self.post("experiments/create", {"name": f"bench-{uuid.uuid4().hex}"})["experiment_id"]

    def run(self, experiment: str, **more) -> str:
        body = {"experiment_id": experiment, "start_time": now(), **more}
        return self.post("runs/create", body)["run"]["info"]["run_id"]


def now() -> int:
    return int(time.time() * 1000)


TAGS = [{"key": "mlflow.source.name", "value": "train.py"}, {"key": "mlflow.user", "value": "u"}]


def call(kind: str, client: Client, experiment: str, run: str, count: int, chance: random.Random) -> None:
    """The `count`th call of its kind."""
    if kind == "create_run":
        client.post("runs/create", {"experiment_id": experiment, "start_time": now(), "tags": TAGS})
    elif kind == "log_metric":
        point = {"key": f"m{count % 5}", "value": chance.random(), "timestamp": now(), "step": count}
        client.post("runs/log-metric", {"run_id": run, **point})
    elif kind == "log_param":
        client.post("runs/log-parameter", {"run_id": run, "key": f"p{count}", "value": str(count)})
    elif kind == "set_tag":
        client.post("runs/set-tag", {"run_id": run, "key": f"t{count % 50}", "value": str(count)})
    elif kind == "get_run":
        client.get("runs/get", run_id=run)
    elif kind == "log_batch":
        points = [
            {"key": f"m{n % 10}", "value": chance.random(), "timestamp": 1_700_000_000_000 + count, "step": count * 100 + n // 10}
            for n in range(1000)
        ]
        client.post("runs/log-batch", {"run_id": run, "metrics": points})
    else:
        raise ValueError(kind)


def worker(url, kind, experiment, seconds, number, results, barrier) -> None:
    try:
        client, chance = Client(url), random.Random(number)
        run = client.run(experiment)
        barrier.wait(60)
        begun, waits = time.perf_counter(), []
        while (at := time.perf_counter()) - begun < seconds:
            call(kind, client, experiment, run, len(waits), chance)
            waits.append(time.perf_counter() - at)
        results.put((waits, time.perf_counter() - begun, None))
    except Exception as error:  # noqa: BLE001  told to the parent, which ends with it
        results.put(([], 1.0, repr(error)))


def rate(url: str, pid: int, kind: str, processes: int, seconds: float) -> dict:
    """Calls of one kind from some processes for some seconds: the server's CPU for each, rate and waits."""
    experiment = Client(url).experiment()
    results, barrier = multiprocessing.Queue(), multiprocessing.Barrier(processes)
    children = [
        multiprocessing.Process(target=worker, args=(url, kind, experiment, seconds, number, results, barrier))
        for number in range(processes)
    ]
    before = cpu_seconds(pid)
    for child in children:
        child.start()
    told = [results.get(timeout=seconds + 300) for _ in children]
    for child in children:
        child.join()
    spent = cpu_seconds(pid) - before
    errors = [error for _, _, error in told if error]
    if errors:
        raise RuntimeError(f"{kind}: {errors[0]}")
    waits = sorted(wait for found, _, _ in told for wait in found)
    return {
        "cpu_ms": spent * 1e3 / len(waits),
        "per_s": sum(len(found) / took for found, took, _ in told),
        "p50_ms": waits[len(waits) // 2] * 1e3,
        "p99_ms": waits[min(len(waits) - 1, int(len(waits) * 0.99))] * 1e3,
        "calls": len(waits),
    }


def repeated(pid: int, work, times: int = 5, warm: int = 1) -> dict:
    """The server's CPU for one of several repetitions; clocks of processes count hundredths of a second."""
    for _ in range(warm):
        work()
    walls, before = [], cpu_seconds(pid)
    for _ in range(times):
        begun = time.perf_counter()
        work()
        walls.append(time.perf_counter() - begun)
    return {"cpu_ms": (cpu_seconds(pid) - before) * 1e3 / times, "p50_ms": statistics.median(walls) * 1e3, "calls": times}


def seed_part(url: str, experiment: str, numbers: list[int], metrics: int, params: int) -> None:
    client = Client(url)
    for n in numbers:
        run = client.run(experiment, start_time=1_700_000_000_000 + n, tags=[{"key": "grp", "value": f"g{n % 20}"}])
        client.post(
            "runs/log-batch",
            {
                "run_id": run,
                "metrics": [
                    {"key": f"m{j}", "value": ((n * 7919 + j) % 5000) / 5000, "timestamp": 1, "step": 0} for j in range(metrics)
                ],
                "params": [{"key": f"p{j}", "value": str((n + j) % 13)} for j in range(params)],
            },
        )


def seed(url: str, runs: int, processes: int, metrics: int, params: int) -> str:
    """An experiment with this many runs."""
    experiment = Client(url).experiment()
    parts = [(url, experiment, list(range(k, runs, processes)), metrics, params) for k in range(processes)]
    with multiprocessing.Pool(processes) as pool:
        pool.starmap(seed_part, parts)
    return experiment


FILTER = "metrics.m0 > 0.5 and params.p1 = '3' and tags.grp != 'g7'"


def wanted(runs: int) -> int:
    """How many of the seeded runs the filter finds, by the rule that they were seeded with."""
    return sum(1 for n in range(runs) if (n * 7919 % 5000) / 5000 > 0.5 and (n + 1) % 13 == 3 and n % 20 != 7)


def search(client: Client, experiment: str, condition: str, order: list[str], size: int) -> list[dict]:
    body = {"experiment_ids": [experiment], "filter": condition, "order_by": order, "max_results": size}
    return client.post("runs/search", body).get("runs", [])


def history(client: Client, run: str, points: int) -> None:
    found, token = 0, None
    while True:
        more = {"page_token": token} if token else {}
        answer = client.get("metrics/get-history", run_id=run, metric_key="loss", max_results=25_000, **more)
        found, token = found + len(answer.get("metrics", [])), answer.get("next_page_token")
        if not token:
            break
    if found != points:
        raise RuntimeError(f"the history has {found} points, not {points}")


def points_write(client: Client, run: str, key: str, begin: int, end: int) -> None:
    for start in range(begin, end, 1000):
        points = [
            {"key": key, "value": 1 / (1 + n), "timestamp": 1_700_000_000_000 + n, "step": n}
            for n in range(start, min(start + 1000, end))
        ]
        client.post("runs/log-batch", {"run_id": run, "metrics": points})


def artifact(client: Client, pid: int, megabytes: int) -> tuple[dict, dict]:
    """CPU for an upload and a download of 100 MB through the proxy."""
    content = os.urandom(1 << 20) * megabytes
    run = client.run(client.experiment())
    info = client.get("runs/get", run_id=run)["run"]["info"]
    place = urllib.parse.urlparse(info["artifact_uri"]).path.lstrip("/")
    path = f"/api/2.0/mlflow-artifacts/artifacts/{place}/"
    count = 0

    def up():
        nonlocal count
        count += 1
        # Other bytes each time: a server may know bytes that it had before.
        changed = count.to_bytes(8, "big") + content[8:]
        client.send("PUT", f"{path}{count}.bin", changed, "application/octet-stream")

    def down():
        if len(client.send("GET", f"{path}1.bin")) != len(content):
            raise RuntimeError("the artifact came back shorter")

    scale = 100 / megabytes
    figures = []
    for work in (up, down):
        figure = repeated(pid, work, times=3, warm=0)
        figures.append({**figure, "cpu_ms": figure["cpu_ms"] * scale})
    return figures[0], figures[1]
