"""Transformers: every part swaps, every scheme decodes, every combination trains."""

from __future__ import annotations

import numpy as np
import pytest
from copy_task import LENGTH, train, translate

import lunar_core as lc
from lunar_core.component import Component
from lunar_core.contracts.layer import Layer
from lunar_core.errors import HyperparameterError, ShapeError, UnknownNameError
from lunar_layers.attention import Attention, KeyValueCache
from lunar_layers.feed_forward import FeedForward
from lunar_layers.positions import PositionScheme
from lunar_layers.transformer import Transformer, TransformerDecoder, TransformerEncoder
from lunar_layers.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer

REGISTERED = {
    name: lc.registry.get_or_warn("layer", name)  # a broken one is another test's affair
    for name in lc.registry.names("layer")
    if lc.registry.info("layer", name).dist == "lunarlearn"
}


def of_base(base):
    return [name for name, cls in REGISTERED.items() if isinstance(cls, type) and issubclass(cls, base)]


ATTENTIONS, FEED_FORWARDS, SCHEMES = of_base(Attention), of_base(FeedForward), of_base(PositionScheme)
# Those for images and volumes count more axes than a sequence has.
NORMS = [name for name in REGISTERED if "norm" in name and not name.endswith(("2d", "3d"))]
ACTIVATIONS = [
    name for name in lc.registry.names("activation") if lc.registry.info("activation", name).dist == "lunarlearn"
]
NEEDED = {"num_groups": 4, "pieces": 2, "threshold": 0.0, "value": 0.0, "size": 5}


def filled(kind, name, **options):
    """A configuration with what the component cannot do without."""
    names = lc.registry.get(kind, name).config_names()
    needed = {key: NEEDED[key] for key, required in names.items() if required}
    return {f"@{kind}": name, **needed, **{k: v for k, v in options.items() if k in names}}


def normal(*shape, seed=0):
    return lc.tensor(np.random.default_rng(seed).normal(size=shape))


# -- training ----------------------------------------------------------------------------------------------------------


def test_the_parts_are_found():
    assert {"multi_head_attention", "linear_attention", "window_attention", "scaled_dot_product_attention"} <= {
        *ATTENTIONS
    }
    assert {"rotary_embedding", "alibi", "t5_relative_position_bias", "positional_encoding"} <= {*SCHEMES}
    assert {"layer_norm"} <= {*NORMS}
    assert FEED_FORWARDS


@pytest.mark.parametrize("name", ATTENTIONS)
def test_a_transformer_with_every_attention_learns_to_copy(name):
    accuracy, _ = train(attention=filled("layer", name, num_heads=4, window_size=2 * LENGTH))
    assert accuracy == 1


@pytest.mark.parametrize("norm_first", [True, False], ids=["pre-norm", "post-norm"])
@pytest.mark.parametrize("name", NORMS)
def test_a_transformer_with_every_norm_learns_to_copy(name, norm_first):
    accuracy, _ = train(norm=filled("layer", name), norm_first=norm_first, steps=800)
    assert accuracy == 1


@pytest.mark.parametrize("name", FEED_FORWARDS)
def test_a_transformer_with_every_feed_forward_learns_to_copy(name):
    accuracy, _ = train(feed_forward=filled("layer", name))
    assert accuracy == 1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_transformer_with_every_activation_learns_to_copy(name):
    accuracy, _ = train(activation=filled("activation", name, axis=-1))
    assert accuracy == 1


@pytest.mark.parametrize("name", SCHEMES)
def test_a_transformer_with_every_position_scheme_learns_to_copy(name):
    options = {"mode": "learned", "max_length": 2 * LENGTH, "weight_init": {"@initializer": "normal"}}
    accuracy, _ = train(position=filled("layer", name, **options), steps=3000)
    assert accuracy == 1


@pytest.mark.parametrize(
    "options",
    [
        {"num_encoder_layers": 0, "num_decoder_layers": 2}, {"shared": True, "num_encoder_layers": 3},
        {"residual_scale": 0.5}, {"dropout": 0.05, "steps": 800}, {"use_bias": False},
    ],
    ids=["decoder-only", "shared", "residual-scale", "dropout", "no-bias"],
)  # fmt: skip
def test_variants_learn_to_copy(options):
    assert train(**options)[0] == 1


