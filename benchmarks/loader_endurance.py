"""Opens and closes loaders with worker processes many times and says what is left behind.

    python benchmarks/loader_endurance.py [--epochs 10000]

Every epoch starts its own workers; a third runs to its end, a third is left in the middle and closed, a third is left and
forgotten. Printed at the start and the end: open descriptors, child processes, entries of /dev/shm, resident memory.
Linux only.
"""

from __future__ import annotations

import argparse
import gc
import os
import time

import numpy as np

from lunar_data import Loader


def held() -> dict[str, int]:
    """What this process holds of the system."""
    gc.collect()
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        children = len(file.read().split())
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "processes": children,
        "shared memory": len(os.listdir("/dev/shm")),
        "resident kB": resident // 1024,
    }


def epoch(k: int, data: tuple[np.ndarray, ...]) -> None:
    """One loader from its opening to its end."""
    loader = Loader(data, 16, shuffle=True, workers=1 + (k % 10 == 0))
    batches = iter(loader)
    next(batches)
    if k % 3 == 0:
        for _ in batches:
            pass
    if k % 3 != 2:
        loader.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10_000)
    epochs = parser.parse_args().epochs
    data = (np.zeros((64, 3, 16, 16), np.float32), np.arange(64))
    for k in range(min(100, epochs)):
        epoch(k, data)
    before, started = held(), time.perf_counter()
    print("at the start", before, flush=True)
    for k in range(epochs):
        epoch(k, data)
    after = held()
    print(f"after {epochs} epochs of open and close ({time.perf_counter() - started:.0f} s)", after)
    leaked = {
        name: after[name] - before[name] for name in before if name != "resident kB" and after[name] > before[name]
    }
    print("nothing is left behind" if not leaked else f"LEFT BEHIND: {leaked}")


if __name__ == "__main__":
    main()
