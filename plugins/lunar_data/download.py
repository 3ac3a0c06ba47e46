"""Published files, fetched once: mirrors in turn, resumed where they stopped, checked by SHA-256, put in place whole."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from lunar_core.errors import DataError

Progress = Callable[[str, int, int], None]
"""Told (file name, bytes so far, bytes in all) while a file comes in."""

PATIENCE = 30.0
"""Seconds in which a mirror has to send something, and at least ``LEAST`` bytes, before the next one is tried."""
LEAST = 4096
_BLOCK = 1 << 16


@attrs.frozen
class RemoteFile:
    """One published file: what it is called in the cache, how long it is, its checksum and where it can be had."""

    name: str
    size: int  # bytes
    sha256: str
    mirrors: tuple[str, ...]


def cache_root() -> Path:
    """Where downloads are kept: ``$LUNAR_DATA``, else ``lunarlearn/data`` in the user's cache folder."""
    given = os.environ.get("LUNAR_DATA")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "lunarlearn" / "data"


def fetch(
    file: RemoteFile,
    folder: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    patience: float | None = None,
) -> Path:
    """The path of ``file`` in ``folder``, downloaded if it is not there yet.

    It is written beside its place as ``name.part``, checked against size and SHA-256, synced and renamed, so what has
    the name is whole. An interrupted download goes on where it stopped, from the next mirror if need be. A mirror that
    sends nothing, or fewer than 4 KiB, for ``patience`` seconds (30) is given up, and no more than ``file.size`` bytes
    are ever taken. Processes that want the same file at once take turns. With ``LUNAR_OFFLINE`` set to anything but 0,
    nothing is downloaded.

    Raises:
        DataError: the file cannot be had; the message says which file to put where, and why each mirror failed.
    """
    patience = PATIENCE if patience is None else patience
    target = Path(folder) / file.name
    if target.is_file() and target.stat().st_size == file.size:
        return target
    if target.exists():
        got = target.stat().st_size
        raise DataError(
            f"{target}: {got} bytes where {file.name} has {file.size}: it is not the published file",
            hint="remove it, and it will be downloaded again",
        )
    if os.environ.get("LUNAR_OFFLINE", "0") not in ("", "0"):
        raise _missing(file, target, ["LUNAR_OFFLINE is set"])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _turn(target.with_name(target.name + ".lock")):
            if not target.exists():  # another process may have fetched it meanwhile
                _from_mirrors(file, target, progress, patience)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _from_mirrors(file: RemoteFile, target: Path, progress: Progress | None, patience: float) -> None:
    part = target.with_name(target.name + ".part")
    failures = []
    for mirror in file.mirrors:
        # A part that turns out wrong may be another mirror's fault: then the same mirror is asked for all of it.
        for _ in range(2):
            resumed = part.exists() and part.stat().st_size > 0
            try:
                _download(mirror, file, part, progress, patience)
                _check(part, file)
            except _Corrupt as error:
                part.unlink(missing_ok=True)
                failures.append(f"{mirror}: {error}")
                if resumed:
                    continue
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, _Broken, ConnectionError) as error:
                failures.append(f"{mirror}: {getattr(error, 'reason', None) or error or type(error).__name__}")
            else:
                os.replace(part, target)
                return
            break
    raise _missing(file, target, failures)


class _Broken(Exception):
    """A mirror's answer that cannot be used."""


class _Corrupt(_Broken):
    """Bytes that are not those of the published file."""


def _download(mirror: str, file: RemoteFile, part: Path, progress: Progress | None, patience: float) -> None:
    if urllib.parse.urlsplit(mirror).scheme not in ("http", "https"):
        raise _Broken("only http and https addresses are fetched")
    have = part.stat().st_size if part.exists() else 0
    if have > file.size:
        part.unlink()
        have = 0
    if have == file.size:
        return
    request = urllib.request.Request(mirror, headers={"User-Agent": "lunarlearn", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=patience) as response:
        resumed = have > 0 and response.status == 206
        if resumed and not str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-"):
            raise _Broken(f"answered with another range than bytes {have}-")
        have = have if resumed else 0
        announced = response.headers.get("Content-Length")
        if announced is not None and announced.isdigit() and have + int(announced) != file.size:
            raise _Corrupt(f"offers {have + int(announced)} bytes, the file has {file.size}")
        with open(part, "ab" if resumed else "wb") as out:
            _copy(response, out, have, file, progress, patience)
            out.flush()
            os.fsync(out.fileno())


def _copy(source: Any, out: Any, have: int, file: RemoteFile, progress: Progress | None, patience: float) -> None:
    since, then = time.monotonic(), have
    if progress is not None:
        progress(file.name, have, file.size)
    while have < file.size:
        block = source.read1(min(_BLOCK, file.size - have))
        if not block:
            raise _Broken(f"ended after {have} of {file.size} bytes")
        out.write(block)
        have += len(block)
        if progress is not None:
            progress(file.name, have, file.size)
        now = time.monotonic()
        if now - since > patience:
            if have - then < LEAST and have < file.size:
                raise _Broken(f"sent {have - then} bytes in {now - since:.0f} s: too slow")
            since, then = now, have


def _check(part: Path, file: RemoteFile) -> None:
    digest = hashlib.sha256()
    with open(part, "rb") as data:
        while block := data.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != file.sha256:
        raise _Corrupt(f"SHA-256 is {digest.hexdigest()}, expected {file.sha256}")


def _missing(file: RemoteFile, target: Path, reasons: list[str]) -> DataError:
    listed = "".join(f"\n  {reason}" for reason in reasons)
    return DataError(
        f"{file.name} is not here and cannot be downloaded:{listed}",
        hint=f"put it ({file.size} bytes, SHA-256 {file.sha256[:16]}...) at {target}; it is published at "
        f"{file.mirrors[0] if file.mirrors else 'no known address'}",
    )


@contextlib.contextmanager
def _turn(lock: Path) -> Iterator[None]:
    """One process at a time; on systems without file locks, every process for itself."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def show_progress(name: str, have: int, size: int) -> None:
    """A line on standard error that counts up to 100 %; what ``lunar data download`` shows."""
    end = "\n" if have == size else ""
    sys.stderr.write(f"\r{name}: {have / 1e6:.1f} of {size / 1e6:.1f} MB ({100 * have // max(size, 1)} %){end}")
    sys.stderr.flush()
