"""Every first-party component: one class, one entry point, loadable, documented, and none twice."""

import collections

import pytest

import lunar_core as lc
from lunar_core.component import Component

ROWS = [
    (kind, name)
    for kind in lc.registry.kinds()
    for name in lc.registry.names(kind)
    if lc.registry.info(kind, name).dist == "lunarlearn" and lc.registry.info(kind, name).name == name
]


def test_there_is_a_catalogue():
    kinds = {kind for kind, _ in ROWS}
    assert {"layer", "activation", "initializer", "loss", "metric", "optimizer", "scheduler", "regularizer"} <= kinds
    assert {"callback", "dataset", "model", "command"} <= kinds


@pytest.mark.parametrize("kind, name", ROWS, ids=[f"{kind}-{name}" for kind, name in ROWS])
def test_component_loads_and_says_what_it_is(kind, name):
    target = lc.registry.get(kind, name)
    assert lc.registry.info(kind, name).status in ("loaded", "available", "ok"), lc.registry.info(kind, name)
    doc = target.help if kind == "command" else target.__doc__
    assert doc and len(doc.strip()) > 10
    if isinstance(target, type) and issubclass(target, Component):
        assert target.kind == kind
        assert "__doc__" in vars(target), f"{target.__name__} inherits its docstring"


def test_no_class_is_registered_under_two_names():
    targets = collections.Counter(lc.registry.info(kind, name).value for kind, name in ROWS)
    assert [target for target, count in targets.items() if count > 1] == []


def test_names_are_snake_case():
    assert [name for _, name in ROWS if name != name.lower() or "-" in name or " " in name] == []
