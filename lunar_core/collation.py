"""Making one batch of many examples: nested tuples, lists and dicts whose leaves are stacked along a new first axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import DataError
from .modes import modes
from .tensor import Tensor

Empty = Callable[[tuple[int, ...], np.dtype], np.ndarray]
"""Makes the array that a batch is written to; ``np.empty``, or memory that another process sees."""

Join = Callable[[list[np.ndarray], tuple[Any, ...], Empty], Any]
"""Makes one leaf of a batch of the arrays of the examples; the second argument is the leaf's path in an example."""


def collated(examples: Sequence[Any], join: Join, empty: Empty = np.empty, path: tuple[Any, ...] = ()) -> Any:
    """The batch of ``examples``, which have one structure: the same of lists, tuples and dicts, with joined leaves.

    Arrays, Tensors on the host and numbers become arrays by ``join``; Python floats take the default dtype, Python ints
    int64. Leaves of any other type (text, None) become the list of them.

    Raises :class:`DataError` for no examples and for examples whose structures differ; the message names the leaf.
    """
    if not examples:
        raise DataError("a batch needs at least one example")
    first = examples[0]
    if isinstance(first, dict):
        for k, example in enumerate(examples):
            if not isinstance(example, dict) or example.keys() != first.keys():
                raise _uneven(path, first, k, example)
        return {key: collated([e[key] for e in examples], join, empty, (*path, key)) for key in first}
    if isinstance(first, (list, tuple)):
        for k, example in enumerate(examples):
            if not isinstance(example, type(first)) or len(example) != len(first):
                raise _uneven(path, first, k, example)
        made = [collated([e[i] for e in examples], join, empty, (*path, i)) for i in range(len(first))]
        return type(first)(*made) if hasattr(first, "_fields") else type(first)(made)
    kinds = set(map(type, examples))
    if kinds == {np.ndarray}:
        return join(list(examples), path, empty)
    if len(kinds) == 1 and isinstance(first, (np.number, np.bool_, bool, int, float, complex)):
        return np.array(examples, modes.dtype if type(first) is float else None)
    arrays = [_as_array(example) for example in examples]
    return list(examples) if any(array is None for array in arrays) else join(arrays, path, empty)  # type: ignore[arg-type]


def stack(examples: Sequence[Any], empty: Empty = np.empty) -> Any:
    """The batch of ``examples`` whose arrays have equal shapes, leaf by leaf; see :func:`collated`."""
    return collated(examples, join_equal, empty)


def join_equal(arrays: list[np.ndarray], path: tuple[Any, ...], empty: Empty) -> np.ndarray:
    """Arrays of one shape along a new first axis; :class:`DataError` if the shapes differ."""
    shape = arrays[0].shape
    for k, array in enumerate(arrays):
        if array.shape != shape:  # before anything is allocated
            raise DataError(
                f"a batch cannot be stacked{where(path)}: example 0 of the batch has shape {shape}, example {k} has "
                f"{array.shape}",
                hint="collate=lunar_data.Pad() fills them up to one shape",
            )
    batch = empty((len(arrays), *shape), common_dtype(arrays))
    for i, array in enumerate(arrays):
        batch[i] = array
    return batch


def common_dtype(arrays: list[np.ndarray]) -> np.dtype:
    """The dtype that holds the values of all ``arrays``."""
    dtypes = {array.dtype for array in arrays}
    return dtypes.pop() if len(dtypes) == 1 else np.result_type(*dtypes)


def where(path: tuple[Any, ...]) -> str:
    """Where in an example, for messages: ``" at [1]['boxes']"``."""
    return " at " + "".join(f"[{key!r}]" for key in path) if path else ""


def _as_array(leaf: Any) -> np.ndarray | None:
    if isinstance(leaf, Tensor):
        leaf = leaf.data
    if isinstance(leaf, (np.ndarray, np.number, np.bool_)):
        return np.asarray(leaf)
    if isinstance(leaf, float):
        return np.asarray(leaf, modes.dtype)
    return np.asarray(leaf) if isinstance(leaf, (bool, int, complex)) else None


def _uneven(path: tuple[Any, ...], first: Any, k: int, other: Any) -> DataError:
    def shown(example: Any) -> str:
        if isinstance(example, dict):
            return f"a dict with keys {', '.join(map(repr, example))}"
        if isinstance(example, (list, tuple)):
            return f"a {type(example).__name__} of {len(example)}"
        return f"a {type(example).__name__}"

    return DataError(
        f"the examples of a batch differ in structure{where(path)}: example 0 of the batch is {shown(first)}, "
        f"example {k} is {shown(other)}"
    )
