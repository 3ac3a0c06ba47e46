"""Batches on their way to a device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from lunar_core import backend
from lunar_core.tensor import Tensor


def leaves_mapped(function: Callable[[Any], Any], batch: Any) -> Any:
    """``batch`` with ``function`` applied to its arrays of numbers; lists of text and other objects stay."""
    if backend.is_array(batch):
        return batch if batch.dtype.kind in "OUSMm" else function(batch)
    if isinstance(batch, dict):
        return {key: leaves_mapped(function, value) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        made = [leaves_mapped(function, value) for value in batch]
        return type(batch)(*made) if hasattr(batch, "_fields") else type(batch)(made)
    return batch


class Raw:
    """No way at all: the raw arrays stay as they are."""

    ahead = False

    def begin(self, batch: Any) -> Any:
        """Start to move ``batch``, whose arrays lie on the host; what to give :meth:`end`."""
        return batch

    def end(self, moving: Any) -> Any:
        """The batch where it should be."""
        return moving


class Wrapped(Raw):
    """Tensors on the host, or on a device whose library copies at once."""

    def __init__(self, device: str | None = None) -> None:
        self.device = device

    def end(self, moving: Any) -> Any:
        device = self.device
        if device is None or device == "cpu":
            return leaves_mapped(Tensor, moving)
        move = backend.for_device(device).from_numpy
        return leaves_mapped(lambda array: Tensor(move(array, device)), moving)


class Copied(Raw):
    """Tensors on a CUDA device, copied from page-locked memory on a stream beside that of the computation.

    The arrays are allocated on the computation's stream, which also frees them; the copy waits for what that stream
    had to do before, and the computation waits for the copy when the batch is asked for.
    """

    ahead = True

    def __init__(self, device: str) -> None:
        self.xp = backend.for_device(device).xp
        self.device = int(device.partition(":")[2] or 0)
        self._locked: deque[tuple[Any, list[np.ndarray]]] = deque()  # page-locked memory and the end of its copy
        with self.xp.cuda.Device(self.device):
            self.stream = self.xp.cuda.Stream(non_blocking=True)

    def begin(self, batch: Any) -> Any:
        cuda = self.xp.cuda
        while self._locked and self._locked[0][0].done:
            self._locked.popleft()
        with cuda.Device(self.device):
            self.stream.wait_event(cuda.get_current_stream().record())
            locked: list[np.ndarray] = []

            def copied(array: np.ndarray) -> Any:
                there = self.xp.empty(array.shape, array.dtype)
                if array.size:
                    memory = cuda.alloc_pinned_memory(array.nbytes)
                    here = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
                    here[...] = array
                    locked.append(here)
                    there.set(here, self.stream)
                return there

            moved = leaves_mapped(copied, batch)
            event = self.stream.record()
            self._locked.append((event, locked))
            return moved, event

    def end(self, moving: Any) -> Any:
        moved, event = moving
        with self.xp.cuda.Device(self.device):
            self.xp.cuda.get_current_stream().wait_event(event)
        return leaves_mapped(Tensor, moved)


def way_to(device: str | None) -> Raw:
    """How batches come to ``device`` as Tensors."""
    return Copied(device) if device is not None and device.partition(":")[0] == "cuda" else Wrapped(device)
