"""Parts that a user swaps: what a field takes, and what is made of it."""

from __future__ import annotations

from typing import Any

import pytest

import lunar_core as lc
from lunar_core.component import field
from lunar_core.contracts.layer import Layer
from lunar_core.contracts.model import Template
from lunar_core.errors import HyperparameterError, UnknownNameError
from lunar_layers.dense import Dense
from lunar_layers.parts import make_part, part


class Holder(Layer):
    """Holds a part."""

    inner: Any = field(default=None, converter=part("layer"))


def test_a_name_gets_the_options_that_it_has_fields_for():
    assert Holder("dropout").inner == "dropout"
    made = make_part("layer", "dropout", p=0.25, num_heads=4)
    assert made.p == 0.25
    assert make_part("activation", "relu", p=0.25).fields_repr() == ""


def test_an_instance_gives_copies_and_keeps_its_options():
    given = Dense(3, in_features=2)
    holder = Holder(given)
    assert isinstance(holder.inner, Template)
    assert list(holder.parameters()) == []
    first, second = make_part("layer", holder.inner, use_bias=False), make_part("layer", holder.inner)
    assert first is not second
    assert first is not given
    assert first.bias is not None
    assert first.weight.tolist() == given.weight.tolist()


def test_a_configuration_is_built_and_written_again():
    lc.registry.register("layer", "holder_of_a_part", Holder)
    for given in ("dropout", None, {"@layer": "dropout", "p": 0.25}, lc.layers.Dropout(0.25)):
        config = lc.to_config(Holder(given))
        expected = {"@layer": "dropout", "p": 0.25} if given not in ("dropout", None) else given
        assert config["inner"] == expected
        assert lc.to_config(lc.from_config(config)) == config


def test_mistakes_are_told_in_words():
    with pytest.raises(HyperparameterError, match="expected a layer, its registry name or its configuration, got 3"):
        Holder(3)
    with pytest.raises(HyperparameterError, match="make an instance of the class first"):
        Holder(Dense)
    with pytest.raises(UnknownNameError, match="dropout"):
        make_part("layer", "dropuot")
