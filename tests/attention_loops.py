"""Attention in plain loops, for tests."""

import numpy as np


def projections(layer, x, key=None):
    """Queries, keys and values of a layer's packed projections: (batch, heads, time, width) each."""
    w, b = layer.in_proj_weight.detach().numpy(), layer.in_proj_bias.detach().numpy()
    e, heads = x.shape[-1], layer.num_heads
    key = x if key is None else key
    q, k, v = (z @ w[i * e : (i + 1) * e].T + b[i * e : (i + 1) * e] for i, z in enumerate((x, key, key)))
    return [z.reshape(*z.shape[:2], heads, e // heads).transpose(0, 2, 1, 3) for z in (q, k, v)]


def output(layer, heads):
    """Heads (batch, heads, time, width) joined and led back."""
    y = heads.transpose(0, 2, 1, 3).reshape(heads.shape[0], heads.shape[2], -1)
    return y @ layer.out_proj.weight.detach().numpy().T + layer.out_proj.bias.detach().numpy()


def softmax(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


def attention(q, k, v, allowed, bias=None, scale=None):
    """Query by query; ``allowed(b, h, i, j)``, ``bias(b, h, i, j)``. A query that sees nothing gets zeros."""
    out = np.zeros((*q.shape[:3], v.shape[3]))
    scale = q.shape[3] ** -0.5 if scale is None else scale
    for b, h, i in np.ndindex(*q.shape[:3]):
        seen = [j for j in range(k.shape[2]) if allowed(b, h, i, j)]
        if seen:
            scores = np.array([q[b, h, i] @ k[b, h, j] * scale + (bias(b, h, i, j) if bias else 0) for j in seen])
            out[b, h, i] = softmax(scores) @ v[b, h, seen]
    return out
