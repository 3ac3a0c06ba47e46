"""PSGD with Kronecker-factored preconditioners."""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar

import numpy as np

from lunar_core import backend, random
from lunar_core.component import field, in_range, non_negative, one_of, positive
from lunar_core.contracts.optimizer import Optimizer

from .arrays import nothing, rms
from .axes import along, gram, pack
from .hyperparameters import fraction, rate

_TINY = float(np.finfo(np.float32).tiny)  # added to norms, as in the reference (bfloat16's is the same)


class PSGDKron(Optimizer):
    """The gradient's average, whitened by triangular factors Q_i, one for each axis, that are learned on the way::

        m = momentum * m + (1 - momentum) * g;  g' = m / (1 - momentum^t)
        A = g' with Q_i applied along each axis i;  B = v with Q_i^(-T) applied,  v normal noise
        Q_i = Q_i - precondition_lr * triu(A A' - B B') Q_i / (norm(A A' + B B') + tiny)    (products along the axis i)
        u = g' with Q_i^T Q_i applied along each axis;  u = u * min(1, 1.1 / (rms(u) + 1e-6))
        p = p - lr * (u + weight_decay * p)                                 (decay of arrays with at least two axes)

    X.-L. Li, Preconditioned Stochastic Gradient Descent (2015), arXiv:1512.04202, with the Kronecker factors of the same
    author's Preconditioner on Matrix Lie Group for SGD (2018), arXiv:1809.10232, in the variant that is known as Kron
    (E. Walters; pytorch_optimizer's ``Kron``): momentum enters the preconditioner, norms are bounded from below by one
    power step, updates are clipped to an RMS of 1.1.

    The factors are updated at a share of the steps, ``probability``: by default all of the first 500, then ever fewer,
    down to 3 %; which ones is not left to chance. Every ``balance`` of these updates the factors are scaled to one size. An axis
    of length 1, one longer than ``max_size``, those of arrays with fewer than ``min_ndim`` axes, and the ones that
    ``memory_save`` names have diagonal factors. The noise of the n-th step is drawn from (seed, "psgd_kron", n).
    """

    lr: float = rate(1e-3)
    momentum: float = fraction(0.9, "how much of the average gradient stays")
    weight_decay: float = field(default=0.0, validator=non_negative, doc="share of a matrix lost per unit of lr")
    precondition_lr: float = field(default=0.1, validator=positive, doc="step size of the factors")
    probability: float | None = field(
        default=None, validator=in_range(0, 1, include_low=False), doc="share of steps that update the factors"
    )
    balance: int | None = field(default=100, validator=positive, doc="updates of the factors between two scalings")
    init_scale: float = field(default=1.0, validator=positive, doc="what the preconditioner starts as, times identity")
    max_size: int = field(default=8192, validator=positive, doc="longest axis with a triangular factor")
    min_ndim: int = field(default=2, validator=positive, doc="fewest axes of an array with triangular factors")
    memory_save: str | None = field(
        default=None,
        validator=one_of("one_diag", "smart_one_diag", "all_diag"),
        doc="diagonal factors for the longest axis, for it if it is longer than all others, or for all",
    )

    state: ClassVar = {"m": 0.0, "factors": nothing}
    elementwise = False

    @staticmethod
    def update(
        p, g, m, factors, *, lr, momentum, weight_decay, precondition_lr, probability, balance, init_scale, max_size,
        min_ndim, memory_save, step,
    ):  # fmt: skip
        m = momentum * m + (1 - momentum) * g
        average = (m / (1 - momentum**step)).reshape(m.shape or (1,))
        flat = _diagonal(average.shape, max_size, min_ndim, memory_save)
        qs = _unpack(factors, average, flat, init_scale)
        due, count = _schedule(probability, step)
        if due:
            if balance and count % balance == 0 and m.ndim > 1:
                qs = _balanced(qs)
            noise = random.generator("psgd_kron", step).standard_normal(average.shape)
            owner = backend.of(g)
            qs = _improved(qs, average, owner.from_numpy(noise.astype(g.dtype), owner.device_of(g)), precondition_lr)
            factors = pack(qs, g)
        u = average
        for axis, q in enumerate(qs):
            u = _apply(_apply(u, q, axis), q.T, axis)
        xp = backend.of(u).xp
        u = (u * xp.minimum(1.1 / (rms(u) + 1e-6), 1.0)).reshape(m.shape)
        if weight_decay and p.ndim > 1:
            u = u + weight_decay * p
        return p - lr * u, m, factors


