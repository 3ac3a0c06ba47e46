"""How much arithmetic an op does: one rule an op, from the shapes of what it took and gave.

The convention. A multiplication and the addition that takes its product are 2 operations, so a matrix product of
(m, k) and (k, n) is ``2 m k n``. What an elementwise function does to one element is 1, an exponential like a sum. The
bias of a linear map or a convolution comes with it for nothing, as in the tables of the papers and in PyTorch's
``flop_counter``, with which products and convolutions agree exactly. A sum or a maximum over n elements is n. Softmax is 5 an
element (maximum, difference, exponential, sum, quotient), a norm what its formula says. A causal mask saves nothing.
What only moves data (reshaping, indexing, embedding, casts) is 0.

``RULES[name] = rule`` adds or replaces one, for an op of a plugin; ``rule(ins, outs, static)`` gets the
:class:`~lunar_core.op.Spec` of each array that the op took (None for one that was left out) and gave, and its keyword
arguments. An elementwise op needs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .op import OPS, Op, Spec

Rule = Callable[[Sequence[Any], Sequence[Spec], dict[str, Any]], float]


def flops(op: Op, ins: Sequence[Any], outs: Sequence[Spec], static: dict[str, Any]) -> int | None:
    """Operations of one application of ``op``; None where no rule is known."""
    rule = RULES.get(op.name)
    if rule is None:
        if op.batch != "elementwise" and not op.broadcasts:
            return None
        return sum(map(_size, outs))
    return round(rule(ins, outs, static))


def _size(spec: Any) -> int:
    return math.prod(spec.shape) if spec is not None else 0


def _nothing(ins: Sequence[Any], outs: Sequence[Spec], static: dict[str, Any]) -> float:
    return 0


def _each(count: float) -> Rule:
    """``count`` for each element of the (first) result."""
    return lambda ins, outs, static: count * _size(outs[0])


def _taken(count: float) -> Rule:
    """``count`` for each element of the first input."""
    return lambda ins, outs, static: count * _size(ins[0])


def _matmul(ins: Sequence[Any], outs: Sequence[Spec], static: dict[str, Any]) -> float:
    return 2 * _size(outs[0]) * ins[0].shape[-1]


def _einsum(ins: Sequence[Any], outs: Sequence[Spec], static: dict[str, Any]) -> float:
    """A product of n factors and their sum, for each combination of the indices; exact for two operands."""
    terms = static["subscripts"].replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    spread: tuple[int, ...] = ()
    for term, spec in zip(terms, ins):
        before, dots, after = term.partition("...")
        sizes.update(zip(before, spec.shape))
        sizes.update(zip(after, spec.shape[len(spec.shape) - len(after) :]))
        if dots:
            own = spec.shape[len(before) : len(spec.shape) - len(after)]
            spread = max(spread, own, key=math.prod)
    every = math.prod(sizes.values()) * math.prod(spread)
    return every * len(ins) if len(ins) > 1 else every if _size(outs[0]) < every else 0


def _conv(ins: Sequence[Any], outs: Sequence[Spec], static: dict[str, Any]) -> float:
    return 2 * _size(outs[0]) * math.prod(ins[1].shape[1:])  # weight (out, in / groups, *kernel)


def _conv_transposed(ins: Sequence[Any], outs: Sequence[Spec], static: dict[str, Any]) -> float:
    return 2 * _size(ins[0]) * math.prod(ins[1].shape[1:])


def _attention(ins: Sequence[Any], outs: Sequence[Spec], static: dict[str, Any]) -> float:
    query, key, value = ins[:3]
    pairs = math.prod(query.shape[:-1]) * key.shape[-2]
    return pairs * (2 * query.shape[-1] + 2 * value.shape[-1] + 6)  # scaled, softmax


def _pool(ins: Sequence[Any], outs: Sequence[Spec], static: dict[str, Any]) -> float:
    return _size(outs[0]) * math.prod(static["kernel"])


def _norm(parts: int) -> Rule:
    """``parts`` for each element, and one more for each of weight and bias that is there."""
    return lambda ins, outs, static: _size(ins[0]) * (parts + sum(x is not None for x in ins[1:3]))


def _over_time(gates: int, elementwise: int) -> Rule:
    """The products of all steps, and what each unit does elementwise in a step."""

    def rule(ins: Sequence[Any], outs: Sequence[Spec], static: dict[str, Any]) -> float:
        x = ins[0]
        start = 3 if gates == 4 else 2  # h0 and, for an LSTM, c0
        w_ih, w_hh = ins[start : start + 2]
        steps = math.prod(x.shape[:-1])
        products = math.prod(w_ih.shape) + math.prod(w_hh.shape)
        projection = ins[7] if gates == 4 and len(ins) > 7 else None
        products += math.prod(projection.shape) if projection is not None else 0
        return steps * (2 * products + elementwise * w_ih.shape[0] // gates)

    return rule


def _transform(ins: Sequence[Any], outs: Sequence[Spec], static: dict[str, Any]) -> float:
    total = max(_size(ins[0]), _size(outs[0]))
    axes = static.get("axes") or ()
    axes = (axes,) if isinstance(axes, int) else axes
    points = math.prod(max(ins[0].shape[a], outs[0].shape[a]) for a in axes)
    return 5 * total * math.log2(points) if points > 1 else 0


def _cubes(factor: float) -> Rule:
    return lambda ins, outs, static: factor * _size(ins[0]) * ins[0].shape[-1]


#: Name of an op -> its rule, beside those of elementwise ops, which is the size of the result.
RULES: dict[str, Rule] = {
    "matmul": _matmul,
    "linear": _matmul,
    "einsum": _einsum,
    "attention": _attention,
    "attention_tiled": _attention,
    "softmax": _each(5),
    "log_softmax": _each(5),
    "logsumexp": _taken(4),
    "sparsemax": _each(5),
    "layer_norm": _norm(5),  # mean, difference, square, its mean, product
    "group_norm": _norm(5),
    "batch_norm": _norm(5),
    "batch_moments": _taken(4),
    "rms_norm": _norm(3),
    "channel_affine": _each(2),
    "channel_sum": _taken(1),
    "rnn_layer": _over_time(1, 2),
    "lstm_layer": _over_time(4, 13),
    "gru_layer": _over_time(3, 11),
    "resample": lambda ins, outs, static: 2 * _size(outs[0]),
    "read_pixels": _each(2),
    "cross_entropy": _taken(6),
    "adaptive_mean": _taken(1),
    "adaptive_max_places": _taken(1),
    "glu": _each(2),
    "embedding": _nothing,
    "cholesky": _cubes(1 / 3),
    "inv": _cubes(2),
    "det": _cubes(2 / 3),
    "slogdet": _cubes(2 / 3),
    "solve": lambda ins, outs, static: 2 / 3 * _size(ins[0]) * ins[0].shape[-1] + 2 * _size(ins[0]) * outs[0].shape[-1],
    "fft_c2c": _transform,
    "fft_r2c": _transform,
    "fft_c2r": _transform,
}
RULES.update({f"conv{n}d": _conv for n in (1, 2, 3)})
RULES.update({f"conv{n}d_input_grad": _conv_transposed for n in (1, 2, 3)})
RULES.update(
    {f"{kind}_pool{n}d{ending}": _pool for kind in ("max", "avg") for n in (1, 2, 3) for ending in ("", "_with_index")}
)
RULES.update(
    {
        name: _taken(1)
        for name in "sum mean prod max min argmax argmin all any cumsum cumprod cummax cummin logcumsumexp".split()
    }
)
MOVES = frozenset(
    "reshape transpose broadcast_to getitem diagonal real imag cast to_device concat take take_along_axis pad pad_mode flip "
    "roll repeat tril triu unfold spread_diagonal index_put index_scatter scatter scatter_along_axis spread_along_axis "
    "masked sort argsort argtopk pool_places searchsorted".split()
)
RULES.update({name: _nothing for name in MOVES if name in OPS or name in ("to_device",)})

#: Ops whose result is, or may be, a view of their input: it takes no memory of its own.
VIEWS = frozenset(("reshape", "transpose", "broadcast_to", "getitem", "diagonal", "real", "imag", "to_device"))
