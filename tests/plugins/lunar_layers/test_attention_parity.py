"""Attention and Transformers against PyTorch: values and all gradients."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_layers.attention import ScaledDotProductAttention
from lunar_layers.multi_head_attention import MultiHeadAttention
from lunar_layers.transformer import Transformer, TransformerDecoder, TransformerEncoder
from lunar_layers.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:enable_nested_tensor")]

NAMES = [("linear1.", "mlp.linear1."), ("linear2.", "mlp.linear2."), ("multihead_attn.", "cross_attn.")]
LENGTHS = np.array([[True] * 5, [True] * 3 + [False] * 2, [True] * 4 + [False]])


def renamed(name):
    """The name that a parameter of PyTorch's has in ours."""
    for theirs, ours in NAMES:
        name = name.replace(theirs, ours)
    if "layers" in name:
        return name
    return "last_" + name if name.startswith("norm.") else name.replace("coder.norm.", "coder.last_norm.")


def compare(layer, twin, values, ours, theirs):
    """``layer`` gets the parameters of ``twin``; results and all gradients agree."""
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for p in twin.parameters():
            p.copy_(torch.tensor(rng.normal(0, 0.4, tuple(p.shape))))
    a = [lc.tensor(v, requires_grad=True) for v in values]
    b = [torch.tensor(v, requires_grad=True) for v in values]
    if not layer.built:
        with lc.no_grad():
            ours(*a)
    layer.load_state_dict({renamed(n): v.detach().numpy() for n, v in twin.state_dict().items()})
    y, t = ours(*a), theirs(*b)
    np.testing.assert_allclose(y.detach().numpy(), t.detach().numpy(), rtol=1e-9, atol=1e-12)
    cotangent = rng.normal(size=y.shape)
    y.backward(lc.tensor(cotangent))
    t.backward(torch.tensor(cotangent))
    for x, z in zip(a, b):
        np.testing.assert_allclose(x.grad.numpy(), z.grad.numpy(), rtol=1e-9, atol=1e-12)
    found = {n: p.grad.numpy() for n, p in layer.named_parameters()}
    wanted = {renamed(n): p.grad.numpy() for n, p in twin.named_parameters()}
    assert found.keys() == wanted.keys()
    for name, grad in wanted.items():
        np.testing.assert_allclose(found[name], grad, rtol=1e-9, atol=1e-12, err_msg=name)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def hidden(mask):
    """PyTorch's layers call True what is left out."""
    return torch.tensor(~mask)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("masks", ["none", "causal", "bools", "floats", "padding", "heads"])
def test_self_attention_is_pytorchs(masks, bias):
    layer = MultiHeadAttention(2, use_bias=bias)
    twin = nn.MultiheadAttention(6, 2, bias=bias, batch_first=True, dtype=torch.float64)
    allowed = np.random.default_rng(1).random((5, 5)) > 0.4
    allowed[:, 0] = True
    added, each = normal(5, 5, seed=2), normal(3, 2, 5, 5, seed=3)
    ours, theirs = {
        "none": ({}, {}),
        "causal": ({"is_causal": True}, {"attn_mask": hidden(np.tril(np.ones((5, 5), bool)))}),
        "bools": ({"attn_mask": allowed}, {"attn_mask": hidden(allowed)}),
        "floats": ({"attn_mask": added}, {"attn_mask": torch.tensor(added)}),
        "padding": ({"key_mask": LENGTHS}, {"key_padding_mask": hidden(LENGTHS)}),
        "heads": ({"attn_mask": each}, {"attn_mask": torch.tensor(each).reshape(6, 5, 5)}),
    }[masks]
    compare(
        layer, twin, [normal(3, 5, 6)], lambda x: layer(x, **ours),
        lambda x: twin(x, x, x, need_weights=False, **theirs)[0],
    )  # fmt: skip


@pytest.mark.parametrize("widths", [(6, 6), (4, 4), (4, 7)], ids=lambda w: f"{w[0]}-{w[1]}")
def test_attention_to_another_sequence_is_pytorchs(widths):
    layer = MultiHeadAttention(2)
    twin = nn.MultiheadAttention(6, 2, kdim=widths[0], vdim=widths[1], batch_first=True, dtype=torch.float64)
    values = [normal(3, 4, 6), normal(3, 5, widths[0], seed=1), normal(3, 5, widths[1], seed=2)]
    compare(
        layer, twin, values, lambda q, k, v: layer(q, k, v, key_mask=LENGTHS),
        lambda q, k, v: twin(q, k, v, key_padding_mask=hidden(LENGTHS), need_weights=False)[0],
    )  # fmt: skip


