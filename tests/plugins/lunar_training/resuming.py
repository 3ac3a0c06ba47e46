"""A run that is stopped and resumed, beside the same run without interruption."""

from __future__ import annotations

import hashlib
import json
import os
import signal

import numpy as np

import lunar_core as lc
from lunar_core import statetree
from lunar_training import Trainer

TIMES = ("seconds", "samples_per_second")


def classes(n=61, features=6, seed=3, dtype=np.float32):
    """A small classification problem whose last batch is ragged."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, features)).astype(dtype)
    return x, (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(np.int64)


def network(dropout=0.3, norm=True):
    """Lazily built, with randomness and running statistics."""
    parts = [lc.layers.Dense(12)]
    if norm:
        parts.append(lc.layers.BatchNorm1D())
    parts += [lc.layers.ReLU(), lc.layers.Dropout(dropout), lc.layers.Dense(2)]
    return lc.layers.Sequential(*parts)


def digest(tree):
    """sha256 of nested state, arrays bit for bit."""
    plain, arrays = statetree.pack(tree)
    total = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(arrays):
        host = np.ascontiguousarray(arrays[name])
        total.update(f"{name}{host.dtype}{host.shape}".encode() + host.tobytes())
    return total.hexdigest()


def digests(trainer):
    """Of the weights, of the optimizers' state, of the schedules and of the log of the figures."""
    ctx = trainer.context
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in trainer.history]
    return {
        "weights": digest(ctx.model.state_dict()),
        "optimizers": digest([o.state_dict() for o in ctx.optimizers]),
        "schedules": digest([s.state_dict() for s in ctx.schedulers]),
        "scaler": digest(ctx.scaler.state_dict() if ctx.scaler else None),
        "log": digest(rows),
        "clock": digest({k: v for k, v in ctx.clock.state_dict().items() if k != "second"}),
    }


class StopAt:
    """Sends this process a signal during batch ``at``, counted over the run."""

    band = "control"

    def __init__(self, at, number=signal.SIGTERM):
        self.left = at
        self.number = number

    def lunar_after_backward(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def resumed(make, data, stops, out, **fit):
    """The trainer of a run stopped at each of ``stops`` in turn, every piece with a trainer of its own."""
    for at in stops:
        lc.seed(11)
        trainer = make()
        trainer.plugins.append(StopAt(at))
        try:
            trainer.fit(data, out=out, resume=True, **fit)
        except SystemExit as exc:
            assert exc.code == 143
        else:
            raise AssertionError("the run was over before the signal")
    lc.seed(11)
    trainer = make()
    trainer.fit(data, out=out, resume=True, **fit)
    return trainer


def make_trainer(optimizer=None, model=None, **options):
    """A trainer without a display."""
    net = model() if model is not None else network()
    options.setdefault("progress", "off")
    options.setdefault("metrics", ["accuracy"])
    made = optimizer(net) if optimizer is not None else lc.optimizers.AdamW(net.parameters(), lr=1e-2)
    return Trainer(net, "cross_entropy", made, **{k: v() if callable(v) else v for k, v in options.items()})
