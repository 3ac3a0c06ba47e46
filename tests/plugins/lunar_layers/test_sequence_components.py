"""What holds for every layer over sequences: configuration, state, precision, devices, gradients."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_layers.attention import Attention, ScaledDotProductAttention
from lunar_layers.bidirectional import Bidirectional
from lunar_layers.conv_lstm import ConvLSTM, ConvLSTMCell
from lunar_layers.embedding import Embedding, EmbeddingBag
from lunar_layers.feed_forward import FeedForward
from lunar_layers.linear_attention import LinearAttention
from lunar_layers.multi_head_attention import MultiHeadAttention
from lunar_layers.patches import ClassToken, PatchEmbedding, PatchMerging
from lunar_layers.positions import ALiBi, PositionalEncoding, RotaryEmbedding, T5RelativePositionBias
from lunar_layers.recurrent import GRU, LSTM, RNN
from lunar_layers.recurrent_cells import GRUCell, LSTMCell, RNNCell
from lunar_layers.transformer import Transformer, TransformerDecoder, TransformerEncoder
from lunar_layers.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer
from lunar_layers.window_attention import WindowAttention


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


SEQUENCE, IMAGES, GRID = normal(2, 3, 4), normal(2, 2, 4, 4), normal(1, 3, 4, 2)
HEADS, INDICES = normal(1, 2, 3, 4), np.array([[1, 0, 3], [3, 2, 1]])
SMALL = {"num_heads": 2, "hidden_features": 5, "dropout": 0.0}

# name: how it is made, and its inputs
TABLE = {
    "rnn_cell": (lambda: RNNCell(3), [SEQUENCE[0]]),
    "lstm_cell": (lambda: LSTMCell(3, forget_bias=0.5), [SEQUENCE[0]]),
    "gru_cell": (lambda: GRUCell(3, use_bias=False), [SEQUENCE[0]]),
    "rnn": (lambda: RNN(3, num_layers=2), [SEQUENCE]),
    "lstm": (lambda: LSTM(3, bidirectional=True, proj_size=2), [SEQUENCE]),
    "gru": (lambda: GRU(3, return_sequences=False), [SEQUENCE]),
    "bidirectional": (lambda: Bidirectional(LSTM(3), "sum"), [SEQUENCE]),
    "conv_lstm_cell": (lambda: ConvLSTMCell(2, peephole=True), [IMAGES]),
    "conv_lstm": (lambda: ConvLSTM(2, num_layers=2), [IMAGES[None]]),
    "embedding": (lambda: Embedding(5, 3), [INDICES]),
    "embedding_bag": (lambda: EmbeddingBag(5, 3, mode="sum", padding_idx=1), [INDICES]),
    "positional_encoding": (lambda: PositionalEncoding("learned", max_length=5), [SEQUENCE]),
    "rotary_embedding": (lambda: RotaryEmbedding(2, interleaved=False), [HEADS]),
    "alibi": (ALiBi, [HEADS, HEADS]),
    "t5_relative_position_bias": (lambda: T5RelativePositionBias(8, 16), [HEADS, HEADS]),
    "patch_embedding": (lambda: PatchEmbedding(3, 2, norm="layer_norm"), [IMAGES]),
    "patch_merging": (PatchMerging, [GRID]),
    "class_token": (lambda: ClassToken(2), [SEQUENCE]),
    "scaled_dot_product_attention": (lambda: ScaledDotProductAttention(window=2), [SEQUENCE]),
    "multi_head_attention": (
        lambda: MultiHeadAttention(2, num_kv_heads=1, position="t5_relative_position_bias"), [SEQUENCE],
    ),
    "multi_head_attention over another sequence": (lambda: MultiHeadAttention(2), [SEQUENCE, normal(2, 5, 3)]),
    "linear_attention": (lambda: LinearAttention(2), [SEQUENCE]),
    "window_attention": (lambda: WindowAttention(2, window_size=2, shift=1), [GRID.transpose(0, 3, 1, 2)]),
    "feed_forward": (lambda: FeedForward(5, "swiglu"), [SEQUENCE]),
    "transformer_encoder_layer": (lambda: TransformerEncoderLayer(**SMALL, position="rotary_embedding"), [SEQUENCE]),
    "transformer_decoder_layer": (lambda: TransformerDecoderLayer(**SMALL), [SEQUENCE, SEQUENCE]),
    "transformer_encoder": (lambda: TransformerEncoder(2, **SMALL, shared=True), [SEQUENCE]),
    "transformer_decoder": (lambda: TransformerDecoder(1, **SMALL, cross_attention=None, position="alibi"), [SEQUENCE]),
    "transformer": (lambda: Transformer(1, 1, **SMALL, norm_first=True, position="positional_encoding"), [SEQUENCE] * 2),
}  # fmt: skip
every = pytest.mark.parametrize("make, inputs", TABLE.values(), ids=[name.replace(" ", "-") for name in TABLE])


def as_tensors(inputs, dtype=np.float64, **options):
    return [
        lc.tensor(x if x.dtype.kind == "i" else x.astype(dtype), **(options if x.dtype.kind == "f" else {}))
        for x in inputs
    ]


def first(y):
    return y[0] if isinstance(y, tuple) else y


def test_every_layer_of_the_family_has_a_row():
    found = {
        name
        for name in lc.registry.names("layer")
        for cls in [lc.registry.get_or_warn("layer", name)]
        if isinstance(cls, type)
        and (
            issubclass(cls, Attention) or cls.__module__ in {make().__class__.__module__ for make, _ in TABLE.values()}
        )
        and lc.registry.info("layer", name).dist == "lunarlearn"
    }
    assert found == {name.split()[0] for name in TABLE}
    for name in found:
        assert type(TABLE[name][0]()) is lc.registry.get("layer", name)


@every
def test_a_configuration_and_a_state_give_back_the_same_layer(make, inputs):
    layer = make()
    layer(*as_tensors(inputs))
    config = json.loads(json.dumps(lc.to_config(layer)))
    lc.seed(99)
    again = lc.from_config(config)
    assert lc.to_config(again) == config
    assert type(layer).from_config_fields(**layer.config()).fields_repr() == layer.fields_repr()
    again.eval()(*as_tensors(inputs))
    again.load_state_dict(layer.state_dict())
    layer.eval()
    y, z = first(layer(*as_tensors(inputs))), first(again(*as_tensors(inputs)))
    # a layer that is built from its configuration has the default dtype, float32
    np.testing.assert_allclose(z.detach().numpy(), y.detach().numpy(), rtol=1e-4, atol=1e-5)


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_and_results_have_the_dtype_of_the_inputs(make, inputs, dtype):
    with lc.default_dtype(dtype):  # for those that have no floating input
        layer = make()
    y = first(layer(*as_tensors(inputs, dtype)))
    assert y.dtype == np.dtype(dtype)
    assert {p.dtype for p in layer.parameters()} <= {np.dtype(dtype)}


@every
def test_evaluation_is_deterministic(make, inputs):
    layer = make().eval()
    y, z = (first(layer(*as_tensors(inputs))) for _ in range(2))
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())


@every
def test_the_gradient_is_that_of_the_result(make, inputs):
    with lc.default_dtype("float64"):
        layer = make()
    tensors = as_tensors(inputs, requires_grad=True)
    layer(*tensors)
    parameters = list(layer.parameters())
    rng = np.random.default_rng(5)
    layer.load_state_dict({n: rng.normal(0, 0.3, v.shape) for n, v in layer.state_dict().items()})
    wanted = [t for t in tensors if t.requires_grad] + parameters

    y = first(layer(*tensors))
    if not y.requires_grad:
        return
    cotangent, eps = rng.normal(size=y.shape), 1e-6
    grads = lc.grad((y * cotangent).sum(), wanted, allow_unused=True)
    for tensor, grad in zip(wanted, grads):
        if grad is None:  # the weights of a state that is not there
            continue
        direction, kept, sums = rng.normal(size=tensor.shape), tensor.data.copy(), []
        for sign in (1, -1):
            tensor.data[...] = kept + sign * eps * direction
            with lc.no_grad():
                sums.append((first(layer(*tensors)).numpy() * cotangent).sum())
        tensor.data[...] = kept
        slope = (sums[0] - sums[1]) / (2 * eps)
        np.testing.assert_allclose((grad.numpy() * direction).sum(), slope, rtol=2e-5, atol=1e-7)


@every
def test_it_computes_on_a_device_what_it_computes_on_the_host(make, inputs):
    host = make()
    expected = first(host(*as_tensors(inputs, np.float32, requires_grad=True)))
    if expected.requires_grad:
        expected.square().sum().backward()
    lc.seed(0)
    with fake_device():
        layer = make()
        if layer.built and any(True for _ in layer.parameters()):
            layer.to("fake")
        values = [
            lc.Tensor(FakeArray(x.astype(np.float32) if x.dtype.kind == "f" else x), requires_grad=x.dtype.kind == "f")
            for x in inputs
        ]
        y = first(layer(*values))
        assert isinstance(y.data, FakeArray)
        np.testing.assert_allclose(y.data._a, expected.data, rtol=1e-4, atol=1e-5)
        if y.requires_grad:
            y.square().sum().backward()
        for (name, p), (_, q) in zip(layer.named_parameters(), host.named_parameters()):
            assert isinstance(p.data, FakeArray), name
            if q.grad is not None:
                np.testing.assert_allclose(p.grad.data._a, q.grad.data, rtol=1e-3, atol=1e-3, err_msg=name)


def test_decoding_stays_on_the_device():
    from lunar_layers.attention import KeyValueCache

    with fake_device():
        model = TransformerDecoder(2, **SMALL, position="rotary_embedding").eval()
        x, memory = (lc.Tensor(FakeArray(normal(2, n, 4).astype(np.float32))) for n in (3, 5))
        with lc.no_grad():
            whole, cache = model(x, memory), KeyValueCache()
            parts = [model(x[:, t : t + 1], memory, cache=cache).data._a for t in range(3)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole.data._a, rtol=1e-4, atol=1e-5)
