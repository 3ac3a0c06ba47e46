"""Elementwise functions: operators on integers, complex gradients, special values, errors."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError
from lunar_core.testing import gradcheck, gradgradcheck


def test_operators_on_integers_work_on_their_bits():
    x = lc.tensor([6, 5])
    assert (x & 3).tolist() == [2, 1] and (x | 8).tolist() == [14, 13] and (x ^ 1).tolist() == [7, 4]
    assert (x << 2).tolist() == [24, 20] and (x >> 1).tolist() == [3, 2] and (~x).tolist() == [-7, -6]
    assert (1 << x).tolist() == [64, 32] and (3 & x).tolist() == [2, 1] and (8 | x).tolist() == [14, 13]


def test_operators_on_bools_are_the_logical_ones():
    x, y = lc.tensor([True, True]), lc.tensor([True, False])
    assert (x & y).tolist() == [True, False] and (x ^ y).tolist() == [False, True] and (~y).tolist() == [False, True]
    assert (~y).dtype == bool and (x & y).dtype == bool


def test_bits_of_floating_numbers_are_refused():
    with pytest.raises(DTypeError, match="bitwise_and"):
        lc.tensor([1.0]) & 1


def test_complex_loss_moves_against_its_gradient():
    z = lc.tensor(np.array([1.0 + 2.0j]), requires_grad=True)
    (z.real**2 + 3 * z.imag).sum().backward()
    assert z.grad.tolist() == [2.0 + 3.0j]  # dL/dRe + i dL/dIm


def test_a_real_number_beside_complex_ones_gets_a_real_gradient():
    x = lc.tensor(np.array([1.5, 0.5]), requires_grad=True)
    z = np.array([1.0 + 1.0j, 2.0 - 1.0j])
    gradcheck(lambda x: x * lc.tensor(z), [x])
    gradgradcheck(lambda x: ops.exp(x * lc.tensor(z)), [x])


def test_the_slope_of_a_magnitude_at_zero_is_zero():
    z = lc.tensor(np.array([0j, 3 + 4j]), requires_grad=True)
    ops.abs(z).sum().backward()
    assert z.grad.tolist() == [0, 0.6 + 0.8j]
    (g,) = lc.grad(ops.abs(z).sum(), [z], create_graph=True)
    assert np.isfinite(lc.grad(g.real.sum(), [z])[0].data).all()


def test_logaddexp_of_nothing_has_no_slope():
    x = lc.tensor([-np.inf, 0.0], requires_grad=True)
    y = lc.tensor([-np.inf, -np.inf])
    out = ops.logaddexp(x, y)
    assert out.tolist() == [-np.inf, 0]
    out.sum().backward()
    assert x.grad.tolist() == [0, 1]


def test_round_takes_decimals_and_keeps_the_dtype():
    x = lc.tensor([1.25, -2.35, 1234.5])
    np.testing.assert_allclose(x.round(1).data, np.round(x.data, 1))
    np.testing.assert_allclose(np.round(x, -2).data, [0, 0, 1200])
    assert lc.tensor([15, 25]).round(-1).tolist() == [20, 20] and lc.tensor([15]).round(-1).dtype == np.int64


def test_nan_to_num_without_numbers_uses_the_limits_of_the_dtype():
    x = lc.tensor([np.nan, np.inf, -np.inf])
    limit = float(np.finfo(np.float32).max)
    assert ops.nan_to_num(x).tolist() == [0, limit, -limit] and np.nan_to_num(x, nan=2.0)[0].item() == 2


def test_signs_of_zeros_are_seen():
    x = lc.tensor([0.0, -0.0])
    assert ops.signbit(x).tolist() == [False, True] and ops.copysign(lc.tensor([2.0, 2.0]), x).tolist() == [2, -2]


def test_parts_of_real_values():
    x = lc.tensor([1.0, np.inf])
    assert (
        x.real is x
        and x.imag.tolist() == [0, 0]
        and ops.angle(lc.tensor([-1.0, 1.0])).tolist() == pytest.approx([np.pi, 0])
    )


def test_numpys_functions_reach_these():
    x = lc.tensor([1.0, -8.0], requires_grad=True)
    assert np.cbrt(x).tolist() == [1, -2] and np.cbrt(x).requires_grad
    assert np.logaddexp(x, x).requires_grad and np.copysign(x, [1.0, 1.0]).tolist() == [1, 8]
    assert np.isclose(x, [1.0, 8.0]).tolist() == [True, False] and np.real(x) is x
    assert np.bitwise_and(lc.tensor([6]), 3).tolist() == [2]
