"""A project and its server."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

#: Seconds between two looks at the registry's aliases.
ALIAS_SECONDS = 1

PROJECT = f"""
[project]
name = "soak"

[stage.made]
run = "cp given.onnx model.onnx"
deps = ["given.onnx"]
out = {{ model = "model.onnx" }}

[stage.register]
register = {{ model = "made", name = "line", alias = "champion" }}

[serve]
models = ["models:/line@champion", "repository", "worker=worker"]
model_control = "explicit"
alias_seconds = {ALIAS_SECONDS}

[serve.model.trees]
batching = {{ max_rows = 32, max_delay_us = 200 }}
"""


class Place:
    def __init__(self, binary, folder):
        self.binary, self.folder = str(Path(binary).resolve()), Path(folder)
        self._server = None
        self._environment = dict(os.environ, ROPEWALK_PYTHON=sys.executable)
        self._environment.pop("ROPEWALK_PROJECT", None)

    def ropewalk(self, *arguments):
        """Runs a command that must end well; what it printed."""
        command = [self.binary, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def set_up(self):
        """Two versions of the model `line`, the second of which is the champion."""
        (self.folder / "ropewalk.toml").write_text(PROJECT)
        for version in "1", "2":
            shutil.copy(self.folder / f"line-{version}.onnx", self.folder / "given.onnx")
            self.ropewalk("run")

    def start(self):
        """Starts the server: where REST and gRPC are."""
        command = [self.binary, "serve", "--port", "0", "--grpc-port", "0", "--output", "json"]
        with open(self.folder / "server.log", "wb") as log:
            self._server = subprocess.Popen(
                command, cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        text = ""
        for line in self._server.stdout:
            text += line.decode()
            try:
                told = json.loads(text)
            except ValueError:
                continue
            # What it prints later must have somewhere to go.
            threading.Thread(target=self._server.stdout.read, daemon=True).start()
            return told["rest_url"].removeprefix("http://"), told["grpc_url"]
        raise AssertionError(f"the server ended: {self.said()}")

    @property
    def process(self):
        return self._server.pid

    def alias(self, version):
        self.ropewalk("models", "alias", "set", "line", "champion", version)

    def swap(self, content):
        """Puts another file in the place of the model `swapped`."""
        target = self.folder / "repository/swapped/1/model.onnx"
        shutil.copy(self.folder / f"swapped-{content}.onnx", target.with_suffix(".new"))
        target.with_suffix(".new").rename(target)

    def stop(self):
        """Asks the server to end: its code."""
        self._server.send_signal(signal.SIGTERM)
        return self._server.wait(120)

    def kill(self):
        if self._server is not None and self._server.poll() is None:
            self._server.kill()
            self._server.wait()

    def predictions(self):
        """Records of the log, and different ones among them."""
        told = json.loads(self.ropewalk("sql", "SELECT count(*) AS n, count(DISTINCT prediction) AS d FROM predictions", "--output", "json"))
        return told[0]["n"], told[0]["d"]

    def said(self):
        return (self.folder / "server.log").read_text()[-4000:]
