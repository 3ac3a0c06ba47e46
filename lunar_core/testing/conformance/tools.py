"""What the checks share: inputs in a dtype and on a device, comparison of results."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...tensor import Tensor
from ...trees import tree_leaves
from ..fake_device import FakeArray


def tensors(x: Any, dtype: Any = np.float64, grad: bool = False, device: bool = False) -> Any:
    if isinstance(x, (tuple, list)):
        return tuple(tensors(part, dtype, grad, device) for part in x)
    if not isinstance(x, np.ndarray):
        return x
    floating = x.dtype.kind == "f"
    array: Any = x.astype(dtype) if floating else x.copy()
    return Tensor(FakeArray(array) if device else array, requires_grad=grad and floating)


def floats(tree: Any) -> list[Tensor]:
    return [t for t in tree_leaves(tree) if isinstance(t, Tensor) and t.dtype.kind in "fV"]


def host(t: Any) -> np.ndarray:
    raw = t.data if isinstance(t, Tensor) else t
    return raw._a if isinstance(raw, FakeArray) else np.asarray(raw)


def same(a: Any, b: Any, rtol: float = 0.0, atol: float = 0.0) -> None:
    """The numbers in two trees are equal, or within a tolerance."""
    left, right = tree_leaves(a), tree_leaves(b)
    assert len(left) == len(right)
    for x, y in zip(left, right):
        if isinstance(x, (Tensor, np.ndarray, FakeArray, float, int, np.number)):
            if rtol or atol:
                np.testing.assert_allclose(host(x), host(y), rtol=rtol, atol=atol)
            else:
                np.testing.assert_array_equal(host(x), host(y))


def refill(shape: Any, values: Any) -> Any:
    return tuple(refill(part, values) for part in shape) if isinstance(shape, (tuple, list)) else next(values)


def copied(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, list):
        return [copied(value) for value in state]
    return state.copy() if isinstance(state, np.ndarray) else state
