"""Tables: CSV files of numbers and names, and NumPy's NPZ archives, read without executing anything."""

from __future__ import annotations

import ast
import csv
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from lunar_core.component import field, positive
from lunar_core.contracts.dataset import ArrayDataset, DatasetCard
from lunar_core.errors import DataError
from lunar_data.reading import CHUNK, text_lines

_LONGEST_FIELD = 1 << 20


class CSV(ArrayDataset):
    """A table in a CSV file: numeric columns as ``x`` float32 (N, F), one column as the target ``y``.

    The first line names the columns unless ``header=False``, in which case they are called "0", "1", ... Without
    ``columns`` all but the target are inputs. The target, by default the last column, is float32 where ``regression``
    is set; else the column's values are classes, numbered in sorted order (as numbers where all are whole numbers).
    ``target=""`` gives inputs alone. An empty field or ``na`` is NaN in an input and an error in a target.

    Raises:
        DataError: a missing column, a field that is no number, a line with too few or too many fields, bytes that are
            not UTF-8; the message names the file, the line and the column.
    """

    path: str = field(doc="the file, .gz or plain")
    target: str | None = field(default=None, doc='column of the target; the last by default, "" for none')
    columns: tuple[str, ...] = field(default=(), doc="columns of the inputs, in order; all others by default")
    regression: bool = field(default=False, doc="the target is a number, no class")
    header: bool = field(default=True, doc="the first line names the columns")
    delimiter: str = field(default=",", doc="what stands between fields")
    limit: int | None = field(default=None, validator=positive, doc="at most so many rows")

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("x",) if self.target == "" else ("x", "y")

    def read(self) -> tuple[np.ndarray, ...]:
        rows = _csv_rows(self.path, self.delimiter)
        try:
            number, first = next(rows)
        except StopIteration:
            raise DataError(f"{self.path}: empty: there is no line") from None
        names = [name.strip() for name in first] if self.header else [str(k) for k in range(len(first))]
        if len(set(names)) != len(names):
            raise DataError(f"{self.path}, line {number}: two columns have the same name: {names}")
        target = names[-1] if self.target is None else self.target
        inputs = list(self.columns) or [name for name in names if name != target]
        for name in [*inputs, *([target] if target else [])]:
            if name not in names:
                raise DataError(f"{self.path}: there is no column {name!r}; the columns are {', '.join(names)}")
        places = [names.index(name) for name in inputs]
        values: list[list[float]] = []
        labels: list[str] = []
        for line, row in rows if self.header else _and_then((number, first), rows):
            if len(row) != len(names):
                raise DataError(f"{self.path}, line {line}: {len(row)} fields, expected {len(names)}")
            values.append([self._number(row[k], line, names[k]) for k in places])
            if target:
                labels.append(row[names.index(target)].strip())
            if self.limit is not None and len(values) == self.limit:
                break
        x = np.array(values, np.float32).reshape(-1, len(places))
        if not target:
            return (x,)
        if self.regression:
            start = 2 if self.header else 1
            y = [self._number(text, k + start, target, missing=False) for k, text in enumerate(labels)]
            return x, np.array(y, np.float32)
        self._classes, codes = _codes(labels)
        return x, codes

    def _number(self, text: str, line: int, column: str, missing: bool = True) -> float:
        text = text.strip()
        if missing and text.lower() in ("", "na", "nan"):
            return math.nan
        try:
            return float(text)
        except ValueError:
            raise DataError(f"{self.path}, line {line}, column {column!r}: {text[:40]!r} is no number") from None

    @property
    def classes(self) -> tuple[str, ...] | None:
        if self.regression or self.target == "":
            return None
        self.arrays()
        return self._classes

    @property
    def card(self) -> DatasetCard:
        return DatasetCard(os.path.basename(self.path), len(self), source=self.path, classes=self.classes)


