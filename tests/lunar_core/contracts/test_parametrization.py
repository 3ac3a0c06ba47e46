"""parametrize and remove_parametrization with parametrizations and modules of one's own."""

from __future__ import annotations

import copy
from typing import ClassVar

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.contracts.parametrization import Parametrization, is_parametrized, parametrize, remove_parametrization
from lunar_core.errors import StateError


class Positive(Parametrization):
    def forward(self, original):
        return ops.exp(original)

    def right_inverse(self, value):
        return ops.log(value)


class Product(Parametrization):
    parts: ClassVar = ("a", "b")

    def forward(self, a, b):
        return a * b

    def right_inverse(self, value):
        return value, value * 0 + 1


class Scale(lc.Module):
    def __init__(self):
        self.weight = lc.Parameter(np.array([1.0, 2.0, 3.0]))
        self.offset = lc.Parameter(np.zeros(3))

    def forward(self, x):
        return x * self.weight + self.offset


def test_the_value_stays_and_the_parts_are_trained():
    module = Scale()
    parameter = module.weight
    parametrize(module, "weight", Positive())
    np.testing.assert_allclose(module.weight.detach().numpy(), [1, 2, 3])
    names = dict(module.named_parameters())
    assert list(names) == ["offset", "parametrizations.weight.original"]
    assert names["parametrizations.weight.original"] is parameter
    module(lc.ones(3, dtype=np.float64)).sum().backward()
    np.testing.assert_allclose(parameter.grad.numpy(), [1, 2, 3])


def test_two_parametrizations_of_one_module_come_and_go():
    module = Scale()
    parametrize(module, "weight", Positive())
    parametrize(module, "offset", Product())
    assert isinstance(module, Scale) and is_parametrized(module, "offset")
    assert {"parametrizations.offset.a", "parametrizations.offset.b"} < set(module.state_dict())
    twin = copy.deepcopy(module)
    remove_parametrization(module, "weight")
    assert isinstance(vars(module)["weight"], lc.Parameter) and is_parametrized(module)
    remove_parametrization(module, "offset")
    assert type(module) is Scale and set(module.state_dict()) == {"weight", "offset"}
    assert is_parametrized(twin, "weight")
    np.testing.assert_allclose(twin.weight.detach().numpy(), module.weight.detach().numpy())


def test_what_is_written_sets_the_parts():
    module = parametrize(Scale(), "weight", Positive())
    module.weight = np.array([4.0, 5.0, 6.0])
    np.testing.assert_allclose(module.parametrizations["weight"].original.data, np.log([4, 5, 6]))
    np.testing.assert_allclose(module.weight.detach().numpy(), [4, 5, 6])


def test_frozen_parameters_stay_frozen():
    module = Scale()
    module.freeze("offset")
    parametrize(module, "offset", Product())
    assert not any(p.requires_grad for n, p in module.named_parameters() if "offset" in n)
    remove_parametrization(module, "offset")
    assert not module.offset.requires_grad


def test_a_wrong_number_of_parts_is_named_and_changes_nothing():
    class Broken(Product):
        def right_inverse(self, value):
            return value

    module = Scale()
    with pytest.raises(StateError, match="gave 1 parts, expected a, b"):
        parametrize(module, "weight", Broken())
    assert type(module) is Scale and isinstance(module.weight, lc.Parameter)


def test_names_that_cannot_be_parametrized_are_refused():
    module = parametrize(Scale(), "weight", Positive())
    with pytest.raises(StateError, match="parametrized already"):
        parametrize(module, "weight", Positive())
    with pytest.raises(StateError, match="serves another parameter"):
        parametrize(module, "offset", module.parametrizations["weight"])
    with pytest.raises(StateError, match="it has offset"):
        parametrize(module, "scale", Positive())
    with pytest.raises(StateError, match="is not parametrized"):
        remove_parametrization(module, "offset")
