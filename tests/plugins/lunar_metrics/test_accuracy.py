"""Accuracy: every form of target, streaming, merging and the errors."""

from __future__ import annotations

import copy

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core.errors import DataError, DeviceError, HyperparameterError, StateError
from lunar_core.tensor import Tensor
from lunar_core.testing.fake_device import fake_device
from lunar_metrics import Accuracy

RNG = np.random.default_rng(0)


def accuracy(pred, target, weight=None, **options):
    metric = Accuracy(**options)
    metric.update(pred, target, weight)
    return metric.compute()


def test_class_indices_one_hot_and_probabilities_agree():
    logits, labels = RNG.normal(size=(50, 4)).astype(np.float32), RNG.integers(0, 4, 50)
    one_hot = np.eye(4)[labels]
    expected = np.mean(logits.argmax(1) == labels)
    assert accuracy(logits, labels) == expected
    assert accuracy(Tensor(logits), Tensor(labels)) == expected
    assert accuracy(logits, one_hot) == expected
    assert accuracy(logits, 0.9 * one_hot + 0.025) == expected
    assert accuracy(logits.astype(ml_dtypes.bfloat16), labels) == pytest.approx(expected, abs=0.05)


def test_classes_may_lie_on_any_axis():
    logits, labels = RNG.normal(size=(6, 3, 5)), RNG.integers(0, 3, (6, 5))
    expected = np.mean(logits.argmax(1) == labels)
    assert accuracy(logits, labels) == expected
    assert accuracy(logits.swapaxes(1, 2), labels, axis=-1) == expected


@pytest.mark.parametrize("shape", [(8,), (8, 1)])
def test_one_number_per_example_is_a_binary_prediction(shape):
    logits = np.array([-3, -1, -0.1, 0.1, 0.2, 2, 3, -9.0])
    target = np.array([0, 0, 1, 1, 1, 0, 1, 0])
    assert accuracy(logits.reshape(shape), target) == 6 / 8
    assert accuracy(logits.reshape(shape), target.reshape(8, 1)) == 6 / 8
    assert accuracy(1 / (1 + np.exp(-logits)).reshape(shape), target.astype(float), from_logits=False) == 6 / 8


def test_a_prediction_with_a_nan_is_wrong():
    pred = np.array([[1, 2], [np.nan, 2], [2, np.nan], [3, 1]])
    assert accuracy(pred, np.array([1, 1, 1, 0])) == 2 / 4
    assert accuracy(np.array([np.nan, 1.0, -1.0]), np.array([0, 1, 0])) == pytest.approx(2 / 3)


def test_weights_are_per_example_or_per_prediction():
    pred = np.eye(3)[[0, 1, 2, 0]]
    assert accuracy(pred, np.array([0, 1, 0, 1]), np.array([1, 2, 3, 4.0])) == 3 / 10
    positions = np.moveaxis(np.eye(3)[[[0, 1], [2, 0]]], -1, 1)
    target = np.array([[0, 0], [2, 1]])
    assert accuracy(positions, target, np.array([1.0, 3.0])) == 4 / 8
    assert accuracy(positions, target, np.array([[1, 0], [1, 0]])) == 1


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_any_division_into_batches_and_workers_gives_the_same_value(data):
    n = data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    pred, target = rng.normal(size=(n, 3)), rng.integers(0, 3, n)
    weight = rng.integers(0, 5, n) + 1.0 if data.draw(st.booleans()) else None
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)))
    workers = [Accuracy(), Accuracy()]
    for k, (a, b) in enumerate(zip([0, *cuts], [*cuts, n])):
        workers[k % 2].update(pred[a:b], target[a:b], None if weight is None else weight[a:b])
    workers[0].merge(workers[1])
    assert workers[0].compute() == accuracy(pred, target, weight)


