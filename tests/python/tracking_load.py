"""Load on a tracking server with a journal of what it acknowledged, and the proof that all of it is there.

    tracking_load.py write URL JOURNAL    write from several threads until the server is gone; says `loaded` when all do
    tracking_load.py check URL JOURNAL    after a restart: everything acknowledged is there, and nothing half
    tracking_load.py two URL URL          two servers over one database behave as one

Plain HTTP and nothing but the standard library: a client that retries by itself would hide what is looked for.
"""

import http.client
import json
import random
import sys
import threading
import time
import urllib.parse
import uuid

API = "/api/2.0/mlflow/"
THREADS = 6
# Longer than any test: a driver that is forgotten must end.
PATIENCE = 120.0


class Gone(Exception):
    """The server closed the connection or refused it: whether the last call was carried out is unknown."""


class Client:
    def __init__(self, url):
        parts = urllib.parse.urlparse(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)

    def send(self, method, path, body=None):
        """Status and bytes; a server that has too much to do is asked again."""
        while True:
            try:
                self.connection.request(method, path, body, {"Content-Type": "application/json"})
                answer = self.connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise Gone(repr(error)) from error
            if answer.status != 503:
                return answer.status, content
            time.sleep(0.02)

    def ask(self, method, path, body=None):
        status, content = self.send(method, path, body)
        if status != 200:
            raise AssertionError(f"{method} {path}: {status} {content[:300]!r}")
        return content

    def post(self, endpoint, body):
        return json.loads(self.ask("POST", API + endpoint, json.dumps(body).encode()) or b"{}")

    def get(self, endpoint, **query):
        return json.loads(self.ask("GET", API + endpoint + "?" + urllib.parse.urlencode(query)))

    def run(self, experiment, **more):
        return self.post("runs/create", {"experiment_id": experiment, "start_time": 1, **more})["run"]["info"]["run_id"]

    def points(self, run, key):
        found, token = [], None
        while True:
            more = {"page_token": token} if token else {}
            answer = self.get("metrics/get-history", run_id=run, metric_key=key, max_results=25_000, **more)
            found += [(int(one.get("step", 0)), int(one["timestamp"]), float(one["value"])) for one in answer.get("metrics", [])]
            token = answer.get("next_page_token")
            if not token:
                return found


class Journal:
    """What a thread wrote to its run: acknowledged, and the one call whose answer never came."""

    def __init__(self, experiment, run):
        self.experiment, self.run = experiment, run
        self.done, self.doubtful = [], None

    def carry_out(self, client, operation):
        self.doubtful = operation
        perform(client, self, operation)
        self.done.append(operation)
        self.doubtful = None


def perform(client, journal, operation):
    kind, run = operation["kind"], journal.run
    if kind == "metric":
        step, at, value = operation["point"]
        body = {"run_id": run, "key": operation["key"], "step": step, "timestamp": at, "value": value}
        client.post("runs/log-metric", body)
    elif kind == "param":
        client.post("runs/log-parameter", {"run_id": run, "key": operation["key"], "value": operation["value"]})
    elif kind == "tag":
        client.post("runs/set-tag", {"run_id": run, "key": operation["key"], "value": operation["value"]})
    elif kind == "batch":
        points = [{"key": operation["key"], "step": s, "timestamp": t, "value": v} for s, t, v in operation["points"]]
        params = [{"key": key, "value": value} for key, value in operation["params"].items()]
        client.post("runs/log-batch", {"run_id": run, "metrics": points, "params": params})
    elif kind == "artifact":
        path = f"/api/2.0/mlflow-artifacts/artifacts/{journal.experiment}/{run}/artifacts/{operation['path']}"
        client.ask("PUT", path, artifact(operation))
    elif kind == "child":
        operation["id"] = client.run(journal.experiment, tags=[{"key": "mlflow.parentRunId", "value": run}])


def artifact(operation):
    return (operation["path"] * operation["times"]).encode()


