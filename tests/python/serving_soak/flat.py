"""What a process holds over time, and whether that grows."""

import os
import threading
import time
from pathlib import Path

import numpy as np

#: What the fitted line may rise over the second half of the time. Memory: the larger of a share of it and of this many bytes.
MEMORY_SHARE, MEMORY_BYTES = 0.05, 4 << 20
#: Open files and threads: connections are opened and closed all the time.
COUNT = 6


def children(parent):
    """The processes that this one started, and theirs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found += [int(entry.name), *children(int(entry.name))]
    return found


def resident(process):
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return 0


def sample(process):
    workers = 0
    for child in children(process):
        try:
            workers += resident(child)
        except OSError:
            continue
    return {
        "memory": resident(process),
        "memory_of_workers": workers,
        "files": len(os.listdir(f"/proc/{process}/fd")),
        "threads": len(os.listdir(f"/proc/{process}/task")),
    }


class Sampler:
    """Looks at a process at even intervals, on a thread of its own."""

    def __init__(self, process, seconds):
        self._process, self._every = process, max(0.25, seconds / 1000)
        self._ended = threading.Event()
        self.times, self.samples = [], []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ended.wait(self._every):
            self.samples.append(sample(self._process))
            self.times.append(time.monotonic())

    def end(self):
        self._ended.set()
        self._thread.join()

    def report(self):
        """For each of what is measured: beginning, end, highest, and the rise of a line through the second half."""
        times = np.array(self.times) - self.times[0]
        half = times >= times[-1] / 2
        told = {}
        for name in self.samples[0]:
            values = np.array([one[name] for one in self.samples], dtype=float)
            slope = np.polyfit(times[half], values[half], 1)[0]
            rise = slope * (times[-1] - times[half][0])
            middle = float(np.median(values[half]))
            bound = max(MEMORY_SHARE * middle, MEMORY_BYTES) if name.startswith("memory") else COUNT
            told[name] = {
                "first": values[0], "middle": middle, "last": values[-1], "highest": values.max(),
                "rise": round(float(rise), 1), "bound": bound, "flat": bool(rise <= bound),
            }
        return told
