"""Train on images with a piece of another image."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core.errors import DataError

from .mixing import Mixing


class CutMix(Mixing):
    """A box of each image is taken from another image of its batch, and the targets are mixed by the areas.

    Images are (N, C, H, W). The box has sides ``sqrt(1 - s)`` of the image's, with ``s`` from Beta(alpha, alpha) once a
    step, and a uniform centre; what lies outside is cut off, and the share is that of the pixels that are left. Yun et
    al., CutMix, 1905.04899, equation 2. See :class:`~lunar_training.callbacks.mixing.Mixing` for what the loss gets.
    """

    def mix(self, x: Any, other: Any, share: float, rng: np.random.Generator) -> tuple[Any, float]:
        if x.ndim != 4:
            raise DataError(f"CutMix expects images (N, C, H, W), got inputs of shape {tuple(x.shape)}")
        height, width = x.shape[2:]
        side = (1 - share) ** 0.5
        cut_h, cut_w = int(height * side), int(width * side)
        y, x0 = int(rng.integers(height)), int(rng.integers(width))
        top, bottom = max(y - cut_h // 2, 0), min(y + cut_h - cut_h // 2, height)
        left, right = max(x0 - cut_w // 2, 0), min(x0 + cut_w - cut_w // 2, width)
        made = x.copy()
        made[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
        return made, 1 - (bottom - top) * (right - left) / (height * width)
