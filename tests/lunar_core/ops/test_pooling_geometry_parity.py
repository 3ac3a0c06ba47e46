"""Pools of one, two and three spatial axes, unpooling, unfold and fold agree with PyTorch on drawn geometries.

Values, places and gradients in float64, to 1e-10.
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
fixed = settings(max_examples=120, deadline=None)


def laid(x, last):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if last else x


def agree(ours, theirs, x, last=False, smooth=False):
    """Values and gradients, of the first result where there are places too; for ``smooth`` pools also second order."""
    tensor = lc.Tensor(laid(x, last), requires_grad=True)
    other = torch.from_numpy(x.copy()).requires_grad_()
    out, expected = ours(tensor), theirs(other)
    if isinstance(expected, tuple):
        np.testing.assert_array_equal(out[1].data, expected[1].numpy())
        assert out[1].dtype == np.int64 and not out[1].requires_grad
        out, expected = out[0], expected[0]
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    if last and not tensor.data.flags.c_contiguous:  # it lies only one way
        assert np.moveaxis(out.data, 1, -1).flags.c_contiguous
    seed = np.random.default_rng(1).uniform(0.5, 1.5, out.shape)
    power = 2 if smooth else 1
    (g,) = lc.grad((out**power * lc.Tensor(seed)).sum(), [tensor], create_graph=smooth)
    (tg,) = torch.autograd.grad((expected**power * torch.from_numpy(seed)).sum(), [other], create_graph=smooth)
    np.testing.assert_allclose(g.data, tg.detach().numpy(), rtol=1e-10, atol=1e-11)
    if smooth:
        (h,), (th,) = lc.grad((g**3).sum(), [tensor]), torch.autograd.grad((tg**3).sum(), [other])
        np.testing.assert_allclose(h.data, th.numpy(), rtol=1e-9, atol=1e-10)


@st.composite
def pools(draw, padded=True, dilated=True):
    n = draw(st.sampled_from([1, 2, 2, 3]))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    kernel, dilation = each(1, 3), each(1, 2 if dilated else 1)
    stride = draw(st.none() | st.just(each(1, 3)))
    padding = tuple(draw(st.integers(0, k // 2 if padded else 0)) for k in kernel)
    size = each(1, 8 if n < 3 else 5)
    assume(all((k - 1) * d + 1 <= m + 2 * p for k, d, m, p in zip(kernel, dilation, size, padding)))
    ceil_mode, last, ties = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size)
    x = rng.integers(0, 3, shape).astype(float) if ties else rng.normal(size=shape)
    return n, x, kernel, stride, padding, dilation, ceil_mode, last


@fixed
@given(pools(), st.booleans())
def test_max_pools_and_their_places_agree(pool, places):
    n, x, kernel, stride, padding, dilation, ceil_mode, last = pool
    arguments = (kernel, stride, padding, dilation, ceil_mode, places)
    theirs = getattr(functional, f"max_pool{n}d")
    expected = theirs(torch.from_numpy(x), *arguments)
    # PyTorch itself gives minus infinity for windows that lie wholly in the padding, and no valid place
    assume(bool(torch.isfinite(expected[0] if places else expected).all()))
    agree(lambda t: getattr(ops, f"max_pool{n}d")(t, *arguments), lambda t: theirs(t, *arguments), x, last)


@fixed
@given(pools(dilated=False), st.booleans(), st.sampled_from([None, 1, 3, -2]))
def test_average_pools_agree(pool, include, divisor):
    n, x, kernel, stride, padding, _, ceil_mode, last = pool
    assume(n < 3 or all(k <= m for k, m in zip(kernel, x.shape[2:])))  # PyTorch asks for it in three dimensions
    arguments = (kernel, stride, padding, ceil_mode, include)
    if n > 1:
        arguments = (*arguments, divisor)
    ours, theirs = getattr(ops, f"avg_pool{n}d"), getattr(functional, f"avg_pool{n}d")
    agree(lambda t: ours(t, *arguments), lambda t: theirs(t, *arguments), x, last, smooth=True)


@fixed
@given(pools(padded=False, dilated=False), st.sampled_from([1.0, 2.0, 3.0, 2.5]))
def test_lp_pools_agree(pool, p):
    n, x, kernel, stride, _, _, ceil_mode, last = pool
    x = np.abs(x) + 0.1
    ours, theirs = getattr(ops, f"lp_pool{n}d"), getattr(functional, f"lp_pool{n}d")
    window = kernel[0] if n == 1 else kernel  # PyTorch's lp_pool1d takes ints only
    step = stride[0] if n == 1 and stride is not None else stride
    agree(
        lambda t: ours(t, p, kernel, stride, ceil_mode),
        lambda t: theirs(t, p, window, step, ceil_mode),
        x,
        last,
        smooth=True,
    )


@st.composite
def adaptive(draw):
    n = draw(st.sampled_from([1, 2, 2, 3]))
    size = tuple(draw(st.integers(1, 9 if n < 3 else 5)) for _ in range(n))
    bins = tuple(draw(st.integers(1, 7)) for _ in range(n))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.integers(0, 3, shape).astype(float) if draw(st.booleans()) else rng.normal(size=shape)
    return n, x, bins, draw(st.booleans())


@fixed
@given(adaptive())
def test_adaptive_average_pools_agree(pool):
    n, x, bins, last = pool
    ours, theirs = getattr(ops, f"adaptive_avg_pool{n}d"), getattr(functional, f"adaptive_avg_pool{n}d")
    agree(lambda t: ours(t, bins), lambda t: theirs(t, bins), x, last, smooth=True)


@fixed
@given(adaptive(), st.booleans())
def test_adaptive_max_pools_and_their_places_agree(pool, places):
    n, x, bins, last = pool
    ours, theirs = getattr(ops, f"adaptive_max_pool{n}d"), getattr(functional, f"adaptive_max_pool{n}d")
    agree(lambda t: ours(t, bins, places), lambda t: theirs(t, bins, places), x, last)


@pytest.mark.parametrize("size", [4, (None, 3), (2, None), 1], ids=["int", "rows kept", "columns kept", "global"])
@pytest.mark.parametrize("name", ["adaptive_avg_pool2d", "adaptive_max_pool2d"])
def test_spellings_of_the_adaptive_size_agree(name, size):
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    agree(lambda t: getattr(ops, name)(t, size), lambda t: getattr(functional, name)(t, size), x)


@fixed
@given(pools(dilated=False), st.booleans())
def test_unpooling_agrees(pool, sized):
    n, x, kernel, stride, padding, _, _, last = pool
    assume(all(s >= k for s, k in zip(stride or kernel, kernel)))  # else places repeat, and which value stays is free
    values, places = getattr(functional, f"max_pool{n}d")(
        torch.from_numpy(x), kernel, stride, padding, return_indices=True
    )
    size = x.shape[2:] if sized else None
    if not sized:  # the smallest size must hold the places
        back = [(o - 1) * s - 2 * p + k for o, s, p, k in zip(values.shape[2:], stride or kernel, padding, kernel)]
        assume(tuple(back) == x.shape[2:])
    ours, theirs = getattr(ops, f"max_unpool{n}d"), getattr(functional, f"max_unpool{n}d")
    index = laid(places.numpy(), last)
    agree(
        lambda t: ours(t, lc.Tensor(index), kernel, stride, padding, size),
        lambda t: theirs(t, places, kernel, stride, padding, size),
        values.numpy(),
        last,
    )


@fixed
@given(pools().filter(lambda pool: pool[0] == 2), st.booleans(), st.booleans())
def test_unfold_and_fold_agree(pool, batched, channels_last):
    _, x, kernel, stride, padding, dilation, _, _ = pool
    arguments = (kernel, dilation, padding, stride or 1)
    if not batched:
        x = x[0]
    tensor = lc.Tensor(laid(x, channels_last) if batched else x, requires_grad=True)
    other = torch.from_numpy(x.copy()).requires_grad_()
    out, expected = ops.unfold(tensor, *arguments), functional.unfold(other, *arguments)
    np.testing.assert_array_equal(out.data, expected.detach().numpy())
    back, wanted = ops.fold(out**2, x.shape[-2:], *arguments), functional.fold(expected**2, x.shape[-2:], *arguments)
    np.testing.assert_allclose(back.data, wanted.detach().numpy(), rtol=1e-10, atol=1e-12)
    (back**2).sum().backward()
    (wanted**2).sum().backward()
    np.testing.assert_allclose(tensor.grad.data, other.grad.numpy(), rtol=1e-10, atol=1e-11)
