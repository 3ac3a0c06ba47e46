"""Scores of each class from its hits, false alarms and misses, and their averages: precision, recall, F, IoU, Dice."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field, in_range, one_of, positive
from lunar_core.errors import DataError

from .arrays import quotient, spread
from .confusion import Confusion, tally
from .labels import Labels

_AVERAGES = ("auto", "binary", "macro", "weighted", "micro", "none")


class ClassScores(Confusion):
    """Base of scores ``numerator / denominator`` of a class; a subclass defines :meth:`parts`.

    ``average``:

    - ``"binary"``: the score of class 1 of two;
    - ``"macro"``: the mean over the classes that occur among targets or predictions;
    - ``"weighted"``: that mean weighted by how often each class is the target;
    - ``"micro"``: one score from the summed hits, false alarms and misses;
    - ``"none"``: ``{"0": score, "1": ...}``;
    - ``"auto"`` (default): "binary" where there are two classes, else "macro".

    A denominator of 0 gives ``zero_division``.
    """

    average: str = field(default="auto", validator=one_of(*_AVERAGES), doc="how the classes' scores become one")
    zero_division: float = field(
        default=0.0, kw_only=True, validator=in_range(0, 1), doc="score where the denominator is 0"
    )

    def parts(self, hits: Any, alarms: Any, misses: Any) -> tuple[Any, Any]:
        """(numerator, denominator) of the score from true positives, false positives and false negatives."""
        raise NotImplementedError(f"{type(self).__name__} must define parts")

    def result(self) -> float | dict[str, float]:
        counts = self.matrix()
        if self.average == "none":
            scores = self._scores(np, *_outcomes(counts))
            return {str(i): float(score) for i, score in enumerate(scores)}
        score, weight = self.averaged(counts)
        return quotient(type(self).__name__, score, weight)

    def averaged(self, counts: Any, skip_undefined: bool = False) -> tuple[Any, Any]:
        """(sum, weight) of the classes' scores of each (classes, classes + 1) matrix in ``counts`` (..., C, C + 1).

        With ``skip_undefined`` a class that occurs nowhere has weight 0 in every average.
        """
        xp = backend.of(counts).xp
        hits, alarms, misses = self.considered(*_outcomes(counts))
        classes = counts.shape[-2]
        average = self.average if self.average != "auto" else "binary" if classes == 2 else "macro"
        if average == "binary":
            if classes != 2:
                raise DataError(f"{type(self).__name__}: average='binary' needs two classes, got {classes}")
            hits, alarms, misses = hits[..., -1:], alarms[..., -1:], misses[..., -1:]
        elif average == "micro":
            hits, alarms, misses = (v.sum(axis=-1, keepdims=True) for v in (hits, alarms, misses))
        scores = self._scores(xp, hits, alarms, misses)
        if average == "weighted":
            weight = hits + misses
        elif average == "macro" or skip_undefined:
            weight = (hits + alarms + misses > 0).astype(np.float64)
        else:
            weight = xp.ones_like(scores)
        return (scores * weight).sum(axis=-1), weight.sum(axis=-1)

    def considered(self, hits: Any, alarms: Any, misses: Any) -> tuple[Any, Any, Any]:
        """The classes that are averaged over."""
        return hits, alarms, misses

    def _scores(self, xp: Any, hits: Any, alarms: Any, misses: Any) -> Any:
        numerator, denominator = self.parts(hits, alarms, misses)
        defined = denominator > 0
        return xp.where(defined, numerator / xp.where(defined, denominator, 1.0), self.zero_division)


def _outcomes(counts: Any) -> tuple[Any, Any, Any]:
    """True positives, false positives, false negatives of each class."""
    xp = backend.of(counts).xp
    counts = counts.astype(np.float64)
    hits = xp.diagonal(counts, 0, -2, -1)
    return hits, counts.sum(axis=-2)[..., :-1] - hits, counts.sum(axis=-1) - hits


class Precision(ClassScores):
    """Of what was predicted as a class, the share that is of it: ``hits / (hits + false alarms)``.

    Equals ``sklearn.metrics.precision_score(..., average=, zero_division=, sample_weight=)``.
    """

    def parts(self, hits: Any, alarms: Any, misses: Any) -> tuple[Any, Any]:
        return hits, hits + alarms


class Recall(ClassScores):
    """Of what is of a class, the share that was predicted as it: ``hits / (hits + misses)``.

    Equals ``sklearn.metrics.recall_score(..., average=, zero_division=, sample_weight=)``.
    """

    def parts(self, hits: Any, alarms: Any, misses: Any) -> tuple[Any, Any]:
        return hits, hits + misses


class FBeta(ClassScores):
    """Weighted harmonic mean of precision P and recall R: ``(1 + beta^2) P R / (beta^2 P + R)``.

    ``beta`` above 1 favours recall. Equals ``sklearn.metrics.fbeta_score``, averages included.

    Source: C. J. van Rijsbergen, Information Retrieval, 1979, chapter 7.
    """

    beta: float = field(validator=positive, kw_only=True, doc="how many times recall matters as much as precision")

    def parts(self, hits: Any, alarms: Any, misses: Any) -> tuple[Any, Any]:
        square = self.beta**2
        return (1 + square) * hits, (1 + square) * hits + square * misses + alarms


class F1(ClassScores):
    """Harmonic mean of precision and recall: ``2 hits / (2 hits + false alarms + misses)``.

    With several classes the macro average is the mean of the classes' F1, not the F1 of mean precision and recall.
    Equals ``sklearn.metrics.f1_score``, averages included.
    """

    def parts(self, hits: Any, alarms: Any, misses: Any) -> tuple[Any, Any]:
        return 2 * hits, 2 * hits + alarms + misses


class _Regions(ClassScores):
    """Scores of segmentations: the background, class 0, may be left out of the average."""

    include_background: bool = field(default=True, kw_only=True, doc="average over class 0 too")

    def considered(self, hits: Any, alarms: Any, misses: Any) -> tuple[Any, Any, Any]:
        if self.include_background:
            return hits, alarms, misses
        return hits[..., 1:], alarms[..., 1:], misses[..., 1:]


class IoU(_Regions):
    """Intersection over union of predicted and true regions: ``hits / (hits + false alarms + misses)``.

    Counted over all pixels of all images, then averaged over the classes that occur, as PASCAL VOC and Cityscapes do
    (mean IoU); images with one-number predictions give the IoU of class 1. Shapes: pred (N, C, H, W) with targets
    (N, H, W), or pred (N, H, W) with ``axis=None``.

    Equals ``sklearn.metrics.jaccard_score`` over pixels, averages included.

    Source: M. Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010, section 4.3.
    """

    def parts(self, hits: Any, alarms: Any, misses: Any) -> tuple[Any, Any]:
        return hits, hits + alarms + misses


class Dice(_Regions):
    """Dice coefficient of predicted and true regions, ``2 hits / (2 hits + false alarms + misses)``, a mean over images.

    Each image has its own score, averaged over the classes that occur in it (``average``), and images count equally, or
    by a ``weight`` of shape (N,); finer weights weigh the pixels. An image in which no such class occurs, on either
    side, is left out. ``per_sample=False`` counts the pixels of all images
    together instead, which makes it the F1 score of pixels. ``average="none"`` needs ``per_sample=False``.

    Source: L. R. Dice, Ecology 26 (1945); per image as in A. A. Taha and A. Hanbury, BMC Medical Imaging 15 (2015).
    """

    totals: ClassVar[dict[str, Any]] = {**Confusion.totals, "score": 0.0, "images": 0.0}

    per_sample: bool = field(default=True, kw_only=True, doc="score each image, then average over images")

    def parts(self, hits: Any, alarms: Any, misses: Any) -> tuple[Any, Any]:
        return 2 * hits, 2 * hits + alarms + misses

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        if not self.per_sample:
            super().add(pred, target, weight)
            return
        if self.average == "none":
            raise DataError("Dice: average='none' gives the classes of all images together", hint="per_sample=False")
        labels = self.labels(pred, target)
        shape = tuple(labels.truth.shape)
        of_images = weight is not None and weight.ndim == 1 and len(shape) > 1
        pixels = None if of_images else spread("Dice", weight, shape)
        images = [
            tally(Labels(*(None if v is None else v[i : i + 1] for v in labels[:4]), labels.classes), _at(pixels, i))
            for i in range(shape[0])
        ]
        xp = backend.of(labels.truth).xp
        scores, weights = self.averaged(xp.stack(images), skip_undefined=True)
        # an image of which no class is considered has no score
        counted = (weights > 0).astype(np.float64)
        if of_images:
            counted = counted * weight.astype(np.float64)
        self.score = self.score + (counted * scores / xp.where(weights > 0, weights, 1.0)).sum()
        self.images = self.images + counted.sum()
        if labels.valid is not None:
            self.invalid = self.invalid + (~labels.valid).sum()

    def result(self) -> float | dict[str, float]:
        if not self.per_sample:
            return super().result()
        if int(self.invalid):
            raise DataError(f"Dice: {int(self.invalid)} targets or predictions lie outside of the classes")
        return quotient("Dice", self.score, self.images)


def _at(pixels: Any, i: int) -> Any:
    return None if pixels is None else pixels[i : i + 1]