def test_totals_survive_a_state_dict_and_a_deep_copy_and_reset_forgets_them():
    metric = Accuracy()
    metric.update(np.eye(3), np.array([0, 1, 1]))
    state = metric.state_dict()
    assert {name: value.item() for name, value in state.items()} == {"correct": 2, "total": 3, "seen": 3}
    twin, other = copy.deepcopy(metric), Accuracy()
    other.load_state_dict(state)
    for m in (twin, other):
        m.update(np.eye(3), np.array([0, 1, 2]))
        assert m.compute() == 5 / 6
    assert metric.compute() == 2 / 3
    metric.reset()
    with pytest.raises(DataError, match="seen no example"):
        metric.compute()
    with pytest.raises(StateError, match="totals"):
        metric.load_state_dict({"correct": 3})


def test_an_ignored_index_is_not_counted():
    pred, target = np.eye(3)[[0, 1, 2, 0]], np.array([0, -100, 2, 1])
    assert accuracy(pred, target) == pytest.approx(2 / 3)
    assert accuracy(pred, target, np.array([1, 9, 2, 1.0])) == 3 / 4
    assert accuracy(pred, np.array([0, 1, 2, 1]), ignore_index=1) == 1
    with pytest.raises(DataError, match=r"0\.\.2, got -100\.\.2"):
        accuracy(pred, target, ignore_index=None)
    with pytest.raises(DataError, match="sum to 0"):
        accuracy(pred, np.full(4, -100))


def test_an_empty_batch_changes_nothing():
    metric = Accuracy()
    metric.update(np.empty((0, 3)), np.empty(0, int))
    with pytest.raises(DataError):
        metric.compute()


def test_metrics_that_count_differently_are_not_merged():
    with pytest.raises(HyperparameterError, match="cannot be merged"):
        Accuracy().merge(Accuracy(from_logits=False))


@pytest.mark.parametrize(
    ("pred", "target", "weight", "words"),
    [
        (np.ones((4, 3)), np.zeros(5, int), None, r"\(4,\)"),
        (np.ones((4, 3)), np.zeros((4, 2)), None, r"\(4, 2\)"),
        (np.ones((4, 3)), np.zeros(4), None, "integers, got float64"),
        (np.ones((4, 3)), np.array([0, 1, 2, 3]), None, r"0\.\.2, got 0\.\.3"),
        (np.ones((4, 3)), np.array([0, 1, 2, -1]), None, r"got -1\.\.2"),
        (np.ones((4, 3)), np.zeros(4, int), np.ones(3), "one weight"),
        (np.ones((4, 3)), np.zeros(4, int), np.ones((4, 3)), "do not fit"),
        (np.ones(4), np.array([0, 1, 2, 1]), None, "0 and 1"),
        (np.ones(4), np.array([0, 1]), None, r"\(2,\)"),
        (np.ones((4, 1)), np.array([0, 1]), None, r"\(2,\)"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_the_totals(pred, target, weight, words):
    metric = Accuracy()
    metric.update(np.eye(3), np.array([0, 1, 1]))
    with pytest.raises(DataError, match=words):
        metric.update(pred, target, weight)
    assert metric.compute() == 2 / 3


def test_an_axis_that_is_not_there_is_named():
    with pytest.raises(DataError, match="no axis 2"):
        accuracy(np.ones((4, 3)), np.zeros(4, int), axis=2)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_on_a_device_nothing_is_copied_to_the_host_before_the_result(binary, weighted):
    pred = RNG.normal(size=(20, 1) if binary else (20, 3)).astype(np.float32)
    target, weight = RNG.integers(0, 2, 20), RNG.random(20) if weighted else None
    expected = accuracy(pred, target, weight)
    with fake_device() as device:
        there = [None if a is None else lc.tensor(a, device="fake") for a in (pred, target, weight)]
        metric, other = Accuracy(), Accuracy()
        metric.update(*[None if t is None else t[:7] for t in there])
        other.update(*[None if t is None else t[7:] for t in there])
        metric.merge(other)
        assert device.synchronizations == 0
        assert metric.compute() == pytest.approx(expected, rel=1e-12)
        restored = Accuracy()
        restored.load_state_dict(metric.state_dict())
        assert restored.compute() == metric.compute()
        with pytest.raises(DeviceError, match="cpu, fake"):
            metric.update(there[0], target)


def test_weights_that_sum_to_nothing_have_no_accuracy():
    with pytest.raises(DataError, match="sum to 0"):
        accuracy(np.eye(3), np.arange(3), np.zeros(3))
