"""Parts of models replaced, inserted, removed and frozen: what is chosen, where it hangs, what an error leaves."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations.gelu import GELU
from lunar_activations.relu import ReLU
from lunar_core.errors import ConfigError, HyperparameterError, StateError
from lunar_layers.branches import Residual
from lunar_layers.conv import Conv2D
from lunar_layers.dense import Dense
from lunar_layers.dropout import Dropout
from lunar_layers.module_list import ModuleDict, ModuleList
from lunar_layers.normalization import BatchNorm2D, LayerNorm
from lunar_layers.sequential import Sequential
from lunar_layers.shape import Identity
from lunar_optimizers.sgd import SGD

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


class Net(lc.Module):
    """Parts in every place where a part may hang."""

    def __init__(self) -> None:
        shared = ReLU()
        self.first = Dense(4, in_features=4)
        self.body = Sequential(Dense(4, in_features=4), shared, Residual(Sequential(Dense(4, in_features=4), ReLU())))
        self.pair = (ReLU(), [Dropout(0.5), ReLU()])
        self.table = {"act": ReLU(), "drop": Dropout(0.2)}
        self.blocks = ModuleList(Dense(4, in_features=4), ReLU(), Dense(4, in_features=4))
        self.named = ModuleDict(left=Dense(4, in_features=4), act=shared)

    def forward(self, x):
        x = self.body(self.first(x))
        for layer in [self.pair[0], *self.pair[1], *self.table.values(), *self.blocks, *self.named.values()]:
            x = layer(x)
        return x


EVERY_RELU = ["body.1", "body.2.body.1", "pair.0", "pair.1.1", "table.act", "blocks.1", "named.act"]


def classes(model, kind):
    return sorted(path for path, module in model.named_modules() if type(module) is kind)


def test_a_part_is_replaced_by_name_in_every_place():
    net = Net()
    report = net.replace("relu", "gelu")
    assert sorted(report) == sorted(EVERY_RELU)
    assert classes(net, ReLU) == []
    assert net.body[1] is net.named["act"]  # shared before, shared after
    assert classes(net, GELU) == sorted(set(EVERY_RELU) - {"named.act"})
    assert isinstance(net.pair, tuple) and isinstance(net.pair[1], list)
    net(X)
    text = str(report)
    assert text.startswith("replaced: 7 places") and "pair.1.1       ReLU() -> GELU()" in text


@pytest.mark.parametrize(
    "what",
    ["relu", ReLU, lambda path, module: isinstance(module, ReLU), EVERY_RELU[:-1]],
    ids=["name", "class", "function", "paths"],
)  # fmt: skip
def test_what_is_meant_is_said_in_four_ways(what):
    net = Net()
    assert sorted(net.replace(what, "gelu")) == sorted(EVERY_RELU)


@pytest.mark.parametrize(
    "by",
    ["gelu", {"@activation": "gelu"}, GELU, GELU(), lambda old: GELU()],
    ids=["name", "configuration", "class", "module", "function"],
)
def test_the_new_part_is_said_in_five_ways(by):
    net = Net()
    net.replace("body.2.body.1", by)
    assert isinstance(net.body[2].body[1], GELU)
    if isinstance(by, lc.Module):
        assert net.body[2].body[1] is by


def test_a_module_serves_several_places_as_copies_and_a_function_sees_the_old_part():
    net, new = Net(), Dense(4, in_features=4)
    net.replace("blocks.[02]", new)
    assert net.blocks[0] is new and net.blocks[2] is not new
    np.testing.assert_array_equal(net.blocks[0].weight.data, net.blocks[2].weight.data)
    seen = []
    net.replace(Dense, lambda old: seen.append(old) or Dense(4, in_features=old.in_features, use_bias=False))
    assert len(seen) == 6 and all(layer.bias is None for layer in (net.first, net.body[0], net.named["left"]))


def test_the_outer_of_nested_parts_counts():
    net = Net()
    assert net.replace(lambda path, module: path.startswith("body"), Identity) == ["body", "named.act"]
    assert isinstance(net.body, Identity)  # the shared part, chosen inside of it, is changed where else it hangs


def test_the_new_part_takes_over_mode_and_device():
    net = Net().eval()
    net.replace("relu", lambda old: Sequential(old, Dropout(0.3)))
    assert not any(module.training for module in net.modules())


def test_a_part_is_inserted_into_a_sequence_and_names_move_on():
    model = Sequential(Conv2D(3, 3), ReLU(), Conv2D(2, 3), ReLU())
    report = model.insert_after("conv2d", "batch_norm2d")
    assert report == ["0", "2"] and "after Conv2D(out_channels=3, kernel_size=3): BatchNorm2D()" in str(report)
    assert [type(layer) for layer in model] == [Conv2D, BatchNorm2D, ReLU, Conv2D, BatchNorm2D, ReLU]
    assert model[1] is not model[4]
    model.insert_before("0", Dropout(0.5))
    assert [type(layer) for layer in model][:3] == [Dropout, Conv2D, BatchNorm2D]
    model(np.ones((2, 1, 8, 8), np.float32))
    assert {"1.weight", "2.running_mean", "4.weight"} <= model.state_dict().keys()
    assert lc.to_config(lc.from_config(lc.to_config(model))) == lc.to_config(model)


def test_a_part_that_is_no_item_of_a_list_becomes_a_sequence():
    net = Net()
    first, left = net.first, net.named["left"]
    expected = first(X).data
    net.insert_after(["first", "named.left"], lambda old: Dropout(0.0))
    net.eval()
    assert isinstance(net.first, Sequential) and net.first[0] is first and net.named["left"][0] is left
    np.testing.assert_array_equal(net.first(X).data, expected)
    net.insert_before("blocks.1", LayerNorm)
    assert [type(layer) for layer in net.blocks] == [Dense, LayerNorm, ReLU, Dense]
    net.insert_after("pair.1.0", "relu")
    assert [type(layer) for layer in net.pair[1]] == [Dropout, ReLU, ReLU]


def test_parts_are_taken_out_of_lists_and_dicts_and_become_nothing_elsewhere():
    net = Net()
    report = net.remove(["relu", "dropout"])
    assert sorted(report) == sorted([*EVERY_RELU, "pair.1.0", "table.drop"])
    assert "blocks.1       ReLU() -> taken out" in str(report)
    assert [type(layer) for layer in net.body] == [Dense, Residual]
    assert isinstance(net.pair[0], Identity) and net.pair[1] == [] and net.table == {}
    assert [type(layer) for layer in net.blocks] == [Dense, Dense] and list(net.named) == ["left"]
    net.remove("first")
    assert isinstance(net.first, Identity)
    net(X)


@pytest.mark.parametrize(
    "what, words",
    [
        ("relo", "'relo' is no path and no registry name of any part of the model; did you mean 'relu'"),
        ("body.9", "did you mean 'body.[012]'"),
        (BatchNorm2D, "no part of the model is chosen by BatchNorm2D\n  the model has first \\(Dense\\), body"),
        (lambda path, module: False, "no part of the model is chosen by <lambda>"),
    ],
)
def test_what_means_nothing_is_an_error_that_names_what_is_near(what, words):
    for act in (lambda n: n.replace(what, "gelu"), lambda n: n.remove(what), lambda n: n.insert_after(what, "gelu")):
        with pytest.raises(StateError, match=words):
            act(Net())


def test_an_ambiguous_name_is_refused():
    class Odd(lc.Module):
        def __init__(self):
            self.relu, self.other = GELU(), ReLU()

    with pytest.raises(StateError, match="'relu' is the path of a part and the registry name of 1"):
        Odd().replace("relu", "gelu")
    both = Sequential(lc.layers.Linear(3, 3), lc.activations.Linear())
    with pytest.raises(StateError, match="name of components of the kinds activation and layer"):
        both.replace("linear", "relu")


@pytest.mark.parametrize(
    "by", [3, "no_such", lambda old: None, {"@layer": "dense"}], ids=["number", "name", "none", "config"]
)
def test_an_error_leaves_the_model_as_it_was(by):
    net = Net()
    before = repr(net)
    with pytest.raises((HyperparameterError, ConfigError, lc.LunarError)):
        net.replace("relu", by)
    assert repr(net) == before


def test_an_owner_that_refuses_the_part_undoes_what_was_done_before():
    class Strict(lc.Module):
        log: ClassVar[list[str]] = []

        def __init__(self):
            self.a, self.b, self.parts = ReLU(), ReLU(), [ReLU(), ReLU()]

        def __setattr__(self, name, value):
            if name == "b" and isinstance(value, GELU):
                raise HyperparameterError("b stays as it is")
            super().__setattr__(name, value)

    model = Strict()
    kept = [model.a, model.b, *model.parts]
    with pytest.raises(HyperparameterError, match="b stays"):
        model.replace("relu", "gelu")
    assert [model.a, model.b, *model.parts] == kept and not model._changed


def test_a_model_without_parts_says_so():
    with pytest.raises(StateError, match="Dense has no parts"):
        Dense(3).replace("dense", "linear")


def test_a_component_whose_parts_were_changed_has_no_configuration_any_more():
    model = lc.models.DigitsCNN()
    lc.to_config(model)
    model.replace("relu", "silu")
    with pytest.raises(ConfigError, match="parts of DigitsCNN were changed, in or at 'layers'"):
        lc.to_config(model)
    with pytest.raises(ConfigError, match="model"):
        lc.to_config({"model": model})
    residual = Residual(Sequential(Dense(4), ReLU()))  # its configuration holds its parts
    residual.replace("relu", "gelu")
    assert "gelu" in str(lc.to_config(residual))


def test_an_optimizer_that_has_stepped_keeps_the_parameters_that_it_had():
    net = Sequential(Dense(3, in_features=4), Dense(2, in_features=3))
    early, late = SGD(net.parameters(), lr=0.1), SGD(net.parameters(), lr=0.1)
    early.bind()
    net.replace("1", Dense(2, in_features=3))
    late.bind()
    own = set(map(id, net.parameters()))
    assert len(own & {id(p) for g in early.groups for p in g.params}) == 2
    assert own == {id(p) for g in late.groups for p in g.params}
    early.add_group({"params": [(f"new.{name}", p) for name, p in net[1].named_parameters()]})
    assert own <= {id(p) for g in early.groups for p in g.params}


def test_parameters_are_frozen_by_glob_name_class_and_function():
    model = Sequential(Conv2D(2, 3, in_channels=1), BatchNorm2D(), Dense(3, in_features=4))
    model[1].ensure_built(lc.zeros((1, 2, 2, 2)))
    report = model.freeze("batch_norm2d")
    assert report == ["1.weight", "1.bias"] and "1.weight  (2,) trained -> frozen" in str(report)
    assert model.freeze(Dense) == ["2.weight", "2.bias"]
    assert model.unfreeze(lambda name, p: p.ndim < 2) == ["0.bias", "1.weight", "1.bias", "2.bias"]
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["2.weight"]
    assert model.unfreeze("2") == ["2.weight", "2.bias"]
    before = [p.requires_grad for p in model.parameters()]
    with pytest.raises(StateError, match="no parameter matches '2.wieght'; did you mean '2.weight'"):
        model.freeze("0.*", "2.wieght")
    with pytest.raises(StateError, match="no part of the model is chosen by LayerNorm"):
        model.freeze(LayerNorm)
    with pytest.raises(StateError, match="no parameter is chosen by <lambda>"):
        model.freeze(lambda name, p: False)
    assert [p.requires_grad for p in model.parameters()] == before
