"""bfloat16 by oneDNN: products, convolutions and gelu round once, after adding up in float32; conversions are exact.

The tests skip on a processor without instructions for it, where the reference computes.
"""

import ml_dtypes
import numpy as np
import pytest
from agreement import lay, reference

import lunar_core as lc
from lunar_core import ops
from lunar_core.op import OPS
from lunar_kernels import convolution, elementwise, products

LOW = np.dtype(ml_dtypes.bfloat16)
ROUNDING = 2.0**-8  # half the distance of neighbouring numbers, relative to the larger


@pytest.fixture
def bf16(onednn, monkeypatch):
    monkeypatch.setattr(products, "_LEAST", 0)
    monkeypatch.setattr(products, "_NARROWEST", 1)
    x = np.ones((64, 64), LOW)
    if products.matmul(x, x) is NotImplemented:
        pytest.skip("this processor has no instructions for bfloat16")
    return onednn


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=s).astype(LOW) for s in shapes]


def assert_rounded_once(got, expected):
    assert got.dtype == LOW and got.shape == expected.shape
    error = np.abs(got.astype(np.float64) - expected)
    assert (error <= ROUNDING * np.abs(expected) + 1e-4 * np.abs(expected).max()).all()


@pytest.mark.parametrize("shapes", [((33, 48), (48, 20)), ((4, 33, 48), (48, 20)), ((3, 2, 17, 24), (3, 2, 24, 9))])
@pytest.mark.parametrize("transposed", [False, True])
def test_products(bf16, shapes, transposed):
    x, y = arrays(*shapes)
    if transposed:
        y = np.ascontiguousarray(y.swapaxes(-1, -2)).swapaxes(-1, -2)
    assert_rounded_once(products.matmul(x, y), x.astype(np.float64) @ y.astype(np.float64))


def test_linear_with_a_bias(bf16):
    x, w, b = arrays((5, 7, 32), (24, 32), (24,))
    wide = [a.astype(np.float64) for a in (x, w, b)]
    assert_rounded_once(products.linear(x, w, b), reference("linear")(*wide))


@pytest.mark.parametrize("channels", [(16, 32), (3, 16), (64, 64)])
def test_convolutions_and_their_adjoints(bf16, channels):
    c, o = channels
    x, w, b, g = arrays((2, c, 12, 12), (o, c, 3, 3), (o,), (2, o, 12, 12))
    static = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    x64, w64, b64, g64 = (a.astype(np.float64) for a in (x, w, b, g))
    x, g = lay(x, "last"), lay(g, "last")
    taken = {
        "conv2d": (convolution.conv2d(x, w, b, **static), reference("conv2d")(x64, w64, b64, **static)),
        "input": (
            convolution.conv2d_input_grad(g, w, size=(12, 12), **static),
            reference("conv2d_input_grad")(g64, w64, size=(12, 12), **static),
        ),
        "weight": (
            convolution.conv2d_weight_grad(x, g, kernel=(3, 3), **static),
            reference("conv2d_weight_grad")(x64, g64, kernel=(3, 3), **static),
        ),
    }
    assert any(got is not NotImplemented for got, _ in taken.values())
    for got, expected in taken.values():
        if got is not NotImplemented:
            assert_rounded_once(got, expected)


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh"])
def test_gelu_and_its_gradient(bf16, name):
    x, g = arrays((40, 33), (40, 33))
    x64, g64 = x.astype(np.float64), g.astype(np.float64)
    assert_rounded_once(elementwise.KERNELS[name](x), reference(name)(x64))
    assert_rounded_once(elementwise.KERNELS[f"{name}_grad"](g, x), reference(f"{name}_grad")(g64, x64))


@pytest.mark.parametrize("layout", ["plain", "last", "gaps"])
def test_conversions_round_to_even_as_numpy_does_and_keep_the_memory_order(onednn, layout):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 16, 12, 12)).astype(np.float32)
    x.flat[:6] = [np.nan, np.inf, -np.inf, 1.00390625, 1.01171875, 3.4e38]  # two ties, and what rounds to infinity
    x = lay(x, layout)
    low, back = ops.cast(x, dtype=LOW), ops.cast(ops.cast(x, dtype=LOW), dtype=np.dtype(np.float32))
    np.testing.assert_array_equal(low.astype(np.float32), x.astype(LOW).astype(np.float32))
    np.testing.assert_array_equal(back, x.astype(LOW).astype(np.float32))
    if layout != "gaps":
        assert elementwise.cast(x, LOW) is not NotImplemented
        assert [s // 2 for s in low.strides] == [s // 4 for s in x.strides]


def test_a_training_step_under_autocast_uses_them_and_stays_near_float32(onednn):
    def losses(low):
        lc.seed(0)
        model = lc.layers.Sequential(lc.layers.Dense(256), lc.activations.GELU(), lc.layers.Dense(10))
        optimizer = lc.optimizers.AdamW(model.parameters(), lr=1e-3)
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(128, 64)).astype(np.float32), rng.integers(0, 10, 128)
        found = []
        for _ in range(20):
            optimizer.zero_grad()
            with lc.autocast("bfloat16", enabled=low):
                loss = ops.mean(ops.cross_entropy(model(lc.tensor(x)), lc.tensor(y)))
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return np.array(found)

    np.testing.assert_allclose(losses(True), losses(False), rtol=2e-2)
    assert OPS["matmul"].bound(np.ndarray) is not OPS["matmul"].forward
