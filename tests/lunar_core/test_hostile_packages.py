"""Packages of strangers that are broken, rude or in each other's way: built for real, used by a Python of their own.

Each test asks three things: what becomes of the package, what becomes of everything else, and what was imported.
"""

from __future__ import annotations

import pytest
from packages import answers, install, run

pytestmark = pytest.mark.packages

OPTIMIZER = """
from lunar_core.plugins.loading import contract

class {name}(contract("optimizer")):
    lr: float = 1e-3
"""

HEAD = """
import json, sys, warnings
from lunar_core.plugins import registry, PluginWarning
from lunar_core import errors

def outcome(kind, name):
    try:
        target = registry.get(kind, name)
    except errors.LunarError as error:
        return [type(error).__name__, str(error)]
    return ["ok", target.__module__]
"""


def optimizer(name="Adam"):
    return OPTIMIZER.format(name=name)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One environment with a first party, a well-behaved stranger and every kind of misbehaviour."""
    site = tmp_path_factory.mktemp("hostile") / "site"
    first = "\n".join(optimizer(n) for n in ("Adam", "Sgd"))
    install(
        site,
        "lunarlearn",
        {"first_party": first},
        {"lunar.optimizers": {"adam": "first_party:Adam", "sgd": "first_party:Sgd"}},
    )
    install(
        site,
        "lunar-lion",
        {"lunar_lion": optimizer("Lion") + "\n\nclass Watch:\n    def lunar_after_step(self, step): pass\n"},
        {"lunar.optimizers": {"lion": "lunar_lion:Lion"}, "lunar.plugins": {"watch": "lunar_lion:Watch"}},
        "0.3.1",
    )
    for dist, source, entry in [
        ("bad-import", "import a_module_that_nobody_has\n", "Bad"),
        ("bad-syntax", "def broken(:\n", "Bad"),
        ("bad-base", "class Bad:\n    pass\n", "Bad"),
        ("bad-attribute", optimizer("Good"), "Missing"),
        ("bad-api", optimizer("Bad") + "    api = (2, 0)\n", "Bad"),
        ("bad-package-api", "PLUGIN_API = (7, 0)\n" + optimizer("Bad"), "Bad"),
        ("bad-exit", "import sys\nsys.exit(3)\n", "Bad"),
        ("bad-recursion", "def f(): return f()\nf()\n", "Bad"),
        ("bad-target", optimizer("Bad"), "not an identifier"),
    ]:
        module = dist.replace("-", "_")
        install(site, dist, {module: source}, {"lunar.optimizers": {dist: f"{module}:{entry}"}})
    install(
        site,
        "bad-hook",
        {"bad_hook": "def lunar_after_stepp(step): pass\n", "bad_hook_import": "1 / 0\n"},
        {"lunar.plugins": {"typo": "bad_hook", "raises": "bad_hook_import"}},
    )
    for dist in ("clash-one", "clash-two"):
        module = dist.replace("-", "_")
        install(site, dist, {module: optimizer("Sam")}, {"lunar.optimizers": {"sam": f"{module}:Sam"}})
    install(site, "thief", {"thief": optimizer()}, {"lunar.optimizers": {"adam": "thief:Adam"}})
    return site


@pytest.mark.parametrize(
    ("dist", "cause"),
    [
        ("bad-import", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
        ("bad-syntax", "SyntaxError: invalid syntax"),
        ("bad-base", "Bad is not a subclass of lunar_core."),
        ("bad-attribute", "AttributeError: module 'bad_attribute' has no attribute 'Missing'"),
        ("bad-api", "it is written for plugin API 2.0, this is 1.0: it needs a newer lunarlearn"),
        ("bad-package-api", "it is written for plugin API 7.0"),
        ("bad-exit", "its import tried to end the program (SystemExit: 3)"),
        ("bad-recursion", "RecursionError"),
        ("bad-target", "does not read module:Class"),
    ],
)
def test_a_broken_component_is_one_clear_error_and_everything_else_works(site, dist, cause):
    result = answers(
        HEAD
        + f"""
first = outcome("optimizer", "{dist}")
again = outcome("optimizer", "{dist}")
info = registry.info("optimizer", "{dist}")
print(json.dumps({{
    "first": first, "again": again, "status": info.status, "traceback": info.traceback,
    "others": [outcome("optimizer", n) for n in ("sgd", "lion")],
    "listed": "{dist}" in registry.names("optimizer"),
}}))
""",
        site,
    )
    kind, message = result["first"]
    assert kind == "PluginLoadError" and cause in message
    assert message.startswith(f"optimizer '{dist}' of {dist} 1.0 (")
    assert f'LUNAR_DISABLE_PLUGINS="optimizers.{dist}"' in message and f"--no-plugin optimizers.{dist}" in message
    assert (
        result["again"] == result["first"] and result["status"] == "broken" and result["traceback"] and result["listed"]
    )
    assert result["others"] == [["ok", "first_party"], ["ok", "lunar_lion"]]


def test_the_error_keeps_its_cause_for_whoever_wants_the_traceback(site):
    done = run('from lunar_core.plugins import registry\nregistry.get("optimizer", "bad-import")', site)
    assert done.returncode == 1
    assert 'bad_import.py", line 1' in done.stderr and "The above exception was the direct cause" in done.stderr


def test_the_users_own_interrupt_is_not_contained(tmp_path):
    site = install(
        tmp_path / "site", "slow", {"slow": "raise KeyboardInterrupt\n"}, {"lunar.optimizers": {"slow": "slow:Slow"}}
    )
    done = run('from lunar_core.plugins import registry\nregistry.get("optimizer", "slow")', site)
    assert done.returncode != 0 and "KeyboardInterrupt" in done.stderr and "PluginLoadError" not in done.stderr


def test_listing_a_hostile_environment_imports_none_of_it(site):
    result = answers(
        HEAD
        + """
