"""Resizing and warping of batches of images. For uint8, the results are Pillow's bit for bit, columns resampled first.

Sources: Pillow's Resample.c (antialiased, separable, fixed point for bytes) and Geometry.c.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from lunar_core.errors import HyperparameterError

_BITS = 22
METHODS = ("nearest", "box", "bilinear", "bicubic", "lanczos")
_SUPPORT = {"box": 0.5, "bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}
Box = tuple[float, float, float, float]


def _filter(method: str, x: np.ndarray) -> np.ndarray:
    if method == "box":
        return ((x > -0.5) & (x <= 0.5)).astype(np.float64)
    x = np.abs(x)
    if method == "bilinear":
        return np.maximum(0, 1 - x)
    if method == "bicubic":
        a = -0.5
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = (((x - 5) * x + 8) * x - 4) * a
        return np.where(x < 1, near, np.where(x < 2, far, 0))
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)


@functools.lru_cache(maxsize=256)
def _weights(size: int, low: float, high: float, out: int, method: str, fixed: bool) -> tuple[np.ndarray, int, int]:
    """Matrix (out, b - a) that maps the entries a..b of an axis to ``out`` ones, and a and b."""
    scale = (high - low) / out
    stretch = max(scale, 1.0)
    support = _SUPPORT[method] * stretch
    centers = low + (np.arange(out) + 0.5) * scale
    first = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centers + support + 0.5).astype(np.int64), size)
    a, b = int(first.min()), int(last.max())
    places = np.arange(a, b)
    weights = _filter(method, (places - centers[:, None] + 0.5) / stretch)
    weights[(places < first[:, None]) | (places >= last[:, None])] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    if fixed:
        weights = np.trunc(weights * (1 << _BITS) + np.copysign(0.5, weights))
    return weights, a, b


def resize(images: np.ndarray, size: tuple[int, int], method: str = "bilinear", box: Box | None = None) -> np.ndarray:
    """Images (..., H, W) resampled to ``size`` (h, w), antialiased; ``box`` is the part to take, x0, y0, x1, y1.

    uint8 images give what ``PIL.Image.resize`` gives for the width and then for the height, computed by Pillow where it
    is installed (it is faster) and in
    NumPy elsewhere; other integers only by "nearest"; floating ones without rounding in between.
    """
    height, width = images.shape[-2:]
    x0, y0, x1, y1 = box or (0.0, 0.0, float(width), float(height))
    if method == "nearest":
        rows = np.floor((np.arange(size[0]) + 0.5) * ((y1 - y0) / size[0]) + y0).astype(np.int64)
        columns = np.floor((np.arange(size[1]) + 0.5) * ((x1 - x0) / size[1]) + x0).astype(np.int64)
        return images[..., np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)]
    if images.dtype == np.uint8 and images.ndim == 3 and images.shape[0] in (1, 3) and _pillow() is not None:
        return _by_pillow(images, size, method, (x0, y0, x1, y1))
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise HyperparameterError(f"resize: {images.dtype} images are resized by method='nearest', got {method!r}")
    fixed = images.dtype == np.uint8
    result = images
    if size[1] != width or (x0, x1) != (0, width):
        weights, a, b = _weights(width, x0, x1, size[1], method, fixed)
        result = _rounded(_product(result[..., a:b], weights.T), fixed)
    if size[0] != height or (y0, y1) != (0, height):
        weights, a, b = _weights(height, y0, y1, size[0], method, fixed)
        swapped = result[..., a:b, :]
        kind = np.float64 if fixed else _accumulator(images.dtype)
        result = _rounded(np.matmul(weights.astype(kind), swapped.astype(kind, copy=False)), fixed)
    return result.astype(images.dtype, copy=False)


def _accumulator(dtype: np.dtype) -> type:
    return np.float64 if dtype.itemsize > 4 else np.float32


def _product(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # Sums of byte * 22-bit weights stay below 2^53: float64 is exact, and its product is BLAS's.
    kind = np.float64 if values.dtype == np.uint8 else _accumulator(values.dtype)
    return np.matmul(values.astype(kind, copy=False), weights.astype(kind))


def _rounded(values: np.ndarray, fixed: bool) -> np.ndarray:
    if not fixed:
        return values
    return np.clip(np.floor((values + (1 << (_BITS - 1))) / (1 << _BITS)), 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=1)
def _pillow():  # type: ignore[no-untyped-def]
    try:
        from PIL import Image
    except ImportError:
        return None
    return Image


def _by_pillow(image: np.ndarray, size: tuple[int, int], method: str, box: Box) -> np.ndarray:
    module = _pillow()
    rows = np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    resample = getattr(module.Resampling, method.upper())
    # Which axis Pillow takes first depends on its version and on the sizes, and bytes are rounded in between: two calls
    # fix the order.
    x0, y0, x1, y1 = box
    height, width = image.shape[-2:]
    result = module.fromarray(rows)
    if size[1] != width or (x0, x1) != (0, width):
        result = result.resize((size[1], height), resample, (x0, 0, x1, height))
    if size[0] != height or (y0, y1) != (0, height):
        result = result.resize(size[::-1], resample, (0, y0, size[1], y1))
    out = np.asarray(result)
    return out[None] if len(image) == 1 else out.transpose(2, 0, 1)


def warp(
    images: np.ndarray,
    inverse: np.ndarray,
    size: tuple[int, int] | None = None,
    method: str = "bilinear",
    fill: float = 0.0,
) -> np.ndarray:
    """Images (n, ..., H, W) seen through ``inverse`` (n, 3, 3), which takes a place in the result to one in the image.

    Places are (x, y) in pixels, pixel centres at halves, homogeneous. What comes from outside of the image is ``fill``.
    ``method`` is "nearest" or "bilinear", as in Pillow's ``Image.transform``.
    """
    n, (height, width) = len(images), images.shape[-2:]
    h, w = size or (height, width)
    y, x = np.mgrid[0:h, 0:w] + 0.5
    grid = np.stack([x.ravel(), y.ravel(), np.ones(h * w)])
    at = np.matmul(inverse.astype(np.float64), grid)  # (n, 3, h*w)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = at[:, 0] / at[:, 2], at[:, 1] / at[:, 2]
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    u, v = np.where(inside, u, 0.5), np.where(inside, v, 0.5)
    flat = images.reshape(n, -1, height * width)
    if method == "nearest":
        place = v.astype(np.int64) * width + u.astype(np.int64)
        values = np.take_along_axis(flat, place[:, None], axis=2)
    else:
        u, v = u - 0.5, v - 0.5
        left, top = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
        kind = _accumulator(images.dtype) if images.dtype.kind == "f" else np.float64
        across, down = (u - left).astype(kind)[:, None], (v - top).astype(kind)[:, None]
        x0, x1 = np.clip(left, 0, width - 1), np.clip(left + 1, 0, width - 1)
        y0, y1 = np.clip(top, 0, height - 1) * width, np.clip(top + 1, 0, height - 1) * width

        def pixels(place: np.ndarray) -> np.ndarray:
            return np.take_along_axis(flat, place[:, None], axis=2).astype(kind, copy=False)

        a, b, c, d = pixels(y0 + x0), pixels(y0 + x1), pixels(y1 + x0), pixels(y1 + x1)
        upper, lower = a + (b - a) * across, c + (d - c) * across
        values = upper + (lower - upper) * down
    values = np.where(inside[:, None], values, np.asarray(fill, values.dtype))
    return values.reshape(*images.shape[:-2], h, w).astype(images.dtype, copy=False)


def moved_boxes(boxes: np.ndarray, forward: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The upright boxes around boxes (K, 4) moved by ``forward`` (3, 3), cut off at an image of ``size`` (h, w)."""
    x0, y0, x1, y1 = boxes.T.astype(np.float64)
    corners = np.stack(
        [np.stack([x0, x1, x1, x0], 1), np.stack([y0, y0, y1, y1], 1), np.ones((len(boxes), 4))], 1
    )  # (K, 3, 4)
    moved = np.matmul(forward.astype(np.float64), corners)
    x, y = moved[:, 0] / moved[:, 2], moved[:, 1] / moved[:, 2]
    return clipped(np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], 1), size).astype(boxes.dtype)


