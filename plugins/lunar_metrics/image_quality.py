"""How close images are to the originals: PSNR and SSIM."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field, hyperparameter_error, non_negative, positive
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError

from .arrays import pair, quotient, spread


class PSNR(Metric):
    """Peak signal-to-noise ratio in decibels, ``10 log10(data_range^2 / mse)``, a mean over images.

    Shapes: ``pred`` and ``target`` (N, ...), each of the N an image. ``data_range`` is the span that values may have: 1.0
    (default), or 255 for bytes. An image without error has infinity. ``per_image=False`` takes the mean squared error
    over all images first. ``weight`` is one number per image.

    Source: Q. Huynh-Thu and M. Ghanbari, Scope of Validity of PSNR in Image/Video Quality Assessment, 2008.

    Raises:
        DataError: shapes that do not fit, or weights that sum to zero.
    """

    higher_is_better: ClassVar[bool | None] = True
    totals: ClassVar[dict[str, Any]] = {"value": 0.0, "weight": 0.0}

    data_range: float = field(default=1.0, validator=positive, doc="span of the values")
    per_image: bool = field(default=True, kw_only=True, doc="average decibels rather than errors")

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        xp = backend.of(pred).xp
        pred, target = pair("PSNR", pred, target)
        error = ((pred - target) ** 2).reshape(pred.shape[0], -1).mean(axis=1)
        if self.per_image:
            with np.errstate(divide="ignore"):
                error = 10 * (2 * math.log10(self.data_range) - xp.log10(error))
        weight = spread("PSNR", weight, tuple(error.shape))
        if weight is None:
            weight = xp.ones(error.shape)
        # an infinite value of weight 0 does not count
        self.value = self.value + (xp.where(weight > 0, error, 0.0) * weight).sum()
        self.weight = self.weight + weight.sum()

    def result(self) -> float:
        value = quotient("PSNR", self.value, self.weight)
        if self.per_image:
            return value
        return (
            10 * (2 * math.log10(self.data_range) - math.log10(value))
            if value > 0
            else math.inf
            if value == 0
            else value
        )


def _odd(instance: Any, attribute: Any, value: Any) -> None:
    if value < 1 or value % 2 == 0:
        raise hyperparameter_error(instance, attribute.alias, value, "an odd number, >= 1")


class SSIM(Metric):
    """Structural similarity, at most 1, a mean over positions, channels and images.

    ``(2 mx my + c1)(2 sxy + c2) / ((mx^2 + my^2 + c1)(sx^2 + sy^2 + c2))`` with means, variances and covariance under a
    Gaussian window of ``window`` x ``window`` pixels, at the positions where it fits whole, as in the authors' program;
    ``c1 = (k1 data_range)^2``, ``c2 = (k2 data_range)^2``. Variances are those of the window (no correction for its size).

    Shapes: ``pred`` and ``target`` (N, C, H, W), or (N, H, W); each channel counts alike. ``weight`` is one number per
    image. ``data_range`` is the span that values may have: 1.0 (default), or 255 for bytes.

    Source: Z. Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE Transactions on
    Image Processing 13 (2004), equations 13 to 17.

    Raises:
        DataError: shapes that do not fit, images smaller than the window, or weights that sum to zero.
    """

    higher_is_better: ClassVar[bool | None] = True
    totals: ClassVar[dict[str, Any]] = {"value": 0.0, "weight": 0.0}

    data_range: float = field(default=1.0, validator=positive, doc="span of the values")
    window: int = field(default=11, validator=_odd, kw_only=True, doc="side of the window in pixels")
    sigma: float = field(
        default=1.5, validator=positive, kw_only=True, doc="standard deviation of the window in pixels"
    )
    k1: float = field(default=0.01, validator=non_negative, kw_only=True, doc="steadies the quotient of means")
    k2: float = field(default=0.03, validator=non_negative, kw_only=True, doc="steadies the quotient of variances")

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        x, y = pair("SSIM", pred, target)
        if x.ndim not in (3, 4) or min(x.shape[-2:]) < self.window:
            raise DataError(
                f"SSIM: expected images (N, C, H, W) or (N, H, W) of at least {self.window} x {self.window} pixels, got "
                f"{tuple(x.shape)}"
            )
        offsets = np.arange(self.window) - self.window // 2
        taps = np.exp(-(offsets**2) / (2 * self.sigma**2))
        taps = (taps / taps.sum()).tolist()

        def blur(v: Any) -> Any:
            for axis in (-2, -1):
                count = v.shape[axis] - self.window + 1
                parts = (v[..., i : i + count, :] if axis == -2 else v[..., i : i + count] for i in range(self.window))
                v = sum(tap * part for tap, part in zip(taps, parts))
            return v

        c1, c2 = (self.k1 * self.data_range) ** 2, (self.k2 * self.data_range) ** 2
        mx, my = blur(x), blur(y)
        vx, vy, vxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
        similarity = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
        similarity = similarity.reshape(x.shape[0], -1).mean(axis=1)
        weight = spread("SSIM", weight, tuple(similarity.shape))
        self.value = self.value + (similarity.sum() if weight is None else (similarity * weight).sum())
        self.weight = self.weight + (x.shape[0] if weight is None else weight.sum())

    def result(self) -> float:
        return quotient("SSIM", self.value, self.weight)
