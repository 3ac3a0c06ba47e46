"""Randomness by counters: what is drawn depends on (seed, purpose, index) and on nothing else.

A :class:`Stream` is all the draws for one purpose ("init", "dropout", "shuffle", ...). Its ``index``-th generator is a
Philox generator whose key comes from seed and purpose and whose counter starts at the index, so that any draw can be made
again, in any order, without the ones before it. A stream is advanced by :meth:`Stream.next` and sought by setting ``index``.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .dtypes import as_dtype
from .errors import HyperparameterError, StateError
from .modes import modes
from .tensor import Tensor

_EACH = 1 << 128  # how much of the 256-bit counter one index owns


class Stream:
    """The draws for one purpose under the current seed."""

    __slots__ = ("_key", "index", "purpose")

    def __init__(self, purpose: str, seed: int) -> None:
        self.purpose = purpose
        self.index = 0
        self.rekey(seed)

    def rekey(self, seed: int) -> None:
        """Start anew under another seed."""
        import hashlib  # not before the first draw: it costs import time

        digest = hashlib.sha256(f"{seed}/{self.purpose}".encode()).digest()
        self._key = int.from_bytes(digest[:16], "little")
        self.index = 0

    def at(self, index: int) -> np.random.Generator:
        """The ``index``-th generator of this stream; the stream's own position stays."""
        if index < 0 or index >= _EACH:
            raise HyperparameterError(f"stream {self.purpose!r}: index must be >= 0, got {index}")
        return np.random.Generator(np.random.Philox(key=self._key, counter=index * _EACH))

    def next(self) -> np.random.Generator:
        """The generator at the stream's position, which advances by one.

        Inside ``vmap`` an error, unless it was told how examples share their randomness.
        """
        if modes.level is not None:
            modes.level.drawn(())
        generator = self.at(self.index)
        self.index += 1
        return generator

    def __repr__(self) -> str:
        return f"Stream({self.purpose!r}, index={self.index})"


class _Root:
    """The seed and the streams that were used; one for the process, so that ``seed`` governs all threads."""

    def __init__(self) -> None:
        self.seed = 0
        self.streams: dict[str, Stream] = {}


_root = _Root()


def seed(value: int) -> None:
    """Make all randomness of the framework start anew from ``value``, a non-negative int."""
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise HyperparameterError(f"seed: expected a non-negative int, got {value!r}")
    _root.seed = number
    for stream_ in _root.streams.values():
        stream_.rekey(number)


def current_seed() -> int:
    """The seed in force; 0 until :func:`seed` is called."""
    return _root.seed


def stream(purpose: str) -> Stream:
    """The stream for ``purpose``; the same object at every call."""
    found = _root.streams.get(purpose)
    if found is None:
        found = _root.streams[purpose] = Stream(purpose, _root.seed)
    return found


def generator(purpose: str, index: int) -> np.random.Generator:
    """The generator of (current seed, ``purpose``, ``index``); no stream moves."""
    return stream(purpose).at(index)


def state() -> dict[str, Any]:
    """Seed and stream positions as plain data."""
    return {"seed": _root.seed, "streams": {name: s.index for name, s in _root.streams.items()}}


def load_state(saved: dict[str, Any]) -> None:
    """Go back to what :func:`state` gave; streams that it does not name go back to their start."""
    try:
        value, positions = int(saved["seed"]), {str(k): int(v) for k, v in saved["streams"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise StateError(
            f"not a random state: {saved!r}", hint="expected what lunar_core.random.state() gives"
        ) from exc
    if value != _root.seed:
        seed(value)
    for name in positions.keys() | _root.streams.keys():
        stream(name).index = positions.get(name, 0)


@contextlib.contextmanager
def preserved() -> Iterator[None]:
    """A block after which the random state is what it was before."""
    before = state()
    try:
        yield
    finally:
        load_state(before)


# -- tensors of random numbers -----------------------------------------------------------------------------------------


def drawn(shape: Any) -> tuple[tuple[int, ...], Callable[[Any], Any]]:
    """The shape in which to draw for a tensor of ``shape``, and what makes such an array one for the tensor.

    They differ inside ``vmap(..., randomness="different")``, where each example gets numbers of its own.
    """
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    return (shape, lambda array: array) if modes.level is None else modes.level.drawn(shape)


def _made(draw: Callable[[Any], Any], shape: Any, dtype: Any) -> Tensor:
    from . import backend

    shape, wrapped = drawn(shape)
    array = np.asarray(draw(shape))
    array = array.astype(modes.dtype if dtype is None else as_dtype(dtype), copy=False)
    if modes.device != "cpu":
        array = backend.for_device(modes.device).from_numpy(array, modes.device)
    return Tensor(wrapped(array))


def uniform(shape: Any = (), low: float = 0.0, high: float = 1.0, dtype: Any = None) -> Tensor:
    """Uniform on [low, high), drawn from the stream "default" on the host, so every device gets the same numbers."""
    return _made(lambda shape: stream("default").next().uniform(low, high, shape), shape, dtype)


def normal(shape: Any = (), mean: float = 0.0, std: float = 1.0, dtype: Any = None) -> Tensor:
    """Normal with ``mean`` and ``std``, from the stream "default"."""
    return _made(lambda shape: stream("default").next().normal(mean, std, shape), shape, dtype)


def integers(low: int, high: int, shape: Any = ()) -> Tensor:
    """int64 on [low, high), from the stream "default"."""
    return _made(lambda shape: stream("default").next().integers(low, high, shape), shape, np.int64)


def permutation(n: int) -> Tensor:
    """0..n-1 in random order, from the stream "default"."""
    return Tensor(stream("default").next().permutation(n))
