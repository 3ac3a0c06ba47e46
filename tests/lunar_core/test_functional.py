"""Derivatives as functions agree with the matrices written by hand."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import GradientError, ShapeError


def x0():
    return lc.tensor(np.array([0.3, -0.7, 1.1]))


def test_jacobian_of_a_vector_function():
    x = x0()
    got = lc.jacobian(lambda t: t.sin() * t.sum(), x).numpy()
    v = x.numpy()
    np.testing.assert_allclose(got, np.diag(np.cos(v) * v.sum()) + np.sin(v)[:, None], rtol=1e-13)


def test_jacobian_keeps_both_shapes():
    x = lc.tensor(np.ones((2, 3)))
    assert lc.jacobian(lambda t: t.T @ lc.tensor(np.ones((2, 4))), x).shape == (3, 4, 2, 3)


def test_hessian_and_hvp_of_a_quadratic_and_a_cubic():
    a = np.array([[2.0, 1.0, 0.0], [0.5, 3.0, -1.0], [0.0, 2.0, 1.0]])
    x, v = x0(), lc.tensor(np.array([1.0, 2.0, -1.0]))
    quadratic = lambda t: (t * (lc.tensor(a) @ t)).sum()  # noqa: E731
    np.testing.assert_allclose(lc.hessian(quadratic, x).numpy(), a + a.T, rtol=1e-13)
    np.testing.assert_allclose(lc.hvp(quadratic, x, v).numpy(), (a + a.T) @ v.numpy(), rtol=1e-13)
    np.testing.assert_allclose(lc.hessian(lambda t: (t**3).sum(), x).numpy(), np.diag(6 * x.numpy()), rtol=1e-13)


def test_the_hessian_of_a_linear_function_is_zero():
    assert not lc.hessian(lambda t: t.sum(), x0()).numpy().any()
    assert not lc.hvp(lambda t: t.sum() * 3, x0(), x0()).numpy().any()


def test_second_derivatives_of_vectors_are_refused():
    with pytest.raises(ShapeError, match="must give one element"):
        lc.hessian(lambda t: t * 2, x0())
    with pytest.raises(ShapeError, match="vector of shape"):
        lc.hvp(lambda t: t.sum(), x0(), lc.tensor([1.0]))
    with pytest.raises(GradientError, match="does not depend"):
        lc.jacobian(lambda t: lc.tensor([1.0]), x0())


def test_derivatives_leave_grad_alone():
    x = lc.tensor(np.ones(2), requires_grad=True)
    lc.hessian(lambda t: (t**3).sum(), x)
    lc.vjp(lambda t: t * 2, x)[1](lc.ones(2))
    assert x.grad is None


def test_vjp_and_jvp_work_inside_no_grad_and_their_results_are_outside_of_the_graph():
    x = lc.tensor(np.array([1.0, 2.0]))
    with lc.no_grad():
        output, pullback = lc.vjp(lambda t: t**2, x)
        value, tangent = lc.jvp(lambda t: t**2, [x], [lc.ones_like(x)])
    assert pullback(lc.ones_like(x))[0].tolist() == [2, 4]
    assert tangent.tolist() == [2, 4]
    assert not (output.requires_grad or value.requires_grad or tangent.requires_grad)


def test_jvp_names_the_shapes_of_tangents_that_do_not_fit():
    x = lc.tensor(np.ones(2))
    with pytest.raises(ShapeError, match=r"primals \(2,\), \(2,\); tangents \(2,\)"):
        lc.jvp(lambda a, b: a * b, [x, x], [x])


def test_grad_of_something_that_is_no_tensor_is_refused():
    x = lc.tensor(np.ones(2), requires_grad=True)
    with pytest.raises(GradientError, match="grad: inputs must be a tensor or a sequence of tensors, got int"):
        lc.grad(x.sum(), 3)
