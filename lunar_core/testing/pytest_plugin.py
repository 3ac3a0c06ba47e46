"""Fixtures for plugin packages, loaded by pytest wherever LunarLearn is installed (entry point group ``pytest11``).

- ``lunar_registry``: a registry with its own plugin manager; what a test registers or switches off stays in the test.
- ``lunar_installed``: ``lunar_installed("lunar-x", {"lunar_x": source}, {"lunar.layers": {"x": "lunar_x:X"}})`` puts a
  package on the path for the test and gives a registry that sees it.
- ``lunar_run``: ``lunar_run("plugins", "list")`` runs the command line in a process of its own.
- ``lunar_train``: ``lunar_train("optimizer=lunar-x/x", "epochs=2")`` trains the recipe digits-cnn by name and gives its
  figures.

Loading it imports the core and no plugin.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.register_assert_rewrite("lunar_core.testing.conformance")

if TYPE_CHECKING:
    from ..plugins import Registry


class Figures(dict[str, Any]):
    """What a run came to on the test data, by name; ``folder`` is its run directory, ``output`` what it printed."""

    folder: Path
    output: str


@pytest.fixture
def lunar_registry() -> Registry:
    """A registry, and with it a plugin manager, that nothing else uses. It sees what is installed."""
    from ..plugins import Registry

    return Registry()


@pytest.fixture
def lunar_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Registry]]:
    """Puts packages on the path: ``lunar_installed(dist, modules, entry_points, version="1.0")`` gives a registry."""
    import importlib

    from ..plugins import Registry

    site = tmp_path / "lunar-installed"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def install(
        dist: str, modules: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]], version: str = "1.0"
    ) -> Registry:
        info = site / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n", "utf-8")
        lines = []
        for group, table in entry_points.items():
            lines += [f"[{group}]", *(f"{name} = {target}" for name, target in table.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")
        for name, source in modules.items():
            (site / f"{name}.py").write_text(source, "utf-8")
        importlib.invalidate_caches()
        return Registry()

    yield install
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(site)):
            del sys.modules[name]


@pytest.fixture
def lunar_run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``lunar`` in a process of its own, in the test's own directory, with the path that the test has."""

    def run(*args: Any, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith("LUNAR_")}
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        return subprocess.run(
            [sys.executable, "-m", "lunar_cli", *map(str, args)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**own, "PYTHONPATH": path, "LUNAR_CONFIG": str(tmp_path / "lunar-user.toml"), **(env or {})},
            timeout=600,
            check=False,
        )

    return run


@pytest.fixture
def lunar_train(lunar_run: Callable[..., Any], tmp_path: Path) -> Callable[..., Figures]:
    """Trains the recipe digits-cnn with ``key=value`` changes and gives the figures of its test data."""
    count = iter(range(1, 1000))

    def train(*assignments: str, env: Mapping[str, str] | None = None) -> Figures:
        folder = tmp_path / f"run-{next(count)}"
        changes = [part for assignment in assignments for part in ("--set", assignment)]
        done = lunar_run("train", "digits-cnn", "--out", folder, *changes, env=env)
        assert done.returncode == 0, f"lunar train gave {done.returncode}\n{done.stdout}\n{done.stderr}"
        figures = Figures(json.loads((folder / "test.json").read_text("utf-8")))
        figures.folder, figures.output = folder, done.stdout + done.stderr
        return figures

    return train
