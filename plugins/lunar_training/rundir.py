"""The run directory: what was run, where, with what result, written so that a crash never leaves half a file.

config.json         the run's settings and components as plain data
environment.json    interpreter, versions, plugins, machine, seed
history.csv, history.json
weights.safetensors the model when training ended
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from lunar_core import random as streams
from lunar_core.errors import ConfigError
from lunar_core.serialize import atomic_file, save


class RunDir:
    """A directory that belongs to one run. Raises :class:`ConfigError` if another run has been written there.

    ``existing`` says that it is this run, which goes on.
    """

    def __init__(self, path: str | os.PathLike[str], existing: bool = False) -> None:
        self.path = Path(path)
        if not existing and (self.path / "config.json").exists():
            raise ConfigError(
                f"{os.fspath(path)} already holds a run",
                hint="choose another directory, remove that one, or go on with it by resume=True",
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"cannot create the run directory {os.fspath(path)}: {exc.strerror}") from exc

    def file(self, name: str) -> Path:
        """Where ``name`` belongs."""
        return self.path / name

    def write_json(self, name: str, data: Any) -> Path:
        """``data`` as JSON; numbers that JSON lacks become text ("nan", "inf")."""
        path = self.file(name)
        with atomic_file(path) as file:
            file.write((json.dumps(plain(data), indent=1) + "\n").encode())
        return path

    def write_history(self, history: Any) -> None:
        """``history.csv`` and ``history.json``."""
        history.to_csv(self.file("history.csv"))
        history.to_json(self.file("history.json"))

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"


def write_weights(ctx: Any, path: str | os.PathLike[str]) -> str:
    """Write the state of ``ctx.model`` to ``path`` under the checkpoint hooks; returns the file's sha256 in hex.

    Where an optimizer trains other weights than those that are to be judged, such as averages, the latter are written.
    """
    from .evaluation import averaged

    with averaged(ctx.optimizers):
        return _write_weights(ctx, path)


def _write_weights(ctx: Any, path: str | os.PathLike[str]) -> str:
    bus = ctx.bus
    state = ctx.model.state_dict()
    if bus.checkpoint_collect is not None:
        state = bus.checkpoint_collect(state, "weights")
    if bus.before_write is not None:
        bus.before_write(os.fspath(path))
    clock = ctx.clock
    save(state, path, {"epoch": str(clock.epoch), "step": str(clock.step), "model": type(ctx.model).__name__})
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if bus.after_commit is not None:
        bus.after_commit(os.fspath(path), digest)
    return digest


def plain(value: Any) -> Any:
    """``value`` as what JSON can hold; what it cannot is named by its repr."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        return plain(value.item())
    return repr(value)


def describe(component: Any) -> Any:
    """A component as its configuration, or its repr where it has none (a hand-written module, a function)."""
    from lunar_core.component import Component

    if component is None or not isinstance(component, Component):
        return None if component is None else repr(component)
    from lunar_core.config import to_config
    from lunar_core.errors import LunarError

    try:
        return to_config(component)
    except LunarError:  # holds something that is no data, such as a function
        return repr(component)


def environment(plugins: Mapping[str, Any], device: str) -> dict[str, Any]:
    """What a later reader needs to know of where a run took place."""
    versions = {}
    for name in ("numpy", "cupy", "ml_dtypes", "pluggy", "safetensors"):
        module = sys.modules.get(name)
        if module is not None:
            versions[name] = getattr(module, "__version__", "unknown")
    return {
        "lunarlearn": _version("lunarlearn"),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS")},
        "device": device,
        "seed": streams.current_seed(),
        "versions": versions,
        "plugins": {name: _origin(plugin) for name, plugin in plugins.items()},
        "components": _components(),
        "command": sys.argv,
    }


def _version(dist: str) -> str:
    try:
        return metadata.version(dist)
    except metadata.PackageNotFoundError:
        return "not installed"


def _origin(plugin: Any) -> str:
    cls = plugin if isinstance(plugin, type(sys)) else type(plugin)
    return f"{getattr(cls, '__module__', '')}:{getattr(cls, '__qualname__', cls.__name__)}".lstrip(":")


def _components() -> dict[str, str]:
    """Every component that this process has loaded, with the distribution that it came from."""
    from lunar_core.plugins import registry

    loaded = (c for c in registry.components() if c.status == "loaded")
    return {c.plugin_name: f"{c.dist} {c.version}".strip() for c in loaded}
