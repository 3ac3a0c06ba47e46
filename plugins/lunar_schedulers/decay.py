"""Curves from the base value down to the end of the run: lines, powers, roots, hyperbolas."""

from __future__ import annotations

import math
from typing import Any

from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.contracts.scheduler import Scheduler, linear_warmup

from .annealing import Annealing
from .products import Products


class Linear(Annealing):
    """A straight line from ``start`` times the base value to ``final`` times it, after a linear warm-up.

    With the defaults it is ``get_linear_schedule_with_warmup`` of Hugging Face's transformers; with ``start`` and
    ``final`` it is PyTorch's ``LinearLR`` with ``start_factor``, ``end_factor`` and ``total_iters = total``, in closed
    form.
    """

    start: float = field(default=1.0, validator=non_negative, doc="share of the base value after the warm-up")

    def value(self, position: float, base: float) -> float:
        if position < self.warmup:
            return base * linear_warmup(position, self.warmup, self.warmup_start)
        return base * (self.start + (self.final - self.start) * self.progress(position))


class Polynomial(Annealing):
    """``final + (1 - final) * (1 - progress) ** power`` of the base value, after a linear warm-up.

    PyTorch's ``PolynomialLR`` (``total_iters = total``) and ``get_polynomial_decay_schedule_with_warmup`` of Hugging
    Face's transformers (``lr_end = final * base``). The default ``power`` 0.9 is the "poly" policy of Chen et al.,
    DeepLab (2016), arXiv:1606.00915.
    """

    power: float = field(default=0.9, validator=positive, doc="exponent; 1 is a straight line")

    def curve(self, progress: float) -> float:
        return (1.0 - progress) ** self.power


class OneMinusSqrt(Annealing):
    """Constant, and over the last ``cooldown`` share of the run ``1 - sqrt(progress of the cool-down)``.

    Haegele et al., Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations (2024), arXiv:2405.18392,
    section 3, equation (1-sqrt). The paper cools down over 20 % of the steps, which is the default; 1 is the curve over
    all of what comes after the warm-up.
    """

    cooldown: float = field(
        default=0.2, validator=in_range(0, 1, include_low=False), doc="share of the positions after the warm-up"
    )

    def curve(self, progress: float) -> float:
        return 1.0 - math.sqrt(max(0.0, progress - (1.0 - self.cooldown)) / self.cooldown)


class Rex(Annealing):
    """``(1 - z) / (1/2 + (1 - z) / 2)`` of the base value, z the progress: reflected exponential decay.

    Chen, Wolfe and Kyrillidis, REX: Revisiting Budgeted Training with an Improved Schedule (2021), arXiv:2107.04197,
    section 3.
    """

    def curve(self, progress: float) -> float:
        return (1.0 - progress) / (0.5 + 0.5 * (1.0 - progress))


class Tanh(Annealing):
    """Hyperbolic-tangent decay: ``(1 - tanh(lower + (upper - lower) * progress)) / 2`` of the way down.

    Hsueh, Li and Wu, Stochastic Gradient Descent with Hyperbolic-Tangent Decay on Classification (2018),
    arXiv:1806.01593, equation 2, with the paper's bounds -6 and 3. timm's ``TanhLRScheduler`` with ``lb``, ``ub`` and
    ``lr_min = final * base``. It starts and ends a trace away from the base and the final value; from ``total`` on it
    stays where it ended.
    """

    lower: float = field(default=-6.0, doc="L, the argument at the start")
    upper: float = field(default=3.0, doc="U, the argument at the end")

    def curve(self, progress: float) -> float:
        return 0.5 * (1.0 - math.tanh(self.lower * (1.0 - progress) + self.upper * progress))


