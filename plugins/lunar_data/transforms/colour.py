"""What happens to the values of pixels: colour, contrast, sharpness, histograms. Bytes as Pillow, floats without rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.transform import Drawn
from lunar_core.errors import ShapeError
from lunar_data.transforms.geometry import ImageTransform


def _per_image(values: Any, ndim: int) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(-1, *[1] * (ndim - 1))


def blend(first: np.ndarray, second: np.ndarray, factor: Any) -> np.ndarray:
    """``first + factor (second - first)`` for each image of a batch, cut off at black and white; Pillow's Image.blend."""
    kind = np.float64 if second.dtype == np.float64 else np.float32
    a = first.astype(kind)
    mixed = a + _per_image(factor, second.ndim).astype(kind) * (second.astype(kind) - a)
    if second.dtype == np.uint8:
        return np.clip(mixed, 0, 255).astype(np.uint8)  # towards zero, as Pillow does
    return np.clip(mixed, 0, 1).astype(second.dtype, copy=False)


def luma(images: np.ndarray) -> np.ndarray:
    """Brightness (n, 1, H, W) by ITU-R 601-2; images of one channel are it already."""
    if images.shape[1] == 1:
        return images
    if images.shape[1] != 3:
        raise ShapeError(f"colour transforms take images of 1 or 3 channels, got {images.shape[1]}")
    if images.dtype == np.uint8:
        r, g, b = (images[:, k].astype(np.uint32) for k in range(3))
        return ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16).astype(np.uint8)[:, None]
    weights = np.array([0.299, 0.587, 0.114], images.dtype).reshape(1, 3, 1, 1)
    return (images * weights).sum(axis=1, keepdims=True)


def brightness(images: np.ndarray, factor: Any) -> np.ndarray:
    """0 is black, 1 the image."""
    return blend(np.zeros_like(images), images, factor)


def contrast(images: np.ndarray, factor: Any) -> np.ndarray:
    """0 is a plain grey of the image's mean brightness, 1 the image."""
    mean = luma(images).mean(axis=(1, 2, 3), dtype=np.float64).reshape(-1, 1, 1, 1)
    mean = np.floor(mean + 0.5) if images.dtype == np.uint8 else mean
    return blend(np.broadcast_to(mean.astype(images.dtype), images.shape), images, factor)


def saturation(images: np.ndarray, factor: Any) -> np.ndarray:
    """0 is grey, 1 the image."""
    return blend(np.broadcast_to(luma(images), images.shape), images, factor)


def sharpness(images: np.ndarray, factor: Any) -> np.ndarray:
    """0 is smoothed by a 3x3 kernel (the outermost pixels stay), 1 the image, more is sharper."""
    smooth = images.copy()
    if min(images.shape[-2:]) > 2:
        kind = np.float64 if images.dtype == np.float64 else np.float32
        wide = images.astype(kind)
        total = 4 * wide[..., 1:-1, 1:-1]
        height, width = images.shape[-2:]
        for dy in range(3):
            for dx in range(3):
                total += wide[..., dy : dy + height - 2, dx : dx + width - 2]
        total /= 13
        smooth[..., 1:-1, 1:-1] = np.floor(total + 0.5) if images.dtype == np.uint8 else total
    return blend(smooth, images, factor)


