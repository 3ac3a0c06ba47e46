"""Components loaded, and hook plugins rehearsed, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lunar_core.plugins.discovery import ComponentPlugin
from lunar_core.plugins.groups import prefix

from .problem import ERROR, WARNING, Problem

SLOW = 1.0
"""Seconds of an import above which it is worth a word."""

Name = tuple[str, str, str]


def load_all(components: Iterable[ComponentPlugin], seconds: float, workers: int) -> dict[ComponentPlugin, dict]:
    """What became of loading each component: a worker for each distribution, ``workers`` at a time."""
    by_dist: dict[str, list[ComponentPlugin]] = {}
    for component in components:
        by_dist.setdefault(component.dist, []).append(component)
    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(lambda group: _load(group, seconds), by_dist.values()))
    return {component: row for part in parts for component, row in part.items()}


def rehearse_all(components: Iterable[ComponentPlugin], seconds: float, workers: int) -> dict[ComponentPlugin, dict]:
    """What became of a small training run with each of these hook plugins."""
    components = list(components)

    def one(component: ComponentPlugin) -> dict[str, Any]:
        (row,) = _work({"rehearse": _name(component)}, [component], seconds).values()
        return row

    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(components, pool.map(one, components)))


def machine(seconds: float) -> dict[str, Any]:
    """Kernel providers and devices, as a worker sees them; an ``error`` where a provider ended it."""
    return _work({"machine": True}, ["machine"], seconds)["machine"]


def loading_problems(component: ComponentPlugin, row: dict[str, Any]) -> Iterable[Problem]:
    """What is to be said of loading one component."""
    where = f"{prefix(component.kind)}.{component.name}"

    def problem(level: str, check: str, cause: str, hint: str = "") -> Problem:
        return Problem(level, check, component.dist, where, cause, hint)

    if row.get("error"):
        cause = row["error"].partition(" cannot be used: ")[2] or row["error"]
        check = (
            "hook" if "lunar_" in cause and ("there is no hook" in cause or "has no argument" in cause) else "import"
        )
        check = "api" if "plugin API" in cause else check
        off = f"switch it off: lunar plugins disable {where}"
        yield problem(ERROR, check, cause.replace("\n", "; "), off)
    if row.get("seconds", 0.0) > SLOW:
        yield problem(
            WARNING, "slow", f"its import took {row['seconds']:.1f} s", "import what is heavy where it is first used"
        )
    if row.get("printed"):
        first = row["text"].strip().splitlines()
        cause = f"it prints when it is imported: {first[0][:80]!r}" if first else "it prints when it is imported"
        yield problem(WARNING, "prints", cause, "use logging or warnings")
    for text in row.get("deprecations", ()):
        yield problem(WARNING, "deprecation", text.replace("\n", "; "))


def rehearsal_problems(component: ComponentPlugin, row: dict[str, Any]) -> Iterable[Problem]:
    """What is to be said of a run with one hook plugin."""
    where = f"{prefix(component.kind)}.{component.name}"
    off = f"switch it off: lunar plugins disable {where}"
    if row.get("error"):
        yield Problem(ERROR, "run", component.dist, where, f"in a small run: {row['error']}".replace("\n", "; "), off)
    for text in row.get("dropped", ()):
        cause = text.partition("is switched off for this run: ")[2]
        yield Problem(ERROR, "run", component.dist, where, f"in a small run: {cause}".replace("\n", "; "), off)
    if row.get("changed"):
        cause = (
            f"it is in a band that may only look, yet a small run with it ends with other weights than one without "
            f"({', '.join(row['changed'][:3])})"
        )
        yield Problem(ERROR, "mutates", component.dist, where, cause, off)


def _load(group: Sequence[ComponentPlugin], seconds: float) -> dict[ComponentPlugin, dict]:
    """Load the components of one distribution; where one ends the process, a new worker goes on with the next."""
    rows: dict[ComponentPlugin, dict] = {}
    waiting = list(group)
    while waiting:
        done = _work({"load": [_name(c) for c in waiting]}, waiting, seconds)
        rows.update(done)
        waiting = waiting[len(done) :]
    return rows


def _work(request: dict[str, Any], components: Sequence[Any], seconds: float) -> dict[Any, dict]:
    """Run one worker. Gives a row for each component up to the one that ended the process, at least one."""
    rows: dict[ComponentPlugin, dict] = {}
    with tempfile.TemporaryDirectory(prefix="lunar-doctor-") as folder:
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lunar_cli.doctor.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"},
            start_new_session=True,  # an interrupt of the terminal reaches us, and we end the worker
        )
        text = json.dumps({**request, "seconds": seconds, "folder": folder}).encode()
        try:
            out, err = process.communicate(text, timeout=(seconds + 5) * len(components) + 30)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        except BaseException:
            process.kill()
            process.communicate()
            raise
        begun: dict[str, Any] = {}
        finished = False
        for line in out.decode("utf-8", "replace").splitlines():
            row = json.loads(line)
            finished = finished or bool(row.get("finished"))
            if "begin" in row:
                begun = row
            elif "end" in row:
                rows[components[len(rows)]] = row
                begun = {}
        if not finished and len(rows) < len(components):
            cause = _ending(process.returncode, begun, err.decode("utf-8", "replace"))
            rows[components[len(rows)]] = {"error": cause}
    return rows


def _ending(code: int, begun: dict[str, Any], err: str) -> str:
    """Why a worker ended before its time."""
    if not begun:
        last = err.strip().splitlines()
        return f"the worker of lunar doctor ended by itself ({last[-1] if last else f'exit code {code}'})"
    stack = Path(begun["stack"]).read_text("utf-8", "replace")
    if "Timeout" in stack:
        return f"it did not come to an end{_stood(stack)}"
    if code < 0:
        name = signal.Signals(-code).name if -code in {int(s) for s in signal.Signals} else str(-code)
        return f"it ended the process by signal {name}"
    return f"it ended the process with exit code {code}"


def _stood(stack: str) -> str:
    """Where the main thread stood, the innermost line outside of the standard library and of us first."""
    blocks = re.split(r"\n(?=Thread 0x|Current thread)", stack)
    frames = re.findall(r'File "(.+?)", line (\d+) in (\S+)', blocks[-1])
    library = os.path.dirname(os.__file__)
    for file, line, function in frames:
        if file.startswith("<") or (file.startswith(library) and "site-packages" not in file):
            continue
        return f": it stood at {os.path.basename(file)}, line {line}, in {function}"
    return ""


def _name(component: ComponentPlugin) -> Name:
    return component.kind, component.name, component.dist