def _and_then(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _csv_rows(path: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the last line and fields of each record; empty lines are passed over."""
    at = 0

    def lines() -> Iterator[str]:
        nonlocal at
        for at, text in text_lines(path):
            if "\0" in text:
                raise DataError(f"{path}, line {at}: a zero byte, this is no text")
            yield text + "\n"

    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        for row in csv.reader(lines(), delimiter=delimiter, strict=True):
            if row:
                yield at, row
    except csv.Error as error:
        raise DataError(f"{path}, line {at}: {error}") from error
    finally:
        csv.field_size_limit(before)


def _codes(labels: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    names = sorted(set(labels))
    if all(name.lstrip("-").isdigit() for name in names):
        names.sort(key=int)
    index = {name: k for k, name in enumerate(names)}
    return tuple(names), np.array([index[label] for label in labels], np.int64)


class NPZ(ArrayDataset):
    """Arrays from an NPZ archive, as ``np.savez`` writes it; object arrays are refused, so nothing is executed.

    ``names`` are the arrays to take, in order, the target last; by default ``x`` and ``y``. They have one length. No
    array larger than ``max_bytes`` is allocated, and none before its header has been checked against the archive.
    """

    path: str = field(doc="the archive")
    names: tuple[str, ...] = field(default=("x", "y"), doc="which arrays, the target last")
    max_bytes: int = field(default=1 << 34, validator=positive, doc="largest array that is read")

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.names

    def read(self) -> tuple[np.ndarray, ...]:
        arrays = read_npz(self.path, self.names, self.max_bytes)
        return tuple(arrays[name] for name in self.names)


def read_npz(path: str | os.PathLike[str], names: Any = None, max_bytes: int = 1 << 34) -> dict[str, np.ndarray]:
    """The arrays ``names`` (all by default) of an NPZ archive.

    Raises:
        DataError: no archive, a missing, truncated or corrupt member, an array of objects, one that is larger than
            ``max_bytes`` or than what its member holds.
    """
    where = os.fspath(path)
    try:
        with zipfile.ZipFile(where) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist() if m.filename.endswith(".npy")}
            result = {}
            for name in members if names is None else names:
                if name not in members:
                    raise DataError(f"{where}: there is no array {name!r}; it holds {', '.join(members)[:200]}")
                info = members[name]
                with archive.open(info) as file:
                    result[name] = _read_npy(file, f"{where}, array {name!r}", info.file_size, max_bytes)
            return result
    except FileNotFoundError as error:
        raise DataError(f"there is no file {where}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{where}: no NPZ archive, truncated or corrupt: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {where}: {error.strerror or error}") from error


def _read_npy(file: Any, where: str, size: int, max_bytes: int) -> np.ndarray:
    """One array in the NPY format (versions 1 to 3), from NumPy's description of it."""
    head = file.read(8)
    if len(head) < 8 or head[:6] != b"\x93NUMPY" or head[6] not in (1, 2, 3):
        raise DataError(f"{where}: no NPY data: it begins with {head.hex(' ')}")
    width = 2 if head[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > 1 << 16:
        raise DataError(f"{where}: byte 8 announces a header of {length} bytes")
    text = file.read(length)
    try:
        header = ast.literal_eval(text.decode("utf-8" if head[6] == 3 else "latin1").strip())
        shape, fortran, descr = header["shape"], header["fortran_order"], header["descr"]
        dtype = np.dtype(descr) if isinstance(descr, str) else None
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: the header at byte 10 is no NPY header") from error
    if dtype is None or dtype.hasobject:
        raise DataError(f"{where}: an array of objects is stored as a pickle, which is not read")
    if not (isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)) or len(shape) > 32:
        raise DataError(f"{where}: shape {str(shape)[:80]} is no shape")
    count = math.prod(shape) * dtype.itemsize
    if count > max_bytes or count != size - 8 - width - length:
        raise DataError(
            f"{where}: announces shape {shape} of {dtype}, {count} bytes; it holds {size - 8 - width - length} "
            f"and at most {max_bytes} are read"
        )
    data = bytearray()
    while len(data) < count:  # grows with what is there: the archive may announce more than it holds
        piece = file.read(min(CHUNK, count - len(data)))
        if not piece:
            raise DataError(f"{where}: truncated: {len(data)} of {count} bytes")
        data += piece
    if file.read(1):
        raise DataError(f"{where}: too long: data goes on after {count} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
