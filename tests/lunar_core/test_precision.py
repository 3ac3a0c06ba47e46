"""autocast runs each op in the precision that its policy names, and leaves parameters and other threads alone."""

import threading

import ml_dtypes
import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError
from lunar_core.modes import modes
from lunar_core.op import OPS, slot

BF16, SINGLE = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32)
RNG = np.random.default_rng(0)


def tensor(*shape, grad=False, dtype="float32"):
    return lc.tensor(RNG.uniform(0.5, 1.5, shape), dtype=dtype, requires_grad=grad)


def test_products_are_low_and_what_loses_precision_is_single():
    x, w = tensor(4, 3), tensor(2, 3)
    with lc.autocast():
        y = lc.ops.linear(x, w)
        assert y.dtype == BF16 and (x @ w.T).dtype == BF16 and lc.ops.einsum("ij,kj->ik", x, w).dtype == BF16
        for single in (y.softmax(), y.exp(), y.sum(), y.mean(axis=0), lc.ops.layer_norm(y), y.log_softmax()):
            assert single.dtype == SINGLE
        assert (y * 2.0).dtype == BF16 and lc.ops.relu(y).dtype == BF16 and (y + x[:, :2]).dtype == SINGLE
        assert lc.ops.concat([y, x[:, :2]]).dtype == SINGLE
    assert lc.ops.linear(x, w).dtype == SINGLE


def test_convolutions_and_attention_are_low():
    with lc.autocast("float16"):
        assert lc.ops.conv2d(tensor(1, 2, 5, 5), tensor(3, 2, 3, 3)).dtype == np.float16
        q = tensor(1, 4, 8)
        assert lc.ops.scaled_dot_product_attention(q, q, q).dtype == np.float16


def test_parameters_stay_single_and_get_single_gradients_near_the_exact_ones():
    def loss(x, w, v):
        return ((lc.ops.linear(lc.ops.linear(x, w).tanh(), v)) ** 2).mean()

    x, w, v = tensor(16, 8), tensor(8, 8), tensor(3, 8)
    w, v = ((p * 0.2).requires_grad_() for p in (w, v))
    loss(x, w, v).backward()
    exact = [p.grad.numpy().copy() for p in (w, v)]
    w.grad = v.grad = None
    with lc.autocast("bfloat16"):
        value = loss(x, w, v)
    value.backward()
    for p, expected in zip((w, v), exact):
        assert p.grad.dtype == SINGLE
        np.testing.assert_allclose(p.grad.numpy(), expected, rtol=0.05, atol=0.05 * abs(expected).max())


def test_a_parameter_is_converted_once_for_each_pass_and_anew_after_a_step():
    x, w = tensor(4, 8), tensor(8, 8, grad=True)
    casts = []

    def tracer(op, inputs, static):
        casts.append(op.name)
        return op.apply(inputs, static)

    with lc.autocast():
        slot.tracer = tracer
        try:
            first = lc.ops.linear(lc.ops.linear(x, w), w)
        finally:
            slot.tracer = None
        assert casts.count("cast") == 2  # x and w
        first.sum().backward()
        once = w.grad.numpy().copy()
        lc.ops.linear(lc.ops.linear(x, w), w).sum().backward()  # the graph of the first conversion is gone
        np.testing.assert_allclose(w.grad.numpy(), 2 * once, rtol=1e-6)
        before = lc.ops.linear(x, w).detach().astype("float32").numpy()
        with lc.no_grad():
            w.assign_(w * 2)
        np.testing.assert_allclose(lc.ops.linear(x, w).detach().astype("float32").numpy(), 2 * before, rtol=0.02)


def test_blocks_nest_switch_off_and_restore_also_after_an_error():
    x = tensor(2, 2)
    with lc.autocast("float16"):
        assert (x @ x).dtype == np.float16
        with lc.autocast("bfloat16"):
            assert (x @ x).dtype == BF16
        with lc.autocast(enabled=False):
            assert (x @ x).dtype == SINGLE
        with pytest.raises(ZeroDivisionError), lc.autocast("bfloat16"):
            1 / 0  # noqa: B018
        assert (x @ x).dtype == np.float16
    assert modes.autocast is None and not slot.busy


