"""A strict fake device: finds mix-ups of host and device without a GPU.

:class:`FakeArray` computes with NumPy but behaves like an array on a device: it refuses implicit conversion to NumPy,
refuses NumPy arrays beside it, and counts each copy to the host (``synchronizations``). Install it and use the device
``"fake"``::

    with fake_device() as device:
        x = lc.tensor([1.0, 2.0], device="fake")
        (x * 2).sum().backward()
        assert device.synchronizations == 0
"""

from __future__ import annotations

import contextlib
import types
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import backend
from ..op import OPS

_METHODS = frozenset(
    "sum mean max min any all prod cumsum argmax argmin reshape transpose swapaxes astype copy dot squeeze ravel fill "
    "take clip round conj nonzero searchsorted repeat var std argsort".split()
)
_OWNERS: weakref.WeakValueDictionary[int, FakeArray] = weakref.WeakValueDictionary()


class FakeArray:
    """An array on the fake device."""

    __slots__ = ("__weakref__", "_a")
    __array_ufunc__ = None  # NumPy's operators give up, so that the mixed expression raises

    def __init__(self, array: np.ndarray) -> None:
        self._a = array

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("implicit conversion of a device array to a NumPy array")

    def __iter__(self) -> Iterator[Any]:
        return (_wrap(row) for row in self._a)

    def __len__(self) -> int:
        return len(self._a)

    def __bool__(self) -> bool:
        _synchronized()
        return bool(self._a)

    def __int__(self) -> int:
        _synchronized()
        return int(self._a)

    def __float__(self) -> float:
        _synchronized()
        return float(self._a)

    def __index__(self) -> int:
        _synchronized()
        return self._a.__index__()

    def item(self) -> Any:
        _synchronized()
        return self._a.item()

    def tolist(self) -> Any:
        _synchronized()
        return self._a.tolist()

    @property
    def base(self) -> FakeArray | None:
        owner = self._a.base
        if not isinstance(owner, np.ndarray):
            return None
        found = _OWNERS.get(id(owner))
        if found is None or found._a is not owner:
            found = _OWNERS[id(owner)] = FakeArray(owner)
        return found

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            method = getattr(self._a, name)
            return lambda *args, **kwargs: _wrap(method(*_unwrap(args), **_unwrap(kwargs)))
        if name in ("shape", "ndim", "size", "dtype", "strides", "itemsize", "nbytes", "flags"):
            return getattr(self._a, name)
        if name in ("T", "real", "imag"):
            return _wrap(getattr(self._a, name))
        raise AttributeError(f"a device array has no attribute {name!r}")

    def __getitem__(self, index: Any) -> Any:
        return _wrap(self._a[_unwrap(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._a[_unwrap(index)] = _unwrap(value)

    def __repr__(self) -> str:
        return f"FakeArray(shape={self.shape}, dtype={self.dtype})"


def _operator(name: str) -> Any:
    def operate(self: FakeArray, *others: Any) -> Any:
        result = getattr(self._a, name)(*_unwrap(others))
        return self if result is self._a else _wrap(result)

    return operate


for _name in (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul rmatmul neg pos abs eq ne lt le "
    "gt ge and rand or ror xor rxor invert iadd isub imul itruediv"
).split():
    setattr(FakeArray, f"__{_name}__", _operator(f"__{_name}__"))
FakeArray.__hash__ = object.__hash__  # type: ignore[method-assign]


def _wrap(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return FakeArray(np.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(_wrap, value)) if not hasattr(value, "_fields") else tuple(map(_wrap, value))
    return value


def _unwrap(value: Any) -> Any:
    if isinstance(value, FakeArray):
        return value._a
    if isinstance(value, np.ndarray):
        raise TypeError(f"a NumPy array of shape {value.shape} beside a device array")
    if isinstance(value, (tuple, list)):
        return type(value)(map(_unwrap, value))
    if isinstance(value, dict):
        return {key: _unwrap(v) for key, v in value.items()}
    return value


class _Namespace:
    """NumPy's functions over device arrays; ``linalg`` and ``fft`` likewise."""

    def __init__(self, module: Any = np) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        target = getattr(self._module, name)
        if isinstance(target, types.ModuleType):
            return _Namespace(target)
        if not callable(target) or isinstance(target, type):
            return target
        if isinstance(target, np.ufunc):
            return _Ufunc(target)
        return lambda *args, **kwargs: _wrap(target(*_unwrap(args), **_unwrap(kwargs)))

    @property
    def ogrid(self) -> Any:
        class Grid:
            def __getitem__(self, index: Any) -> Any:
                return _wrap(list(np.ogrid[index]))

        return Grid()


class _Ufunc:
    """A ufunc over device arrays; ``out`` comes back as it was given."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc = ufunc

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return _wrap(self._ufunc(*_unwrap(args), **kwargs))
        self._ufunc(*_unwrap(args), out=_unwrap(out), **kwargs)
        return out

    def reduce(self, *args: Any, **kwargs: Any) -> Any:
        return _wrap(self._ufunc.reduce(*_unwrap(args), **_unwrap(kwargs)))


class FakeDevice:
    """What :func:`fake_device` gives: how often the host waited for the device."""

    def __init__(self) -> None:
        self.synchronizations = 0


_installed: list[FakeDevice] = []


def _synchronized() -> None:
    for device in _installed:
        device.synchronizations += 1


def _to_numpy(array: FakeArray) -> np.ndarray:
    _synchronized()
    return array._a.copy()


def _scatter_add(target: FakeArray, index: Any, values: FakeArray) -> None:
    np.add.at(target._a, _unwrap(index), _unwrap(values))


@contextlib.contextmanager
def fake_device() -> Iterator[FakeDevice]:
    """A block in which the device ``"fake"`` exists."""
    device = FakeDevice()
    record = backend.Backend(
        name="fake",
        xp=_Namespace(),
        array_type=FakeArray,
        device_of=lambda array: "fake",
        from_numpy=lambda array, name: FakeArray(np.array(array)),
        to_numpy=_to_numpy,
        scatter_add=_scatter_add,
        synchronize=_synchronized,
    )
    backend.register(record, "fake")
    _installed.append(device)
    try:
        yield device
    finally:
        _installed.remove(device)
        backend.unregister(FakeArray, "fake")
        for op in OPS.values():
            op.unbind()
