"""Real plugin packages for tests: written, built into a wheel by hatchling, unpacked where Python finds them.

A wheel is a zip of the modules and a ``.dist-info``; unpacking it into a folder on ``sys.path`` is what an installer
does, so ``importlib.metadata`` sees a real distribution. :func:`run` uses them in a Python of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lunar_core.plugins import Registry, Settings

REPOSITORY = Path(__file__).resolve().parent.parent


def write_project(
    folder: Path,
    dist: str,
    modules: Mapping[str, str],
    entry_points: Mapping[str, Mapping[str, str]],
    version: str = "1.0",
) -> Path:
    """A project folder with a ``pyproject.toml`` and the modules (name to source); ``entry_points`` by group."""
    project = folder / f"{dist}-{version}-project"
    project.mkdir(parents=True)
    tables = []
    for group, lines in entry_points.items():
        tables.append(f'[project.entry-points."{group}"]')
        tables += [f"{json.dumps(name)} = {json.dumps(target)}" for name, target in lines.items()]
    only = [f"{module}.py" for module in modules]
    (project / "pyproject.toml").write_text(
        "\n".join(
            [
                "[build-system]",
                'requires = ["hatchling"]',
                'build-backend = "hatchling.build"',
                "[project]",
                f"name = {json.dumps(dist)}",
                f"version = {json.dumps(version)}",
                *tables,
                "[tool.hatch.build.targets.wheel]",
                f"only-include = {json.dumps(only or ['pyproject.toml'])}",
            ]
        )
    )
    for module, source in modules.items():
        (project / f"{module}.py").write_text(textwrap.dedent(source))
    return project


def build_wheel(project: Path) -> Path:
    """The wheel of a project folder, built by hatchling in its ``dist`` folder."""
    import pytest

    backend = pytest.importorskip("hatchling.build")
    with contextlib.chdir(project):
        (project / "dist").mkdir(exist_ok=True)
        return project / "dist" / backend.build_wheel(str(project / "dist"))


def install(
    site: Path,
    dist: str,
    modules: Mapping[str, str],
    entry_points: Mapping[str, Mapping[str, str]],
    version: str = "1.0",
) -> Path:
    """Write, build and unpack a package into ``site``; returns ``site``."""
    wheel = build_wheel(write_project(site.parent / f"projects-{site.name}", dist, modules, entry_points, version))
    site.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(
    code: str, *sites: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a new Python that sees the repository and the packages in ``sites``, the first one first."""
    path = os.pathsep.join(map(str, (*sites, REPOSITORY, REPOSITORY / "plugins")))
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LUNAR_")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=cwd or (sites[0] if sites else None),
        env={**clean, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", **(env or {})},
        timeout=120,
        check=False,
    )


def answers(code: str, *sites: Path, **options: Any) -> Any:
    """Run ``code``, which prints one line of JSON last, and return what it printed; its stderr is shown on failure."""
    done = run(code, *sites, **options)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.strip().splitlines()[-1])


def dist_info(site: Path, dist: str, entry_points: Mapping[str, Mapping[str, str]], version: str = "1.0") -> Path:
    """Only the metadata of an installed distribution, for tests that are about metadata; returns ``site``."""
    folder = site / f"{dist.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
    lines = []
    for group, targets in entry_points.items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {target}" for name, target in targets.items()]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return site


OPTIMIZERS = """
from lunar_core.plugins.loading import contract

class Adam(contract("optimizer")):
    lr: float = 1e-3

class Sgd(Adam):
    pass
"""


def write_module(site: Path, name: str, source: str = OPTIMIZERS) -> str:
    """A module in ``site``; returns its name."""
    (site / f"{name}.py").write_text(textwrap.dedent(source))
    importlib.invalidate_caches()
    return name


def write_package(
    site: Path, dist: str, optimizers: Mapping[str, str], source: str = OPTIMIZERS, version: str = "1.0"
) -> None:
    """A distribution with optimizers (registry name to class name) in one module named after it."""
    name = write_module(site, dist.replace("-", "_"), source)
    dist_info(site, dist, {"lunar.optimizers": {n: f"{name}:{c}" for n, c in optimizers.items()}}, version)


def registry_of(site: Path) -> Registry:
    """A registry that sees ``site`` alone and no settings but its own."""
    return Registry([str(site)], Settings())
