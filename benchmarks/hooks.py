"""What a hook costs: nothing implemented, one and three implementations, a reader, timing; pluggy beside it.

    OMP_NUM_THREADS=1 python -m benchmarks.hooks

Prints nanoseconds a call, the cost of the bare loop taken off. Targets: an idle step hook at most 50 ns, and building a
bus of ten plugins a matter of milliseconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pluggy

from lunar_core import hookspecs
from lunar_core.hooks import Bus
from lunar_core.hookspecs import hookimpl

CALLS = 100_000


class Editor:
    @hookimpl
    def lunar_after_step(self, step):
        pass


class Look(Editor):
    band = "reader"
    draws = False


class Drawing(Editor):
    band = "reader"


def guarded(bus: Bus, calls: int) -> float:
    """Seconds for ``calls`` guarded calls as the training loop makes them."""
    start = time.perf_counter()
    for step in range(calls):
        h = bus.after_step
        if h is not None:
            h(step)
    return time.perf_counter() - start


def through_pluggy(manager: pluggy.PluginManager, calls: int) -> float:
    start = time.perf_counter()
    for step in range(calls):
        manager.hook.lunar_after_step(step=step, ctx=None)
    return time.perf_counter() - start


def bare(calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        pass
    return time.perf_counter() - start


def nanoseconds(function: Callable[[int], float], calls: int = CALLS, rounds: int = 9) -> float:
    function(calls // 10)
    return (statistics.median(function(calls) for _ in range(rounds)) / calls) * 1e9 - loop


loop = 0.0
loop = nanoseconds(bare)


def manager_of(*plugins: object) -> pluggy.PluginManager:
    manager = pluggy.PluginManager("lunar")
    manager.add_hookspecs(hookspecs)
    for plugin in plugins:
        manager.register(plugin)
    return manager


def main() -> None:
    rows: list[tuple[str, float]] = []
    for title, bus in [
        ("idle hook", Bus()),
        ("one editor", Bus([Editor()])),
        ("three editors", Bus([Editor() for _ in range(3)])),
        ("three readers that promise not to draw", Bus([Look() for _ in range(3)])),
        ("three editors, timing on", Bus([Editor() for _ in range(3)], timing=True)),
    ]:
        rows.append((title, nanoseconds(lambda n, bus=bus: guarded(bus, n))))
    drawing = Bus([Drawing() for _ in range(3)])
    rows.append(("three readers, random state saved", nanoseconds(lambda n: guarded(drawing, n), 2_000)))
    for title, manager in [
        ("pluggy, idle hook", manager_of()),
        ("pluggy, one", manager_of(Editor())),
        ("pluggy, three", manager_of(*(Editor() for _ in range(3)))),
    ]:
        rows.append((title, nanoseconds(lambda n, m=manager: through_pluggy(m, n), CALLS // 5)))
    for title, value in rows:
        print(f"{title:44s} {value:10.1f} ns")

    def build(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            Bus([Editor() for _ in range(10)])
        return time.perf_counter() - start

    print(f"{'building a bus of ten plugins':44s} {nanoseconds(build, 100, 3) / 1e3:10.1f} us")


if __name__ == "__main__":
    main()
