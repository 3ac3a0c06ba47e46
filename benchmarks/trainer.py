"""What the Trainer adds to a training step.

The same steps in a loop written by hand, in the Trainer without plugins and with the default ones (progress lines,
history).

    OMP_NUM_THREADS=1 python -m benchmarks.trainer

Prints microseconds of processor time a step, the least of interleaved rounds. Target: the default plugins take at most
3 % of a step of the digits CNN.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lunar_core as lc
from lunar_activations.relu import ReLU
from lunar_core import random
from lunar_data.digits import Digits
from lunar_layers.dense import Dense
from lunar_layers.flatten import Flatten
from lunar_layers.sequential import Sequential
from lunar_losses.cross_entropy import CrossEntropy
from lunar_metrics.accuracy import Accuracy
from lunar_optimizers.adamw import AdamW
from lunar_training import Trainer
from lunar_zoo.vision.digits_cnn import DigitsCNN

BATCH = 32
EPOCHS = 3
ROUNDS = 7


def mlp() -> Any:
    sizes = (64, 64, 64)
    return Sequential(
        Flatten(), *(part for n in sizes[1:] for part in (Dense(n, in_features=64), ReLU())), Dense(10, in_features=64)
    )


def by_hand(make: Callable[[], Any], x: Any, y: Any) -> float:
    """Seconds a step of a plain loop that keeps the same figures."""
    lc.seed(0)
    model, loss, accuracy = make(), CrossEntropy(), Accuracy()
    model(lc.Tensor(x[:2]))
    optimizer = AdamW(model.parameters(), lr=1e-3)
    start = time.process_time()
    for i, index in batches(len(x)):
        if i == 0:
            total = weight = 0.0
            accuracy.reset()
        inputs, targets = x.take(index, axis=0), y.take(index, axis=0)
        optimizer.zero_grad()
        outputs = model(lc.Tensor(inputs))
        part, w = loss.terms(outputs, lc.Tensor(targets))
        (part / w).backward()
        optimizer.step()
        total += part.item()
        weight += w
        accuracy.update(outputs.detach(), targets)
    return (time.process_time() - start) / (EPOCHS * -(-len(x) // BATCH))


def batches(n: int) -> Iterator[tuple[int, Any]]:
    for epoch in range(EPOCHS):
        order = random.generator("shuffle", epoch).permutation(n)
        for i in range(0, n, BATCH):
            yield i, order[i : i + BATCH]


def trained(make: Callable[[], Any], x: Any, y: Any, defaults: bool) -> float:
    """Seconds a step of ``fit``."""
    model = make()
    model(lc.Tensor(x[:2]))
    optimizer = AdamW(model.parameters(), lr=1e-3)
    trainer = Trainer(model, CrossEntropy(), optimizer, metrics=[Accuracy()], seed=0, progress="lines")
    trainer.plugins[0].stream = io.StringIO()
    if not defaults:
        trainer.plugins = []
    trainer.fit((x[:BATCH], y[:BATCH]), batch_size=BATCH)
    start = time.process_time()
    trainer.fit((x, y), batch_size=BATCH, epochs=EPOCHS)
    return (time.process_time() - start) / (EPOCHS * -(-len(x) // BATCH))


def main() -> None:
    x, y = Digits().arrays()
    columns = ("by hand", "Trainer", "defaults", "Trainer adds", "plugins add")
    print(f"{'us a step':16s}" + "".join(f"{c:>14s}" for c in columns))
    for name, make in (("64-64-64-10 MLP", mlp), ("digits CNN", DigitsCNN)):
        times: list[list[float]] = [[], [], []]
        for round_ in range(ROUNDS + 1):
            figures = (by_hand(make, x, y), trained(make, x, y, False), trained(make, x, y, True))
            if round_:  # the first warms up
                for column, value in zip(times, figures):
                    column.append(value * 1e6)
        hand, bare, full = (min(column) for column in times)
        shares = f"{bare / hand - 1:14.1%}{(full - bare) / bare:14.1%}"
        print(f"{name:16s}{hand:14.1f}{bare:14.1f}{full:14.1f}{shares}")


if __name__ == "__main__":
    main()