def clipped(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes cut off at an image of ``size`` (h, w); one that lies outside has no area."""
    limit = np.array([size[1], size[0], size[1], size[0]], np.float64)
    return np.clip(boxes, 0, limit).astype(boxes.dtype, copy=False)


def rotation(degrees: np.ndarray, center: tuple[float, float]) -> np.ndarray:
    """Forward matrices (n, 3, 3) that turn by ``degrees`` against the clock, as one sees an image, about ``center``."""
    angle = np.deg2rad(np.asarray(degrees, np.float64))
    result = np.zeros((*angle.shape, 3, 3))
    result[..., 0, 0] = result[..., 1, 1] = np.cos(angle)
    result[..., 0, 1] = np.sin(angle)
    result[..., 1, 0] = -np.sin(angle)
    result[..., 2, 2] = 1
    return about(result, center)


def about(matrix: np.ndarray, center: tuple[float, float]) -> np.ndarray:
    """``matrix`` with ``center`` (x, y) as its origin."""
    to, back = np.eye(3), np.eye(3)
    to[:2, 2], back[:2, 2] = np.negative(center), center
    return back @ matrix @ to


def four_points(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The projective map (3, 3) that takes four points ``source`` (4, 2) to ``target`` (4, 2)."""
    rows, right = [], []
    for (x, y), (u, v) in zip(source, target):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return np.append(np.linalg.solve(np.array(rows, np.float64), np.array(right, np.float64)), 1.0).reshape(3, 3)


def area_box(
    rng: np.random.Generator, size: tuple[int, int], area: tuple[float, float], ratio: tuple[float, float]
) -> Box:
    """A random box of whole pixels: its share of the image's area in ``area``, width over height in ``ratio``.

    After ten boxes that do not fit, the largest central one whose ratio is allowed, as in torchvision.
    """
    height, width = size
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        target = height * width * rng.uniform(*area)
        shape = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(target * shape)), round(math.sqrt(target / shape))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
            return left, top, left + w, top + h
    own = width / height
    w, h = width, height
    if own < ratio[0]:
        h = min(height, max(1, round(w / ratio[0])))
    elif own > ratio[1]:
        w = min(width, max(1, round(h * ratio[1])))
    top, left = (height - h) // 2, (width - w) // 2
    return left, top, left + w, top + h