def test_it_decorates_a_function():
    @lc.autocast("bfloat16")
    def product(x):
        return x @ x

    assert product(tensor(2, 2)).dtype == BF16 and modes.autocast is None


def test_another_thread_is_not_affected():
    x, found = tensor(2, 2), []
    with lc.autocast():
        thread = threading.Thread(target=lambda: found.append((x @ x).dtype))
        thread.start()
        thread.join()
        assert (x @ x).dtype == BF16
    assert found == [SINGLE]


def test_double_precision_and_integers_are_left_alone():
    with lc.autocast():
        x = tensor(2, 2, dtype="float64")
        assert (x @ x).dtype == np.float64
        i = lc.tensor([[1, 2], [3, 4]])
        assert (i @ i).dtype == np.int64


def test_a_dtype_that_is_not_low_is_refused():
    with pytest.raises(DTypeError, match="expected bfloat16 or float16, got float32"):
        lc.autocast("float32")


def test_every_policy_is_one_that_autocast_knows():
    assert {op.cast for op in OPS.values()} <= {None, "low", "float32", "promote"}
    assert all(OPS[name].cast == "low" for name in ("matmul", "linear", "einsum", "conv2d"))
    assert all(
        OPS[name].cast == "float32" for name in ("softmax", "exp", "log", "sum", "mean", "layer_norm", "cross_entropy")
    )


def test_gradients_of_checkpointed_blocks_use_the_precision_of_the_first_run():
    x, w = tensor(4, 4), tensor(4, 4, grad=True)
    with lc.autocast():
        plain = lc.ops.linear(x, w).sum()
    plain.backward()
    expected, w.grad = w.grad.numpy().copy(), None
    with lc.autocast():
        kept = lc.checkpoint(lambda x: lc.ops.linear(x, w).sum(), x)
    kept.backward()
    np.testing.assert_array_equal(w.grad.numpy(), expected)


BESIDE_NUMBERS = {
    "times": lambda x: x * 2.5, "number first": lambda x: 2.5 - x, "divide": lambda x: x / 3.0, "power": lambda x: x**2.0,
    "where": lambda x: lc.ops.where(x > 0.0, x, 0.0), "where first": lambda x: lc.ops.where(x > 0.0, 0.5, x),
    "elu": lc.ops.elu, "gelu": lc.ops.gelu, "gelu tanh": lambda x: lc.ops.gelu(x, "tanh"),
    "leaky_relu": lc.ops.leaky_relu, "softplus": lc.ops.softplus, "clip": lambda x: x.clip(0.1, 0.9),
    "hardswish": lc.ops.hardswish, "mish": lc.ops.mish, "maximum": lambda x: lc.ops.maximum(x, 0.7),
    "remainder": lambda x: x % 0.4, "lerp": lambda x: lc.ops.lerp(x, x, 0.5), "softshrink": lc.ops.softshrink,
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE_NUMBERS)
def test_bfloat16_stays_bfloat16_beside_python_floats_and_so_does_its_gradient(name):
    x = lc.tensor([0.25, 1.5, -0.75], dtype="bfloat16", requires_grad=True)
    y = BESIDE_NUMBERS[name](x)
    assert y.dtype == BF16
    y.sum().backward()
    assert x.grad.dtype == BF16
    exact = BESIDE_NUMBERS[name](x.detach().astype("float32"))
    np.testing.assert_allclose(y.detach().astype("float32").numpy(), exact.numpy(), rtol=0.01, atol=0.01)


def test_half_precision_products_are_computed_in_single_and_rounded_once():
    x = RNG.uniform(0, 1, (3, 4000)).astype(BF16)
    for y in (lc.tensor(x) @ lc.tensor(x.T), lc.ops.linear(lc.tensor(x), lc.tensor(x))):
        assert y.dtype == BF16
        single = x.astype(np.float32)
        np.testing.assert_array_equal(y.numpy(), (single @ single.T).astype(BF16))
