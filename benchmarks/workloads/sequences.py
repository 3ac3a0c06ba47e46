"""Recurrent networks and Transformers; the Transformer block is spelled out alike on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Arrays, Workload


def _our_block(width: int, heads: int, *, causal: bool, norm_first: bool) -> Any:
    import lunar_core as lc
    from lunar_core import ops

    L = lc.layers

    class Block(lc.Module):
        def __init__(self) -> None:
            self.qkv = L.Dense(3 * width, in_features=width)
            self.proj = L.Dense(width, in_features=width)
            self.norm1 = L.LayerNorm(normalized_shape=width)
            self.up = L.Dense(4 * width, in_features=width)
            self.down = L.Dense(width, in_features=4 * width)
            self.norm2 = L.LayerNorm(normalized_shape=width)

        def attend(self, x: Any) -> Any:
            n, t, _ = x.shape
            qkv = self.qkv(x).reshape((n, t, 3, heads, width // heads)).transpose((2, 0, 3, 1, 4))
            y = ops.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=causal)
            return self.proj(y.transpose((0, 2, 1, 3)).reshape((n, t, width)))

        def feed(self, x: Any) -> Any:
            return self.down(ops.gelu(self.up(x)))

        def forward(self, x: Any) -> Any:
            if norm_first:
                x = x + self.attend(self.norm1(x))
                return x + self.feed(self.norm2(x))
            x = self.norm1(x + self.attend(x))
            return self.norm2(x + self.feed(x))

    return Block()


def _their_block(width: int, heads: int, *, causal: bool, norm_first: bool) -> Any:
    import torch
    import torch.nn.functional as tf
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.norm1 = nn.LayerNorm(width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.norm2 = nn.LayerNorm(width)

        def attend(self, x: torch.Tensor) -> torch.Tensor:
            n, t, _ = x.shape
            qkv = self.qkv(x).view(n, t, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            y = tf.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=causal)
            return self.proj(y.transpose(1, 2).reshape(n, t, width))

        def feed(self, x: torch.Tensor) -> torch.Tensor:
            return self.down(tf.gelu(self.up(x)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if norm_first:
                x = x + self.attend(self.norm1(x))
                return x + self.feed(self.norm2(x))
            x = self.norm1(x + self.attend(x))
            return self.norm2(x + self.feed(x))

    return Block()


# -- char_gpt ----------------------------------------------------------------------------------------------------------

_LAYERS, _HEADS, _WIDTH, _CONTEXT, _VOCABULARY, _BATCH = 4, 4, 128, 64, 65, 12


def _char_gpt() -> Any:
    import lunar_core as lc

    class CharGPT(lc.Module):
        def __init__(self) -> None:
            self.tokens = lc.layers.Embedding(_VOCABULARY, _WIDTH)
            self.positions = lc.layers.Embedding(_CONTEXT, _WIDTH)
            blocks = [_our_block(_WIDTH, _HEADS, causal=True, norm_first=True) for _ in range(_LAYERS)]
            self.blocks = lc.layers.Sequential(*blocks)
            self.norm = lc.layers.LayerNorm(normalized_shape=_WIDTH)
            self.head = lc.layers.Dense(_VOCABULARY, in_features=_WIDTH)

        def forward(self, x: Any) -> Any:
            return self.head(self.norm(self.blocks(self.tokens(x) + self.positions(np.arange(x.shape[1])))))

    return CharGPT()


def _torch_char_gpt() -> Any:
    import torch
    from torch import nn

    class CharGPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(_VOCABULARY, _WIDTH), nn.Embedding(_CONTEXT, _WIDTH)
            blocks = [_their_block(_WIDTH, _HEADS, causal=True, norm_first=True) for _ in range(_LAYERS)]
            self.blocks = nn.Sequential(*blocks)
            self.norm, self.head = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _VOCABULARY)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.norm(self.blocks(self.tokens(x) + self.positions(torch.arange(x.shape[1])))))

    return CharGPT()


def _jax_char_gpt(parameters: list[Any], x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def norm(x: Any, weight: Any, bias: Any) -> Any:
        x = x - x.mean(-1, keepdims=True)
        return x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight + bias

    tokens, positions, *rest = parameters
    n, t = x.shape
    x = tokens[x] + positions[:t]
    seen = jnp.tril(jnp.ones((t, t), bool))
    for _ in range(_LAYERS):
        qkv_w, qkv_b, proj_w, proj_b, w1, b1, up_w, up_b, down_w, down_b, w2, b2, *rest = rest
        qkv = (norm(x, w1, b1) @ qkv_w.T + qkv_b).reshape(n, t, 3, _HEADS, _WIDTH // _HEADS).transpose(2, 0, 3, 1, 4)
        scores = qkv[0] @ qkv[1].swapaxes(-1, -2) / (_WIDTH // _HEADS) ** 0.5
        y = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf)) @ qkv[2]
        x = x + y.transpose(0, 2, 1, 3).reshape(n, t, _WIDTH) @ proj_w.T + proj_b
        x = x + jax.nn.gelu(norm(x, w2, b2) @ up_w.T + up_b, approximate=False) @ down_w.T + down_b
    weight, bias, head_w, head_b = rest
    return norm(x, weight, bias) @ head_w.T + head_b


def _characters(rng: np.random.Generator) -> Arrays:
    text = rng.integers(0, _VOCABULARY, (_BATCH, _CONTEXT + 1))
    return text[:, :-1].copy(), text[:, 1:].copy()


# -- lstm --------------------------------------------------------------------------------------------------------------

_FEATURES, _HIDDEN, _LENGTH = 128, 256, 64


def _lstm() -> Any:
    import lunar_core as lc

    class Classifier(lc.Module):
        def __init__(self) -> None:
            self.lstm = lc.layers.LSTM(_HIDDEN, num_layers=2, input_size=_FEATURES)
            self.head = lc.layers.Dense(10, in_features=_HIDDEN)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[:, -1])

    return Classifier()


def _torch_lstm() -> Any:
    import torch
    from torch import nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(_FEATURES, _HIDDEN, num_layers=2, batch_first=True)
            self.head = nn.Linear(_HIDDEN, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    return Classifier()


def _series(rng: np.random.Generator) -> Arrays:
    return rng.normal(size=(32, _LENGTH, _FEATURES)).astype(np.float32), rng.integers(0, 10, 32)


# -- vit_tiny: 12 layers of width 192, patches of 16, 224x224 images ----------------------------------------------------


def _vit_tiny() -> Any:
    import lunar_core as lc
    from lunar_core import ops

    class ViT(lc.Module):
        def __init__(self) -> None:
            self.token = lc.Parameter(np.zeros((1, 1, 192), np.float32))
            self.positions = lc.Parameter(np.zeros((1, 197, 192), np.float32))
            self.patches = lc.layers.Conv2D(192, 16, stride=16, in_channels=3)
            self.blocks = lc.layers.Sequential(*[_our_block(192, 3, causal=False, norm_first=True) for _ in range(12)])
            self.norm = lc.layers.LayerNorm(normalized_shape=192)
            self.head = lc.layers.Dense(1000, in_features=192)

        def forward(self, x: Any) -> Any:
            patches = self.patches(x)
            n = x.shape[0]
            patches = patches.reshape((n, 192, 196)).transpose((0, 2, 1))
            tokens = ops.concat([ops.broadcast_to(self.token, (n, 1, 192)), patches], axis=1) + self.positions
            return self.head(self.norm(self.blocks(tokens))[:, 0])

    return ViT()


def _torch_vit_tiny() -> Any:
    import torch
    from torch import nn

    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.randn(1, 1, 192) * 0.02)
            self.positions = nn.Parameter(torch.randn(1, 197, 192) * 0.02)
            self.patches = nn.Conv2d(3, 192, 16, 16)
            self.blocks = nn.Sequential(*[_their_block(192, 3, causal=False, norm_first=True) for _ in range(12)])
            self.norm, self.head = nn.LayerNorm(192), nn.Linear(192, 1000)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            patches = self.patches(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.positions
            return self.head(self.norm(self.blocks(tokens))[:, 0])

    return ViT()


def _photographs(rng: np.random.Generator) -> Arrays:
    return rng.normal(size=(8, 3, 224, 224)).astype(np.float32), rng.integers(0, 1000, 8)


# -- bert_base: the encoder of 12 layers of width 768, norm after, on token numbers --------------------------------------


def _bert_base() -> Any:
    import lunar_core as lc

    class Encoder(lc.Module):
        def __init__(self) -> None:
            self.tokens = lc.layers.Embedding(30522, 768)
            self.positions = lc.layers.Embedding(512, 768)
            self.norm = lc.layers.LayerNorm(normalized_shape=768)
            self.blocks = lc.layers.Sequential(
                *[_our_block(768, 12, causal=False, norm_first=False) for _ in range(12)]
            )

        def forward(self, x: Any) -> Any:
            return self.blocks(self.norm(self.tokens(x) + self.positions(np.arange(x.shape[1]))))

    return Encoder()


def _torch_bert_base() -> Any:
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(30522, 768), nn.Embedding(512, 768)
            self.norm = nn.LayerNorm(768)
            self.blocks = nn.Sequential(*[_their_block(768, 12, causal=False, norm_first=False) for _ in range(12)])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks(self.norm(self.tokens(x) + self.positions(torch.arange(x.shape[1]))))

    return Encoder()


def _sentence(rng: np.random.Generator) -> Arrays:
    return rng.integers(0, 30522, (1, 128)), np.zeros(1, np.int64)


WORKLOADS = (
    Workload(
        "char_gpt",
        "4 layers, 4 heads, width 128, context 64, batch 12",
        _char_gpt,
        _torch_char_gpt,
        _characters,
        jax=_jax_char_gpt,
    ),
    Workload("lstm", "2 layers of 256, length 64, batch 32", _lstm, _torch_lstm, _series),
    Workload("vit_tiny", "224x224, batch 8", _vit_tiny, _torch_vit_tiny, _photographs, train=False),
    Workload("bert_base", "encoder, batch 1, length 128", _bert_base, _torch_bert_base, _sentence, train=False),
)
