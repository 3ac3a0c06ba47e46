"""matmul and linear by oneDNN, on shapes and layouts that hypothesis makes."""

import numpy as np
import pytest
from agreement import LAYOUTS, assert_close, lay, reference, single
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar_core.op import OPS
from lunar_kernels import products

fixed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
layouts = st.sampled_from(LAYOUTS)
size = st.integers(1, 9)


@pytest.fixture
def eager(onednn, monkeypatch):
    """Small products are given to oneDNN too."""
    for name in ("_PLAIN", "_LEAST"):
        monkeypatch.setattr(products, name, 0)
    monkeypatch.setattr(products, "_NARROWEST", 1)
    return onednn


def normal(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


@fixed
@given(m=size, k=size, n=size, x_layout=layouts, y_layout=layouts)
def test_a_product_of_matrices_is_that_of_the_reference(eager, m, k, n, x_layout, y_layout):
    x, y = normal((m, k), (k, n))
    got = OPS["matmul"](lay(single(x), x_layout), lay(single(y), y_layout))
    assert_close(got, reference("matmul")(x, y))


@fixed
@given(
    head=st.lists(st.integers(1, 3), max_size=3), x_ones=st.integers(0, 7), y_ones=st.integers(0, 7), y_rank=st.integers(0, 3),
    m=size, k=size, n=size, x_layout=layouts, y_layout=layouts,
)  # fmt: skip
def test_stacks_of_matrices_broadcast_as_in_the_reference(
    eager, head, x_ones, y_ones, y_rank, m, k, n, x_layout, y_layout
):
    x_head = tuple(1 if x_ones >> i & 1 else h for i, h in enumerate(head))
    y_head = tuple(1 if y_ones >> i & 1 else h for i, h in enumerate(head))[max(0, len(head) - y_rank) :]
    x, y = normal((*x_head, m, k), (*y_head, k, n))
    got = OPS["matmul"](lay(single(x), x_layout), lay(single(y), y_layout))
    assert_close(got, reference("matmul")(x, y))


@fixed
@given(
    head=st.lists(size, min_size=1, max_size=3), k=size, n=size, bias=st.booleans(), x_layout=layouts, w_layout=layouts
)  # fmt: skip
def test_linear_is_that_of_the_reference(eager, head, k, n, bias, x_layout, w_layout):
    x, w, b = normal((*head, k), (n, k), (n,))
    b = b if bias else None
    got = OPS["linear"](lay(single(x), x_layout), lay(single(w), w_layout), single(b))
    assert_close(got, reference("linear")(x, w, b))


@pytest.mark.parametrize("transposed", [False, True])
def test_large_products_run_in_onednn_and_small_ones_do_not(onednn, transposed):
    x, y = map(single, normal((160, 200), (200, 170)))
    y = lay(y, "reversed") if transposed else y
    assert_close(products.matmul(x, y), x.astype(float) @ y.astype(float))
    assert_close(products.matmul(lay(x, "reversed"), y), x.astype(float) @ y.astype(float))
    assert products.matmul(x[:3], y) is NotImplemented
    assert products.matmul(x[:8, :8], y[:8, :8]) is NotImplemented
    assert products.linear(x[:8, :8], y[:8, :8].T, None) is NotImplemented


def test_heads_of_attention_run_in_onednn_as_they_lie(onednn):
    q, k = normal((2, 64, 4, 32), (2, 64, 4, 32))
    q32, k32 = (single(a).transpose(0, 2, 1, 3) for a in (q, k))
    got = products.matmul(q32, k32.swapaxes(2, 3))
    assert_close(got, q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1))
    assert got.flags.c_contiguous
    assert products.matmul(got, k32) is not NotImplemented


def test_a_vector_that_is_repeated_without_memory_is_multiplied_right(eager):
    x = np.broadcast_to(np.arange(5, dtype=np.float32), (4, 5))
    y = np.broadcast_to(np.float32(2), (5, 3))
    assert_close(OPS["matmul"](x, y), x.astype(float) @ y.astype(float))
    assert_close(OPS["matmul"](np.ones((2, 4, 5), np.float32), y), np.full((2, 4, 3), 10.0))


def test_values_that_are_no_numbers_spread_as_in_the_reference(eager):
    x, w, b = map(single, normal((8, 16), (16, 16), (16,)))
    x[0, 0], w[3, 3] = np.nan, np.inf
    np.testing.assert_allclose(OPS["linear"](x, w, b), reference("linear")(x, w, b), rtol=1e-5, atol=1e-5)
