"""Exponentials, eigenvalues and LU factors of matrices agree with PyTorch, values and gradients (float64, rtol 1e-9)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import LunarError
from lunar_core.testing import gradcheck

pytestmark = pytest.mark.parity


def matrix(*shape, seed=0, complex=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if complex else x


def same(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_matrix_exp_agrees_with_pytorch_at_every_size_of_the_matrix(scale):
    x = matrix(2, 4, 4) * scale
    a, b = lc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    same(ops.matrix_exp(a), torch.matrix_exp(b))
    (ops.matrix_exp(a) / ops.matrix_exp(a).detach().abs().max()).sum().backward()
    (torch.matrix_exp(b) / torch.matrix_exp(b).detach().abs().max()).sum().backward()
    same(a.grad, b.grad)


@pytest.mark.parametrize("complex", [False, True], ids=["real", "complex"])
def test_eigenvalues_and_projections_on_eigenvectors_agree_with_pytorch(complex):
    x = matrix(2, 4, 4, seed=1, complex=complex)
    a, b = lc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    w, v = ops.eig(a)
    tw, tv = torch.linalg.eig(b)
    same(w, tw)
    # phases drop out of the magnitudes
    (v.abs() ** 3).sum().backward(retain_graph=True)
    (tv.abs() ** 3).sum().backward(retain_graph=True)
    same(a.grad, b.grad)
    (w * w).real.sum().backward()
    (tw * tw).real.sum().backward()
    same(a.grad, b.grad)


def test_the_gradient_of_eigenvalues_is_that_of_differences():
    x = lc.tensor(matrix(3, 3, seed=2), requires_grad=True)
    assert gradcheck(lambda x: ops.eigvals(x).imag ** 2 + ops.eigvals(x).real, [x])


@pytest.mark.parametrize("shape", [(4, 4), (3, 5, 3), (2, 3, 5), (1, 1)], ids=str)
def test_lu_multiplies_back_and_agrees_with_pytorch(shape):
    x = matrix(*shape, seed=3)
    a, b = lc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours, theirs = ops.lu(a), torch.linalg.lu(b)
    for i, j in zip(ours, theirs):
        same(i, j)
    same(ours.P @ ours.L @ ours.U, b)
    ((ours.L**2).sum() + (ours.U**3).sum()).backward()
    ((theirs.L**2).sum() + (theirs.U**3).sum()).backward()
    same(a.grad, b.grad)


def test_lu_solve_gives_what_solve_gives_with_gradients_to_both():
    x, y = matrix(2, 4, 4, seed=4), matrix(2, 4, 3, seed=5)
    a, b = lc.tensor(x, requires_grad=True), lc.tensor(y, requires_grad=True)
    out = ops.lu_solve(ops.lu_factor(a), b)
    same(out, ops.solve(a, b))
    g = lc.grad((out**2).sum(), [a, b])
    h = lc.grad((ops.solve(a, b) ** 2).sum(), [a, b])
    same(g[0], h[0])
    same(g[1], h[1])


def test_a_singular_matrix_has_factors_too():
    x = np.array([[0.0, 0.0], [1.0, 2.0]])
    p, lower, upper = ops.lu(lc.tensor(x))
    np.testing.assert_array_equal((p @ lower @ upper).numpy(), x)


@pytest.mark.parametrize("function", [ops.matrix_exp, ops.eig, ops.eigvals], ids=["matrix_exp", "eig", "eigvals"])
def test_a_matrix_that_is_not_square_is_refused_by_name(function):
    with pytest.raises(LunarError, match=r"expected square matrices.*\(2, 3\)"):
        function(lc.zeros((2, 3)))
