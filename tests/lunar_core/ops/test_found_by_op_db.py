"""What PyTorch's operator table and ONNX's node cases found: shapes without elements, complex gradients, bad arguments."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, HyperparameterError, ShapeError


def test_matmul_sums_over_nothing_and_has_gradients():
    x, y = lc.Tensor(np.ones((5, 5, 0)), requires_grad=True), lc.Tensor(np.ones((0, 5)), requires_grad=True)
    out = x @ y
    out.sum().backward()
    assert (out.numpy() == 0).all() if out.node is None else (out.detach().numpy() == 0).all()
    assert x.grad.shape == (5, 5, 0) and y.grad.shape == (0, 5)


def test_softmax_along_an_axis_without_elements_is_empty():
    assert ops.softmax(lc.Tensor(np.ones((5, 0, 0)))).shape == (5, 0, 0)
    assert ops.log_softmax(lc.Tensor(np.ones((2, 0))), axis=1).shape == (2, 0)


def test_logsumexp_of_nothing_is_minus_infinity():
    out = ops.logsumexp(lc.Tensor(np.ones((2, 0, 3))), axis=1)
    assert out.shape == (2, 3) and (out.numpy() == -np.inf).all()


@pytest.mark.parametrize("order", [0.5, 1, 1.5, 2, 3, 3.5, -1, -2.5], ids=str)
def test_gradient_of_a_norm_at_zero_is_zero(order):
    x = lc.Tensor(np.zeros(4), requires_grad=True)
    ops.norm(x, ord=order).backward()
    assert (x.grad.numpy() == 0).all()


def test_group_norm_takes_a_batch_without_samples():
    assert ops.group_norm(lc.Tensor(np.ones((0, 4))), 2).shape == (0, 4)


def test_cosine_similarity_counts_an_element_that_broadcasts_as_often_as_it_is_repeated():
    x, y = np.array([[1.0, 2.0, 3.0], [2.0, 0.5, 1.0]]), np.array([[3.0, 1.0, 2.0]])
    got = ops.cosine_similarity(lc.Tensor(x), lc.Tensor(y), axis=0).numpy()
    wide = np.broadcast_to(y, x.shape)
    expected = (x * wide).sum(0) / np.linalg.norm(x, axis=0) / np.linalg.norm(wide, axis=0)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_masked_fill_refuses_a_value_that_the_dtype_cannot_hold():
    mask = lc.Tensor(np.array([True, False]))
    with pytest.raises(DTypeError, match="complex128 does not fit into x of dtype float64"):
        ops.masked_fill(lc.Tensor(np.ones(2)), mask, 1j)


@pytest.mark.parametrize("make", [
    lambda: lc.eye(-1), lambda: lc.zeros((2, -3)), lambda: lc.arange(0, 3, 0), lambda: lc.arange(0, float("inf")),
    lambda: lc.linspace(0, 1, -2), lambda: lc.full((-1,), 2.0),
], ids=["eye", "zeros", "arange with step 0", "arange to infinity", "linspace", "full"])  # fmt: skip
def test_making_an_array_of_an_impossible_shape_is_an_error_of_ours(make):
    with pytest.raises(ShapeError):
        make()


def test_isclose_refuses_negative_tolerances():
    with pytest.raises(HyperparameterError, match="rtol and atol must be >= 0"):
        ops.isclose(lc.Tensor(np.ones(2)), lc.Tensor(np.ones(2)), rtol=-1.0)


def test_embedding_takes_a_table_of_two_axes_only():
    with pytest.raises(ShapeError, match="two axes"):
        ops.embedding(lc.Tensor(np.array([0, 1])), lc.Tensor(np.ones((2, 3, 4))))


def test_concat_names_what_is_no_array():
    with pytest.raises(DTypeError, match="Tensor, NoneType"):
        ops.concat([lc.Tensor(np.ones(2)), None])


@pytest.mark.parametrize("call", [
    lambda x: ops.einsum("ij...k,jk", x, x), lambda x: ops.einsum("i.j", x), lambda x: ops.einsum("...i->...ij", x),
    lambda x: ops.einsum("...i,...i->", x, lc.Tensor(np.ones((4, 3)))), lambda x: ops.einsum("ii", x),
    lambda x: ops.unflatten(x, 1, (2, 2)), lambda x: ops.unflatten(x, 1, ()), lambda x: ops.sliding_windows(x, 5),
    lambda x: ops.sliding_windows(x, 2, step=0), lambda x: ops.block_diag([]), lambda x: ops.solve_triangular(x, x),
    lambda x: ops.solve_triangular(lc.Tensor(np.eye(3)), x), lambda x: np.rot90(x, 1, (0,)),
], ids=["too few axes", "one dot", "unknown label", "dots that do not fit", "sizes of a label", "unflatten", "no sizes",
        "long window", "no step", "no blocks", "not square", "rows", "one axis"])  # fmt: skip
def test_what_does_not_fit_is_a_shape_error(call):
    with pytest.raises(ShapeError):
        call(lc.Tensor(np.ones((2, 3))))


def test_sliding_windows_of_no_elements():
    assert ops.sliding_windows(lc.Tensor(np.ones((2, 3))), 0).shape == (2, 4, 0)


def test_einsum_of_half_precision_adds_up_in_single():
    x = lc.Tensor(np.full(5000, 0.1, np.float16))
    got = ops.einsum("i,i->", x, lc.Tensor(np.ones(5000, np.float16)))
    assert got.dtype == np.float16 and abs(float(got) - 5000 * float(np.float16(0.1))) < 0.5


def test_numpy_float_power_keeps_the_imaginary_part():
    x = lc.Tensor(np.array([1.0 + 2.0j]))
    np.testing.assert_allclose(np.float_power(x, 2.0).numpy(), np.float_power(x.numpy(), 2.0))


def test_erf_keeps_bfloat16():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    out = ops.erf(lc.Tensor(np.array([0.5, -2.0], bfloat16)))
    assert out.dtype == bfloat16
    np.testing.assert_allclose(out.numpy().astype(np.float64), [0.5204998778, -0.9953222650], rtol=2**-8)
