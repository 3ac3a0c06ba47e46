"""Runs the workloads, checks that both sides agree, times them in turns and prints the table."""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .workloads import WORKLOADS
from .workloads.base import Steps, Workload, jax_steps, our_steps, their_steps

Row = dict[str, Any]
_REST = 0.003  # seconds between the two sides, for the threads of the one to fall asleep


def choose_providers(name: str) -> None:
    """Switch kernel providers off: all of them for ``none``, all but one for its name."""
    from lunar_core import kernels

    for provider in kernels.providers.all():
        if name and provider.name != name:
            kernels.disable(provider.name)


def run(options: argparse.Namespace) -> list[Row]:
    """Time every workload whose name contains ``options.only``."""
    _settle(options)
    print(f"{options.threads} thread(s), {'bfloat16 autocast' if options.bfloat16 else 'float32'}, AdamW; milliseconds")
    print(f"{'workload':16s} {'step':10s} {'ours':>9s} {'torch':>9s} {'ratio':>6s}")
    rows: list[Row] = []
    for workload in WORKLOADS.values():
        if options.only in workload.name:
            rows += _measure(workload, options)
    rows += optimizer_rows(options)
    rows += overhead_rows(options)
    return rows


def _settle(options: argparse.Namespace) -> None:
    """Load what both sides load, ours first, and give them their threads."""
    import lunar_core as lc
    from lunar_core import kernels

    choose_providers(options.provider)
    for provider in kernels.providers.active():
        getattr(provider, "describe", dict)()
    import torch

    torch.set_num_threads(options.threads)
    lc.set_num_threads(options.threads)


def _measure(workload: Workload, options: argparse.Namespace) -> list[Row]:
    autocast = "bfloat16" if options.bfloat16 else None
    theirs, weights = their_steps(workload, autocast=autocast)
    ours = our_steps(workload, weights, autocast=autocast)
    sides = {"ours": ours, "torch": theirs}
    if options.compile:
        sides["compiled"], _ = their_steps(workload, compiled=True, autocast=autocast)
    if options.jax and workload.jax is not None:
        sides["jax"] = jax_steps(workload, weights)
        error = np.abs(sides["jax"].infer() - theirs.infer()).max()
        if not error < 2e-3:
            print(f"{workload.name}: JAX's logits differ by {error:.1e}", flush=True)
    wrong = disagreement(workload, ours, theirs, loose=options.bfloat16)
    if wrong:
        print(f"{workload.name}: {wrong}", flush=True)
    rows = []
    for kind in ("train", "infer") if workload.train else ("infer",):
        times = in_turns({name: getattr(side, kind) for name, side in sides.items()}, options.rounds, options.cpu)
        row: Row = {"workload": workload.name, "step": kind, "wrong": wrong, **times}
        row["ratio"] = times["ours"] / times["torch"]
        if options.memory:
            row["peak"] = {side: peak_memory(workload.name, kind, side, options) for side in ("ours", "torch")}
        rows.append(row)
        show(row)
    return rows


def disagreement(workload: Workload, ours: Steps, theirs: Steps, *, loose: bool) -> str:
    """What differs between the sides beyond rounding, or nothing."""
    tolerance = 5e-2 if loose else 2e-3
    a, b = ours.infer(), theirs.infer()
    error = float(np.abs(a.astype(np.float32) - b).max() / max(1e-6, np.abs(b).max()))
    if a.shape != b.shape or not error < tolerance:
        return f"logits differ: shapes {a.shape} and {b.shape}, relative error {error:.1e}"
    if workload.train:
        for step in range(3):
            one, other = ours.train(), theirs.train()
            if not abs(one - other) < tolerance * max(1.0, abs(other)):
                return f"losses of step {step} differ: {one:.6f} and {other:.6f}"
    return ""


def in_turns(functions: dict[str, Callable[[], object]], rounds: int, cpu: bool) -> dict[str, float]:
    """Median seconds of each, measured in turns."""
    clock = time.thread_time if cpu else time.perf_counter
    counts: dict[str, int] = {}
    for name, function in functions.items():
        warm_up(function)
        start = clock()
        function()
        counts[name] = max(1, min(200, int(0.03 / max(clock() - start, 1e-7))))
    times: dict[str, list[float]] = {name: [] for name in functions}
    gc.collect()
    for _ in range(rounds):
        for name, function in functions.items():
            time.sleep(_REST)
            function()  # wakes this side's threads
            start = clock()
            for _ in range(counts[name]):
                function()
            times[name].append((clock() - start) / counts[name])
    return {name: statistics.median(values) for name, values in times.items()}