class FlatThenAnneal(Annealing):
    """The base value over the first ``flat`` share of what comes after the warm-up, then half a cosine down.

    fastai's ``fit_flat_cos`` with ``pct_start = flat`` and ``div_final = 1 / final``, which was made for the Ranger
    optimizer; its default share is 0.75.
    """

    flat: float = field(default=0.75, validator=in_range(0, 1, include_high=False), doc="share that is constant")

    def curve(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * max(0.0, progress - self.flat) / (1.0 - self.flat)))


class Exponential(Scheduler):
    """``base * factor ** (position / every)``, without steps.

    PyTorch's ``ExponentialLR`` (``gamma = factor``, ``every = 1``) and TensorFlow's ``ExponentialDecay``.
    """

    factor: float = field(default=0.99, validator=positive, doc="what is left after ``every`` positions")
    every: float = field(default=1.0, validator=positive, doc="positions over which it is multiplied once")

    def value(self, position: float, base: float) -> float:
        return base * self.factor ** (position / self.every)


class InverseTime(Scheduler):
    """``base / (1 + rate * position / every)``.

    Robbins and Monro, A Stochastic Approximation Method (1951), the rate 1 / t; TensorFlow's ``InverseTimeDecay`` and
    the ``decay`` argument of Keras' early optimizers. With ``staircase`` the quotient ``position / every`` is rounded
    down.
    """

    rate: float = field(default=0.5, validator=non_negative, doc="how much the divisor grows over ``every`` positions")
    every: float = field(default=1000.0, validator=positive, doc="positions in which the divisor grows by ``rate``")
    staircase: bool = field(default=False, doc="in steps of ``every`` positions")

    def value(self, position: float, base: float) -> float:
        stage = position // self.every if self.staircase else position / self.every
        return base / (1.0 + self.rate * stage)


class TimeBased(Scheduler):
    """Each value is the one before divided by ``1 + decay * n``: ``base / prod(1 + decay * k for k < position)``.

    The recursive time-based schedule ``eta_(n+1) = eta_n / (1 + d n)`` (n = 0 for the first step). It falls far faster
    than :class:`InverseTime`: like ``exp(-decay * n ** 2 / 2)`` at first. Between whole positions it stands still.
    """

    decay: float = field(default=1e-4, validator=non_negative, doc="d")

    def __attrs_post_init__(self) -> None:
        self._products = Products(lambda k: 1.0 / (1.0 + self.decay * (k - 1)))
        super().__attrs_post_init__()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "decay" and "_products" in vars(self):
            self._products.forget()

    def value(self, position: float, base: float) -> float:
        return base * self._products.upto(int(position))


class InverseSqrt(Scheduler):
    """``base / sqrt((position + shift) / timescale)`` after a linear warm-up, continuous at its end.

    ``get_inverse_sqrt_schedule`` of Hugging Face's transformers, after Zhai et al., Scaling Vision Transformers (2021),
    arXiv:2106.04560: ``shift = timescale - warmup``, and ``timescale`` is by default the warm-up, or 10000 without one.
    """

    warmup: int = field(default=0, validator=non_negative, doc="positions until the base value is reached")
    timescale: float | None = field(default=None, validator=positive, doc="positions in which it falls by sqrt(2)")

    def value(self, position: float, base: float) -> float:
        if position < self.warmup:
            return base * position / self.warmup
        scale = self.timescale or self.warmup or 10_000
        return base / math.sqrt((position + scale - self.warmup) / scale)


class Noam(Scheduler):
    """``base * d_model ** -0.5 * min(n ** -0.5, n * warmup ** -1.5)`` at step n = position + 1.

    Vaswani et al., Attention Is All You Need (2017), arXiv:1706.03762, equation 3, whose base is 1. The peak, after
    ``warmup`` steps, is ``base / sqrt(d_model * warmup)``.
    """

    d_model: int = field(default=512, validator=positive, doc="width of the model")
    warmup: int = field(default=4000, validator=positive, doc="steps up to the peak")

    def value(self, position: float, base: float) -> float:
        n = position + 1.0
        return base * self.d_model**-0.5 * min(n**-0.5, n * self.warmup**-1.5)
