"""Perplexity."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError

from .arrays import log_softmax, quotient, spread
from .labels import class_axis, class_targets


class Perplexity(Metric):
    """``exp`` of the mean negative log-likelihood of the targets, over all tokens of all batches.

    Shapes: ``pred`` (N, C, ...) logits with the vocabulary along ``axis``, -1 for (N, T, V); ``target`` the indices
    (N, ...). With ``from_logits=False`` ``pred`` holds probabilities. Targets equal to ``ignore_index`` do not count;
    ``weight`` is one number per example or per token. Infinite where a target has probability 0.

    Source: F. Jelinek et al., Perplexity: A Measure of the Difficulty of Speech Recognition Tasks, 1977.

    Raises:
        DataError: shapes that do not fit, an index out of range, or no token that counts.
    """

    higher_is_better: ClassVar[bool | None] = False
    totals: ClassVar[dict[str, Any]] = {"surprise": 0.0, "tokens": 0.0, "invalid": 0}

    axis: int = field(default=1, doc="the axis of pred that holds the vocabulary")
    from_logits: bool = field(default=True, kw_only=True, doc="pred holds logits rather than probabilities")
    ignore_index: int | None = field(default=-100, kw_only=True, doc="target that is not counted")

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        at = class_axis("Perplexity", pred, self.axis)
        if at is None or tuple(target.shape) == tuple(pred.shape):
            raise DataError(
                f"Perplexity: expected logits (N, C, ...) and indices (N, ...), got {tuple(pred.shape)} and {tuple(target.shape)}"
            )
        xp = backend.of(pred).xp
        truth, counted, valid = class_targets("Perplexity", target, tuple(pred.shape), at, self.ignore_index)
        place = xp.expand_dims(truth, at)
        if self.from_logits:
            surprise = -xp.take_along_axis(log_softmax(pred, at), place, at).squeeze(at)
        else:
            p = xp.take_along_axis(pred, place, at).squeeze(at).astype(np.float64)
            with np.errstate(divide="ignore"):
                surprise = -xp.log(p)
        weight = spread("Perplexity", weight, tuple(surprise.shape))
        weight = xp.ones(surprise.shape) if weight is None else weight
        for use in (counted, valid):
            if use is not None:
                weight = weight * use
        self.surprise = self.surprise + (xp.where(weight > 0, surprise, 0.0) * weight).sum()
        self.tokens = self.tokens + weight.sum()
        if valid is not None:
            self.invalid = self.invalid + (~valid).sum()

    def result(self) -> float:
        if int(self.invalid):
            raise DataError(f"Perplexity: {int(self.invalid)} targets lie outside of the vocabulary")
        mean = quotient("Perplexity", self.surprise, self.tokens)
        return math.exp(mean) if mean < 709 else math.inf if mean > 0 else math.nan
