"""The activation that changes nothing."""

from __future__ import annotations

from typing import Any

from lunar_core.contracts.activation import Activation


class Linear(Activation):
    """``x`` itself: the choice "no activation" by a name, for layers that take one."""

    def forward(self, x: Any) -> Any:
        return x
