"""scaled_dot_product_attention agrees with PyTorch's, forward and gradient, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st
from same_function import assert_same

from lunar_core import ops
from lunar_core.ops import attending, attention

pytestmark = pytest.mark.parity


@pytest.fixture(params=["kept", "tiled"])
def kernel(request, monkeypatch):
    if request.param == "tiled":
        monkeypatch.setattr(attention, "_KEPT", 0)
        monkeypatch.setattr(attending, "TILE", 3)


def masks(batch, heads, queries, keys, seed):
    rng = np.random.default_rng(seed)
    see = rng.random((batch, 1, queries, keys)) < 0.6
    see[..., 0] = True
    return {
        "none": None,
        "bool": see,
        "bool of the keys": see[:1, :, :1],
        "additive": rng.normal(size=(heads, queries, keys)),
        "additive for all": rng.normal(size=(queries, keys)),
    }


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def _agrees(data):
    batch, groups, each = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3))
    queries, keys, width, values = (data.draw(st.integers(1, 7)) for _ in range(4))
    heads, seed = groups * each, data.draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(batch, heads, queries, width))
    k, v = rng.normal(size=(batch, groups, keys, width)), rng.normal(size=(batch, groups, keys, values))
    mask = data.draw(st.sampled_from(list(masks(batch, heads, queries, keys, seed).items())))[1]
    causal = mask is None and data.draw(st.booleans())
    scale = data.draw(st.none() | st.floats(0.1, 2))
    apart = data.draw(st.booleans())  # heads cut from one axis, as a layer does

    def call(function, swap):
        def of(q, k, v, m):
            if apart:
                q, k, v = (swap(x) for x in (q, k, v))
            return function(q, k, v, m, is_causal=causal, scale=scale, enable_gqa=each > 1)

        return of

    arrays = [a.swapaxes(1, 2) if apart else a for a in (q, k, v)]
    assert_same(
        call(ops.scaled_dot_product_attention, lambda x: x.swapaxes(1, 2)),
        call(torch.nn.functional.scaled_dot_product_attention, lambda x: x.transpose(1, 2)),
        *[np.ascontiguousarray(a) for a in arrays],
        mask,
    )


@pytest.mark.usefixtures("kernel")
def test_attention_agrees_with_pytorch():
    _agrees()


@pytest.mark.usefixtures("kernel")
def test_a_query_that_sees_no_key_gives_zeros_as_in_pytorch():
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 5, 3)) for _ in range(3))
    see = rng.random((5, 5)) < 0.5
    see[2] = False
    ours = ops.scaled_dot_product_attention(q, k, v, see)
    np.testing.assert_array_equal(ours[:, 2], 0)
    assert_same(ops.scaled_dot_product_attention, torch.nn.functional.scaled_dot_product_attention, q, k, v, see)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("window", [1, 3, (2, 1), (-1, 0), (0, -1), (1, 9)], ids=str)
@pytest.mark.parametrize("causal", [False, True], ids=["both ways", "causal"])
def test_a_window_is_a_band_of_the_mask(window, causal):
    rng = np.random.default_rng(1)
    q, k, v = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 8, 3)), rng.normal(size=(2, 8, 4))
    distance = np.arange(8) - np.arange(6)[:, None]
    before, after = (window - 1, window - 1) if isinstance(window, int) else window
    see = (distance >= -before) | (before < 0)
    see &= (distance <= after) | (after < 0)
    if causal:
        see &= distance <= 0
    assert_same(
        lambda *x: ops.scaled_dot_product_attention(*x, window=window, is_causal=causal),
        lambda *x: torch.nn.functional.scaled_dot_product_attention(*x, torch.from_numpy(see)),
        q, k, v,
    )  # fmt: skip
