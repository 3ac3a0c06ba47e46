"""Attention layers: masks, windows, linear attention, the cache, errors."""

from __future__ import annotations

import numpy as np
import pytest
from attention_loops import attention, output, projections

import lunar_core as lc
from lunar_core.errors import DTypeError, HyperparameterError, ShapeError
from lunar_layers.attention import KeyValueCache, ScaledDotProductAttention
from lunar_layers.linear_attention import LinearAttention
from lunar_layers.multi_head_attention import MultiHeadAttention
from lunar_layers.window_attention import WindowAttention


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def built(cls, *args, width=8, **options):
    """A layer in float64 whose parameters are all drawn anew, so that no part is zero."""
    layer = cls(*args, embed_dim=width, **options).astype("float64")
    randomise(layer)
    return layer


def randomise(layer):
    rng = np.random.default_rng(1)
    layer.load_state_dict({n: rng.normal(0, 0.5, v.shape) for n, v in layer.state_dict().items()})


@pytest.mark.parametrize("is_causal", [False, True], ids=["both-sides", "causal"])
@pytest.mark.parametrize("window", [1, 2, 4, 20])
def test_a_window_hides_what_is_further_away(window, is_causal):
    layer, x = built(MultiHeadAttention, 2, window=window), normal(2, 7, 8)
    q, k, v = projections(layer, x)
    expected = attention(q, k, v, lambda b, h, i, j: abs(i - j) < window and (j <= i or not is_causal))
    y = layer(lc.tensor(x), is_causal=is_causal)
    np.testing.assert_allclose(y.detach().numpy(), output(layer, expected), rtol=1e-10, atol=1e-12)


def test_all_restrictions_work_together():
    layer, x = built(MultiHeadAttention, 2, window=4), normal(3, 7, 8)
    lengths = np.arange(7) < np.array([7, 3, 5])[:, None]
    bools, added = np.random.default_rng(2).random((3, 7, 7)) > 0.3, normal(2, 7, 7, seed=3)
    q, k, v = projections(layer, x)

    def allowed(b, h, i, j):
        return i - 4 < j <= i and lengths[b, j]

    for mask, see, bias in [
        (bools, lambda b, h, i, j: allowed(b, h, i, j) and bools[b, i, j], None),
        (added[None], allowed, lambda b, h, i, j: added[h, i, j]),
    ]:
        y = layer(lc.tensor(x), attn_mask=mask, key_mask=lengths, is_causal=True)
        expected = output(layer, attention(q, k, v, see, bias))
        np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_a_query_that_sees_nothing_gets_the_offset_alone():
    layer, x = built(MultiHeadAttention, 2), lc.tensor(normal(2, 4, 8), requires_grad=True)
    y = layer(x, key_mask=np.array([[True] * 4, [False] * 4]))
    np.testing.assert_array_equal(y.detach().numpy()[1], np.tile(layer.out_proj.bias.detach().numpy(), (4, 1)))
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_a_learned_mask_gets_a_gradient():
    layer, bias = built(MultiHeadAttention, 2), lc.tensor(normal(2, 4, 4), requires_grad=True)
    layer(lc.tensor(normal(3, 4, 8)), attn_mask=bias.reshape((1, 2, 4, 4)), is_causal=True).sum().backward()
    grad = bias.grad.numpy()
    assert (grad[:, *np.triu_indices(4, 1)] == 0).all()
    assert (grad[:, 2, :2] != 0).all()


@pytest.mark.parametrize("key_heads", [2, 1], ids=["mha", "mqa"])
@pytest.mark.parametrize("is_causal", [False, True], ids=["both-sides", "causal"])
def test_weights_that_are_shown_are_those_that_are_used(is_causal, key_heads):
    options = {"window": 4, "position": "alibi", "num_kv_heads": key_heads}
    layer, x = built(MultiHeadAttention, 2, **options), lc.tensor(normal(3, 7, 8), requires_grad=True)
    open_ = built(MultiHeadAttention, 2, show_weights=True, **options)
    masks = {"attn_mask": normal(7, 7), "key_mask": np.arange(7) < np.array([7, 3, 0])[:, None], "is_causal": is_causal}
    heard = []
    open_.weights.register_forward_hook(lambda module, args, output: heard.append(output))
    y, z = layer(x, **masks), open_(x, **masks)
    np.testing.assert_allclose(z.detach().numpy(), y.detach().numpy(), rtol=1e-10, atol=1e-12)
    grads = [lc.grad((out * out).sum(), [x])[0].numpy() for out in (y, z)]
    np.testing.assert_allclose(grads[1], grads[0], rtol=1e-9, atol=1e-11)
    (weights,) = heard
    assert weights.shape == (3, 2, 7, 7)
    sums = weights.detach().numpy().sum(-1)
    np.testing.assert_allclose(sums[0], 1, rtol=1e-12)
    assert (sums[2] == 0).all()