@pytest.mark.parametrize("key_heads", [1, 2, 4], ids=["mqa", "gqa", "mha"])
@pytest.mark.parametrize("is_causal", [False, True], ids=["full", "causal"])
def test_grouped_heads_are_pytorchs_attention_over_repeated_ones(key_heads, is_causal):
    layer = MultiHeadAttention(4, num_kv_heads=key_heads, head_dim=3, embed_dim=8).astype("float64")
    x = lc.tensor(normal(2, 5, 8), requires_grad=True)
    y = layer(x, is_causal=is_causal)
    t = torch.tensor(x.detach().numpy(), requires_grad=True)
    w, b = (torch.tensor(p.detach().numpy(), requires_grad=True) for p in (layer.in_proj_weight, layer.in_proj_bias))
    q, k, v = F.linear(t, w, b).split([12, 3 * key_heads, 3 * key_heads], dim=-1)
    q, k, v = (z.unflatten(2, (-1, 3)).transpose(1, 2) for z in (q, k, v))
    heads = F.scaled_dot_product_attention(q, k, v, is_causal=is_causal, enable_gqa=True)
    out = F.linear(
        heads.transpose(1, 2).flatten(2), *(torch.tensor(p.detach().numpy()) for p in layer.out_proj.parameters())
    )
    np.testing.assert_allclose(y.detach().numpy(), out.detach().numpy(), rtol=1e-9, atol=1e-12)
    y.sum().backward()
    out.sum().backward()
    for ours, theirs in ((x, t), (layer.in_proj_weight, w), (layer.in_proj_bias, b)):
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4), (2, 3, 5, 4)], ids=str)
@pytest.mark.parametrize("options", [{}, {"scale": 0.7}], ids=["default", "scale"])
def test_attention_without_projections_is_pytorchs(shape, options):
    layer = ScaledDotProductAttention(**options)
    values = [normal(*shape, seed=i) for i in range(3)]
    a = [lc.tensor(v, requires_grad=True) for v in values]
    b = [torch.tensor(v, requires_grad=True) for v in values]
    mask = np.random.default_rng(5).random((5, 5)) > 0.3
    mask[:, 0] = True
    y, t = layer(*a, attn_mask=mask), F.scaled_dot_product_attention(*b, attn_mask=torch.tensor(mask), **options)
    np.testing.assert_allclose(y.detach().numpy(), t.detach().numpy(), rtol=1e-9, atol=1e-12)
    y.sum().backward()
    t.sum().backward()
    for x, z in zip(a, b):
        np.testing.assert_allclose(x.grad.numpy(), z.grad.numpy(), rtol=1e-9, atol=1e-12)


def options_of(norm_first, activation, bias):
    ours = {"num_heads": 2, "hidden_features": 9, "dropout": 0.0, "norm_first": norm_first, "activation": activation}
    theirs = {"dim_feedforward": 9, "dropout": 0.0, "norm_first": norm_first, "activation": activation, "bias": bias}
    if not bias:  # there the norms have none either
        ours |= {"norm": {"@layer": "layer_norm", "use_bias": False}}
    return {**ours, "use_bias": bias}, {**theirs, "batch_first": True, "dtype": torch.float64}


CASES = [(False, "relu", True), (True, "relu", True), (False, "gelu", False), (True, "gelu", False)]
case = pytest.mark.parametrize(
    "norm_first, activation, bias",
    CASES,
    ids=["post-norm", "pre-norm", "post-norm-gelu-no-bias", "pre-norm-gelu-no-bias"],
)


@case
def test_an_encoder_layer_is_pytorchs(norm_first, activation, bias):
    ours, theirs = options_of(norm_first, activation, bias)
    layer, twin = TransformerEncoderLayer(**ours), nn.TransformerEncoderLayer(6, 2, **theirs)
    allowed = np.tril(np.ones((5, 5), bool))
    compare(
        layer, twin, [normal(3, 5, 6)], lambda x: layer(x, key_mask=LENGTHS, is_causal=True),
        lambda x: twin(x, src_mask=hidden(allowed), src_key_padding_mask=hidden(LENGTHS)),
    )  # fmt: skip


@case
def test_a_decoder_layer_is_pytorchs(norm_first, activation, bias):
    ours, theirs = options_of(norm_first, activation, bias)
    layer, twin = TransformerDecoderLayer(**ours), nn.TransformerDecoderLayer(6, 2, **theirs)
    allowed, seen = np.tril(np.ones((4, 4), bool)), np.random.default_rng(0).random((4, 5)) > 0.3
    seen[:, 0] = True
    compare(
        layer, twin, [normal(3, 4, 6), normal(3, 5, 6, seed=1)],
        lambda x, m: layer(x, m, memory_mask=seen, memory_key_mask=LENGTHS, key_mask=LENGTHS[:, 1:]),
        lambda x, m: twin(
            x, m, tgt_mask=hidden(allowed), memory_mask=hidden(seen), memory_key_padding_mask=hidden(LENGTHS),
            tgt_key_padding_mask=hidden(LENGTHS[:, 1:]),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])
def test_stacks_are_pytorchs(norm_first):
    ours, theirs = options_of(norm_first, "relu", True)
    encoder = TransformerEncoder(2, **ours)
    twin = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(6, 2, **theirs),
        2,
        norm=nn.LayerNorm(6, dtype=torch.float64),
        enable_nested_tensor=False,
    )
    compare(encoder, twin, [normal(3, 5, 6)], encoder, twin)
    decoder = TransformerDecoder(2, **ours)
    other = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(6, 2, **theirs), 2, norm=nn.LayerNorm(6, dtype=torch.float64)
    )
    compare(decoder, other, [normal(3, 5, 6), normal(3, 4, 6)], lambda x, m: decoder(x, m, is_causal=False), other)


@case
def test_the_transformer_is_pytorchs(norm_first, activation, bias):
    ours, theirs = options_of(norm_first, activation, bias)
    model = Transformer(2, 3, **ours)
    twin = nn.Transformer(6, 2, 2, 3, **theirs)
    allowed = np.tril(np.ones((4, 4), bool))
    compare(
        model, twin, [normal(3, 5, 6), normal(3, 4, 6, seed=1)], lambda s, t: model(s, t, src_key_mask=LENGTHS),
        lambda s, t: twin(
            s, t, tgt_mask=hidden(allowed), src_key_padding_mask=hidden(LENGTHS), memory_key_padding_mask=hidden(LENGTHS)
        ),
    )  # fmt: skip


def test_the_same_parameters_are_made_without_a_first_call():
    eager = Transformer(1, 1, embed_dim=6, num_heads=2, hidden_features=9)
    twin = nn.Transformer(6, 2, 1, 1, 9, batch_first=True)
    shapes = {renamed(n): tuple(p.shape) for n, p in twin.named_parameters()}
    assert {n: p.shape for n, p in eager.named_parameters()} == shapes