def _diagonal(shape: tuple[int, ...], max_size: int, min_ndim: int, memory_save: str | None) -> list[bool]:
    """Which axes have diagonal factors."""
    longest = int(np.argsort(shape)[::-1][0])
    saved = {longest} if memory_save in ("one_diag", "smart_one_diag") else set()
    if memory_save == "smart_one_diag" and (len(shape) < 2 or sorted(shape)[-1] == sorted(shape)[-2]):
        saved = set()
    if memory_save == "all_diag":
        saved = set(range(len(shape)))
    return [n == 1 or n > max_size or len(shape) < min_ndim or axis in saved for axis, n in enumerate(shape)]


def _unpack(vector: Any, like: Any, flat: list[bool], scale: float) -> list[Any]:
    """The factors of each axis, (n,) or (n, n), from one vector; at the start from none."""
    xp, found, at = backend.of(like).xp, [], 0
    for n, diagonal in zip(like.shape, flat):
        shape = (n,) if diagonal else (n, n)
        size = math.prod(shape)
        if vector.size:
            found.append(vector[at : at + size].reshape(shape))
        else:
            start = xp.ones(n, dtype=like.dtype) if diagonal else xp.eye(n, dtype=like.dtype)
            found.append(scale ** (1.0 / len(flat)) * start)
        at += size
    return found


def _apply(x: Any, q: Any, axis: int) -> Any:
    if q.ndim > 1:
        return along(x, q, axis)
    return x * q.reshape((-1,) + (1,) * (x.ndim - 1 - axis))


def _unapply(x: Any, q: Any, axis: int) -> Any:
    """The inverse transpose of ``q`` along ``axis``."""
    if q.ndim == 1:
        return x / q.reshape((-1,) + (1,) * (x.ndim - 1 - axis))
    xp = backend.of(x).xp
    moved = xp.moveaxis(x, axis, 0)
    return xp.moveaxis(xp.linalg.solve(q.T, moved.reshape(len(q), -1)).reshape(moved.shape), 0, axis)


def _improved(qs: list[Any], g: Any, noise: Any, rate: float) -> list[Any]:
    """The factors after one step towards what makes the preconditioned gradient white."""
    xp, a, b = backend.of(g).xp, g, noise
    for axis, q in enumerate(qs):
        a, b = _apply(a, q, axis), _unapply(b, q, axis)
    results = []
    for axis, q in enumerate(qs):
        if q.ndim == 1:
            others = tuple(i for i in range(g.ndim) if i != axis)
            first, second = (a * a).sum(axis=others), (b * b).sum(axis=others)
            results.append(q - rate * (first - second) * q / (abs(first + second).max() + _TINY))
        else:
            first, second = gram(a, axis), gram(b, axis)
            step = xp.triu(rate * (first - second)) / (_spectral_bound(first + second) + _TINY)
            results.append(q - step @ q)
    return results


def _spectral_bound(a: Any) -> Any:
    """A lower bound of the spectral norm of a symmetric matrix: one power step from its longest column."""
    xp = backend.of(a).xp
    top = abs(a).max()
    a = a / xp.where(top > 0, top, 1.0)
    x = xp.take(a, xp.argmax((a * a).sum(axis=0)), axis=1) @ a
    x = x / xp.maximum(xp.sqrt((x * x).sum()), _TINY)
    y = x @ a
    return top * xp.sqrt((y * y).sum())


def _balanced(qs: list[Any]) -> list[Any]:
    """The factors scaled to one largest element, their product unchanged."""
    norms = [abs(q).max() for q in qs]
    mean = math.prod(norms[1:], start=norms[0]) ** (1.0 / len(qs))
    return [q * (mean / norm) for q, norm in zip(qs, norms)]


def _schedule(probability: float | None, step: int) -> tuple[bool, int]:
    """(whether this step updates the factors, how many updates there were with it): a function of the step alone."""
    updates = _updates(probability)
    while len(updates) <= step:
        n = len(updates) - 1  # steps that are decided
        share = min(max(math.exp(-0.001 * (n - 500)), 0.03), 1.0) if probability is None else probability
        count, last = updates[-1]
        updates.append((count + 1, n + 1) if n + 1 - last >= 1 / share else (count, last))
    count, last = updates[step]
    return last == step, count


@functools.lru_cache
def _updates(probability: float | None) -> list[tuple[int, int]]:
    """For each step that was asked for so far: how often, and when last, the factors were updated by then."""
    return [(0, 0)]
