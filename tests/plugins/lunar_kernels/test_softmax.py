"""Softmax by oneDNN, with masks and with values that are no numbers."""

import numpy as np
import pytest
from agreement import LAYOUTS, assert_close, lay, reference, single
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar_core.op import OPS
from lunar_kernels import softmax

fixed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def logits(draw):
    shape = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    x = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape) * draw(st.sampled_from([1, 10, 80]))
    for value in draw(st.lists(st.sampled_from([-np.inf, -np.inf, np.nan, np.inf, 3e38, -3e38]), max_size=4)):
        x.flat[draw(st.integers(0, x.size - 1))] = value
    return x, draw(st.integers(0, len(shape) - 1))


@fixed
@given(case=logits(), layout=st.sampled_from(LAYOUTS))
def test_softmax_is_that_of_the_reference_also_where_there_are_no_numbers(onednn, case, layout):
    x, axis = case
    x32 = lay(single(x), layout if x.ndim > 1 or layout != "last" else "plain")
    with np.errstate(all="ignore"):
        got, expected = OPS["softmax"](x32, axis=axis), reference("softmax")(x32.astype(np.float64), axis=axis)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-30)  # differences of 500 in float32 are good to 3e-5


@pytest.mark.parametrize("shape", [(12, 4, 64, 64), (32, 10), (5,)])
def test_the_last_axis_runs_in_onednn_and_sums_to_one(onednn, shape):
    x = single(np.random.default_rng(0).normal(size=shape))
    y = softmax.softmax(x, len(shape) - 1)
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-6)
    assert_close(y, reference("softmax")(x.astype(float), axis=len(shape) - 1), tolerance=1e-6)


def test_a_masked_row_is_taken_over_and_a_row_without_numbers_is_not(onednn):
    x = np.zeros((4, 8), np.float32)
    x[:, 5:] = -np.inf
    assert softmax.softmax(x, 1)[0, 0] == np.float32(0.2)
    x[1] = -np.inf
    with np.errstate(invalid="ignore"):
        assert softmax.softmax(x, 1) is NotImplemented


def test_channels_last_maps_of_classes_keep_their_order(onednn):
    x = lay(single(np.random.default_rng(0).normal(size=(2, 16, 5, 5))), "last")
    y = softmax.softmax(x, 1)
    assert y.strides == x.strides
    assert_close(y, reference("softmax")(x.astype(float), axis=1))
