"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend, ops
from lunar_core.component import field, non_negative
from lunar_core.contracts.loss import Loss
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor
from lunar_losses.checks import constant, raw


class CTC(Loss):
    """Minus the log-probability of a labelling, summed over all of its alignments with a longer sequence.

    Shapes: ``pred`` (N, T, C) are logits over the labels and the ``blank``, or their log_softmax, which comes to the same;
    losses are (N,). ``target`` is ``(labels, input_lengths, target_lengths)``, (N, S), (N,) and (N,); or the labels
    alone, filled up with -1, when all sequences have the length T. With ``per_label`` a sample's loss is divided by the
    number of its labels, so that the mean is that of ``torch.nn.CTCLoss``; without, sum and single losses are.

    A labelling that does not fit its sequence has an infinite loss, or 0 with ``zero_infinity``, and then no gradient.

    A. Graves et al., Connectionist Temporal Classification (ICML 2006), equations 3 to 8 and 15.

    Raises:
        ShapeError: what is no batch of sequences, or lengths that do not fit.
        IndexingError: labels out of range, or the blank among them.
    """

    blank: int = field(default=0, validator=non_negative, doc="class of no label")
    zero_infinity: bool = field(default=False, doc="let what cannot be aligned count as 0")
    per_label: bool = field(default=True, doc="divide a sample's loss by the number of its labels")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        if pred.ndim != 3:
            raise ShapeError(f"CTC expects logits (N, T, C), got {tuple(pred.shape)}")
        if isinstance(target, (tuple, list)) and len(target) == 3 and np.ndim(target[0]) > 0:
            labels, lengths, counts = (_host(part) for part in target)
        else:
            labels = _host(target)
            counts = (labels >= 0).sum(axis=-1)
            lengths = np.full(len(pred), pred.shape[1])
        log_probs = ops.log_softmax(ops.swapaxes(pred, 0, 1), axis=-1)
        options = {"blank": self.blank, "zero_infinity": self.zero_infinity}
        losses = ops.ctc_loss(log_probs, labels, lengths, counts, reduction="none", **options)
        if self.per_label:
            losses = losses / constant(pred, np.maximum(counts, 1), pred.dtype)
        return losses, None


def _host(x: Any) -> np.ndarray:
    array = raw(x)
    return backend.of(array).to_numpy(array) if hasattr(array, "dtype") else np.asarray(array)
