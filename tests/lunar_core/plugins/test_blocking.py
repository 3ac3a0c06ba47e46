"""Switching components off, and the settings that do it."""

from __future__ import annotations

import sys

import pytest
from packages import registry_of, write_package

from lunar_core.errors import ConfigError, PluginBlockedError, PluginError, PluginLoadError, UnknownNameError
from lunar_core.plugins import PluginWarning, Registry, Settings, read_settings
from lunar_core.plugins.loading import contract
from lunar_core.plugins.settings import nearest_table


def without(site, token):
    registry = registry_of(site)
    registry.disable(token)
    return registry


@pytest.mark.parametrize(
    "token", ["optimizers.adam", "optimizer.adam", "lunar.optimizers.adam", "optimizers.a*", "optimizers.foo/adam"]
)
def test_a_component_is_switched_off_by_name_before_any_import(site, token):
    write_package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
    registry = without(site, token)
    assert registry.names("optimizer") == ["sgd"]
    with pytest.raises(PluginBlockedError, match=r"foo 1\.0 \(foo:Adam\) is switched off by .* in registry\.disable"):
        registry.get("optimizer", "adam")
    assert registry.info("optimizer", "adam").status == "blocked" and "foo" not in sys.modules


def test_a_distribution_is_switched_off_whole_and_its_namesake_gets_the_name(site):
    write_package(site, "foo", {"lion": "Adam"})
    write_package(site, "bar", {"lion": "Adam"})
    registry = without(site, "dist:Foo")
    assert registry.get("optimizer", "lion").__module__ == "bar" and registry.names("optimizer") == ["lion"]
    with pytest.raises(PluginBlockedError):
        registry.get("optimizer", "foo/lion")
    assert "foo" not in sys.modules


def test_environment_and_files_switch_off(site, tmp_path, monkeypatch):
    write_package(site, "foo", {"a": "Adam", "b": "Adam", "c": "Adam"})
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
    write_package(site, "lunarlearn", {"adam": "Adam"})
    write_package(site, "foo", {"lion": "Adam"})
    monkeypatch.setenv("LUNAR_DISABLE_PLUGIN_AUTOLOAD", "1")
    registry = Registry([str(site)])
    registry.register("optimizer", "mine", type("Mine", (contract("optimizer"),), {}))
    assert registry.names("optimizer") == ["adam", "mine"]
    with pytest.raises(PluginBlockedError, match="LUNAR_DISABLE_PLUGIN_AUTOLOAD"):
        registry.get("optimizer", "lion")


def test_switching_off_later_takes_back_what_was_loaded(site):
    write_package(site, "foo", {"adam": "Adam"})
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
    write_package(site, "foo", {"adam": "Adam"})
    monkeypatch.setenv("LUNAR_DISABLE_PLUGINS", "optimizers.adem")
    with pytest.warns(
        PluginWarning, match=r"LUNAR_DISABLE_PLUGINS: 'optimizers.adem' is not installed; did you mean 'optimiz"
    ):
        Registry([str(site)]).names("optimizer")


def test_what_the_program_can_do_without_is_a_warning(site, monkeypatch):
    write_package(site, "foo", {"adam": "Adam"}, "1 / 0\n")
    registry = registry_of(site)
    with pytest.warns(PluginWarning, match="ZeroDivisionError"):
        assert registry.get_or_warn("optimizer", "adam") is None
    with pytest.raises(UnknownNameError):
        registry.get_or_warn("optimizer", "adamm")
    monkeypatch.setenv("LUNAR_PLUGIN_STRICT", "1")
    with pytest.raises(PluginLoadError):
        registry.get_or_warn("optimizer", "adam")


def test_strict_makes_warnings_errors(site, monkeypatch):
    write_package(site, "lunarlearn", {"adam": "Adam"})
    write_package(site, "foo", {"adam": "Adam"})
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


def test_an_unknown_setting_is_a_warning_with_the_nearest(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text('[tool.lunar]\ndisabel = ["optimizers.adam"]\n')
    with pytest.warns(PluginWarning, match=r"no entry 'disabel'; did you mean 'disable'"):
        assert read_settings(tmp_path) == Settings()
    monkeypatch.setenv("LUNAR_PLUGIN_STRICT", "1")
    with pytest.raises(ConfigError, match="no entry 'disabel'"):
        read_settings(tmp_path)


def test_a_foreign_pyproject_is_not_our_business_even_if_it_is_broken(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[[[ not toml")
    assert read_settings(tmp_path) == Settings()
    (tmp_path / "pyproject.toml").write_text('[tool.other]\nurl = "tool.lunar"\n')
    assert nearest_table(tmp_path)[0] is None
