"""Connectionist temporal classification: minus the log-probability of a labelling over all its alignments.

The forward and the backward variables are computed in log-space, for all sequences of the batch and all places of the extended
labelling (a blank before, between and after the labels) at once, one loop over time each.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import backend
from ..carried import Carried
from ..errors import DTypeError, HyperparameterError, IndexingError, ShapeError
from ..op import OUTPUT, Op, Sample, Spec
from ..tensor import Tensor
from .common import array
from .composition import composed_vjp
from .elementwise import where
from .indexing import take_along_axis
from .normalization import single, statistics_dtype
from .reduction import logsumexp
from .reduction import mean as mean_
from .reduction import sum as sum_
from .shape import concat, stack

_REDUCTIONS = ("none", "mean", "sum")


def _extended(xp: Any, labels: Any, counts: Any, blank: int) -> tuple[Any, Any, Any]:
    """The extended labellings (N, S), where a path may skip the blank before (N, S), and which places are final (N, S)."""
    batch, longest = labels.shape
    places = xp.full((batch, 2 * longest + 1), blank, labels.dtype)
    places[:, 1::2] = labels
    skips = xp.zeros(places.shape, bool)
    skips[:, 2:] = (places[:, 2:] != blank) & (places[:, 2:] != places[:, :-2])
    column, last = xp.arange(places.shape[1])[None], (counts * 2)[:, None]
    return places, skips, (column == last) | (column == last - 1)


def _add_logs(xp: Any, *terms: Any) -> Any:
    """``log(sum(exp(terms)))`` with minus infinity for nothing."""
    top = functools.reduce(xp.maximum, terms)
    safe = xp.where(top == -np.inf, xp.zeros((), top.dtype), top)
    total = functools.reduce(lambda a, b: a + b, [xp.exp(t - safe) for t in terms])
    with np.errstate(divide="ignore"):
        return xp.log(total) + safe


def _shifted(xp: Any, a: Any, by: int) -> Any:
    """Moved by so many places along axis 1, minus infinity coming in."""
    out = xp.full(a.shape, -np.inf, a.dtype)
    if abs(by) < a.shape[1]:
        if by > 0:
            out[:, by:] = a[:, :-by]
        else:
            out[:, :by] = a[:, -by:]
    return out


def _emissions(xp: Any, log_probs: Any, places: Any) -> Any:
    """(T, N, S): the log-probability of each place's symbol."""
    return xp.take_along_axis(single(log_probs), places[None], 2)


def _forward_variables(xp: Any, emissions: Any, skips: Any) -> Any:
    """(T, N, S), Graves' alpha."""
    alpha = xp.full(emissions.shape, -np.inf, emissions.dtype)
    alpha[0, :, :2] = emissions[0, :, :2]
    for t in range(1, emissions.shape[0]):
        a = alpha[t - 1]
        jump = xp.where(skips, _shifted(xp, a, 2), -np.inf).astype(a.dtype)
        alpha[t] = _add_logs(xp, a, _shifted(xp, a, 1), jump) + emissions[t]
    return alpha


def _ctc_forward(
    xp: Any, log_probs: Any, labels: Any, lengths: Any, counts: Any, blank: int, zero_infinity: bool
) -> Any:
    places, skips, final = _extended(xp, labels, counts, blank)
    alpha = _forward_variables(xp, _emissions(xp, log_probs, places), skips)
    ends = alpha[xp.maximum(lengths - 1, 0), xp.arange(labels.shape[0])]
    empty = xp.where(xp.arange(places.shape[1]) == 0, 0.0, -np.inf)  # no time: only the labelling of nothing
    ends = xp.where(final, xp.where((lengths == 0)[:, None], empty, ends), -np.inf).astype(alpha.dtype)
    loss = -_log_total(xp, ends)
    return loss.astype(log_probs.dtype, copy=False), alpha


def _log_total(xp: Any, a: Any) -> Any:
    """``log(sum(exp(a)))`` over the last axis."""
    top = a.max(axis=1, keepdims=True)
    safe = xp.where(top == -np.inf, xp.zeros((), top.dtype), top)
    with np.errstate(divide="ignore"):
        return xp.log(xp.exp(a - safe).sum(axis=1)) + safe[:, 0]