@pytest.mark.parametrize("position", [None, "rotary_embedding"])
def test_queries_and_keys_may_be_normalised_head_by_head(position):
    layer, x = MultiHeadAttention(2, qk_norm="layer_norm", position=position), normal(2, 5, 8)
    layer(lc.tensor(x))
    randomise(layer)
    q, k, v = projections(layer, x)
    q, k = (norm(lc.tensor(z)) for norm, z in ((layer.q_norm, q), (layer.k_norm, k)))
    if position:
        q, k = layer.scheme(q), layer.scheme(k)
    heads = attention(q.detach().numpy(), k.detach().numpy(), v, lambda b, h, i, j: True)
    np.testing.assert_allclose(layer(lc.tensor(x)).detach().numpy(), output(layer, heads), rtol=1e-9, atol=1e-12)


def test_a_regularizer_hears_shown_weights():
    model = lc.layers.TransformerEncoder(
        2, num_heads=2, attention={"@layer": "multi_head_attention", "num_heads": 2, "show_weights": True}
    )
    x = lc.tensor(normal(2, 5, 8))
    model(x)
    penalty = lc.create("regularizer", "attention_entropy", modules=("*.self_attn.weights",))
    detach = penalty.attach(model)
    model(x)
    total, _ = penalty.terms(model)
    detach()
    assert total.item() > 0
    total.backward()
    assert model.layers[0].self_attn.in_proj_weight.grad is not None


# -- the cache ---------------------------------------------------------------------------------------------------------


STEPS = [(1,) * 9, (4, 1, 1, 3), (9,), (2, 5, 2)]


def warmed(layer):
    """In float64, from a first call."""
    with lc.no_grad():
        layer(lc.tensor(normal(1, 2, 8)))
    randomise(layer)
    return layer


LAYERS = {
    "mha": lambda **o: built(MultiHeadAttention, 2, **o),
    "mqa": lambda **o: built(MultiHeadAttention, 4, num_kv_heads=1, **o),
    "window": lambda **o: built(MultiHeadAttention, 2, window=3, **o),
    "normed": lambda **o: warmed(MultiHeadAttention(2, qk_norm={"@layer": "layer_norm", "eps": 0.1}, **o)),
    "linear": lambda **o: built(LinearAttention, 2, **o),
    "bare": ScaledDotProductAttention,
    "bare-window": lambda **o: ScaledDotProductAttention(window=2, **o),
}


def scheme(name, layer):
    if name is None:
        return None
    made = lc.create("layer", name)
    with lc.no_grad():
        layer(lc.tensor(normal(1, 2, 8)), is_causal=True, position=made)
    return made.astype("float64")


@pytest.mark.parametrize("steps", STEPS, ids=lambda s: "+".join(map(str, s)))
@pytest.mark.parametrize("position", [None, "rotary_embedding", "alibi", "t5_relative_position_bias"])
@pytest.mark.parametrize("kind", LAYERS)
def test_decoding_step_by_step_gives_what_one_call_gives(kind, position, steps):
    layer = LAYERS[kind]().eval()
    if kind == "linear" and position not in (None, "rotary_embedding"):
        pytest.skip("linear attention has no scores")
    at = scheme(position, layer)
    x = lc.tensor(normal(3, 9, 8))
    mask = np.arange(9) >= np.array([0, 2, 1])[:, None]  # padding in front
    with lc.no_grad():
        whole = layer(x, is_causal=True, key_mask=mask, position=at).numpy()
        cache, parts, start = KeyValueCache(), [], 0
        for n in steps:
            seen = mask[:, : start + n]
            part = layer(x[:, start : start + n], is_causal=True, key_mask=seen, cache=cache, position=at)
            parts.append(part.numpy())
            start += n
            assert cache.length == start
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", ["mha", "mqa", "linear", "bare", "normed"])
def test_another_sequence_is_projected_once(kind):
    layer = LAYERS[kind]().eval()
    memory, x = lc.tensor(normal(2, 5, 8)), lc.tensor(normal(2, 4, 8, seed=1))
    with lc.no_grad():
        whole = layer(x, memory, memory).numpy()
        cache = KeyValueCache()
        first = layer(x[:, :1], memory, memory, cache=cache).numpy()
        # what the cache holds is used: another memory of that length changes nothing
        rest = layer(x[:, 1:], memory * 0, memory * 0, cache=cache).numpy()
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), whole, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", ["mha", "mqa", "linear", "bare"])
def test_gradients_flow_through_the_cache_where_they_are_recorded(kind):
    layer, results = LAYERS[kind](), []
    for steps in ([5], [2, 1, 2]):
        x, cache, parts, start = lc.tensor(normal(2, 5, 8), requires_grad=True), KeyValueCache(), [], 0
        for n in steps:
            parts.append(layer(x[:, start : start + n], is_causal=True, cache=cache))
            start += n
        y = lc.ops.concat(parts, axis=1)
        results.append(lc.grad((y * y).sum(), [x, *layer.parameters()]))
    for whole, pieces in zip(*results):
        np.testing.assert_allclose(pieces.numpy(), whole.numpy(), rtol=1e-9, atol=1e-12)


