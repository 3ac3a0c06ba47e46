"""A registry of its own for each test of the command line, and strangers' packages to fill it."""

from __future__ import annotations

import sys

import pytest
from packages import dist_info

from lunar_cli.main import main
from lunar_core.plugins import Registry


@pytest.fixture
def registry(monkeypatch):
    """A fresh registry in the place of the process's, so that what a command switches off stays in its test."""
    fresh = Registry()
    # Not `lunar_core.plugins`: that name is the plugin manager of the package's users.
    monkeypatch.setattr(sys.modules["lunar_core.plugins"], "registry", fresh)
    return fresh


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """Puts a package of somebody else on the path: ``stranger("lunar-x", modules, entry_points)``."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    made = []

    def add(dist, modules, entry_points):
        dist_info(site, dist, entry_points)
        for name, source in modules.items():
            (site / f"{name}.py").write_text(source)
            made.append(name)

    yield add
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture
def lunar(registry, capsys, tmp_path, monkeypatch):
    """Runs ``lunar`` in an empty directory; gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        code = main([str(a) for a in args])
        out, err = capsys.readouterr()
        return code, out, err

    return run
