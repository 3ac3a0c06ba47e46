"""A stranger's package, built and installed for real beside ours, trains the first recipe by name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.packages


def run(*command, cwd, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "LUNAR", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A fresh virtual environment with our wheel and the stranger's; gives its bin directory."""
    home = tmp_path_factory.mktemp("lion")
    for project in (ROOT, ROOT / "examples" / "third_party" / "lunar-lion"):
        run(sys.executable, "-m", "build", "--wheel", "--outdir", home / "wheels", project, cwd=home)
    run(sys.executable, "-m", "venv", home / "venv", cwd=home)
    bin_dir = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    run(bin_dir / "python", "-m", "pip", "install", "-q", *sorted((home / "wheels").glob("*.whl")), cwd=home)
    return bin_dir


def test_the_package_imports_nothing_from_us_but_the_core():
    sources = list((ROOT / "examples" / "third_party" / "lunar-lion" / "lunar_lion").glob("*.py"))
    assert sources
    for source in sources:
        imports = [line.split()[1] for line in source.read_text().splitlines() if line.startswith(("import ", "from "))]
        assert not [
            m for m in imports if m.startswith("lunar_") and m.split(".")[0] not in ("lunar_core", "lunar_lion")
        ]


def test_its_components_are_listed_with_their_origin(environment, tmp_path):
    rows = json.loads(run(environment / "lunar", "plugins", "list", "--json", cwd=tmp_path))
    mine = {(r["kind"], r["name"], r["dist"]) for r in rows if r["dist"] == "lunar-lion"}
    assert mine == {("optimizer", "lion", "lunar-lion"), ("plugin", "lion_agreement", "lunar-lion")}
    assert ("optimizer", "adamw", "lunarlearn") in {(r["kind"], r["name"], r["dist"]) for r in rows}


def test_it_trains_the_digits_by_name_and_its_hook_takes_part(environment, tmp_path):
    out = tmp_path / "run"
    text = run(
        environment / "lunar", "train", "digits-cnn", "--optimizer", "lunar-lion/lion", "--set", "optimizer.lr=5e-4",
        "--epochs", "12", "--out", out, cwd=tmp_path,
    )  # fmt: skip
    assert "lunar-lion/lion" in text and "lunar-lion/lion" in (out / "config.toml").read_text()
    assert json.loads((out / "test.json").read_text())["accuracy"] >= 0.96
    history = json.loads((out / "history.json").read_text())
    assert "sign_agreement" in json.dumps(history)
    assert json.loads((out / "environment.json").read_text())


def test_its_hook_plugin_is_switched_off_by_name(environment, tmp_path):
    out = tmp_path / "run"
    run(
        environment / "lunar", "train", "digits-cnn", "--epochs", "1", "--out", out,
        cwd=tmp_path, LUNAR_DISABLE_PLUGINS="plugins.lion_agreement",
    )  # fmt: skip
    assert "sign_agreement" not in (out / "history.json").read_text()
