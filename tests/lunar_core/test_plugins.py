"""Discovery, names, conflicts, blocking, namespaces and the manager, on metadata written by hand.

Packages that are really built, and that misbehave, are in ``test_hostile_packages.py``.
"""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
import threading
import warnings

import pluggy
import pytest
from packages import answers, dist_info

from lunar_core.component import Component
from lunar_core.errors import (
    ConfigError,
    HookError,
    PluginBlockedError,
    PluginConflictError,
    PluginError,
    PluginLoadError,
    UnknownNameError,
)
from lunar_core.plugins import (
    CONTRACTS,
    GROUPS,
    NAMESPACES,
    ComponentPlugin,
    Namespace,
    PluginWarning,
    Registry,
    Settings,
    read_settings,
)
from lunar_core.plugins.discovery import discover, entry_points, normalize, well_formed
from lunar_core.plugins.loading import contract, fault
from lunar_core.plugins.settings import nearest_table

OPTIMIZER = """
from lunar_core.plugins.loading import contract

class Adam(contract("optimizer")):
    lr: float = 1e-3

class Sgd(Adam):
    pass
"""


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


def module(site, name, source=OPTIMIZER):
    (site / f"{name}.py").write_text(textwrap.dedent(source))
    importlib.invalidate_caches()
    return name


def package(site, dist, optimizers, source=OPTIMIZER, version="1.0"):
    """A distribution with optimizers (registry name to class name) in one module named after it."""
    name = module(site, dist.replace("-", "_"), source)
    dist_info(site, dist, {"lunar.optimizers": {n: f"{name}:{c}" for n, c in optimizers.items()}}, version)
    return name


def registry_of(site, **settings):
    return Registry([str(site)], Settings(**settings))


def stated(registry, *tokens):
    registry.disable(*tokens)
    return registry


# --- discovery ------------------------------------------------------------------------------------------------------


def test_discovery_reads_metadata_and_imports_nothing(site):
    package(site, "foo-opt", {"adam": "Adam", "sgd": "Sgd"})
    registry = registry_of(site)
    assert registry.names("optimizer") == ["adam", "sgd"]
    info = registry.info("optimizer", "sgd")
    assert info.as_dict() == {
        "kind": "optimizer",
        "name": "sgd",
        "target": "foo_opt:Sgd",
        "dist": "foo-opt",
        "version": "1.0",
        "status": "available",
    }
    assert "foo_opt" not in sys.modules
    adam = registry.get("optimizer", "adam")
    assert adam is sys.modules["foo_opt"].Adam
    assert [registry.info("optimizer", n).status for n in ("adam", "sgd")] == ["loaded", "available"]


def test_names_take_a_pattern_and_are_sorted(site):
    package(site, "foo", {"adamw": "Adam", "sgd": "Sgd", "adam": "Adam"})
    registry = registry_of(site)
    assert registry.names("optimizer", "ada*") == ["adam", "adamw"]
    assert registry.names("layer") == []


def test_a_shadowed_distribution_is_dropped(tmp_path):
    near, far = tmp_path / "near", tmp_path / "far"
    dist_info(near, "Foo.Opt", {"lunar.optimizers": {"new": "foo:New"}}, "2.0")
    dist_info(far, "foo-opt", {"lunar.optimizers": {"old": "foo:Old"}}, "1.0")
    found, problems = discover([str(near), str(far)])
    assert [(c.dist, c.version, c.name) for c in found] == [("foo-opt", "2.0", "new")] and not problems


def test_a_shadowing_distribution_without_components_hides_them_too(tmp_path):
    near, far = tmp_path / "near", tmp_path / "far"
    dist_info(near, "foo", {}, "2.0")
    dist_info(far, "foo", {"lunar.optimizers": {"old": "foo:Old"}}, "1.0")
    assert discover([str(near), str(far)]) == ([], [])


def test_components_are_sorted_by_distribution_and_name_whatever_the_order_on_disk(tmp_path):
    for dist in ("zoo", "bar", "mid"):
        dist_info(tmp_path, dist, {"lunar.losses": {f"b-{dist}": "m:B", f"a-{dist}": "m:A"}})
    found, _ = discover([str(tmp_path)])
    assert [(c.dist, c.name) for c in found] == sorted((c.dist, c.name) for c in found) and len(found) == 6


