"""A directory that is there as a whole or not at all.

A checkpoint is written into a staging directory beside its place, each file synced to the disk, then a manifest with the
size and sha256 of each, then the directory is renamed and its parent synced. Whatever kills the process leaves the
checkpoints from before and at most a staging directory, which the next writer removes.

::

    manifest.json       canonical JSON: the files' sizes and digests, what the writer adds, and its own digest
    state.json          the state's plain part (lunar_core.statetree)
    *.safetensors       its arrays

Reading trusts nothing: the manifest has to be byte for byte what its content says, names are plain file names, sizes and
digests are checked before a file is parsed, and nothing is ever unpickled, imported or called.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lunar_core.errors import SerializationError
from lunar_core.serialize import sync_directory, write_arrays

MANIFEST = "manifest.json"
FORMAT = "lunar.checkpoint/1"

#: Longest manifest and longest JSON file that are read, in bytes.
MAX_MANIFEST = 16 << 20
MAX_JSON = 1 << 30

_STAGING = ".staging-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class _Digesting:
    """Writes to a file and takes the digest of what it wrote."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.hash = hashlib.sha256()
        self.size = 0
        self.name = getattr(file, "name", "")

    def write(self, data: Any) -> int:
        self.hash.update(data)
        self.file.write(data)
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        self.size += size
        return size


class Staging:
    """A directory that is being written; see :func:`transaction`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, dict[str, Any]] = {}
        self.digest = ""  # of the manifest, when it is written

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Any]:
        """A binary file to write to; it is synced when the block ends."""
        if not _NAME.fullmatch(name) or name == MANIFEST or name in self.files:
            raise SerializationError(f"a checkpoint cannot hold a file {name!r}")
        with open(self.path / name, "xb") as raw:
            digesting = _Digesting(raw)
            yield digesting
            raw.flush()
            os.fsync(raw.fileno())
        self.files[name] = {"size": digesting.size, "sha256": digesting.hash.hexdigest()}

    def arrays(self, name: str, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
        """Write ``arrays`` as a safetensors file."""
        with self.file(name) as file:
            write_arrays(file, arrays, metadata)

    def json(self, name: str, data: Any) -> None:
        """Write plain data as a JSON file."""
        with self.file(name) as file:
            file.write(_canonical(data))


@contextlib.contextmanager
def transaction(parent: Path, name: str, about: Mapping[str, Any]) -> Iterator[Staging]:
    """Write the directory ``parent / name`` as a whole.

    The block writes files into the :class:`Staging` that it gets; when it ends without an error, the directory takes its
    name. ``about`` is plain data that goes into the manifest beside ``files``, ``format`` and ``digest``. An error leaves
    nothing behind.

    Raises:
        SerializationError: the directory cannot be written, or the name is taken.
    """
    final = parent / name
    staging = parent / f"{_STAGING}{name}-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        if final.exists():
            raise SerializationError(f"{final} exists already")
        staging.mkdir()
        stage = Staging(staging)
        yield stage
        manifest = json.loads(_canonical({**about, "format": FORMAT, "files": stage.files}))
        stage.digest = manifest["digest"] = digest_of(manifest)
        with open(staging / MANIFEST, "xb") as file:
            file.write(_canonical(manifest))
            file.flush()
            os.fsync(file.fileno())
        sync_directory(str(staging))
        os.rename(staging, final)
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        if isinstance(error, OSError):
            raise SerializationError(
                f"cannot write the checkpoint {final}: {error.strerror or error}",
                hint="the checkpoints before it are whole",
            ) from error
        raise
    sync_directory(str(parent))


@contextlib.contextmanager
def locked(directory: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a directory; whether it was got, which it always is with ``wait`` or where there are no locks.

    The lock is the operating system's: it ends with the process, however that ends, and leaves no file.
    """
    try:
        import fcntl

        descriptor = os.open(directory, os.O_RDONLY)
    except (ImportError, OSError):
        yield True
        return
    try:
        got = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            got = False
        except OSError:  # a file system without locks
            pass
        yield got
    finally:
        os.close(descriptor)


