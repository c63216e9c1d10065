#!/usr/bin/env python3
"""Our ingest against pandas + openpyxl, polars and python-calamine on the same Excel workbooks, in one run.

    pip install -r requirements.txt
    cargo build --release -p ropewalk-ingest --example ingest
    compare.py SOURCE ../../../target/release/examples/ingest [--rounds N] [--slow-books N]

SOURCE is a zip of workbooks, or `made` for four workbooks of 50,000 rows x 8 columns that this script writes. Each
reader runs in a process of its own, in turn; one JSON line each with the median of the CPU seconds of the process, per
workbook too, of the wall time, and the largest memory. The others read into memory only; ours also hashes the source,
checks it, writes Parquet and stores it. pandas + openpyxl reads `--slow-books` of the workbooks, for it takes seconds
for each.
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile

MADE_BOOKS = 4
MADE_ROWS = 50_000
WRITE = "--write-books"

READERS = {
    "pandas_openpyxl": "import pandas\nfor f in files: print(len(pandas.read_excel(f, engine='openpyxl')))",
    "pandas_calamine": "import pandas\nfor f in files: print(len(pandas.read_excel(f, engine='calamine')))",
    "polars": "import polars\nfor f in files: print(polars.read_excel(f).height)",
    "polars_to_parquet": "import polars\nfor f in files: polars.read_excel(f).write_parquet(f + '.parquet')",
    "python_calamine": "import python_calamine\n"
    "for f in files: print(len(python_calamine.CalamineWorkbook.from_path(f).get_sheet_by_index(0).to_python()))",
}


def write_books(directory: pathlib.Path) -> None:
    """Workbooks of integers, fractions, dates, words and gaps, the same on every run."""
    import datetime

    import pandas

    for book in range(MADE_BOOKS):
        chance = random.Random(book)
        day = datetime.datetime(2013, 1, 1)
        rows = [
            (
                row,
                chance.choice(["north", "south", "east", "west"]),
                f"customer {chance.randrange(5000)}",
                day + datetime.timedelta(minutes=chance.randrange(500_000)),
                round(chance.uniform(1, 900), 2),
                chance.randrange(20),
                chance.random() < 0.5,
                None if chance.random() < 0.1 else round(chance.gauss(0, 1), 4),
            )
            for row in range(MADE_ROWS)
        ]
        columns = ["id", "region", "customer", "at", "price", "count", "paid", "score"]
        path = directory / f"book-{book}.xlsx"
        pandas.DataFrame(rows, columns=columns).to_excel(path, index=False)


def measured(command: list[str], rounds: int) -> dict:
    """Medians of time over `rounds` runs, and the largest memory of any of them."""
    cpu, wall, memory = [], [], 0
    for _ in range(rounds):
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall.append(time.monotonic() - start)
        cpu.append(usage.ru_utime + usage.ru_stime)
        memory = max(memory, usage.ru_maxrss // 1024)
        if status != 0:
            sys.exit(f"{command[0]} failed: {output.decode()[-500:]}")
    return {
        "cpu_seconds": round(statistics.median(cpu), 2),
        "wall_seconds": round(statistics.median(wall), 2),
        "memory_mb": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("ours")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow-books", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        if arguments.source == "made":
            # In another process: the memory of a child counts from that of its parent.
            subprocess.run([sys.executable, __file__, WRITE, str(directory)], check=True)
            books = sorted(str(path) for path in directory.glob("*.xlsx"))
            source = directory / "books.zip"
            with zipfile.ZipFile(source, "w", zipfile.ZIP_STORED) as archive:
                for book in books:
                    archive.write(book, pathlib.Path(book).name)
        else:
            source = pathlib.Path(arguments.source).resolve()
            with zipfile.ZipFile(source) as archive:
                names = sorted(name for name in archive.namelist() if name.endswith(".xlsx"))
                books = [archive.extract(name, directory) for name in names]
        runs = {
            "ours": ([arguments.ours, str(source)], books),
            "ours_one_thread": ([arguments.ours, str(source), "--threads", "1"], books),
        }
        for name, code in READERS.items():
            chosen = books[: arguments.slow_books] if name == "pandas_openpyxl" else books
            runs[name] = ([sys.executable, "-c", f"import sys\nfiles = sys.argv[1:]\n{code}", *chosen], chosen)
        for name, (command, chosen) in runs.items():
            rounds = 1 if name == "pandas_openpyxl" else arguments.rounds
            result = measured(command, rounds)
            per_book = round(result["cpu_seconds"] / len(chosen), 3)
            print(json.dumps({"reader": name, "workbooks": len(chosen), "cpu_per_workbook": per_book, **result}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == [WRITE]:
        write_books(pathlib.Path(sys.argv[2]))
    else:
        main()
