"""Policies of augmentation: RandAugment, TrivialAugment and AutoAugment over one table of operations."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lunar_core.component import field, in_range, one_of, positive
from lunar_core.contracts.transform import Drawn
from lunar_data.transforms import colour
from lunar_data.transforms.geometry import ImageTransform
from lunar_data.transforms.resampling import moved_boxes, rotation, warp

GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
OPERATIONS = (
    "identity",
    *GEOMETRIC,
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "auto_contrast",
    "equalize",
    "invert",
)
_NUMBER = {name: k for k, name in enumerate(OPERATIONS)}
_SIGNED = {*GEOMETRIC, "brightness", "color", "contrast", "sharpness"}
_ENHANCE = {
    "brightness": colour.brightness,
    "color": colour.saturation,
    "contrast": colour.contrast,
    "sharpness": colour.sharpness,
}


def forward_matrix(name: str, amount: float, size: tuple[int, int]) -> np.ndarray:
    """The map of places (3, 3) of a geometric operation, of whatever moves no pixel the identity."""
    matrix = np.eye(3)
    if name == "rotate":
        return rotation(np.asarray(amount), (size[1] / 2, size[0] / 2))
    if name == "shear_x":
        matrix[0, 1] = amount
    elif name == "shear_y":
        matrix[1, 0] = amount
    elif name == "translate_x":
        matrix[0, 2] = amount
    elif name == "translate_y":
        matrix[1, 2] = amount
    return matrix


def operate(images: np.ndarray, name: str, amount: float, fill: float = 0.0) -> np.ndarray:
    """One operation on images (n, C, H, W). ``amount``: a shear, pixels, degrees, factor - 1, bits, or a threshold."""
    if name in GEOMETRIC:
        inverse = np.linalg.inv(forward_matrix(name, amount, images.shape[-2:]))
        return warp(images, np.broadcast_to(inverse, (len(images), 3, 3)), method="nearest", fill=fill)
    if name in _ENHANCE:
        return _ENHANCE[name](images, np.full(len(images), 1 + amount))
    if name == "posterize":
        return colour.posterize(images, np.full(len(images), int(amount)))
    if name == "solarize":
        return colour.solarize(images, np.full(len(images), amount))
    plain = {"auto_contrast": colour.auto_contrast, "equalize": colour.equalize, "invert": colour.invert}
    return plain[name](images) if name in plain else images


class _Policy(ImageTransform):
    """A list of operations with amounts, drawn for each image."""

    fill: float = field(default=0.0, kw_only=True, doc="what comes from outside of the image")
    mask_fill: int = field(default=0, kw_only=True, doc="the same for masks")

    def choose(self, rng: np.random.Generator, size: tuple[int, int]) -> list[tuple[str, float]]:
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        chosen = self.choose(rng, (shape[-2], shape[-1]))
        return {
            "operation": np.array([_NUMBER[name] for name, _ in chosen]),
            "amount": np.array([amount for _, amount in chosen]),
        }

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        return np.concatenate([self._one(values[k : k + 1], drawn, k) for k in range(len(values))])

    def _one(self, image: np.ndarray, drawn: Drawn, k: int) -> np.ndarray:
        for number, amount in zip(drawn["operation"][k], drawn["amount"][k]):
            image = operate(image, OPERATIONS[number], float(amount), self.fill)
        return image

    def apply_mask(self, masks: np.ndarray, drawn: Drawn) -> np.ndarray:
        result = masks.copy()
        for k in range(len(masks)):
            for number, amount in zip(drawn["operation"][k], drawn["amount"][k]):
                name = OPERATIONS[number]
                if name in GEOMETRIC:
                    matrix = np.linalg.inv(forward_matrix(name, float(amount), masks.shape[-2:]))
                    result[k : k + 1] = warp(result[k : k + 1], matrix[None], method="nearest", fill=self.mask_fill)
        return result

    def apply_boxes(self, boxes: np.ndarray, drawn: Drawn, size: tuple[int, int]) -> np.ndarray:
        for number, amount in zip(drawn["operation"], drawn["amount"]):
            if OPERATIONS[number] in GEOMETRIC:
                boxes = moved_boxes(boxes, forward_matrix(OPERATIONS[number], float(amount), size), size)
        return boxes


def _signed(rng: np.random.Generator, name: str, amount: float) -> float:
    return -amount if name in _SIGNED and rng.random() < 0.5 else amount


class RandAugment(_Policy):
    """``number`` operations drawn from fourteen, all of strength ``magnitude`` (0 to 30).

    E. Cubuk et al., arXiv:1909.13719, with torchvision's ranges: shear up to 0.3, shift up to 150/331 of the side, 30
    degrees, factors 1 +- 0.9, 8 to 4 bits, threshold 255 to 0.
    """

    number: int = field(default=2, validator=positive)
    magnitude: int = field(default=9, validator=in_range(0, 30))

    def choose(self, rng: np.random.Generator, size: tuple[int, int]) -> list[tuple[str, float]]:
        share = self.magnitude / 30
        amounts = _amounts(share, size, 0.3, (150 / 331 * size[1], 150 / 331 * size[0]), 30.0, 0.9, 4)
        names = [OPERATIONS[k] for k in rng.integers(0, 14, self.number)]
        return [(name, _signed(rng, name, amounts[name])) for name in names]


class TrivialAugment(_Policy):
    """One operation, its strength uniform on the wide range of 31 steps. S. Mueller and F. Hutter, arXiv:2103.10158."""

    def choose(self, rng: np.random.Generator, size: tuple[int, int]) -> list[tuple[str, float]]:
        name = OPERATIONS[int(rng.integers(0, 14))]
        amounts = _amounts(int(rng.integers(0, 31)) / 30, size, 0.99, (32.0, 32.0), 135.0, 0.99, 6)
        return [(name, _signed(rng, name, amounts[name]))]


def _amounts(
    share: float,
    size: tuple[int, int],
    shear: float,
    shift: tuple[float, float],
    degrees: float,
    factor: float,
    bits: int,
) -> dict[str, float]:
    return {
        "identity": 0.0,
        "shear_x": share * shear,
        "shear_y": share * shear,
        "translate_x": share * shift[0],
        "translate_y": share * shift[1],
        "rotate": share * degrees,
        **dict.fromkeys(_ENHANCE, share * factor),
        "posterize": 8 - round(share * bits),
        "solarize": 255 * (1 - share),
        "auto_contrast": 0.0,
        "equalize": 0.0,
        "invert": 0.0,
    }


_CIFAR = """invert .1 7 contrast .2 6|rotate .7 2 translate_x .3 9|sharpness .8 1 sharpness .9 3|shear_y .5 8 translate_y .7 9|auto_contrast .5 8 equalize .9 2|shear_y .2 7 posterize .3 7|color .4 3 brightness .6 7|sharpness .3 9 brightness .7 9|equalize .6 5 equalize .5 1|contrast .6 7 sharpness .6 5|color .7 7 translate_x .5 8|equalize .3 7 auto_contrast .4 8|translate_y .4 3 sharpness .2 6|brightness .9 6 color .2 8|solarize .5 2 invert .0 3|equalize .2 0 auto_contrast .6 0|equalize .2 8 equalize .6 4|color .9 9 equalize .6 6|auto_contrast .8 4 solarize .2 8|brightness .1 3 color .7 0|solarize .4 5 auto_contrast .9 3|translate_y .9 9 translate_y .7 9|auto_contrast .9 2 solarize .8 3|equalize .8 8 invert .1 3|translate_y .7 9 auto_contrast .9 1"""  # noqa: E501
_IMAGENET = """posterize .4 8 rotate .6 9|solarize .6 5 auto_contrast .6 5|equalize .8 8 equalize .6 3|posterize .6 7 posterize .6 6|equalize .4 7 solarize .2 4|equalize .4 4 rotate .8 8|solarize .6 3 equalize .6 7|posterize .8 5 equalize 1. 2|rotate .2 3 solarize .6 8|equalize .6 8 posterize .4 6|rotate .8 8 color .4 0|rotate .4 9 equalize .6 2|equalize .0 7 equalize .8 8|invert .6 4 equalize 1. 8|color .6 4 contrast 1. 8|rotate .8 8 color 1. 2|color .8 8 solarize .8 7|sharpness .4 7 invert .6 8|shear_x .6 5 equalize 1. 9|color .4 0 equalize .6 3|equalize .4 7 solarize .2 4|solarize .6 5 auto_contrast .6 5|invert .6 4 equalize 1. 8|color .6 4 contrast 1. 8|equalize .8 8 equalize .6 3"""  # noqa: E501


def _parsed(text: str) -> list[list[tuple[str, float, int]]]:
    policies = []
    for line in text.split("|"):
        words = line.split()
        policies.append([(words[k], float(words[k + 1]), int(words[k + 2])) for k in (0, 3)])
    return policies


class AutoAugment(_Policy):
    """One of 25 learned pairs of operations, each with its probability and strength. E. Cubuk et al., arXiv:1805.09501.

    ``policy`` is that found on CIFAR-10 or on ImageNet; ranges as torchvision's.
    """

    policy: str = field(default="imagenet", validator=one_of("imagenet", "cifar10"))

    _tables: ClassVar[dict[str, list[list[tuple[str, float, int]]]]] = {
        "cifar10": _parsed(_CIFAR),
        "imagenet": _parsed(_IMAGENET),
    }

    def choose(self, rng: np.random.Generator, size: tuple[int, int]) -> list[tuple[str, float]]:
        table = self._tables[self.policy]
        result = []
        for name, probability, step in table[int(rng.integers(len(table)))]:
            amounts = _amounts(step / 9, size, 0.3, (150 / 331 * size[1], 150 / 331 * size[0]), 30.0, 0.9, 4)
            happens = rng.random() < probability
            amount = _signed(rng, name, amounts[name])
            result.append((name, amount) if happens else ("identity", 0.0))
        return result
