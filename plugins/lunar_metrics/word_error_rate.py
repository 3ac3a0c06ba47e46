"""Word error rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from lunar_core.component import field, one_of
from lunar_core.errors import DataError

from .text import TextMetric, Tokens, edit_distance


class WordErrorRate(TextMetric):
    """Words to insert, delete or substitute to mend the predictions, over the words of the true texts, of all examples.

    0 is perfect; it may exceed 1. ``unit="character"`` compares the characters of strings, white space included (the
    character error rate).

    ``pred`` and ``target`` are lists of strings, cut at white space, or of token sequences: see
    :class:`~lunar_metrics.text.TextMetric`.

    Source: D. Jurafsky and J. H. Martin, Speech and Language Processing, chapter on speech recognition; the distance is
    V. I. Levenshtein's (1966).

    Raises:
        DataError: the true texts have no word at all.
    """

    higher_is_better: ClassVar[bool | None] = False
    totals: ClassVar[dict[str, Any]] = {"edits": 0.0, "words": 0.0}

    unit: str = field(default="word", validator=one_of("word", "character"), doc="what strings are cut into")

    def split(self, text: str) -> Sequence[str]:
        return text if self.unit == "character" else text.split()

    def compare(self, pred: Tokens, targets: list[Tokens], weight: float) -> None:
        self.edits += weight * edit_distance(pred, targets[0])
        self.words += weight * len(targets[0])

    def result(self) -> float:
        if not self.words > 0:
            raise DataError("WordErrorRate: the true texts have no words to get wrong")
        return self.edits / self.words
