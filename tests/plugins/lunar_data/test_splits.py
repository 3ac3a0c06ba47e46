"""Splits and class weights: their laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core.errors import DataError, HyperparameterError
from lunar_data import Digits, class_weights, fold_indices, k_fold, split, split_indices


def is_partition(parts, n):
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))


def test_train_validation_and_test_keep_the_classes():
    data = Digits()
    parts = split(data, (0.7, 0.2, 0.1), stratify=True)
    assert [len(part) for part in parts] == [1258, 359, 180]
    is_partition([part.indices for part in parts], len(data))
    whole = np.bincount(data.targets()) / len(data)
    for part in parts:
        np.testing.assert_allclose(np.bincount(part.targets()) / len(part), whole, atol=1.5 / len(part))


@given(n=st.integers(20, 300), a=st.floats(0.2, 0.6), seed=st.integers(0, 9))
def test_parts_are_disjoint_and_complete_with_rounded_sizes(n, a, seed):
    shares = (a, 0.9 - a, 0.1)
    parts = split_indices(n, shares, seed=seed)
    is_partition(parts, n)
    assert all(abs(len(part) - share * n) <= 1 for part, share in zip(parts, shares))
    again = split_indices(n, shares, seed=seed)
    lc.seed(seed + 1)
    assert all((p == q).all() for p, q in zip(parts, again))


def test_numbers_of_examples_may_be_given():
    assert [len(p) for p in split_indices(10, (7, 2, 1))] == [7, 2, 1]


@given(data=st.data(), shuffled=st.booleans())
def test_groups_stay_together(data, shuffled):
    groups = np.array(data.draw(st.lists(st.integers(0, 12), min_size=60, max_size=120)))
    labels = groups % 2 if shuffled else None
    parts = (
        fold_indices(len(groups), 3, groups=groups, stratify=labels, shuffle=shuffled) if len(set(groups)) > 2 else []
    )
    for i, part in enumerate(parts):
        for other in parts[i + 1 :]:
            assert not set(groups[part]) & set(groups[other])
    if parts:
        is_partition(parts, len(groups))


def test_groups_are_dealt_out_to_the_shares():
    groups = np.random.default_rng(0).integers(0, 200, 2000)
    parts = split_indices(2000, (0.6, 0.3, 0.1), groups=groups)
    is_partition(parts, 2000)
    assert all(abs(len(p) - s) <= 20 for p, s in zip(parts, (1200, 600, 200)))
    assert not set(groups[parts[0]]) & set(groups[parts[1]])


def test_folds_hold_each_example_out_once():
    data = Digits()
    folds = k_fold(data, 4, stratify=True)
    is_partition([held.indices for _, held in folds], len(data))
    for train, held in folds:
        is_partition([train.indices, held.indices], len(data))
        counts = np.bincount(held.targets())
        assert np.abs(counts - np.bincount(data.targets()) / 4).max() <= 1


def test_one_may_be_left_out():
    assert [fold.tolist() for fold in fold_indices(4, 4, shuffle=False)] == [[0], [1], [2], [3]]


def test_effective_numbers_lie_between_equal_and_balanced():
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    np.testing.assert_allclose(class_weights(labels, beta=0.0), [1, 1, 1])
    counts = np.array([900, 90, 10])
    expected = (1 - 0.99) / (1 - 0.99**counts)
    np.testing.assert_allclose(class_weights(labels, beta=0.99), expected * 3 / expected.sum(), rtol=1e-12)
    inverse = class_weights(labels) / class_weights(labels).sum()
    near_one = class_weights(labels, beta=1 - 1e-9)
    np.testing.assert_allclose(near_one / near_one.sum(), inverse, rtol=1e-5)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: split_indices(10, (0.5, 0.6)), HyperparameterError, "with the sum 1"),
        (lambda: split_indices(10, (1.0,)), HyperparameterError, "two or more numbers"),
        (lambda: split_indices(10, (5, 4)), HyperparameterError, "ints with the sum 10"),
        (lambda: split_indices(3, (0.9, 0.05, 0.05)), DataError, "leave a part with nothing"),
        (lambda: split_indices(4, (0.5, 0.5), stratify=[0, 1]), DataError, "one label for each of 4 examples"),
        (lambda: split_indices(4, (0.5, 0.5), stratify=[0, 1, 1, 1]), DataError, "two examples of each class"),
        (lambda: split_indices(4, (0.5, 0.5), groups=[1, 1, 1, 1]), DataError, "1 groups cannot fill 2 parts"),
        (lambda: fold_indices(3, 4), DataError, "3 examples cannot make 4 folds"),
        (lambda: fold_indices(9, 1), HyperparameterError, "an int > 1"),
        (lambda: fold_indices(4, 2, stratify=[0, 0, 0, 1]), DataError, r"has 1 member\(s\)"),
        (lambda: fold_indices(4, 3, groups=[0, 0, 1, 1]), DataError, "2 groups cannot make 3 folds"),
        (lambda: class_weights([0, 2]), DataError, r"class\(es\) \[1\] have no example"),
        (lambda: class_weights([0, 2], 2), DataError, "there is a class 2"),
        (lambda: class_weights([0.5]), DataError, "class indices"),
        (lambda: class_weights([0, 1], beta=1.0), HyperparameterError, "in \\[0, 1\\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_divided_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