def test_unreadable_metadata_is_named_and_the_rest_is_found(tmp_path):
    dist_info(tmp_path, "good", {"lunar.losses": {"mse": "m:Mse"}})
    broken = dist_info(tmp_path, "bad", {"lunar.losses": {"x": "m:X"}}) / "bad-1.0.dist-info" / "entry_points.txt"
    broken.write_bytes(b"[lunar.losses]\nx = \xff\xfe:X\n")
    found, problems = discover([str(tmp_path)])
    assert [c.name for c in found] == ["mse"]
    assert len(problems) == 1 and "UnicodeDecodeError" in problems[0]


def test_a_misspelled_group_is_named_with_the_nearest_one(tmp_path):
    dist_info(tmp_path, "foo", {"lunar.optimiser": {"x": "m:X"}, "lunaria.things": {"y": "m:Y"}})
    _, problems = discover([str(tmp_path)])
    assert problems == [
        "foo 1.0 puts 'x' into the group 'lunar.optimiser', which does not exist; did you mean 'lunar.optimizers'?"
    ]
    with pytest.warns(PluginWarning, match=r"lunar\.optimiser"):
        registry_of(tmp_path).names("optimizer")


def test_entry_points_are_parsed_as_installers_write_them():
    text = ["# comment", "[lunar.losses]", "mse= mod.sub:Mse [extra]", "", "; more", "[console_scripts]", "a = b:c"]
    assert list(entry_points(text)) == [("lunar.losses", "mse", "mod.sub:Mse"), ("console_scripts", "a", "b:c")]
    assert well_formed("a.b:C.d") and well_formed("a") and not well_formed("a:") and not well_formed("a b:C")
    assert not well_formed("os;x:y") and normalize("A_b.-C") == "a-b-c"


def test_every_group_has_a_kind_a_namespace_and_a_contract_that_exists_where_its_module_does():
    assert (
        GROUPS["loss"] == "lunar.losses" and NAMESPACES["losses"] == "loss" and NAMESPACES["finetuning"] == "finetuning"
    )
    assert "plugins" not in NAMESPACES and "kernels" not in NAMESPACES
    for kind in CONTRACTS:
        base = contract(kind)
        assert issubclass(base, Component) and (base is Component or base.kind == kind), kind


def test_having_the_registry_costs_no_import_of_what_only_its_use_needs():
    code = """
import json, sys
import attrs, numpy
before = set(sys.modules)
import lunar_core.plugins, lunar_core.component, lunar_core.config
heavy = {"pluggy", "importlib.metadata", "tomllib", "difflib", "lunar_core.hookspecs", "lunar_core.plugins.manager"}
print(json.dumps(sorted(heavy & (set(sys.modules) - before))))
"""
    assert answers(code) == []


# --- names ----------------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_answered_with_the_nearest_ones(site):
    package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
    registry = registry_of(site)
    with pytest.raises(
        UnknownNameError, match=r"there is no optimizer 'adem'; did you mean 'adam'\?\n  there are adam, sgd"
    ):
        registry.get("optimizer", "adem")
    with pytest.raises(UnknownNameError, match="did you mean 'adam'"):
        registry.get("optimizer", "Adam")
    with pytest.raises(UnknownNameError, match="there is an optimizer of that name"):
        registry.get("loss", "adam")
    with pytest.raises(UnknownNameError, match="no kind of component 'optimizers'; did you mean 'optimizer'"):
        registry.names("optimizers")
    with pytest.raises(UnknownNameError, match="is a string, got 3"):
        registry.get("optimizer", 3)
    with pytest.raises(UnknownNameError, match="'nobody', which is not installed\n  pip install nobody"):
        registry.get("optimizer", "nobody/adam")
    with pytest.raises(UnknownNameError, match="there is no optimizer 'foo/xyz'"):
        registry.get("optimizer", "foo/xyz")


def test_create_calls_the_class_with_what_it_is_given(site):
    package(site, "foo", {"adam": "Adam"})
    registry = registry_of(site)
    assert isinstance(registry.get("optimizer", "foo/adam"), type)
    with pytest.raises(Exception, match="'qqq'"):
        registry.create("optimizer", "adam", qqq=3)


