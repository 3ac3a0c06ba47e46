"""One class per kind of mistake.

Every error of the framework derives from :class:`LunarError` and says what was got, what was expected, where in the
model, and how to mend it. Each also derives from the built-in exception that a NumPy user would expect to catch.
"""

from __future__ import annotations

import sys

from numpy.linalg import LinAlgError


def stack_level() -> int:
    """How far up the caller outside of the core is, so that a warning points at it: ``warn(..., stacklevel=stack_level())``."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "lunar_core":
        level, frame = level + 1, frame.f_back
    return level


class LunarError(Exception):
    """Base of all errors raised by LunarLearn.

    ``hint`` is one line that would have worked; ``where`` is the dotted path of the module in the model, filled in
    while the error travels up through the modules' calls.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = ""

    def __str__(self) -> str:
        lines = [self.message]
        if self.where:
            lines.append(f"  in module {self.where}")
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class ShapeError(LunarError, ValueError):
    """Shapes, axes or sizes that do not fit together."""


class DTypeError(LunarError, TypeError):
    """A dtype that the operation does not take."""


class DeviceError(LunarError, RuntimeError):
    """Arrays of different devices in one operation, or a device that this machine lacks."""


class IndexingError(LunarError, IndexError):
    """An index that does not fit the array it is used on."""


class LinearAlgebraError(LunarError, LinAlgError):
    """A matrix that the operation has no answer for: singular, not positive definite, or without convergence."""


class GradientError(LunarError, RuntimeError):
    """A gradient was asked for that does not exist: no graph, a freed graph, no rule, a wrong seed."""


class InPlaceError(GradientError):
    """An array that the graph kept for its backward pass was overwritten."""


class NotBuiltError(LunarError, RuntimeError):
    """Parameters were asked for before the input sizes are known."""


class ArgumentError(LunarError, TypeError):
    """An argument that the function does not have; the hint is its name here."""


class HyperparameterError(LunarError, ValueError):
    """A hyperparameter that is unknown, missing, of the wrong type or out of range."""


class StateError(LunarError, ValueError):
    """A state dict that does not fit the object it is loaded into."""


class SerializationError(LunarError, ValueError):
    """A file that is missing, truncated, corrupt or not of the format that its name says."""


class DataError(LunarError, ValueError):
    """A dataset or batch that cannot be used: empty, truncated, ragged, of unknown format."""


class ConfigError(LunarError, ValueError):
    """A configuration that does not describe a component; the message starts with the full path of the field."""


class UnknownNameError(LunarError, KeyError):
    """A name that no plugin provides; the message lists the nearest names."""

    __str__ = LunarError.__str__


class PluginError(LunarError, RuntimeError):
    """Base of everything that is the fault of a plugin or of a combination of plugins."""


class PluginLoadError(PluginError, ImportError):
    """A component failed to import or is not what its kind asks for."""


class PluginConflictError(PluginError):
    """Two plugins claim the same name and the user has not chosen."""


class PluginBlockedError(PluginError):
    """A component that the user's configuration switched off was asked for by name."""


class HookError(PluginError):
    """A hook that does not exist, hooks ordered in a cycle, or a hook that failed."""
