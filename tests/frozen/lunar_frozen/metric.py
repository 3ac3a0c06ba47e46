"""The FrozenMetric metric."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core.contracts.metric import Metric


class FrozenMetric(Metric):
    """The weighted share of examples whose highest score is not that of their class.

    Shapes: ``pred`` (N, C) scores, ``target`` (N,) integer classes.
    """

    totals: ClassVar[dict[str, Any]] = {"wrong": 0.0, "weight": 0.0}
    higher_is_better: ClassVar[bool | None] = False

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        wrong = pred.argmax(-1) != target
        self.wrong += (wrong * weight).sum() if weight is not None else wrong.sum()
        self.weight += weight.sum() if weight is not None else len(target)

    def result(self) -> float:
        return self.wrong / self.weight
