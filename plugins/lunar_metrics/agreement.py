"""Single figures of the whole confusion matrix: balanced accuracy, Matthews' correlation, Cohen's kappa."""

from __future__ import annotations

import math

import numpy as np

from lunar_core.component import field, one_of
from lunar_core.errors import DataError

from .confusion import Confusion


class BalancedAccuracy(Confusion):
    """Mean recall of the classes that occur among the targets: accuracy as if all were equally frequent.

    ``adjusted`` moves chance, ``1 / classes``, to 0 and keeps 1. Equals ``sklearn.metrics.balanced_accuracy_score``.

    Source: K. Brodersen et al., The Balanced Accuracy and Its Posterior Distribution, ICPR 2010.
    """

    adjusted: bool = field(default=False, doc="0 for guessing, 1 for perfection")

    def result(self) -> float:
        counts = self.matrix()
        support = counts.sum(axis=1)
        recalls = (counts.diagonal() / np.where(support > 0, support, 1))[support > 0]
        score = float(recalls.mean())
        if not self.adjusted:
            return score
        chance = 1 / len(recalls)
        if chance == 1:
            raise DataError("BalancedAccuracy: adjusted for chance takes targets of two classes at least, got one")
        return (score - chance) / (1 - chance)


class MatthewsCorrCoef(Confusion):
    """Correlation of predicted and true classes: 1 perfect, 0 no better than chance, -1 (two classes) all wrong.

    For several classes this is Gorodkin's R_K. Where either side has one class only it is 0, as
    ``sklearn.metrics.matthews_corrcoef``, which it equals.

    Source: B. W. Matthews, 1975; J. Gorodkin, Computational Biology and Chemistry 28 (2004), equation 8.
    """

    def result(self) -> float:
        c = self.square()
        true, predicted, total = c.sum(axis=1), c.sum(axis=0), c.sum()
        if np.count_nonzero(true) < 2 or np.count_nonzero(predicted) < 2:
            return 0.0  # one side names one class throughout; rounding would leave a spread of almost 0
        covariance = np.trace(c) * total - true @ predicted
        spread = (total**2 - predicted @ predicted) * (total**2 - true @ true)
        return float(covariance / math.sqrt(spread))


class CohenKappa(Confusion):
    """Agreement beyond chance: 1 minus observed over expected disagreement, given how often each class occurs.

    ``weights`` is how disagreement grows with the distance of the class indices: ``None`` counts all alike, ``"linear"``
    and ``"quadratic"`` suit ordered classes. NaN where both sides name one and the same class throughout.

    Equals ``sklearn.metrics.cohen_kappa_score`` with all class indices as labels.

    Source: J. Cohen, Educational and Psychological Measurement 20 (1960); Psychological Bulletin 70 (1968), weighted.
    """

    weights: str | None = field(default=None, validator=one_of("linear", "quadratic"), doc="how distance counts")

    def result(self) -> float:
        c = self.square()
        expected = np.outer(c.sum(axis=1), c.sum(axis=0)) / c.sum()
        distance = np.abs(np.subtract.outer(np.arange(len(c)), np.arange(len(c)))).astype(float)
        if self.weights is None:
            distance = np.minimum(distance, 1)
        elif self.weights == "quadratic":
            distance **= 2
        chance = (distance * expected).sum()
        return float(1 - (distance * c).sum() / chance) if chance > 0 else math.nan
