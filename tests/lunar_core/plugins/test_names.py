"""Which name means which component: unknown names, conflicts, overrides, registering by hand, the reverse map."""

from __future__ import annotations

import sys
import warnings

import pytest
from packages import OPTIMIZERS, dist_info, registry_of, write_module, write_package

from lunar_core.errors import ConfigError, PluginConflictError, PluginLoadError, UnknownNameError
from lunar_core.plugins import PluginWarning, Registry
from lunar_core.plugins.loading import contract, fault


def test_an_unknown_name_is_answered_with_the_nearest_ones(site):
    write_package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
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
    write_package(site, "foo", {"adam": "Adam"})
    registry = registry_of(site)
    assert isinstance(registry.get("optimizer", "foo/adam"), type)
    with pytest.raises(Exception, match="'qqq'"):
        registry.create("optimizer", "adam", qqq=3)


def test_a_name_taken_by_two_strangers_is_an_error_on_use_that_names_both(site):
    write_package(site, "foo", {"lion": "Adam", "only": "Sgd"})
    write_package(site, "bar", {"lion": "Adam"}, version="2.0")
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
    write_package(site, "lunarlearn", {"adam": "Adam"})
    write_package(site, "aaa", {"adam": "Adam"})
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
    write_package(site, "lunarlearn", {"adam": "Adam"})
    write_package(site, "foo", {"adam": "Adam", "other": "Sgd"})
    write_package(site, "bar", {"lion": "Adam"})
    write_package(site, "baz", {"lion": "Adam"})
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
    write_package(site, "lunarlearn", {"adam": "Adam"})
    (tmp_path / "lunar.toml").write_text('[override]\n"optimizers.adam" = "gone"\n')
    registry = Registry([str(site)])
    with pytest.raises(ConfigError, match=r"lunar\.toml: the override of optimizers\.adam chooses 'gone/adam'"):
        registry.get("optimizer", "adam")
    assert registry.get("optimizer", "lunarlearn/adam")


def test_a_class_registered_by_hand_is_found_and_can_be_registered_again(site):
    registry = registry_of(site)
    base = contract("optimizer")
    first = registry.register("optimizer", "mine", type("Mine", (base,), {}))
    assert registry.get("optimizer", "mine") is first and registry.names("optimizer") == ["mine"]
    second = registry.register("optimizer", "mine", type("Mine", (base,), {}))
    assert registry.get("optimizer", "mine") is second and len(registry.components("optimizer")) == 1
    assert registry.component_of(second).address == "mine" and registry.component_of(first) is None


def test_registering_over_an_installed_name_takes_an_explicit_word(site):
    write_package(site, "lunarlearn", {"adam": "Adam"})
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


def test_a_class_knows_its_record_however_it_was_imported(site):
    write_module(site, "inner_part")
    write_module(site, "outer_part", "from inner_part import Adam\n")
    write_package(site, "foo", {"adam": "Adam"})
    registry = registry_of(site)
    import foo

    assert registry.component_of(foo.Adam).name == "adam" and registry.info("optimizer", "adam").status == "available"
    assert registry.component_of(foo.Sgd) is None and registry.component_of(int) is None


def test_a_class_that_its_package_re_exports_is_found_without_importing_more(site):
    folder = site / "pack"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .deep import Adam\n")
    (folder / "deep.py").write_text(OPTIMIZERS)
    (folder / "never.py").write_text("raise AssertionError\n")
    dist_info(site, "pack", {"lunar.optimizers": {"adam": "pack:Adam", "other": "pack.never:Adam"}})
    registry = registry_of(site)
    from pack.deep import Adam

    assert registry.component_of(Adam).name == "adam"
