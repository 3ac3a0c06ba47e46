"""The pictures: activations with their derivatives, schedules, paths of optimizers, losses of one number, initial weights.

A component that is not named here is drawn with its defaults, or not at all if that cannot be: a new one needs no entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import lunar_core as lc
from lunar_core.component import fields
from lunar_core.errors import LunarError

from .svg import FAINT, FIRST, GREY, SECOND, Plot, limits

Picture = tuple[str, str]  #: the drawing and its caption


def picture(kind: str, name: str, cls: Any) -> Picture | None:
    """What there is to see of a component, if anything."""
    draw = _DRAWN.get(kind)
    if draw is None:
        return None
    lc.seed(0)
    with np.errstate(all="ignore"):
        return draw(name, cls)


def _made(kind: str, name: str, cls: Any, table: dict[str, dict[str, Any]]) -> Any:
    """The component with the arguments of ``table``; ``None`` where it needs more."""
    try:
        return cls(**table.get(name, {}))
    except LunarError:
        if name in table:
            raise
        return None


# -- activations -------------------------------------------------------------------------------------------------------

REACH = 7.0
ACTIVATIONS: dict[str, dict[str, Any]] = {"threshold": {"threshold": 1.0, "value": -0.5}, "maxout": {"pieces": 2}}
BESIDE = {  # of those that look at more than one number: what stands beside x, and what it is called there
    **dict.fromkeys(("softmax", "log_softmax", "softmin", "sparsemax"), (lambda x: [x, 0 * x], "first of the pair (x, 0)")),
    **dict.fromkeys(("glu", "reglu", "geglu", "swiglu"), (lambda x: [0 * x + 1, x], "of the halves 1 and x")),
    "maxout": (lambda x: [x, -0.5 * x], "of the pieces x and -x / 2"),
}  # fmt: skip


def _activation(name: str, cls: Any) -> Picture | None:
    layer = _made("activation", name, cls, ACTIVATIONS)
    if layer is None:
        return None
    beside, note = BESIDE.get(name, (lambda x: [x], ""))
    points = np.linspace(-REACH, REACH, 1401)
    x = lc.tensor(points, dtype="float64", requires_grad=True)
    y = layer.eval()(lc.ops.stack(beside(x), axis=1))[:, 0]
    y.sum().backward()
    slope, y = np.asarray(x.grad), y.detach().numpy()
    plot = Plot((-REACH, REACH), limits([y, slope]))
    plot.line(np.array([-REACH, REACH]), np.zeros(2), FAINT)
    plot.line(points, slope, SECOND, label="derivative")
    plot.line(points, y, FIRST, label="value")
    return plot.render(f"{cls.__name__} and its derivative"), f"`{_call(layer)}`{', ' + note if note else ''}"


# -- schedules ---------------------------------------------------------------------------------------------------------

POSITIONS = 100


class Formula:
    """A function that shows its source."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.function = eval(source)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __repr__(self) -> str:
        return self.source


def _schedules() -> dict[str, dict[str, Any]]:
    s = lc.schedulers
    return {
        "step": {"every": 30},
        "multistep": {"milestones": (50, 80)},
        "exponential": {"factor": 0.97},
        "polynomial": {"power": 2.0},
        "inverse_time": {"rate": 0.05, "every": 1},
        "inverse_sqrt": {"warmup": 10},
        "noam": {"d_model": 64, "warmup": 20},
        "constant": {"warmup": 10},
        "cosine": {"warmup": 10},
        "rex": {"warmup": 10},
        "cosine_restarts": {"cycle": 15, "growth": 2},
        "cosine_decayed_restarts": {"cycle": 20, "decay": 0.7},
        "cyclic": {"factor": 5.0, "up": 10, "down": 15, "mode": "triangular2"},
        "wsd": {"warmup": 10, "decay": 30},
        "chebyshev": {"cycle": 16, "condition": 30.0},
        "plateau": {"factor": 0.5, "patience": 3},
        "greedy": {"factor": 0.9, "patience": 2},
        "piecewise": {"positions": (0, 20, 60, 99), "shares": (0.2, 1.0, 0.5, 0.1), "between": "linear"},
        "lambda": {"function": Formula("lambda n: 1 / (1 + 0.05 * n)")},
        "multiplicative": {"function": Formula("lambda n: 0.97")},
        "swa_lr": {"swa_lr": 0.3, "anneal": 30, "start": 50},
        "proportion": {"follows": s.Cosine(), "final": 0.2},
        "time_based": {"decay": 0.05},
        "warmup": {"positions": 20},
        "sequential": {"schedulers": (s.Warmup(positions=20), s.Cosine()), "milestones": (20,)},
        "chained": {"schedulers": (s.Warmup(positions=20), s.Exponential(factor=0.97))},
        "per_layer": {"schedulers": {"head": s.Constant()}, "default": s.Cosine()},
    }


