#!/usr/bin/env python3
"""Ropewalk against DVC, git's index and `cp` on the same files, side by side in one run.

    python3 -m venv VENV && VENV/bin/pip install -r requirements.txt
    compare.py ROPEWALK_BINARY VENV/bin/dvc [--files 20000] [--big-mb 2048] [--rounds 3] [--folder FOLDER]

Every step is one or more commands; its figure is the CPU seconds (user and system) of the whole tree of processes, and
the median over the rounds is printed, with the wall time, the largest memory of any one process and what the store grew
by. The tools take turns in each round, so that both meet the same neighbours on a shared machine.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

MEGABYTE = 1 << 20


def small_files(folder: pathlib.Path, count: int) -> None:
    """`count` files of 1 to 20 kB of random bytes in a hundred folders."""
    chance = random.Random(1)
    for number in range(count):
        home = folder / f"part-{number % 100:02d}"
        home.mkdir(parents=True, exist_ok=True)
        (home / f"item-{number:06d}.bin").write_bytes(chance.randbytes(chance.randint(1024, 20480)))


def big_file(path: pathlib.Path, megabytes: int) -> None:
    chance = random.Random(2)
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(chance.randbytes(MEGABYTE))


def append_share(path: pathlib.Path, share: float) -> None:
    extra = random.Random(3).randbytes(int(path.stat().st_size * share))
    os.chmod(path, 0o644)
    with path.open("ab") as file:
        file.write(extra)


def insert_in_middle(path: pathlib.Path) -> None:
    changed = path.with_suffix(".changed")
    left = path.stat().st_size // 2
    with path.open("rb") as source, changed.open("wb") as target:
        while left:
            piece = source.read(min(8 * MEGABYTE, left))
            target.write(piece)
            left -= len(piece)
        target.write(random.Random(4).randbytes(MEGABYTE))
        shutil.copyfileobj(source, target, 8 * MEGABYTE)
    changed.replace(path)


def usage(folder: pathlib.Path) -> tuple[int, int]:
    """Bytes and number of the files below a folder."""
    sizes = [entry.stat().st_size for entry in folder.rglob("*") if entry.is_file()] if folder.exists() else []
    return sum(sizes), len(sizes)


class Bench:
    def __init__(self, environment: dict):
        self.environment = environment
        self.figures: dict[tuple[str, str], list[dict]] = {}

    def step(self, tool: str, name: str, commands: list[list[str]], where: pathlib.Path, store=None) -> None:
        before = usage(store) if store else (0, 0)
        cpu = wall = 0.0
        memory = 0
        for command in commands:
            begin = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=where, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            errors = process.stderr.read()
            _, status, used = os.wait4(process.pid, 0)
            wall += time.perf_counter() - begin
            if status:
                sys.exit(f"{tool}, {name}: {' '.join(command)} failed: {errors.decode(errors='replace')[-2000:]}")
            cpu += used.ru_utime + used.ru_stime
            memory = max(memory, used.ru_maxrss // 1024)
        after = usage(store) if store else (0, 0)
        figure = {
            "cpu": cpu,
            "wall": wall,
            "memory_mb": memory,
            "stored_mb": (after[0] - before[0]) / 1e6,
            "objects": after[1] - before[1],
        }
        self.figures.setdefault((name, tool), []).append(figure)

    def report(self) -> None:
        for (name, tool), rounds in self.figures.items():
            medians = {key: round(statistics.median(one[key] for one in rounds), 3) for key in rounds[0]}
            print(json.dumps({"step": name, "tool": tool, **medians, "rounds": len(rounds)}), flush=True)


def git(*arguments: str) -> list[str]:
    return ["git", "-c", "user.name=b", "-c", "user.email=b@example.com", *arguments]


def commit(message: str) -> list[list[str]]:
    return [git("add", "-A"), git("commit", "-qm", message)]


def prepare(bench: Bench, folder: pathlib.Path, commands: list[list[str]]) -> None:
    folder.mkdir(parents=True)
    for command in [git("init", "-q", "-b", "main"), *commands, *commit("begin")]:
        subprocess.run(command, cwd=folder, env=bench.environment, check=True, stdout=subprocess.DEVNULL)


def journey(bench, tool, begin, verbs, store, files, big, root) -> None:
    """One tool through all steps; `verbs` gives its commands by step."""
    work, clone = root / "work", root / "clone"
    prepare(bench, work, begin)
    kept = work / store
    if files:
        shutil.copytree(files, work / "files")
        bench.step(tool, "add + commit small files", verbs["add"]("files") + commit("files"), work, kept)
        bench.step(tool, "status, unchanged", verbs["status"], work)
        bench.step(tool, "push", verbs["push"], work, root / "remote")
        bench.step(tool, "push, nothing to do", verbs["push"], work)
        bench.step(tool, "clone + pull", [git("clone", "-q", str(work), str(clone))], root)
        bench.step(tool, "pull into the clone", verbs["pull"], clone)
    if big:
        shutil.copyfile(big, work / "big.bin")
        bench.step(tool, "add a big file", verbs["add"]("big.bin"), work, kept)
        append_share(work / "big.bin", 0.01)
        bench.step(tool, "append 1 % and add", verbs["add"]("big.bin"), work, kept)
        insert_in_middle(work / "big.bin")
        bench.step(tool, "insert 1 MB and add", verbs["add"]("big.bin"), work, kept)
    large_files_remove(root)


def ropewalk(binary: str, root: pathlib.Path) -> dict:
    data = [binary, "data"]
    return {
        "begin": [[binary, "init", "."], [binary, "remote", "add", "origin", f"file:{root / 'remote'}"]],
        "store": ".ropewalk/store",
        "verbs": {
            "add": lambda path: [[*data, "add", path], [*data, "commit", "--message", path]],
            "status": [[*data, "status"]],
            "push": [[binary, "push"]],
            "pull": [[binary, "pull"]],
        },
    }


def dvc(binary: str, root: pathlib.Path) -> dict:
    return {
        "begin": [[binary, "init", "-q"], [binary, "remote", "add", "-d", "origin", str(root / "remote")]],
        "store": ".dvc/cache",
        "verbs": {
            "add": lambda path: [[binary, "add", "-q", path]],
            "status": [[binary, "status"]],
            "push": [[binary, "push", "-q"]],
            "pull": [[binary, "pull", "-q"]],
        },
    }


def limits(bench: Bench, files: pathlib.Path, big: pathlib.Path, root: pathlib.Path) -> None:
    """What the machine itself takes for the same bytes."""
    root.mkdir()
    if files:
        bench.step("cp -r", "pull into the clone", [["cp", "-r", str(files), str(root / "copy")]], root)
        prepare(bench, root / "git", [["cp", "-r", str(files), "files"]])
        bench.step("git", "status, unchanged", [git("status", "--porcelain")], root / "git")
    if big:
        copy = [sys.executable, __file__, "--copy-and-hash", str(big), str(root / "big")]
        bench.step("copy that hashes (md5)", "add a big file", [copy], root)
    large_files_remove(root)


def large_files_remove(folder: pathlib.Path) -> None:
    """Makes room, but leaves the many small files until the end: for minutes after 20,000 inodes were given up, ext4 passes
    over them one by one whenever a file is made (`recently_deleted`), which then is most of what any tool is charged for."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size > 16 * MEGABYTE:
            path.unlink()


