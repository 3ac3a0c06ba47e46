"""Discovery: from the metadata of installed distributions to records."""

from __future__ import annotations

import sys

import pytest
from packages import answers, dist_info, registry_of, write_package

from lunar_core.component import Component
from lunar_core.plugins import CONTRACTS, GROUPS, NAMESPACES, PluginWarning
from lunar_core.plugins.discovery import discover, entry_points, normalize, well_formed
from lunar_core.plugins.loading import contract


def test_discovery_reads_metadata_and_imports_nothing(site):
    write_package(site, "foo-opt", {"adam": "Adam", "sgd": "Sgd"})
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
    write_package(site, "foo", {"adamw": "Adam", "sgd": "Sgd", "adam": "Adam"})
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