@pytest.mark.parametrize("name", ["multi_head_attention", "linear_attention"])
def test_an_encoder_decoder_copies_token_by_token(name):
    accuracy, _ = translate(attention=name, cross_attention=name)
    assert accuracy == 1


def test_without_attention_nobody_copies():
    class Apart(Attention):
        """Leaves every token alone."""

        def forward(self, query, *args, **options):
            return query

    assert train(attention=Apart(), steps=200)[0] < 0.5


# -- decoding ----------------------------------------------------------------------------------------------------------


STEPS = [(1,) * 7, (3, 1, 1, 2)]


def randomised(model, *inputs):
    """In float64, with parameters of which none is zero."""
    with lc.no_grad():
        model.eval()(*inputs)
    rng = np.random.default_rng(3)
    model.astype("float64").load_state_dict({n: rng.normal(0, 0.4, v.shape) for n, v in model.state_dict().items()})
    return model


@pytest.mark.parametrize("steps", STEPS, ids=lambda s: "+".join(map(str, s)))
@pytest.mark.parametrize("position", [None, *SCHEMES])
@pytest.mark.parametrize("attention", ["multi_head_attention", "linear_attention"])
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_decoding_step_by_step_gives_what_one_call_gives(attention, position, steps, shared):
    if attention == "linear_attention" and position in ("alibi", "t5_relative_position_bias"):
        pytest.skip("linear attention has no scores")
    memory, x = normal(2, 5, 8), normal(2, 7, 8, seed=1)
    seen = np.array([[True] * 5, [True, False, True, True, False]])
    model = TransformerDecoder(
        3, num_heads=2, attention=attention, cross_attention=attention, position=position, shared=shared
    )
    randomised(model, x, memory)
    with lc.no_grad():
        whole = model(x, memory, memory_key_mask=seen).numpy()
        cache, parts, start = KeyValueCache(), [], 0
        for n in steps:
            parts.append(model(x[:, start : start + n], memory, memory_key_mask=seen, cache=cache).numpy())
            start += n
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-10, atol=1e-12)


def test_an_encoder_with_a_causal_mask_decodes_too():
    model, x = TransformerEncoder(2, num_heads=2, position="rotary_embedding", norm_first=True), normal(2, 6, 8)
    randomised(model, x)
    with lc.no_grad():
        cache = KeyValueCache()
        parts = [model(x[:, t : t + 1], is_causal=True, cache=cache).numpy() for t in range(6)]
        whole = model(x, is_causal=True).numpy()
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-10, atol=1e-12)


def test_encode_and_decode_are_the_two_halves():
    model, src, tgt = Transformer(2, 2, num_heads=2), normal(2, 5, 8), normal(2, 4, 8)
    randomised(model, src, tgt)
    mask = np.array([[True] * 5, [True] * 3 + [False] * 2])
    with lc.no_grad():
        whole = model(src, tgt, src_key_mask=mask).numpy()
        memory = model.encode(src, src_key_mask=mask)
        cache = KeyValueCache()
        parts = [model.decode(tgt[:, t : t + 1], memory, memory_key_mask=mask, cache=cache).numpy() for t in range(4)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-10, atol=1e-12)


# -- what the parts are ------------------------------------------------------------------------------------------------


def test_parts_are_swapped_by_name_by_instance_or_by_configuration():
    gqa = lc.layers.MultiHeadAttention(4, num_kv_heads=2)
    model = TransformerEncoder(
        2, attention=gqa, norm={"@layer": "layer_norm", "eps": 1e-3}, feed_forward="feed_forward", activation="swiglu",
        num_heads=2, dropout=0.25,
    )  # fmt: skip
    first, second = model.layers
    assert first.self_attn.num_kv_heads == second.self_attn.num_kv_heads == 2
    assert first.self_attn is not gqa
    assert first.self_attn is not second.self_attn
    assert first.norm1.eps == 1e-3
    assert first.mlp.dropout == 0.25
    assert type(first.mlp.act).__name__ == "SwiGLU"
    model(normal(2, 3, 8))
    assert first.mlp.linear1.weight.shape == (48, 8)
    assert first.mlp.linear2.weight.shape == (8, 24)
    by_name = TransformerEncoderLayer(num_heads=2, dropout=0.25, use_bias=False).self_attn
    assert (by_name.num_heads, by_name.dropout, by_name.use_bias) == (2, 0.25, False)


