"""dtypes of the standard, what is asked of them, conversion of values, and what the namespace can do."""

from __future__ import annotations

import builtins
from typing import Any, NamedTuple

import numpy as np

from ... import backend
from ...dtypes import as_dtype, is_floating
from ...errors import DeviceError, DTypeError, ShapeError
from ...modes import modes
from ...tensor import Tensor, backend_matches, tensor
from ..elementwise import cast

bool = np.dtype("bool")
int8, int16, int32, int64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float32, float64 = np.dtype("float32"), np.dtype("float64")
complex64, complex128 = np.dtype("complex64"), np.dtype("complex128")

_KINDS = {
    "bool": (bool,),
    "signed integer": (int8, int16, int32, int64),
    "unsigned integer": (uint8, uint16, uint32, uint64),
    "real floating": (float32, float64),
    "complex floating": (complex64, complex128),
}
_KINDS["integral"] = _KINDS["signed integer"] + _KINDS["unsigned integer"]
_KINDS["numeric"] = _KINDS["integral"] + _KINDS["real floating"] + _KINDS["complex floating"]
_CODES = {"bool": "b", "signed integer": "i", "unsigned integer": "u", "complex floating": "c", "integral": "iu"}


def isdtype(dtype: Any, kind: Any) -> builtins.bool:
    """Whether ``dtype`` is of a ``kind``: a dtype, one of the standard's words, or a tuple of either.

    The words are bool, signed integer, unsigned integer, integral, real floating (bfloat16 and float16 included),
    complex floating and numeric.
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    dtype = as_dtype(dtype)
    if not isinstance(kind, str):
        return dtype == as_dtype(kind)
    if kind not in _KINDS:
        raise DTypeError(f"isdtype: unknown kind {kind!r}", hint=f"known: {', '.join(_KINDS)}")
    if kind == "real floating":
        return is_floating(dtype)
    return is_floating(dtype) or dtype.kind in "iuc" if kind == "numeric" else dtype.kind in _CODES[kind]


def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    """The dtype that arrays, dtypes and Python numbers promote to together; numbers are weak."""
    return np.result_type(*[v.dtype if isinstance(v, Tensor) or backend.is_array(v) else v for v in arrays_and_dtypes])


def can_cast(from_: Any, to: Any, /) -> builtins.bool:
    """Whether an array or dtype converts to the dtype ``to`` by promotion, without loss."""
    return np.can_cast(from_.dtype if isinstance(from_, Tensor) else as_dtype(from_), as_dtype(to))


class FloatInfo(NamedTuple):
    """What :func:`finfo` returns; of a complex dtype it describes the parts."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype


class IntInfo(NamedTuple):
    """What :func:`iinfo` returns."""

    bits: int
    max: int
    min: int
    dtype: np.dtype


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating dtype, given itself or an array of it."""
    dtype = type.dtype if isinstance(type, Tensor) or backend.is_array(type) else as_dtype(type)
    if dtype.kind == "c":
        dtype = np.dtype(f"float{dtype.itemsize * 4}")
    if not is_floating(dtype):
        raise DTypeError(f"finfo: expected a floating dtype, got {dtype}")
    info: Any
    if dtype.kind == "f":
        info = np.finfo(dtype)
    else:
        import ml_dtypes

        info = ml_dtypes.finfo(dtype)
    eps, top, low, smallest = (float(v) for v in (info.eps, info.max, info.min, info.smallest_normal))
    return FloatInfo(dtype.itemsize * 8, eps, top, low, smallest, dtype)


def iinfo(type: Any, /) -> IntInfo:
    """The limits of an integer dtype, given itself or an array of it."""
    dtype = type.dtype if isinstance(type, Tensor) or backend.is_array(type) else as_dtype(type)
    if dtype.kind not in "iu":
        raise DTypeError(f"iinfo: expected an integer dtype, got {dtype}")
    info = np.iinfo(dtype)
    return IntInfo(info.bits, int(info.max), int(info.min), dtype)


# -- conversion --------------------------------------------------------------------------------------------------------


def astype(x: Tensor, dtype: Any, /, *, copy: builtins.bool = True, device: str | None = None) -> Tensor:
    """``x`` in another dtype, differentiably; a copy even where nothing changes, unless ``copy`` is false."""
    dtype = as_dtype(dtype)
    if x.dtype.kind == "c" and dtype.kind != "c" and dtype.kind != "b":
        raise DTypeError(f"astype: {x.dtype} values do not fit into {dtype}", hint="xp.real(x) takes the real part")
    out: Tensor = cast(x, dtype=dtype) if copy or dtype != x.dtype else x
    return out if device is None else out.to(device)


def asarray(obj: Any, /, *, dtype: Any = None, device: str | None = None, copy: builtins.bool | None = None) -> Tensor:
    """A Tensor of ``obj``: a Tensor, an array, a number, nested sequences, or what gives a buffer.

    ``copy=None`` copies only where the dtype, the device or the kind of object asks for it, ``False`` refuses to, ``True``
    always does. Python floats take the default dtype and complex numbers the one of its size.
    """
    dtype = None if dtype is None else as_dtype(dtype)
    if not isinstance(obj, Tensor) and not backend.is_array(obj) and isinstance(obj, (memoryview, bytes, bytearray)):
        obj = np.asarray(memoryview(obj))
    elif not isinstance(obj, Tensor) and not backend.is_array(obj) and hasattr(obj, "__dlpack__"):
        from ..dlpack import from_dlpack

        obj = from_dlpack(obj, copy=copy)
    if isinstance(obj, Tensor) or backend.is_array(obj):
        x = obj if isinstance(obj, Tensor) else Tensor(obj)
        moves = device is not None and not backend_matches(x.data, device)
        if copy is False and (moves or dtype not in (None, x.dtype)):
            raise ShapeError(
                f"asarray: {x.dtype} on {x.device} to {dtype or x.dtype} on {device or x.device} needs a copy",
                hint="copy=None allows one",
            )
        if copy or dtype not in (None, x.dtype):
            x = cast(x, dtype=x.dtype if dtype is None else dtype)
        return x.to(device) if moves else x
    if copy is False:
        raise ShapeError(f"asarray: a {type(obj).__name__} cannot become an array without a copy", hint="copy=None")
    return tensor(obj, dtype, device)


# -- what there is -----------------------------------------------------------------------------------------------------


class Info:
    """Answers of ``xp.__array_namespace_info__()``."""

    def capabilities(self) -> dict[str, Any]:
        """Optional parts of the standard; all of them are there."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The device of new arrays."""
        return modes.device

    def devices(self) -> list[str]:
        """The devices of this machine."""
        found = [kind for kind in backend._DEVICES if kind != "cuda"]
        try:
            cuda = backend.for_device("cuda")
        except DeviceError:
            return found
        return found + [f"cuda:{i}" for i in range(cuda.xp.cuda.runtime.getDeviceCount())]

    def default_dtypes(self, *, device: str | None = None) -> dict[str, np.dtype]:
        """The dtypes of new arrays by kind."""
        return {
            "real floating": modes.dtype,
            "complex floating": np.result_type(modes.dtype, complex64),
            "integral": int64,
            "indexing": np.dtype(np.intp),
        }

    def dtypes(self, *, device: str | None = None, kind: Any = None) -> dict[str, np.dtype]:
        """The standard's dtypes by name, those of ``kind`` (a word of :func:`isdtype` or a tuple of them) only."""
        every = (bool, *_KINDS["numeric"])
        return {d.name: d for d in every if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> Info:
    """What this namespace can do: capabilities, devices and dtypes."""
    return Info()
