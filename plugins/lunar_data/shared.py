"""Memory that a worker writes a batch to and that this process reads it from, without a copy and without a name.

A slot is an anonymous file in memory: no entry in any directory, so nothing stays behind however the processes end.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import tempfile
import weakref
from collections.abc import Callable
from multiprocessing import reduction
from typing import Any

import numpy as np

_ALIGN = 64
_GRAIN = 1 << 20


class Handle:
    """The descriptor of a slot, which can be sent to a process that is being started."""

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            if hasattr(os, "memfd_create"):
                fd = os.memfd_create("lunar-batch")
            else:
                with tempfile.TemporaryFile() as file:
                    fd = os.dup(file.fileno())
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (reduction.DupFd(self.fd),)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _rebuilt(duplicate: Any) -> Handle:
    return Handle(duplicate.detach())


class Slot:
    """This process's side: reads the batches that the worker has written."""

    def __init__(self) -> None:
        self.handle = Handle()
        self._memory: mmap.mmap | None = None
        self._lease: weakref.ref[np.ndarray] | None = None

    def read(self, start: int, size: int, release: Callable[[], None] | None) -> Any:
        """The batch whose description lies at ``start``.

        Its arrays lie in the slot and ``release()`` is called when the last of them is gone; with None they are copies.
        """
        end = start + size
        if self._memory is None or len(self._memory) < end:
            self._memory = mmap.mmap(self.handle.fd, os.fstat(self.handle.fd).st_size)
        whole = np.frombuffer(self._memory, np.uint8)
        body, spans = pickle.loads(whole[start:end].data)
        if release is None:
            return pickle.loads(body, buffers=[whole[a : a + n].copy() for a, n in spans])
        self._lease = weakref.ref(whole, lambda _: release())
        return pickle.loads(body, buffers=[whole[a : a + n] for a, n in spans])

    def close(self) -> None:
        """Forget the memory; batches that are still in use keep it alive."""
        self._lease = None
        memory, self._memory = self._memory, None
        if memory is not None:
            with contextlib.suppress(BufferError):  # in use: goes with the last array
                memory.close()
        self.handle.close()


class Arena:
    """The worker's side: hands out arrays in the slot and writes down how the batch is made of them."""

    def __init__(self, handle: Handle) -> None:
        self._fd = handle.fd
        self._map(max(os.fstat(self._fd).st_size, _GRAIN))

    def _map(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        self._size, self._memory = size, mmap.mmap(self._fd, size)
        self._address = np.frombuffer(self._memory, np.uint8).__array_interface__["data"][0]
        self._used = 0

    def begin(self) -> None:
        """A new batch: what was handed out before is used again."""
        self._used = 0

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array in the slot, or an ordinary one where it has no room (it will, next time)."""
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        start = -(-self._used // _ALIGN) * _ALIGN
        if dtype.hasobject or start + size > self._size:
            return np.empty(shape, dtype)
        self._used = start + size
        return np.ndarray(shape, dtype, self._memory, start)

    def write(self, batch: Any) -> tuple[int, int]:
        """Put ``batch`` into the slot; where its description lies, and its size."""
        buffers: list[pickle.PickleBuffer] = []
        body = pickle.dumps(batch, protocol=5, buffer_callback=buffers.append)
        spans, outside, at = [], [], self._used
        for buffer in buffers:
            raw = np.frombuffer(buffer.raw(), np.uint8) if buffer.raw().nbytes else np.empty(0, np.uint8)
            offset = raw.__array_interface__["data"][0] - self._address
            if not (raw.size and offset >= 0 and offset + raw.size <= self._size):
                offset = at = -(-at // _ALIGN) * _ALIGN
                at += raw.size
                outside.append((offset, raw))
            spans.append((offset, raw.size))
        description = pickle.dumps((body, spans), protocol=5)
        end = at + len(description)
        if end > self._size:
            # What lies in the old mapping lies in the new one as well: it is the same file.
            self._map(-(-(end + end // 4) // _GRAIN) * _GRAIN)
        whole = np.frombuffer(self._memory, np.uint8)
        for offset, raw in outside:
            whole[offset : offset + raw.size] = raw
        whole[at:end] = np.frombuffer(description, np.uint8)
        return at, len(description)
