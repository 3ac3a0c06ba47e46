"""The named modes: the only global state of the engine, kept per thread.

``no_grad`` and ``enable_grad`` switch the recording of the graph, ``inference_mode`` switches it off for good within its
block, ``default_dtype`` and ``default_device`` say where new floating arrays are made. Each works as a context manager
and as a decorator and restores what it found, also when the block raises.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import numpy as np

from .errors import DTypeError, GradientError


class Modes(threading.local):
    """State of one thread; the class attributes are what a new thread starts with."""

    grad = True
    inference = False
    dtype = np.dtype(np.float32)
    device = "cpu"
    written: Any = None  # the arrays written in place, where somebody collects them (lunar_core.checkpoint)
    saving: Any = None  # (pack, unpack) of saved_tensor_hooks
    traced = True  # False while a tracer applies the op that it was shown
    level: Any = None  # the innermost function transform that runs (lunar_core.carried)
    closed = 0  # how many transforms, from the outermost on, have values that leave no graph further out
    derivatives = 0  # how many gradient functions run around this one
    autocast: Any = None  # what converts the inputs of an op (lunar_core.autocast)


modes = Modes()
_GENERATOR = 0x20 | 0x80 | 0x200  # flags of a code object: generator, coroutine, asynchronous generator


class _Mode(contextlib.ContextDecorator):
    """Sets attributes of :data:`modes` for a block. One instance may be entered many times, also recursively."""

    watched = False  # whether each application of an op has to look at what the block set

    def __init__(self, **values: Any) -> None:
        self._values = values
        self._before: dict[int, list[dict[str, Any]]] = {}  # by thread: a mode may be shared between threads

    def _recreate_cm(self) -> _Mode:  # a decorated function gets its own instance for each call
        return type(self)._copy(self)

    @classmethod
    def _copy(cls, mode: _Mode) -> _Mode:
        new = _Mode.__new__(cls)
        new._values = mode._values
        new._before = {}
        return new

    def __call__(self, function: Any) -> Any:
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & _GENERATOR:
            raise GradientError(
                f"@{type(self).__name__}() on the generator {function.__name__}(): its body runs after the call, outside",
                hint=f"write `with lc.{type(self).__name__}():` inside it, not around a yield",
            )
        return super().__call__(function)

    def __enter__(self) -> _Mode:
        before = {name: getattr(modes, name) for name in self._values}
        self._before.setdefault(threading.get_ident(), []).append(before)
        for name, value in self._values.items():
            setattr(modes, name, value)
        if self.watched:
            _slot().enter()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.watched:
            _slot().leave()
        for name, value in self._before[threading.get_ident()].pop().items():
            setattr(modes, name, value)


def _slot() -> Any:
    from .op import slot

    return slot


class _Switch(_Mode):
    """A mode without settings, which decorates with parentheses or without."""

    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)


class no_grad(_Switch):
    """Within the block no graph is recorded: results do not require gradients."""

    def __init__(self) -> None:
        super().__init__(grad=False)


class enable_grad(_Switch):
    """Within the block the graph is recorded, also inside ``no_grad``. An error inside ``inference_mode``."""

    def __init__(self) -> None:
        super().__init__(grad=True)

    def __enter__(self) -> _Mode:
        if modes.inference:
            raise GradientError("enable_grad() inside inference_mode()", hint="use no_grad() for the outer block")
        return super().__enter__()


class inference_mode(_Switch):
    """Like ``no_grad``, and nothing inside the block can switch the recording back on."""

    def __init__(self) -> None:
        super().__init__(grad=False, inference=True)


class default_dtype(_Mode):
    """Within the block, Python floats and new parameters become arrays of ``dtype`` (float32 unless told otherwise)."""

    def __init__(self, dtype: Any) -> None:
        dtype = np.dtype(dtype)
        if dtype.kind not in "fcV":
            raise DTypeError(f"default_dtype: expected a floating dtype, got {dtype}")
        super().__init__(dtype=dtype)


class default_device(_Mode):
    """Within the block, new arrays are made on ``device`` (``"cpu"``, ``"cuda"``, ``"cuda:1"``)."""

    def __init__(self, device: str) -> None:
        super().__init__(device=device)


def is_grad_enabled() -> bool:
    """Whether operations record the graph in this thread now."""
    return modes.grad


def set_default_dtype(dtype: Any) -> None:
    """Make ``dtype`` the default of this thread; prefer the ``default_dtype`` block, which restores."""
    modes.dtype = default_dtype(dtype)._values["dtype"]
