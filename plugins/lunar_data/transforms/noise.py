"""Blur, noise, and parts of an image taken away."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.contracts.transform import Drawn
from lunar_data.transforms.geometry import ImageTransform


def gaussian_blur(images: np.ndarray, sigma: np.ndarray, radius: int) -> np.ndarray:
    """Images (n, C, H, W) blurred by a Gaussian of ``sigma`` (n,) pixels, cut off after ``radius``; edges mirrored."""
    kind = np.float64 if images.dtype == np.float64 else np.float32
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / np.asarray(sigma, np.float64).reshape(-1, 1)) ** 2)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(kind)
    result = images.astype(kind)
    for axis in (2, 3):
        if images.shape[axis] == 1:
            continue
        widths = [(0, 0)] * 4
        widths[axis] = (radius, radius)
        padded = np.pad(result, widths, mode="reflect")
        length = images.shape[axis]
        total = np.zeros_like(result)
        for k in range(2 * radius + 1):
            window = padded[:, :, k : k + length] if axis == 2 else padded[..., k : k + length]
            total += weights[:, k].reshape(-1, 1, 1, 1) * window
        result = total
    if images.dtype == np.uint8:
        return np.clip(np.rint(result), 0, 255).astype(np.uint8)
    return result.astype(images.dtype, copy=False)


class GaussianBlur(ImageTransform):
    """Blur by a Gaussian whose deviation in pixels is uniform on ``sigma``; cut off after ``truncate`` deviations."""

    sigma: tuple[float, float] = field(default=(0.1, 2.0), validator=positive)
    truncate: float = field(default=4.0, validator=positive)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"sigma": rng.uniform(*self.sigma)}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        return gaussian_blur(values, drawn["sigma"], max(1, int(self.truncate * self.sigma[1] + 0.5)))


class GaussianNoise(ImageTransform):
    """Add normal noise of ``mean`` and ``std``, in units of full white, and cut off at black and white."""

    std: float = field(default=0.1, validator=non_negative)
    mean: float = 0.0

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"noise": rng.standard_normal(shape, np.float32)}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        noise = drawn["noise"] * np.float32(self.std) + np.float32(self.mean)
        if values.dtype == np.uint8:
            return np.clip(np.rint(values + 255 * noise), 0, 255).astype(np.uint8)
        return np.clip(values + noise, 0, 1).astype(values.dtype, copy=False)


class _Erasing(ImageTransform):
    """Rectangles (top, left, bottom, right) of each image set to one value."""

    value: float = field(default=0.0, kw_only=True)

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        result = values.copy()
        for image, rectangles in zip(result, drawn["rectangles"]):
            for top, left, bottom, right in rectangles:
                image[:, top:bottom, left:right] = self.value
        return result


class RandomErasing(_Erasing):
    """One rectangle set to ``value``, with probability ``p``.

    Its share of the area is in ``area``, its height over width in ``ratio``. Source: Z. Zhong et al., arXiv:1708.04896.
    """

    p: float = field(default=0.5, validator=in_range(0, 1))
    area: tuple[float, float] = field(default=(0.02, 0.33), validator=in_range(0, 1))
    ratio: tuple[float, float] = field(default=(0.3, 3.3), validator=positive)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        height, width = shape[-2:]
        found = np.zeros((1, 4), np.int64)
        if rng.random() < self.p:
            for _ in range(10):
                target = height * width * rng.uniform(*self.area)
                shape_ = np.exp(rng.uniform(*np.log(self.ratio)))
                h, w = round(float(np.sqrt(target * shape_))), round(float(np.sqrt(target / shape_)))
                if 0 < h < height and 0 < w < width:
                    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
                    found[0] = top, left, top + h, left + w
                    break
        return {"rectangles": found}


class Cutout(_Erasing):
    """``holes`` squares of side ``length`` set to ``value``; they are centred anywhere, so edges cut them.

    Source: T. DeVries and G. Taylor, arXiv:1708.04552.
    """

    length: int = field(default=16, validator=positive)
    holes: int = field(default=1, validator=positive)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        height, width = shape[-2:]
        y, x = rng.integers(0, height, self.holes), rng.integers(0, width, self.holes)
        top, left = y - self.length // 2, x - self.length // 2
        corners = [np.maximum(top, 0), np.maximum(left, 0), top + self.length, left + self.length]
        return {
            "rectangles": np.stack([corners[0], corners[1], np.maximum(corners[2], 0), np.maximum(corners[3], 0)], 1)
        }
