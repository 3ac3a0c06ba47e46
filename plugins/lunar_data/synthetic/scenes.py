"""Pictures of coloured shapes of which everything is known: where each thing is, what it is, and how to say it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.errors import HyperparameterError

from .base import Made

FORMS = ("circle", "square", "triangle")
COLORS = {
    "red": (0.9, 0.1, 0.1),
    "green": (0.1, 0.7, 0.2),
    "blue": (0.15, 0.25, 0.9),
    "yellow": (0.95, 0.85, 0.1),
    "purple": (0.6, 0.2, 0.7),
    "white": (0.95, 0.95, 0.95),
}
SIDES = ("left of", "right of", "above", "below")

_TRIES = 50  # places that are tried for an object before it is left out


class Thing(NamedTuple):
    """One object: centre and half of its extent in pixels; ``form`` and ``color`` are indices."""

    form: int
    color: int
    x: float
    y: float
    radius: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1; a pixel (i, j) covers the square from (j, i) to (j + 1, i + 1)."""
        return self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius


def cover(form: int, x: float, y: float, radius: float, height: int, width: int) -> np.ndarray:
    """Which pixels (height, width) have their centre in the form.

    A circle of that radius, a square of side 2 radius, or a triangle whose apex is in the middle of the upper side of that
    square and whose base is the lower side.
    """
    down, right = np.arange(height)[:, None] + 0.5 - y, np.arange(width)[None, :] + 0.5 - x
    if form == 0:
        return down * down + right * right <= radius * radius
    inside = np.abs(down) <= radius
    return inside & (np.abs(right) <= (radius if form == 1 else (down + radius) / 2))


class _Scenes(Made):
    """Pictures ``image`` float32 (3, size, size) of things on a dark ground."""

    size: int = field(default=64, validator=in_range(16, 4096), doc="height and width in pixels")
    most: int = field(default=4, validator=positive, doc="most things in a picture; the fewest is one")
    noise: float = field(default=0.03, validator=non_negative, doc="standard deviation of each pixel's noise")

    def scene(self, rng: np.random.Generator) -> tuple[np.ndarray, list[Thing]]:
        """A picture and its things; none covers another, since their boxes do not meet."""
        things: list[Thing] = []
        for _ in range(int(rng.integers(1, self.most + 1))):
            for _ in range(_TRIES):
                radius = float(rng.uniform(self.size / 16, self.size / 5))
                x, y = rng.uniform(radius, self.size - radius, 2)
                thing = Thing(int(rng.integers(len(FORMS))), int(rng.integers(len(COLORS))), float(x), float(y), radius)
                if all(max(abs(thing.x - t.x), abs(thing.y - t.y)) > thing.radius + t.radius for t in things):
                    things.append(thing)
                    break
        image = np.full((3, self.size, self.size), rng.uniform(0, 0.25), np.float32)
        palette = np.array(list(COLORS.values()), np.float32)
        for thing in things:
            where = cover(thing.form, thing.x, thing.y, thing.radius, self.size, self.size)
            image[:, where] = palette[thing.color][:, None]
        if self.noise:
            image += rng.normal(0, self.noise, image.shape).astype(np.float32)
        return np.clip(image, 0, 1), things


class ShapesDetection(_Scenes):
    """Find circles, squares and triangles.

    ``image`` float32 (3, size, size) in 0..1; ``objects`` is a dict of ``boxes`` float32 (most, 4), corners x0, y0, x1, y1 in
    pixels, and ``labels`` int64 (most,). Pictures hold 1 to ``most`` things (fewer where no room is left); the rows behind them
    have label -1 and a box of zeros.
    """

    fields = ("image", "objects")

    def make(self, rng: np.random.Generator) -> Any:
        image, things = self.scene(rng)
        boxes, labels = np.zeros((self.most, 4), np.float32), np.full(self.most, -1, np.int64)
        for i, thing in enumerate(things):
            boxes[i], labels[i] = thing.box, thing.form
        return image, {"boxes": boxes, "labels": labels}

    @property
    def classes(self) -> tuple[str, ...]:
        return FORMS


class ShapesSegmentation(_Scenes):
    """Say of each pixel what it belongs to.

    ``image`` float32 (3, size, size) in 0..1; ``classes`` int64 (size, size): 0 for the ground, then circle, square, triangle. A
    pixel belongs to a thing if its centre does.
    """

    fields = ("image", "mask")

    def make(self, rng: np.random.Generator) -> Any:
        image, things = self.scene(rng)
        mask = np.zeros((self.size, self.size), np.int64)
        for thing in things:
            mask[cover(thing.form, thing.x, thing.y, thing.radius, self.size, self.size)] = thing.form + 1
        return image, mask

    @property
    def classes(self) -> tuple[str, ...]:
        return ("ground", *FORMS)


