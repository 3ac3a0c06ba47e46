"""Products of many factors, each computed once."""

from __future__ import annotations

from collections.abc import Callable


class Products:
    """``upto(n)`` is the product of ``factor(k)`` for k from 1 to n. What was computed is kept, a float for each k."""

    def __init__(self, factor: Callable[[int], float]) -> None:
        self.factor = factor
        self.found = [1.0]

    def upto(self, n: int) -> float:
        found = self.found
        while len(found) <= n and found[-1] != 0.0:  # from zero there is no way back
            found.append(found[-1] * self.factor(len(found)))
        return found[min(n, len(found) - 1)]

    def forget(self) -> None:
        """Start anew, because the factors have changed."""
        self.found = [1.0]
