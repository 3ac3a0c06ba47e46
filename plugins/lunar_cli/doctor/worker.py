"""``python -m lunar_cli.doctor.worker``: loads components, or rehearses a hook plugin, and reports line by line.

Runs in a process of its own, so that whatever a plugin does, the examination goes on. The request is a JSON object on
standard input; answers are JSON lines on what was standard output. Standard output and error themselves are turned into
a file, in which a plugin's own printing is found.

    {"load": [[kind, name, dist], ...], "seconds": 30}     # or
    {"rehearse": [kind, name, dist], "seconds": 30}     # or
    {"machine": true, "seconds": 30}

``seconds`` is the time for one component; a process that takes longer ends itself and writes where it stood.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from lunar_cli.doctor import machine


def main() -> None:
    request = json.loads(sys.stdin.read())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    printed = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
    for number in (1, 2):
        os.dup2(printed.fileno(), number)

    def answer(**row: Any) -> None:
        answers.write(json.dumps(row) + "\n")
        answers.flush()

    def watch(name: str) -> None:
        """Say whose turn it is, and end the process if that takes too long."""
        stack = tempfile.NamedTemporaryFile("w", suffix=".stack", delete=False, dir=request["folder"])  # noqa: SIM115
        faulthandler.dump_traceback_later(request["seconds"], exit=True, file=stack)
        answer(begin=name, stack=stack.name)

    from lunar_core.plugins import registry

    with warnings.catch_warnings():  # what is wrong with metadata and settings is told elsewhere
        warnings.simplefilter("ignore")
        registry.components()  # and neither import nor discovery counts as a plugin's time

    jobs: list[tuple[str, Callable[[], dict[str, Any]]]]
    if "load" in request:
        jobs = [(name, partial(load, kind, name, dist)) for kind, name, dist in request["load"]]
    elif "rehearse" in request:
        jobs = [(request["rehearse"][1], partial(rehearse, *request["rehearse"]))]
    else:
        jobs = [("machine", machine.report)]
    for name, job in jobs:
        watch(name)
        start = os.fstat(printed.fileno()).st_size
        report = job()
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.flush()
        sys.stderr.flush()
        end = os.fstat(printed.fileno()).st_size
        said = os.pread(printed.fileno(), min(end - start, 500), start) if hasattr(os, "pread") else b""
        answer(end=name, **report, printed=end - start, text=said.decode("utf-8", "replace"))
    answer(finished=True)
    answers.close()


def load(kind: str, name: str, dist: str) -> dict[str, Any]:
    """Import a component and look at the hooks that it has."""
    from lunar_core.plugins import registry

    record = registry.info(kind, f"{dist}/{name}")
    before = set(sys.modules)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        error, trace, target = "", "", None
        try:
            target = registry.load(record)
        except BaseException as problem:  # a plugin may raise KeyboardInterrupt, too
            error = getattr(problem, "message", None) or f"{type(problem).__name__}: {problem}"
            trace = record.traceback
        seconds = time.perf_counter() - start
    hooks: list[list[str]] = []
    if target is not None:
        try:
            hooks = hooks_of(kind, target, name)
        except BaseException as problem:
            error = _text(problem)
    return {
        "seconds": seconds,
        "error": error,
        "traceback": trace,
        "hooks": hooks,
        "modules": len(set(sys.modules) - before),
        "deprecations": [str(w.message) for w in seen if issubclass(w.category, DeprecationWarning) and _ours(w)],
    }


def hooks_of(kind: str, target: Any, name: str) -> list[list[str]]:
    """``[hook, band]`` of each implementation. Raises HookError for a misspelled hook or argument."""
    from lunar_core.hookdispatch import collect
    from lunar_core.hookspecs import PREFIX

    if kind == "plugin":
        plugin = target() if isinstance(target, type) else target
    elif isinstance(target, type) and kind not in ("command", "kernel"):
        if not any(attribute.startswith(PREFIX) for attribute in dir(target)):
            return []
        plugin = object.__new__(target)  # hooks are methods: they are found without the hyperparameters
    else:
        return []
    return [[impl.hook, impl.band] for impl in collect(plugin, name, 0)]


def rehearse(kind: str, name: str, dist: str) -> dict[str, Any]:
    """Train a small model with the hook plugin and without; say what was switched off, raised or changed."""
    from lunar_core.hookdispatch import collect
    from lunar_core.plugins import registry

    target = registry.load(registry.info(kind, f"{dist}/{name}"))
    plugin = target() if isinstance(target, type) else target
    looks_only = all(impl.isolated for impl in collect(plugin, name, 0))
    error, trace, changed = "", "", []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        before = _train(None)
        try:
            after = _train(plugin)
        except BaseException as problem:
            import traceback

            error = " ".join([_text(problem), *getattr(problem, "__notes__", ())])
            trace = "".join(traceback.format_exception(problem))
        else:
            changed = [key for key in before if before[key] != after.get(key)] if looks_only else []
    dropped = [str(w.message) for w in seen if "is switched off for this run" in str(w.message)]
    return {"error": error, "traceback": trace, "dropped": dropped, "changed": changed}


def _train(plugin: Any) -> dict[str, bytes]:
    """The weights after two epochs on forty examples, as bytes."""
    import numpy as np

    import lunar_core as lc
    from lunar_training import Trainer

    lc.seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 6)).astype(np.float32), rng.integers(0, 3, 40)
    model = lc.layers.Sequential(lc.layers.Dense(8), lc.layers.ReLU(), lc.layers.Dense(3))
    trainer = Trainer(
        model,
        "cross_entropy",
        {"@optimizer": "adamw", "lr": 1e-2},
        metrics=["accuracy"],
        plugins=[] if plugin is None else [plugin],
        installed_plugins=False,
        seed=0,
        progress="off",
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer.fit((x[:32], y[:32]), (x[32:], y[32:]), epochs=2, batch_size=8, out=folder + "/run")
    trainer.predict(x[:4])
    return {name: p.data.tobytes() for name, p in model.named_parameters()}


def _ours(warning: Any) -> bool:
    return "lunar" in str(warning.message).lower()


def _text(problem: BaseException) -> str:
    message = getattr(problem, "message", None)
    hint = getattr(problem, "hint", None)
    return (f"{message}" if message else f"{type(problem).__name__}: {problem}") + (f"; {hint}" if hint else "")


if __name__ == "__main__":
    main()