def test_a_cache_that_was_reordered_goes_on_growing():
    layer, x = built(MultiHeadAttention, 2).eval(), lc.tensor(normal(2, 40, 8))
    with lc.no_grad():
        cache, parts = KeyValueCache(), []
        for t in range(40):
            parts.append(layer(x[:, t : t + 1], is_causal=True, cache=cache).numpy())
            if t % 7 == 3:
                cache.reorder(np.array([0, 1]))
        whole = layer(x, is_causal=True).numpy()
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-10, atol=1e-12)


def test_a_cache_can_be_reordered_as_beam_search_does():
    layer, x = built(MultiHeadAttention, 2).eval(), lc.tensor(normal(3, 5, 8))
    order = np.array([2, 2, 0, 1])
    with lc.no_grad():
        cache = KeyValueCache()
        layer(x[:, :4], is_causal=True, cache=cache)
        cache.reorder(order)
        y = layer(x[order][:, 4:], is_causal=True, cache=cache).numpy()
        np.testing.assert_allclose(y, layer(x[order], is_causal=True).numpy()[:, 4:], rtol=1e-11)


# -- linear attention --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [5, 150])
@pytest.mark.parametrize("is_causal", [False, True], ids=["both-sides", "causal"])
def test_linear_attention_is_its_sum(is_causal, length):
    layer, x = built(LinearAttention, 2), normal(2, length, 8)
    mask = np.random.default_rng(0).random((2, length)) > 0.2
    mask[:, 0] = True
    q, k, v = projections(layer, x)
    q, k = (np.where(z > 0, z + 1, np.exp(z)) for z in (q, k))
    out = np.zeros_like(v)
    for b, h, i in np.ndindex(*q.shape[:3]):
        seen = [j for j in range(i + 1 if is_causal else length) if mask[b, j]]
        weights = np.array([q[b, h, i] @ k[b, h, j] for j in seen])
        out[b, h, i] = weights @ v[b, h, seen] / (weights.sum() + 1e-6)
    y = layer(lc.tensor(x), is_causal=is_causal, key_mask=mask)
    np.testing.assert_allclose(y.detach().numpy(), output(layer, out), rtol=1e-9, atol=1e-12)


