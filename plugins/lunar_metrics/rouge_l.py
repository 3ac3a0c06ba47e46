"""ROUGE-L."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core.component import field, one_of, positive

from .arrays import quotient
from .text import TextMetric, Tokens, common_length


class RougeL(TextMetric):
    """ROUGE-L, between 0 and 1: overlap by the longest common subsequence, averaged over examples.

    With L the length of that subsequence, recall ``R = L / words of the reference``, precision
    ``P = L / words of the prediction`` and ``F = (1 + beta^2) R P / (R + beta^2 P)``; ``measure`` chooses "f" (default),
    "precision" or "recall". Of several references the best counts. A text is one sequence (the sentence-level form), and
    words are not stemmed.

    ``pred`` and ``target`` are lists of strings, cut at white space, or of token sequences: see
    :class:`~lunar_metrics.text.TextMetric`.

    Source: C.-Y. Lin, ROUGE: A Package for Automatic Evaluation of Summaries, ACL 2004 workshop, section 3.1.
    """

    higher_is_better: ClassVar[bool | None] = True
    references: ClassVar[bool] = True
    totals: ClassVar[dict[str, Any]] = {"score": 0.0, "weight": 0.0}

    measure: str = field(default="f", validator=one_of("f", "precision", "recall"), doc="which of the three")
    beta: float = field(default=1.0, validator=positive, doc="how many times recall matters as much as precision, in f")

    def compare(self, pred: Tokens, targets: list[Tokens], weight: float) -> None:
        self.score += weight * max(self._score(pred, target) for target in targets)
        self.weight += weight

    def _score(self, pred: Tokens, target: Tokens) -> float:
        common = common_length(pred, target)
        if not common:
            return 0.0
        precision, recall = common / len(pred), common / len(target)
        if self.measure != "f":
            return precision if self.measure == "precision" else recall
        return (1 + self.beta**2) * recall * precision / (recall + self.beta**2 * precision)

    def result(self) -> float:
        return quotient("RougeL", self.score, self.weight)