def _scheduler(name: str, cls: Any) -> Picture | None:
    scheduler = _made("scheduler", name, cls, _schedules())
    if scheduler is None:
        return None
    note = ""
    if getattr(scheduler, "metric_driven", False):
        for i in range(POSITIONS):
            scheduler.observe(max(math.exp(-i / 8), 0.05 + 0.3 * (i > 40) * math.exp(-(i - 40) / 8)))
        note = " of a figure that falls, stalls, jumps up and falls again"
    values = scheduler.simulate(POSITIONS + 1)
    plot = Plot((0, POSITIONS), limits([values, np.zeros(1)]))
    plot.line(np.arange(POSITIONS + 1), values, FIRST)
    return plot.render(f"{cls.__name__} over {POSITIONS} positions"), f"`{_call(scheduler)}`{note}, base value 1"


# -- optimizers --------------------------------------------------------------------------------------------------------

START, STEPS = (-1.2, 1.0), 200
RATES = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
MATRICES = ("muon", "galore", "shampoo", "soap")  # what they do to a matrix is the point
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "lbfgs": {"line_search": "strong_wolfe", "max_iter": 1},
    "galore": {"rank": 1, "scale": 1.0},
    "swa": {"start": 50},
    "ema": {"decay": 0.95},
}


def valley(p: Any) -> Any:
    """Rosenbrock's function of p (..., 2), with the factor 10, which leaves the valley wide enough to be seen."""
    x, y = p[..., 0], p[..., 1]
    return (1 - x) ** 2 + 10 * (y - x * x) ** 2


def _path(cls: Any, options: dict[str, Any], shape: int, x: float = START[0]) -> tuple[Any, np.ndarray]:
    """The optimizer and its way (STEPS + 1, 2), shorter if it leaves the frame; the point is an array of ``shape`` axes."""
    lc.seed(0)
    start = (x, START[1])
    point = lc.Parameter(np.array([start] if shape == 2 else start))
    if any(field.name == "optimizer" for field in fields(cls)):  # changes the steps of another one
        own = {key: value for key, value in options.items() if key != "lr"}
        optimizer = cls(lc.optimizers.SGD([point], lr=options["lr"], momentum=0.9), **own)
    else:
        optimizer = cls([point], **options)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = valley(point).sum()
        if getattr(optimizer, "needs", "") != "loss":  # which differentiates for itself
            loss.backward()
        return loss

    averages = hasattr(optimizer, "eval")
    places = [start]
    for _ in range(STEPS):
        optimizer.step(closure)
        if averages:
            optimizer.eval()
        places.append(tuple(point.data.ravel().tolist()))
        if averages:
            optimizer.train()
        if not (-2 <= places[-1][0] <= 2 and -1 <= places[-1][1] <= 3):
            break
    return optimizer, np.array(places)


