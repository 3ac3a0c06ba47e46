"""Films of things that move by simple laws: what comes next can be known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core.component import field, in_range, one_of, positive
from lunar_core.errors import HyperparameterError

from ..digits import Digits
from .base import Made
from .scenes import FORMS, cover


def bounced(start: np.ndarray, velocity: np.ndarray, frames: int, low: float, high: float) -> np.ndarray:
    """Places (frames, ...) of what starts at ``start`` with ``velocity`` a frame and turns back at ``low`` and ``high``.

    The path of a ball between two walls without loss is a straight line, folded: the triangle wave of its unfolded place.
    """
    room = high - low
    time = np.arange(frames).reshape(-1, *[1] * np.ndim(start))
    place = (start - low + time * velocity) % (2 * room) if room else np.zeros((frames, *np.shape(start)))
    return low + np.where(place > room, 2 * room - place, place)


class _Film(Made):
    """``past`` float32 (past, 1, size, size) and ``future`` float32 (future, 1, size, size), in 0..1."""

    fields = ("past", "future")

    past: int = field(default=10, validator=positive, doc="frames that are shown")
    future: int = field(default=10, validator=positive, doc="frames that are to be told")
    size: int = field(default=64, validator=in_range(8, 4096), doc="height and width in pixels")
    things: int = field(default=2, validator=positive, doc="how many things move")

    def film(self, rng: np.random.Generator) -> np.ndarray:
        """All frames (past + future, size, size)."""
        raise NotImplementedError

    def make(self, rng: np.random.Generator) -> Any:
        film = self.film(rng)[:, None]
        return film[: self.past], film[self.past :]


class BouncingShapes(_Film):
    """Things that fly straight and bounce off the walls, not off each other.

    ``past`` and ``future`` float32 (frames, 1, size, size), 1 on a thing, else 0: the next frames of the same film. Each
    thing has radius ``radius``, a uniform place, a uniform direction and a speed uniform on [0.5, 1] ``speed`` pixels a
    frame; it turns back when its edge meets a wall. After the bouncing balls of I. Sutskever, G. Hinton and G. Taylor, "The
    recurrent temporal restricted Boltzmann machine", NeurIPS 2008, whose balls also collide.
    """

    size: int = field(default=32, validator=in_range(8, 4096), doc="height and width in pixels")
    radius: float = field(default=4.0, validator=positive, doc="radius in pixels")
    speed: float = field(default=2.0, validator=positive, doc="highest speed in pixels a frame")
    form: str = field(default="circle", validator=one_of(*FORMS, "mixed"), doc="what moves")

    def film(self, rng: np.random.Generator) -> np.ndarray:
        if 2 * self.radius > self.size:
            raise HyperparameterError(f"BouncingShapes: radius={self.radius} does not fit into size={self.size}")
        places = self.places(rng)
        forms = rng.integers(len(FORMS), size=self.things) if self.form == "mixed" else None
        film = np.zeros((len(places), self.size, self.size), np.float32)
        for frame, now in zip(film, places):
            for k, (x, y) in enumerate(now):
                form = FORMS.index(self.form) if forms is None else int(forms[k])
                frame[cover(form, x, y, self.radius, self.size, self.size)] = 1
        return film

    def places(self, rng: np.random.Generator) -> np.ndarray:
        """Centres (frames, things, 2) as x, y in pixels; the first that is drawn from the generator of an example."""
        start = rng.uniform(self.radius, self.size - self.radius, (self.things, 2))
        angle, speed = rng.uniform(0, 2 * np.pi, self.things), rng.uniform(0.5, 1, self.things) * self.speed
        velocity = np.stack([np.cos(angle), np.sin(angle)], axis=1) * speed[:, None]
        return bounced(start, velocity, self.past + self.future, self.radius, self.size - self.radius)


class MovingDigits(_Film):
    """Handwritten digits that drift about and bounce off the walls: Moving MNIST with the digits that ship here.

    ``past`` and ``future`` float32 (frames, 1, size, size): frames of one film. Each digit is one of the 1,797 of
    :class:`~lunar_data.digits.Digits`, enlarged to 8 ``zoom`` pixels; where digits overlap, the brighter pixel is seen.
    Places and directions are uniform, the speed is ``speed`` pixels a frame; places are rounded to whole pixels.

    Source: N. Srivastava, E. Mansimov and R. Salakhutdinov, "Unsupervised learning of video representations using LSTMs",
    arXiv:1502.04681, section 4.1.
    """

    zoom: int = field(default=3, validator=positive, doc="a pixel of a digit becomes a square of this side")
    speed: float = field(default=3.0, validator=positive, doc="speed in pixels a frame")

    def film(self, rng: np.random.Generator) -> np.ndarray:
        side = 8 * self.zoom
        if side > self.size:
            raise HyperparameterError(f"MovingDigits: digits of {side} pixels do not fit into size={self.size}")
        images = _digits()
        chosen = rng.integers(len(images), size=self.things)
        start, angle = rng.uniform(0, self.size - side, (self.things, 2)), rng.uniform(0, 2 * np.pi, self.things)
        velocity = self.speed * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        places = bounced(start, velocity, self.past + self.future, 0, self.size - side)
        film = np.zeros((len(places), self.size, self.size), np.float32)
        for k, which in enumerate(chosen):
            digit = images[which].repeat(self.zoom, axis=0).repeat(self.zoom, axis=1)
            for frame, (x, y) in zip(film, np.rint(places[:, k]).astype(int)):
                part = frame[y : y + side, x : x + side]
                np.maximum(part, digit, out=part)
        return film


class _Shipped:
    images: np.ndarray | None = None


def _digits() -> np.ndarray:
    if _Shipped.images is None:
        _Shipped.images = Digits().arrays()[0][:, 0]
    return _Shipped.images