def warm_up(function: Callable[[], object], seconds: float = 1.0) -> None:
    """Run it until caches are warm, and what is compiled behind its back has been: a long run is what is measured."""
    begin = time.perf_counter()
    for _ in range(3):
        function()
    while time.perf_counter() - begin < seconds:
        function()
    for thread in threading.enumerate():
        if thread.name.startswith("lunar-numba"):
            thread.join(60)


def show(row: Row, digits: int = 3) -> None:
    """One line of the table."""
    ours, theirs = (f"{row[side] * 1e3:9.{digits}f}" for side in ("ours", "torch"))
    text = f"{row['workload']:16s} {row['step']:10s} {ours} {theirs} {row['ratio']:6.2f}"
    for side in ("compiled", "jax"):
        if side in row:
            text += f"   {side} {row[side] * 1e3:.3f}, ratio {row['ours'] / row[side]:.2f}"
    if "peak" in row:
        mine, his = row["peak"]["ours"], row["peak"]["torch"]
        text += f"   peak {mine / 1e6:7.1f} / {his / 1e6:7.1f} MB = {mine / max(his, 1):.2f}"
    print(text, flush=True)


# -- optimizers --------------------------------------------------------------------------------------------------------

_GPT2 = [(50257, 768), (1024, 768), *[(768,)] * 2] + 12 * [
    (768,), (768,), (768, 2304), (2304,), (768, 768), (768,), (768,), (768,), (768, 3072), (3072,), (3072, 768), (768,)
]  # fmt: skip
_SETS = {"10m": [(10_000_000,)], "124m": _GPT2}
_RULES = {
    "adamw": ("AdamW", {"lr": 1e-3, "weight_decay": 1e-2}),
    "sgd": ("SGD", {"lr": 1e-3, "momentum": 0.9}),
    "lion": ("Lion", {"lr": 1e-4}),
}


def optimizer_rows(options: argparse.Namespace) -> list[Row]:
    """An optimizer alone, over ten million parameters and those of GPT-2: beside PyTorch's foreach, AdamW beside its fused one.

    PyTorch has no Lion; its peer is that of pytorch_optimizer, and the row is left out where that is not installed.
    """
    import lunar_core as lc

    rows = []
    for rule, (name, settings) in _RULES.items():
        for size, shapes in _SETS.items():
            for way in ("fused", "foreach") if rule == "adamw" else ("foreach",):
                label = f"{rule}_{size}"
                theirs = (
                    None
                    if options.bfloat16 or options.only not in label
                    else _their_optimizer(name, way, shapes, settings)
                )
                if theirs is None:
                    continue
                times = in_turns(
                    {"ours": _our_optimizer(lc, name, shapes, settings), "torch": theirs}, options.rounds, options.cpu
                )
                rows.append({"workload": label, "step": way, **times, "ratio": times["ours"] / times["torch"]})
                show(rows[-1])
    return rows


def _our_optimizer(
    lc: Any, name: str, shapes: list[tuple[int, ...]], settings: dict[str, float]
) -> Callable[[], object]:
    parameters = [lc.Parameter(np.full(s, 0.01, np.float32)) for s in shapes]
    optimizer = getattr(lc.optimizers, name)(parameters, **settings)
    optimizer.zero_grad()
    for p in parameters:
        p.node.accumulate(np.full(p.shape, 0.01, np.float32))
    return optimizer.step  # type: ignore[no-any-return]


def _their_optimizer(
    name: str, way: str, shapes: list[tuple[int, ...]], settings: dict[str, float]
) -> Callable[[], object] | None:
    import importlib

    import torch

    try:
        cls = getattr(torch.optim, name, None) or getattr(importlib.import_module("pytorch_optimizer"), name)
    except ImportError:
        return None
    parameters = [torch.nn.Parameter(torch.full(s, 0.01)) for s in shapes]
    for p in parameters:
        p.grad = torch.full_like(p, 0.01)
    return cls(parameters, **{way: True}, **settings).step  # type: ignore[no-any-return]


# -- the framework's own time ------------------------------------------------------------------------------------------


def overhead_rows(options: argparse.Namespace) -> list[Row]:
    """Applying one op to 4x4 arrays (medians of 22 ops), importing, and the start of the command; not under --bfloat16."""
    rows: list[Row] = []
    if not options.bfloat16 and options.only in "op_overhead":
        from .overhead import medians

        for way, (ours, theirs) in medians(rounds=options.rounds).items():
            rows.append({"workload": "op_overhead", "step": way, "ours": ours, "torch": theirs, "ratio": ours / theirs})
            show(rows[-1], digits=5)
    if not options.bfloat16 and options.only in "startup":
        from .startup import measure

        taken = measure(min(options.rounds, 7))
        for name, peer in (("import lunar_core", "import numpy"), ("lunar --help", "import numpy")):
            ratio = taken[name] / taken[peer]
            rows.append({"workload": "startup", "step": name, "ours": taken[name], "peer": taken[peer], "ratio": ratio})
            print(f"{name}: {taken[name] * 1e3:.0f} ms, {ratio:.2f} of {peer} ({taken[peer] * 1e3:.0f} ms)", flush=True)
    return rows


