"""Peak memory of one forward and backward pass beside PyTorch, on the same network, batch and values' dtype (float32).

OMP_NUM_THREADS=1 python -m benchmarks.memory

Each measurement runs in a process of its own. The figure is how far the resident set rose at its highest above what it was
before the pass (Linux: ``VmHWM`` after a reset by ``/proc/self/clear_refs``), after one pass on a tiny batch has loaded
code and made the parameters; what the allocator of either library keeps for itself counts. ``traced`` is the peak of our
arrays alone, by tracemalloc.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

BATCH = {"mlp": (8192, 784), "convolutions": (128, 3, 48, 48)}


def resident(field: str) -> float:
    """MiB of ``VmRSS`` (now) or ``VmHWM`` (the highest since the reset)."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) / 1024


def ours(name: str) -> Callable[[int], None]:
    import lunar_core as lc

    layers = lc.layers
    if name == "mlp":
        model = layers.Sequential(
            layers.Dense(1024), layers.ReLU(), layers.Dense(1024), layers.ReLU(), layers.Dense(10)
        )
    else:
        model = layers.Sequential(
            layers.Conv2D(32, 3, padding="same"), layers.BatchNorm2D(), layers.ReLU(), layers.MaxPool2D(2),
            layers.Conv2D(64, 3, padding="same"), layers.BatchNorm2D(), layers.ReLU(), layers.MaxPool2D(2),
            layers.Flatten(), layers.Dense(10),
        )  # fmt: skip

    def step(batch: int) -> None:
        x = np.ones((batch, *BATCH[name][1:]), np.float32)
        y = np.zeros(batch, np.int64)
        model.zero_grad()
        lc.ops.cross_entropy(model(lc.as_tensor(x)), lc.as_tensor(y)).mean().backward()

    return step


def theirs(name: str) -> Callable[[int], None]:
    import torch

    torch.set_num_threads(1)
    nn = torch.nn
    if name == "mlp":
        model = nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
    else:
        model = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64 * 12 * 12, 10),
        )  # fmt: skip

    def step(batch: int) -> None:
        x = torch.ones((batch, *BATCH[name][1:]))
        y = torch.zeros(batch, dtype=torch.int64)
        model.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()

    return step


def measure(library: str, name: str, trace: bool) -> float:
    """MiB above the start, in this process."""
    step = (ours if library == "ours" else theirs)(name)
    step(2)
    if trace:
        tracemalloc.start()
        step(BATCH[name][0])
        return tracemalloc.get_traced_memory()[1] / 2**20
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = resident("VmRSS")
    step(BATCH[name][0])
    return resident("VmHWM") - before


def elsewhere(library: str, name: str, trace: bool = False) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", library, name, str(int(trace))]
    return float(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def main() -> None:
    print(f"{'MiB at the peak above the start':34s} {'ours':>8s} {'traced':>8s} {'PyTorch':>8s} {'ratio':>7s}")
    for name in BATCH:
        us, them = (min(elsewhere(library, name) for _ in range(3)) for library in ("ours", "theirs"))
        traced = elsewhere("ours", name, trace=True)
        print(f"{name + ' ' + str(BATCH[name]):34s} {us:8.1f} {traced:8.1f} {them:8.1f} {us / them:7.2f}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(measure(sys.argv[1], sys.argv[2], sys.argv[3] == "1")))
    else:
        main()
