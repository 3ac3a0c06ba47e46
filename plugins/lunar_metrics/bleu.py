"""BLEU."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, ClassVar

import numpy as np

from lunar_core.component import field, one_of, positive

from .text import TextMetric, Tokens


class BLEU(TextMetric):
    """Corpus BLEU, between 0 and 1: geometric mean of clipped n-gram precisions, n up to ``max_n``, times a brevity penalty.

    Matches, n-grams and lengths are summed over all examples before anything is divided. Each prediction may have
    several references; the one whose length is closest (the shorter of equals) counts for the penalty
    ``exp(min(0, 1 - references / predictions))``. A precision of 0 makes the score 0, unless ``smoothing="add_one"``
    adds 1 to matches and n-grams for n > 1.

    ``pred`` and ``target`` are lists of strings, cut at white space, or of token sequences: see
    :class:`~lunar_metrics.text.TextMetric`. Figures of papers depend on the tokenizer; SacreBLEU's 13a is not applied.

    Source: K. Papineni et al., BLEU: a Method for Automatic Evaluation of Machine Translation, ACL 2002, section 2.3;
    smoothing: C.-Y. Lin and F. J. Och, ORANGE, COLING 2004, section 4.
    """

    higher_is_better: ClassVar[bool | None] = True
    references: ClassVar[bool] = True
    totals: ClassVar[dict[str, Any]] = {"matches": 0.0, "ngrams": 0.0, "predicted": 0.0, "expected": 0.0}

    max_n: int = field(default=4, validator=positive, doc="longest n-gram")
    smoothing: str = field(default="none", validator=one_of("none", "add_one"), doc="how a precision of 0 is softened")

    def compare(self, pred: Tokens, targets: list[Tokens], weight: float) -> None:
        matches, ngrams = np.zeros(self.max_n), np.zeros(self.max_n)
        for n in range(1, self.max_n + 1):
            counts = _ngrams(pred, n)
            allowed: Counter[Any] = Counter()
            for target in targets:
                allowed |= _ngrams(target, n)
            matches[n - 1] = (counts & allowed).total()
            ngrams[n - 1] = counts.total()
        self.matches = self.matches + weight * matches
        self.ngrams = self.ngrams + weight * ngrams
        self.predicted += weight * len(pred)
        self.expected += weight * min((abs(len(t) - len(pred)), len(t)) for t in targets)[1]

    def result(self) -> float:
        extra = np.where(np.arange(self.max_n) > 0, float(self.smoothing == "add_one"), 0.0)
        matches, ngrams = self.matches + extra, self.ngrams + extra
        if not (matches > 0).all():
            return 0.0
        penalty = min(0.0, 1 - self.expected / self.predicted)
        return math.exp(penalty + float(np.log(matches / ngrams).mean()))


def _ngrams(tokens: Tokens, n: int) -> Counter[Any]:
    return Counter(zip(*(tokens[i:] for i in range(n))))