def next_operation(count, chance):
    kind = chance.choice(["metric", "metric", "metric", "param", "tag", "batch", "artifact", "child"])
    if kind == "metric":
        return {"kind": kind, "key": f"m{count % 3}", "point": [count, 1000 + count, chance.random()]}
    if kind == "param":
        return {"kind": kind, "key": f"p{count}", "value": str(chance.random())}
    if kind == "tag":
        return {"kind": kind, "key": f"t{count % 4}", "value": str(count)}
    if kind == "batch":
        points = [[count * 1000 + n, count, chance.random()] for n in range(chance.randint(1, 400))]
        params = {f"b{count}-{n}": str(n) for n in range(chance.randint(0, 20))}
        return {"kind": kind, "key": "batched", "points": points, "params": params}
    if kind == "artifact":
        return {"kind": kind, "path": f"folder{count % 2}/{count}.txt", "times": chance.choice([0, 1, 100, 20_000])}
    return {"kind": kind}


def write(url, path):
    experiment = Client(url).post("experiments/create", {"name": f"load-{uuid.uuid4().hex}"})["experiment_id"]
    journals, failures = [], []
    begun = threading.Barrier(THREADS + 1)
    deadline = time.monotonic() + PATIENCE

    def work():
        client, chance, journal = Client(url), random.Random(), None
        try:
            journal = Journal(experiment, client.run(experiment))
            journals.append(journal)
            count = 0
            while time.monotonic() < deadline:
                journal.carry_out(client, next_operation(count, chance))
                count += 1
                if count == 10:
                    begun.wait(60)
        except Gone:
            if journal is None or len(journal.done) < 10:
                begun.abort()
        except Exception as error:  # noqa: BLE001  told below
            failures.append(repr(error))
            begun.abort()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        begun.wait(60)
        print("loaded", flush=True)
    except threading.BrokenBarrierError:
        print("gone early", flush=True)
    for thread in threads:
        thread.join()
    assert not failures, failures
    with open(path, "a") as file:
        for journal in journals:
            file.write(json.dumps(vars(journal)) + "\n")
    print(sum(len(journal.done) for journal in journals), "acknowledged")


def check(url, path):
    client, count = Client(url), 0
    with open(path) as file:
        for line in file:
            journal = Journal("", "")
            vars(journal).update(json.loads(line))
            check_run(client, journal)
            count += len(journal.done)
    print(count, "are there")


def check_run(client, journal):
    run = client.get("runs/get", run_id=journal.run)["run"]
    params = {one["key"]: one["value"] for one in run["data"].get("params", [])}
    tags = {one["key"]: one["value"] for one in run["data"].get("tags", [])}
    latest = {one["key"]: one for one in run["data"].get("metrics", [])}
    must = collect(journal.done)
    may = collect([*journal.done, *([journal.doubtful] if journal.doubtful else [])])

    assert must["params"].items() <= params.items() <= may["params"].items(), (journal.run, "params")
    for key, value in must["tags"].items():
        assert tags.get(key) in (value, may["tags"][key]), (journal.run, key, tags.get(key), value)
    for key in may["points"]:
        found = client.points(journal.run, key)
        missing, strange = must["points"].get(key, set()) - set(found), set(found) - may["points"][key]
        assert not missing, (journal.run, key, "acknowledged and gone", sorted(missing)[:5])
        assert not strange, (journal.run, key, "never written", sorted(strange)[:5])
        assert len(set(found)) == len(found), (journal.run, key, "twice")
        if found:
            shown = latest[key]
            assert (int(shown.get("step", 0)), int(shown["timestamp"]), float(shown["value"])) == max(found), (journal.run, key, "latest")
    if journal.doubtful and journal.doubtful["kind"] == "batch":
        check_whole(client, journal, params)
    for operation in must["artifacts"].values():
        content = client.ask("GET", f"/get-artifact?run_id={journal.run}&path={urllib.parse.quote(operation['path'])}")
        assert content == artifact(operation), (journal.run, operation["path"])
    for child in must["children"]:
        found = client.get("runs/get", run_id=child)["run"]["data"]["tags"]
        assert {"key": "mlflow.parentRunId", "value": journal.run} in found, child


