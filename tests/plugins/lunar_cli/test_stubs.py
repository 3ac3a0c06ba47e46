"""lunar plugins stubs: type checkers know a stranger's component by name, and refuse what it does not take."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packages import install

ROOT = Path(__file__).parents[3]
LION = '''
from lunar_core.component import field
from lunar_core.contracts.optimizer import Optimizer

class Lion8bit(Optimizer):
    """Lion with a state of eight bits."""

    lr: float = field(default=1e-4, doc="size of every step")
    block_size: int = 256

    @staticmethod
    def update(p, g, *, lr, block_size):
        return p - lr * g
'''
USE = """import lunar_core as lc

good = lc.optimizers.Lion8bit([], lr=1e-3, block_size=64)
wrong = lc.optimizers.Lion8bit([], blok_size=64)
kind = lc.optimizers.Lion8bit([], lr="fast")
unknown = lc.optimizers.Lion9bit([])
first = lc.layers.Dense(3, use_bias=False)
first_wrong = lc.layers.Dense(3, use_bais=False)
included = lc.layers.ReLU()
by_item = lc.optimizers["lion_8bit"]
rate: float = good.lr
"""
WRONG = {4, 5, 6, 8}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a program and the stubs, and an environment with a stranger's package that has no types."""
    home = tmp_path_factory.mktemp("stubs")
    site = install(home / "site", "lunar-eight", {"lunar_eight": LION},
                   {"lunar.optimizers": {"lion_8bit": "lunar_eight:Lion8bit"}})  # fmt: skip
    path = os.pathsep.join(map(str, (site, ROOT, ROOT / "plugins")))
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("LUNAR_")}, "PYTHONPATH": path}
    command = [sys.executable, "-m", "lunar_cli", "plugins", "stubs"]
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "components of" in done.stdout
    (home / "use.py").write_text(USE)
    return home


def lines_in_error(text):
    return {int(line) for line in re.findall(r"use\.py:(\d+)(?::\d+)?(?: -)?:? error", text)}


def test_the_stubs_are_python_and_name_what_is_installed(project):
    folder = project / "typings" / "lunar_installed"
    for path in folder.glob("*.pyi"):
        compile(path.read_text(), str(path), "exec")
    text = (folder / "_optimizers.pyi").read_text()
    assert "class Lion8bit" in text and "Lion with a state of eight bits." in text and "block_size: int = ..." in text


@pytest.mark.packages
def test_mypy_takes_what_is_right_and_refuses_what_is_not(project):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(project / "cache"), "use.py"], cwd=project,
        env={**os.environ, "MYPYPATH": os.pathsep.join(["typings", str(ROOT)])}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert lines_in_error(done.stdout) == WRONG, done.stdout + done.stderr
    assert 'did you mean "block_size"?' in done.stdout


@pytest.mark.packages
def test_pyright_takes_what_is_right_and_refuses_what_is_not(project):
    command = [sys.executable, "-m", "pyright"] if importlib.util.find_spec("pyright") else [shutil.which("pyright")]
    if command[0] is None:
        pytest.skip("pyright is not installed")
    (project / "pyrightconfig.json").write_text(f'{{"stubPath": "typings", "extraPaths": ["{ROOT}"]}}')
    done = subprocess.run([*command, "use.py"], cwd=project, capture_output=True, text=True, check=False)
    assert lines_in_error(done.stdout) == WRONG, done.stdout + done.stderr
