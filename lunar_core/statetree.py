"""Nested state as plain data: what JSON can hold, and the arrays beside it.

State dicts are trees of dicts, lists, tuples, numbers, text and arrays. :func:`pack` makes a tree that JSON holds exactly
and a flat dict of arrays that safetensors holds; :func:`unpack` puts them together again. What JSON lacks stands as an
object with one key that begins with ``@``: arrays (by name), tuples, bytes, NaN and infinities, complex numbers, and dicts
whose keys are no text. Nothing in it names a class or a function, so reading a tree can run no code.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import backend
from .errors import SerializationError
from .tensor import Tensor

#: Deepest nesting that is written or read.
MAX_DEPTH = 64


def pack(tree: Any, prefix: str = "") -> tuple[Any, dict[str, Any]]:
    """``(plain, arrays)``: ``tree`` as plain data, and its arrays (live ones, not copies) by dotted names.

    ``prefix`` stands before the names. Tensors are stored as their arrays, numpy scalars as Python numbers.

    Raises:
        SerializationError: something that is no data (an object, a function), nesting deeper than ``MAX_DEPTH``, or a
            structure that contains itself; the message says where in the tree.
    """
    arrays: dict[str, Any] = {}

    def fail(value: Any, path: str) -> SerializationError:
        return SerializationError(
            f"the state holds {type(value).__name__} at {path or 'its root'}, which is no data",
            hint="a state dict consists of dicts with text keys, lists, numbers, text and arrays",
        )

    def array(value: Any, path: str) -> dict[str, Any]:
        name, count = path or "array", 1
        while name in arrays:
            count += 1
            name = f"{path}#{count}"
        if value.dtype == np.complex128:
            arrays[name] = np.ascontiguousarray(backend.of(value).to_numpy(value)).reshape(-1).view(np.float64)
            return {"@array": name, "complex128": list(value.shape)}
        arrays[name] = value
        return {"@array": name}

    def walk(value: Any, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise SerializationError(f"the state is nested more than {MAX_DEPTH} deep at {path[:80]}...")
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, np.generic):
            value = value.item()
            if isinstance(value, (bool, int, str)):
                return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"@float": repr(float(value))}
        if isinstance(value, complex):
            return {"@complex": [walk(value.real, path, depth), walk(value.imag, path, depth)]}
        if isinstance(value, Tensor):
            value = value.data
        if backend.is_array(value):
            if getattr(value.dtype, "hasobject", False):
                raise fail(value, path)
            return array(value, path)
        if isinstance(value, (bytes, bytearray)):
            return {"@bytes": base64.b64encode(bytes(value)).decode()}
        if isinstance(value, Mapping):
            if all(isinstance(key, str) and not key.startswith("@") for key in value):
                return {key: walk(item, f"{path}.{key}" if path else key, depth + 1) for key, item in value.items()}
            pairs = enumerate(value.items())
            return {"@dict": [[walk(k, path, depth + 1), walk(v, f"{path}.{i}", depth + 1)] for i, (k, v) in pairs]}
        if isinstance(value, (list, tuple)):
            items = [walk(item, f"{path}.{i}" if path else str(i), depth + 1) for i, item in enumerate(value)]
            return items if isinstance(value, list) else {"@tuple": items}
        raise fail(value, path)

    return walk(tree, prefix, 0), arrays


def unpack(plain: Any, arrays: Mapping[str, Any], what: str = "the state") -> Any:
    """The tree that :func:`pack` made ``plain`` and ``arrays`` from; ``what`` names it in errors.

    Raises:
        SerializationError: ``plain`` is not of that form, or an array that it names is not there.
    """

    def bad(value: Any, path: str) -> SerializationError:
        text = repr(value)
        return SerializationError(f"{what} is malformed at {path or 'its root'}: {text[:100]}")

    def special(value: dict[str, Any], path: str, depth: int) -> Any:
        key = next(iter(value))
        held = value[key]
        if key == "@array" and isinstance(held, str) and held in arrays:
            if len(value) == 1:
                return arrays[held]
            shape, flat = value.get("complex128"), arrays[held]
            if isinstance(shape, list) and flat.dtype == np.float64 and flat.ndim == 1:
                try:
                    return flat.view(np.complex128).reshape([int(n) for n in shape])
                except (ValueError, TypeError, OverflowError):
                    pass
        elif len(value) != 1:
            pass
        elif key == "@tuple" and isinstance(held, list):
            return tuple([walk(item, f"{path}.{i}", depth + 1) for i, item in enumerate(held)])
        elif key == "@float" and held in ("nan", "inf", "-inf"):
            return float(held)
        elif key == "@complex" and isinstance(held, list) and len(held) == 2:
            parts = [walk(part, path, depth + 1) for part in held]
            if all(isinstance(part, (int, float)) for part in parts):
                return complex(*parts)
        elif key == "@bytes" and isinstance(held, str):
            try:
                return base64.b64decode(held, validate=True)
            except (binascii.Error, ValueError):
                pass
        elif key == "@dict" and isinstance(held, list):
            made = {}
            for i, pair in enumerate(held):
                if not isinstance(pair, list) or len(pair) != 2:
                    raise bad(pair, path)
                name = walk(pair[0], path, depth + 1)
                try:
                    made[name] = walk(pair[1], f"{path}.{i}", depth + 1)
                except TypeError:  # a key that cannot be one
                    raise bad(pair, path) from None
            return made
        raise bad(value, path)

    def walk(value: Any, path: str, depth: int) -> Any:
        if depth > 2 * MAX_DEPTH:
            raise bad("nested too deep", path[:80])
        if isinstance(value, dict):
            if any(key.startswith("@") for key in value):
                return special(value, path, depth)
            return {key: walk(item, f"{path}.{key}" if path else key, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, f"{path}.{i}", depth + 1) for i, item in enumerate(value)]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise bad(value, path)

    return walk(plain, "", 0)
