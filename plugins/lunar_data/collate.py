"""Making batches of examples: by stacking, or by padding to one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lunar_core.collation import Empty, collated, common_dtype, join_equal, stack, where
from lunar_core.component import hyperparameter_error
from lunar_core.errors import DataError


class Padded(NamedTuple):
    """A batch of arrays of uneven shape: ``values`` (n, ...) and ``mask``, bool of the same shape, True on data.

    With one uneven axis the mask has the shape (n, length) and serves every further axis.
    """

    values: Any
    mask: Any


class Stack:
    """What a loader does by default: arrays of equal shape along a new first axis; see :func:`lunar_core.collation.stack`."""

    def __call__(self, examples: Sequence[Any], empty: Empty = np.empty) -> Any:
        return stack(examples, empty)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Pad(Stack):
    """Fills arrays of uneven shape up to the largest size of each axis in the batch, at the end of the axis.

    Leaves whose shapes are equal throughout the batch are padded too if ``multiple`` asks for it, and have a mask if they
    are among ``leaves``: so a batch that happens to be even looks like the others.

    - ``value``: what to fill with; a number, or a dict from leaf to number, where a leaf is the position or key in an
      example: ``Pad({0: 0, 1: -100})``; other leaves get 0.
    - ``leaves``: positions or keys of the leaves to pad; the others must be even. Default: all that have an axis.
    - ``mask``: give :class:`Padded`, values and mask, in the place of each padded leaf.
    - ``multiple``: sizes of the padded axes are rounded up to a multiple of it.
    - ``side``: ``"right"`` (default) puts the data first, ``"left"`` last.

    Raises:
        DataError: arrays with different numbers of axes, or a value that the dtype does not hold.
    """

    def __init__(
        self,
        value: float | Mapping[Any, float] = 0,
        *,
        leaves: Sequence[Any] | None = None,
        mask: bool = False,
        multiple: int = 1,
        side: str = "right",
    ) -> None:
        if side not in ("right", "left"):
            raise hyperparameter_error("Pad", "side", side, "'right' or 'left'")
        if not isinstance(multiple, int) or multiple < 1:
            raise hyperparameter_error("Pad", "multiple", multiple, "an int > 0")
        self.value, self.mask, self.multiple, self.side = value, mask, multiple, side
        self.leaves = None if leaves is None else tuple(leaves)

    def __call__(self, examples: Sequence[Any], empty: Empty = np.empty) -> Any:
        return collated(examples, self._join, empty)

    def __repr__(self) -> str:
        return f"Pad({self.value!r}, leaves={self.leaves!r}, mask={self.mask}, multiple={self.multiple}, side={self.side!r})"

    def _join(self, arrays: list[np.ndarray], path: tuple[Any, ...], empty: Empty) -> Any:
        leaf = path[0] if path else None
        if not arrays[0].ndim or (self.leaves is not None and leaf not in self.leaves):
            return join_equal(arrays, path, empty)
        shapes = np.array([array.shape for array in arrays]) if len({a.ndim for a in arrays}) == 1 else None
        if shapes is None:
            raise DataError(
                f"a batch cannot be padded{where(path)}: examples have {sorted({a.ndim for a in arrays})} axes"
            )
        largest, uneven = shapes.max(axis=0), (shapes != shapes[0]).any(axis=0)
        # The first axis is the one that is taken to vary where nothing shows it in this batch.
        varies = [axis for axis in range(shapes.shape[1]) if uneven[axis]] or [0]
        for axis in varies:
            largest[axis] = -(-largest[axis] // self.multiple) * self.multiple
        dtype = common_dtype(arrays)
        fill = self.value.get(leaf, 0) if isinstance(self.value, Mapping) else self.value
        if not _holds(dtype, fill):
            raise DataError(f"Pad: the arrays{where(path)} are {dtype}, which does not hold the value {fill!r}")
        batch = empty((len(arrays), *(int(n) for n in largest)), dtype)
        batch[...] = fill
        masked = varies[-1] + 1 if self.mask else 0
        mask = np.zeros((len(arrays), *(int(n) for n in largest[:masked])), bool) if self.mask else None
        for i, array in enumerate(arrays):
            spans = [slice(0, n) if self.side == "right" else slice(m - n, m) for n, m in zip(array.shape, largest)]
            batch[(i, *spans)] = array
            if mask is not None:
                mask[(i, *spans[:masked])] = True
        return batch if mask is None else Padded(batch, mask)


def _holds(dtype: np.dtype, value: float) -> bool:
    if dtype.kind in "iu":
        return float(value).is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    return dtype.kind != "b" or value in (0, 1)
