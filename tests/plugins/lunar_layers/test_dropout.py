"""Dropout: rate, scale, streams, evaluation."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError, HyperparameterError
from lunar_layers.dropout import Dropout


def test_elements_are_dropped_at_the_rate_and_the_rest_is_scaled():
    for p in (0.1, 0.5, 0.8):
        y = Dropout(p)(lc.ones((200, 500))).numpy()
        kept = y != 0
        assert kept.mean() == pytest.approx(1 - p, abs=0.006)
        np.testing.assert_allclose(y[kept], 1 / (1 - p), rtol=1e-4)


def test_in_evaluation_the_input_comes_back_and_nothing_is_drawn():
    x = lc.ones((3, 3))
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0)(x) is x
    assert lc.random.stream("dropout").index == 0


def test_everything_is_dropped_at_one():
    x = lc.ones((3, 3), requires_grad=True)
    y = Dropout(1)(x)
    assert not y.detach().numpy().any()
    y.sum().backward()
    assert not x.grad.numpy().any()


def test_the_gradient_passes_where_the_element_did():
    x = lc.ones((50,), requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_each_call_has_a_mask_of_its_own_which_the_seed_and_the_position_decide():
    layer, x = Dropout(0.5), lc.ones((64,))
    first, second = layer(x).numpy(), layer(x).numpy()
    assert not np.array_equal(first, second)
    lc.seed(0)
    np.testing.assert_array_equal(layer(x).numpy(), first)
    lc.random.stream("dropout").index = 1
    np.testing.assert_array_equal(layer(x).numpy(), second)
    lc.seed(1)
    assert not np.array_equal(layer(x).numpy(), first)


def test_the_mask_does_not_depend_on_the_layout_in_memory():
    x = np.ones((2, 3, 4, 5), np.float32)
    first = Dropout(0.5)(lc.tensor(x)).numpy()
    lc.seed(0)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(Dropout(0.5)(lc.Tensor(last)).numpy(), first)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_kept(dtype):
    assert Dropout(0.3)(lc.ones((4,), dtype=dtype)).dtype == dtype


def test_what_does_not_fit_is_refused():
    for p in (-0.1, 1.1, float("nan"), "0.5"):
        with pytest.raises(HyperparameterError, match="Dropout: p"):
            Dropout(p)
    with pytest.raises(DTypeError, match="Dropout expects floating-point inputs, got int64"):
        Dropout(0.5)(np.ones(3, np.int64))
    assert repr(Dropout(0.25)) == "Dropout(p=0.25)"
