"""Processes that make batches: started once, used for every epoch, ended with their loader."""

from __future__ import annotations

import contextlib
import io
import mmap
import multiprocessing
import os
import pickle
import random
import signal
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from multiprocessing import connection
from typing import Any

import numpy as np

from lunar_core import random as lunar_random
from lunar_core.errors import DataError
from lunar_core.modes import modes
from lunar_core.random import Stream
from lunar_core.threads import set_num_threads

from .errors import ExampleError, WorkerError
from .fetch import Fetcher, Task, failed
from .shared import Arena, Handle, Slot

CLOSED = -1
"""The number of the pass that a closed pool serves: none."""

_TRACE_LIMIT = 16_000  # characters; an answer must fit into the pipe's buffer, or both sides could wait for each other
_GRACE_S = 1.0  # for a worker to end by itself, then by SIGTERM
_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_starting = threading.Lock()


class Pool:
    """The workers of one loader.

    Batch b is made by worker b mod n, and answers come in order from each, so batches do too. Each worker has
    ``prefetch`` tasks ahead of it and two slots more than that: one is being read while the batch before it is in use.
    """

    def __init__(self, fetcher: Fetcher, workers: int, prefetch: int, method: str, timeout: float | None) -> None:
        self.prefetch, self.timeout, self.pid = prefetch, timeout, os.getpid()
        self.generation = 0
        self._members: list[_Member] = []
        context = multiprocessing.get_context(method)
        load: Any = fetcher if method == "fork" else _packed(fetcher, method)
        settings = {"dtype": modes.dtype, "path": sys.path}
        _pools.add(self)
        try:
            with _starting:
                for number in range(workers):
                    member = _Member(number, prefetch + 2)
                    self._members.append(member)
                    member.start(context, load, settings)
        except BaseException:
            self.close()
            raise

    def begin(self) -> int:
        """A pass begins: answers to earlier tasks are of no interest. Its number."""
        self.generation += 1
        for member in self._members:
            member.outstanding = 0
        return self.generation

    def offer(self, task: Task) -> bool:
        """Give ``task`` to its worker, if that has less than ``prefetch`` to do; whether it was given."""
        member = self._members[task.number % len(self._members)]
        if member.outstanding >= self.prefetch:
            return False
        while not member.free and member.tasks and member.tasks[0][0] != self.generation:  # an epoch that was left
            self._receive(member, task)
            member.free.append(member.tasks.popleft()[1])
        if not member.free:  # then it has something to do: `read` sees to it
            return False
        slot = member.free.popleft()
        member.outstanding += 1
        member.tasks.append((self.generation, slot, task))
        try:
            member.pipe.send((slot, task))
        except (BrokenPipeError, ConnectionResetError):
            raise self._dead(member, task) from None
        return True

    def result(self, task: Task) -> Any:
        """The batch of ``task``, which was offered before; None where a stream is over."""
        member = self._members[task.number % len(self._members)]
        while True:
            answer = self._receive(member, task)
            generation, slot, answered = member.tasks.popleft()
            if generation != self.generation:
                member.free.append(slot)
                continue
            member.outstanding -= 1
            if answer[0] == "batch":
                return member.read(slot, *answer[1:])
            member.free.append(slot)
            if answer[0] == "end":
                return None
            raise _revived(answer[1], answered, member.process.pid)

    def ready(self, task: Task | None) -> bool:
        """Whether the batch of ``task`` need not be waited for."""
        if task is None:
            return False
        member = self._members[task.number % len(self._members)]
        return bool(member.tasks) and member.tasks[0][2] is task and member.pipe.poll()

    def _receive(self, member: _Member, task: Task) -> Any:
        try:
            ready = connection.wait([member.pipe, member.process.sentinel], self.timeout)
            if not ready:
                raise WorkerError(
                    f"worker {member.number} (process {member.process.pid}) gave no answer for batch {task.number} of epoch "
                    f"{task.epoch} within timeout={self.timeout} s"
                )
            if member.pipe in ready or member.pipe.poll():  # an answer may have come before the end
                return member.pipe.recv()
        except (EOFError, ConnectionResetError):
            pass
        raise self._dead(member, task)

    def _dead(self, member: _Member, task: Task) -> WorkerError:
        member.process.join(_GRACE_S)
        code = member.process.exitcode
        how = f"ended with exit code {code}"
        hint = None
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                how = f"was killed by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                hint = "the system kills by SIGKILL when memory runs out: fewer workers or a smaller prefetch need less"
        ids = (
            "" if task.ids is None else f", examples {', '.join(map(str, task.ids[:4]))}{', ...' * (len(task.ids) > 4)}"
        )
        return WorkerError(
            f"worker {member.number} (process {member.process.pid}) {how} while batch {task.number} of epoch {task.epoch} "
            f"was due{ids}",
            hint=hint,
        )

    def close(self) -> None:
        """End the workers and give their memory back; batches in use stay valid."""
        self.generation = CLOSED
        if os.getpid() != self.pid:  # a forked copy: the processes are not its children
            return
        members, self._members = self._members, []
        for member in members:
            member.pipe.close()  # what an idle worker ends at
        for force in ("", "terminate", "kill"):
            deadline = time.monotonic() + _GRACE_S
            alive = [member.process for member in members if member.process is not None and member.process.is_alive()]
            for process in alive:
                if force:
                    getattr(process, force)()
            for process in alive:
                process.join(max(0.0, deadline - time.monotonic()))
        for member in members:
            member.end()

    def abandon(self) -> None:
        """In a forked child: close what was inherited, so that the workers see their loader's end when it comes."""
        for member in self._members:
            member.pipe.close()
            for slot in member.slots:
                slot.close()
        self._members = []


