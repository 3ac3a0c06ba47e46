"""scaled_dot_product_attention: kernels, masks, dropout, orders of differentiation, layout, errors."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, HyperparameterError, ShapeError
from lunar_core.ops import attending, attention
from lunar_core.testing import gradcheck, gradgradcheck

sdpa = ops.scaled_dot_product_attention


def qkv(shape=(2, 3, 5, 4), seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for _ in range(3)]


@pytest.fixture(params=["kept", "tiled"])
def kernel(request, monkeypatch):
    if request.param == "tiled":
        monkeypatch.setattr(attention, "_KEPT", 0)
        monkeypatch.setattr(attending, "TILE", 2)
    return request.param


@pytest.mark.parametrize(
    "options",
    [{}, {"is_causal": True}, {"window": 2}, {"enable_gqa": True}, {"dropout_p": 0.3}],
    ids=["plain", "causal", "window", "grouped", "dropout"],
)
@pytest.mark.usefixtures("kernel")
def test_first_and_second_order(options):
    q, k, v = qkv((2, 4, 3, 2))
    if "enable_gqa" in options:
        k, v = k[:, :2], v[:, :2]
    mask = np.random.default_rng(1).normal(size=(1, 3, 3))
    tensors = [lc.Tensor(a, requires_grad=True) for a in (q, k, v, mask)]

    def function(*x):
        with lc.random.preserved():
            return sdpa(*x, **options)

    assert gradcheck(function, tensors)
    assert gradgradcheck(function, tensors)


def test_both_kernels_agree_on_long_sequences(monkeypatch):
    q, k, v = qkv((1, 2, 700, 8), dtype=np.float32)
    kept = np.random.default_rng(2).random((700, 700)) < 0.8
    results = []
    for limit in (1 << 30, 0):
        monkeypatch.setattr(attention, "_KEPT", limit)
        tensors = [lc.Tensor(a, requires_grad=True) for a in (q, k, v)]
        y = sdpa(*tensors, kept, is_causal=True, window=300)
        y.sum().backward()
        results.append([y.detach().numpy(), *[t.grad.numpy() for t in tensors]])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_tiles_without_any_weight_are_left_out():
    tiles = list(attending.tiles_of(600, 600, (99, 0)))
    assert [[(c.start, c.stop) for c in columns] for _, columns in tiles] == [
        [(0, 256)], [(0, 256), (256, 512)], [(256, 512), (512, 600)],
    ]  # fmt: skip


@pytest.mark.usefixtures("kernel")
def test_scores_of_any_size_do_not_overflow():
    q, k, v = (x.astype(np.float32) for x in qkv())
    y = sdpa(q * 1e4, k * 1e4, v)
    assert np.isfinite(y).all()
    mask = np.full((5, 5), -np.inf, np.float32)
    mask[:, 1] = 1e30
    np.testing.assert_allclose(sdpa(q, k, v, mask), np.broadcast_to(v[..., 1:2, :], v.shape), rtol=1e-6)


@pytest.mark.usefixtures("kernel")
def test_a_masked_key_takes_no_part_and_has_no_gradient():
    q, k, v = qkv()
    see = np.ones((5, 5), bool)
    see[:, 4] = False
    tensors = [lc.Tensor(a, requires_grad=True) for a in (q, k, v)]
    sdpa(*tensors, see).sum().backward()
    np.testing.assert_array_equal(tensors[1].grad.numpy()[..., 4, :], 0)
    np.testing.assert_allclose(sdpa(q, k, v, see), sdpa(q, k[..., :4, :], v[..., :4, :]), rtol=1e-12)


@pytest.mark.usefixtures("kernel")
def test_dropout_draws_from_its_stream_and_keeps_the_mean():
    q, k, v = qkv((1, 1, 40, 8))
    lc.seed(3)
    first, second = sdpa(q, k, v, dropout_p=0.5), sdpa(q, k, v, dropout_p=0.5)
    lc.seed(3)
    np.testing.assert_array_equal(sdpa(q, k, v, dropout_p=0.5), first)
    assert not np.array_equal(first, second)
    ones = np.ones_like(v)
    mean = np.mean([sdpa(q, k, ones, dropout_p=0.5).mean() for _ in range(50)])
    assert abs(mean - 1) < 0.05


def test_heads_cut_from_one_axis_go_back_without_a_copy():
    x = np.random.default_rng(0).normal(size=(2, 6, 3, 4))
    q = x.transpose(0, 2, 1, 3)
    y = sdpa(q, q, q)
    assert y.transpose(0, 2, 1, 3).flags.c_contiguous


def test_grouped_heads_are_repeated_heads():
    q, k, v = qkv((2, 6, 5, 4))
    k, v = k[:, :2], v[:, :2]
    mask = np.random.default_rng(1).random((2, 6, 5, 5)) < 0.7
    for m in (None, mask, mask[:, :1], mask[0, 0]):
        grouped = sdpa(q, k, v, m, enable_gqa=True)
        np.testing.assert_allclose(grouped, sdpa(q, k.repeat(3, 1), v.repeat(3, 1), m), rtol=1e-12)


def test_half_precision_keeps_its_dtype():
    q, k, v = qkv(dtype=np.float16)
    t = lc.Tensor(q, requires_grad=True)
    y = sdpa(t, k, v, is_causal=True)
    y.sum().backward()
    assert y.dtype == np.float16 and t.grad.dtype == np.float16
    exact = sdpa(*[np.float32(a) for a in (q, k, v)], is_causal=True)
    np.testing.assert_allclose(y.detach().numpy(), exact, rtol=1e-3, atol=1e-3)


def test_an_empty_batch_and_no_keys():
    q, k, v = qkv()
    assert sdpa(q[:0], k[:0], v[:0]).shape == (0, 3, 5, 4)
    np.testing.assert_array_equal(sdpa(q, k[..., :0, :], v[..., :0, :]), 0)


def test_what_does_not_fit_is_named():
    q, k, v = qkv()
    with pytest.raises(ShapeError, match=r"query and key must have the same width, got query \(2, 3, 5, 4\)"):
        sdpa(q, k[..., :3], v)
    with pytest.raises(ShapeError, match="key and value must have the same length"):
        sdpa(q, k, v[..., :4, :])
    with pytest.raises(ShapeError, match="key and value must have the same leading axes"):
        sdpa(q, k, v[:1])
    with pytest.raises(ShapeError, match=r"attn_mask of shape \(4, 5\) does not broadcast to \(2, 3, 5, 5\)"):
        sdpa(q, k, v, np.ones((4, 5), bool))
    with pytest.raises(DTypeError, match="attn_mask must hold bools or floats, got int64"):
        sdpa(q, k, v, np.ones((5, 5), int))
    with pytest.raises(
        ShapeError, match=r"leading axes of query \(2, 3, 5, 4\) and key \(2, 2, 5, 4\) do not broadcast"
    ):
        sdpa(q, k[:, :2], v[:, :2])
    with pytest.raises(ShapeError, match="a number of query heads that the number of key heads divides"):
        sdpa(q, k[:, :2], v[:, :2], enable_gqa=True)
    with pytest.raises(HyperparameterError, match=r"dropout_p must be in \[0, 1\), got 1.5"):
        sdpa(q, k, v, dropout_p=1.5)
    with pytest.raises(HyperparameterError, match="window must be at least 1, got 0"):
        sdpa(q, k, v, window=0)
    with pytest.raises(HyperparameterError, match="window must be an int or a pair"):
        sdpa(q, k, v, window="wide")
    with pytest.raises(DTypeError, match="real floating inputs, got int64"):
        sdpa(q.astype(int), k, v)
