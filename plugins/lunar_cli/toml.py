"""TOML out of plain data; reading is ``tomllib``'s. Small, because a run's configuration is small."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(data: Mapping[str, Any]) -> str:
    """``data`` as a TOML document that ``tomllib.loads`` gives back equal.

    Takes dicts with text keys, lists, tuples (read back as lists), text, bools, ints and floats, infinities and NaN
    included. An entry of a dict that is None is left out, because TOML has no null. Raises :class:`TypeError` for
    anything else, None in a list included.
    """
    lines: list[str] = []
    _table(data, (), lines)
    return "\n".join(lines).strip("\n") + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    for key, value in table.items():
        if value is not None and key not in inner:
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in inner.items():
        below = (*path, _key(key))
        # A table that holds nothing but tables needs no header of its own.
        if not all(isinstance(v, Mapping) for v in value.values()) or not value:
            lines += ["", f"[{'.'.join(below)}]"]
        _table(value, below, lines)


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys of a TOML table are text, got {key!r}")
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None) + "}"
    raise TypeError(f"TOML has no {type(value).__name__}: {value!r}")


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
