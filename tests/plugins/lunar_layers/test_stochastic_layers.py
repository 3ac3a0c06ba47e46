"""Layers that draw: rates, shapes of masks, expectations, formulas, streams, evaluation."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError, HyperparameterError, ShapeError
from lunar_layers.dense import Dense
from lunar_layers.drop_block import DropBlock
from lunar_layers.drop_connect import DropConnect
from lunar_layers.dropout import AlphaDropout, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D
from lunar_layers.noise import GaussianDropout, GaussianNoise
from lunar_layers.shape import Identity, Lambda
from lunar_layers.stochastic_depth import DropPath, LayerDrop, ShakeDrop, ShakeShake

GRIDS = {1: (6, 50, 7), 2: (6, 50, 3, 4), 3: (6, 50, 2, 3, 2)}
SPATIAL = {1: SpatialDropout1D, 2: SpatialDropout2D, 3: SpatialDropout3D}
IDENTITIES = {
    "spatial_dropout2d": (SpatialDropout2D, GRIDS[2]),
    "alpha_dropout": (AlphaDropout, (5, 4)),
    "drop_block": (lambda: DropBlock(0.3, 3), (2, 3, 8, 8)),
    "drop_path": (DropPath, (5, 4)),
    "gaussian_noise": (GaussianNoise, (5, 4)),
    "gaussian_dropout": (GaussianDropout, (5, 4)),
    "spatial_dropout2d_0": (lambda: SpatialDropout2D(0), GRIDS[2]),
    "alpha_dropout_0": (lambda: AlphaDropout(0), (5, 4)),
    "drop_block_0": (lambda: DropBlock(0), (2, 3, 8, 8)),
    "drop_path_0": (lambda: DropPath(0), (5, 4)),
    "shake_drop_0": (lambda: ShakeDrop(0), (5, 4)),
    "gaussian_noise_0": (lambda: GaussianNoise(0), (5, 4)),
    "gaussian_dropout_0": (lambda: GaussianDropout(0), (5, 4)),
}


def of(y):
    return y.detach().numpy()


@pytest.mark.parametrize("name", IDENTITIES)
def test_in_evaluation_or_at_rate_0_the_input_comes_back_and_nothing_is_drawn(name):
    make, shape = IDENTITIES[name]
    layer, x = make(), lc.ones(shape)
    assert (layer if name.endswith("_0") else layer.eval())(x) is x
    assert not any(lc.random.state()["streams"].values())


@pytest.mark.parametrize(
    "name", [n for n in IDENTITIES if not n.endswith("_0")] + ["shake_drop", "shake_shake", "drop_connect"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_seed_and_the_position_of_the_stream_decide_and_the_dtype_stays(name, dtype):
    make, shape = {**IDENTITIES, "shake_drop": (lambda: ShakeDrop(1.0), (5, 4)), "shake_shake": (ShakeShake, (5, 4)),
                   "drop_connect": (lambda: DropConnect(3, in_features=4), (5, 4))}[name]  # fmt: skip
    layer = make()
    if dtype == "float64":
        layer.astype(dtype)
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    inputs = (lc.tensor(x), lc.tensor(x * 2)) if name == "shake_shake" else (lc.tensor(x),)
    lc.seed(7)
    first, second = layer(*inputs), layer(*inputs)
    assert first.dtype == dtype
    assert not np.array_equal(of(first), of(second))
    lc.seed(7)
    np.testing.assert_array_equal(of(layer(*inputs)), of(first))
    np.testing.assert_array_equal(of(layer(*inputs)), of(second))


@pytest.mark.parametrize("name", [n for n in IDENTITIES if not n.endswith("_0")])
def test_integers_are_refused(name):
    make, shape = IDENTITIES[name]
    with pytest.raises(DTypeError, match="expects floating-point inputs, got int64"):
        make()(np.ones(shape, np.int64))


# -- whole channels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("p", [0.2, 0.7])
def test_spatial_dropout_takes_whole_channels_at_its_rate_and_scales_the_others(dims, p):
    y = SPATIAL[dims](p)(lc.ones((40, *GRIDS[dims][1:]))).numpy()
    flat = y.reshape(40, 50, -1)
    assert (flat == flat[..., :1]).all()
    kept = flat[..., 0] != 0
    assert kept.mean() == pytest.approx(1 - p, abs=0.03)
    np.testing.assert_allclose(flat[kept], 1 / (1 - p), rtol=1e-4)
    assert kept.any(axis=0).mean() > 0  # each example has its own
    assert not (kept == kept[0]).all()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_spatial_dropout_drops_all_at_one_and_names_another_rank(dims):
    assert not SPATIAL[dims](1)(lc.ones(GRIDS[dims])).numpy().any()
    with pytest.raises(ShapeError, match=f"SpatialDropout{dims}D expects NC"):
        SPATIAL[dims](0.5)(lc.ones((3, 4)))


# -- alpha dropout -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance_and_has_the_papers_two_values(p):
    x = np.random.default_rng(0).normal(size=(400, 500))
    y = AlphaDropout(p)(lc.tensor(x)).numpy()
    assert y.mean() == pytest.approx(0, abs=0.01)
    assert y.var() == pytest.approx(1, abs=0.02)
    limit = -1.0507009873554805 * 1.6732632423543772
    a = ((1 - p) * (1 + p * limit**2)) ** -0.5
    b = -a * p * limit
    kept = np.isclose(y, a * x + b, rtol=1e-3, atol=1e-3)
    assert kept.mean() == pytest.approx(1 - p, abs=0.01)
    np.testing.assert_allclose(y[~kept], a * limit + b, rtol=1e-3)


# -- blocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_drop_block_drops_squares_at_about_its_rate_and_keeps_the_sum(size):
    x = lc.ones((30, 20, 16, 15), dtype="float64")
    y = DropBlock(0.1, size)(x).numpy()
    gone = y == 0
    assert 0.07 < gone.mean() < 0.11
    assert y.sum() == pytest.approx(y.size)
    assert len(np.unique(y)) == 2
    # every dropped pixel lies in a whole block of dropped ones
    windows = np.lib.stride_tricks.sliding_window_view(gone, (size, size), axis=(2, 3)).all(axis=(4, 5))
    covered = np.zeros_like(gone)
    for i in range(size):
        for j in range(size):
            covered[:, :, i : i + windows.shape[2], j : j + windows.shape[3]] |= windows
    np.testing.assert_array_equal(covered, gone)


def test_drop_block_draws_corners_with_the_papers_gamma():
    y = DropBlock(0.2, 3)(lc.ones((200, 50, 9, 9))).numpy()
    gamma = 0.2 / 9 * 81 / 49
    assert (y[:, :, 0, 0] == 0).mean() == pytest.approx(gamma, rel=0.1)  # one corner reaches it
    assert (y[:, :, 4, 4] == 0).mean() == pytest.approx(1 - (1 - gamma) ** 9, rel=0.05)  # nine do


def test_drop_block_takes_sequences_volumes_and_images_smaller_than_a_block():
    for shape in ((20, 30, 12), (5, 6, 4, 6, 5), (40, 30, 3, 9)):
        y = DropBlock(0.3, 4)(lc.ones(shape)).numpy()
        assert y.shape == shape
        assert (y == 0).any()
    small = DropBlock(0.3, 7)(lc.ones((500, 1, 3, 3))).numpy().reshape(500, -1)
    assert (small == small[:, :1]).all()
    assert DropBlock(0.3)(lc.ones((0, 3, 8, 8))).shape == (0, 3, 8, 8)
    with pytest.raises(ShapeError, match="DropBlock expects inputs"):
        DropBlock()(lc.ones((3, 4)))


# -- weights -----------------------------------------------------------------------------------------------------------


def test_drop_connect_drops_weights_at_its_rate_for_the_batch_or_for_each_example():
    x = np.eye(40)
    for per_example in (False, True):
        layer = DropConnect(500, p=0.3, in_features=40, per_example=per_example, weight_init="ones").astype("float64")
        y = of(layer(lc.tensor(x)))  # the weights themselves, one column for each example
        assert (y == 0).mean() == pytest.approx(0.3, abs=0.02)
        np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-4)
        same = of(layer(lc.tensor(np.ones((3, 40)))))
        assert (same == same[0]).all() != per_example


def test_drop_connect_is_dense_in_evaluation_and_its_gradient_sees_the_mask():
    layer = DropConnect(3, p=0.5, in_features=4)
    plain = Dense(3, in_features=4)
    plain.load_state_dict(layer.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    np.testing.assert_array_equal(of(layer.eval()(x)), of(plain(x)))
    layer.train()
    for per_example in (False, True):
        layer.per_example = per_example
        layer.zero_grad()
        y = layer(lc.ones((2, 5, 4)))
        assert y.shape == (2, 5, 3)
        y.sum().backward()
        kept = layer.weight.grad.numpy() / 10
        if not per_example:
            assert set(np.round(np.unique(kept), 3)) <= {0.0, 2.0}
        assert (layer.bias.grad.numpy() == 10).all()
    with pytest.raises(ShapeError, match="DropConnect expects inputs whose last axis is 4"):
        layer(lc.ones((2, 3)))


# -- noise -------------------------------------------------------------------------------------------------------------


def test_gaussian_noise_is_added_and_gaussian_dropout_multiplied_with_the_right_moments():
    x = lc.ones((400, 500))
    noise = GaussianNoise(0.3)(x).numpy() - 1
    assert noise.mean() == pytest.approx(0, abs=0.003)
    assert noise.std() == pytest.approx(0.3, abs=0.003)
    for p in (0.1, 0.5):
        factor = GaussianDropout(p)(x).numpy()
        assert factor.mean() == pytest.approx(1, abs=0.01)
        assert factor.var() == pytest.approx(p / (1 - p), rel=0.02)
    x = lc.ones((50,), requires_grad=True)
    y = GaussianDropout(0.5)(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), of(y))


# -- residual branches -------------------------------------------------------------------------------------------------


def test_drop_path_drops_whole_examples_or_the_whole_batch():
    y = DropPath(0.3)(lc.ones((4000, 2, 3))).numpy().reshape(4000, -1)
    assert (y == y[:, :1]).all()
    assert (y[:, 0] != 0).mean() == pytest.approx(0.7, abs=0.03)
    np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-4)
    batch = DropPath(0.3, "batch")
    seen = [np.unique(batch(lc.ones((5, 2))).numpy()) for _ in range(300)]
    assert all(len(values) == 1 for values in seen)
    assert np.mean([values[0] == 0 for values in seen]) == pytest.approx(0.3, abs=0.08)
    assert not DropPath(1)(lc.ones((3, 2))).numpy().any()


def test_layer_drop_leaves_layers_out_builds_all_of_them_and_runs_all_in_evaluation():
    lc.seed(3)
    net = LayerDrop(*[Dense(4, weight_init="identity", bias_init="ones") for _ in range(6)], p=1.0)
    x = lc.ones((2, 4))
    assert net(x) is x
    assert len(net.state_dict()) == 12
    net.p = 0.4
    counts = [of(net(x))[0, 0] - 1 for _ in range(400)]
    assert np.mean(counts) == pytest.approx(6 * 0.6, abs=0.2)
    assert len(set(counts)) > 3
    net.eval()
    np.testing.assert_array_equal(of(net(x)), 7)
    half = net[::2]
    assert isinstance(half, LayerDrop)
    assert (half.p, len(half), half[1]) == (0.4, 3, net[2])
    with pytest.raises(HyperparameterError, match="LayerDrop: p"):
        LayerDrop(Identity(), p=1.5)


def test_shake_drop_has_the_papers_factors_and_its_expectation_in_evaluation():
    x = lc.ones((3000, 2), requires_grad=True)
    y = ShakeDrop(1.0)(x)
    alpha = of(y)
    assert (alpha == alpha[:, :1]).all()
    assert -1 <= alpha.min() < -0.98
    assert 0.98 < alpha.max() <= 1
    y.sum().backward()
    beta = x.grad.numpy()
    assert 0 <= beta.min() < 0.01
    assert 0.99 < beta.max() <= 1
    assert abs(np.corrcoef(alpha[:, 0], beta[:, 0])[0, 1]) < 0.06
    layer = ShakeDrop(0.3)
    draws = np.array([of(layer(lc.ones((1, 1)))).item() for _ in range(3000)])
    assert (draws == 1).mean() == pytest.approx(0.7, abs=0.03)
    assert draws.mean() == pytest.approx(0.7, abs=0.04)
    assert of(layer.eval()(lc.ones((1, 1)))).item() == pytest.approx(0.7)
    assert of(ShakeDrop(0.5, (0.0, 1.0)).eval()(lc.ones((1, 1)))).item() == pytest.approx(0.75)


@pytest.mark.parametrize("level, distinct", [("batch", 1), ("image", 4), ("channel", 12), ("pixel", 60)], ids=str)
def test_shake_drop_draws_one_factor_for_what_its_level_says(level, distinct):
    assert len(np.unique(of(ShakeDrop(1.0, level=level)(lc.ones((4, 3, 5)))))) == distinct


@pytest.mark.parametrize("level", ["image", "batch"])
@pytest.mark.parametrize("backward", ["shake", "even", "keep"])
@pytest.mark.parametrize("forward", ["shake", "even"])
def test_shake_shake_mixes_with_one_number_forward_and_another_backward(forward, backward, level):
    a = lc.tensor(np.ones((500, 2)), requires_grad=True)
    b = lc.tensor(np.zeros((500, 2)), requires_grad=True)
    layer = ShakeShake(forward, backward, level)
    y = layer(a, b)
    y.sum().backward()
    alpha, beta = of(y), a.grad.numpy()
    np.testing.assert_allclose(beta + b.grad.numpy(), 1, rtol=1e-12)
    for values, mode in ((alpha, forward), (beta, backward)):
        assert (values == values[:, :1]).all()
        if mode == "even":
            np.testing.assert_allclose(values, 0.5)
        elif mode == "shake":
            assert 0 <= values.min() <= values.max() < 1
            assert len(np.unique(values.round(12))) == (1 if level == "batch" else 500)
    if backward == "keep":
        np.testing.assert_allclose(alpha, beta, rtol=1e-12)
    elif (forward, backward) == ("shake", "shake"):
        assert not np.allclose(alpha, beta)
    np.testing.assert_array_equal(of(layer.eval()(a, b)), 0.5)
    with pytest.raises(ShapeError, match="branches of one shape"):
        layer(a, lc.ones((500, 3)))


def test_rates_out_of_range_are_named():
    for make, name in (
        (lambda: AlphaDropout(1.0), "AlphaDropout: p"), (lambda: DropBlock(0.1, 0), "DropBlock: block_size"),
        (lambda: DropPath(-0.1), "DropPath: p"), (lambda: DropPath(0.1, "column"), "DropPath: mode"),
        (lambda: GaussianNoise(-1), "GaussianNoise: std"), (lambda: GaussianDropout(1.0), "GaussianDropout: p"),
        (lambda: DropConnect(3, p=1.0), "DropConnect: p"), (lambda: ShakeDrop(level="row"), "ShakeDrop: level"),
        (lambda: ShakeShake("odd"), "ShakeShake: forward_mode"), (lambda: Lambda(3), "Lambda: function"),
    ):  # fmt: skip
        with pytest.raises(HyperparameterError, match=name):
            make()
