"""Bad input to functions of shape and of indexing: one error that names the function, what came, and the rule it broke."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, IndexingError, ShapeError

x = lc.tensor(np.arange(6.0).reshape(2, 3))
v, w, m = lc.ones(3, dtype="float64"), lc.ones(4, dtype="float64"), lc.eye(3, dtype="float64")
i, c = lc.tensor([[0, 1]]), lc.tensor([1j], dtype="complex128")

SHAPE = [
    ("ops.reshape(x, (4, 2))", ShapeError, "reshape: shape (2, 3) has 6 elements and does not fit into (4, 2)"),
    ("x.reshape(-1, -1)", ShapeError, "reshape: (-1, -1) must have non-negative sizes and at most one -1"),
    ("ops.reshape(x, (1.5, 4))", DTypeError, "reshape((2, 3) float64, shape=(1.5, 4)):"),
    ("ops.flatten(x, 1, 0)", ShapeError, "flatten: start_axis 1 comes after end_axis 0"),
    ("ops.transpose(x, (0, 0))", ShapeError, "transpose: axis (0, 0) names an axis twice"),
    ("ops.transpose(x, (0,))", ShapeError, "transpose: 1 axes given for an array with 2"),
    ("ops.permute_dims(x, (0, 2))", ShapeError, "transpose: axis 2 is out of range for an array with 2 axes"),
    ("ops.swapaxes(x, 0, 5)", ShapeError, "swapaxes: axis 5 is out of range for an array with 2 axes"),
    ("ops.moveaxis(x, (0, 1), 0)", ShapeError, "moveaxis: 2 source axes for 1 destinations"),
    ("ops.squeeze(x, 0)", ShapeError, "squeeze: axis 0 has size 2, not 1, in shape (2, 3)"),
    ("ops.expand_dims(x, 7)", ShapeError, "expand_dims: axis 7 is out of range for an array with 3 axes"),
    ("ops.broadcast_to(x, (5, 5))", ShapeError, "broadcast_to: shape (2, 3) does not broadcast to (5, 5)"),
    ("ops.broadcast_arrays(x, w)", ShapeError, "broadcast_arrays: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.concat([x, w])", ShapeError, "concat: shapes (2, 3) and (4,) must agree on every axis but axis 0"),
    ("ops.concat([x, x.T])", ShapeError, "concat: shapes (2, 3) and (3, 2) must agree on every axis but axis 0"),
    ("ops.concat([x, x], axis=3)", ShapeError, "concat: axis 3 is out of range for an array with 2 axes"),
    ("ops.concat([])", ShapeError, "concat: no arrays given"),
    ("ops.concat(5)", DTypeError, "concat: expected a sequence of arrays, got int"),
    ("ops.stack([x, w])", ShapeError, "stack: arrays of different shapes: [(2, 3), (4,)]"),
    ("ops.stack([x, x], axis=5)", ShapeError, "stack: axis 5 is out of range for an array with 3 axes"),
    ("ops.stack([])", ShapeError, "stack: no arrays given"),
    ("ops.split(x, 4, axis=1)", ShapeError, "split: axis 1 of size 3 cannot be cut into 4 equal parts"),
    ("ops.split(x, 1, axis=3)", ShapeError, "split: axis 3 is out of range for an array with 2 axes"),
    ("ops.chunk(x, 0)", ShapeError, "chunk: expected at least one chunk, got 0"),
    ("ops.unbind(x, 4)", ShapeError, "unbind: axis 4 is out of range for an array with 2 axes"),
    ("ops.pad(x, -1)", ShapeError, "pad: expected 2 pairs of non-negative widths, got -1"),
    (
        'ops.pad(x, 1, mode="odd")',
        ShapeError,
        "pad: mode must be one of constant, reflect, symmetric, edge, replicate, wrap, circular; got 'odd'",
    ),
    (
        "ops.pad(x, [(1, 1)] * 3)",
        ShapeError,
        "pad: expected 2 pairs of non-negative widths, got [(1, 1), (1, 1), (1, 1)]",
    ),
    ('ops.pad(lc.zeros((0, 2)), 1, mode="reflect")', ShapeError, "pad: mode 'reflect' cannot extend axis 0 of size 0"),
    ("ops.roll(x, (1, 2), 0)", ShapeError, "roll: 2 shifts for 1 axes"),
    ("ops.roll(x, 1, 5)", ShapeError, "roll: axis 5 is out of range for an array with 2 axes"),
    ("ops.roll(x, 1.5, 0)", ShapeError, "roll: expected an int or a tuple of ints as shift, got 1.5"),
    ("ops.tile(x, -1)", ShapeError, "tile: repetitions must be ints that are not negative, got -1"),
    ('ops.tile(x, "a")', ShapeError, "tile: repetitions must be ints that are not negative, got 'a'"),
    ("ops.repeat(x, -1)", ShapeError, "repeat: expected a count or 6 counts for axis 0, none negative, got -1"),
    (
        "ops.repeat(x, [1, 2, 3, 4], axis=1)",
        ShapeError,
        "repeat: expected a count or 3 counts for axis 1, none negative, got [1, 2, 3, 4]",
    ),
    ("ops.meshgrid(x)", ShapeError, "meshgrid: expected 1-D arrays, got shapes [(2, 3)]"),
    ('ops.meshgrid(v, indexing="ji")', ShapeError, "meshgrid: indexing must be 'xy' or 'ij', got 'ji'"),
    ("ops.tril(v)", ShapeError, "tril: expected at least two axes, got shape (3,)"),
    ('ops.triu(x, "a")', ShapeError, "triu: the number of the diagonal must be an int, got 'a'"),
    ("ops.diagonal(v)", ShapeError, "diagonal: expected at least two axes, got shape (3,)"),
    ("ops.diagonal(x, 0, 1, 1)", ShapeError, "diagonal: axis (1, 1) names an axis twice"),
    ("ops.diag(lc.zeros((2, 2, 2)))", ShapeError, "diag: expected a vector or a matrix, got shape (2, 2, 2)"),
]
INDEXING = [
    ("x[5]", IndexingError, "x[...]: index does not fit an array of shape (2, 3)"),
    ('x["a"]', IndexingError, "x[...]: index does not fit an array of shape (2, 3)"),
    ("x[1.5]", IndexingError, "x[...]: index does not fit an array of shape (2, 3)"),
    ("x[0, 0, 0]", IndexingError, "x[...]: index does not fit an array of shape (2, 3)"),
    ("x[lc.tensor([True, False, True])]", IndexingError, "x[...]: index does not fit an array of shape (2, 3)"),
    ("x[v]", IndexingError, "x[...]: index does not fit an array of shape (2, 3)"),
    ("x[lc.tensor([0, 9])]", IndexingError, "x[...]: index does not fit an array of shape (2, 3)"),
    (
        "x[lc.tensor([0, 1]), lc.tensor([0, 1, 2])]",
        IndexingError,
        "x[...]: index does not fit an array of shape (2, 3)",
    ),
    ("x[..., ...]", IndexingError, "x[...]: index does not fit an array of shape (2, 3)"),
    ("x.__setitem__(5, 1.0)", IndexingError, "writing into a tensor of shape (2, 3)"),
    ("x.__setitem__(0, w)", ShapeError, "writing into a tensor of shape (2, 3)"),
    ('x.__setitem__(0, "a")', ShapeError, "writing into a tensor of shape (2, 3)"),
    (
        "x.at[0].set(w)",
        ShapeError,
        "x.at[...]: value of shape (4,) does not fit the indexed shape (3,) of an array of shape (2, 3)",
    ),
    ("x.at[9].set(1.0)", IndexingError, "x[...]: index does not fit an array of shape (2, 3)"),
    ("x.at[[0, 7]].add(1.0)", IndexingError, "x[...]: index does not fit an array of shape (2, 3)"),
    ("x.at[[0, 0, 7]].multiply(1.0)", IndexingError, "x[...]: index does not fit an array of shape (2, 3)"),
    (
        "x.at[:1].max(lc.zeros((4, 4)))",
        ShapeError,
        "x.at[...]: value of shape (4, 4) does not fit the indexed shape (1, 3) of an array of shape (2, 3)",
    ),
    ('x.at[0].set("a")', DTypeError, "x.at[...]: expected an array or number, got 'a'"),
    (
        "ops.index_put(x, (0, 9), 1.0)",
        IndexingError,
        "index_put: index does not fit an array of shape (2, 3)",
    ),
    ("ops.take(x, [0, 9], axis=1)", IndexingError, "take: indices span 0..9, expected -3..2 on axis 1"),
    ("ops.take(x, [0.5])", DTypeError, "take: indices must be integers, got float64"),
    ("ops.take(x, [0], axis=7)", ShapeError, "take: axis 7 is out of range for an array with 2 axes"),
    ("ops.take_along_axis(x, lc.tensor([0]), 1)", ShapeError, "take_along_axis: indices have 1 axes, the array has 2"),
    (
        "ops.take_along_axis(x, lc.tensor([[9], [0]]), 1)",
        IndexingError,
        "take_along_axis: indices span 0..9, expected -3..2 on axis 1 of (2, 3)",
    ),
    ("ops.take_along_axis(x, x, 1)", DTypeError, "take_along_axis: indices must be integers, got float64"),
    (
        "ops.gather(x, 0, lc.tensor([0]))",
        ShapeError,
        "gather: an index of shape (1,) must have the rank of x, (2, 3), and be no larger than it except on axis 0",
    ),
    (
        "ops.gather(x, 1, lc.tensor([[9]]))",
        IndexingError,
        "gather: indices span 9..9, expected -3..2 on axis 1 of (2, 3)",
    ),
    ("ops.gather(x, 3, i)", ShapeError, "gather: axis 3 is out of range for an array with 2 axes"),
    ("ops.scatter(x, 0, i, w)", ShapeError, "scatter: src of shape (4,) is smaller than the index, (1, 2)"),
    (
        "ops.scatter(x, 0, lc.tensor([[7]]), 1.0)",
        IndexingError,
        "scatter: indices span 7..7, expected -2..1 on axis 0 of (2, 3)",
    ),
    ("ops.scatter(x, 0, i, lc.tensor([[1, 1]]))", DTypeError, "scatter: src is int64, x is float64"),
    (
        "ops.scatter_add(x, 0, lc.tensor([[7]]), 1.0)",
        IndexingError,
        "scatter_add: indices span 7..7, expected -2..1 on axis 0 of (2, 3)",
    ),
    ("ops.masked_fill(x, x, 0.0)", DTypeError, "masked_fill: the mask must hold bools, got float64"),
    (
        "ops.masked_fill(x, w > 0, 0.0)",
        ShapeError,
        "masked_fill: x (2, 3) takes a mask that broadcasts to it and one value, got a mask of shape (4,) and a value",
    ),
    ("ops.masked_select(x, w > 0)", ShapeError, "masked_select: shapes (2, 3) and (4,) do not broadcast"),
    ("ops.masked_select(x, x)", DTypeError, "masked_select: the mask must hold bools, got float64"),
    ("ops.nonzero(lc.tensor(1.0))", ShapeError, "nonzero: x has no axes"),
    ("ops.one_hot(lc.tensor([5]), 3)", IndexingError, "one_hot: indices span 5..5, expected 0..2"),
    ("ops.one_hot(v, 3)", DTypeError, "one_hot: indices must be integers, got float64"),
    ("ops.embedding(lc.tensor([9]), m)", IndexingError, "embedding: index 9 is out of range for a table of 3 rows"),
    ("ops.embedding(v, m)", DTypeError, "embedding: indices must be integers, got float64"),
]


CASES = [*SHAPE, *INDEXING]


@pytest.mark.parametrize(("call", "error", "message"), CASES, ids=[call for call, _, _ in CASES])
def test_a_mistake_is_named_with_the_function_and_what_came(call, error, message):
    with pytest.raises(error) as caught:
        eval(call, {"ops": ops, "lc": lc, "x": x, "v": v, "w": w, "m": m, "i": i, "c": c, "np": np})
    assert caught.value.message.startswith(message)
