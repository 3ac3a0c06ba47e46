"""Functions composed of several ops: gradients of both orders, and a run on arrays that refuse NumPy."""

import numpy as np
import pytest
from composed_ops_more import ROWS

import lunar_core as lc
from lunar_core import ops
from lunar_core.testing import gradcheck, gradgradcheck
from lunar_core.testing.fake_device import FakeArray, fake_device

ON_DEVICE = [row for row in ROWS if row.device]
by_name = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])


def tensor(value, wrap=lambda a: a):
    return lc.Tensor(wrap(value.copy()), requires_grad=value.dtype.kind in "fc")


def as_tuple(out):
    return tuple(out) if isinstance(out, (tuple, list)) else (out,)


@by_name
def test_gradients_of_both_orders_agree_with_differences(row):
    inputs = [tensor(a) for a in row.arrays]
    gradcheck(lambda *xs: row.ours(ops, *xs), inputs)
    gradgradcheck(lambda *xs: row.ours(ops, *xs), inputs)


@by_name
def test_raw_arrays_give_what_tensors_give(row):
    for a, b in zip(
        as_tuple(row.ours(ops, *row.arrays)), as_tuple(row.ours(ops, *map(tensor, row.arrays))), strict=True
    ):
        assert type(a) is np.ndarray
        np.testing.assert_array_equal(a, b.data)


@pytest.mark.parametrize("row", ON_DEVICE, ids=[row.name for row in ON_DEVICE])
def test_runs_on_a_device_that_refuses_numpy(row):
    with fake_device() as device:
        inputs = [tensor(a, FakeArray) for a in row.arrays]
        outs = as_tuple(row.ours(ops, *inputs))
        for out, expected in zip(outs, as_tuple(row.ours(ops, *map(tensor, row.arrays))), strict=True):
            np.testing.assert_allclose(out.data._a, expected.data, rtol=1e-12, atol=1e-14)
        for out in outs:
            if out.requires_grad:
                out.backward(lc.Tensor(FakeArray(np.ones(out.shape, out.dtype))), retain_graph=True)
        for x in inputs:
            assert x.grad is None or isinstance(x.grad.data, FakeArray)
        assert device.synchronizations == 0