def test_linear_attention_to_another_sequence_is_its_sum():
    layer, x, memory = built(LinearAttention, 2), normal(2, 3, 8), normal(2, 6, 8, seed=1)
    q, k, v = projections(layer, x, memory)
    q, k = (np.where(z > 0, z + 1, np.exp(z)) for z in (q, k))
    weights = np.einsum("bhid,bhjd->bhij", q, k)
    out = np.einsum("bhij,bhjd->bhid", weights, v) / (weights.sum(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(layer(lc.tensor(x), lc.tensor(memory)).detach().numpy(), output(layer, out), rtol=1e-9)


def test_rotation_in_linear_attention_leaves_the_denominator_alone():
    from lunar_layers.positions import RotaryEmbedding

    layer, x, turn = built(LinearAttention, 2), normal(1, 5, 8), RotaryEmbedding()
    q, k, v = projections(layer, x)
    q, k = (np.where(z > 0, z + 1, np.exp(z)) for z in (q, k))
    rq, rk = (turn(lc.tensor(z)).numpy() for z in (q, k))
    above = np.einsum("bhid,bhjd->bhij", rq, rk) * np.tri(5)
    below = np.einsum("bhid,bhjd->bhij", q, k) * np.tri(5)
    out = above @ v / (below.sum(-1, keepdims=True) + 1e-6)
    y = layer(lc.tensor(x), is_causal=True, position=turn)
    np.testing.assert_allclose(y.detach().numpy(), output(layer, out), rtol=1e-9)


# -- windows of a grid -------------------------------------------------------------------------------------------------


def windowed(layer, x, windows, shifts, present=None, is_causal=False):
    """Swin's attention token by token: who shares a window and a region with whom, and where they stand."""
    grid = x.shape[1:-1]
    heads, width = layer.num_heads, x.shape[-1]
    padded = tuple(-(-n // w) * w for n, w in zip(grid, windows))
    shifts = tuple(0 if w >= n else s for s, w, n in zip(shifts, windows, grid))
    places = list(np.ndindex(*grid))
    flat = x.reshape(x.shape[0], -1, width)
    q, k, v = projections(layer, flat)
    table = layer.relative_position_bias_table.detach().numpy().reshape(*[2 * w - 1 for w in windows], heads)

    def window_and_region(place):
        moved = [p - s for p, s in zip(place, shifts)]
        wrapped = tuple(m < 0 for m in moved)
        return tuple((m % n) // w for m, n, w in zip(moved, padded, windows)), wrapped

    def inner(place):
        return [((p - s) % n) % w for p, s, n, w in zip(place, shifts, padded, windows)]

    def allowed(b, h, i, j):
        seen = present is None or present[(b, *places[j])]
        return seen and window_and_region(places[i]) == window_and_region(places[j]) and (j <= i or not is_causal)

    def bias(b, h, i, j):
        at = tuple(a - c + w - 1 for a, c, w in zip(inner(places[i]), inner(places[j]), windows))
        return table[at][h]

    return output(layer, attention(q, k, v, allowed, bias)).reshape(x.shape)


@pytest.mark.parametrize(
    "grid, window, shift",
    [
        ((6, 4), (3, 2), (0, 0)), ((6, 4), (3, 2), (1, 1)), ((5, 7), 3, 1), ((2, 6), 3, 1), ((8,), 4, 2), ((7,), (3,), 0),
        ((4, 2, 4), (2, 2, 2), (1, 1, 1)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("is_causal", [False, True], ids=["both-sides", "causal"])
def test_window_attention_is_swins(grid, window, shift, is_causal):
    layer, x = WindowAttention(2, window_size=window, shift=shift), normal(2, *grid, 8)
    layer(lc.tensor(x))
    randomise(layer)
    many = lambda v: v if isinstance(v, tuple) else (v,) * len(grid)  # noqa: E731
    expected = windowed(layer, x, many(window), many(shift), is_causal=is_causal)
    found = layer(lc.tensor(x), is_causal=is_causal).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_window_attention_does_not_see_padding():
    layer, x = WindowAttention(2, window_size=3, shift=1), normal(2, 7, 8)
    layer(lc.tensor(x))
    randomise(layer)
    present = np.arange(7) < np.array([[7], [4]])
    expected = windowed(layer, x, (3,), (1,), present)
    np.testing.assert_allclose(layer(lc.tensor(x), key_mask=present).detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_window_attention_has_the_gradient_of_its_result():
    from lunar_core.testing.gradcheck import gradcheck

    layer = WindowAttention(1, window_size=2, shift=1)
    layer(lc.tensor(normal(1, 5, 3, 2)))
    randomise(layer)
    gradcheck(layer, [lc.tensor(normal(1, 5, 3, 2), requires_grad=True)])


# -- dropout, precision, errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mha", "mqa", "window", "bare"])
def test_dropout_acts_in_training_only(kind):
    layer, x = LAYERS[kind](dropout=0.5), lc.tensor(normal(2, 6, 8))
    layer.eval()
    still = layer(x).detach().numpy()
    np.testing.assert_array_equal(still, layer(x).detach().numpy())
    layer.train()
    assert np.abs(layer(x).detach().numpy() - still).max() > 1e-3
    lc.seed(0)
    first = layer(x).detach().numpy()
    lc.seed(0)
    np.testing.assert_array_equal(first, layer(x).detach().numpy())


@pytest.mark.parametrize("make", [lambda: MultiHeadAttention(2), lambda: LinearAttention(2), ScaledDotProductAttention])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_results_have_the_dtype_of_the_inputs(make, dtype):
    x = lc.tensor(normal(2, 5, 8)).astype(dtype)
    layer = make()
    y = layer(x, is_causal=True)
    assert y.dtype == np.dtype(dtype)
    assert np.isfinite(y.detach().numpy()).all()


def test_widths_that_heads_do_not_divide_are_refused_with_one_that_would():
    with pytest.raises(HyperparameterError, match=r"a divisor of the width of the queries, 6[\s\S]*num_heads=3"):
        MultiHeadAttention(4, embed_dim=6)
    with pytest.raises(HyperparameterError, match="num_heads must be a divisor"):
        MultiHeadAttention(4)(lc.ones((2, 3, 6)))
    with pytest.raises(HyperparameterError, match="num_kv_heads must be a divisor of num_heads, 4"):
        MultiHeadAttention(4, num_kv_heads=3)


def test_inputs_of_wrong_shapes_are_refused_in_words():
    layer = MultiHeadAttention(2, embed_dim=8)
    with pytest.raises(ShapeError, match=r"with 8 features, got \(2, 3, 6\)"):
        layer(lc.ones((2, 3, 6)))
    with pytest.raises(ShapeError, match=r"one sequence gets a batch axis by x\[None\]"):
        layer(lc.ones((3, 8)))
    with pytest.raises(ShapeError, match=r"MultiHeadAttention \(key\) expects .* with 8 features"):
        layer(lc.ones((2, 3, 8)), lc.ones((2, 3, 5)))
    with pytest.raises(ShapeError, match=r"2 sequences of queries, but key is \(1, 3, 8\)"):
        layer(lc.ones((2, 3, 8)), lc.ones((1, 3, 8)))
    with pytest.raises(ShapeError, match="differ in length"):
        layer(lc.ones((2, 3, 8)), lc.ones((2, 3, 8)), lc.ones((2, 4, 8)))
    with pytest.raises(DTypeError, match="floating-point"):
        layer(lc.tensor(np.ones((2, 3, 8), int)))
    wide = MultiHeadAttention(2)
    wide(lc.ones((2, 3, 8)), lc.ones((2, 3, 5)))
    with pytest.raises(ShapeError, match="built for keys of width 5"):
        wide(lc.ones((2, 3, 8)))


@pytest.mark.parametrize(
    "masks, error, text",
    [
        (
            {"attn_mask": np.ones((3, 4), bool)},
            ShapeError,
            r"attn_mask must be \(queries, keys\) = \(3, 3\).*got \(3, 4\)",
        ),
        ({"attn_mask": np.ones((3, 3), int)}, DTypeError, r"attn_mask holds bools[\s\S]*astype"),
        ({"key_mask": np.ones((2, 3), int)}, DTypeError, "key_mask must hold bools"),
        ({"key_mask": np.ones((3, 2), bool)}, ShapeError, r"key_mask must be \(batch, keys\) = \(2, 3\), got \(3, 2\)"),
    ],
    ids=["shape", "integers", "padding-integers", "padding-shape"],
)
@pytest.mark.parametrize("make", [lambda: MultiHeadAttention(2), ScaledDotProductAttention], ids=["mha", "bare"])
def test_masks_that_do_not_fit_are_refused_in_words(make, masks, error, text):
    with pytest.raises(error, match=text):
        make()(lc.ones((2, 3, 8)), **masks)


def test_what_a_layer_cannot_honour_it_refuses():
    with pytest.raises(ShapeError, match="LinearAttention does not take attn_mask"):
        LinearAttention(2)(lc.ones((2, 3, 8)), attn_mask=np.ones((3, 3), bool))
    with pytest.raises(ShapeError, match="LinearAttention does not take position=ALiBi"):
        LinearAttention(2)(lc.ones((2, 3, 8)), position=lc.layers.ALiBi())
    with pytest.raises(ShapeError, match="WindowAttention does not take key"):
        WindowAttention(2, window_size=2)(lc.ones((2, 4, 8)), lc.ones((2, 4, 8)))
    with pytest.raises(HyperparameterError, match="shift must be below window_size"):
        WindowAttention(2, window_size=2, shift=2)
    with pytest.raises(ShapeError, match=r"\(batch, 2 axes of the grid, width\), got \(2, 4, 8\)"):
        WindowAttention(2, window_size=(2, 2))(lc.ones((2, 4, 8)))
