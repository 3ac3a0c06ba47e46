"""``lunar_core.layers`` and its siblings."""

from __future__ import annotations

import sys

import pytest
from packages import OPTIMIZERS, registry_of, write_package

import lunar_core
from lunar_core.errors import PluginConflictError, UnknownNameError
from lunar_core.plugins import NAMESPACES, Namespace, PluginWarning, namespace


def test_a_namespace_offers_class_names_and_registry_names_without_importing(site):
    write_package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
    registry = registry_of(site)
    optimizers = Namespace("optimizer", registry)
    assert dir(optimizers) == ["Adam", "Sgd"] and list(optimizers) == ["adam", "sgd"] and len(optimizers) == 2
    assert optimizers._ipython_key_completions_() == ["adam", "sgd"] and "adam" in optimizers
    assert "foo" not in sys.modules
    assert optimizers.Adam is optimizers["adam"] is registry.get("optimizer", "adam")


def test_a_miss_in_a_namespace_is_an_attribute_error_with_the_nearest_names(site):
    write_package(site, "foo", {"adam": "Adam"})
    optimizers = Namespace("optimizer", registry_of(site))
    with pytest.raises(AttributeError, match="there is no optimizer class 'Adan'; did you mean 'Adam'"):
        _ = optimizers.Adan
    with pytest.raises(AttributeError, match="did you mean 'Adam'"):
        _ = optimizers.adam
    with pytest.raises(UnknownNameError, match="did you mean 'adam'"):
        optimizers["Adam"]
    assert not hasattr(optimizers, "__wrapped__") and not hasattr(optimizers, "Nothing")


def test_a_namespace_goes_by_who_has_the_name(site):
    write_package(site, "lunarlearn", {"adam": "Adam", "sgd": "Sgd", "alias": "Sgd"})
    write_package(site, "foo", {"adam": "Adam", "lion": "Lion"}, OPTIMIZERS + "\nclass Lion(Adam): pass\n")
    write_package(site, "bar", {"lion2": "Lion"}, OPTIMIZERS + "\nclass Lion(Adam): pass\n")
    optimizers = Namespace("optimizer", registry_of(site))
    with pytest.warns(PluginWarning):
        assert optimizers.Adam.__module__ == "lunarlearn"
    assert optimizers.Sgd is optimizers["alias"]
    with pytest.raises(PluginConflictError, match=r"\['lion2'\]"):
        _ = optimizers.Lion


def test_every_namespace_of_the_core_is_one_of_the_registry():
    for name, kind in NAMESPACES.items():
        if kind not in ("logger", "launcher", "command"):
            assert getattr(lunar_core, name) is namespace(name) is namespace(kind)
    with pytest.raises(UnknownNameError, match="did you mean 'layers'"):
        namespace("layerz")
