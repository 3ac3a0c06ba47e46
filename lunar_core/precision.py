"""Mixed precision: ``with lc.autocast("bfloat16"):`` runs each op in the precision that suits it.

What suits an op is declared on it, as ``Op.cast``: products of matrices and convolutions take the low precision, ops that
lose too much in it (softmax, norms, losses, exponentials, reductions) float32, and those that join arrays the widest
dtype among them. All others compute in what they get. The conversions are differentiable, so parameters stay float32 and
get float32 gradients.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from .autograd import _FREED, Leaf, clock, written_at
from .dtypes import as_dtype, is_floating
from .errors import DTypeError
from .modes import _Mode, modes
from .tensor import Tensor

_SINGLE = np.dtype(np.float32)


class autocast(_Mode):
    """Within the block, ops compute in ``dtype`` (``"bfloat16"`` or ``"float16"``) where that is safe.

    float64 and complex inputs are left alone. A parameter that several ops use is converted once for each pass.
    ``enabled=False`` switches a block inside such a block back to what the inputs say. Blocks nest and hold for their own
    thread; the backward pass needs no block. float16 gradients may underflow where bfloat16's do not: scale the loss.
    """

    watched = True

    def __init__(self, dtype: Any = "bfloat16", enabled: bool = True) -> None:
        low = as_dtype(dtype)
        if low.itemsize != 2 or not is_floating(low):
            raise DTypeError(f"autocast: expected bfloat16 or float16, got {low}")
        super().__init__(autocast=_Converter(low) if enabled else None)


class _Converter:
    """Converts the inputs of an op to what its policy asks for."""

    def __init__(self, low: np.dtype) -> None:
        self.low = low
        self.cache: dict[int, tuple[weakref.ref[Tensor], Any, int, Tensor]] = {}  # of parameters, by id

    def renewed(self) -> _Converter:
        """Of the same precision, without what is kept."""
        return _Converter(self.low)

    def __call__(self, policy: str, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if policy == "low":
            return tuple([self.lowered(x) if _dtype(x) == _SINGLE or _half(x, self.low) else x for x in inputs])
        if policy == "float32":
            return tuple([x.astype(_SINGLE) if _half(x) else x for x in inputs])
        dtypes = {d for d in map(_dtype, inputs) if d is not None}
        if len(dtypes) < 2:
            return inputs
        widest = max(dtypes, key=lambda d: d.itemsize)
        widest = _SINGLE if sum(d.itemsize == widest.itemsize for d in dtypes) > 1 else widest  # both halves
        return tuple([x.astype(widest) if _dtype(x) not in (None, widest) else x for x in inputs])

    def lowered(self, x: Tensor) -> Tensor:
        """``x`` in the low precision; a parameter's is kept while its values and the graph are those of this pass."""
        if not isinstance(x.node, Leaf):
            return x.astype(self.low)
        found = self.cache.get(id(x))
        if found is not None:
            owner, data, time, low = found
            node: Any = low.node
            fresh = node.saved is not _FREED if node is not None else not modes.grad
            if owner() is x and data is x.data and written_at(data) <= time and fresh and (node is None) != modes.grad:
                return low
        low = x.astype(self.low)
        self.cache[id(x)] = (weakref.ref(x), x.data, clock.now, low)
        return low


def _dtype(x: Any) -> Any:
    """The dtype of a floating tensor on which the policies apply, else ``None``."""
    return x.dtype if isinstance(x, Tensor) and is_floating(x.dtype) else None


def _half(x: Any, but: Any = None) -> bool:
    dtype = _dtype(x)
    return dtype is not None and dtype.itemsize == 2 and dtype != but
