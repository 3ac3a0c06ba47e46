"""Fair timing of two ways to do one thing: interleaved runs, medians, ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Comparison(NamedTuple):
    """Seconds a call (medians over the rounds) and their ratio; below 1 the first one is faster."""

    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def calls_for(function: Callable[[], object], seconds: float) -> int:
    """How many calls of ``function`` take about ``seconds``; the first ones, which set things up, do not count."""
    function(), function()
    start = time.perf_counter()
    count = 0
    while time.perf_counter() - start < seconds:
        function()
        count += 1
    return max(count, 1)


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int = 15, seconds: float = 0.02
) -> Comparison:
    """Time both in turns, ``rounds`` times, each round long enough to swamp the clock."""
    counts = [calls_for(ours, seconds), calls_for(theirs, seconds)]
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for i, function in enumerate((ours, theirs)):
            start = time.perf_counter()
            for _ in range(counts[i]):
                function()
            times[i].append((time.perf_counter() - start) / counts[i])
    return Comparison(statistics.median(times[0]), statistics.median(times[1]))


def show(rows: list[tuple[str, Comparison]], unit: float = 1e6, name: str = "us") -> None:
    """Print the rows as a table."""
    print(f"{'':32s} {'ours':>10s} {'peer':>10s} {'ratio':>7s}   ({name})")
    for label, row in rows:
        print(f"{label:32s} {row.ours * unit:10.3f} {row.theirs * unit:10.3f} {row.ratio:7.2f}")