import lunar_core.plugins.manager
before = set(sys.modules)
names = registry.names("optimizer")
rows = [c.as_dict() for c in registry.components()]
plugins = sorted(name for name, _ in registry.manager.list_name_plugin())
print(json.dumps({"names": names, "rows": rows, "plugins": plugins, "new": sorted(set(sys.modules) - before)}))
""",
        site,
    )
    assert {"adam", "sgd", "lion", "bad-exit", "thief/adam", "clash-one/sam", "clash-two/sam"} <= set(result["names"])
    assert (
        "sam" not in result["names"] and "optimizers.adam" in result["plugins"] and "plugins.typo" in result["plugins"]
    )
    ours = ("bad", "clash", "thief", "lunar_lion", "first_party")
    assert not [m for m in result["new"] if m.startswith(ours)]
    row = next(r for r in result["rows"] if r["name"] == "lion")
    assert row == {
        "kind": "optimizer",
        "name": "lion",
        "target": "lunar_lion:Lion",
        "dist": "lunar-lion",
        "version": "0.3.1",
        "status": "available",
    }


def test_two_strangers_with_one_name_are_an_error_that_names_both(site):
    result = answers(
        HEAD
        + """
print(json.dumps({
    "bare": outcome("optimizer", "sam"), "one": outcome("optimizer", "clash-one/sam"),
    "two": outcome("optimizer", "clash-two/sam"), "early": "clash_one" in sys.modules,
}))
""",
        site,
    )
    kind, message = result["bare"]
    assert kind == "PluginConflictError"
    assert "clash-one 1.0 (clash_one:Sam)" in message and "clash-two 1.0 (clash_two:Sam)" in message
    assert result["one"] == ["ok", "clash_one"] and result["two"] == ["ok", "clash_two"]


def test_the_order_of_installation_does_not_decide(tmp_path):
    packages = {
        "zz": ({"zz": optimizer("Sam")}, {"lunar.optimizers": {"sam": "zz:Sam", "adam": "zz:Sam"}}),
        "lunarlearn": ({"first_party": optimizer()}, {"lunar.optimizers": {"adam": "first_party:Adam"}}),
        "aa": ({"aa": optimizer("Sam")}, {"lunar.optimizers": {"sam": "aa:Sam", "adam": "aa:Sam"}}),
    }
    code = (
        HEAD
        + 'print(json.dumps([outcome("optimizer", "sam"), outcome("optimizer", "adam"), registry.names("optimizer")]))'
    )
    results = []
    for folder, order in (("x", ["zz", "lunarlearn", "aa"]), ("y", ["aa", "lunarlearn", "zz"])):
        sites = [install(tmp_path / folder / dist, dist, *packages[dist]) for dist in order]
        results.append(answers(code, *sites))
    assert results[0] == results[1]
    assert results[0][0][0] == "PluginConflictError" and results[0][1] == ["ok", "first_party"]


def test_a_stranger_who_takes_adam_does_not_get_it_and_the_user_is_told(site):
    result = answers(
        HEAD
        + """
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    adam = outcome("optimizer", "adam")
print(json.dumps({
    "adam": adam, "warnings": [str(w.message) for w in seen], "imported": "thief" in sys.modules,
    "thief": outcome("optimizer", "thief/adam"),
}))
""",
        site,
    )
    assert result["adam"] == ["ok", "first_party"] and not result["imported"]
    assert len(result["warnings"]) == 1 and "'thief/adam'" in result["warnings"][0]
    assert result["thief"] == ["ok", "thief"]


def test_the_user_may_give_adam_to_the_stranger(site, tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.lunar.override]\n"optimizers.adam" = "thief"\n"optimizers.sam" = "clash-two"\n'
    )
    code = (
        HEAD + 'warnings.simplefilter("error")\nprint(json.dumps([outcome("optimizer", n) for n in ("adam", "sam")]))'
    )
    assert answers(code, site, cwd=tmp_path) == [["ok", "thief"], ["ok", "clash_two"]]


def test_a_shadowed_distribution_does_not_contribute(tmp_path):
    new = install(
        tmp_path / "new",
        "lunar-lion",
        {"lion_two": optimizer("Lion")},
        {"lunar.optimizers": {"roar": "lion_two:Lion"}},
        "2.0",
    )
    old = install(
        tmp_path / "old",
        "lunar-lion",
        {"lion_one": optimizer("Lion")},
        {"lunar.optimizers": {"roar": "lion_one:Lion", "gone": "lion_one:Lion"}},
        "1.0",
    )
    code = (
        HEAD
        + """
