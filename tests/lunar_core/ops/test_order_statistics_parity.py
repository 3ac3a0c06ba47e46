"""kthvalue, mode and other functions of the catalogue that PyTorch, NumPy or SciPy have under the same name."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import ShapeError
from lunar_core.testing import gradcheck

pytestmark = pytest.mark.parity
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("keepdims", [False, True], ids=["dropped", "kept"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_kthvalue_agrees_with_pytorch(axis, keepdims):
    x = RNG.normal(size=(4, 5, 3))
    a, b = lc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours, theirs = ops.kthvalue(a, 2, axis, keepdims), torch.kthvalue(b, 2, axis, keepdims)
    np.testing.assert_array_equal(ours.values.detach().numpy(), theirs.values.detach().numpy())
    np.testing.assert_array_equal(ours.indices.numpy(), theirs.indices.numpy())
    (ours.values**2).sum().backward()
    (theirs.values**2).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy())


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_mode_agrees_with_pytorch(axis):
    x = RNG.integers(0, 3, (6, 5, 7)).astype(float)
    a, b = lc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours, theirs = ops.mode(a, axis), torch.mode(b, axis)
    np.testing.assert_array_equal(ours.values.detach().numpy(), theirs.values.detach().numpy())
    np.testing.assert_array_equal(np.take_along_axis(x, np.expand_dims(ours.indices.numpy(), axis), axis).squeeze(axis),
                                  theirs.values.detach().numpy())  # fmt: skip
    ours.values.sum().backward()
    assert a.grad.numpy().sum() == ours.values.size


def test_a_k_out_of_range_is_named():
    with pytest.raises(ShapeError, match=r"kthvalue: k must lie in 1..3 along axis 0, got 4"):
        ops.kthvalue(lc.arange(3), 4)


@pytest.mark.parametrize("weights", ["none", "counts", "shares", "both"])
def test_cov_takes_weights_as_numpy_does(weights):
    x = RNG.normal(size=(3, 6))
    counts, shares = np.array([1, 2, 3, 1, 1, 2]), RNG.uniform(0.5, 2, 6)
    kwargs = {"none": {}, "counts": {"fweights": counts}, "shares": {"aweights": shares},
              "both": {"fweights": counts, "aweights": shares}}[weights]  # fmt: skip
    for extra in ({}, {"bias": True}):
        ours = ops.cov(lc.tensor(x), **kwargs, **extra)
        np.testing.assert_allclose(ours.numpy(), np.cov(x, **kwargs, **extra), rtol=1e-12)
    assert gradcheck(lambda x: ops.cov(x, **kwargs), [lc.tensor(x, requires_grad=True)])


def test_cumulative_trapezoid_agrees_with_pytorch():
    y, x = RNG.normal(size=(3, 6)), np.sort(RNG.normal(size=6))
    np.testing.assert_allclose(
        ops.cumulative_trapezoid(lc.tensor(y), lc.tensor(x)).numpy(),
        torch.cumulative_trapezoid(torch.tensor(y), torch.tensor(x)).numpy(), rtol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(
        ops.cumulative_trapezoid(lc.tensor(y), dx=0.5, axis=0).numpy(),
        torch.cumulative_trapezoid(torch.tensor(y), dx=0.5, dim=0).numpy(), rtol=1e-12,
    )  # fmt: skip


def test_logspace_and_triangle_indices_agree_with_numpy():
    np.testing.assert_allclose(lc.logspace(-1, 2, 7, dtype="float64").numpy(), np.logspace(-1, 2, 7))
    np.testing.assert_allclose(lc.logspace(0, 3, 4, base=2.0).numpy(), [1, 2, 4, 8])
    for ours, theirs in ((lc.tril_indices, np.tril_indices), (lc.triu_indices, np.triu_indices)):
        for a, b in zip(ours(4, -1, 5), theirs(4, -1, 5)):
            np.testing.assert_array_equal(a.numpy(), b)
    x = lc.arange(9).reshape(3, 3)
    np.testing.assert_array_equal(x[lc.tril_indices(3)].numpy(), [0, 3, 4, 6, 7, 8])


def test_polar_and_glu_agree_with_pytorch():
    r, angle = RNG.uniform(0.5, 2, (2, 3)), RNG.normal(size=(2, 3))
    np.testing.assert_allclose(
        ops.polar(lc.tensor(r), lc.tensor(angle)).numpy(),
        torch.polar(torch.tensor(r), torch.tensor(angle)).numpy(),
        rtol=1e-14,
    )
    assert gradcheck(ops.polar, [lc.tensor(r, requires_grad=True), lc.tensor(angle, requires_grad=True)])
    x = RNG.normal(size=(3, 4))
    np.testing.assert_allclose(
        ops.glu(lc.tensor(x)).numpy(), torch.nn.functional.glu(torch.tensor(x)).numpy(), rtol=1e-14
    )
    with pytest.raises(ShapeError, match="glu: axis 0 must have an even size, got 3 in"):
        ops.glu(lc.tensor(x), 0)


@pytest.mark.parametrize("name", ["i0", "i0e", "i1", "i1e", "erfcx", "log_ndtr", "ndtri"])
def test_special_functions_agree_with_scipy_over_their_whole_range(name):
    special = pytest.importorskip("scipy.special")
    x = np.concatenate([np.linspace(-25, 25, 4001), [0.0, -0.0, 600.0, -600.0, 1e-300]])
    if name == "ndtri":
        x = np.concatenate([np.linspace(0.001, 0.999, 999), [0.0, 1.0, 1e-290, 1e-11, -0.5, np.nan]])
    if name == "erfcx":
        x = x[x > -26]
    expected = getattr(special, name)(x)
    np.testing.assert_allclose(
        getattr(ops, name)(lc.tensor(x)).numpy(), expected, rtol=1e-13 if name in ("erfcx", "log_ndtr") else 1e-14
    )
    half = getattr(ops, name)(lc.tensor(x[:50].astype(np.float32)))
    assert half.dtype == np.float32


def test_a_python_complex_number_has_the_precision_of_the_default_dtype():
    assert lc.tensor(1j).dtype == np.complex64
    assert lc.tensor([1j, 2.0]).dtype == np.complex64
    assert lc.full((2,), 1j).dtype == np.complex64
    assert lc.tensor(np.complex128(1j)).dtype == np.complex128
    assert lc.tensor(1j, dtype="complex128").dtype == np.complex128
    with lc.default_dtype("float64"):
        assert lc.tensor(1j).dtype == np.complex128
