"""dtypes by name, and what kind of numbers they hold.

``ml_dtypes`` gives NumPy the type ``bfloat16``; it is imported when that name is first used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import DTypeError

_NAMES = (
    "float16 bfloat16 float32 float64 complex64 complex128 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool"
).split()


def as_dtype(dtype: Any) -> np.dtype:
    """The NumPy dtype for a name, a NumPy scalar type or a Python type.

    ``float`` means float32, the default of the field, not C's double.
    """
    if dtype is float:
        return np.dtype(np.float32)
    if isinstance(dtype, str):
        if dtype == "bfloat16":
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
        if dtype not in _NAMES:
            raise DTypeError(f"unknown dtype {dtype!r}", hint=f"known: {', '.join(_NAMES)}")
    try:
        return np.dtype(dtype)
    except TypeError as exc:
        raise DTypeError(f"not a dtype: {dtype!r}", hint=f"known: {', '.join(_NAMES)}") from exc


def is_floating(dtype: np.dtype) -> bool:
    """Real floating point, bfloat16 and its relatives included."""
    return dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))


def is_differentiable(dtype: np.dtype) -> bool:
    """Whether values of this dtype can carry a gradient: real or complex floating point."""
    return dtype.kind in "fc" or dtype.name.startswith(("bfloat", "float"))