version = registry.info("optimizer", "roar").version
names = [name for name in registry.names("optimizer") if name in ("roar", "gone")]
print(json.dumps([version, names, outcome("optimizer", "roar")]))
"""
    )
    assert answers(code, new, old) == ["2.0", ["roar"], ["ok", "lion_two"]]


def test_broken_hook_plugins_are_named_and_the_good_one_hears(site):
    result = answers(
        HEAD
        + """
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    working = [name for name, _ in registry.manager.hook_plugins()]
bus = registry.manager.bus
bus.after_step(1)
print(json.dumps({
    "working": working, "warnings": [str(w.message) for w in seen],
    "statuses": {c.name: c.status for c in registry.components("plugin")},
}))
""",
        site,
    )
    assert result["working"] == ["plugins.watch"]
    assert result["statuses"] == {"raises": "broken", "typo": "broken", "watch": "loaded"}
    assert len(result["warnings"]) == 2
    assert any("plugin 'typo' of bad-hook 1.0 (bad_hook)" in w and "lunar_after_step'" in w for w in result["warnings"])
    assert any("ZeroDivisionError" in w for w in result["warnings"])


def test_strict_makes_a_broken_hook_plugin_fatal(site):
    done = run(
        "from lunar_core.plugins import registry\nregistry.manager.hook_plugins()",
        site,
        env={"LUNAR_PLUGIN_STRICT": "1"},
    )
    assert done.returncode == 1 and "PluginLoadError" in done.stderr


BLOCKED = (
    HEAD
    + """
registry.disable(*sys.argv[1:])
got = outcome("optimizer", "lion")
working = outcome("optimizer", "sgd")
warnings.simplefilter("ignore")
registry.manager.hook_plugins()
names = registry.names("optimizer")
print(json.dumps({"got": got, "working": working, "lion": "lunar_lion" in sys.modules, "names": names}))
"""
)


@pytest.mark.parametrize(
    ("route", "env", "file", "text", "code"),
    [
        ("name", {"LUNAR_DISABLE_PLUGINS": "optimizers.lion,plugins.watch"}, None, "", BLOCKED),
        ("distribution", {"LUNAR_DISABLE_PLUGINS": "dist:lunar_lion"}, None, "", BLOCKED),
        ("autoload", {"LUNAR_DISABLE_PLUGIN_AUTOLOAD": "1"}, None, "", BLOCKED),
        ("pyproject", {}, "pyproject.toml", '[tool.lunar]\ndisable = ["dist:lunar-lion"]\n', BLOCKED),
        ("lunar.toml", {}, "lunar.toml", 'disable = ["optimizers.lion", "plugins.wat*"]\n', BLOCKED),
        (
            "call",
            {},
            None,
            "",
            BLOCKED.replace("*sys.argv[1:]", '"optimizers.lion", "plugins.watch", source="--no-plugin"'),
        ),
    ],
)
def test_what_is_switched_off_is_never_imported(site, tmp_path, route, env, file, text, code):
    (tmp_path / "deeper").mkdir()
    if file:
        (tmp_path / file).write_text(text)
    result = answers(code, site, cwd=tmp_path / "deeper", env=env)
    assert result["got"][0] == "PluginBlockedError" and "lunar-lion 0.3.1 (lunar_lion:Lion)" in result["got"][1]
    assert not result["lion"] and "lion" not in result["names"]
    assert result["working"] == ["ok", "first_party"]


def test_a_config_of_a_strangers_component_names_its_distribution_and_says_when_it_is_missing(site, tmp_path):
    code = (
        HEAD
        + """
from lunar_core.config import from_config, to_config, provenance
import lunar_lion
with_params = "params" in str(__import__("inspect").signature(lunar_lion.Lion))
lion = lunar_lion.Lion([], lr=0.5) if with_params else lunar_lion.Lion(lr=0.5)
config = to_config(lion)
print(json.dumps([config, provenance(config)]))
"""
    )
    config, rows = answers(code, site)
    assert config["@optimizer"] == "lunar-lion/lion" and config["lr"] == 0.5
    assert rows == [{"kind": "optimizer", "name": "lion", "dist": "lunar-lion", "version": "0.3.1"}]
    code = "from lunar_core.config import from_config\nfrom_config({'@optimizer': 'lunar-lion/lion', 'lr': 0.5})"
    done = run(code, cwd=tmp_path)
    assert (
        done.returncode == 1 and "ConfigError: optimizer: " in done.stderr and "pip install lunar-lion" in done.stderr
    )
