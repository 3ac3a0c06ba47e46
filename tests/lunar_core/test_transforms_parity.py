"""grad, jvp, vmap and their compositions against torch.func, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lunar_core as lc

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")]
func = torch.func
RNG = np.random.default_rng(0)
X, V, W, B, Y = (RNG.normal(size=s) for s in [(5, 4), (5, 4), (3, 4), (3,), (5, 3)])
T = torch.from_numpy


def same(ours, theirs):
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            same(ours[key], theirs[key])
    else:
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-11)


def f(x):
    """The same text for both libraries."""
    return (x**3).sum() * x.exp().sum()


def ours_loss(p, x, y):
    return ((lc.ops.linear(x, p["w"], p["b"]).tanh() - y) ** 2).sum()


def torch_loss(p, x, y):
    return ((torch.nn.functional.linear(x, p["w"], p["b"]).tanh() - y) ** 2).sum()


def both(build, *arrays):
    """``build(grad, jvp, vmap, wrap)`` with our functions and with PyTorch's, applied to the arrays."""
    ours = build(lc.grad, lambda f, x, t: lc.jvp(f, [x], [t])[1], lambda f, axes=0: lc.vmap(f, axes), lc.tensor)(
        *map(lc.tensor, arrays)
    )
    theirs = build(func.grad, lambda f, x, t: func.jvp(f, (x,), (t,))[1], lambda f, axes=0: func.vmap(f, axes), T)(
        *map(T, arrays)
    )
    same(ours, theirs)


COMPOSITIONS = {
    "grad": lambda grad, jvp, vmap, wrap: grad(f),
    "grad of grad": lambda grad, jvp, vmap, wrap: grad(lambda x: grad(f)(x).sum()),
    "third derivative": lambda grad, jvp, vmap, wrap: grad(lambda x: grad(lambda x: grad(f)(x).sum())(x).sum()),
    "jvp": lambda grad, jvp, vmap, wrap: lambda x: jvp(f, x, wrap(V[1])),
    "jvp of jvp": lambda grad, jvp, vmap, wrap: lambda x: jvp(lambda x: jvp(f, x, wrap(V[1])), x, wrap(V[2])),
    "jvp of grad": lambda grad, jvp, vmap, wrap: lambda x: jvp(grad(f), x, wrap(V[1])),
    "grad of jvp": lambda grad, jvp, vmap, wrap: grad(lambda x: jvp(f, x, wrap(V[1]))),
    "grad of jvp of grad": lambda grad, jvp, vmap, wrap: grad(lambda x: jvp(grad(f), x, wrap(V[1])).sum()),
}
BATCHED = {
    "vmap": lambda grad, jvp, vmap, wrap: vmap(f),
    "vmap of grad": lambda grad, jvp, vmap, wrap: vmap(grad(f)),
    "vmap of jvp": lambda grad, jvp, vmap, wrap: vmap(lambda x: jvp(f, x, wrap(V[1]))),
    "jvp of vmap": lambda grad, jvp, vmap, wrap: lambda x: jvp(vmap(f), x, wrap(V)),
    "grad of vmap": lambda grad, jvp, vmap, wrap: grad(lambda x: vmap(f)(x).prod()),
    "grad of vmap of grad": lambda grad, jvp, vmap, wrap: grad(lambda x: (vmap(grad(f))(x) ** 2).sum()),
    "vmap of vmap": lambda grad, jvp, vmap, wrap: vmap(lambda a: vmap(lambda b: (a * b).sum())(wrap(X))),
    "hessians": lambda grad, jvp, vmap, wrap: vmap(lambda x: vmap(lambda e: jvp(grad(f), x, e))(wrap(np.eye(4)))),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_composition_agrees_with_torch_func(name):
    both(COMPOSITIONS[name], X[0])


@pytest.mark.parametrize("name", BATCHED)
def test_a_composition_over_a_batch_agrees_with_torch_func(name):
    both(BATCHED[name], X)


def test_per_sample_gradients_agree_with_torch_func():
    ours = {"w": lc.tensor(W), "b": lc.tensor(B)}
    theirs = {"w": T(W), "b": T(B)}
    expected = func.vmap(func.grad(torch_loss), in_dims=(None, 0, 0))(theirs, T(X), T(Y))
    same(lc.vmap(lc.grad(ours_loss), in_axes=(None, 0, 0))(ours, lc.tensor(X), lc.tensor(Y)), expected)
    for parameter in ours.values():
        parameter.requires_grad_()
    found = lc.vmap(lc.grad(ours_loss), in_axes=(None, 0, 0))(ours, lc.tensor(X), lc.tensor(Y))
    same(found, expected)
    assert not found["w"].requires_grad and ours["w"].grad is None


def test_a_penalty_on_per_sample_gradients_is_differentiable_as_in_torch_func():
    def ours_penalty(p, x, y):
        g = lc.vmap(lc.grad(ours_loss), in_axes=(None, 0, 0))(p, x, y)
        return (g["w"] ** 2).sum() ** 0.5

    def torch_penalty(p, x, y):
        g = func.vmap(func.grad(torch_loss), in_dims=(None, 0, 0))(p, x, y)
        return (g["w"] ** 2).sum() ** 0.5

    ours = lc.grad(ours_penalty)({"w": lc.tensor(W), "b": lc.tensor(B)}, lc.tensor(X), lc.tensor(Y))
    same(ours, func.grad(torch_penalty)({"w": T(W), "b": T(B)}, T(X), T(Y)))


def test_the_gradient_of_what_a_mapped_function_reads_agrees_with_torch():
    ours, theirs = lc.tensor(W, requires_grad=True), T(W.copy()).requires_grad_()
    lc.vmap(lambda x: (ours @ x).tanh().sum())(lc.tensor(X)).sum().backward()
    func.vmap(lambda x: (theirs @ x).tanh().sum())(T(X)).sum().backward()
    same(ours.grad, theirs.grad)


def test_axes_of_arguments_and_results_mean_what_they_mean_in_torch():
    ours = lc.vmap(lambda a, b: (a * b, a.sum()), in_axes=(1, None), out_axes=(-1, 0))(lc.tensor(X.T), lc.tensor(X[0]))
    theirs = func.vmap(lambda a, b: (a * b, a.sum()), in_dims=(1, None), out_dims=(-1, 0))(T(X.T.copy()), T(X[0]))
    for a, b in zip(ours, theirs):
        same(a, b)


def test_hvp_agrees_with_torch():
    same(lc.hvp(f, lc.tensor(X[0]), lc.tensor(V[0])), func.jvp(func.grad(f), (T(X[0]),), (T(V[0]),))[1])


def test_complex_gradients_follow_the_conjugate_convention_of_torch():
    z = X + 1j * V

    def of(t):
        return ((t * t.conj()).real.sum() + (t.exp() * (2 - 1j)).imag.sum()) ** 2

    ours, theirs = lc.tensor(z, requires_grad=True), T(z).requires_grad_()
    of(ours).backward()
    of(theirs).backward()
    same(ours.grad, theirs.grad.resolve_conj())
    tangent = Y[:, :1] - 2j * X
    np.testing.assert_allclose(
        lc.jvp(of, lc.tensor(z), lc.tensor(tangent))[1].numpy(),
        func.jvp(of, (T(z),), (T(tangent),))[1].numpy(),
        rtol=1e-10,
    )