def sweep(parent: Path) -> None:
    """Remove what a killed writer left in ``parent``; the caller holds its lock, so nobody is writing."""
    for entry in _entries(parent):
        if entry.startswith(_STAGING):
            shutil.rmtree(parent / entry, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a committed directory: first out of sight, so that half of it is never taken for one."""
    hidden = path.with_name(f"{_STAGING}{path.name}-removed-{os.urandom(4).hex()}")
    try:
        os.rename(path, hidden)
    except OSError:
        return
    shutil.rmtree(hidden, ignore_errors=True)


def committed(parent: Path) -> list[str]:
    """The names of the directories in ``parent`` that hold a manifest, sorted."""
    return sorted(n for n in _entries(parent) if not n.startswith(".") and (parent / n / MANIFEST).is_file())


def _entries(parent: Path) -> list[str]:
    try:
        return os.listdir(parent)
    except OSError:
        return []


# ------------------------------------------------------------------------------------------------------------ reading


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a committed directory, checked by itself; the files are not read.

    Raises SerializationError that names the file and what is wrong with it.
    """
    where = path / MANIFEST
    text = _read(where, MAX_MANIFEST)
    manifest = parse_json(text, where)
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(manifest, dict) or not isinstance(files, dict) or not isinstance(manifest.get("digest"), str):
        raise SerializationError(f"{where} is corrupt: it is not a manifest")
    try:
        whole = _canonical(manifest) == text and manifest["digest"] == digest_of(manifest)
    except (ValueError, RecursionError):  # a number or a text that cannot be written
        whole = False
    if not whole:
        raise SerializationError(f"{where} is corrupt: its digest is another")
    if manifest.get("format") != FORMAT:
        raise SerializationError(
            f"{where} is of format {str(manifest.get('format'))[:40]!r}, this version reads {FORMAT!r}"
        )
    for name, entry in files.items():
        if not _NAME.fullmatch(name) or name == MANIFEST:
            raise SerializationError(f"{where} is corrupt: it names the file {name[:100]!r}")
        size = entry.get("size") if isinstance(entry, dict) else None
        digest = entry.get("sha256") if isinstance(entry, dict) else None
        if type(size) is not int or size < 0 or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise SerializationError(f"{where} is corrupt: the entry of {name} has no size and sha256")
    return manifest


def verify(path: Path) -> dict[str, Any]:
    """The manifest of a committed directory after every file was compared with it.

    Raises SerializationError for a file that is missing, of another size or content, or not a plain file.
    """
    manifest = read_manifest(path)
    for name, entry in manifest["files"].items():
        with _plain_file(path / name) as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry["size"]:
                raise SerializationError(f"{path / name} is corrupt: {size} bytes, the manifest says {entry['size']}")
            if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                raise SerializationError(f"{path / name} is corrupt: its sha256 is not that of the manifest")
    return manifest


def read_json(path: Path) -> Any:
    """The content of a JSON file, which may be no longer than ``MAX_JSON`` bytes."""
    return parse_json(_read(path, MAX_JSON), path)


def parse_json(text: bytes, where: Any) -> Any:
    """``text`` as JSON; SerializationError for what is none, and for NaN and infinities, which are not JSON."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text.decode(), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"{where} is not valid JSON: {str(error)[:200]}") from error


def digest_of(manifest: Mapping[str, Any]) -> str:
    """sha256 of a manifest without its ``"digest"``, in hex."""
    return hashlib.sha256(_canonical({k: v for k, v in manifest.items() if k != "digest"})).hexdigest()


def _canonical(data: Any) -> bytes:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def _read(path: Path, limit: int) -> bytes:
    with _plain_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise SerializationError(f"{path} has {size} bytes, more than the {limit} that are read")
        return file.read(size + 1)


@contextlib.contextmanager
def _plain_file(path: Path) -> Iterator[BinaryIO]:
    """``path`` open for reading, if it is a regular file and no link."""
    try:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = os.fdopen(os.open(path, flags), "rb")
    except FileNotFoundError:
        raise SerializationError(f"{path} is missing") from None
    except OSError as error:
        raise SerializationError(f"cannot read {path}: {error.strerror or error}") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise SerializationError(f"{path} is not a regular file")
        try:
            yield file
        except OSError as error:
            raise SerializationError(f"cannot read {path}: {error.strerror or error}") from error
