"""Opening and reading files that somebody else wrote: every fault is one DataError that names file and place."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import os
import stat
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from lunar_core.contracts.dataset import ExampleDataset as ExampleDataset
from lunar_core.errors import DataError, PluginLoadError

CHUNK = 1 << 20
DEFLATE_LIMIT = 1032  # deflate cannot expand one byte to more than this


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, str]]:
    """The file and its name, unpacked when its first bytes say gzip, whatever its name says."""
    where = os.fspath(path)
    try:
        if not stat.S_ISREG(os.stat(where).st_mode):
            raise DataError(f"{where} is not a regular file")
        with open(where, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not packed:
                yield raw, where
                return
            with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
                yield cast(BinaryIO, unpacked), where
    except FileNotFoundError as error:
        raise DataError(f"there is no file {where}") from error
    except EOFError as error:
        raise DataError(f"{where}: truncated: the compressed data ends at byte {os.path.getsize(where)}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{where}: corrupt gzip data: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {where}: {error.strerror or error}") from error


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """All of a file, unpacked; DataError when that is more than ``limit`` bytes."""
    with opened(path) as (file, where):
        parts, total = [], 0
        while piece := file.read(min(CHUNK, limit + 1 - total)):
            parts.append(piece)
            total += len(piece)
            if total > limit:
                raise DataError(f"{where}: holds more than {limit} bytes, the most that is read of such a file")
        return b"".join(parts)


def text_lines(path: str | os.PathLike[str], longest: int = 1 << 24) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line of a UTF-8 file, without its end; at most ``longest`` bytes a line.

    Lines end at a line feed, with or without a carriage return before it; a byte order mark is dropped.
    """
    with opened(path) as (file, where):
        number = 0
        while raw := file.readline(longest + 1):
            number += 1
            if len(raw) > longest:
                raise DataError(f"{where}, line {number}: longer than {longest} bytes")
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{where}, line {number}, byte {error.start}: not UTF-8") from error
            yield number, text.removesuffix("\n").removesuffix("\r")


def need(module: str, extra: str, what: str) -> Any:
    """Import an optional package, or say how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PluginLoadError(
            f"{what} needs the package {module.split('.')[0]!r}, which is not installed",
            hint=f'pip install "lunarlearn[{extra}]"',
        ) from error
