"""How good generated images are, by the features of a classifier: inception score and FID."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError
from lunar_core.tensor import Tensor

from .arrays import host, log_softmax, spread
from .moments import MomentMetric, Moments, moments, rows_of


class InceptionScore(Metric):
    """``exp(mean KL(p(y | x) || p(y)))``, from 1 to the number of classes: high when images are clear and all classes occur.

    Shapes: ``pred`` (N, C), the logits (with ``from_logits=False`` the probabilities) that a classifier gives for the
    generated images; published scores use Inception v3. ``target`` is not looked at and may be left out. ``weight`` is
    one number per image. All images are one set; published figures are means over ten sets, which are a little lower.

    Source: T. Salimans et al., Improved Techniques for Training GANs, arXiv:1606.03498, section 4.
    """

    higher_is_better: ClassVar[bool | None] = True
    totals: ClassVar[dict[str, Any]] = {"entropy": 0.0, "marginal": 0.0, "weight": 0.0}

    from_logits: bool = field(default=True, doc="pred holds logits rather than probabilities")

    def update(self, pred: Any, target: Any = None, weight: Any = None) -> None:
        """Add the classifier's outputs for a batch of generated images."""
        super().update(pred, pred if target is None else target, weight)

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        if pred.ndim != 2:
            raise DataError(f"InceptionScore: expected the classifier's outputs (N, C), got {tuple(pred.shape)}")
        xp = backend.of(pred).xp
        if self.from_logits:
            log_p = log_softmax(pred, 1)
            p = xp.exp(log_p)
        else:
            p = pred.astype(np.float64)
            log_p = xp.log(xp.where(p == 0, 1.0, p))
        weight = spread("InceptionScore", weight, (pred.shape[0],))
        weight = xp.ones(pred.shape[0]) if weight is None else weight
        self.entropy = self.entropy + ((p * xp.where(p == 0, 0.0, log_p)).sum(axis=1) * weight).sum()
        self.marginal = self.marginal + (p * weight[:, None]).sum(axis=0)
        self.weight = self.weight + weight.sum()

    def result(self) -> float:
        weight = float(self.weight)
        if not weight > 0:
            raise DataError(f"InceptionScore: the weights of the images sum to {weight:g}")
        p = host(self.marginal) / weight
        return math.exp(float(self.entropy) / weight - float((p * np.log(np.where(p == 0, 1, p))).sum()))


class FID(MomentMetric):
    """Fréchet distance of two sets of features, as normal distributions: 0 where mean and covariance agree.

    ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))`` with the means and the unbiased covariances. Shapes: ``pred`` (N, D), the
    features of generated images, and ``target`` (M, D), those of real ones, N and M as they come; either may be ``None``
    in a batch. Published figures use the 2048 features of Inception v3's last pooling, and depend on the number of
    images. State: two D x D matrices. There are no weights.

    Source: M. Heusel et al., GANs Trained by a Two Time-Scale Update Rule, arXiv:1706.08500, equation 6.

    Raises:
        DataError: fewer than two images on a side, features that do not fit, or weights.
    """

    higher_is_better: ClassVar[bool | None] = False
    sets: ClassVar[tuple[str, ...]] = ("generated", "real")

    def update(self, pred: Any = None, target: Any = None, weight: Any = None) -> None:
        """Add features of generated images (``pred``), of real ones (``target``), or both."""
        if weight is not None:
            raise DataError("FID is not defined for weighted images")
        batch = {"generated": pred, "real": target}
        found: dict[str, Moments] = {}
        for name, features in batch.items():
            if features is None:
                continue
            raw = features.data if isinstance(features, Tensor) else features
            raw = raw if backend.is_array(raw) else np.asarray(raw)
            known = [
                m.mean.shape[0] for m in (*map(self.moments, self.sets), *found.values()) if backend.is_array(m.mean)
            ]
            if raw.ndim != 2 or (known and raw.shape[1] != known[0]):
                raise DataError(
                    f"FID: expected features (N, {known[0] if known else 'D'}) of {name} images, got {tuple(raw.shape)}"
                )
            if raw.shape[0]:
                found[name] = moments(rows_of("FID", raw, "features"), products=True)
        for name, more in found.items():
            self.extend(name, more)
            self.seen += int(more.weight)

    def result(self) -> float:
        sides = [self.host_moments(name) for name in self.sets]
        for name, side in zip(self.sets, sides):
            if side.weight < 2:
                raise DataError(f"FID needs two {name} images at least, got {int(side.weight)}")
        (_, m1, s1), (_, m2, s2) = ((w, m, s / (w - 1)) for w, m, s in sides)
        # tr (S1 S2)^(1/2) by the symmetric S1^(1/2) S2 S1^(1/2), which has the same eigenvalues
        values, vectors = np.linalg.eigh(s1)
        root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        mixed = np.linalg.eigvalsh(root @ s2 @ root)
        distance = ((m1 - m2) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * np.sqrt(np.maximum(mixed, 0)).sum()
        return max(float(distance), 0.0)
