"""Compares a function with its PyTorch counterpart: same inputs, same cotangents; results and all gradients agree."""

from __future__ import annotations

from typing import Any

import numpy as np

import lunar_core as lc


def _as_tuple(out: Any) -> tuple[Any, ...]:
    return tuple(out) if isinstance(out, (tuple, list)) else (out,)


def assert_same(
    ours: Any, theirs: Any, *arrays: np.ndarray | None, rtol: float = 1e-10, atol: float = 1e-12, seed: int = 7
) -> None:
    """``ours(*tensors)`` and ``theirs(*torch_tensors)`` agree, forward and gradient, in the floating arrays.

    ``None`` is passed through. Where PyTorch has no gradient of an input, ours is 0 or absent.
    """
    import torch

    def floating(a: Any) -> bool:
        return a is not None and a.dtype.kind == "f"

    mine = [lc.tensor(a, requires_grad=floating(a)) if a is not None else None for a in arrays]
    other = [torch.tensor(a, requires_grad=floating(a)) if a is not None else None for a in arrays]
    got, expected = _as_tuple(ours(*mine)), _as_tuple(theirs(*other))
    assert len(got) == len(expected)
    totals: list[Any] = [0.0, 0.0]
    rng = np.random.default_rng(seed)
    for a, b in zip(got, expected):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=rtol, atol=atol)
        cotangent = rng.uniform(0.5, 1.5, a.shape)
        totals[0] = totals[0] + (a * lc.tensor(cotangent)).sum()
        totals[1] = totals[1] + (b * torch.from_numpy(np.asarray(cotangent))).sum()
    assert totals[0].requires_grad == totals[1].requires_grad
    if not totals[0].requires_grad:
        return
    totals[0].backward()
    totals[1].backward()
    for number, (x, t) in enumerate(zip(mine, other)):
        if x is None or not x.requires_grad:
            continue
        expected_grad = np.zeros(x.shape) if t.grad is None else t.grad.numpy()
        found = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
        np.testing.assert_allclose(found, expected_grad, rtol=rtol, atol=atol, err_msg=f"gradient of input {number}")
