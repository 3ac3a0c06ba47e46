"""More rows of the table in :mod:`composed_ops`: einsum's shorthands, triangular systems, probabilities, blocks and stretches."""

from __future__ import annotations

import numpy as np
from composed_ops import CSQUARE, SQUARE, Row
from composed_ops import ROWS as FIRST

from lunar_core.ops.common import array, complex_array

# fmt: off
# ruff: noqa: E501

PLACES = np.array([[0, 2, 1], [0, 2, 3], [3, 0, 1], [0, 2, 1], [3, 2, 1]])

MORE = [
    Row("einsum with dots that broadcast", (array(0, (2, 1, 3, 4)), array(1, (3, 4, 2))), lambda o, x, y: o.einsum("...ij,...jk->...ik", x, y),
        lambda t, x, y: t.einsum("...ij,...jk->...ik", x, y)),
    Row("einsum with dots and no arrow", (array(2, (2, 3, 4)), array(3, (4,))), lambda o, x, y: o.einsum("...i,i", x, y),
        lambda t, x, y: t.einsum("...i,i", x, y)),
    Row("einsum of a diagonal", (array(4, (3, 2, 3)),), lambda o, x: o.einsum("iji->j", x), lambda t, x: t.einsum("iji->j", x)),
    Row("einsum of a trace beside another array", (array(5, (3, 3)), array(6, (2,))), lambda o, x, y: o.einsum("ii,k->ki", x, y),
        lambda t, x, y: t.einsum("ii,k->ki", x, y)),
    Row("linear without inputs", (array(7, (2, 0)), array(8, (3, 0))), lambda o, x, w: o.linear(x, w), lambda t, x, w: t.nn.functional.linear(x, w)),
    Row("logsumexp of complex numbers", (complex_array(9, (2, 3)),), lambda o, x: o.logsumexp(x, axis=1), lambda t, x: t.logsumexp(x, 1)),
    Row("sigmoid of complex numbers", (complex_array(10, (2, 3)),), lambda o, x: o.sigmoid(x), lambda t, x: t.sigmoid(x)),
    Row("softsign of complex numbers", (complex_array(11, (2, 3)),), lambda o, x: o.softsign(x), lambda t, x: t.nn.functional.softsign(x)),
    Row("tanhshrink of complex numbers", (complex_array(12, (2, 3), -0.5, 0.5),), lambda o, x: o.tanhshrink(x), lambda t, x: t.nn.functional.tanhshrink(x)),
    Row("norm of order 3.5", (array(13, (2, 3)),), lambda o, x: o.norm(x, axis=1, ord=3.5), lambda t, x: t.linalg.vector_norm(x, 3.5, 1)),
    Row("norm of order -2", (array(13, (2, 3)),), lambda o, x: o.norm(x, axis=1, ord=-2), lambda t, x: t.linalg.vector_norm(x, -2, 1)),
    Row("solve_triangular, lower", (SQUARE, array(14, (3, 2))), lambda o, a, b: o.solve_triangular(a, b),
        lambda t, a, b: t.linalg.solve_triangular(a.tril(), b, upper=False)),
    Row("solve_triangular, upper, from the right", (SQUARE, array(15, (2, 3))), lambda o, a, b: o.solve_triangular(a, b, upper=True, left=False),
        lambda t, a, b: t.linalg.solve_triangular(a.triu(), b, upper=True, left=False)),
    Row("solve_triangular with a diagonal of ones", (SQUARE, array(16, (3, 2))), lambda o, a, b: o.solve_triangular(a, b, unitriangular=True),
        lambda t, a, b: t.linalg.solve_triangular(a.tril(), b, upper=False, unitriangular=True)),
    Row("logdet", (SQUARE @ SQUARE.T + np.eye(3),), lambda o, x: o.logdet(x), lambda t, x: t.logdet(x)),
    Row("logdet of complex numbers", (CSQUARE,), lambda o, x: o.logdet(x), lambda t, x: t.logdet(x)),
    Row("entr", (array(17, (2, 3), 0.1, 2),), lambda o, x: o.entr(x), lambda t, x: t.special.entr(x)),
    Row("logit", (array(18, (2, 3), 0.1, 0.9),), lambda o, x: o.logit(x), lambda t, x: t.logit(x)),
    Row("logit with bounds", (array(19, (2, 3), 0.01, 0.99),), lambda o, x: o.logit(x, eps=0.2), lambda t, x: t.logit(x, eps=0.2)),
    Row("ndtr", (array(20, (2, 3), -3, 3),), lambda o, x: o.ndtr(x), lambda t, x: t.special.ndtr(x)),
    Row("unflatten", (array(21, (2, 6)),), lambda o, x: o.unflatten(x, 1, (-1, 3)), lambda t, x: t.unflatten(x, 1, (-1, 3))),
    Row("sliding_windows that are short", (array(22, (2, 7)),), lambda o, x: o.sliding_windows(x, 3, step=2), lambda t, x: x.unfold(1, 3, 2)),
    Row("sliding_windows that are long", (array(23, (7, 2)),), lambda o, x: o.sliding_windows(x, 5, axis=0), lambda t, x: x.unfold(0, 5, 1)),
    Row("block_diag", (array(24, (2, 3)), array(25, (2,)), array(26, (1, 1))), lambda o, *x: o.block_diag(x), lambda t, *x: t.block_diag(*x)),
    Row("diag_embed into other axes", (array(27, (2, 3)),), lambda o, x: o.diag_embed(x, -1, 0, 2), lambda t, x: t.diag_embed(x, -1, 0, 2)),
    Row("clip by arrays", (array(28, (2, 3)), array(29, (3,), -2, -0.3), array(30, (2, 1), 0.2, 1)), lambda o, x, a, b: o.clip(x, a, b),
        lambda t, x, a, b: t.clamp(x, a, b)),
    Row("floor_divide has slope 0", (array(31, (2, 3), 0.3, 2.0),), lambda o, x: x + o.floor_divide(x, np.float64(0.7) * 1.37),
        lambda t, x: x + t.div(x, 0.7 * 1.37, rounding_mode="floor")),
    *[
        Row(f"scatter_reduce {mode}{'' if own else ' of the values alone'}", (array(32, (4, 3)), PLACES, array(33, (5, 3))),
            lambda o, x, p, s, m=mode, own=own: o.scatter_reduce(x, 0, p, s, m, own),
            lambda t, x, p, s, m=mode, own=own: t.scatter_reduce(x, 0, p, s, m, include_self=own),
            mode in ("sum", "mean"))
        for mode in ("sum", "prod", "mean", "amin", "amax") for own in (True, False)
    ],
]

ROWS = [*FIRST, *MORE]
