"""The loss of CLIP."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor
from lunar_losses.checks import constant, same_shapes, several, unit


class CLIP(Loss):
    """Find the text of each image and the image of each text in the batch: cross-entropies of scaled cosines.

    ``pred`` is ``(images, texts)``, embeddings (N, D) of N pairs, or ``(images, texts, t)`` with the learned logarithm t
    of the scale (one element); without it the scale is ``1 / temperature``. There is no target, and one that is given is
    not looked at. Losses are (N, 2), image to text and text to image; their mean is the paper's loss. Each depends on
    the whole batch: a batch that is cut in parts gives another value.

    A. Radford et al., Learning Transferable Visual Models From Natural Language Supervision (2021), arXiv:2103.00020,
    figure 3.

    Raises:
        ShapeError: a prediction that is no pair of matrices of one shape.
    """

    temperature: float = field(
        default=0.07, validator=positive, doc="what cosines are divided by if nothing is learned"
    )

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        names = ("images", "texts", "t") if isinstance(pred, tuple) and len(pred) == 3 else ("images", "texts")
        images, texts, *learned = several("CLIP", pred, *names)
        same_shapes("CLIP", images=images, texts=texts)
        if images.ndim != 2:
            raise ShapeError(f"CLIP expects embeddings (N, D), got {tuple(images.shape)}")
        cosines = unit(images) @ unit(texts).T
        logits = cosines * ops.exp(learned[0].reshape(())) if learned else cosines / self.temperature
        pairs = constant(images, np.arange(len(images)))
        ways = [ops.cross_entropy(logits, pairs, axis=axis, ignore_index=None) for axis in (1, 0)]
        return ops.stack(ways, axis=-1), None
