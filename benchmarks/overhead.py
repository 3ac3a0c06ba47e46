"""What applying one op costs: 4x4 float32 arrays, one thread, beside PyTorch eager in the same process.

OMP_NUM_THREADS=1 python -m benchmarks.overhead
"""

from __future__ import annotations

import os
import statistics

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import lunar_core as lc
from benchmarks.compare import Comparison, compare, show

OPS = {
    "add": (lambda x, y: x + y, lambda x, y: x + y),
    "subtract": (lambda x, y: x - y, lambda x, y: x - y),
    "multiply": (lambda x, y: x * y, lambda x, y: x * y),
    "divide": (lambda x, y: x / y, lambda x, y: x / y),
    "multiply by a number": (lambda x, y: x * 2.0, lambda x, y: x * 2.0),
    "power 2": (lambda x, y: x**2, lambda x, y: x**2),
    "matmul": (lambda x, y: x @ y, lambda x, y: x @ y),
    "exp": (lambda x, y: x.exp(), lambda x, y: x.exp()),
    "log": (lambda x, y: x.log(), lambda x, y: x.log()),
    "sqrt": (lambda x, y: x.sqrt(), lambda x, y: x.sqrt()),
    "tanh": (lambda x, y: x.tanh(), lambda x, y: x.tanh()),
    "relu": (lambda x, y: x.relu(), lambda x, y: x.relu()),
    "sigmoid": (lambda x, y: x.sigmoid(), lambda x, y: x.sigmoid()),
    "maximum": (lambda x, y: x.maximum(y), lambda x, y: x.maximum(y)),
    "sum": (lambda x, y: x.sum(), lambda x, y: x.sum()),
    "sum of the last axis": (lambda x, y: x.sum(axis=-1), lambda x, y: x.sum(dim=-1)),
    "mean of the last axis": (lambda x, y: x.mean(axis=-1), lambda x, y: x.mean(dim=-1)),
    "max of the last axis": (lambda x, y: x.max(axis=-1), lambda x, y: x.amax(dim=-1)),
    "softmax": (lambda x, y: x.softmax(axis=-1), lambda x, y: x.softmax(dim=-1)),
    "reshape": (lambda x, y: x.reshape(2, 8), lambda x, y: x.reshape(2, 8)),
    "transpose": (lambda x, y: x.T, lambda x, y: x.T),
    "slice": (lambda x, y: x[1:], lambda x, y: x[1:]),
}


def measured(rounds: int = 15) -> dict[str, list[tuple[str, Comparison]]]:
    """A row for each op: forward without and with gradients, and forward plus backward."""
    a, b = np.random.default_rng(0).uniform(0.5, 1.5, (2, 4, 4)).astype(np.float32)
    results: dict[str, list[tuple[str, Comparison]]] = {}
    for requires_grad in (False, True):
        ours = [lc.tensor(v, requires_grad=requires_grad) for v in (a, b)]
        theirs = [torch.tensor(v, requires_grad=requires_grad) for v in (a, b)]
        results["grad on" if requires_grad else "grad off"] = [
            (name, compare(lambda f=f, xs=ours: f(*xs), lambda g=g, xs=theirs: g(*xs), rounds=rounds))
            for name, (f, g) in OPS.items()
        ]
    rows = results["backward"] = []
    for name, (f, g) in OPS.items():
        seed = np.ones(f(*ours).shape, np.float32)
        ours_seed, their_seed = lc.tensor(seed), torch.tensor(seed)
        pair = compare(
            lambda f=f, xs=ours, s=ours_seed: f(*xs).backward(s),
            lambda g=g, xs=theirs, s=their_seed: g(*xs).backward(s),
            rounds=rounds,
        )
        rows.append((name, pair))
    return results


def medians(rounds: int = 15) -> dict[str, tuple[float, float]]:
    """Median seconds an op, ours and PyTorch's; both at one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = measured(rounds)
    finally:
        torch.set_num_threads(threads)
    return {
        way: (statistics.median(row.ours for _, row in rows), statistics.median(row.theirs for _, row in rows))
        for way, rows in found.items()
    }


def main() -> None:
    torch.set_num_threads(1)
    titles = {
        "grad off": "forward, gradients off", "grad on": "forward, gradients on", "backward": "forward plus backward",
    }  # fmt: skip
    for way, rows in measured().items():
        _report(titles[way], rows)
    a, b = np.random.default_rng(0).uniform(0.5, 1.5, (2, 4, 4)).astype(np.float32)
    ours = [lc.tensor(v, requires_grad=True) for v in (a, b)]
    theirs = [torch.tensor(v, requires_grad=True) for v in (a, b)]

    def chain(x: object, y: object, seed: object) -> None:
        z = x
        for _ in range(20):
            z = (z * y + 1.0).tanh()  # type: ignore[operator]
        z.backward(seed)  # type: ignore[attr-defined]

    seed = np.ones((4, 4), np.float32)
    ours_seed, their_seed = lc.tensor(seed), torch.tensor(seed)
    pair = compare(lambda: chain(*ours, ours_seed), lambda: chain(*theirs, their_seed))
    _report(
        "forward plus backward an op, in a chain of 60",
        [("x * y + 1, tanh", Comparison(pair.ours / 60, pair.theirs / 60))],
    )


def _report(title: str, rows: list[tuple[str, Comparison]]) -> None:
    print(f"\n{title}")
    show(rows)
    print(f"{'median ratio':32s} {'':10s} {'':10s} {statistics.median(row.ratio for _, row in rows):7.2f}")


if __name__ == "__main__":
    main()
