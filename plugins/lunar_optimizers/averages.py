"""Parameters and state arrays of one shape that change places."""

from __future__ import annotations

from lunar_core.autograd import note_write
from lunar_core.contracts.optimizer import Optimizer


def swap_state(optimizer: Optimizer, name: str) -> None:
    """Exchange each parameter that was updated with its state array ``name``, in place."""
    optimizer.bind()
    for group in optimizer.groups:
        for buffer in group.buffers:
            buffer.gather()
            for entry in buffer.entries:
                if entry.step if buffer.step is None else buffer.step:
                    array = buffer.state_view(entry, name)
                    kept = entry.data.astype(array.dtype)
                    entry.data[...] = array
                    array[...] = kept
            note_write(buffer.data)
