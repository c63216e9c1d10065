"""Mixed traffic on one server while models move: `python serving_soak --ropewalk BINARY --folder FOLDER --seconds 3600`.

All protocols by several clients, with every answer compared with onnxruntime's; meanwhile an alias of the registry moves to and
fro, a model is loaded in another form and one comes and goes. Memory, open files and threads of the server must be flat. Prints
one object of JSON; ends with 1 if anything was not as it must be. docs/benchmarks.md has the figures.
"""

import argparse
import json
import sys
import threading
import time
import traceback
from pathlib import Path

import tritonclient.http as triton_http

from changes import Changes
from flat import Sampler
from models import make
from place import Place
from standing import Standing
from traffic import Client

#: What is told of failures: one of each kind; the others are counted.
TOLD, KIND = 20, 60
#: Time that the server has to come to its size, before anything is measured.
WARM = 5


class Soak:
    def __init__(self, place, models, seconds, rate, clients, every):
        self.place, self.seconds, self.every = place, seconds, every
        self.pause = clients / rate
        self.ended = threading.Event()
        self.failures, self.failed, self.lock = {}, 0, threading.Lock()
        self.standing = {name: Standing(content) for name, content in first_contents(models).items()}
        self.where = place.start()
        load_all(self.where[0], models)
        asked = {name: model for name, model in models.items() if name != "guest"}
        self.clients = [Client(self.where, asked, self.standing, seed) for seed in range(clients)]
        self.changes = Changes(place, self.where[0], models, self.standing)

    def fail(self, who):
        """One failure ends nothing: how many there are says more."""
        told = traceback.format_exc(limit=-3)
        kind = told.strip().splitlines()[-1][:KIND]
        with self.lock:
            self.failed += 1
            if kind in self.failures or len(self.failures) < TOLD:
                self.failures.setdefault(kind, f"{time.strftime('%H:%M:%S')} {who}: {told}")

    def keep(self, who, step, again, pause):
        """A closed loop: the next request comes when its time has come and the one before is answered."""
        due = time.monotonic()
        while not self.ended.is_set():
            count = 1
            try:
                count = step() or 1
            except Exception:  # noqa: BLE001  whatever it is, it must not be
                self.fail(who)
                again()
            due = max(due + pause * count, time.monotonic() - 1)
            self.ended.wait(max(0, due - time.monotonic()))

    def run(self):
        work = [(f"client {number}", one.step, one.again, self.pause) for number, one in enumerate(self.clients)]
        work.append(("changes", self.changes.step, lambda: None, self.every))
        threads = [threading.Thread(target=self.keep, args=one, daemon=True) for one in work]
        for thread in threads:
            thread.start()
        self.ended.wait(WARM)
        sampler = Sampler(self.place.process, self.seconds)
        self.ended.wait(self.seconds - WARM)
        self.ended.set()
        for thread in threads:
            thread.join(90)
            assert not thread.is_alive(), "a request is not answered"
        sampler.end()
        return sampler.report()

    def report(self, held):
        kinds = {}
        for done in [one.done for one in self.clients] + [self.changes.done]:
            for kind, count in done.items():
                kinds[kind] = kinds.get(kind, 0) + count
        metrics = self.clients[0].ask("GET", "/metrics")[1].decode()
        for one in [*self.clients, self.changes]:
            one.close()
        ended = self.place.stop()
        logged, different = self.place.predictions()
        answered = sum(one.predictions for one in self.clients) + self.changes.predictions
        return {
            "seconds": self.seconds,
            "requests": kinds,
            "answered": answered,
            "logged": logged,
            "failed": self.failed,
            "failures": list(self.failures.values()),
            "held": held,
            "well": {
                "no failure": self.failed == 0,
                "flat": all(one["flat"] for one in held.values()),
                "every answer is logged once": answered == logged == different,
                "no alias failed": value(metrics, "ropewalk_alias_failures") == 0,
                "nothing of the log was lost": value(metrics, "ropewalk_predictions_lost_total") == 0,
                "the server ended well": ended == 0,
            },
        }


def first_contents(models):
    return {name: {"line": "2", "swapped": "a"}.get(name, "1") for name in models}


def load_all(rest, models):
    with triton_http.InferenceServerClient(rest, network_timeout=300, connection_timeout=300) as client:
        for name in models:
            if name not in ("line", "guest"):
                client.load_model(name)


def value(metrics, name):
    return sum(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(name))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ropewalk", required=True, help="the binary")
    parser.add_argument("--folder", required=True, type=Path, help="an empty folder for the project")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--rate", type=float, default=100, help="requests a second, of all clients together")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--every", type=float, default=4, help="seconds from one round of changes to the next")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    place = Place(given.ropewalk, given.folder)
    models = make(given.folder)
    place.set_up()
    try:
        soak = Soak(place, models, given.seconds, given.rate, given.clients, given.every)
        told = soak.report(soak.run())
    finally:
        place.kill()
    print(json.dumps(told, indent=1))
    if not all(told["well"].values()):
        print(place.said(), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
