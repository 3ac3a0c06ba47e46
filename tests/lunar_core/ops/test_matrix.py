"""Matrix functions: what the tables cannot say: batches, ranks, singular matrices, saved results, errors."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, GradientError, InPlaceError, LinearAlgebraError, ShapeError

few = settings(max_examples=40, deadline=None)


def matrices(square=False, batch=2):
    side = st.integers(1, 4)
    heads = hnp.array_shapes(min_dims=0, max_dims=batch, max_side=2)

    @st.composite
    def draw_one(draw):
        m = draw(side)
        n = m if square else draw(side)
        seed = draw(st.integers(0, 999))
        return np.random.default_rng(seed).normal(size=(*draw(heads), m, n))

    return draw_one()


@few
@given(matrices())
def test_factorizations_multiply_to_the_matrix(x):
    u, s, vh = ops.svd(lc.tensor(x), full_matrices=False)
    np.testing.assert_allclose(((u * s[..., None, :]) @ vh).data, x, atol=1e-12)
    q, r = ops.qr(lc.tensor(x))
    np.testing.assert_allclose((q @ r).data, x, atol=1e-12)
    np.testing.assert_allclose(r.triu().data, r.data)
    full = ops.qr(lc.tensor(x), mode="complete")
    assert full.Q.shape[-2:] == (x.shape[-2],) * 2 and full.R.shape == x.shape
    p = ops.pinv(lc.tensor(x))
    np.testing.assert_allclose((lc.tensor(x) @ p @ lc.tensor(x)).data, x, atol=1e-9)


@few
@given(matrices(square=True))
def test_symmetric_factorizations_multiply_to_the_matrix(x):
    positive = x @ x.swapaxes(-1, -2) + np.eye(x.shape[-1])
    lower = ops.cholesky(lc.tensor(positive))
    np.testing.assert_allclose((lower @ lower.mT).data, positive, atol=1e-11)
    upper = ops.cholesky(lc.tensor(positive), upper=True)
    np.testing.assert_allclose((upper.mT @ upper).data, positive, atol=1e-11)
    w, v = ops.eigh(lc.tensor(positive))
    np.testing.assert_allclose(((v * w[..., None, :]) @ v.mT).data, positive, atol=1e-11)


@few
@given(matrices(square=True))
def test_determinants_agree_with_each_other(x):
    sign, size = ops.slogdet(lc.tensor(x))
    np.testing.assert_allclose((sign * ops.exp(size)).data, ops.det(lc.tensor(x)).data, atol=1e-12)


@few
@given(st.data())
def test_products_are_numpys(data):
    a = data.draw(
        hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3), elements=st.integers(-3, 3))
    )
    b = data.draw(
        hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3), elements=st.integers(-3, 3))
    )
    np.testing.assert_array_equal(ops.kron(a, b), np.kron(a, b))
    try:
        expected = np.dot(a, b)
    except ValueError:
        with pytest.raises(ShapeError):
            ops.dot(lc.tensor(a), lc.tensor(b))
    else:
        np.testing.assert_array_equal(ops.dot(lc.tensor(a), lc.tensor(b)).data, expected)


@pytest.mark.parametrize("shape", [(6, 3), (3, 3), (3, 6)])
def test_lstsq_is_numpys_in_all_four_results(shape):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    x, residuals, rank, s = ops.lstsq(a, b)
    expected = np.linalg.lstsq(a, b, rcond=None)
    np.testing.assert_allclose(x, expected[0], atol=1e-12)
    np.testing.assert_allclose(residuals, ((b - a @ x) ** 2).sum(0))
    if expected[1].size:
        np.testing.assert_allclose(residuals, expected[1])
    assert rank == expected[2]
    np.testing.assert_allclose(s, expected[3])


def test_lstsq_of_a_matrix_without_full_rank_has_least_norm():
    a = np.array([[1.0, 1.0], [2.0, 2.0], [0.0, 0.0]])
    x, _, rank, _ = ops.lstsq(a, np.array([2.0, 4.0, 1.0]))
    np.testing.assert_allclose(x, [1, 1])
    assert rank == 1


def test_the_gradient_of_a_determinant_is_exact_for_singular_matrices():
    x = lc.tensor(np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.5], [1.0, 2.0, 0.0]]), requires_grad=True)
    x.det().backward()
    minors = np.empty((3, 3))
    for i, j in np.ndindex(3, 3):
        minors[i, j] = np.linalg.det(np.delete(np.delete(x.data, i, 0), j, 1)) * (-1) ** (i + j)
    np.testing.assert_allclose(x.grad.data, minors, atol=1e-12)
    zero = lc.zeros((2, 2), dtype="float64", requires_grad=True)
    zero.det().backward()
    assert zero.grad.tolist() == [[0, 0], [0, 0]]


def test_gradients_of_singular_values_are_finite_where_they_are_equal():
    x = lc.tensor(np.eye(3), requires_grad=True)
    ops.svdvals(x).sum().backward()
    np.testing.assert_allclose(x.grad.data, np.eye(3), atol=1e-14)
    y = lc.tensor(np.eye(3), requires_grad=True)
    ops.eigvalsh(y).sum().backward()
    np.testing.assert_allclose(y.grad.data, np.eye(3), atol=1e-14)


def test_only_one_triangle_of_a_symmetric_matrix_is_read():
    x = lc.tensor([[2.0, 99.0], [0.5, 3.0]])
    np.testing.assert_allclose(ops.eigvalsh(x).data, np.linalg.eigvalsh([[2, 0.5], [0.5, 3]]), rtol=1e-6)
    np.testing.assert_allclose(ops.eigvalsh(x.T, UPLO="U").data, ops.eigvalsh(x).data, rtol=1e-6)


def test_results_that_a_rule_keeps_may_not_be_written_before_backward():
    x = lc.tensor(np.diag([3.0, 2.0]), requires_grad=True)
    u, s, vh = ops.svd(x)
    with lc.no_grad():
        u.mul_(2.0)
    with pytest.raises(InPlaceError, match="svd"):
        (s.sum() + vh.sum()).backward()


def test_one_result_used_in_the_rule_and_outside_adds_its_gradients():
    x = lc.tensor(np.array([[2.0, 1.0], [1.0, 3.0]]), requires_grad=True)
    (g,) = lc.grad((ops.svdvals(x) ** 3).sum(), [x], create_graph=True)
    (h,) = lc.grad((g * g).sum(), [x])
    step = 1e-5

    def squares(a):
        t = lc.tensor(a, requires_grad=True)
        (ga,) = lc.grad((ops.svdvals(t) ** 3).sum(), [t])
        return float((ga.data**2).sum())

    for i, j in np.ndindex(2, 2):
        d = np.zeros((2, 2))
        d[i, j] = step
        assert h.data[i, j] == pytest.approx((squares(x.data + d) - squares(x.data - d)) / (2 * step), rel=1e-7)


def test_float32_and_integers_keep_to_numpys_dtypes():
    x = lc.tensor([[2.0, 1.0], [1.0, 3.0]])
    pairs = (ops.slogdet(x)[1], ops.eigh(x)[1], ops.lstsq(x, x).x)
    for out in (x.inv(), x.det(), x.pinv(), ops.svdvals(x), ops.solve(x, x), *pairs):
        assert out.dtype == np.float32
    assert (
        lc.tensor([[2, 1], [1, 3]]).det().dtype == np.float64
        and ops.pinv(lc.tensor([[2, 1], [1, 3]])).dtype == np.float64
    )


def test_empty_batches_pass_through():
    x = lc.zeros((0, 3, 3), requires_grad=True)
    x.inv().sum().backward()
    assert x.grad.shape == (0, 3, 3) and ops.svdvals(x).shape == (0, 3) and x.det().shape == (0,)


def test_numpys_functions_reach_these():
    x = lc.tensor(np.array([[[2.0, 1.0], [1.0, 3.0]]]), requires_grad=True)
    assert np.linalg.inv(x).requires_grad and np.linalg.det(x).shape == (1,) and np.linalg.svd(x).S.shape == (1, 2)
    assert (
        np.linalg.trace(x).tolist() == [5] and np.linalg.diagonal(x).tolist() == [[2, 3]] and np.trace(x[0]).item() == 5
    )
    assert np.linalg.norm(x[0], 1).item() == 4 and np.linalg.norm(x[0], axis=1).shape == (2,)
    np.testing.assert_allclose(np.linalg.norm(x[0], 2).item(), np.linalg.norm(x.data[0], 2))
    assert np.dot(x[0], x[0]).shape == (2, 2) and np.kron(x[0], x[0]).shape == (4, 4)
    assert np.linalg.matrix_power(x, 2).shape == (1, 2, 2) and np.linalg.lstsq(x[0], x[0, 0]).rank.item() == 2


@pytest.mark.parametrize(
    "call, error, words",
    [
        (ops.inv, ShapeError, r"inv: expected square matrices in the last two axes, got shape \(2, 3\)"),
        (lambda x: ops.det(x[0]), ShapeError, "det: expected square matrices"),
        (lambda x: ops.inv(lc.zeros((2, 2))), LinearAlgebraError, r"inv: Singular matrix \(shape \(2, 2\)\)"),
        (lambda x: ops.solve(lc.zeros((2, 2)), lc.ones(2)), LinearAlgebraError, "solve: Singular matrix"),
        (
            lambda x: ops.solve(lc.eye(3), x),
            ShapeError,
            r"solve: a \(3, 3\) and b \(2, 3\) differ in the number of rows",
        ),
        (lambda x: ops.cholesky(-lc.eye(2)), LinearAlgebraError, "cholesky: Matrix is not positive definite"),
        (lambda x: ops.eigh(lc.eye(2), UPLO="X"), ShapeError, "UPLO must be 'L' or 'U'"),
        (lambda x: ops.qr(x, mode="raw"), ShapeError, "mode must be 'reduced' or 'complete'"),
        (lambda x: ops.svd(x[0]), ShapeError, "svd: expected matrices"),
        (lambda x: ops.lstsq(x, lc.ones(3)), ShapeError, "lstsq: a .* differ in the number of rows"),
        (lambda x: ops.dot(x, x), ShapeError, "dot: inner sizes"),
        (lambda x: ops.vecdot(x, x[:, :2]), ShapeError, "vecdot: axis -1 differs"),
        (lambda x: ops.cross(x[:, :2], x[:, :2]), ShapeError, "cross: expected 3 elements on axis -1"),
        (lambda x: ops.trace(x[0]), ShapeError, "trace: expected at least two axes"),
        (lambda x: ops.matrix_power(lc.eye(2), 0.5), ShapeError, "the exponent must be an int"),
        (lambda x: ops.matrix_norm(x, 3), ShapeError, "matrix_norm: ord must be"),
        (lambda x: ops.inv(lc.eye(2, dtype="float16")), DTypeError, "inv"),
    ],
)
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(lc.tensor(np.arange(6.0).reshape(2, 3)))


def test_a_linear_algebra_error_is_numpys_too():
    with pytest.raises(np.linalg.LinAlgError):
        ops.inv(lc.zeros((2, 2)))


def test_the_complete_qr_of_a_tall_matrix_has_no_gradient():
    x = lc.tensor(np.arange(6.0).reshape(3, 2) ** 2, requires_grad=True)
    with pytest.raises(GradientError, match="mode 'complete' has no gradient"):
        ops.qr(x, mode="complete").R.sum().backward()