def check_whole(client, journal, params):
    """A batch without an answer is there as a whole or not at all."""
    operation = journal.doubtful
    points = {tuple(point) for point in operation["points"]}
    there = points & set(client.points(journal.run, operation["key"]))
    assert there in (set(), points), (journal.run, "half a batch of metrics")
    named = operation["params"].keys() & params.keys()
    if operation["params"]:
        assert bool(named) == bool(there) and len(named) in (0, len(operation["params"])), (journal.run, "half a batch")


def collect(operations):
    found = {"params": {}, "tags": {}, "points": {}, "artifacts": {}, "children": []}
    for operation in operations:
        kind = operation["kind"]
        if kind == "metric":
            found["points"].setdefault(operation["key"], set()).add(tuple(operation["point"]))
        elif kind == "param":
            found["params"][operation["key"]] = operation["value"]
        elif kind == "tag":
            found["tags"][operation["key"]] = operation["value"]
        elif kind == "batch":
            found["points"].setdefault(operation["key"], set()).update(map(tuple, operation["points"]))
            found["params"].update(operation["params"])
        elif kind == "artifact":
            found["artifacts"][operation["path"]] = operation
        elif kind == "child" and "id" in operation:
            found["children"].append(operation["id"])
    return found


def two(first, second):
    """What one of two servers acknowledged the other one shows at once, and what only one may get only one gets."""
    urls = [first, second]
    experiment = Client(first).post("experiments/create", {"name": f"two-{uuid.uuid4().hex}"})["experiment_id"]
    shared, name = Client(second).run(experiment), f"taken-{uuid.uuid4().hex}"
    model = f"model-{uuid.uuid4().hex}"
    Client(first).post("registered-models/create", {"name": model})
    results, failures = {"name": [], "param": [], "versions": [], "runs": []}, []

    def work(number):
        try:
            here, there = Client(urls[number % 2]), Client(urls[(number + 1) % 2])
            status, _ = here.send("POST", API + "experiments/create", json.dumps({"name": name}).encode())
            results["name"].append(status)
            body = {"run_id": shared, "key": "contended", "value": f"of {number}"}
            status, _ = here.send("POST", API + "runs/log-parameter", json.dumps(body).encode())
            results["param"].append(status)
            for step in range(40):
                # The same point from everywhere, and one of its own.
                points = [
                    {"key": "same", "value": step, "timestamp": step, "step": step},
                    {"key": f"own{number}", "value": step, "timestamp": step, "step": step},
                ]
                here.post("runs/log-batch", {"run_id": shared, "metrics": points})
                here.post("runs/set-tag", {"run_id": shared, "key": f"tag{number}", "value": str(step)})
                seen = there.get("runs/get", run_id=shared)["run"]["data"]
                assert {"key": f"tag{number}", "value": str(step)} in seen["tags"], "not seen at once"
                own = next(one for one in seen["metrics"] if one["key"] == f"own{number}")
                assert float(own["value"]) == step, "an old point"
            results["runs"].append(here.run(experiment))
            source = {"name": model, "source": f"mlflow-artifacts:/{experiment}/{shared}/artifacts/model", "run_id": shared}
            results["versions"].append(int(here.post("model-versions/create", source)["model_version"]["version"]))
        except Exception as error:  # noqa: BLE001  told below
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    for what in ["name", "param"]:
        assert sorted(results[what]) == [200] + [400] * (THREADS - 1), (what, results[what])
    assert sorted(results["versions"]) == list(range(1, THREADS + 1)), results["versions"]
    for url in urls:
        client = Client(url)
        assert client.points(shared, "same") == [(n, n, float(n)) for n in range(40)]
        found = client.post("runs/search", {"experiment_ids": [experiment]})["runs"]
        assert {one["info"]["run_id"] for one in found} == {shared, *results["runs"]}
        assert len(results["runs"]) == len(set(results["runs"])) == THREADS
    print("as one")


if __name__ == "__main__":
    {"write": write, "check": check, "two": two}[sys.argv[1]](*sys.argv[2:])
