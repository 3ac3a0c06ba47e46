"""lunar plugins new: every template makes a package that installs, passes its own tests, trains and is sound, untouched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from packages import build_wheel

from lunar_cli.scaffold import KINDS, write
from lunar_core.errors import ConfigError

ROOT = Path(__file__).parents[3]


def run(*command, cwd, check=True):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "LUNAR", "VIRTUAL_ENV", "PYTEST"))}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**clean, "OMP_NUM_THREADS": "1", "LUNAR_CONFIG": str(cwd / "user.toml")},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{command} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def folder_of(venv):
    return venv / ("Scripts" if os.name == "nt" else "bin")


def distribution(kind):
    return f"lunar-t-{kind.replace('_', '-')}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("-lion", "no name of a distribution"),
        ("lunar-2x", "cannot be a name in Python"),
        ("json", "a module of Python itself"),
        ("numpy", "already"),
        ("lunar-class", "cannot be a name in Python"),
    ],
)
def test_a_name_that_would_not_work_is_refused(tmp_path, name, problem):
    with pytest.raises(ConfigError, match=problem):
        write(name, "optimizer", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_nothing_is_written_over(lunar, tmp_path):
    (tmp_path / "lunar-zed").mkdir()
    (tmp_path / "lunar-zed" / "mine.py").write_text("")
    code, _, err = lunar("plugins", "new", "lunar-zed", "--kind", "layer")
    assert code == 2 and "is not empty" in err
    code, _, err = lunar("plugins", "new", "lunar-zee", "--kind", "optimiser")
    assert code == 2 and "did you mean 'optimizer'" in err


@pytest.mark.parametrize("kind", KINDS)
def test_no_word_of_the_template_is_left(kind, tmp_path):
    made = write("lunar-zed", kind, tmp_path / "zed", "Ada")
    files = [path for path in made.folder.rglob("*") if path.is_file()]
    assert {p.name for p in files} == {
        "pyproject.toml", "README.md", ".gitignore", "test.yml", "__init__.py", "py.typed", "zed.py", "test_zed.py",
    }  # fmt: skip
    for path in files:
        text = path.read_text()
        assert "emplate" not in text.replace("template for", ""), path
        compile(text if path.suffix == ".py" else "", str(path), "exec")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A fresh environment that sees LunarLearn and pytest, with a package of each kind installed from its wheel."""
    home = tmp_path_factory.mktemp("new")
    wheels = [build_wheel(write(distribution(kind), kind, home / distribution(kind), "Ada").folder) for kind in KINDS]
    run(sys.executable, "-m", "venv", "--without-pip", home / "venv", cwd=home)
    python = folder_of(home / "venv") / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).stdout.strip()
    seen = [
        sysconfig.get_path("purelib"),
        *(p for p in sys.path if "site-packages" in p),
        str(ROOT),
        str(ROOT / "plugins"),
    ]
    Path(site, "lunarlearn_of_the_tests.pth").write_text("\n".join(dict.fromkeys(seen)) + "\n")
    for wheel in wheels:
        run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel, cwd=home)
    return home, python


@pytest.mark.packages
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_passes_its_own_tests_which_train_something(environment, kind):
    home, python = environment
    done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=home / distribution(kind), check=False)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout and "failed" not in done.stdout


@pytest.mark.packages
def test_doctor_finds_nothing_wrong_with_them(environment):
    home, python = environment
    done = run(
        python, "-m", "lunar_cli", "doctor", "--json", "--strict", *map(distribution, KINDS), cwd=home, check=False
    )
    report = json.loads(done.stdout)
    assert report["problems"] == [] and done.returncode == 0
    assert {c["dist"]: c["status"] for c in report["components"]} == dict.fromkeys(map(distribution, KINDS), "sound")


@pytest.mark.packages
def test_from_nothing_to_a_published_optimizer(tmp_path):
    """Into a fresh environment with nothing but LunarLearn from its wheel, in under three minutes."""
    start = time.monotonic()
    run(sys.executable, "-m", "lunar_cli", "plugins", "new", "lunar-zed", "--kind", "optimizer", cwd=tmp_path)
    for project in (ROOT, tmp_path / "lunar-zed"):
        run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "wheels", project, cwd=tmp_path)
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    tools = folder_of(tmp_path / "venv")
    wheels = sorted((tmp_path / "wheels").glob("*.whl"))
    run(tools / "python", "-m", "pip", "install", "-q", *wheels, "pytest", cwd=tmp_path)
    out = tmp_path / "run"
    text = run(
        tools / "lunar", "train", "digits-cnn", "--optimizer", "zed", "--epochs", "10", "--out", out, cwd=tmp_path
    )
    assert "lunar-zed/zed" in (out / "config.toml").read_text() and "zed" in text.stdout
    assert json.loads((out / "test.json").read_text())["accuracy"] > 0.9
    run(tools / "python", "-m", "pytest", "-q", cwd=tmp_path / "lunar-zed")
    run(tools / "lunar", "doctor", cwd=tmp_path)
    print(f"from nothing to a published optimizer: {time.monotonic() - start:.0f} s")
