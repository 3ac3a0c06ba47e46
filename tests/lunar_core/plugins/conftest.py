"""An environment of its own for each test of the plugin system.

Packages here are metadata written by hand beside a module; those that are really built, and misbehave, are in
``test_hostile_packages.py``.
"""

from __future__ import annotations

import os
import sys

import pytest


@pytest.fixture(autouse=True)
def nothing_set_outside(monkeypatch, tmp_path):
    for name in [n for n in os.environ if n.startswith("LUNAR_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on ``sys.path``; modules imported from it are forgotten after the test."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
