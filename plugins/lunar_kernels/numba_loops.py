"""The kernel provider ``numba``: fused functions compiled to machine code on the CPU.

Every function under ``lunar_core.fused``, and so every elementwise optimizer whoever wrote it, becomes one loop that reads and
writes each array once. Numba takes a second for the first compilation, so nothing waits for it: the NumPy reference runs
until a function has used :data:`PATIENCE` seconds, then it is compiled in a thread of its own. The machine code is kept on
disk (``$LUNAR_CACHE_DIR``, or ``lunarlearn`` in the user's cache folder), where the next process finds it after :data:`SHORT`.

Functions with transcendental steps (exp, tanh, ...) are left to NumPy, whose vectorised ones are faster than the C library's
that Numba calls, and those on half precision too, which Numba does not have on a CPU.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import stat
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lunar_core.fusion import FusedError, Program

PATIENCE = 0.5
"""Seconds that a function has run by NumPy before it is worth compiling."""
SHORT = 0.05
"""The same where the machine code lies on disk: what is left to pay is the import of Numba."""

_STEPS = frozenset(
    "add subtract multiply divide negative positive absolute square sqrt reciprocal maximum minimum fmax fmin sign power where "
    "copy greater greater_equal less less_equal equal not_equal logical_and logical_or logical_not bitwise_and bitwise_or "
    "bitwise_xor isnan isfinite isinf copysign".split()
)
_DTYPES = frozenset("?bhilqfd")
_WHOLE_POWERS = frozenset((0.5, 1, 2, 3, 4))


class NumbaLoops:
    """Provider of group ``lunar.kernels``; :data:`provider` is the one that the entry point names."""

    name = "numba"
    priority = 40

    def __init__(self) -> None:
        self._lock = threading.Lock()  # Numba compiles one function at a time anyway
        self._failed = ""

    @property
    def reason(self) -> str:
        """Why it has nothing to offer; an empty string if it has."""
        if self._failed:
            return self._failed
        if importlib.util.find_spec("numba") is None:
            return "Numba is not installed: pip install 'lunarlearn[numba]'"
        return ""

    def kernel(self, op: str, array_type: type) -> None:
        """No op: only fused functions."""

    def fused(self, program: Program) -> None:
        """Compile ``program`` once it has run for a while; it goes into use when it is ready."""
        if self.reason or not suits(program):
            return
        try:
            source = program.loop_source()
        except FusedError:  # a ufunc of the function's own
            return
        path = cached_file(source, program)
        known = path is not None and any(path.parent.glob(f"__pycache__/{path.stem}.*.nbi"))

        def start() -> None:
            threading.Thread(
                target=self._compile, args=(program, source, path), name=f"lunar-numba-{program.name}", daemon=True
            ).start()

        program.after(SHORT if known else PATIENCE, start)

    def compile_now(self, program: Program) -> Callable[..., None]:
        """The machine code of ``program``, at once: for tests and measurements."""
        source = program.loop_source()
        return self._build(source, cached_file(source, program), program)

    def _compile(self, program: Program, source: str, path: Path | None) -> None:
        try:
            with self._lock:
                try:
                    kernel = self._build(source, path, program)
                except Exception:
                    if path is None:
                        raise
                    kernel = self._build(source, None, program)  # what lies in the cache may be damaged
            program.use(kernel)
        except ImportError as error:
            self._failed = f"Numba cannot be imported: {error}"
            warnings.warn(f"kernel provider numba is off: {self._failed}", RuntimeWarning, stacklevel=2)
        except (
            Exception
        ) as error:  # what Numba cannot do with this rule, the reference can; other rules are not affected
            warnings.warn(
                f"kernel provider numba: {program.name} stays with NumPy, compiling it failed: {error!r}",
                RuntimeWarning,
                stacklevel=2,
            )

    def _build(self, source: str, path: Path | None, program: Program) -> Callable[..., None]:
        import numba

        if path is None:
            namespace: dict[str, Any] = {"np": np}
            exec(compile(source, f"<loop {program.name}>", "exec"), namespace)
        else:
            spec = importlib.util.spec_from_file_location(f"lunar_fused_{path.stem}", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # Numba looks the function's home up when it writes its cache
            spec.loader.exec_module(module)
            namespace = vars(module)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = numba.njit(nogil=True, error_model="numpy", cache=path is not None)(namespace["kernel"])
            arrays = [numba.from_dtype(slot.dtype)[::1] for slot in program.arguments]
            numbers = [_number(numba, c.node.kind) for c in program.constants]
            compiled.compile((numba.int64, numba.int64, *arrays, *numbers))
        compiled.disable_compile()
        return compiled  # type: ignore[no-any-return]


def _number(numba: Any, kind: str) -> Any:
    """The type of a number that is handed over: what Python has for a float, an int and a bool."""
    return {"f": numba.float64, "i": numba.int64}.get(kind, numba.boolean)


def suits(program: Program) -> bool:
    """Whether a loop of machine code is faster than NumPy's calls over chunks, and Numba knows the types."""
    if program.array_type is not np.ndarray:
        return False
    dtypes = [slot.dtype for slot in program.arguments] + [step.out.dtype for step in program.steps]
    if any(d.char not in _DTYPES or not d.isnative for d in dtypes):
        return False
    literals = {c: c.node.value for c in program.literals}
    for step in program.steps:
        if step.op not in _STEPS:
            return False
        if step.op == "power" and literals.get(step.args[1]) not in _WHOLE_POWERS:  # type: ignore[arg-type]
            return False
    return True


# -- the cache ---------------------------------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """Where the loops and their machine code lie; ``None`` where there is no folder that is ours alone.

    What lies there is run, so a folder that belongs to someone else or that others may write to is not used.
    """
    base = os.environ.get("LUNAR_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "lunarlearn"
    )
    folder = Path(base) / "fused"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return None
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        return None
    return folder


def cached_file(source: str, program: Program) -> Path | None:
    """The file that holds the loop ``source``, written if it is not there; ``None`` without a cache."""
    folder = cache_folder()
    if folder is None:
        return None
    text = f"import numpy as np\n\n\n{source}"
    types = "".join(slot.dtype.char for slot in program.arguments) + "".join(c.node.kind for c in program.constants)
    key = hashlib.sha256(f"{text}{types}{sys.version_info[:2]}".encode()).hexdigest()[:24]
    path = folder / f"loop_{key}.py"
    try:
        if not path.exists() or path.read_text() != text:
            scratch = path.with_suffix(f".{os.getpid()}.tmp")
            scratch.write_text(text)
            scratch.replace(path)
    except OSError:
        return None
    return path


provider = NumbaLoops()
"""What the entry point names."""
