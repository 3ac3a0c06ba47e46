"""Where pixels go: resizing, cropping, padding, flipping, turning and projecting, with masks and boxes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from lunar_core.component import field, in_range, non_negative, one_of, positive
from lunar_core.contracts.transform import Drawn, Transform
from lunar_core.errors import ShapeError
from lunar_data.transforms import resampling
from lunar_data.transforms.resampling import METHODS, Box, clipped, moved_boxes, resize, warp


class ImageTransform(Transform):
    """Base of transforms of images (C, H, W)."""

    example_ndim = 3


class Resize(ImageTransform):
    """Resample to ``size`` (h, w); a single number makes the shorter side that long and keeps the proportions.

    Antialiased; on bytes bit for bit what Pillow gives. Masks by nearest neighbour.
    """

    size: int | tuple[int, int] = field(validator=positive)
    method: str = field(default="bilinear", validator=one_of(*METHODS))

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result."""
        if isinstance(self.size, tuple):
            return self.size
        if height <= width:
            return self.size, max(1, int(self.size * width / height))
        return max(1, int(self.size * height / width)), self.size

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        size = self.target(*values.shape[-2:])
        if values.dtype == np.uint8 and len(values):
            return np.stack([resize(one, size, self.method) for one in values])
        return resize(values, size, self.method)

    def apply_mask(self, masks: np.ndarray, drawn: Drawn) -> np.ndarray:
        return resize(masks, self.target(*masks.shape[-2:]), "nearest")

    def apply_boxes(self, boxes: np.ndarray, drawn: Drawn, size: tuple[int, int]) -> np.ndarray:
        h, w = self.target(*size)
        return boxes * np.array([w / size[1], h / size[0]] * 2, boxes.dtype)


class _Cropping(ImageTransform):
    """A window of one size at a drawn place ``at`` (top, left)."""

    size: int | tuple[int, int] = field(validator=positive, doc="height and width; one number for both")

    def window(self) -> tuple[int, int]:
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    def room(self, shape: tuple[int, ...]) -> tuple[int, int]:
        h, w = self.window()
        if h > shape[-2] or w > shape[-1]:
            raise ShapeError(
                f"{type(self).__name__}: a window of {h} x {w} does not fit an image of {shape[-2]} x {shape[-1]}",
                hint="Pad or Resize first",
            )
        return shape[-2] - h, shape[-1] - w

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        h, w = self.window()
        at = drawn["at"]
        if len(at) and (at == at[0]).all():
            return values[..., at[0, 0] : at[0, 0] + h, at[0, 1] : at[0, 1] + w]
        return np.stack([one[..., top : top + h, left : left + w] for one, (top, left) in zip(values, at)])

    apply_mask = apply

    def apply_boxes(self, boxes: np.ndarray, drawn: Drawn, size: tuple[int, int]) -> np.ndarray:
        top, left = drawn["at"]
        return clipped(boxes - np.array([left, top, left, top], boxes.dtype), self.window())


class CenterCrop(_Cropping):
    """The window of ``size`` in the middle."""

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        down, across = self.room(shape)
        return {"at": np.array([round(down / 2), round(across / 2)])}


class RandomCrop(_Cropping):
    """A window of ``size`` at a random place, after ``padding`` pixels of ``fill`` were put on each side."""

    padding: int = field(default=0, validator=non_negative)
    fill: float = 0.0

    def run(self, fields: dict[str, Any], generators: Any) -> dict[str, Any]:
        if self.padding:
            fields = Pad(self.padding, fill=self.fill).run(fields, generators)
        return super().run(fields, generators)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        down, across = self.room(shape)
        return {"at": np.array([rng.integers(0, down + 1), rng.integers(0, across + 1)])}


class RandomResizedCrop(ImageTransform):
    """A random part of the image, resampled to ``size``: Inception's augmentation.

    Its area is a share in ``area`` of the image's, its width over height in ``ratio`` (uniform in the logarithm).
    Source: C. Szegedy et al., arXiv:1409.4842, section 6; the draws follow torchvision's.
    """

    size: int | tuple[int, int] = field(validator=positive)
    area: tuple[float, float] = field(default=(0.08, 1.0), validator=in_range(0, 1, include_low=False))
    ratio: tuple[float, float] = field(default=(3 / 4, 4 / 3), validator=positive)
    method: str = field(default="bilinear", validator=one_of(*METHODS))

    def _size(self) -> tuple[int, int]:
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"box": np.array(resampling.area_box(rng, (shape[-2], shape[-1]), self.area, self.ratio), np.float64)}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        return np.stack([resize(one, self._size(), self.method, _box(box)) for one, box in zip(values, drawn["box"])])

    def apply_mask(self, masks: np.ndarray, drawn: Drawn) -> np.ndarray:
        return np.stack([resize(one, self._size(), "nearest", _box(box)) for one, box in zip(masks, drawn["box"])])

    def apply_boxes(self, boxes: np.ndarray, drawn: Drawn, size: tuple[int, int]) -> np.ndarray:
        x0, y0, x1, y1 = drawn["box"]
        h, w = self._size()
        moved = (boxes - np.array([x0, y0, x0, y0])) * np.array([w / (x1 - x0), h / (y1 - y0)] * 2)
        return clipped(moved, (h, w)).astype(boxes.dtype)


def _box(box: np.ndarray) -> Box:
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


