"""Convolutions and transposed convolutions of one, two and three spatial axes agree with PyTorch on drawn geometries.

Forward, gradients and the gradients of a gradient penalty, float64 to 1e-10.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import lunar_core as lc
from lunar_core import ops

pytestmark = pytest.mark.parity
functional = torch.nn.functional


def laid(x, last):
    """The same values, channels-last in memory where ``last``."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if last else x


def close(ours, theirs):
    expected = theirs.detach().numpy()
    scale = np.abs(expected).max() if expected.size else 1.0
    np.testing.assert_allclose(ours.data, expected, rtol=1e-10, atol=1e-11 * max(scale, 1.0))


def agree(ours, theirs, arrays, last, second_order):
    """Values, gradients along a random direction, and gradients of the squared norm of the gradients."""
    xs = [lc.Tensor(laid(a, last and i != 2), requires_grad=True) for i, a in enumerate(arrays)]
    ts = [torch.from_numpy(np.ascontiguousarray(a)).requires_grad_() for a in arrays]
    out, expected = ours(*xs), theirs(*ts)
    assert out.shape == tuple(expected.shape)
    close(out, expected)
    seed = np.random.default_rng(1).normal(size=out.shape)
    total, t_total = (out * out * lc.Tensor(seed)).sum(), (expected * expected * torch.from_numpy(seed)).sum()
    grads = lc.grad(total, xs, create_graph=second_order)
    t_grads = torch.autograd.grad(t_total, ts, create_graph=second_order)
    for a, b in zip(grads, t_grads):
        close(a, b)
    if second_order:
        penalty = sum(((g * g).sum() for g in grads), start=lc.Tensor(np.zeros(())))
        t_penalty = sum((g * g).sum() for g in t_grads)
        for a, b in zip(lc.grad(penalty, xs), torch.autograd.grad(t_penalty, ts)):
            close(a, b)


@st.composite
def geometries(draw, transposed):
    n = draw(st.sampled_from([1, 1, 2, 2, 3]))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    groups = draw(st.sampled_from([1, 1, 2, 3]))
    per_group, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kernel, stride, dilation, padding = each(1, 3), each(1, 3), each(1, 2), each(0, 2)
    size = each(1, 9 if n == 1 else 6 if n == 2 else 4)
    static = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if transposed:
        static["output_padding"] = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
        weight = (groups * per_group, outputs, *kernel)
        out = [
            (m - 1) * s - 2 * p + (k - 1) * d + 1 + e
            for m, s, p, k, d, e in zip(size, stride, padding, kernel, dilation, static["output_padding"])
        ]
        assume(min(out) >= 1)
    else:
        weight = (groups * outputs, per_group, *kernel)
        assume(all((k - 1) * d + 1 <= m + 2 * p for k, d, m, p in zip(kernel, dilation, size, padding)))
    x = (draw(st.integers(1, 2)), groups * per_group, *size)
    return n, x, weight, groups * outputs, static, draw(st.booleans()), draw(st.booleans())


@settings(max_examples=200, deadline=None)
@given(geometries(False), st.integers(0, 99))
def test_convolutions_of_any_geometry_agree(geometry, seed):
    n, x, weight, outputs, static, with_bias, last = geometry
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=s) for s in (x, weight, (outputs,))[: 3 if with_bias else 2]]
    ours, theirs = getattr(ops, f"conv{n}d"), getattr(functional, f"conv{n}d")
    agree(lambda *a: ours(*a, **static), lambda *a: theirs(*a, **static), arrays, last, seed % 3 == 0)


@settings(max_examples=200, deadline=None)
@given(geometries(True), st.integers(0, 99))
def test_transposed_convolutions_of_any_geometry_agree(geometry, seed):
    n, x, weight, outputs, static, with_bias, last = geometry
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=s) for s in (x, weight, (outputs,))[: 3 if with_bias else 2]]
    ours, theirs = getattr(ops, f"conv_transpose{n}d"), getattr(functional, f"conv_transpose{n}d")
    agree(lambda *a: ours(*a, **static), lambda *a: theirs(*a, **static), arrays, last, seed % 3 == 0)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [2, 3])
def test_named_padding_agrees_in_every_dimension(n, padding, kernel):
    rng = np.random.default_rng(n)
    x, w = rng.normal(size=(2, 3, *(5, 6, 4)[:n])), rng.normal(size=(4, 3, *(kernel,) * n))
    expected = getattr(functional, f"conv{n}d")(torch.from_numpy(x), torch.from_numpy(w), padding=padding)
    out = getattr(ops, f"conv{n}d")(x, w, padding=padding)
    np.testing.assert_allclose(out, expected.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "shape, weight, static",
    [
        ((2, 24, 17, 15), (24, 1, 5, 5), {"padding": 2, "groups": 24}),
        ((2, 24, 17, 15), (48, 1, 3, 3), {"padding": 1, "stride": 2, "groups": 24}),
        ((2, 24, 17, 15), (24, 1, 3, 5), {"padding": (2, 4), "stride": (3, 2), "dilation": 2, "groups": 24}),
        ((2, 32, 17, 15), (32, 4, 3, 3), {"padding": 1, "groups": 8}),
        ((2, 32, 17, 15), (64, 8, 3, 3), {"padding": 1, "stride": 2, "groups": 4}),
        ((2, 96, 9, 9), (96, 32, 3, 3), {"padding": 1, "groups": 3}),
        ((2, 8, 6, 9, 8), (16, 8, 3, 3, 3), {"padding": 1}),
        ((2, 8, 6, 9, 8), (8, 1, 3, 3, 3), {"padding": 1, "groups": 8}),
        ((2, 8, 6, 9, 8), (16, 8, 2, 3, 2), {"stride": (2, 1, 2)}),
        ((2, 16, 50), (32, 16, 5), {"padding": 2, "stride": 2}),
    ],
    ids=["5x5", "doubled", "strided", "8 groups", "4 groups", "3 groups", "volumes", "deep", "strides", "sequences"],
)
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 1e-4)], ids=["float64", "float32"])
def test_shapes_of_real_networks_agree(shape, weight, static, dtype, tolerance):
    rng = np.random.default_rng(0)
    n = len(shape) - 2
    arrays = [rng.normal(size=s).astype(dtype) for s in (shape, weight, weight[:1])]
    xs = [lc.Tensor(a, requires_grad=True) for a in arrays]
    ts = [torch.from_numpy(a).requires_grad_() for a in arrays]
    out = getattr(ops, f"conv{n}d")(*xs, **static)
    expected = getattr(functional, f"conv{n}d")(*ts, **static)
    seed = rng.normal(size=out.shape).astype(dtype)
    out.backward(lc.Tensor(seed))
    expected.backward(torch.from_numpy(seed))
    for a, b in [(out.data, expected.detach()), *((x.grad.data, t.grad) for x, t in zip(xs, ts))]:
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b.numpy(), rtol=tolerance, atol=tolerance * np.abs(b.numpy()).max())