def test_a_name_taken_by_two_strangers_is_an_error_on_use_that_names_both(site):
    package(site, "foo", {"lion": "Adam", "only": "Sgd"})
    package(site, "bar", {"lion": "Adam"}, version="2.0")
    registry = registry_of(site)
    assert registry.names("optimizer") == ["bar/lion", "foo/lion", "only"]
    assert registry.names("optimizer", "lion") == ["bar/lion", "foo/lion"]
    assert {c.status for c in registry.components("optimizer") if c.name == "lion"} == {"conflict"}
    with pytest.raises(PluginConflictError) as caught:
        registry.get("optimizer", "lion")
    assert "bar 2.0 (bar:Adam)" in str(caught.value) and "foo 1.0 (foo:Adam)" in str(caught.value)
    assert '"optimizers.lion" = "bar"' in str(caught.value)
    assert "foo" not in sys.modules and "bar" not in sys.modules
    assert registry.get("optimizer", "bar/lion").__module__ == "bar"
    assert registry.get("optimizer", "Foo/lion").__module__ == "foo"


def test_a_first_party_name_stays_first_party_with_one_warning(site):
    package(site, "lunarlearn", {"adam": "Adam"})
    package(site, "aaa", {"adam": "Adam"})
    registry = registry_of(site)
    with pytest.warns(
        PluginWarning, match="'adam' means lunarlearn 1.0 .*; aaa has one of the same name.* 'aaa/adam'"
    ) as w:
        assert registry.get("optimizer", "adam").__module__ == "lunarlearn"
    assert w[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.get("optimizer", "adam")
        assert registry.get("optimizer", "aaa/adam").__module__ == "aaa"
        assert registry.names("optimizer") == ["aaa/adam", "adam"]


def test_only_the_user_overrides_who_has_a_name(site, tmp_path):
    package(site, "lunarlearn", {"adam": "Adam"})
    package(site, "foo", {"adam": "Adam", "other": "Sgd"})
    package(site, "bar", {"lion": "Adam"})
    package(site, "baz", {"lion": "Adam"})
    (tmp_path / "pyproject.toml").write_text(
        '[tool.lunar.override]\n"optimizers.adam" = "foo"\noptimizers.lion = "baz"\n"optimizers.mine" = "foo/other"\n'
    )
    registry = Registry([str(site)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.get("optimizer", "adam").__module__ == "foo"
        assert registry.get("optimizer", "lion").__module__ == "baz"
        assert registry.get("optimizer", "mine").__name__ == "Sgd"
        assert registry.get("optimizer", "lunarlearn/adam").__module__ == "lunarlearn"
    assert registry.names("optimizer") == ["adam", "bar/lion", "lion", "lunarlearn/adam", "mine", "other"]


def test_an_override_that_chooses_what_is_not_there_is_an_error_on_use(site, tmp_path):
    package(site, "lunarlearn", {"adam": "Adam"})
    (tmp_path / "lunar.toml").write_text('[override]\n"optimizers.adam" = "gone"\n')
    registry = Registry([str(site)])
    with pytest.raises(ConfigError, match=r"lunar\.toml: the override of optimizers\.adam chooses 'gone/adam'"):
        registry.get("optimizer", "adam")
    assert registry.get("optimizer", "lunarlearn/adam")


# --- registering by hand --------------------------------------------------------------------------------------------


def test_a_class_registered_by_hand_is_found_and_can_be_registered_again(site):
    registry = registry_of(site)
    base = contract("optimizer")
    first = registry.register("optimizer", "mine", type("Mine", (base,), {}))
    assert registry.get("optimizer", "mine") is first and registry.names("optimizer") == ["mine"]
    second = registry.register("optimizer", "mine", type("Mine", (base,), {}))
    assert registry.get("optimizer", "mine") is second and len(registry.components("optimizer")) == 1
    assert registry.component_of(second).address == "mine" and registry.component_of(first) is None


def test_registering_over_an_installed_name_takes_an_explicit_word(site):
    package(site, "lunarlearn", {"adam": "Adam"})
    registry = registry_of(site)
    mine = type("Mine", (contract("optimizer"),), {})
    with pytest.raises(PluginConflictError, match="already provided by lunarlearn"):
        registry.register("optimizer", "adam", mine)
    registry.register("optimizer", "adam", mine, replace=True)
    assert registry.get("optimizer", "adam") is mine
    assert registry.get("optimizer", "lunarlearn/adam").__module__ == "lunarlearn"


def test_what_does_not_fit_its_kind_cannot_be_registered(site):
    registry = registry_of(site)
    with pytest.raises(PluginLoadError, match="cannot be registered: int is not a subclass of"):
        registry.register("metric", "x", int)
    with pytest.raises(PluginLoadError, match="components are classes, this is a function"):
        registry.register("metric", "x", lambda: 0)
    with pytest.raises(UnknownNameError, match="cannot be named 'a/b'"):
        registry.register("metric", "a/b", contract("metric"))
    registry.register("command", "go", print)
    registry.register("dataset", "numbers", lambda: [1])
    assert registry.get("command", "go") is print


def test_the_contract_version_is_compared_by_major_and_minor():
    base = contract("metric")

    def written_for(*version):
        return fault("metric", type("M", (base,), {"api": version, "__module__": "elsewhere"}))

    assert written_for(1, 0) == "" and fault("metric", type("M", (base,), {})) == ""
    assert written_for(2, 0) == "it is written for plugin API 2.0, this is 1.0: it needs a newer lunarlearn"
    assert "1.7" in written_for(1, 7) and "an update of the plugin" in written_for(0, 9)
    assert "must be a tuple" in written_for("1.0")


# --- blocking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token", ["optimizers.adam", "optimizer.adam", "lunar.optimizers.adam", "optimizers.a*", "optimizers.foo/adam"]
)
def test_a_component_is_switched_off_by_name_before_any_import(site, token):
    package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
    registry = stated(registry_of(site), token)
    assert registry.names("optimizer") == ["sgd"]
    with pytest.raises(PluginBlockedError, match=r"foo 1\.0 \(foo:Adam\) is switched off by .* in registry\.disable"):
        registry.get("optimizer", "adam")
    assert registry.info("optimizer", "adam").status == "blocked" and "foo" not in sys.modules


def test_a_distribution_is_switched_off_whole_and_its_namesake_gets_the_name(site):
    package(site, "foo", {"lion": "Adam"})
    package(site, "bar", {"lion": "Adam"})
    registry = stated(registry_of(site), "dist:Foo")
    assert registry.get("optimizer", "lion").__module__ == "bar" and registry.names("optimizer") == ["lion"]
    with pytest.raises(PluginBlockedError):
        registry.get("optimizer", "foo/lion")
    assert "foo" not in sys.modules


def test_environment_and_files_switch_off(site, tmp_path, monkeypatch):
    package(site, "foo", {"a": "Adam", "b": "Adam", "c": "Adam"})
    monkeypatch.setenv("LUNAR_DISABLE_PLUGINS", " optimizers.a , ")
    (tmp_path / "pyproject.toml").write_text('[tool.lunar]\ndisable = ["optimizers.b"]\n')
    inner = tmp_path / "x" / "y"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text('[project]\nname = "says nothing of the matter"\n')
    monkeypatch.chdir(inner)
    registry = Registry([str(site)])
    assert registry.names("optimizer") == ["c"]
    assert registry.info("optimizer", "a").reason == "'optimizers.a' in LUNAR_DISABLE_PLUGINS"
    assert registry.info("optimizer", "b").reason == f"'optimizers.b' in {tmp_path / 'pyproject.toml'}"


def test_autoload_off_leaves_first_party_and_what_is_registered_by_hand(site, monkeypatch):
    package(site, "lunarlearn", {"adam": "Adam"})
    package(site, "foo", {"lion": "Adam"})
    monkeypatch.setenv("LUNAR_DISABLE_PLUGIN_AUTOLOAD", "1")
    registry = Registry([str(site)])
    registry.register("optimizer", "mine", type("Mine", (contract("optimizer"),), {}))
    assert registry.names("optimizer") == ["adam", "mine"]
    with pytest.raises(PluginBlockedError, match="LUNAR_DISABLE_PLUGIN_AUTOLOAD"):
        registry.get("optimizer", "lion")


def test_switching_off_later_takes_back_what_was_loaded(site):
    package(site, "foo", {"adam": "Adam"})
    registry = registry_of(site)
    registry.get("optimizer", "adam")
    registry.disable("optimizers.adam")
    with pytest.raises(PluginBlockedError):
        registry.get("optimizer", "adam")
    assert registry.names("optimizer") == []


@pytest.mark.parametrize("token", ["adam", "optimisers.adam", "dist:", "optimizers."])
def test_a_token_that_names_no_plugin_is_an_error(site, token):
    with pytest.raises(ConfigError, match="names no plugin"):
        registry_of(site).disable(token)


def test_a_token_that_hits_nothing_is_a_warning_with_the_nearest_name(site, monkeypatch):
    package(site, "foo", {"adam": "Adam"})
    monkeypatch.setenv("LUNAR_DISABLE_PLUGINS", "optimizers.adem")
    with pytest.warns(
        PluginWarning, match=r"LUNAR_DISABLE_PLUGINS: 'optimizers.adem' is not installed; did you mean 'optimiz"
    ):
        Registry([str(site)]).names("optimizer")


def test_strict_makes_warnings_errors(site, monkeypatch):
    package(site, "lunarlearn", {"adam": "Adam"})
    package(site, "foo", {"adam": "Adam"})
    monkeypatch.setenv("LUNAR_PLUGIN_STRICT", "1")
    with pytest.raises(PluginError, match="one of the same name"):
        registry_of(site).get("optimizer", "adam")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("disable = 3", "disable must be a list of strings, got 3"),
        ("disable = [3]", "disable must be a list of strings"),
        ("disable = ['adam']", "'adam' names no plugin"),
        ("override = 3", "override must be a table"),
        ("[override]\nadam = 'foo'", "override 'adam' = 'foo' is not understood"),
        ("[override]\n'optimizers.adam' = 3", "is not understood"),
        ("disable = [", "is not valid TOML"),
    ],
)
def test_settings_that_are_not_understood_are_one_clear_error(tmp_path, text, expected):
    (tmp_path / "lunar.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"lunar\.toml") as caught:
        read_settings(tmp_path)
    assert expected in str(caught.value)


def test_a_foreign_pyproject_is_not_our_business_even_if_it_is_broken(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[[[ not toml")
    assert read_settings(tmp_path) == Settings()
    (tmp_path / "pyproject.toml").write_text('[tool.other]\nurl = "tool.lunar"\n')
    assert nearest_table(tmp_path)[0] is None


# --- namespaces -----------------------------------------------------------------------------------------------------


def test_a_namespace_offers_class_names_and_registry_names_without_importing(site):
    package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
    registry = registry_of(site)
    optimizers = Namespace("optimizer", registry)
    assert dir(optimizers) == ["Adam", "Sgd"] and list(optimizers) == ["adam", "sgd"] and len(optimizers) == 2
    assert optimizers._ipython_key_completions_() == ["adam", "sgd"] and "adam" in optimizers
    assert "foo" not in sys.modules
    assert optimizers.Adam is optimizers["adam"] is registry.get("optimizer", "adam")


def test_a_miss_in_a_namespace_is_an_attribute_error_with_the_nearest_names(site):
    package(site, "foo", {"adam": "Adam"})
    optimizers = Namespace("optimizer", registry_of(site))
    with pytest.raises(AttributeError, match="there is no optimizer class 'Adan'; did you mean 'Adam'"):
        _ = optimizers.Adan
    with pytest.raises(AttributeError, match="did you mean 'Adam'"):
        _ = optimizers.adam
    with pytest.raises(UnknownNameError, match="did you mean 'adam'"):
        optimizers["Adam"]
    assert not hasattr(optimizers, "__wrapped__") and not hasattr(optimizers, "Nothing")


def test_a_namespace_goes_by_who_has_the_name(site):
    package(site, "lunarlearn", {"adam": "Adam", "sgd": "Sgd", "alias": "Sgd"})
    package(site, "foo", {"adam": "Adam", "lion": "Lion"}, OPTIMIZER + "\nclass Lion(Adam): pass\n")
    package(site, "bar", {"lion2": "Lion"}, OPTIMIZER + "\nclass Lion(Adam): pass\n")
    optimizers = Namespace("optimizer", registry_of(site))
    with pytest.warns(PluginWarning):
        assert optimizers.Adam.__module__ == "lunarlearn"
    assert optimizers.Sgd is optimizers["alias"]
    with pytest.raises(PluginConflictError, match=r"\['lion2'\]"):
        _ = optimizers.Lion


# --- the reverse map ------------------------------------------------------------------------------------------------


def test_a_class_knows_its_record_however_it_was_imported(site):
    module(site, "inner_part")
    module(site, "outer_part", "from inner_part import Adam\n")
    package(site, "foo", {"adam": "Adam"})
    registry = registry_of(site)
    import foo

    assert registry.component_of(foo.Adam).name == "adam" and registry.info("optimizer", "adam").status == "available"
    assert registry.component_of(foo.Sgd) is None and registry.component_of(int) is None


def test_a_class_that_its_package_re_exports_is_found_without_importing_more(site):
    folder = site / "pack"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .deep import Adam\n")
    (folder / "deep.py").write_text(OPTIMIZER)
    (folder / "never.py").write_text("raise AssertionError\n")
    dist_info(site, "pack", {"lunar.optimizers": {"adam": "pack:Adam", "other": "pack.never:Adam"}})
    registry = registry_of(site)
    from pack.deep import Adam

    assert registry.component_of(Adam).name == "adam"


# --- the manager ----------------------------------------------------------------------------------------------------


class Reader:
    def __init__(self):
        self.loaded = []

    def lunar_component_loaded(self, component):
        self.loaded.append(component.name)


def test_components_are_on_the_plugin_manager_as_records(site):
    package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
    package(site, "bar", {"sgd": "Sgd"})
    manager = registry_of(site).manager
    assert isinstance(manager, pluggy.PluginManager)
    record = manager.get_plugin("optimizers.adam")
    assert isinstance(record, ComponentPlugin) and record.status == "available" and "foo" not in sys.modules
    assert sorted(n for n, _ in manager.list_name_plugin()) == [
        "optimizers.adam",
        "optimizers.bar/sgd",
        "optimizers.foo/sgd",
    ]


def test_a_record_costs_no_dict(site):
    package(site, "foo", {"adam": "Adam"})
    assert not hasattr(registry_of(site).info("optimizer", "adam"), "__dict__")


def test_blocking_and_unregistering_on_the_manager_count_in_the_registry(site):
    package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
    registry = registry_of(site)
    registry.manager.set_blocked("optimizers.adam")
    registry.manager.unregister(name="optimizers.sgd")
    assert registry.names("optimizer") == [] and registry.manager.is_blocked("optimizers.adam")
    with pytest.raises(PluginBlockedError, match=r"lunar_core\.plugins\.unregister or set_blocked"):
        registry.get("optimizer", "sgd")


def test_a_change_of_the_hook_implementations_is_told_and_counted(site):
    package(site, "foo", {"adam": "Adam"})
    manager = registry_of(site).manager
    told = []
    stop = manager.on_change(lambda: told.append(manager.changes))
    assert manager.changes == 0
    reader = Reader()
    manager.register(reader)
    manager.register(object())
    manager.unregister(reader)
    stop()
    manager.register(reader, "again")
    assert told == [1, 2] and manager.changes == 3


def test_a_wrong_hook_is_refused_and_nothing_is_registered(site):
    manager = registry_of(site).manager

    class Misspelled:
        def lunar_after_stepp(self):
            pass

    class Wrong:
        def lunar_after_step(self, stop):
            pass

    with pytest.raises(HookError, match=r"'lunar_after_stepp'\n.*lunar_after_step"):
        manager.register(Misspelled())
    with pytest.raises(HookError, match="stop"):
        manager.register(Wrong())
    with pytest.raises(HookError, match="is a class"):
        manager.register(Reader)
    assert manager.list_name_plugin() == [] and manager.changes == 0


def test_loading_a_component_is_told_once_to_those_who_listen(site):
    package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
    registry = registry_of(site)
    registry.get("optimizer", "adam")
    reader = Reader()
    registry.manager.register(reader)
    registry.get("optimizer", "sgd")
    registry.get("optimizer", "sgd")
    assert sorted(reader.loaded) == ["adam", "sgd"]


def test_a_hook_plugin_may_decide_between_namesakes(site):
    package(site, "foo", {"lion": "Adam"})
    package(site, "bar", {"lion": "Adam"})
    registry = registry_of(site)

    class Decides:
        answer = "foo"

        def lunar_conflict(self, kind, name, candidates):
            return self.answer

    plugin = Decides()
    registry.manager.register(plugin)
    assert registry.get("optimizer", "lion").__module__ == "foo"
    plugin.answer = "nobody"
    with pytest.raises(PluginConflictError, match="answered 'nobody'"):
        registry.get("optimizer", "lion")


HOOKS = """
calls = []

class Counter:
    def lunar_after_step(self, step):
        calls.append(step)

instance = Counter()

def lunar_before_fetch():
    calls.append("fetch")
"""


def test_installed_hook_plugins_are_loaded_when_hooks_are_first_needed(site):
    module(site, "hooked", HOOKS)
    dist_info(site, "hooked", {"lunar.plugins": {"cls": "hooked:Counter", "obj": "hooked:instance", "mod": "hooked"}})
    registry = registry_of(site)
    assert "hooked" not in sys.modules and isinstance(registry.manager.get_plugin("plugins.cls"), ComponentPlugin)
    assert [name for name, _ in registry.manager.hook_plugins()] == ["plugins.cls", "plugins.mod", "plugins.obj"]
    bus = registry.manager.bus
    bus.after_step(7)
    bus.before_fetch()
    assert sys.modules["hooked"].calls == [7, 7, "fetch"]
    registry.disable("plugins.cls", "plugins.mod")
    bus.after_step(8)
    assert bus.before_fetch is None and sys.modules["hooked"].calls == [7, 7, "fetch", 8]


def test_a_hook_plugin_with_a_misspelled_hook_is_named_and_the_others_work(site):
    module(site, "good", HOOKS)
    module(site, "bad", "class Bad:\n    def lunar_after_stepp(self): pass\n")
    dist_info(site, "good", {"lunar.plugins": {"good": "good:Counter"}})
    dist_info(site, "bad", {"lunar.plugins": {"bad": "bad:Bad"}})
    registry = registry_of(site)
    with pytest.warns(PluginWarning, match=r"plugin 'bad' of bad 1\.0 \(bad:Bad\) cannot be used: .*lunar_after_stepp"):
        assert [name for name, _ in registry.manager.hook_plugins()] == ["plugins.good"]
    assert (
        registry.info("plugin", "bad").status == "broken"
        and "lunar_after_stepp" in registry.info("plugin", "bad").traceback
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.load_hook_plugins()


def test_a_broken_hook_plugin_is_fatal_when_strict(site, monkeypatch):
    module(site, "bad", "raise RuntimeError('no')\n")
    dist_info(site, "bad", {"lunar.plugins": {"bad": "bad:Bad"}})
    monkeypatch.setenv("LUNAR_PLUGIN_STRICT", "1")
    with pytest.raises(PluginLoadError, match="RuntimeError: no"):
        registry_of(site).load_hook_plugins()


def test_refresh_finds_what_was_installed_meanwhile_and_keeps_what_is_loaded(site):
    package(site, "foo", {"adam": "Adam"})
    registry = registry_of(site)
    adam = registry.get("optimizer", "adam")
    mine = registry.register("optimizer", "mine", type("Mine", (contract("optimizer"),), {}))
    package(site, "bar", {"lion": "Adam"})
    registry.refresh()
    assert registry.names("optimizer") == ["adam", "lion", "mine"]
    assert registry.info("optimizer", "adam").object is adam and registry.get("optimizer", "mine") is mine


def test_what_was_broken_is_tried_again_after_refresh(site):
    package(site, "foo", {"adam": "Adam"}, "import a_module_that_comes_later\n" + OPTIMIZER)
    registry = registry_of(site)
    for _ in range(2):
        with pytest.raises(PluginLoadError, match="a_module_that_comes_later"):
            registry.get("optimizer", "adam")
    module(site, "a_module_that_comes_later", "")
    registry.refresh()
    assert registry.get("optimizer", "adam").__module__ == "foo"


def test_threads_that_use_the_registry_first_at_the_same_time_agree(site):
    for i in range(20):
        package(site, f"dist{i}", {f"opt{i}": "Adam"}, "import time\ntime.sleep(0.005)\n" + OPTIMIZER)
    module(site, "hooked", HOOKS)
    dist_info(site, "hooked", {"lunar.plugins": {"cls": "hooked:Counter"}})
    registry = registry_of(site)
    start, results = threading.Barrier(8), []

    def work():
        start.wait()
        classes = [registry.get("optimizer", f"opt{i}") for i in range(20)]
        results.append((tuple(classes), registry.manager, tuple(registry.manager.hook_plugins())))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 8 and len(set(results)) == 1 and len(results[0][2]) == 1