def _ctc_grad_forward(
    xp: Any,
    g: Any,
    log_probs: Any,
    labels: Any,
    lengths: Any,
    counts: Any,
    loss: Any,
    alpha: Any,
    blank: int,
    zero_infinity: bool,
) -> Any:
    """Minus the probability of each symbol at each time, given the labelling."""
    places, skips, final = _extended(xp, labels, counts, blank)
    emissions = _emissions(xp, log_probs, places)
    length, batch, width = emissions.shape
    ends = lengths[:, None]
    start = xp.where(final, 0.0, -np.inf).astype(emissions.dtype)
    onward = xp.zeros(skips.shape, bool)  # a path may skip from here to two places on
    onward[:, :-2] = skips[:, 2:]
    # beta without the emission of its own time, so that alpha + beta counts that once
    beta = xp.full((batch, width), -np.inf, emissions.dtype)
    out = xp.zeros(log_probs.shape, emissions.dtype)
    total, g = single(loss)[:, None], single(g)[:, None]
    rows, scatter_add = xp.arange(batch)[:, None], backend.of(alpha).scatter_add
    for t in range(length - 1, -1, -1):
        if t < length - 1:
            b = beta + emissions[t + 1]
            jump = xp.where(onward, _shifted(xp, b, -2), -np.inf).astype(b.dtype)
            beta = _add_logs(xp, b, _shifted(xp, b, -1), jump)
        beta = xp.where(ends == t + 1, start, beta)
        with np.errstate(invalid="ignore"):  # a labelling that cannot be has no posterior: NaN, or 0 where asked for
            posterior = xp.exp(xp.where(t < ends, alpha[t] + beta, -np.inf) + total)
        if zero_infinity:
            posterior = xp.where(total == np.inf, 0, posterior)
        scatter_add(out[t], (rows, places), (posterior * -g).astype(out.dtype))
    return out.astype(log_probs.dtype, copy=False)


_FLOOR = -1e30  # in place of minus infinity, whose differences have no gradient


def _plain(x: Any) -> Any:
    """The raw array in a tensor; the labels and lengths are the same for all that a transform carries."""
    while isinstance(x, (Tensor, Carried)):
        x = x.data if isinstance(x, Tensor) else x.inner()
    return x


def _composed(log_probs: Any, labels: Any, lengths: Any, counts: Any, blank: int, zero_infinity: bool) -> Any:
    """The loss in plain ops: the rule of higher orders."""
    labels, lengths, counts = map(_plain, (labels, lengths, counts))
    xp = backend.of(labels).xp
    places, skips, final = _extended(xp, labels, counts, blank)
    length, batch = log_probs.shape[:2]
    width = places.shape[1]
    emissions = take_along_axis(log_probs, xp.broadcast_to(places[None], (length, batch, width)), 2)
    floor = xp.full((batch, 2), _FLOOR, log_probs.dtype)
    alphas = [where(xp.arange(width)[None] < 2, emissions[0], _FLOOR)]
    for t in range(1, length):
        before = concat([floor, alphas[-1]], axis=1)
        steps = [alphas[-1], before[:, 1 : width + 1], where(skips, before[:, :width], _FLOOR)]
        alphas.append(logsumexp(stack(steps), axis=0) + emissions[t])
    ends = stack(alphas)[xp.maximum(lengths - 1, 0), xp.arange(batch)]
    empty = xp.where(xp.arange(width) == 0, 0.0, _FLOOR).astype(log_probs.dtype)
    ends = where((lengths == 0)[:, None], empty, ends)
    return -logsumexp(where(final, ends, _FLOOR), axis=1)


def _ctc_vjp(F: Any, g: Any, saved: Any, need: Any, **static: Any) -> Any:
    log_probs, labels, lengths, counts, (loss, alpha) = saved
    if isinstance(g[0], Tensor):
        return composed_vjp(functools.partial(_composed, **static), saved[:4], g[0], need)
    return F.ctc_grad(g[0], log_probs, labels, lengths, counts, loss, alpha, **static), None, None, None


def _cases() -> list[tuple[Any, ...]]:
    probs = array(0, (5, 3, 4), -1, 1)
    probs = probs - np.log(np.exp(probs).sum(2, keepdims=True))
    labels = np.array([[1, 2, 1], [3, 3, 0], [2, 0, 0]])
    return [
        (probs, labels, np.array([5, 5, 4]), np.array([3, 2, 1])),
        (probs, labels[:, :1], np.array([1, 3, 2]), np.array([1, 0, 1])),
    ]


def _samples() -> list[Sample]:
    def call(t: Any, *inputs: Any) -> Any:
        # PyTorch's gradient is that of the logarithm of a softmax behind it, so one is put there on both sides elsewhere
        return (t.nn.functional.ctc_loss(*(x.detach() for x in inputs), reduction="none"),)

    return [Sample(inputs, {"blank": 0, "zero_infinity": False}, torch=call) for inputs in _cases()]


def _grad_samples() -> list[Sample]:
    table = []
    for i, inputs in enumerate(_cases()):
        static: Any = {"blank": 0, "zero_infinity": bool(i)}
        loss, alpha = _ctc_forward(np, *inputs, **static)
        table.append(Sample((array(40, loss.shape), *inputs, loss, alpha), static, grad=False))
    return table


def _spec(log_probs: Spec, labels: Spec, *_: Any, **__: Any) -> tuple[Spec, Spec]:
    length, batch = log_probs.shape[:2]
    alpha = Spec((length, batch, 2 * labels.shape[1] + 1), statistics_dtype(log_probs.dtype))
    return Spec((batch,), log_probs.dtype), alpha


_ctc = Op(
    "ctc",
    _ctc_forward,
    _ctc_vjp,
    save=(0, 1, 2, 3, OUTPUT),
    cast="float32",
    heavy=True,
    results=1,
    abstract=_spec,
    samples=_samples,
    doc="Connectionist temporal classification, one loss for each sequence; then the forward variables.",
)
ctc_grad = Op(
    "ctc_grad",
    _ctc_grad_forward,
    None,
    heavy=True,
    abstract=lambda g, log_probs, *rest, **static: log_probs,
    samples=_grad_samples,
    doc="Gradient of ctc in the log-probabilities.",
)
_apply_ctc = _ctc.applier(4)


