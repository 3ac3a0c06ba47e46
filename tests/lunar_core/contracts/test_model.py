"""Model: parts made by setup, building by a call or by input_shape, configuration."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.component import field, positive
from lunar_core.contracts.model import Model
from lunar_core.errors import HyperparameterError, NotBuiltError, ShapeError
from lunar_layers.conv import Conv2D
from lunar_layers.dense import Dense
from lunar_layers.dropout import Dropout
from lunar_layers.flatten import Flatten
from lunar_layers.normalization import BatchNorm2D
from lunar_layers.sequential import Sequential


class Net(Model):
    width: int = field(default=3, validator=positive)

    def setup(self):
        self.body = Sequential(Conv2D(self.width, 3), BatchNorm2D(), Dropout(0.5), Flatten())
        self.head = Dense(2)

    def forward(self, x):
        return self.head(self.body(x))


class Words(Model):
    """A model whose inputs are no images."""

    def setup(self):
        from lunar_layers.embedding import Embedding

        self.table = Embedding(10, 4)
        self.head = Dense(3)

    def example(self):
        return (np.zeros((1, *self.input_shape), np.int64),)

    def forward(self, x):
        return self.head(self.table(x))


def test_a_model_is_a_component_and_a_module():
    net = Net(width=4)
    assert (net.kind, net.width, net.training) == ("model", 4, True)
    assert [name for name, _ in net.named_children()] == ["body", "head"]
    assert repr(net).startswith("Net(width=4) (\n  (body): Sequential(")


def test_it_is_built_by_its_first_call_and_notes_the_shape():
    net = Net()
    with pytest.raises(NotBuiltError):
        net.state_dict()
    assert net(lc.zeros((5, 1, 6, 6))).shape == (5, 2)
    assert net.built
    assert net.input_shape == (1, 6, 6)
    assert net.body[0].in_channels == 1


def test_an_input_shape_builds_at_once_without_touching_statistics_or_streams():
    net = Net(input_shape=(2, 5, 5))
    assert net.built
    assert net.training
    assert all(module.training for module in net.modules())
    assert net.head.in_features == 27
    assert net.body[1].num_batches_tracked.item() == 0
    assert lc.random.stream("dropout").index == 0
    assert not any(p.grad for p in net.parameters())


def test_the_parameters_take_the_dtype_of_the_first_input():
    net = Net()
    net(np.zeros((2, 1, 4, 4)))
    assert {p.dtype for p in net.parameters()} == {np.dtype("float64")}
    with lc.default_dtype("float64"):
        assert {p.dtype for p in Net(input_shape=(1, 4, 4)).parameters()} == {np.dtype("float64")}


def test_building_by_shape_and_by_call_give_the_same_weights():
    first = Net(input_shape=(1, 6, 6)).state_dict()
    lc.seed(0)
    net = Net()
    net(lc.ones((3, 1, 6, 6)))
    for name, parameter in net.named_parameters():
        np.testing.assert_array_equal(parameter.detach().numpy(), first[name])


def test_the_configuration_of_a_built_model_gives_a_built_model():
    net = Net(width=2)
    assert net.config() == {"input_shape": None, "width": 2}
    net(lc.zeros((1, 1, 6, 6)))
    again = Net.from_config_fields(**net.config())
    assert again.built
    again.load_state_dict(net.state_dict())
    x = lc.ones((2, 1, 6, 6))
    np.testing.assert_array_equal(again.eval()(x).detach().numpy(), net.eval()(x).detach().numpy())


def test_a_first_call_that_fails_leaves_the_model_as_it_was():
    net = Net()
    with pytest.raises(ShapeError):
        net(lc.zeros((2, 6, 6, 1)))  # the first layer would take 6 channels; the kernel does not fit
    assert not net.built
    assert net.input_shape is None
    assert net.body[0].in_channels is None
    assert net(lc.zeros((2, 1, 6, 6))).shape == (2, 2)
    assert net.input_shape == (1, 6, 6)


def test_a_failed_call_of_a_built_model_changes_nothing():
    net = Net(input_shape=(1, 6, 6))
    with pytest.raises(ShapeError):
        net(lc.zeros((2, 2, 6, 6)))
    assert net.built
    assert net.input_shape == (1, 6, 6)


def test_evaluation_mode_survives_building():
    net = Net().eval()
    net(lc.zeros((1, 1, 6, 6)))
    assert not any(module.training for module in net.modules())


def test_other_inputs_give_an_example_of_their_own():
    net = Words(input_shape=(7,))
    assert net.built
    assert net(np.zeros((2, 7), int)).shape == (2, 7, 3)


def test_a_model_of_known_sizes_needs_no_building():
    class Known(Model):
        def setup(self):
            self.head = Dense(2, in_features=3)

        def forward(self, x):
            return self.head(x)

    assert Known().built
    assert len(Known().state_dict()) == 2


def test_copies_are_independent():
    net = Net(input_shape=(1, 6, 6))
    other = copy.deepcopy(net)
    assert other.head.weight is not net.head.weight
    assert other.state_dict().keys() == net.state_dict().keys()
    unbuilt = copy.deepcopy(Net())
    unbuilt(lc.zeros((1, 1, 6, 6)))
    assert unbuilt.built


def test_hyperparameters_are_checked():
    with pytest.raises(HyperparameterError, match="input_shape"):
        Net(input_shape=(0, 3))
    with pytest.raises(HyperparameterError, match="Net: no hyperparameter 'widht'; did you mean 'width'"):
        Net(widht=3)