def test_a_strangers_parts_are_swapped_in():
    class Mean(Attention):
        """Every token gets the mean of all."""

        def forward(self, query, *args, **options):
            return query.mean(axis=1, keepdims=True) + query * 0

    class Twice(Layer):
        """Doubles."""

        def forward(self, x):
            return x * 2

    lc.registry.register("layer", "mean_attention", Mean)
    lc.registry.register("layer", "twice", Twice)
    layer = TransformerEncoderLayer(attention="mean_attention", feed_forward="twice", norm="twice", dropout=0.0)
    x = normal(1, 3, 2)
    half = 2 * (x + x.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(layer(x).numpy(), (2 * (half + 2 * half)).numpy(), rtol=1e-12)
    assert lc.to_config(layer)["attention"] == "mean_attention"


def test_a_shared_block_has_one_set_of_weights_and_its_gradient_is_the_sum():
    once, x = TransformerEncoder(3, num_heads=2, shared=True, dropout=0.0), normal(2, 4, 8)
    randomised(once, x)
    assert once.layers[0] is once.layers[2]
    many = TransformerEncoder(3, num_heads=2, dropout=0.0)
    randomised(many, x)
    many.load_state_dict(once.state_dict())
    assert many.num_parameters() > 2 * once.num_parameters()
    np.testing.assert_array_equal(once(x).detach().numpy(), many(x).detach().numpy())
    once(x).square().sum().backward()
    many(x).square().sum().backward()
    grads = {n: p.grad.numpy() for n, p in many.named_parameters()}
    for name, p in once.named_parameters():
        if name.startswith("layers.0."):
            total = sum(grads[name.replace("layers.0.", f"layers.{i}.")] for i in range(3))
            np.testing.assert_allclose(p.grad.numpy(), total, rtol=1e-9, atol=1e-11)


def test_the_residual_path_takes_the_scaled_part():
    layer, x = TransformerEncoderLayer(num_heads=2, norm_first=True, residual_scale=0.25, dropout=0.0), normal(2, 4, 8)
    randomised(layer, x)
    middle = x + 0.25 * layer.self_attn(layer.norm1(x))
    expected = middle + 0.25 * layer.mlp(layer.norm2(middle))
    np.testing.assert_allclose(layer(x).detach().numpy(), expected.detach().numpy(), rtol=1e-12)


def test_a_scheme_is_shared_by_the_blocks_of_a_stack():
    model = TransformerDecoder(3, num_heads=2, cross_attention=None, position="t5_relative_position_bias")
    model(normal(1, 4, 8))
    assert [n for n, _ in model.named_parameters() if "scheme" in n] == ["scheme.weight"]
    assert model.scheme.bidirectional is False


def test_positions_are_known_to_the_whole_transformer():
    model = Transformer(1, 1, num_heads=2, position="positional_encoding", embed_dim=8).eval()
    plain = Transformer(1, 1, num_heads=2, embed_dim=8).eval()
    plain.load_state_dict(model.state_dict())
    src, tgt = lc.ones((1, 3, 8)), lc.ones((1, 3, 8))
    rows = model(src, tgt).detach().numpy()[0]
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    rows = plain(src, tgt).detach().numpy()[0]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)


@pytest.mark.parametrize("name", ["relu", "gelu", "swiglu", "geglu", "reglu", "glu", "prelu"])
def test_the_feed_forward_part_is_its_formula(name):
    layer, x = FeedForward(6, name), normal(2, 3, 4)
    y = layer(x)
    w1, b1, w2, b2 = (p.detach() for n, p in layer.named_parameters() if n.startswith("linear"))
    hidden = x @ w1.mT + b1
    if w1.shape[0] == 12:
        gate = {"swiglu": "silu", "geglu": "gelu", "reglu": "relu", "glu": "sigmoid"}[name]
        hidden = hidden[..., :6] * lc.create("activation", gate)(hidden[..., 6:])
    else:
        hidden = lc.create("activation", name)(hidden)
    np.testing.assert_allclose(y.detach().numpy(), (hidden @ w2.mT + b2).detach().numpy(), rtol=1e-10, atol=1e-13)


