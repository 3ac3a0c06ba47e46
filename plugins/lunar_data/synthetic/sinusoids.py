"""Tasks for learning to learn."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, positive

from .base import Drawn


class Sinusoids(Drawn):
    """Sine curves of which a few points are known: each example is a task of its own.

    ``support_x``, ``support_y`` float32 (n, shots, 1) are the points to learn the task from, ``query_x``, ``query_y``
    float32 (n, queries, 1) those to be judged by. A task is y = A sin(x + phase) with A uniform on [0.1, 5] and phase on
    [0, pi]; x is uniform on [-5, 5]. ``tasks()`` gives amplitudes and phases.

    Source: C. Finn, P. Abbeel and S. Levine, "Model-agnostic meta-learning", arXiv:1703.03400, section 5.1, where the
    curve is A sin(x - phase) in the authors' program, which differs by the direction of the phase only.
    """

    fields = ("support_x", "support_y", "query_x", "query_y")

    shots: int = field(default=10, validator=positive, doc="points to learn from")
    queries: int = field(default=10, validator=positive, doc="points to be judged by")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        amplitude = rng.uniform(0.1, 5, (self.n, 1, 1))
        phase = rng.uniform(0, np.pi, (self.n, 1, 1))
        x = rng.uniform(-5, 5, (self.n, self.shots + self.queries, 1)).astype(np.float32)
        y = (amplitude * np.sin(x + phase)).astype(np.float32)
        self._tasks = amplitude[:, 0, 0], phase[:, 0, 0]
        return x[:, : self.shots], y[:, : self.shots], x[:, self.shots :], y[:, self.shots :]

    def tasks(self) -> tuple[np.ndarray, np.ndarray]:
        """Amplitude (n,) and phase (n,) of each task."""
        self.arrays()
        return self._tasks
