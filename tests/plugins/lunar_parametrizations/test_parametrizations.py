"""Parametrized layers, and what each parametrization guarantees."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.contracts.parametrization import Parametrization, is_parametrized, parametrize, remove_parametrization
from lunar_core.errors import ConfigError, HyperparameterError, NotBuiltError, ShapeError, StateError
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_core.testing.gradcheck import gradcheck
from lunar_layers.conv import Conv2D
from lunar_layers.dense import Dense
from lunar_layers.sequential import Sequential
from lunar_optimizers.sgd import SGD
from lunar_parametrizations.matrices import LowRank, Orthogonal, Symmetric
from lunar_parametrizations.norms import SpectralNorm, WeightNorm

ROWS = {
    "weight_norm": WeightNorm,
    "weight_norm, whole": lambda: WeightNorm(None),
    "weight_norm, second axis": lambda: WeightNorm(1),
    "spectral_norm": lambda: SpectralNorm(2),
    "orthogonal": Orthogonal,
    "orthogonal, exponential": lambda: Orthogonal("matrix_exp"),
    "symmetric": Symmetric,
    "low_rank": lambda: LowRank(2),
}
EXACT = ["weight_norm", "weight_norm, whole", "weight_norm, second axis"]


def dense(out=4, features=4, dtype=np.float64, seed=0):
    layer = Dense(out, in_features=features).astype(dtype)
    layer.weight.data[...] = np.random.default_rng(seed).normal(size=(out, features))
    return layer


@pytest.mark.parametrize("name", ROWS)
def test_the_value_stays_after_it_was_made_fit_and_training_works(name):
    layer = dense()
    before, weight = layer.weight.detach().numpy().copy(), layer.weight
    assert parametrize(layer, "weight", ROWS[name]()) is layer
    if name in EXACT:
        np.testing.assert_allclose(layer.weight.detach().numpy(), before, rtol=1e-12)
    assert is_parametrized(layer) and is_parametrized(layer, "weight") and not is_parametrized(layer, "bias")
    names = dict(layer.named_parameters())
    parts = [f"parametrizations.weight.{p}" for p in layer.parametrizations["weight"].parts]
    assert set(names) == {"bias", *parts}
    if "low_rank" not in name:
        assert any(p is weight for p in names.values())  # an optimizer that knew it still trains it

    layer.eval()
    layer.train()
    opt = SGD(layer.parameters(), lr=0.02)
    x = np.random.default_rng(1).normal(size=(16, 4))
    target = np.random.default_rng(2).normal(size=(16, 4))
    losses = []
    for _ in range(60):
        opt.zero_grad()
        loss = (layer(x) - target).square().mean()
        loss.backward()
        assert all(p.grad is not None for p in layer.parameters())
        opt.step()
        losses.append(loss.item())
    assert losses[-1] < 0.98 * losses[0]
    assert (isinstance(layer, Dense) and repr(layer).startswith("Dense(")) or "Dense" in repr(layer)


@pytest.mark.parametrize("name", ROWS)
def test_a_removed_one_leaves_a_plain_layer_with_the_same_output(name):
    layer = dense()
    x = np.random.default_rng(1).normal(size=(3, 4))
    parametrize(layer, "weight", ROWS[name]()).eval()
    expected = layer(x).detach().numpy()
    value = layer.weight.detach().numpy().copy()
    assert remove_parametrization(layer, "weight") is layer
    assert type(layer) is Dense and isinstance(layer.weight, lc.Parameter) and not is_parametrized(layer)
    assert set(layer.state_dict()) == {"weight", "bias"}
    np.testing.assert_array_equal(layer.weight.detach().numpy(), value)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-12)
    with pytest.raises(StateError, match="is not parametrized"):
        remove_parametrization(layer, "weight")


@pytest.mark.parametrize("name", ROWS)
def test_the_state_dict_carries_everything(name):
    one, other = dense(), dense(seed=5)
    for layer in (one, other):
        parametrize(layer, "weight", ROWS[name]()).eval()
    other.load_state_dict({k: v.copy() for k, v in one.state_dict().items()})
    np.testing.assert_array_equal(one.weight.detach().numpy(), other.weight.detach().numpy())
    twin = copy.deepcopy(one)
    np.testing.assert_array_equal(one.weight.detach().numpy(), twin.weight.detach().numpy())
    next(iter(twin.parameters())).data[...] += 1
    assert not np.array_equal(next(iter(one.parameters())).data, next(iter(twin.parameters())).data)


@pytest.mark.parametrize("name", ROWS)
def test_the_gradient_with_respect_to_the_parts_is_right(name):
    layer = dense(dtype=np.float64)
    parametrize(layer, "weight", ROWS[name]()).eval()
    p = layer.parametrizations["weight"]
    rng = np.random.default_rng(3)
    parts = [getattr(p, part).data + 0.1 * rng.normal(size=getattr(p, part).shape) for part in p.parts]
    gradcheck(p.forward, [lc.tensor(a, requires_grad=True) for a in parts], rtol=1e-6)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays(name, dtype):
    layer = parametrize(dense(dtype=dtype), "weight", ROWS[name]())
    assert layer.weight.dtype == dtype
    layer.astype(np.float64)
    assert layer.weight.dtype == np.float64
    assert layer(np.ones((2, 4))).dtype == np.float64


@pytest.mark.parametrize("name", ROWS)
def test_the_configuration_comes_back(name):
    p = ROWS[name]()
    again = type(p).from_config_fields(**json.loads(json.dumps(lc.to_config(p.config()))))
    assert repr(again) == repr(p)
    type(p)()
    with pytest.raises(HyperparameterError, match="bananas"):
        type(p)(bananas=3)


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm", "symmetric"])
def test_it_works_on_a_device_that_refuses_host_arrays(name):
    lc.seed(0)
    host = parametrize(dense(dtype=np.float32), "weight", ROWS[name]())
    with fake_device():
        layer = dense(dtype=np.float32).to("fake")
        lc.seed(0)
        parametrize(layer, "weight", ROWS[name]())
        assert isinstance(layer.weight.data, FakeArray)
        layer.weight.sum().backward()
        np.testing.assert_allclose(layer.weight.data._a, host.weight.data, rtol=1e-4)


# -- what each guarantees ----------------------------------------------------------------------------------------------


def test_the_lengths_of_units_are_the_part_g():
    layer = parametrize(dense(), "weight", WeightNorm())
    p = layer.parametrizations["weight"]
    p.g.data[...] = np.arange(1.0, 5.0)[:, None]
    np.testing.assert_allclose(np.linalg.norm(layer.weight.detach().numpy(), axis=1), [1, 2, 3, 4], rtol=1e-12)


def test_the_largest_singular_value_becomes_one():
    layer = Conv2D(6, 3)
    layer(lc.ones((1, 4, 5, 5)))
    layer.astype(np.float64)
    parametrize(layer, "weight", SpectralNorm())
    for _ in range(200):
        value = layer.weight
    assert np.linalg.svd(value.detach().numpy().reshape(6, -1), compute_uv=False)[0] == pytest.approx(1, rel=1e-6)
    layer.eval()
    u = layer.parametrizations["weight"].u.data.copy()
    first, second = layer.weight.detach().numpy(), layer.weight.detach().numpy()
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(u, layer.parametrizations["weight"].u.data)


def test_two_readings_in_one_graph_do_not_disturb_each_other():
    layer = parametrize(dense(), "weight", SpectralNorm())
    x = np.random.default_rng(1).normal(size=(3, 4))
    (layer(x).sum() - layer(2 * x).square().sum()).backward()
    assert np.isfinite(layer.parametrizations["weight"].original.grad.numpy()).all()


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6)])
@pytest.mark.parametrize("kind", ["cayley", "matrix_exp"])
def test_an_orthogonal_weight_stays_orthogonal_whatever_is_learned(shape, kind):
    layer = parametrize(dense(*shape), "weight", Orthogonal(kind))
    p = layer.parametrizations["weight"]
    for scale in (0.0, 0.5, 20.0):
        p.original.data[...] = scale * np.random.default_rng(0).normal(size=shape)
        w = layer.weight.detach().numpy()
        gram = w @ w.T if shape[0] < shape[1] else w.T @ w
        np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-10)


def test_an_orthogonal_value_is_kept():
    layer = dense()
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    layer.weight.data[...] = q
    parametrize(layer, "weight", Orthogonal())
    np.testing.assert_allclose(layer.weight.detach().numpy(), q, atol=1e-13)


def test_a_symmetric_weight_is_symmetric():
    layer = parametrize(dense(), "weight", Symmetric())
    w = layer.weight.detach().numpy()
    np.testing.assert_array_equal(w, w.T)
    with pytest.raises(ShapeError, match="expected square matrices"):
        parametrize(dense(3, 4), "weight", Symmetric())


def test_a_low_rank_weight_is_the_nearest_of_its_rank():
    layer = dense(6, 5)
    u, s, vh = np.linalg.svd(layer.weight.detach().numpy(), full_matrices=False)
    before = layer.num_parameters()
    parametrize(layer, "weight", LowRank(2))
    np.testing.assert_allclose(layer.weight.detach().numpy(), (u[:, :2] * s[:2]) @ vh[:2], atol=1e-12)
    assert layer.num_parameters() == before - 30 + 22
    full = dense(6, 5)
    expected = full.weight.detach().numpy().copy()
    np.testing.assert_allclose(parametrize(full, "weight", LowRank(9)).weight.detach().numpy(), expected, atol=1e-12)


# -- parametrize -------------------------------------------------------------------------------------------------------


def test_what_is_written_to_the_attribute_becomes_its_value():
    layer = parametrize(dense(), "weight", WeightNorm())
    new = np.random.default_rng(9).normal(size=(4, 4))
    layer.weight = new
    np.testing.assert_allclose(layer.weight.detach().numpy(), new, rtol=1e-12)
    with pytest.raises(ShapeError, match="part 'g' has shape"):
        layer.weight = np.ones((3, 4))


def test_several_parameters_of_one_layer_and_layers_in_a_model():
    net = Sequential(dense(), dense(2, 4))
    net[0].bias.data[...] = 1.0  # a vector of zeros has no direction
    parametrize(net[0], "weight", WeightNorm())
    parametrize(net[0], "bias", WeightNorm(None))
    assert "0.parametrizations.bias.v" in dict(net.named_parameters())
    net(np.ones((1, 4))).sum().backward()
    remove_parametrization(net[0], "weight")
    assert is_parametrized(net[0], "bias") and isinstance(vars(net[0])["weight"], lc.Parameter)
    remove_parametrization(net[0], "bias")
    assert type(net[0]) is Dense


def test_mistakes_are_explained():
    layer = parametrize(dense(), "weight", WeightNorm())
    with pytest.raises(StateError, match=r"Dense.weight is parametrized already"):
        parametrize(layer, "weight", Symmetric())
    with pytest.raises(StateError, match="serves another parameter"):
        parametrize(dense(), "weight", layer.parametrizations["weight"])
    with pytest.raises(StateError, match="has no parameter 'kernel'"):
        parametrize(dense(), "kernel", Symmetric())
    with pytest.raises(NotBuiltError):
        parametrize(Dense(3), "weight", WeightNorm())
    with pytest.raises(HyperparameterError, match="axis must be in"):
        parametrize(dense(), "weight", WeightNorm(2))
    with pytest.raises(ConfigError):
        lc.to_config(layer)


def test_a_strangers_parametrization_is_a_few_lines():
    class Positive(Parametrization):
        def forward(self, original):
            return ops.exp(original)

        def right_inverse(self, value):
            return ops.log(value)

    layer = dense()
    layer.weight.data[...] = 2.0
    parametrize(layer, "weight", Positive())
    np.testing.assert_allclose(layer.weight.detach().numpy(), 2.0)
    assert layer.parametrizations["weight"].original.data[0, 0] == pytest.approx(np.log(2))
