"""A small classification run for the tests of instruments, with the records that it logs."""

from __future__ import annotations

import numpy as np

import lunar_core as lc
from lunar_training import Trainer


class Records:
    """Keeps every record."""

    band = "logger"
    draws = False

    def __init__(self):
        self.all = []

    def lunar_log(self, record):
        self.all.append(record)

    def of(self, event):
        return [r for r in self.all if r["event"] == event]


def images(n=96, seed=0, classes=4):
    """Images (n, 1, 6, 6) whose class is where they are bright."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = rng.normal(0, 0.3, (n, 1, 6, 6)).astype(np.float32)
    for i, label in enumerate(y):
        x[i, 0, 3 * (label // 2) : 3 * (label // 2) + 3, 3 * (label % 2) : 3 * (label % 2) + 3] += 1
    return x, y


def network(classes=4):
    layers = lc.layers
    return layers.Sequential(
        layers.Conv2D(4, 3, padding="same"), layers.BatchNorm2D(), layers.ReLU(), layers.Flatten(), layers.Dropout(0.2),
        layers.Dense(16), layers.ReLU(), layers.Dense(classes),
    )  # fmt: skip


def run(*plugins, model=None, data=None, optimizer=None, epochs=2, seed=0, loss="cross_entropy", **options):
    """(trainer, records) of a finished run."""
    records = Records()
    lc.seed(seed)
    model = network() if model is None else model
    optimizer = {"@optimizer": "adam", "lr": 0.01} if optimizer is None else optimizer
    data = images() if data is None else data
    fit = {key: options.pop(key) for key in ("val", "batch_size", "out", "shuffle") if key in options}
    t = Trainer(model, loss, optimizer, plugins=[*plugins, records], progress="off", **options)
    t.fit(data, epochs=epochs, **{"batch_size": 16, **fit})
    return t, records