# -- configuration, state, precision, errors ---------------------------------------------------------------------------


FAMILY = {
    "layer": lambda: TransformerEncoderLayer(
        num_heads=2, activation="swiglu", norm={"@layer": "layer_norm", "eps": 0.1}
    ),
    "decoder-layer": lambda: TransformerDecoderLayer(num_heads=2, cross_attention=None, position="alibi"),
    "encoder": lambda: TransformerEncoder(2, num_heads=2, attention=lc.layers.LinearAttention(2), shared=True),
    "decoder": lambda: TransformerDecoder(2, num_heads=2, cross_attention=None, feed_forward=FeedForward(5, "geglu")),
    "transformer": lambda: Transformer(1, 0, num_heads=2, position="t5_relative_position_bias"),
}
family = pytest.mark.parametrize("make", FAMILY.values(), ids=FAMILY)


@family
def test_a_configuration_gives_back_the_same_model(make):
    import json

    model, x = make(), normal(2, 4, 8).astype("float32")
    fresh = lc.from_config(json.loads(json.dumps(lc.to_config(model))))
    assert repr(fresh) == repr(model)
    y = model.eval()(x)
    again = lc.from_config(lc.to_config(model)).eval()
    assert again.built
    again.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(again(x).detach().numpy(), y.detach().numpy())
    assert type(model).from_config_fields(**model.config()).config_names() == model.config_names()


@family
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_have_the_dtype_of_the_inputs_and_do_not_change_in_evaluation(make, dtype):
    model, x = make(), normal(2, 4, 8).astype(dtype)
    y = model(x)
    assert y.dtype == np.dtype(dtype)
    y.sum().backward()
    assert all(p.dtype == np.dtype(dtype) and p.grad is not None for p in model.parameters())
    model.eval()
    np.testing.assert_array_equal(model(x).detach().numpy(), model(x).detach().numpy())


def test_mistakes_are_told_in_words():
    with pytest.raises(HyperparameterError, match="num_heads must be a divisor of the width of the queries, 6"):
        Transformer(1, 1, num_heads=4)(lc.ones((1, 3, 6)), lc.ones((1, 3, 6)))
    with pytest.raises(ShapeError, match=r"takes 2 sequences[\s\S]*model\(src, tgt\)"):
        Transformer(1, 1)(lc.ones((1, 3, 8)))
    with pytest.raises(ShapeError, match=r"takes 1 sequences"):
        Transformer(1, 0)(lc.ones((1, 3, 8)), lc.ones((1, 3, 8)))
    with pytest.raises(HyperparameterError, match="num_encoder_layers"):
        Transformer(0, 0)
    with pytest.raises(ShapeError, match="needs a memory"):
        TransformerDecoderLayer()(lc.ones((1, 3, 8)))
    with pytest.raises(ShapeError, match="has no cross-attention, but a memory was given"):
        TransformerDecoderLayer(cross_attention=None)(lc.ones((1, 3, 8)), lc.ones((1, 3, 8)))
    with pytest.raises(UnknownNameError, match="multi_head_attention"):
        TransformerEncoder(2, attention="multi_head_atention")
    with pytest.raises(HyperparameterError, match=r"position must be a position scheme[\s\S]*rotary_embedding"):
        TransformerEncoder(2, position="layer_norm")
    with pytest.raises(HyperparameterError, match="expected a layer, its registry name or its configuration"):
        TransformerEncoder(2, norm=3)
    with pytest.raises(ShapeError, match=r"\(batch, time, features\)"):
        TransformerEncoder(1, num_heads=2)(lc.ones((3, 8)))
    with pytest.raises(ShapeError, match=r'attn_mask must be[\s\S]*"layers.0.self_attn"'):
        TransformerEncoder(1, num_heads=2)(lc.ones((1, 3, 8)), attn_mask=np.ones((3, 4), bool))


def test_every_layer_of_this_family_is_a_component_with_its_shapes_and_source_in_the_docstring():
    for name in [*ATTENTIONS, *SCHEMES, *FEED_FORWARDS, "transformer", "transformer_encoder", "lstm", "conv_lstm"]:
        cls = REGISTERED[name]
        assert issubclass(cls, Component)
        assert "Shapes:" in cls.__doc__
        assert "Source:" in cls.__doc__