def hue(images: np.ndarray, turn: Any) -> np.ndarray:
    """Colours moved by ``turn`` (-0.5 to 0.5 of a full turn) around the HSV circle; one channel has no hue."""
    if images.shape[1] == 1:
        return images
    unit = images.astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
    r, g, b = unit[:, 0], unit[:, 1], unit[:, 2]
    high, low = unit.max(axis=1), unit.min(axis=1)
    span = high - low
    safe = np.where(span == 0, 1, span)
    angle = np.where(high == r, (g - b) / safe, np.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    angle = (angle / 6 + _per_image(turn, 3).astype(np.float64)) % 1.0
    # The channel at phase n is high - span * clip(min(k, 4 - k), 0, 1), k = (n + 6 hue) mod 6.
    result = np.empty_like(unit)
    for channel, phase in enumerate((5, 3, 1)):
        k = (phase + 6 * angle) % 6
        result[:, channel] = high - span * np.clip(np.minimum(k, 4 - k), 0, 1)
    if images.dtype == np.uint8:
        return np.floor(result * 255 + 0.5).astype(np.uint8)
    return result.astype(images.dtype)


def _bytes(images: np.ndarray) -> np.ndarray:
    return images if images.dtype == np.uint8 else np.clip(np.rint(images * 255), 0, 255).astype(np.uint8)


def _like(result: np.ndarray, images: np.ndarray) -> np.ndarray:
    return result if images.dtype == np.uint8 else (result / np.float64(255)).astype(images.dtype)


def _looked_up(images: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Bytes (n, C, H, W) through tables (n, C, 256)."""
    n, c = images.shape[:2]
    flat = images.reshape(n, c, -1)
    return np.take_along_axis(tables, flat.astype(np.int64), axis=2).reshape(images.shape)


def posterize(images: np.ndarray, bits: Any) -> np.ndarray:
    """Only the highest ``bits`` bits of each byte are kept."""
    mask = (256 - (1 << (8 - np.asarray(bits, np.int64)))).astype(np.uint8).reshape(-1, 1, 1, 1)
    return _like(_bytes(images) & mask, images)


def solarize(images: np.ndarray, threshold: Any) -> np.ndarray:
    """Bytes of at least ``threshold`` (0 to 256) are inverted."""
    values = _bytes(images)
    return _like(np.where(values < _per_image(threshold, 4), values, 255 - values), images)


def auto_contrast(images: np.ndarray) -> np.ndarray:
    """Each channel stretched so that its darkest byte is 0 and its brightest 255."""
    values = _bytes(images)
    low = values.min(axis=(2, 3)).astype(np.float64)[..., None]
    high = values.max(axis=(2, 3)).astype(np.float64)[..., None]
    scale = 255.0 / np.where(high > low, high - low, 1)
    table = np.clip((np.arange(256) * scale - low * scale).astype(np.int64), 0, 255)
    tables = np.where(high > low, table, np.arange(256)).astype(np.uint8)
    return _like(_looked_up(values, tables), images)


def equalize(images: np.ndarray) -> np.ndarray:
    """Each channel's histogram made flat, as Pillow's ImageOps.equalize."""
    values = _bytes(images)
    n, c = values.shape[:2]
    tables = np.empty((n, c, 256), np.uint8)
    for i in range(n):
        for k in range(c):
            counts = np.bincount(values[i, k].ravel(), minlength=256)
            present = counts[counts > 0]
            step = int(present[:-1].sum()) // 255
            if len(present) <= 1 or not step:
                tables[i, k] = np.arange(256)
            else:
                before = np.concatenate([[0], np.cumsum(counts)[:-1]])
                tables[i, k] = np.minimum((step // 2 + before) // step, 255)
    return _like(_looked_up(values, tables), images)


def invert(images: np.ndarray) -> np.ndarray:
    """Black becomes white."""
    return 255 - images if images.dtype == np.uint8 else 1 - images


class ColorJitter(ImageTransform):
    """Brightness, contrast, saturation and hue changed at random, in an order drawn anew for each image.

    The factors of the first three are uniform on [max(0, 1 - v), 1 + v], the hue's turn on [-v, v]; as torchvision.
    """

    brightness: float = field(default=0.0, validator=non_negative)
    contrast: float = field(default=0.0, validator=non_negative)
    saturation: float = field(default=0.0, validator=non_negative)
    hue: float = field(default=0.0, validator=in_range(0, 0.5))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        amounts = (self.brightness, self.contrast, self.saturation)
        factors = [rng.uniform(max(0.0, 1 - v), 1 + v) for v in amounts]
        return {"factors": np.array([*factors, rng.uniform(-self.hue, self.hue)]), "order": rng.permutation(4)}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        steps = (brightness, contrast, saturation, hue)
        amounts = (self.brightness, self.contrast, self.saturation, self.hue)
        result = values
        for place in range(4):
            chosen = drawn["order"][:, place]
            new = result
            for k, step in enumerate(steps):
                rows = np.flatnonzero(chosen == k)
                if amounts[k] and len(rows):
                    new = result.copy() if new is result else new
                    new[rows] = step(result[rows], drawn["factors"][rows, k])
            result = new
        return result


class Grayscale(ImageTransform):
    """The brightness in every channel, with probability ``p``."""

    p: float = field(default=1.0, validator=in_range(0, 1))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"factor": float(rng.random() >= self.p)}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        return saturation(values, drawn["factor"])
