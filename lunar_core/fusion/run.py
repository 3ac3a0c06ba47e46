"""Run a fused program on NumPy arrays: chunks, scratch memory that is made once per thread, and worker threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from ..dtypes import is_floating
from ..threads import get_num_threads, on_change
from .program import Constant, Program, Slot
from .source import compile_source, kernel_source
from .trace import FusedError

# Measured on an x86-64 core with 1 MiB of L2, AdamW in float32: 16 KiB chunks are 1.6x slower (NumPy's call overhead),
# 512 KiB as fast on one thread. Workers that share the interpreter lock profit from fewer, longer calls.
CHUNK_BYTES = 128 * 1024
THREADED_CHUNK_BYTES = 256 * 1024
#: Elements per thread below which another thread does not pay.
PER_THREAD = 1 << 18
_LARGEST = THREADED_CHUNK_BYTES // 4  # elements of a chunk at most
_LINE = 16  # chunks are a multiple of this many elements, so that they start at cache lines


def empty_aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """An uninitialised vector that starts at a cache line."""
    raw = np.empty(size + 64 // dtype.itemsize, dtype)
    start = -raw.ctypes.data % 64 // dtype.itemsize
    return raw[start : start + size]


class _Workspace(threading.local):
    """Scratch chunks and cells for constants of this thread, by dtype; they are made once and used by every kernel."""

    def __init__(self) -> None:
        self.chunks: dict[np.dtype, list[np.ndarray]] = {}
        self.cells: dict[tuple[np.dtype, int], tuple[np.ndarray, tuple[np.ndarray, ...]]] = {}
        self.scratch: dict[tuple[np.dtype, ...], tuple[np.ndarray, ...]] = {}

    def scratch_for(self, dtypes: tuple[np.dtype, ...]) -> tuple[np.ndarray, ...]:
        """One chunk for each of ``dtypes``."""
        result = self.scratch.get(dtypes)
        if result is None:
            for dtype in set(dtypes):
                own = self.chunks.setdefault(dtype, [])
                while len(own) < dtypes.count(dtype):
                    own.append(empty_aligned(_LARGEST, dtype))
            order = {dtype: iter(self.chunks[dtype]) for dtype in dtypes}
            result = self.scratch[dtypes] = tuple(next(order[dtype]) for dtype in dtypes)
        return result

    def cells_for(self, dtype: np.dtype, count: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """A vector of ``count`` numbers and a 0-d view of each."""
        result = self.cells.get((dtype, count))
        if result is None:
            vector = empty_aligned(count, dtype)
            result = self.cells[dtype, count] = vector, tuple(vector[i : i + 1].reshape(()) for i in range(count))
        return result


_workspace = _Workspace()


class Runner:
    """The reference kernel of a program, or the compiled one that a provider put in its place.

    ``runner(size, arrays, constants)`` runs over one-dimensional contiguous arrays of ``size`` elements, in the order
    of ``program.arguments``; ``constants`` are Python numbers in the order of ``program.constants``.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.source, names = kernel_source(program)
        self.kernel = compile_source(self.source, "kernel", names)
        #: A compiler's kernel: ``compiled(start, stop, *arrays, *constants)``; parts of one call may run in several threads.
        self.compiled: Callable[..., None] | None = None
        self._watch: tuple[float, Callable[[], None]] | None = None
        self._dtypes = tuple(slot.dtype for slot in program.scratch)
        self._widest = max([4, *[slot.dtype.itemsize for slot in (*program.arguments, *program.scratch)]])
        # Constants of the commonest floating dtype go in as 0-d arrays.
        floats = [c.dtype for c in program.constants if is_floating(c.dtype)]
        self._cell_dtype = max(set(floats), key=floats.count) if floats else None
        self._in_cells = [c.dtype == self._cell_dtype for c in program.constants]
        self._cells = sum(self._in_cells)

    def __call__(self, size: int, arrays: Sequence[np.ndarray], constants: Sequence[Any]) -> None:
        if self._watch is None:
            self._run(size, arrays, constants)
            return
        begin = time.perf_counter()
        self._run(size, arrays, constants)
        left, callback = self._watch
        left -= time.perf_counter() - begin
        if left > 0:
            self._watch = left, callback
        else:
            self._watch = None
            callback()

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call ``callback()`` once this program has run for so long in all."""
        self._watch = seconds, callback

    def _run(self, size: int, arrays: Sequence[np.ndarray], constants: Sequence[Any]) -> None:
        threads = size // PER_THREAD
        if threads > 1:
            threads = min(threads, get_num_threads())
        if threads > 1:
            self._threaded(threads, size, arrays, constants)
        elif self.compiled is not None:
            self.compiled(0, size, *arrays, *constants)
        else:
            self.run(0, size, CHUNK_BYTES, arrays, constants)

    def run(
        self, start: int, stop: int, chunk_bytes: int, arrays: Sequence[np.ndarray], constants: Sequence[Any]
    ) -> None:
        """Run the reference over ``start`` to ``stop`` in this thread."""
        size = stop - start
        chunk = chunk_bytes // self._widest
        if size > chunk:  # even chunks, so that none is a short rest
            chunk = -(-size // -(-size // chunk))
            chunk += -chunk % _LINE
        else:
            chunk = size or 1
        scratch = _workspace.scratch_for(self._dtypes)
        if self._cells:
            vector, cells = _workspace.cells_for(self._cell_dtype, self._cells)  # type: ignore[arg-type]
            if self._cells == len(constants):
                vector[:] = constants
                constants = cells
            else:
                vector[:] = [c for c, inside in zip(constants, self._in_cells) if inside]
                rest = iter(cells)
                constants = [next(rest) if inside else c for c, inside in zip(constants, self._in_cells)]
        self.kernel(start, stop, chunk, *arrays, *scratch, *constants)

    def _threaded(self, threads: int, size: int, arrays: Sequence[np.ndarray], constants: Sequence[Any]) -> None:
        share = -(-size // threads)
        share += -share % _LINE
        compiled = self.compiled

        def part(start: int) -> None:
            stop = min(start + share, size)
            if compiled is not None:
                compiled(start, stop, *arrays, *constants)
                return
            with np.errstate(all="ignore"):
                self.run(start, stop, THREADED_CHUNK_BYTES, arrays, constants)

        others = [_workers.submit(part, start) for start in range(share, size, share)]
        try:
            part(0)
        finally:  # nobody may touch the arrays after this call returns
            errors = [error for other in others if (error := other.exception()) is not None]
        if errors:
            raise errors[0]


def interpret(program: Program, xp: Any, arrays: Mapping[str, Any], constants: Sequence[Any]) -> dict[Slot, Any]:
    """What the program computes for each of its results, by the array library ``xp``, one whole array at a time.

    ``arrays`` are the inputs by parameter; they may broadcast, and nothing is written. A result that does not depend on
    an array is a number.
    """
    known: dict[Any, Any] = {value: arrays[name] for name, value in program.inputs.items()}
    known.update(zip(program.constants, constants))
    known.update((c, c.node.value) for c in program.literals)
    for step in program.steps:
        args = [known[a] for a in step.args]
        if step.op == "copy":
            result = args[0].astype(step.out.dtype)
        elif step.op == "where":
            result = xp.where(*args) if hasattr(args[0], "dtype") else args[1] if args[0] else args[2]
        elif xp is np:
            result = step.func(*args)
        elif getattr(np, step.op, None) is step.func and hasattr(xp, step.op):
            result = getattr(xp, step.op)(*args)
        else:
            raise FusedError(f"{program.name}: {xp.__name__} has no function {step.op}")
        if not hasattr(result, "shape"):  # a number chosen by a number
            result = xp.full(np.broadcast_shapes(*[a.shape for a in arrays.values()]), result, step.out.dtype)
        known[step.out] = result if result.dtype == step.out.dtype else result.astype(step.out.dtype)
    results = {slot: known[slot.result] for slot in program.result_slots()}
    results = {slot: x if x.dtype == slot.dtype else x.astype(slot.dtype) for slot, x in results.items()}
    return results | {slot: known[x] for slot, x in program.moves if isinstance(x, Constant)}


class _Workers:
    """A pool of threads that is started when first needed, and again in a forked child."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._owner = 0

    def submit(self, function: Callable[..., None], *args: Any) -> Future[None]:
        if self._pool is None or self._owner != os.getpid():
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(max(1, get_num_threads() - 1), thread_name_prefix="lunar-fused")
            self._owner = os.getpid()
        return self._pool.submit(function, *args)

    def resize(self, count: int) -> None:
        """Start anew with the next piece of work, for ``count`` threads."""
        if self._pool is not None and self._owner == os.getpid():
            self._pool.shutdown()
        self._pool = None


_workers = _Workers()

on_change(_workers.resize)