# -- what a user calls -------------------------------------------------------------------------------------------------


def _host(name: str, value: Any) -> np.ndarray:
    """Integers on the host."""
    if isinstance(value, Tensor):
        value = value.data
    if backend.is_array(value):
        value = backend.of(value).to_numpy(value)
    result = np.asarray(value)
    if result.dtype.kind not in "iu" and result.size:
        raise DTypeError(f"ctc_loss: {name} must hold integers, got {result.dtype}", hint='x.astype("int64")')
    return result.astype(np.int64)


def _padded_labels(targets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Labels (N, longest) from (N, S), or from all of them one after another."""
    longest = int(counts.max(initial=0))
    if targets.ndim == 2:
        if targets.shape[0] != counts.size or targets.shape[1] < longest:
            raise ShapeError(
                f"ctc_loss: targets of shape {targets.shape} do not hold {counts.size} labellings of up to {longest} labels"
            )
        return targets[:, :longest]
    if targets.ndim != 1 or targets.size != counts.sum():
        raise ShapeError(
            f"ctc_loss: targets must have shape (N, S), or hold all {int(counts.sum())} labels one after another, "
            f"got {targets.shape}"
        )
    labels = np.zeros((counts.size, longest), np.int64)
    labels[np.arange(longest) < counts[:, None]] = targets
    return labels


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """Minus the log-probability of each labelling, summed over all its alignments with the sequence.

    Shapes: log_probs (T, N, C), logarithms of probabilities (log_softmax of the last axis); targets (N, S), padded with
    anything, or all labels one after another; input_lengths (N) up to T and target_lengths (N) -> (N) for ``reduction``
    "none", one number for "sum" and for "mean", which divides each loss by the number of its labels first. One sequence
    may come without N. ``blank`` is the class of no label.

    A labelling that does not fit its sequence has the loss infinity and a gradient of NaN; ``zero_infinity`` makes both 0.
    The gradient is that of the formula. PyTorch's is that of the formula behind a log_softmax, which differs before the
    log_softmax, but not in what reaches the logits.

    Source: A. Graves et al., Connectionist Temporal Classification (2006).
    """
    if reduction not in _REDUCTIONS:
        raise HyperparameterError(f"ctc_loss: reduction must be one of {', '.join(_REDUCTIONS)}, got {reduction!r}")
    if log_probs.dtype.kind in "biuc":
        raise DTypeError(f"ctc_loss expects real floating log-probabilities, got {log_probs.dtype}")
    alone = log_probs.ndim == 2
    if alone:
        log_probs = log_probs.reshape((log_probs.shape[0], 1, log_probs.shape[1]))
    if log_probs.ndim != 3 or log_probs.shape[0] == 0:
        raise ShapeError(f"ctc_loss expects log_probs of shape (T, N, C) with T > 0, got {tuple(log_probs.shape)}")
    length, batch, classes = log_probs.shape
    lengths, counts = (
        _host("input_lengths", input_lengths).reshape(-1),
        _host("target_lengths", target_lengths).reshape(-1),
    )
    for name, values, most in (("input_lengths", lengths, length), ("target_lengths", counts, None)):
        if values.size != batch or (values < 0).any() or (most is not None and (values > most).any()):
            limit = "" if most is None else f" up to {most}"
            raise ShapeError(f"ctc_loss: {name} must be {batch} numbers from 0{limit}, got {values.tolist()}")
    if not 0 <= blank < classes:
        raise HyperparameterError(f"ctc_loss: blank must be a class of 0..{classes - 1}, got {blank!r}")
    labels = _padded_labels(_host("targets", targets), counts)
    real = np.arange(labels.shape[1]) < counts[:, None]
    found = labels[real]
    if found.size and (found.min() < 0 or found.max() >= classes or (found == blank).any()):
        raise IndexingError(
            f"ctc_loss: labels must be classes of 0..{classes - 1} other than the blank {blank}, got "
            f"{found.min()}..{found.max()}" + (", the blank among them" if (found == blank).any() else "")
        )
    raw = log_probs.data if isinstance(log_probs, Tensor) else log_probs
    owner = backend.of(raw)
    device = owner.device_of(raw)
    arrays = [owner.from_numpy(a, device) for a in (np.where(real, labels, blank), lengths, counts)]
    loss = _apply_ctc(log_probs, *arrays, blank=int(blank), zero_infinity=bool(zero_infinity))[0]
    if zero_infinity:
        loss = where((loss.data if isinstance(loss, Tensor) else loss) == np.inf, 0.0, loss)
    if reduction == "mean":
        loss = mean_(loss / owner.from_numpy(np.maximum(counts, 1).astype(raw.dtype), device))
    elif reduction == "sum":
        loss = sum_(loss)
    return loss.reshape(()) if alone and reduction == "none" else loss
