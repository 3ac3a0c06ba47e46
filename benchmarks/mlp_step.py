"""One training step of a small MLP (784-64-64-10, batch 32, AdamW) beside PyTorch eager with fused AdamW.

Same weights, same batch; the losses of the first steps are checked to agree.

    OMP_NUM_THREADS=1 python -m benchmarks.mlp_step
"""

from __future__ import annotations

import os

import numpy as np
import torch

import lunar_core as lc
from benchmarks.compare import compare, show


def main() -> None:
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 784)).astype(np.float32)
    y = rng.integers(0, 10, 32)

    layers = lc.layers
    model = layers.Sequential(
        layers.Dense(64, in_features=784),
        layers.ReLU(),
        layers.Dense(64, in_features=64),
        layers.ReLU(),
        layers.Dense(10, in_features=64),
    )
    twin = torch.nn.Sequential(
        torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
    )
    with torch.no_grad():
        for ours, theirs in zip(model.parameters(), twin.parameters()):
            theirs.copy_(torch.from_numpy(ours.data))
    loss = lc.losses.CrossEntropy()
    opt = lc.optimizers.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    their_loss = torch.nn.CrossEntropyLoss()
    their_opt = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
    xs, ys, xt, yt = lc.tensor(x), lc.tensor(y), torch.from_numpy(x), torch.from_numpy(y)

    def step() -> float:
        opt.zero_grad()
        value = loss(model(xs), ys)
        value.backward()
        opt.step()
        return value

    def their_step() -> float:
        their_opt.zero_grad()
        value = their_loss(twin(xt), yt)
        value.backward()
        their_opt.step()
        return value

    for _ in range(20):
        a, b = step().item(), their_step().item()
        assert abs(a - b) < 1e-4 * max(abs(b), 1e-2), (a, b)
    print(f"training step of 784-64-64-10, batch 32, AdamW, {threads} thread(s)")
    show([("training step", compare(step, their_step, rounds=31, seconds=0.05))])
    with torch.no_grad(), lc.no_grad():
        show([("inference", compare(lambda: model(xs), lambda: twin(xt), rounds=31, seconds=0.02))])


if __name__ == "__main__":
    main()
