"""Networks of dense layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Arrays, Workload


def _ours(widths: tuple[int, ...]) -> Any:
    import lunar_core as lc

    parts: list[Any] = []
    for width in widths[1:]:
        parts += [lc.layers.Dense(width), lc.activations.ReLU()]
    return lc.layers.Sequential(*parts[:-1])


def _theirs(widths: tuple[int, ...]) -> Any:
    from torch import nn

    parts: list[Any] = []
    for before, width in zip(widths, widths[1:]):
        parts += [nn.Linear(before, width), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def _jax(parameters: list[Any], x: Any) -> Any:
    import jax

    layers = list(zip(parameters[::2], parameters[1::2]))
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight.T + bias)
    weight, bias = layers[-1]
    return x @ weight.T + bias


def mlp(name: str, widths: tuple[int, ...], batch: int) -> Workload:
    def arrays(rng: np.random.Generator) -> Arrays:
        return rng.normal(size=(batch, widths[0])).astype(np.float32), rng.integers(0, widths[-1], batch)

    about = f"{'-'.join(map(str, widths))}, batch {batch}"
    return Workload(name, about, lambda: _ours(widths), lambda: _theirs(widths), arrays, jax=_jax)


WORKLOADS = (mlp("mlp_small", (784, 64, 64, 10), 32), mlp("mlp", (784, 512, 512, 10), 128))