def _optimizer(name: str, cls: Any) -> Picture | None:
    options = OPTIMIZERS.get(name, {})
    names = {field.name for field in fields(cls)}
    if not names & {"lr", "optimizer"} or getattr(cls, "needs", "gradients") == "tasks":
        return None  # others do the work, on other problems
    shape = 2 if name in MATRICES else 1
    ways: list[tuple[float, float]] = []  # how high each rate leads, and the rate
    for rate in RATES:
        _, path = _path(cls, {**options, "lr": rate}, shape)
        if len(path) == STEPS + 1:
            ways.append((float(np.log(valley(path) + 1e-8).mean()), rate))
    for _, rate in sorted(ways):
        optimizer, path = _path(cls, {**options, "lr": rate}, shape)
        _, beside = _path(cls, {**options, "lr": rate}, shape, START[0] + 1e-9)
        if len(beside) == len(path) and np.abs(beside - path).max() < 1e-3:
            break  # else its way is chaotic, and another machine's rounding would lead elsewhere
    else:
        return None
    plot = Plot((-2, 2), (-1, 3), height=220)
    for level in (0.3, 3.0, 30.0):  # where the height is that
        x = 1 + np.sqrt(level) * np.sin(np.linspace(-np.pi / 2, np.pi / 2, 121))
        up = np.sqrt(np.maximum(level - (1 - x) ** 2, 0) / 10)
        ring = np.concatenate([x, x[::-1]]), np.concatenate([x**2 + up, (x**2 - up)[::-1]])
        plot.line(*ring, GREY, 0.6, tolerance=0.3)
    plot.line(path[:, 0], path[:, 1], FIRST, 1.2)
    plot.dot(1, 1, GREY)
    plot.dot(path[-1, 0], path[-1, 1], SECOND)
    inner = getattr(optimizer, "optimizer", None)
    call = _call(optimizer)
    if inner is not None:
        call = f"{cls.__name__}({_call(inner)}{', ' + optimizer.fields_repr() if optimizer.fields_repr() else ''})"
    return plot.render(f"{cls.__name__} on Rosenbrock's function"), f"`{call}`"


# -- losses ------------------------------------------------------------------------------------------------------------

RANGES: dict[str, tuple[float, float, Callable[[Any], Any], Any, str]] = {
    **{
        name: (-3, 3, lambda x: x, lambda x: 0 * x, "over the difference from the target")
        for name in ("mse", "mae", "huber", "smooth_l1", "log_cosh", "quantile")
    },
    **{
        name: (-3, 3, lambda x: x, lambda x: 0 * x + 1, "over the score of a target 1")
        for name in ("hinge", "squared_hinge", "bce_with_logits", "focal")
    },
    **{
        name: (-3, 3, lambda x: np.stack([x, 0 * x], axis=1), lambda x: (0 * x).astype(int), "over x for logits (x, 0)")
        for name in ("cross_entropy", "multi_margin")
    },
    "bce": (0.01, 0.99, lambda x: x, lambda x: 0 * x + 1, "over the probability of a target 1"),
    "poisson_nll": (-2, 3, lambda x: x, lambda x: 0 * x + 3, "over the logarithm of the rate, target 3"),
}  # fmt: skip


def _loss(name: str, cls: Any) -> Picture | None:
    if name not in RANGES:
        return None
    first, last, pred, target, note = RANGES[name]
    x = np.linspace(first, last, 601)
    loss = cls(reduction="none")
    y = loss(lc.tensor(pred(x), dtype="float64"), lc.tensor(target(x))).numpy()
    plot = Plot((first, last), limits([y, np.zeros(1)]))
    plot.line(x, y, FIRST)
    return plot.render(f"{cls.__name__} {note}"), f"`{cls.__name__}()` {note}"


# -- initializers ------------------------------------------------------------------------------------------------------

SHAPE = (512, 256)


def _initializer(name: str, cls: Any) -> Picture | None:
    initializer = _made("initializer", name, cls, {"sparse": {"sparsity": 0.5}})
    if initializer is None:
        return None
    try:
        values = np.asarray(initializer(SHAPE), np.float64).ravel()
    except LunarError:
        return None  # for weights of other shapes
    if len(np.unique(values)) < 10:
        return None
    reach = float(np.abs(values).max())
    counts, edges = np.histogram(values, 50, (-reach, reach), density=True)
    plot = Plot((-1.1 * reach, 1.1 * reach), (0, 1.1 * float(counts.max())))
    steps = np.repeat(edges, 2)[1:-1], np.repeat(counts, 2)
    plot.line(np.r_[-reach, steps[0], reach], np.r_[0, steps[1], 0], FIRST)
    return plot.render(f"Values of {cls.__name__}"), f"`{_call(initializer)}` for a weight {SHAPE}, density"


def _call(component: Any) -> str:
    return f"{type(component).__name__}({component.fields_repr()})"


_DRAWN: dict[str, Callable[[str, Any], Picture | None]] = {
    "activation": _activation, "scheduler": _scheduler, "optimizer": _optimizer, "loss": _loss,
    "initializer": _initializer,
}  # fmt: skip
