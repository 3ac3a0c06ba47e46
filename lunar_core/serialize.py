"""Tensors and state on disk, in the safetensors format and never by pickle.

A file is eight bytes of header length (little endian), a JSON header ``{name: {dtype, shape, data_offsets}}`` and the
arrays' bytes (https://github.com/huggingface/safetensors, "Format"). Reader and writer stand here rather than behind
the library of that name because everything that makes the format safe is a check on the header that has to come before
the first allocation, with the file and the place in the message; the tests compare both directions with that library.

>>> lc.save(model, "model.safetensors")                 # doctest: +SKIP
>>> model.load_state_dict(lc.load("model.safetensors")) # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from . import backend
from .errors import SerializationError
from .tensor import Tensor

#: The longest header that is read, as in the reference implementation.
MAX_HEADER = 100_000_000

#: Names that share memory are stored once; this metadata entry (JSON, ``{name: stored name}``) ties them again.
TIED_KEY = "lunar.tied"

_METADATA = "__metadata__"
_MAX_NDIM = 64  # NumPy's own limit

_NUMPY_NAMES = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "C64": "c8",
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
    "U64": "u8",
    "U32": "u4",
    "U16": "u2",
    "U8": "u1",
    "BOOL": "?",
}


@functools.cache
def _dtypes() -> dict[str, np.dtype]:
    """The format's dtypes, little endian, by its own codes; ml_dtypes stays off the import path of the core."""
    import ml_dtypes

    small = {"BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}
    # NumPy's own object on little-endian machines: newbyteorder() gives an equal one that `is` another
    little = sys.byteorder == "little"
    return {
        code: np.dtype(name) if little else np.dtype(name).newbyteorder("<") for code, name in _NUMPY_NAMES.items()
    } | {code: np.dtype(scalar) for code, scalar in small.items()}


@functools.cache
def _codes() -> dict[np.dtype, str]:
    return {dtype: code for code, dtype in _dtypes().items()}


#: First bytes of files that people take for weights, and what to call them.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint or an .npz file)"),
    (b"\x93NUMPY", "a NumPy .npy file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"GGUF", "a GGUF file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it points to"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)


class _Entry(NamedTuple):
    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


# ------------------------------------------------------------------------------------------------------------ writing


def save(obj: Any, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays to ``path`` as one safetensors file, atomically.

    ``obj`` is a mapping of names to arrays, Tensors or numbers, or anything with a ``state_dict()`` that gives one.
    ``metadata`` is text to text and comes back from :func:`load_metadata`. Arrays of any memory layout and byte order
    are written in C order and little endian; arrays on a GPU are copied to the host. Names bound to the same memory
    (tied weights) are stored once and come back as one array. Views that share memory only in part, or in another
    shape, are stored each for itself.

    The file appears under its name only when all of it is on the disk: a crash leaves the old file or the new one.

    Raises:
        SerializationError: a value that is no array, a dtype that the format lacks (object, text, complex128), a name
            or a metadata entry that is not text, or a file that cannot be written.
    """
    state = obj.state_dict() if callable(getattr(obj, "state_dict", None)) else obj
    if not isinstance(state, Mapping):
        raise SerializationError(
            f"save() expects a mapping of names to arrays or an object with state_dict(), got {type(obj).__name__}"
        )
    layout = _laid_out(state, metadata, os.fspath(path))
    with atomic_file(path) as file:
        _write(file, *layout)


def write_arrays(file: BinaryIO, state: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays as :func:`save` does into a binary ``file`` that is open; the caller sees to its durability."""
    _write(file, *_laid_out(state, metadata, str(getattr(file, "name", "a file"))))


def _laid_out(
    state: Mapping[str, Any], metadata: Mapping[str, str] | None, where: str
) -> tuple[bytes, list[tuple[Any, np.dtype]]]:
    """The header's bytes, and the arrays in their order with the dtypes to store them in."""
    extra = _checked_metadata(metadata)

    arrays: dict[str, Any] = {}
    dtypes: dict[str, np.dtype] = {}
    tied: dict[str, str] = {}
    owners: dict[tuple[Any, ...], str] = {}
    for name, value in state.items():
        raw, dtype = _checked(name, value)
        owner = owners.setdefault(_identity(name, raw), name)
        if owner != name:
            tied[name] = owner
            continue
        arrays[name], dtypes[name] = raw, dtype
    if tied:
        extra[TIED_KEY] = json.dumps(tied, ensure_ascii=False, sort_keys=True)

    # Large items first keeps every array aligned; the names make the bytes a function of the content alone.
    order = sorted(arrays, key=lambda name: (-dtypes[name].itemsize, name))
    header: dict[str, Any] = {_METADATA: dict(sorted(extra.items()))} if extra else {}
    offset = 0
    for name in order:
        raw, dtype = arrays[name], dtypes[name]
        end = offset + raw.size * dtype.itemsize
        header[name] = {"dtype": _codes()[dtype], "shape": list(raw.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise SerializationError(f"the header of {where} would take {len(text)} bytes, the limit is {MAX_HEADER}")
    return text, [(arrays[name], dtypes[name]) for name in order]


def _write(file: BinaryIO, header: bytes, arrays: list[tuple[Any, np.dtype]]) -> None:
    file.write(len(header).to_bytes(8, "little"))
    file.write(header)
    for raw, dtype in arrays:
        # One array at a time: one on a device or with strides costs a copy of itself, never a copy of the state.
        host = np.asarray(backend.of(raw).to_numpy(raw))
        file.write(host.astype(dtype, order="C", copy=False).reshape(-1).view(np.uint8).data)


def _checked(name: object, value: Any) -> tuple[Any, np.dtype]:
    """The raw array and the dtype to store it in: its own, in little endian."""
    if not isinstance(name, str):
        raise SerializationError(f"names in a state are text, got {name!r} ({type(name).__name__})")
    if name == _METADATA:
        raise SerializationError(f"{_METADATA!r} is reserved by the format and cannot name an array")
    raw = value.data if isinstance(value, Tensor) else value
    if isinstance(raw, (bool, int, float, np.generic)):
        raw = np.asarray(raw)
    elif not backend.is_array(raw):
        hint = "flatten nested state into dotted names" if isinstance(raw, (Mapping, list, tuple)) else None
        raise SerializationError(f"{name!r} is no array but {type(value).__name__}", hint=hint)
    dtype = raw.dtype.newbyteorder("<") if raw.dtype.byteorder in "=>" else raw.dtype
    if dtype not in _codes():
        raise SerializationError(
            f"{name!r} has dtype {raw.dtype}, which safetensors cannot hold",
            hint="it holds bool, integers of 8 to 64 bits, float16/32/64, bfloat16, float8 and complex64",
        )
    return raw, dtype


def _identity(name: str, raw: Any) -> tuple[Any, ...]:
    """What two names must have in common to be one tied tensor: the same elements of the same memory."""
    if raw.size == 0:
        return (name,)
    if isinstance(raw, np.ndarray):
        address: Any = raw.__array_interface__["data"][0]
    else:
        address = getattr(raw, "__cuda_array_interface__", {"data": (id(raw),)})["data"][0]
    return type(raw), address, raw.shape, raw.strides, raw.dtype


def _checked_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    extra = dict(metadata or {})
    for key, value in extra.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise SerializationError(
                f"metadata is text to text, got {key!r}: {value!r}", hint="json.dumps(...) makes text of anything else"
            )
    if TIED_KEY in extra:
        raise SerializationError(f"the metadata entry {TIED_KEY!r} is written by save() itself")
    return extra


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that takes the name ``path`` when the block ends without an error, and leaves nothing if not.

    The bytes go to a temporary file in the same directory, are synced to the disk and renamed over ``path``; the
    directory is synced last. A symbolic link is followed, so the file that it points to is the one replaced.

    Raises:
        SerializationError: the file cannot be created or written.
    """
    target = os.path.realpath(path)
    folder, base = os.path.split(target)
    temporary = os.path.join(folder, f".{base}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        # Not tempfile: its files are readable by their owner alone, whatever the user's umask says.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        raise SerializationError(f"cannot write {os.fspath(path)}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise SerializationError(f"cannot write {os.fspath(path)}: {error.strerror or error}") from error
        raise
    sync_directory(folder)


def sync_directory(folder: str) -> None:
    """Make the renaming itself durable; systems that cannot open a directory have nothing to sync."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ------------------------------------------------------------------------------------------------------------ reading


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a safetensors file: names to writable NumPy arrays, tied names to one and the same array.

    Every claim of the header is checked against the file's size before anything is allocated, so a hostile file can
    cost no more memory than its own length.

    Raises:
        SerializationError: the file is missing, truncated or corrupt, or of another format (pickle, zip, HDF5, ...);
            the message names the file and the place.
    """
    with _opened(path) as (file, where):
        entries, metadata, start = _read_header(file, where)
        state: dict[str, np.ndarray] = {}
        for name, entry in entries.items():
            state[name] = _read_array(file, where, name, entry, start)
    for name, stored in _tied_names(metadata, entries, where).items():
        state[name] = state[stored]
    return state


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The text entries that :func:`save` was given, without reading an array. Raises as :func:`load` does."""
    with _opened(path) as (file, where):
        _, metadata, _ = _read_header(file, where)
    metadata.pop(TIED_KEY, None)
    return metadata


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, str]]:
    where = os.fspath(path)
    try:
        if not stat.S_ISREG(os.stat(where).st_mode):  # a pipe would block, a device would never end
            raise SerializationError(f"{where} is not a regular file")
        with open(where, "rb") as file:
            yield file, where
    except FileNotFoundError as error:
        raise SerializationError(f"there is no file {where}") from error
    except OSError as error:
        raise SerializationError(f"cannot read {where}: {error.strerror or error}") from error


def _read_header(file: BinaryIO, where: str) -> tuple[dict[str, _Entry], dict[str, str], int]:
    """Checked entries by name, the metadata, and the place of the first array's first byte."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(32)
    looks = _looks_like(head)
    if looks:
        raise SerializationError(
            f"{where} is not a safetensors file: it looks like {looks}",
            hint="LunarLearn reads and writes weights as .safetensors only and never unpickles anything",
        )
    if size < 8:
        raise SerializationError(f"{where} is truncated: {size} bytes, a safetensors file has at least 8")
    length = int.from_bytes(head[:8], "little")
    if length > MAX_HEADER or length > size - 8:
        raise SerializationError(
            f"{where} is corrupt or no safetensors file: bytes 0 to 7 announce a header of {length} bytes, "
            f"the file has {size - 8} more (limit {MAX_HEADER})"
        )
    file.seek(8)
    text = file.read(length)
    if len(text) != length:
        raise SerializationError(f"{where} is truncated: the header ends after {len(text)} of {length} bytes")
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique_names)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"{where}: the header (bytes 8 to {8 + length}) is no valid JSON: {error}") from error
    if not isinstance(header, dict):
        raise SerializationError(f"{where}: the header is a JSON {type(header).__name__}, expected an object")

    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise SerializationError(f"{where}: {_METADATA} in the header is not a map of text to text")
    entries = {name: _entry(spec, f"{where}: tensor {name!r}") for name, spec in header.items()}
    _check_cover(entries, where, size - 8 - length)
    return entries, metadata, 8 + length


def _looks_like(head: bytes) -> str | None:
    for magic, name in _MAGIC:
        if head.lower().startswith(magic.lower()):
            return name
    # Protocol 2 and later open with PROTO and the version; a safetensors header opens with a brace at byte 8.
    if len(head) > 2 and head[0] == 0x80 and head[1] in range(2, 6) and head[8:9] != b"{":
        return "a Python pickle"
    return None


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        double = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {double!r} appears twice")
    return table


def _entry(spec: Any, where: str) -> _Entry:
    if not isinstance(spec, dict) or not {"dtype", "shape", "data_offsets"} <= spec.keys():
        raise SerializationError(f"{where} lacks dtype, shape or data_offsets in the header")
    code, shape, offsets = spec["dtype"], spec["shape"], spec["data_offsets"]
    if not isinstance(code, str) or code not in _dtypes():
        raise SerializationError(f"{where} has dtype {_brief(code)}, expected one of {', '.join(_dtypes())}")
    if not isinstance(shape, list) or len(shape) > _MAX_NDIM or not all(_is_size(n) for n in shape):
        raise SerializationError(f"{where} has shape {_brief(shape)}, expected at most {_MAX_NDIM} sizes >= 0")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(n) for n in offsets):
        raise SerializationError(f"{where} has data_offsets {_brief(offsets)}, expected [begin, end]")
    dtype = _dtypes()[code]
    count = 1
    for n in shape:
        count *= n
    begin, end = offsets
    if end - begin != count * dtype.itemsize:
        raise SerializationError(
            f"{where} spans bytes {begin} to {end}, but shape {_brief(shape)} of {code} takes "
            f"{_brief(count * dtype.itemsize)}"
        )
    return _Entry(dtype, tuple(shape), begin, end)


def _is_size(n: Any) -> bool:
    return type(n) is int and 0 <= n < 2**63


def _brief(value: Any) -> str:
    """A value of the file for a message: a hostile one may be a megabyte long."""
    text = repr(value) if not isinstance(value, int) or value.bit_length() < 256 else "an absurdly large number"
    return text if len(text) <= 120 else text[:117] + "..."


def _check_cover(entries: Mapping[str, _Entry], where: str, available: int) -> None:
    """The arrays lie in the data one after the other: no overlap, no gap, nothing outside, nothing left over."""
    position, previous = 0, "the header"
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            fault = "overlaps" if entry.begin < position else "leaves a gap after"
            raise SerializationError(
                f"{where} is corrupt: tensor {name!r} at byte {entry.begin} of the data {fault} {previous}, "
                f"which ends at byte {position}"
            )
        if entry.end > available:
            raise SerializationError(
                f"{where} is truncated or corrupt: tensor {name!r} spans bytes {entry.begin} to {entry.end} of the "
                f"data, the file holds {available}"
            )
        position, previous = entry.end, f"tensor {name!r}"
    if position != available:
        raise SerializationError(
            f"{where} is corrupt: {available - position} bytes follow the last tensor, which ends at byte {position} "
            f"of the data"
        )


def _read_array(file: BinaryIO, where: str, name: str, entry: _Entry, start: int) -> np.ndarray:
    try:
        array = np.empty(entry.shape, entry.dtype)
    except (ValueError, MemoryError) as error:
        raise SerializationError(f"{where}: tensor {name!r} of shape {entry.shape} does not fit in memory") from error
    file.seek(start + entry.begin)
    view = array.reshape(-1).view(np.uint8)
    got = file.readinto(view.data) if view.size else 0  # type: ignore[attr-defined]
    if got != view.size:
        raise SerializationError(f"{where} is truncated: tensor {name!r} ends after {got} of {view.size} bytes")
    if entry.dtype == np.bool_ and view.size and view.max() > 1:
        raise SerializationError(f"{where}: tensor {name!r} is BOOL but holds bytes other than 0 and 1")
    return array


def _tied_names(metadata: Mapping[str, str], entries: Mapping[str, _Entry], where: str) -> dict[str, str]:
    if TIED_KEY not in metadata:
        return {}
    try:
        tied = json.loads(metadata[TIED_KEY])
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"{where}: the metadata entry {TIED_KEY!r} is no valid JSON: {error}") from error
    if not isinstance(tied, dict):
        raise SerializationError(f"{where}: the metadata entry {TIED_KEY!r} is not a map of names to names")
    for name, stored in tied.items():
        if name in entries or not isinstance(stored, str) or stored not in entries:
            raise SerializationError(f"{where}: {name!r} is said to be tied to {_brief(stored)}, which cannot be")
    return tied
