"""A whole optimizer step against PyTorch's fused one, at the same number of threads, and what it allocates.

Rows: 64 parameters of 4 elements (Python's overhead), 5,000 elements, the parameters of a 784-64-64-10 MLP, and one
parameter of ten million elements. Lion is a rule of a dozen lines as a stranger would write it; its peer is AdamW.

    OMP_NUM_THREADS=1 python -m benchmarks.optimizers
"""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import torch

import lunar_core as lc
from benchmarks.compare import compare, show
from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.threads import get_num_threads
from lunar_optimizers.adam import Adam
from lunar_optimizers.adamw import AdamW
from lunar_optimizers.sgd import SGD

LARGE = 10_000_000
MLP = [(784, 64), (64,), (64, 64), (64,), (64, 10), (10,)]


class Lion(Optimizer):
    """Chen et al., Symbolic Discovery of Optimization Algorithms (2023), arXiv:2302.06675, algorithm 2."""

    lr: float = field(default=1e-4, validator=non_negative)
    betas: tuple[float, float] = field(default=(0.9, 0.99), validator=in_range(0, 1))
    weight_decay: float = 0.0
    state = ("m",)

    @staticmethod
    def update(p, g, m, *, lr, betas, weight_decay):
        direction = np.sign(betas[0] * m + (1 - betas[0]) * g)
        return p - lr * (direction + weight_decay * p), betas[1] * m + (1 - betas[1]) * g


def ours(cls, shapes, **kwargs):
    """A step over parameters whose gradients lie where the backward pass leaves them."""
    params = [lc.Parameter(np.full(s, 0.01, np.float32)) for s in shapes]
    optimizer = cls(params, **kwargs)
    optimizer.zero_grad()
    for p in params:
        p.node.accumulate(np.full(p.shape, 0.01, np.float32))
    optimizer.step()
    return optimizer.step


def theirs(cls, shapes, **kwargs):
    params = [torch.nn.Parameter(torch.full(s, 0.01)) for s in shapes]
    for p in params:
        p.grad = torch.full_like(p, 0.01)
    optimizer = cls(params, fused=True, **kwargs)
    optimizer.step()
    return optimizer.step


def growth(step) -> tuple[int, int]:
    """Bytes kept after 200 further steps, and the peak within them."""
    for _ in range(5):
        step()
    gc.collect()
    tracemalloc.start()
    try:
        step()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(200):
            step()
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before, peak - before
    finally:
        tracemalloc.stop()


def main() -> None:
    torch.set_num_threads(get_num_threads())
    rules = {
        "AdamW": (AdamW, torch.optim.AdamW, {"weight_decay": 0.01}),
        "Adam": (Adam, torch.optim.Adam, {}),
        "SGD, momentum": (SGD, torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9}),
        "Lion (peer: AdamW)": (Lion, torch.optim.AdamW, {"weight_decay": 0.01}),
    }
    sizes = {
        "64 x 4": [(4,)] * 64,
        "5,000": [(5000,)],
        "MLP, 55,050": MLP,
        f"{LARGE:,}": [(LARGE,)],
    }
    print(f"threads: {get_num_threads()}")
    rows = []
    for label, shapes in sizes.items():
        for name, (mine, his, kwargs) in rules.items():
            large = sum(map(np.prod, shapes)) > 1e6
            pair = compare(ours(mine, shapes, **kwargs), theirs(his, shapes, **kwargs), rounds=9 if large else 15)
            rows.append((f"{name}, {label}", pair))
    show(rows)
    kept, peak = growth(ours(AdamW, MLP))
    print(f"AdamW on the MLP, 200 steps: {kept} bytes kept, {peak} bytes at the peak (parameters: {4 * 55_050})")


if __name__ == "__main__":
    main()