class _Member:
    """One worker, seen from this process."""

    def __init__(self, number: int, slots: int) -> None:
        self.number = number
        self.slots: list[Slot] = []
        self.free: deque[int] = deque(range(slots))
        self.tasks: deque[tuple[int, int, Task]] = deque()
        self.outstanding = 0
        self.process: Any = None
        self.pipe, self._theirs = multiprocessing.Pipe()
        self._count = slots

    def start(self, context: Any, load: Any, settings: dict[str, Any]) -> None:
        slots = [Slot() for _ in range(self._count)]
        handles = [slot.handle for slot in slots]
        try:
            self.process = context.Process(
                target=_work,
                args=(self._theirs, handles, load, settings),
                name=f"lunar-loader-{self.number}",
                daemon=True,
            )
            with warnings.catch_warnings():
                # Python 3.12 warns of forking while threads run, and counts those of BLAS, which know how to be forked.
                warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
                self.process.start()
        except BaseException:
            self.process = None
            for slot in slots:
                slot.close()
            raise
        finally:
            self._theirs.close()
        self.slots = slots  # only now: a forked child closes the slots of those that are here

    def read(self, slot: int, start: int, size: int) -> Any:
        """The batch in ``slot``. It is copied out if no other slot is free, since the worker needs one to go on."""
        free = self.free
        if not free:
            free.append(slot)
            return self.slots[slot].read(start, size, None)
        return self.slots[slot].read(start, size, lambda: free.append(slot))

    def end(self) -> None:
        """Give back what a worker that has ended used."""
        self._theirs.close()
        if self.process is not None and not self.process.is_alive():
            self.process.close()
        for slot in self.slots:
            slot.close()


def _after_fork() -> None:
    for pool in list(_pools):
        pool.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# -- in the worker -----------------------------------------------------------------------------------------------------


def _work(pipe: Any, handles: list[Handle], load: Any, settings: dict[str, Any]) -> None:
    """Make batches until the other end of ``pipe`` is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the loader's affair
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler, inherited by a fork, is not for here
    set_num_threads(1)
    modes.dtype = settings["dtype"]
    fetcher: Fetcher | None = None
    arenas = [Arena(handle) for handle in handles]
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            slot, task = pipe.recv()
            try:
                if fetcher is None:
                    if isinstance(load, bytes):
                        sys.path[:] = settings["path"]
                        load = pickle.loads(load)
                    fetcher = load
                arena = arenas[slot]
                arena.begin()
                _seed_globals(task)
                batch = fetcher.batch(task, arena.empty)
                answer: Any = ("end",) if batch is None else ("batch", *arena.write(batch))
                del batch
            except Exception as exc:
                answer = ("error", _carried(exc, task))
            pipe.send(answer)


def _seed_globals(task: Task) -> None:
    """Seed the generators that belong to the process by (seed, epoch, batch).

    Forked workers begin with the same ones, and code that draws from them, instead of from what it is given, would draw
    the same in each.
    """
    number = int(Stream("worker", task.seed).at((task.epoch << 64) + task.number).integers(1 << 32))
    np.random.seed(number)
    random.seed(number)
    lunar_random.seed(number)


def _carried(exc: Exception, task: Task) -> tuple[Any, ...]:
    """What of an exception crosses to the other process."""
    error = exc if isinstance(exc, ExampleError) else failed("making the batch", exc, _ids(task), task)
    try:
        original = pickle.dumps(error.original)
        pickle.loads(original)
    except Exception:
        original = b""
    if len(original) > _TRACE_LIMIT:
        original = b""
    return error.message[:_TRACE_LIMIT], error.hint, error.index, error.trace[-_TRACE_LIMIT:], original


def _revived(carried: tuple[Any, ...], task: Task, pid: int) -> ExampleError:
    message, hint, index, trace, original = carried
    error = ExampleError(message, index=index, epoch=task.epoch, batch=task.number, trace=trace)
    error.hint = hint
    error.add_note(f"in worker process {pid}:\n{trace}")
    if original:
        with contextlib.suppress(Exception):
            error.original = error.__cause__ = pickle.loads(original)
    return error


def _ids(task: Task) -> Any:
    return None if task.ids is None else task.ids.tolist()


# -- sending the data set to a process that is not a fork ----------------------------------------------------------------


class _Pickler(pickle.Pickler):
    """Sends a memory map as the name of its file, not as what is in it."""

    def reducer_override(self, value: Any) -> Any:
        memory = getattr(value, "_mmap", None) if type(value) is np.memmap else None
        if memory is None or value.filename is None:
            return NotImplemented
        skipped = value.__array_interface__["data"][0] - np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
        start = value.offset - value.offset % mmap.ALLOCATIONGRANULARITY  # where numpy began its map
        return _mapped, (value.filename, value.dtype, value.shape, value.strides, start + skipped)


def _mapped(name: Any, dtype: np.dtype, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> np.ndarray:
    if not np.prod(shape) or any(stride < 0 for stride in strides):
        raise DataError(f"a memory map of {name} of shape {shape} and strides {strides} cannot be sent to a worker")
    extent = sum((n - 1) * stride for n, stride in zip(shape, strides)) + dtype.itemsize
    whole = np.memmap(name, np.uint8, "r", offset, (extent,))
    return np.ndarray(shape, dtype, whole, 0, strides)


def _packed(fetcher: Fetcher, method: str) -> bytes:
    out = io.BytesIO()
    try:
        _Pickler(out, protocol=5).dump(fetcher)
    except Exception as exc:
        raise DataError(
            f"workers that are started by {method!r} get data set and transforms by pickle, which failed: {exc}",
            hint="functions and classes at the top of a module can be pickled; or start='fork' where the system has it",
        ) from exc
    return out.getvalue()
