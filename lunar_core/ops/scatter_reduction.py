"""scatter_reduce: values gathered at places along an axis and reduced there."""

from __future__ import annotations

from typing import Any

from .. import backend
from ..errors import HyperparameterError
from ..tensor import _raw
from .at import _extreme, at
from .elementwise import divide, where
from .indexing import scatter_along_axis
from .scatter import _check_index, _crop, _source

_REDUCTIONS = ("sum", "prod", "mean", "amin", "amax")


def scatter_reduce(x: Any, axis: int, index: Any, src: Any, reduction: str, include_self: bool = True) -> Any:
    """A copy of ``x`` in which the values of ``src`` for one place along ``axis`` are reduced (``torch.scatter_reduce``).

    ``index`` and ``src`` are as for :func:`scatter`. ``reduction`` is "sum", "prod", "mean", "amin" or "amax"; what
    stands in ``x`` takes part unless ``include_self`` is false. Places that no index names keep their value. Equal
    extrema share the gradient. Products and extrema wait for the device, to see which places repeat.

    This is the aggregation of messages in graph networks::

        ops.scatter_reduce(lc.zeros_like(nodes), 0, receivers, messages, "mean", include_self=False)
    """
    if reduction not in _REDUCTIONS:
        raise HyperparameterError(
            f"scatter_reduce: reduction must be one of {', '.join(_REDUCTIONS)}; got {reduction!r}"
        )
    src = _source(x, index, src)
    axis = _check_index("scatter_reduce", x, axis, index, src)
    src = _crop(src, index.shape)
    raw = _raw(index)
    xp = backend.of(raw).xp
    grid: list[Any] = [
        xp.arange(n).reshape((1,) * i + (-1,) + (1,) * (raw.ndim - i - 1)) for i, n in enumerate(raw.shape)
    ]
    grid[axis] = raw
    places = tuple(grid)
    neutral = {"prod": 1, "amin": None, "amax": None}.get(reduction, 0)
    if neutral is None:
        neutral = _extreme(x.dtype, reduction == "amax")
    start = x if include_self else at(x)[places].set(neutral)
    written = at(start)[places]
    if reduction == "prod":
        return written.multiply(src)
    if reduction in ("amin", "amax"):
        return written.max(src) if reduction == "amax" else written.min(src)
    total = start + scatter_along_axis(src, raw, shape=tuple(x.shape), axis=axis)
    if reduction == "sum":
        return total
    counts = scatter_along_axis(xp.ones(raw.shape, x.dtype), raw, shape=tuple(x.shape), axis=axis)
    if include_self:
        counts = counts + 1
    return divide(total, where(counts == 0, 1, counts))


__all__ = ["scatter_reduce"]
