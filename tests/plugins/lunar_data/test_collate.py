"""Batches of examples: stacking and padding."""

from collections import namedtuple

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DataError, HyperparameterError
from lunar_data import Pad, Padded, Stack

Pair = namedtuple("Pair", "x y")


def test_structures_are_kept_and_leaves_stacked():
    examples = [Pair({"a": np.full(2, i, np.int16), "t": "abc"[i]}, [i, 0.5 * i, i > 1, None]) for i in range(3)]
    batch = Stack()(examples)
    assert isinstance(batch, Pair) and batch.x["t"] == ["a", "b", "c"]
    assert batch.x["a"].dtype == np.int16 and batch.x["a"].tolist() == [[0, 0], [1, 1], [2, 2]]
    numbers, floats, flags, nothing = batch.y
    assert (numbers.dtype, floats.dtype, flags.dtype) == (np.int64, np.float32, np.bool_)
    assert nothing == [None] * 3


def test_tensors_and_numpy_numbers_are_leaves():
    batch = Stack()([(lc.tensor([1.0, 2.0]), np.float64(3))] * 2)
    assert batch[0].shape == (2, 2) and batch[1].dtype == np.float64


def test_dtypes_are_promoted():
    assert Stack()([np.zeros(2, np.float32), np.zeros(2, np.float64)]).dtype == np.float64


@pytest.mark.parametrize(
    "examples, message",
    [
        ([], "at least one example"),
        ([(np.zeros(2),), (np.zeros(3),)], r"at \[0\]: example 0 of the batch has shape \(2,\), example 1 has \(3,\)"),
        ([{"a": 1}, {"b": 1}], "differ in structure"),
        ([(1, (2, 3)), (1, (2,))], r"at \[1\]: example 0 of the batch is a tuple of 2, example 1 is a tuple of 1"),
    ],
    ids=["none", "shapes", "keys", "lengths"],
)
def test_what_cannot_be_stacked_is_refused(examples, message):
    with pytest.raises(DataError, match=message):
        Stack()(examples)


def test_padding_fills_up_and_masks():
    examples = [(np.arange(1, k + 1), np.array([k, k])) for k in (3, 1, 2)]
    (values, mask), labels = Pad({0: -1}, leaves=[0], mask=True)(examples)
    assert values.tolist() == [[1, 2, 3], [1, -1, -1], [1, 2, -1]]
    assert mask.tolist() == [[True] * 3, [True, False, False], [True, True, False]]
    assert labels.tolist() == [[3, 3], [1, 1], [2, 2]]


def test_padding_on_the_left_to_a_multiple():
    batch = Pad(9, multiple=4, side="left", mask=True)([np.arange(3), np.arange(5)])
    assert isinstance(batch, Padded)
    assert batch.values.tolist() == [[9, 9, 9, 9, 9, 0, 1, 2], [9, 9, 9, 0, 1, 2, 3, 4]]
    np.testing.assert_array_equal(batch.mask.sum(axis=1), [3, 5])


def test_padding_equals_numpys_pad_on_every_axis():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, *rng.integers(1, 6, 2))) for _ in range(5)]
    largest = np.max([a.shape for a in arrays], axis=0)
    batch = Pad(0.5, mask=True)(arrays)
    for i, a in enumerate(arrays):
        widths = [(0, m - n) for m, n in zip(largest, a.shape)]
        np.testing.assert_array_equal(batch.values[i], np.pad(a, widths, constant_values=0.5))
        np.testing.assert_array_equal(batch.mask[i], np.pad(np.ones(a.shape, bool), widths))


def test_an_even_batch_has_a_mask_too():
    batch = Pad(mask=True)([np.zeros(3), np.zeros(3)])
    assert batch.mask.shape == (2, 3) and batch.mask.all()


def test_one_uneven_axis_has_one_mask_for_the_axes_behind_it():
    batch = Pad(mask=True)([np.zeros((2, 4)), np.zeros((3, 4))])
    assert batch.values.shape == (2, 3, 4) and batch.mask.shape == (2, 3)


def test_what_cannot_be_padded_is_refused():
    with pytest.raises(DataError, match=r"examples have \[1, 2\] axes"):
        Pad()([np.zeros(2), np.zeros((2, 2))])
    with pytest.raises(DataError, match="uint8, which does not hold the value -1"):
        Pad(-1)([np.zeros(2, np.uint8), np.zeros(3, np.uint8)])
    with pytest.raises(HyperparameterError, match="'right' or 'left'"):
        Pad(side="middle")
