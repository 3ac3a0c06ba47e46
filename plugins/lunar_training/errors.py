"""What can go wrong in training itself."""

from __future__ import annotations

from lunar_core.errors import LunarError


class DivergenceError(LunarError, ArithmeticError):
    """The loss or the gradients became NaN or infinite."""
