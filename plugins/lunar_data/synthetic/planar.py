"""Points of the plane in classes that no straight line parts."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, in_range, non_negative, positive

from .base import Drawn


class _Planar(Drawn):
    """Points ``x`` float32 (n, 2) with a class ``y`` int64 (n,)."""

    def points(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Points and classes, in any order."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        x, y = self.points(rng)
        order = rng.permutation(len(x))
        noise = getattr(self, "noise", 0.0)
        if noise:
            x = x + rng.normal(0, noise, x.shape)
        return x[order].astype(np.float32), y[order].astype(np.int64)

    @property
    def classes(self) -> tuple[str, ...]:
        return ("0", "1")


class Moons(_Planar):
    """Two half circles that reach into each other: scikit-learn's ``make_moons``.

    ``x`` float32 (n, 2), ``y`` int64 (n,). Class 0, n // 2 points, is (cos t, sin t); class 1 is
    (1 - cos t, 1/2 - sin t), with t equally spaced on [0, pi]. Gaussian ``noise`` of that standard deviation is added.
    """

    noise: float = field(default=0.1, validator=non_negative, doc="standard deviation of the noise")

    def points(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        outer, inner = np.linspace(0, np.pi, self.n // 2), np.linspace(0, np.pi, self.n - self.n // 2)
        upper = np.stack([np.cos(outer), np.sin(outer)], axis=1)
        lower = np.stack([1 - np.cos(inner), 0.5 - np.sin(inner)], axis=1)
        return np.concatenate([upper, lower]), np.repeat([0, 1], [len(upper), len(lower)])


class Circles(_Planar):
    """A circle within a circle: scikit-learn's ``make_circles``.

    ``x`` float32 (n, 2), ``y`` int64 (n,). Class 0, n // 2 points, lies equally spaced on the unit circle, class 1 on the one
    of radius ``factor``. Gaussian ``noise`` of that standard deviation is added.
    """

    noise: float = field(default=0.05, validator=non_negative, doc="standard deviation of the noise")
    factor: float = field(default=0.5, validator=in_range(0, 1, include_high=False), doc="radius of the inner circle")

    def points(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        sizes = [self.n // 2, self.n - self.n // 2]
        angles = np.concatenate([np.linspace(0, 2 * np.pi, k, endpoint=False) for k in sizes])
        radius = np.repeat([1.0, self.factor], sizes)
        return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1), np.repeat([0, 1], sizes)


class Spirals(_Planar):
    """Arms of a spiral, one for each class.

    ``x`` float32 (n, 2), ``y`` int64 (n,). A point of class k at radius r in (0, 1) has the angle
    2 pi (``turns`` r + k / ``arms``): Archimedean spirals, r uniform. Gaussian ``noise`` is added. With two arms and three
    turns it is the two-spirals problem of K. Lang and M. Witbrock, 1988.
    """

    arms: int = field(default=2, validator=positive, doc="number of arms, which is that of the classes")
    turns: float = field(default=1.5, validator=positive, doc="how often an arm goes round")
    noise: float = field(default=0.01, validator=non_negative, doc="standard deviation of the noise")

    def points(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(self.n) % self.arms
        radius = rng.random(self.n)
        angle = 2 * np.pi * (self.turns * radius + y / self.arms)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.arms)))


class XOR(_Planar):
    """The exclusive or of two signs: what a linear model cannot do.

    ``x`` float32 (n, 2) uniform on [-1, 1]^2; ``y`` int64 (n,) is 1 where exactly one coordinate is positive. Gaussian
    ``noise`` is added to the points after that.
    """

    noise: float = field(default=0.0, validator=non_negative, doc="standard deviation of the noise")

    def points(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.uniform(-1, 1, (self.n, 2))
        return x, (x[:, 0] > 0) ^ (x[:, 1] > 0)


class Checkerboard(_Planar):
    """The fields of a checkerboard.

    ``x`` float32 (n, 2) uniform on [-1, 1]^2, which is cut into ``cells`` x ``cells`` fields; ``y`` int64 (n,) is the colour
    of the field, 0 in the lower left corner. Gaussian ``noise`` is added to the points after that.
    """

    cells: int = field(default=4, validator=positive, doc="fields on each side")
    noise: float = field(default=0.0, validator=non_negative, doc="standard deviation of the noise")

    def points(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        place = rng.random((self.n, 2)) * self.cells
        return place * 2 / self.cells - 1, np.floor(place).astype(np.int64).sum(axis=1) % 2


class Blobs(_Planar):
    """Gaussian clouds, one for each class: scikit-learn's ``make_blobs``.

    ``x`` float32 (n, features), ``y`` int64 (n,). The centres are uniform on [-``box``, ``box``]^features, the clouds
    isotropic with standard deviation ``std`` and as equal in number as n allows. ``centers()`` gives the centres.
    """

    clusters: int = field(default=3, validator=positive, doc="number of clouds, which is that of the classes")
    features: int = field(default=2, validator=positive, doc="number of dimensions")
    std: float = field(default=1.0, validator=non_negative, doc="standard deviation of a cloud in each dimension")
    box: float = field(default=10.0, validator=positive, doc="half the side of the cube of the centres")

    def points(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        self._centers = rng.uniform(-self.box, self.box, (self.clusters, self.features))
        y = np.arange(self.n) % self.clusters
        return self._centers[y] + rng.normal(0, self.std, (self.n, self.features)), y

    def centers(self) -> np.ndarray:
        """The centres (clusters, features) of the clouds."""
        self.arrays()
        return self._centers

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.clusters)))
