"""Where oneDNN's shared library is, and loading it: when the first kernel runs, not before.

The library comes with the package ``onednn-cpu-gomp`` (Linux on x86-64), which ``LUNAR_DNNL_LIBRARY`` may replace by the
path of another build of version 3.2 or later. Nothing here raises for a machine without it: the reason is kept.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from pathlib import Path

import numpy as np

from . import memory, threads
from .dnnl import API, RUNTIME_OMP, RUNTIME_SEQUENTIAL

DISTRIBUTION = "onednn-cpu-gomp"
VARIABLE = "LUNAR_DNNL_LIBRARY"
NAME = "libdnnl.so.3"
NEEDED = (3, 2)

DATA_OFFSET = object.__basicsize__
"""Where an ndarray object keeps the address of its data: the first field after the object's header (``ndarraytypes.h``).
Reading it there takes a tenth of the time of ``array.ctypes.data``; loading checks that it is right."""


class Library:
    """The library as far as this process knows it.

    ``reason`` says why it cannot be used; it is empty while nothing speaks against it. ``api`` is the loaded library.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Forget what was found, so that the next use looks again."""
        self._path: Path | None = None
        self._looked = False
        self.api: API | None = None
        self.reason = ""

    def path(self) -> Path | None:
        """The file, found without loading it; ``None`` with a ``reason`` where there is none."""
        with self._lock:
            if not self._looked:
                self._looked = True
                self._path, self.reason = find()
            return self._path

    def load(self) -> API | None:
        """The loaded library; ``None`` with a ``reason`` where that fails. The first call takes about 20 ms."""
        if self.api is None and not self.reason:
            with self._lock:
                path = self.path()
                if path is not None and self.api is None and not self.reason:
                    try:
                        self.api = _open(path)
                    except (OSError, AttributeError, _Unfit) as error:
                        self.reason = _explain(path, error)
        return self.api


class _Unfit(Exception):
    """A library that loads but cannot serve."""


def find() -> tuple[Path | None, str]:
    """The path of the library and an empty string, or ``None`` and what was missing."""
    wanted = os.environ.get(VARIABLE)
    if wanted:
        path = Path(wanted)
        return (path, "") if path.is_file() else (None, f"{VARIABLE} names {wanted!r}, which is no file")
    if not sys.platform.startswith("linux"):
        return None, f"{DISTRIBUTION} exists for Linux on x86-64 only"
    path = _of_distribution() or Path(sys.prefix, "lib", NAME)
    if path.is_file():
        return path, ""
    return None, f"{DISTRIBUTION} is not installed: pip install {DISTRIBUTION}"


def _of_distribution() -> Path | None:
    """The file of the installed package; it lies outside of site-packages, in ``lib`` of the environment."""
    from importlib import metadata

    try:
        files = metadata.files(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
    for file in files or ():
        if file.name == NAME:
            return Path(str(file.locate())).resolve()
    return None


def _open(path: Path) -> API:
    with threads.quiet_workers():
        shared = ctypes.CDLL(str(path))
    api = API(shared)
    version = api.version
    if (version.major, version.minor) < NEEDED or version.major != NEEDED[0]:
        raise _Unfit(f"it is version {version.major}.{version.minor}, needed is 3.2 or a later 3.x")
    if version.cpu_runtime not in (RUNTIME_OMP, RUNTIME_SEQUENTIAL):
        raise _Unfit("it is not built for OpenMP, whose threads can be counted and controlled")
    probe = np.empty(3, np.float32)
    if ctypes.c_size_t.from_address(id(probe) + DATA_OFFSET).value != probe.ctypes.data:
        raise _Unfit("this interpreter lays out NumPy arrays in another way than CPython")
    threads.attach(shared)
    memory.keep()
    return api


def _explain(path: Path, error: Exception) -> str:
    text = str(error)
    if "libgomp" in text:
        return f"{text}; the system's package of GCC's OpenMP is missing (Debian and Ubuntu: apt install libgomp1)"
    if isinstance(error, AttributeError):
        text = f"it lacks a function: {text}"
    return text if str(path) in text else f"{path}: {text}"


library = Library()
"""The one that the kernels use."""
