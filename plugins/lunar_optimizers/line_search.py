"""A line search for the strong Wolfe conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from lunar_core import backend


class Point(NamedTuple):
    """A place on the line: how far along, the objective, its gradient, and the slope along the line."""

    t: float
    f: float
    g: Any
    slope: float


def dot(a: Any, b: Any) -> float:
    """The inner product of two vectors, as a number."""
    return float(backend.of(a).xp.vdot(a, b))


def strong_wolfe(
    objective: Callable[[float], tuple[float, Any]],
    start: Point,
    direction: Any,
    t: float,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance: float = 1e-9,
    limit: int = 25,
) -> tuple[Point, int]:
    """A point where the objective fell enough (c1) and its slope is flat enough (c2), and the evaluations it took.

    Nocedal and Wright, Numerical Optimization (2006), algorithms 3.5 and 3.6, with cubic interpolation and the
    safeguards of PyTorch's port of minFunc. ``objective(t)`` gives value and gradient at ``t``; ``start`` is the point
    at 0. After ``limit`` evaluations the best point found is taken.
    """
    length = float(abs(direction).max())

    def evaluate(t: float) -> Point:
        f, g = objective(t)
        return Point(t, f, g, dot(g, direction))

    before, now = start, evaluate(t)
    count, done = 1, False
    bracket = [start, now]
    for tries in range(limit):
        if now.f > start.f + c1 * now.t * start.slope or (tries > 1 and now.f >= before.f):
            bracket = [before, now]
            break
        if abs(now.slope) <= -c2 * start.slope:
            bracket, done = [now, now], True
            break
        if now.slope >= 0:
            bracket = [before, now]
            break
        bounds = (now.t + 0.01 * (now.t - before.t), now.t * 10)
        before, now = now, evaluate(cubic_minimum(before, now, bounds))
        count += 1
    else:
        bracket = [start, now]

    stuck = False
    low = 0 if bracket[0].f <= bracket[1].f else 1
    while not done and count <= limit and abs(bracket[1].t - bracket[0].t) * length >= tolerance:
        least, most = sorted((bracket[0].t, bracket[1].t))
        t = cubic_minimum(bracket[0], bracket[1], (least, most))
        margin = 0.1 * (most - least)
        if min(most - t, t - least) < margin:
            # Close to an end twice in a row, or beyond it: a tenth of the bracket away from that end.
            if stuck or t >= most or t <= least:
                t = most - margin if abs(t - most) < abs(t - least) else least + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        now = evaluate(t)
        count += 1
        if now.f > start.f + c1 * t * start.slope or now.f >= bracket[low].f:
            bracket[1 - low] = now
            low = 0 if bracket[0].f <= bracket[1].f else 1
            continue
        if abs(now.slope) <= -c2 * start.slope:
            done = True
        elif now.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = now
    return bracket[low], count


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float]) -> float:
    """Where the cubic through two points with their slopes is least, within ``bounds``."""
    if a.t > b.t:
        a, b = b, a
    if a.t == b.t:
        return min(max(a.t, bounds[0]), bounds[1])
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (bounds[0] + bounds[1]) / 2
    d2 = square**0.5
    below = b.slope - a.slope + 2 * d2
    if below == 0:
        return (bounds[0] + bounds[1]) / 2
    return min(max(b.t - (b.t - a.t) * ((b.slope + d2 - d1) / below), bounds[0]), bounds[1])