class Pad(ImageTransform):
    """Put ``padding`` pixels on each side: one number, or (top, bottom, left, right).

    ``mode`` is constant (``fill``), reflect (without the edge), symmetric (with it) or edge. Masks get ``mask_fill``.
    """

    padding: int | tuple[int, int, int, int] = field(validator=non_negative)
    mode: str = field(default="constant", validator=one_of("constant", "reflect", "symmetric", "edge"))
    fill: float = 0.0
    mask_fill: int = 0

    def sides(self) -> tuple[int, int, int, int]:
        """Top, bottom, left, right."""
        return self.padding if isinstance(self.padding, tuple) else (self.padding,) * 4

    def _padded(self, values: np.ndarray, fill: float) -> np.ndarray:
        top, bottom, left, right = self.sides()
        widths = [(0, 0)] * (values.ndim - 2) + [(top, bottom), (left, right)]
        if self.mode == "constant":
            return np.pad(values, widths, constant_values=fill)
        return np.pad(values, widths, mode=self.mode)  # type: ignore[call-overload]

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        return self._padded(values, self.fill)

    def apply_mask(self, masks: np.ndarray, drawn: Drawn) -> np.ndarray:
        return self._padded(masks, self.mask_fill)

    def apply_boxes(self, boxes: np.ndarray, drawn: Drawn, size: tuple[int, int]) -> np.ndarray:
        top, _, left, _ = self.sides()
        return boxes + np.array([left, top, left, top], boxes.dtype)


class _Flip(ImageTransform):
    p: float = field(default=0.5, validator=in_range(0, 1), doc="probability")
    _axis: ClassVar[int] = -1

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"flip": rng.random() < self.p}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        flip = drawn["flip"]
        if flip.all():
            return np.flip(values, self._axis)
        if not flip.any():
            return values
        result = values.copy()
        result[flip] = np.flip(values[flip], self._axis)
        return result

    apply_mask = apply

    def apply_boxes(self, boxes: np.ndarray, drawn: Drawn, size: tuple[int, int]) -> np.ndarray:
        if not drawn["flip"]:
            return boxes
        result = boxes.copy()
        low, length = (0, size[1]) if self._axis == -1 else (1, size[0])
        result[:, low], result[:, low + 2] = length - boxes[:, low + 2], length - boxes[:, low]
        return result


class HorizontalFlip(_Flip):
    """Left becomes right, with probability ``p``."""


class VerticalFlip(_Flip):
    """Top becomes bottom, with probability ``p``."""

    _axis: ClassVar[int] = -2


class _Warp(ImageTransform):
    """A projective map of the image onto one of the same size; a subclass draws its ``forward`` matrix (3, 3)."""

    method: str = field(default="bilinear", validator=one_of("nearest", "bilinear"), kw_only=True)
    fill: float = field(default=0.0, kw_only=True, doc="what comes from outside of the image")
    mask_fill: int = field(default=0, kw_only=True, doc="the same for masks")

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        return warp(values, np.linalg.inv(drawn["forward"]), method=self.method, fill=self.fill)

    def apply_mask(self, masks: np.ndarray, drawn: Drawn) -> np.ndarray:
        return warp(masks, np.linalg.inv(drawn["forward"]), method="nearest", fill=self.mask_fill)

    def apply_boxes(self, boxes: np.ndarray, drawn: Drawn, size: tuple[int, int]) -> np.ndarray:
        return moved_boxes(boxes, drawn["forward"], size)


class Rotate(_Warp):
    """Turn about the middle by a random angle in ``degrees``, a range; one number stands for its negative up to itself.

    Positive angles turn against the clock. A box becomes the upright box around its turned corners.
    """

    degrees: float | tuple[float, float] = 15.0

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        angle = rng.uniform(*_range(self.degrees))
        return {"forward": resampling.rotation(np.asarray(angle), (shape[-1] / 2, shape[-2] / 2))}


class Affine(_Warp):
    """A random rotation, shear, scaling and shift about the middle, in this order from the image outwards.

    ``translate`` is the largest shift as a share of width and height, ``scale`` a range of factors, ``shear`` a range of
    degrees along x, or its bound.
    """

    degrees: float | tuple[float, float] = 0.0
    translate: tuple[float, float] = field(default=(0.0, 0.0), validator=non_negative)
    scale: tuple[float, float] = field(default=(1.0, 1.0), validator=positive)
    shear: float | tuple[float, float] = 0.0

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        center = (shape[-1] / 2, shape[-2] / 2)
        turn = resampling.rotation(np.asarray(rng.uniform(*_range(self.degrees))), (0.0, 0.0))
        shear = np.eye(3)
        shear[0, 1] = math.tan(math.radians(rng.uniform(*_range(self.shear))))
        factor = rng.uniform(*self.scale)
        matrix = resampling.about(np.diag([factor, factor, 1.0]) @ shear @ turn, center)
        matrix[:2, 2] += [rng.uniform(-t, t) * length for t, length in zip(self.translate, (shape[-1], shape[-2]))]
        return {"forward": matrix}


class Perspective(_Warp):
    """Move each corner inwards by up to half of ``distortion`` of the side, with probability ``p``; as torchvision."""

    distortion: float = field(default=0.5, validator=in_range(0, 1, include_high=False))
    p: float = field(default=0.5, validator=in_range(0, 1))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        h, w = shape[-2:]
        corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float64)
        inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * rng.uniform(0, self.distortion / 2, (4, 2)) * [w, h]
        happens = rng.random() < self.p
        return {"forward": resampling.four_points(corners, corners + inwards) if happens else np.eye(3)}


def _range(value: float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (-abs(value), abs(value))