class ShapesCaptioning(_Scenes):
    """Say what is in the picture.

    ``image`` float32 (3, size, size) in 0..1; ``tokens`` int64 (12,): start, the words, end, then padding (0). A picture holds
    one thing or two: "a red circle", or "a red circle left of a blue square", where the side is that on which the
    centres are farther apart. ``vocabulary`` has the words by token, ``sentence(tokens)`` puts them together.
    """

    fields = ("image", "tokens")

    most: int = field(default=2, validator=in_range(1, 2), doc="most things in a picture")

    vocabulary = ("<pad>", "<start>", "<end>", "a", *COLORS, *FORMS, *dict.fromkeys(" ".join(SIDES).split()))

    def make(self, rng: np.random.Generator) -> Any:
        image, things = self.scene(rng)
        words = ["<start>", *self._words(things[0])]
        if len(things) == 2:
            right, down = things[0].x - things[1].x, things[0].y - things[1].y
            side = SIDES[int(right > 0)] if abs(right) >= abs(down) else SIDES[2 + int(down > 0)]
            words += [*side.split(), *self._words(things[1])]
        tokens = np.zeros(12, np.int64)
        tokens[: len(words) + 1] = [self.vocabulary.index(word) for word in [*words, "<end>"]]
        return image, tokens

    def _words(self, thing: Thing) -> list[str]:
        return ["a", list(COLORS)[thing.color], FORMS[thing.form]]

    def sentence(self, tokens: Any) -> str:
        """The words of ``tokens`` without the special ones."""
        ids = [int(token) for token in tokens]
        if any(not 0 <= token < len(self.vocabulary) for token in ids):
            raise HyperparameterError(f"tokens lie in 0..{len(self.vocabulary) - 1}, got {ids}")
        return " ".join(self.vocabulary[token] for token in ids if token > 2)


class Textures(Made):
    """Patterns without a place: what has to be told apart is how they repeat, not where.

    ``image`` float32 (1, size, size) in 0..1, ``label`` int64 (): stripes (a sine of a random direction), checks (the product
    of two square waves), dots (discs on a square grid), rings (a sine of the distance from a random centre), clouds
    (noise with the power spectrum 1 / f^2) and noise (each pixel for itself). Wavelengths lie between 1/12 and 1/4 of
    the side; phases, contrast and directions are random.
    """

    fields = ("image", "label")

    size: int = field(default=32, validator=in_range(8, 4096), doc="height and width in pixels")

    def make(self, rng: np.random.Generator) -> Any:
        label = int(rng.integers(len(self.classes)))
        pattern = getattr(self, f"_{self.classes[label]}")(rng)
        low, high = pattern.min(), pattern.max()
        contrast = rng.uniform(0.5, 1.0)
        image = (pattern - low) / (high - low) * contrast + rng.uniform(0, 1 - contrast)
        return image[None].astype(np.float32), np.int64(label)

    @property
    def classes(self) -> tuple[str, ...]:
        return ("stripes", "checks", "dots", "rings", "clouds", "noise")

    def _turned(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Two axes at right angles in units of a random wavelength, with random phases."""
        grid = np.arange(self.size) / (self.size * rng.uniform(1 / 12, 1 / 4))
        angle = rng.uniform(0, np.pi)
        down, right = grid[:, None], grid[None, :]
        first, second = rng.random(2)
        cos, sin = np.cos(angle), np.sin(angle)
        return cos * right + sin * down + first, cos * down - sin * right + second

    def _stripes(self, rng: np.random.Generator) -> np.ndarray:
        return np.sin(2 * np.pi * self._turned(rng)[0])

    def _checks(self, rng: np.random.Generator) -> np.ndarray:
        u, v = self._turned(rng)
        return (np.floor(2 * u) + np.floor(2 * v)) % 2

    def _dots(self, rng: np.random.Generator) -> np.ndarray:
        u, v = self._turned(rng)
        return ((u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.3**2).astype(np.float64)

    def _rings(self, rng: np.random.Generator) -> np.ndarray:
        place = np.arange(self.size)
        y, x = rng.uniform(0, self.size, 2)
        distance = np.hypot(place[:, None] - y, place[None, :] - x)
        return np.sin(2 * np.pi * (distance / (self.size * rng.uniform(1 / 12, 1 / 4)) + rng.random()))

    def _clouds(self, rng: np.random.Generator) -> np.ndarray:
        frequency = np.hypot(np.fft.fftfreq(self.size)[:, None], np.fft.rfftfreq(self.size)[None, :])
        frequency[0, 0] = np.inf
        return np.fft.irfft2(
            np.fft.rfft2(rng.standard_normal((self.size, self.size))) / frequency, (self.size, self.size)
        )

    def _noise(self, rng: np.random.Generator) -> np.ndarray:
        return rng.random((self.size, self.size))
