"""The mistakes that only a loader can report."""

from __future__ import annotations

from typing import Any

from lunar_core.errors import DataError


class ExampleError(DataError):
    """An example could not be read, transformed or put into a batch.

    ``index`` is that of the example in the data (a list of them where the fault is in their combination), ``batch`` and
    ``epoch`` say where it was met. ``original`` is the exception, which is also the cause of this one; where it came from
    a worker process, its traceback is a note of this error and stands in ``trace``.
    """

    def __init__(self, message: str, *, index: Any, epoch: int, batch: int, trace: str = "") -> None:
        super().__init__(message)
        self.index = index
        self.epoch = epoch
        self.batch = batch
        self.trace = trace
        self.original: BaseException | None = None


class WorkerError(DataError):
    """A worker process died, or gave no answer within the time it had."""
