"""Regression problems whose true coefficients are known."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, non_negative, positive
from lunar_core.errors import HyperparameterError

from .base import Drawn


class Regression(Drawn):
    """A linear model with Gaussian noise: scikit-learn's ``make_regression`` of full rank.

    ``x`` float32 (n, features) is standard normal; ``y`` float32 (n, outputs) is x W + ``bias`` + noise, where the rows of
    W of ``informative`` features, drawn at random, are uniform on [0, 100) and the others zero. ``coefficients()`` gives W.
    """

    features: int = field(default=10, validator=positive, doc="number of features")
    informative: int = field(default=5, validator=positive, doc="features with a coefficient that is not zero")
    outputs: int = field(default=1, validator=positive, doc="number of targets")
    bias: float = 0.0
    noise: float = field(default=1.0, validator=non_negative, doc="standard deviation of the noise")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        if self.informative > self.features:
            raise HyperparameterError(
                f"Regression: informative={self.informative} is more than there are, features={self.features}"
            )
        self._coefficients = np.zeros((self.features, self.outputs))
        chosen = rng.permutation(self.features)[: self.informative]
        self._coefficients[chosen] = 100 * rng.random((self.informative, self.outputs))
        x = rng.standard_normal((self.n, self.features))
        y = x @ self._coefficients + self.bias + rng.normal(0, self.noise, (self.n, self.outputs))
        return x.astype(np.float32), y.astype(np.float32)

    def coefficients(self) -> np.ndarray:
        """W (features, outputs), float64."""
        self.arrays()
        return self._coefficients


class SparseRegression(Drawn):
    """Four features that matter among many that do not: scikit-learn's ``make_sparse_uncorrelated``.

    ``x`` float32 (n, features) is standard normal; ``y`` float32 (n, 1) is normal with mean
    x_0 + 2 x_1 - 2 x_2 - 1.5 x_3 and standard deviation ``noise`` (1 in the source).

    Source: G. Celeux, M. El Anbari, J.-M. Marin, C. Robert, "Regularization in regression: comparing Bayesian and
    frequentist methods in a poorly informative situation", Bayesian Analysis 7(2), 2012.
    """

    features: int = field(default=10, validator=positive, doc="number of features, at least four")
    noise: float = field(default=1.0, validator=non_negative, doc="standard deviation of the noise")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        if self.features < 4:
            raise HyperparameterError(f"SparseRegression: four features matter, got features={self.features}")
        x = rng.standard_normal((self.n, self.features))
        y = x[:, :4] @ np.array([1.0, 2.0, -2.0, -1.5]) + rng.normal(0, self.noise, self.n)
        return x.astype(np.float32), y[:, None].astype(np.float32)
