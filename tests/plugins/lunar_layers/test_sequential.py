"""Sequential: what a list of layers does, names, configuration."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations.relu import ReLU
from lunar_activations.sigmoid import Tanh
from lunar_core.errors import HyperparameterError, IndexingError, ShapeError
from lunar_layers.dense import Dense
from lunar_layers.flatten import Flatten
from lunar_layers.sequential import Sequential


@pytest.fixture
def net():
    return Sequential(Dense(4), Tanh(), Dense(2))


def test_layers_run_one_after_the_other(net):
    x = lc.tensor(np.random.default_rng(0).normal(size=(3, 5)))
    y = net(x)
    np.testing.assert_array_equal(y.detach().numpy(), net[2](net[1](net[0](x))).detach().numpy())


def test_arguments_or_one_list_make_the_same(net):
    layers = list(net)
    assert list(Sequential(layers)) == list(Sequential(*layers)) == list(Sequential(tuple(layers))) == layers


def test_an_empty_one_gives_its_input_back():
    x = lc.ones(3)
    assert Sequential()(x) is x
    assert len(Sequential([])) == 0


def test_it_is_indexed_iterated_and_sliced_like_a_list(net):
    layers = list(net)
    assert len(net) == 3
    assert net[0] is layers[0]
    assert net[-1] is layers[2]
    assert net[np.int64(1)] is layers[1]
    head = net[:2]
    assert isinstance(head, Sequential)
    assert list(head) == layers[:2]
    assert list(net[::-1]) == layers[::-1]
    for wrong in (3, -4):
        with pytest.raises(IndexingError, match="out of range for 3 layers"):
            net[wrong]
    with pytest.raises(IndexingError, match="'head'"):
        net["head"]


def test_a_slice_shares_its_layers(net):
    net(lc.ones((1, 5)))
    assert net[:1][0].weight is net[0].weight


def test_layers_can_be_appended_and_replaced(net):
    net.append(ReLU())
    net[1] = ReLU()
    net[-2] = Dense(7)
    assert [type(layer).__name__ for layer in net] == ["Dense", "ReLU", "Dense", "ReLU"]
    assert net(lc.ones((2, 3))).shape == (2, 7)
    with pytest.raises(HyperparameterError, match="layer 1 must be a module"):
        net[1] = 3


def test_names_are_positions_as_in_pytorch(net):
    net(lc.ones((1, 5)))
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert [name for name, _ in Sequential(net, net[0]).named_modules()] == ["", "0", "0.0", "0.1", "0.2"]


def test_replacing_the_attribute_replaces_the_layer(net):
    setattr(net, "1", Flatten())
    assert isinstance(net[1], Flatten)
    assert [type(layer).__name__ for layer in net] == ["Dense", "Flatten", "Dense"]


def test_what_is_no_layer_is_refused_with_the_way_to_mend_it():
    with pytest.raises(HyperparameterError, match=r"layer 1 must be a module, got Dense\n.*make an instance"):
        Sequential(ReLU(), Dense)
    with pytest.raises(HyperparameterError, match="layer 0 must be a module"):
        Sequential(np.tanh)
    with pytest.raises(HyperparameterError, match="layer 0 must be a module, got None"):
        Sequential(None)


def test_an_error_names_the_path_of_the_layer():
    net = Sequential(Sequential(Dense(4), Dense(3, in_features=5)), ReLU())
    with pytest.raises(ShapeError) as caught:
        net(lc.ones((2, 6)))
    assert '"0.1" (Dense)' in str(caught.value)


def test_the_mode_reaches_every_layer(net):
    net.eval()
    assert not any(module.training for module in net.modules())
    net.train()
    assert all(module.training for module in net.modules())


def test_the_configuration_builds_an_equal_one(net):
    net(lc.ones((1, 5)))
    again = Sequential.from_config_fields(**net.config())
    assert again is not net
    assert list(again) == list(net)
    assert net.config_names() == {"layers": True}


def test_a_deep_copy_is_independent(net):
    net(lc.ones((1, 5)))
    other = copy.deepcopy(net)
    assert repr(other) == repr(net)
    assert other[0].weight is not net[0].weight
    np.testing.assert_array_equal(other(lc.ones((1, 5))).detach().numpy(), net(lc.ones((1, 5))).detach().numpy())


def test_a_layer_used_twice_is_one_set_of_parameters():
    shared = Dense(4)
    net = Sequential(shared, ReLU(), shared)
    net(lc.ones((1, 4)))
    assert len(list(net.parameters())) == 2
    assert len(copy.deepcopy(net).state_dict()) == 4
    again = copy.deepcopy(net)
    assert again[0] is again[2]


def test_the_repr_is_a_tree():
    assert repr(Sequential(Dense(4), Sequential(ReLU()))) == (
        "Sequential(\n  (0): Dense(out_features=4)\n  (1): Sequential(\n    (0): ReLU()\n  )\n)"
    )
