"""Names and arguments on their way out: a warning, once, that says what to write instead."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_told: set[str] = set()


class LunarDeprecationWarning(DeprecationWarning):
    """Something that the next major version of the plugin API will not have."""


def deprecated(what: str, instead: str, *, since: str, stacklevel: int = 1) -> None:
    """Warn once a process that ``what`` is deprecated since a version and that ``instead`` takes its place.

    ``deprecated("Dense(units=)", "Dense(out_features=)", since="0.3")``. The warning points at the caller of the function
    that calls this; ``stacklevel`` counts further frames.
    """
    if what in _told:
        return
    _told.add(what)
    message = f"{what} is deprecated since lunarlearn {since}: use {instead}"
    warnings.warn(message, LunarDeprecationWarning, stacklevel=stacklevel + 2)


def renamed(old: str, instead: Callable[..., Any], *, since: str) -> Callable[..., Any]:
    """``instead`` under the name ``old``, which warns when it is called."""

    @functools.wraps(instead)
    def call(*args: Any, **kwargs: Any) -> Any:
        deprecated(f"{old}()", f"{instead.__qualname__}()", since=since)
        return instead(*args, **kwargs)

    call.__name__ = call.__qualname__ = old
    return call


def moved(module: str, names: dict[str, tuple[str, str]], *, since: str) -> Callable[[str], Any]:
    """A module's ``__getattr__`` for names that live elsewhere now: old name -> (module, name).

    ``__getattr__ = moved(__name__, {"Lion": ("lunar_optimizers.lion", "Lion")}, since="0.3")``
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        import importlib

        home, attribute = names[name]
        # The import statement that asks stands one frame up, behind importlib's own.
        frame, depth = sys._getframe(1), 0
        while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("importlib"):
            frame, depth = frame.f_back, depth + 1
        deprecated(f"{module}.{name}", f"{home}.{attribute}", since=since, stacklevel=depth)
        return getattr(importlib.import_module(home), attribute)

    return __getattr__
