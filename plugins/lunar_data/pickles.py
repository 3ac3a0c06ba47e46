"""What CIFAR's python batches need of the pickle format, read as data: no class is looked up and nothing is called.

A pickle is a program for a stack machine. This reader knows the instructions for dicts, lists, tuples, numbers, text and
byte strings, and exactly one construction, NumPy's array of bytes or integers, which it carries out itself. Any other
instruction or global name is an error. Sizes are checked against the file before anything is made.

Format: Python's pickletools module, protocols 0 to 4; arrays as NumPy writes them under those.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from lunar_core.errors import DataError

_RECONSTRUCT = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}
_ALLOWED = {*_RECONSTRUCT, ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
_MOST = 1 << 22  # values, so that a few bytes of instructions cannot fill the memory


class _Mark:
    pass


class _Global:
    def __init__(self, name: tuple[str, str]) -> None:
        self.name = name


class _Array:
    """An array whose state is still to come; ``value`` once it has."""

    value: np.ndarray | None = None


class _DType:
    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "="


def read_plain_pickle(data: bytes, where: str) -> Any:
    """The dicts, lists, numbers, strings and arrays of a pickle. Text of Python 2 comes as bytes.

    Raises:
        DataError: an instruction or name that data does not need, or a truncated or inconsistent program; the message
            names the file and the byte.
    """
    return _Reader(data, where).run()


class _Reader:
    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where = data, where
        self.at = self.start = self.made = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def fail(self, problem: str) -> DataError:
        return DataError(f"{self.where}, byte {self.start}: {problem}")

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise self.fail(f"truncated: {count} bytes announced, {len(self.data) - self.at} are left")
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def number(self, form: str) -> int:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise self.fail("truncated: a line without an end")
        piece, self.at = self.data[self.at : end], end + 1
        return piece

    def pop(self) -> Any:
        if not self.stack or isinstance(self.stack[-1], _Mark):
            raise self.fail("an instruction finds too few values")
        return self.stack.pop()

    def above_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[place], _Mark):
                values = self.stack[place + 1 :]
                del self.stack[place:]
                return values
        raise self.fail("an instruction finds no mark")

    def run(self) -> Any:
        try:
            while True:
                self.start = self.at
                code = self.take(1)
                if code == b".":
                    return _plain(self.pop(), self)
                step = _STEPS.get(code)
                if step is None:
                    raise self.fail(f"instruction {code!r} is not needed for data and is not carried out")
                step(self)
                self.made += 1
                if self.made > _MOST:
                    raise self.fail(f"more than {_MOST} instructions")
        except (struct.error, UnicodeDecodeError, ValueError, OverflowError, TypeError) as error:
            if isinstance(error, DataError):
                raise
            raise self.fail(f"inconsistent: {error}") from error

    def remember(self, key: int) -> None:
        if not self.stack:
            raise self.fail("nothing to remember")
        self.memo[key] = self.stack[-1]

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise self.fail(f"nothing is remembered under {key}")
        self.stack.append(self.memo[key])

    def look_up(self, module: Any, name: Any) -> None:
        if (module, name) not in _ALLOWED:
            raise self.fail(f"the file names {str(module)[:60]}.{str(name)[:60]}, which data does not need: refused")
        self.stack.append(_Global((module, name)))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise self.fail("a call of something that is no array")
        if function.name in _RECONSTRUCT:
            made: Any = _Array()
        elif function.name == ("numpy", "dtype") and arguments and _text(arguments[0]) in _CODES:
            made = _DType(_text(arguments[0]))
        elif function.name == ("_codecs", "encode") and len(arguments) == 2 and _text(arguments[1]) == "latin1":
            made = str(arguments[0]).encode("latin1")
        else:
            raise self.fail(f"a call of {'.'.join(function.name)} that data does not need: refused")
        self.stack.append(made)

    def build(self) -> None:
        state = self.pop()
        target = self.stack[-1] if self.stack else None
        if isinstance(target, _DType) and isinstance(state, tuple) and len(state) >= 2:
            order = _text(state[1])
            target.order = order if order in "<>=|" and len(order) == 1 else "="
        elif isinstance(target, _Array) and isinstance(state, tuple) and len(state) == 5:
            _, shape, dtype, fortran, raw = state
            if not isinstance(dtype, _DType) or not isinstance(raw, bytes) or not isinstance(shape, tuple):
                raise self.fail("an array of objects: refused")
            kind = np.dtype(("" if dtype.order == "|" else dtype.order) + dtype.code)
            if not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) * kind.itemsize != len(raw):
                raise self.fail(f"an array of shape {str(shape)[:60]} and {kind} from {len(raw)} bytes")
            target.value = np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")
        else:
            raise self.fail("a state for something that is no array: refused")

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if not isinstance(target, dict) or len(pairs) % 2 or not all(_hashable(key) for key in pairs[::2]):
            raise self.fail("items for something that is no dict")
        target.update(zip(pairs[::2], pairs[1::2]))

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if not isinstance(target, list):
            raise self.fail("values for something that is no list")
        target.extend(values)


_CODES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f4", "f8"}


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def _hashable(key: Any) -> bool:
    return isinstance(key, (str, bytes, int, float)) or key is None


def _plain(value: Any, reader: _Reader, depth: int = 0) -> Any:
    if depth > 32:
        raise reader.fail("values nested more than 32 deep")
    if isinstance(value, dict):
        return {key: _plain(item, reader, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item, reader, depth + 1) for item in value)
    if isinstance(value, _Array) and value.value is not None:
        return value.value
    if isinstance(value, (_Array, _DType, _Global)):
        raise reader.fail("an array without contents")
    return value


def _long(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)


def _integer(reader: _Reader) -> None:
    text = reader.line()
    reader.stack.append({b"00": False, b"01": True}.get(text, 0) if text in (b"00", b"01") else int(text))


def _quoted(reader: _Reader) -> None:
    text = reader.line().strip()
    if len(text) < 2 or text[:1] not in b"'\"" or text[-1:] != text[:1]:
        raise reader.fail("a string without quotes")
    reader.stack.append(text[1:-1].decode("unicode_escape").encode("latin1"))


def _stack_global(reader: _Reader) -> None:
    name, module = reader.pop(), reader.pop()
    reader.look_up(module, name)


def _bounded(raw: bytes, reader: _Reader) -> int:
    if len(raw) > 64:
        raise reader.fail(f"a whole number of {len(raw)} bytes")
    return _long(raw)


def _push(make: Any) -> Any:
    return lambda reader: reader.stack.append(make(reader))


def _dict(reader: _Reader) -> None:
    pairs = reader.above_mark()
    reader.stack.append({})
    reader.set_items(pairs)


_STEPS: dict[bytes, Any] = {
    b"\x80": lambda r: r.take(1),
    b"\x95": lambda r: r.take(8),
    b"(": _push(lambda r: _Mark()),
    b"0": lambda r: r.pop(),
    b"}": _push(lambda r: {}),
    b"]": _push(lambda r: []),
    b")": _push(lambda r: ()),
    b"d": _dict,
    b"l": _push(lambda r: r.above_mark()),
    b"t": _push(lambda r: tuple(r.above_mark())),
    b"\x85": _push(lambda r: (r.pop(),)),
    b"\x86": _push(lambda r: (r.pop(), r.pop())[::-1]),
    b"\x87": _push(lambda r: (r.pop(), r.pop(), r.pop())[::-1]),
    b"N": _push(lambda r: None),
    b"\x88": _push(lambda r: True),
    b"\x89": _push(lambda r: False),
    b"I": _integer,
    b"L": _push(lambda r: int(r.line().rstrip(b"L"))),
    b"F": _push(lambda r: float(r.line())),
    b"K": _push(lambda r: r.number("B")),
    b"M": _push(lambda r: r.number("H")),
    b"J": _push(lambda r: r.number("i")),
    b"G": _push(lambda r: struct.unpack(">d", r.take(8))[0]),
    b"\x8a": _push(lambda r: _bounded(r.take(r.number("B")), r)),
    b"S": _quoted,
    b"U": _push(lambda r: r.take(r.number("B"))),
    b"T": _push(lambda r: r.take(r.number("i"))),
    b"C": _push(lambda r: r.take(r.number("B"))),
    b"B": _push(lambda r: r.take(r.number("I"))),
    b"\x8e": _push(lambda r: r.take(r.number("Q"))),
    b"\x96": _push(lambda r: r.take(r.number("Q"))),
    b"V": _push(lambda r: r.line().decode("raw_unicode_escape")),
    b"X": _push(lambda r: r.take(r.number("I")).decode()),
    b"\x8c": _push(lambda r: r.take(r.number("B")).decode()),
    b"\x8d": _push(lambda r: r.take(r.number("Q")).decode()),
    b"p": lambda r: r.remember(int(r.line())),
    b"q": lambda r: r.remember(r.number("B")),
    b"r": lambda r: r.remember(r.number("I")),
    b"\x94": lambda r: r.remember(len(r.memo)),
    b"g": lambda r: r.recall(int(r.line())),
    b"h": lambda r: r.recall(r.number("B")),
    b"j": lambda r: r.recall(r.number("I")),
    b"c": lambda r: r.look_up(r.line().decode(), r.line().decode()),
    b"\x93": _stack_global,
    b"R": lambda r: r.reduce(),
    b"b": lambda r: r.build(),
    b"s": lambda r: r.set_items([r.pop(), r.pop()][::-1]),
    b"u": lambda r: r.set_items(r.above_mark()),
    b"a": lambda r: r.append([r.pop()]),
    b"e": lambda r: r.append(r.above_mark()),
}
