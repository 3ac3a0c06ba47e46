"""lunar doctor names each of twenty-odd hostile packages with its cause; none takes the command line down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packages import dist_info, install, write_project

ROOT = Path(__file__).parents[3]
OPTIMIZER = '''
from lunar_core.contracts.optimizer import Optimizer

class {name}(Optimizer):
    """Gradient descent."""

    lr: float = 1e-3

    @staticmethod
    def update(p, g, *, lr):
        return p - lr * g
'''
HOOK = "from lunar_core import hookimpl\nimport time\n\nclass Plugin:\n    band = {band!r}\n\n    {code}\n"


def good(name="Good"):
    return OPTIMIZER.format(name=name)


def hook(code, band="reader"):
    return HOOK.format(band=band, code=code)


#: Distribution -> (source, target, check, a part of the cause). Targets with "plugin:" are hook plugins.
HOSTILE = {
    "bad-import": ("1 / 0\n", "Bad", "import", "ZeroDivisionError: division by zero"),
    "bad-slow": ("import time; time.sleep(1.5)\n" + good(), "Good", "slow", "its import took"),
    "bad-prints": ("print('buy my course')\n" + good(), "Good", "prints", "'buy my course'"),
    "bad-exit": ("import sys\nsys.exit(3)\n", "Bad", "import", "tried to end the program (SystemExit: 3)"),
    "bad-exit-hard": ("import os\nos._exit(7)\n", "Bad", "import", "it ended the process with exit code 7"),
    "bad-kill": ("import os\nos.abort()\n", "Bad", "import", "it ended the process by signal SIGABRT"),
    "bad-endless": ("while True: pass\n", "Bad", "import", "it did not come to an end: it stood at bad_endless.py, line 1"),
    "bad-recursion": ("def f(): return f()\nf()\n", "Bad", "import", "RecursionError"),
    "bad-type": ("Bad = 3\n", "Bad", "import", "optimizer components are classes, this is an int"),
    "bad-base": ("class Bad:\n    pass\n", "Bad", "import", "is not a subclass of lunar_core.contracts.optimizer"),
    "bad-api": ("PLUGIN_API = (2, 0)\n" + good(), "Good", "api", "it is written for plugin API 2.0"),
    "bad-dependency": ("import nobody_has_this\n", "Bad", "import", "No module named 'nobody_has_this'"),
    "bad-attribute": (good(), "Missing", "import", "has no attribute 'Missing'"),
    "bad-target": (good(), "no identifier", "target", "does not read module:Class"),
    "bad-typo": (hook("def lunar_after_stepp(self): pass"), "plugin:Plugin", "hook", "lunar_after_step'"),
    "bad-argument": (hook("def lunar_after_step(self, stepp): pass"), "plugin:Plugin", "hook", "no argument 'stepp'"),
    "bad-raises": (hook("def lunar_after_step(self): 1 / 0"), "plugin:Plugin", "run", "lunar_after_step raised ZeroDivision"),
    "bad-hangs": (
        hook("def lunar_epoch_end(self): time.sleep(1e6)"), "plugin:Plugin", "run",
        "it did not come to an end: it stood at bad_hangs.py, line 7, in lunar_epoch_end",
    ),
    "bad-mutates": (
        hook("def lunar_after_step(self, ctx): next(iter(ctx.model.parameters())).data += 1"), "plugin:Plugin", "mutates",
        "in a band that may only look, yet a small run with it ends with other weights",
    ),
    "bad-thief": (good("Adam"), "adam=Adam", "conflict", "the bare name 'adam' means the optimizer of lunarlearn"),
    "bad-twin": (good("Sam"), "twin=Sam", "conflict", "bad-twin-too has an optimizer of the same name"),
    "bad-twin-too": (good("Sam"), "twin=Sam", "conflict", "bad-twin has an optimizer of the same name"),
    "bad-unicode": (good(), "аdam=Good", "name", "U+0430"),
    "bad-reserved": (good(), "none=Good", "name", "is a reserved word"),
    "bad-kernel": ("class Provider:\n    '''Nothing.'''\n    def __init__(self): 1 / 0\n", "kernel:Provider", None, ""),
    "bad-command": ("import sys\nsys.exit(4)\n", "command:bad", "import", "tried to end the program"),
}  # fmt: skip


def entries(dist, module, target):
    group, colon, attribute = target.partition(":")
    if colon:
        return {f"lunar.{group}s": {dist.replace("-", "_"): f"{module}:{attribute}"}}
    name, equals, attribute = target.partition("=")
    return {"lunar.optimizers": {name if equals else dist: f"{module}:{attribute if equals else target}"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """An environment with every kind of misbehaviour, ours beside it."""
    home = tmp_path_factory.mktemp("hostile")
    site = home / "site"
    for dist, (source, target, _, _) in HOSTILE.items():
        module = dist.replace("-", "_")
        install(site, dist, {module: source}, entries(dist, module, target))
    install(
        home / "shadow", "bad-shadow", {"bad_shadow": good()}, {"lunar.optimizers": {"shade": "bad_shadow:Good"}}, "1.0"
    )
    install(site, "bad-shadow", {"bad_shadow": good()}, {"lunar.optimizers": {"shade": "bad_shadow:Good"}}, "2.0")
    dist_info(site, "bad-metadata", {"lunar.optimizers": {"x": "nowhere:X"}})
    (site / "bad_metadata-1.0.dist-info" / "entry_points.txt").write_bytes(b"[lunar.optimizers]\nx = \xff\xfe\n")
    dist_info(site, "bad-twice", {})
    lines = "[lunar.optimizers]\nsame = bad_api:Good\nsame = bad_slow:Good\n"
    (site / "bad_twice-1.0.dist-info" / "entry_points.txt").write_text(lines)
    dist_info(site, "bad-requires", {"lunar.optimizers": {"requires": "bad_unicode:Good"}})
    with open(site / "bad_requires-1.0.dist-info" / "METADATA", "a") as file:
        file.write("Requires-Python: >=4\nRequires-Dist: numpy<1\nRequires-Dist: nobody-has-this>=2\n")
    project = write_project(
        home, "bad-editable", {"bad_editable": good()}, {"lunar.optimizers": {"new": "bad_editable:Good"}}
    )
    dist_info(site, "bad-editable", {"lunar.optimizers": {"old": "bad_editable:Good"}})
    record = json.dumps({"url": project.as_uri(), "dir_info": {"editable": True}})
    (site / "bad_editable-1.0.dist-info" / "direct_url.json").write_text(record)
    (site / "bad_editable.pth").write_text(f"{project}\n")
    dist_info(site, "bad-gone", {"lunar.optimizers": {"gone": "bad_gone:Good"}})
    record = json.dumps({"url": (home / "gone").as_uri(), "dir_info": {"editable": True}})
    (site / "bad_gone-1.0.dist-info" / "direct_url.json").write_text(record)
    return [site, home / "shadow", home]


def lunar(site, cwd, *args, **env):
    """Run the command line among the hostile packages, in ``cwd``."""
    path = os.pathsep.join(map(str, (*site, ROOT, ROOT / "plugins")))
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LUNAR_")}
    settings = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "LUNAR_CONFIG": str(cwd / "user.toml")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "lunar_cli", *map(str, args)], capture_output=True, text=True, cwd=cwd,
        env={**clean, **settings, **env}, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(site, tmp_path_factory):
    done = lunar(site, tmp_path_factory.mktemp("doctor"), "doctor", "--json", "--timeout", "4")
    assert done.returncode == 1, done.stderr
    return json.loads(done.stdout)


MORE = {
    "bad-shadow": ("shadowed", "is shadowed by bad-shadow 2.0"),
    "bad-metadata": ("metadata", "entry_points.txt cannot be read: UnicodeDecodeError"),
    "bad-twice": ("duplicate", "announces the name 'same' 2 times"),
    "bad-requires": ("requirement", "it needs nobody-has-this>=2, which is not installed"),
    "bad-editable": ("editable", "has changed since it was installed: gone optimizers.old, new optimizers.new"),
    "bad-gone": ("editable", "which is gone"),
}
CAUSES = {dist: (check, cause) for dist, (_, _, check, cause) in HOSTILE.items() if check} | MORE


@pytest.mark.packages
@pytest.mark.parametrize("dist", CAUSES)
def test_doctor_names_each_with_its_cause(report, dist):
    check, cause = CAUSES[dist]
    found = [(p["check"], p["cause"]) for p in report["problems"] if p["dist"] == dist]
    assert [text for kind, text in found if kind == check and cause in text], found


@pytest.mark.packages
def test_doctor_blames_nobody_else_and_tells_of_the_machine(report):
    ours = [p for p in report["problems"] if p["dist"] == "lunarlearn" and p["check"] != "requirement"]
    assert ours == [] and not report["ok"]
    assert {row["name"] for row in report["kernels"]} >= {"onednn", "numba"}
    assert report["devices"][0]["name"] == "cpu" and report["devices"][0]["available"]
    assert {c["status"] for c in report["components"] if c["dist"] == "lunarlearn"} <= {"sound"}
    requires = [p["cause"] for p in report["problems"] if p["dist"] == "bad-requires"]
    assert any("it needs Python >=4" in c for c in requires) and any(
        "numpy<1, installed is numpy" in c for c in requires
    )


@pytest.mark.packages
def test_the_list_survives_and_imports_none_of_them(site, tmp_path):
    done = lunar(site, tmp_path, "plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert {"bad-exit-hard", "bad-endless", "bad-kill"} <= {row["dist"] for row in json.loads(done.stdout)}


@pytest.mark.packages
def test_completion_survives(site, tmp_path):
    done = lunar(site, tmp_path, _LUNAR_COMPLETE="bash_complete", COMP_WORDS="lunar ", COMP_CWORD="1")
    assert done.returncode == 0 and "train" in done.stdout, done.stderr


@pytest.mark.packages
def test_training_survives_and_says_what_was_left_out(site, tmp_path):
    out = tmp_path / "run"
    # A reader that never returns holds the run until it is interrupted; doctor names it.
    done = lunar(
        site, tmp_path, "train", "digits-cnn", "--epochs", "1", "--out", out, LUNAR_DISABLE_PLUGINS="dist:bad-hangs"
    )
    assert done.returncode == 0, done.stderr
    assert (out / "test.json").exists()
    for text in ("bad_typo", "bad_raises", "is switched off for this run", "kernel provider 'bad_kernel' is left out"):
        assert text in done.stderr, text


@pytest.mark.packages
def test_a_sound_environment_is_told_so_and_one_distribution_can_be_asked_for(site, tmp_path):
    done = lunar(site, tmp_path, "doctor", "bad-shadow", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["ok"] and {c["dist"] for c in report["components"]} == {"bad-shadow"}
    assert lunar(site, tmp_path, "doctor", "bad-shadow", "--strict").returncode == 1
    done = lunar(site, tmp_path, "doctor", "bad-shadw")
    assert done.returncode == 2 and "did you mean 'bad-shadow'" in done.stderr


@pytest.mark.packages
def test_four_hundred_strangers_are_listed_without_importing_one(tmp_path):
    site = tmp_path / "site"
    for k in range(400):
        dist_info(site, f"lunar-many-{k}", {"lunar.optimizers": {f"many_{k}": f"lunar_many_{k}:Many"}})
    done = lunar([site], tmp_path, "plugins", "list", "--kind", "optimizer", "--json")
    rows = json.loads(done.stdout)
    assert sum(row["dist"].startswith("lunar-many") for row in rows) == 400
    assert {row["status"] for row in rows} == {"available"} and done.stderr == ""