def copy_and_hash(source: str, target: str) -> None:
    import hashlib

    digest = hashlib.md5()
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while piece := reader.read(MEGABYTE):
            digest.update(piece)
            writer.write(piece)
        os.fsync(writer.fileno())


def main() -> None:
    if len(sys.argv) == 4 and sys.argv[1] == "--copy-and-hash":
        return copy_and_hash(*sys.argv[2:])
    parser = argparse.ArgumentParser()
    parser.add_argument("ropewalk")
    parser.add_argument("dvc")
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--big-mb", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None)
    arguments = parser.parse_args()
    home = pathlib.Path(tempfile.mkdtemp(prefix="ropewalk-compare-", dir=arguments.folder))
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "HOME": str(home), "GIT_CONFIG_GLOBAL": "/dev/null"}
    bench = Bench(environment)
    files = big = None
    try:
        if arguments.files:
            files = home / "files"
            small_files(files, arguments.files)
        if arguments.big_mb:
            big = home / "big.bin"
            big_file(big, arguments.big_mb)
        for number in range(arguments.rounds):
            for name, tool in [("ropewalk", ropewalk), ("dvc", dvc)]:
                root = home / f"{name}-{number}"
                binary = os.path.abspath(getattr(arguments, name))
                set_up = tool(binary, root)
                journey(bench, name, set_up["begin"], set_up["verbs"], set_up["store"], files, big, root)
            limits(bench, files, big, home / f"limits-{number}")
        bench.report()
    finally:
        shutil.rmtree(home, ignore_errors=True)


main()