# -- memory ------------------------------------------------------------------------------------------------------------


def peak_memory(name: str, kind: str, side: str, options: argparse.Namespace) -> int:
    """Bytes that a process holds at its peak over five steps, beyond what it held after its imports."""
    arguments = [name, kind, side, str(options.threads), options.provider]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.runner", *arguments], capture_output=True, text=True, check=True
    )
    return int(json.loads(done.stdout)["peak"])


def _memory(what: str) -> int:
    """Bytes: ``VmRSS`` is what the process holds, ``VmHWM`` the most that it held (Linux).

    The peak that ``getrusage`` gives is no use here: a process inherits that of the one that started it.
    """
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(what))


def _warm_up_ours() -> None:
    """A step of a tiny network: imports and loads all that a step needs, compiled optimizer rules included."""
    import lunar_core as lc
    from lunar_core import kernels
    from lunar_kernels.numba_loops import provider as numba_loops

    for provider in kernels.providers.active():
        getattr(provider, "describe", dict)()
    square = lc.ones((256, 256))
    square @ square  # the products' working memory
    parameter = lc.Parameter(np.ones(8, np.float32))
    (parameter * parameter).sum().backward()
    lc.optimizers.AdamW([parameter]).step()
    if not numba_loops.reason and "numba" not in kernels.providers.disabled:
        rule = lc.fused(lambda p, g: p - 0.1 * g, into=("p",))
        numba_loops.compile_now(rule.plan(np.ones(8, np.float32), np.ones(8, np.float32)).program)


def _warm_up_theirs() -> None:
    import torch

    square = torch.ones(256, 256)
    square @ square
    parameter = torch.nn.Parameter(torch.ones(8))
    (parameter * parameter).sum().backward()
    torch.optim.AdamW([parameter], fused=True).step()
    torch.nn.functional.conv2d(torch.ones(1, 16, 8, 8), torch.ones(16, 16, 3, 3))


def _print_peak() -> None:
    """The other end of :func:`peak_memory`."""
    name, kind, side, threads, provider = sys.argv[1:6]
    workload = WORKLOADS[name]
    if side == "ours":
        import lunar_core as lc

        lc.set_num_threads(int(threads))
        choose_providers(provider)
        _warm_up_ours()
    else:
        import torch

        torch.set_num_threads(int(threads))
        _warm_up_theirs()
    gc.collect()
    before = _memory("VmRSS")
    steps = our_steps(workload) if side == "ours" else their_steps(workload)[0]
    for _ in range(5):
        getattr(steps, kind)()
    print(json.dumps({"peak": max(0, _memory("VmHWM") - before)}))


# -- scaling -----------------------------------------------------------------------------------------------------------


def scaling(options: argparse.Namespace) -> list[Row]:
    """Time of a training step of an MLP against its batch, its width and its depth, each doubled four times."""
    _settle(options)
    from .workloads.dense import mlp

    rows: list[Row] = []
    print(
        f"{'what grows':10s} {'size':>6s} {'ours':>9s} {'torch':>9s} {'ratio':>6s}  {'growth of ours':>14s} {'theory':>7s}"
    )
    for what in ("batch", "width", "depth"):
        before = None
        for size in (32, 64, 128, 256, 512) if what != "depth" else (2, 4, 8, 16, 32):
            batch, width, depth = (
                (size, 256, 4) if what == "batch" else (64, size, 4) if what == "width" else (64, 128, size)
            )
            workload = mlp("scaling", (256, *[width] * depth, 10), batch)
            (theirs, _), ours = their_steps(workload), our_steps(workload)
            times = in_turns({"ours": ours.train, "torch": theirs.train}, options.rounds, options.cpu)
            work = batch * (256 * width + (depth - 1) * width * width + 10 * width)
            growth = "" if before is None else f"{times['ours'] / before[0]:14.2f} {work / before[1]:7.2f}"
            before = times["ours"], work
            rows.append({"grows": what, "size": size, **times, "ratio": times["ours"] / times["torch"], "work": work})
            print(
                f"{what:10s} {size:6d} {times['ours'] * 1e3:9.3f} {times['torch'] * 1e3:9.3f} {rows[-1]['ratio']:6.2f}  {growth}",
                flush=True,
            )
    return rows


if __name__ == "__main__":
    _print_peak()
