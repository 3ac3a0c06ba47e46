"""ModuleList, ModuleDict, Parallel, Residual, SharedBlock: naming, access, results, configurations."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations.relu import ReLU
from lunar_core.errors import HyperparameterError, IndexingError, ShapeError
from lunar_layers.branches import Parallel, Residual, SharedBlock
from lunar_layers.conv import Conv2D
from lunar_layers.dense import Dense
from lunar_layers.module_list import ModuleDict, ModuleList
from lunar_layers.sequential import Sequential
from lunar_layers.shape import Identity

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


class Holder(lc.Module):
    def __init__(self, parts):
        self.parts = parts


def of(y):
    return y.detach().numpy()


# -- lists and dicts ---------------------------------------------------------------------------------------------------


def test_a_list_names_its_modules_by_position_and_works_like_a_list():
    blocks = ModuleList(Dense(2, in_features=4), Dense(3, in_features=4))
    assert list(Holder(blocks).state_dict()) == ["parts.0.weight", "parts.0.bias", "parts.1.weight", "parts.1.bias"]
    extra = [ReLU(), Identity()]
    assert blocks.append(extra[0]).extend(extra[1:]) is blocks
    assert (len(blocks), blocks[-1], list(blocks)[2]) == (4, extra[1], extra[0])
    part = blocks[1:3]
    assert isinstance(part, ModuleList)
    assert list(part) == [blocks[1], blocks[2]]
    blocks[0] = extra[0]
    assert blocks[0] is extra[0]
    with pytest.raises(IndexingError, match="ModuleList: position 9"):
        blocks[9]


def test_a_dict_names_its_modules_by_key_and_works_like_a_dict():
    parts = ModuleDict({"left": Dense(2, in_features=4)}, right=Dense(3, in_features=4, use_bias=False))
    assert list(Holder(parts).state_dict()) == ["parts.left.weight", "parts.left.bias", "parts.right.weight"]
    assert (list(parts), len(parts), "left" in parts, "training" in parts, 3 in parts) == (
        ["left", "right"],
        2,
        True,
        False,
        False,
    )
    assert list(parts.keys()) == list(parts)
    assert list(parts.values()) == [parts["left"], parts["right"]]
    assert dict(parts.items()) == {"left": parts["left"], "right": parts["right"]}
    parts["left"] = ReLU()
    assert isinstance(parts["left"], ReLU)
    del parts["left"]
    assert list(parts) == ["right"]
    assert not parts.eval()["right"].training


def test_what_is_no_key_or_no_module_is_refused():
    parts = ModuleDict()
    for key in ("", "a.b", 3, "training", "forward"):
        with pytest.raises(HyperparameterError, match="ModuleDict"):
            parts[key] = ReLU()
    with pytest.raises(HyperparameterError, match="the value of 'a' must be a module, got 3"):
        parts["a"] = 3
    with pytest.raises(HyperparameterError, match="expected a mapping"):
        ModuleDict([ReLU()])
    with pytest.raises(IndexingError, match="ModuleDict has no 'b'; it has nothing"):
        parts["b"]
    with pytest.raises(
        HyperparameterError, match=r"ModuleList: layer 0 must be a module, got ReLU\n.*make an instance"
    ):
        ModuleList(ReLU)


@pytest.mark.parametrize("make", [ModuleList, ModuleDict])
def test_calling_what_only_holds_says_what_to_do_instead(make):
    with pytest.raises(
        HyperparameterError, match="holds modules and computes nothing itself\n(.*\n)*.*call what it holds"
    ):
        make()(X)


CONTAINERS = {
    "module_list": lambda: ModuleList(Dense(2), Dense(3)),
    "module_dict": lambda: ModuleDict(a=Dense(2), b=ReLU()),
    "parallel": lambda: Parallel(Dense(4), Identity(), merge="add"),
    "residual": lambda: Residual(Dense(4), scale=0.5),
    "shared_block": lambda: SharedBlock(Dense(4), 3),
    "layer_drop": lambda: lc.layers.LayerDrop(Dense(4), Dense(4), p=0.3),
    "sequential": lambda: Sequential(Dense(4), ReLU()),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_configuration_builds_an_equal_container(name):
    layer = CONTAINERS[name]()
    config = lc.to_config(layer)
    assert config["@layer"] == name
    again = lc.from_config(config)
    assert repr(again) == repr(layer)
    assert lc.to_config(again) == config


@pytest.mark.parametrize("name", ["parallel", "residual", "shared_block", "layer_drop", "sequential"])
def test_state_and_copies_go_round(name):
    layer = CONTAINERS[name]().eval()
    expected = of(layer(lc.tensor(X)))
    np.testing.assert_array_equal(of(copy.deepcopy(layer)(lc.tensor(X))), expected)
    again = CONTAINERS[name]().eval()
    again(lc.tensor(X))
    again.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(of(again(lc.tensor(X))), expected)


# -- branches ----------------------------------------------------------------------------------------------------------


def test_parallel_merges_the_results_of_its_branches():
    a, b = Dense(4), Dense(4)
    x = lc.tensor(X)
    y = [of(a(x)), of(b(x))]
    np.testing.assert_array_equal(of(Parallel(a, b)(x)), np.concatenate(y, 1))
    np.testing.assert_array_equal(of(Parallel([a, b], merge="add")(x)), y[0] + y[1])
    np.testing.assert_allclose(of(Parallel(a, b, merge="mean")(x)), (y[0] + y[1]) / 2)
    np.testing.assert_array_equal(of(Parallel(a, b, axis=0)(x)), np.concatenate(y, 0))
    both = Parallel(a, b, merge="none")(x)
    assert isinstance(both, tuple)
    np.testing.assert_array_equal(of(both[1]), y[1])
    assert isinstance(Parallel(a, b, merge="add")[:1], Parallel)
    assert Parallel(a, b, merge="add")[:1].merge == "add"


def test_parallel_names_what_cannot_be_merged():
    with pytest.raises(ShapeError, match=r"Parallel adds what is of one shape, got \(3, 2\), \(3, 4\)"):
        Parallel(Dense(2), Identity(), merge="add")(lc.tensor(X))
    with pytest.raises(ShapeError, match="Parallel: shapes may differ on axis 0 alone"):
        Parallel(Dense(2), Identity(), axis=0)(lc.tensor(X))
    with pytest.raises(HyperparameterError, match="Parallel: merge must be one of 'concat'"):
        Parallel(Identity(), merge="max")
    with pytest.raises(ShapeError, match="no layers"):
        Parallel()(lc.tensor(X))


def test_residual_adds_a_scaled_body_to_the_shortcut():
    body, short = Dense(4), Dense(4)
    x = lc.tensor(X)
    np.testing.assert_allclose(of(Residual(body)(x)), X + of(body(x)), rtol=1e-6)
    np.testing.assert_allclose(of(Residual(body, short, scale=0.25)(x)), of(short(x)) + 0.25 * of(body(x)), rtol=1e-6)
    assert list(Residual(body, short).state_dict()) == ["body.weight", "body.bias", "shortcut.weight", "shortcut.bias"]


def test_residual_names_shapes_that_do_not_add_and_says_how_to_mend_it():
    layer = Residual(Conv2D(3, 3))
    message = r"shortcut of shape \(1, 2, 5, 5\) to a result of shape \(1, 3, 3, 3\)\n(.*\n)?.*shortcut=Conv2D"
    with pytest.raises(ShapeError, match=message):
        layer(lc.ones((1, 2, 5, 5)))
    wrong = {
        "body": lambda: Residual(np.tanh),
        "shortcut": lambda: Residual(ReLU(), 3),
        "block": lambda: SharedBlock(3),
    }
    for field, make in wrong.items():
        with pytest.raises(HyperparameterError, match=f"{field} must be a module"):
            make()


def test_a_shared_block_repeats_one_set_of_weights_and_adds_its_gradients_up():
    block = Dense(4, use_bias=False)
    shared = SharedBlock(block, 3)
    x = lc.tensor(X.astype(np.float64))
    y = shared(x)
    w = of(block.weight)
    np.testing.assert_allclose(of(y), X @ w.T @ w.T @ w.T, rtol=1e-6)
    assert shared.num_parameters() == 16
    y.sum().backward()
    twin = lc.tensor(w, requires_grad=True)
    ones = lc.tensor(np.ones((3, 4)))
    (((x @ twin.T) @ twin.T @ twin.T) * ones).sum().backward()
    np.testing.assert_allclose(block.weight.grad.numpy(), twin.grad.numpy(), rtol=1e-9)
    with pytest.raises(ShapeError, match=r"applies one block 2 times, but it turns \(3, 4\) into \(3, 5\)"):
        SharedBlock(Dense(5))(lc.tensor(X))
    assert SharedBlock(Dense(5), 1)(lc.tensor(X)).shape == (3, 5)


def test_the_repr_shows_what_is_held_once():
    assert repr(Residual(Dense(4), scale=0.5)) == "Residual(scale=0.5) (\n  (body): Dense(out_features=4)\n)"
    assert repr(SharedBlock(Dense(4), 3)) == "SharedBlock(times=3) (\n  (block): Dense(out_features=4)\n)"
    assert repr(Parallel(ReLU())) == "Parallel(merge='concat', axis=1) (\n  (0): ReLU()\n)"


def test_lists_insert_and_delete_as_lists_do():
    first, second, third = Dense(1), Dense(2), Dense(3)
    for cls in (ModuleList, Sequential):
        layers = cls(first, third)
        layers.insert(1, second)
        assert list(layers) == [first, second, third] and [n for n, _ in layers.named_children()] == ["0", "1", "2"]
        layers.insert(-10, third)
        assert layers[0] is third and len(layers) == 4
        del layers[0]
        del layers[-1]
        assert list(layers) == [first, second]
        del layers[0:1]
        assert list(layers) == [second]
        with pytest.raises(IndexingError, match="position 5 is out of range"):
            del layers[5]
        with pytest.raises(HyperparameterError, match="must be a module"):
            layers.insert(0, 3)
