"""CrossEntropy: targets of each form, weights, sums, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError, HyperparameterError, IndexingError, ShapeError
from lunar_losses.cross_entropy import CrossEntropy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 4))
LABELS = np.array([0, 3, 1, 1, 2, 0])


def reference(logits, labels):
    shifted = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]


def test_the_mean_is_that_of_the_negative_log_probabilities():
    assert CrossEntropy()(LOGITS, LABELS).item() == pytest.approx(reference(LOGITS, LABELS).mean(), rel=1e-12)
    assert CrossEntropy()(lc.zeros((2, 10)), [3, 7]).item() == pytest.approx(math.log(10))


@pytest.mark.parametrize("make", [np.asarray, lc.tensor, list], ids=["array", "tensor", "list"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_targets_may_be_arrays_tensors_or_lists_of_any_integer(make, dtype):
    labels = make(LABELS.astype(dtype))
    assert CrossEntropy()(lc.tensor(LOGITS), labels).item() == pytest.approx(
        reference(LOGITS, LABELS).mean(), rel=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, bool])
def test_one_hot_rows_give_what_their_classes_give(dtype):
    one_hot = np.eye(4, dtype=dtype)[LABELS]
    for options in ({}, {"label_smoothing": 0.2}):
        loss = CrossEntropy(**options)
        assert loss(LOGITS, one_hot).item() == pytest.approx(loss(LOGITS, LABELS).item(), rel=1e-12)


def test_sum_and_weight_of_uneven_parts_add_up_to_the_whole():
    loss = CrossEntropy(class_weights=(1.0, 2.0, 0.5, 3.0), ignore_index=2)
    whole, weight = loss.terms(LOGITS, LABELS)
    parts = [loss.terms(LOGITS[a:b], LABELS[a:b]) for a, b in [(0, 1), (1, 5), (5, 6)]]
    assert sum(p[0].item() for p in parts) == pytest.approx(whole.item(), rel=1e-12)
    assert sum(p[1] for p in parts) == pytest.approx(weight)
    assert loss(LOGITS, LABELS).item() == pytest.approx(whole.item() / weight, rel=1e-12)


def test_ignored_samples_count_neither_in_the_sum_nor_in_the_weight():
    labels = LABELS.copy()
    labels[[1, 4]] = -100
    total, weight = CrossEntropy().terms(LOGITS, labels)
    kept = [0, 2, 3, 5]
    assert weight == 4
    assert total.item() == pytest.approx(reference(LOGITS[kept], labels[kept]).sum(), rel=1e-12)
    x = lc.tensor(LOGITS, requires_grad=True)
    CrossEntropy()(x, labels).backward()
    assert not x.grad.numpy()[[1, 4]].any()
    with pytest.raises(IndexingError, match="class -100"):
        CrossEntropy(ignore_index=None)(LOGITS, labels)


def test_a_batch_that_is_all_ignored_has_terms_zero_and_zero():
    total, weight = CrossEntropy(ignore_index=0).terms(LOGITS, np.zeros(6, int))
    assert (total.item(), weight) == (0, 0)


def test_sample_weights_multiply_sum_and_weight():
    w = RNG.random(6)
    total, weight = CrossEntropy().terms(LOGITS, LABELS, w)
    assert total.item() == pytest.approx((w * reference(LOGITS, LABELS)).sum(), rel=1e-12)
    assert weight == pytest.approx(w.sum())
    class_weights = np.array([1.0, 2.0, 0.5, 3.0])
    _, weight = CrossEntropy(class_weights=tuple(class_weights)).terms(LOGITS, LABELS, w)
    assert weight == pytest.approx((class_weights[LABELS] * w).sum())


def test_positions_of_images_count_each():
    logits = RNG.normal(size=(2, 3, 4, 5))
    labels = RNG.integers(0, 3, (2, 4, 5))
    total, weight = CrossEntropy().terms(logits, labels)
    assert weight == 40
    last = CrossEntropy(axis=-1)(logits.transpose(0, 2, 3, 1), labels)
    assert last.item() == pytest.approx(total.item() / 40, rel=1e-12)
    _, weighted = CrossEntropy().terms(logits, labels, [1.0, 3.0])
    assert weighted == 80


def test_reductions():
    assert CrossEntropy(reduction="sum")(LOGITS, LABELS).item() == pytest.approx(reference(LOGITS, LABELS).sum())
    np.testing.assert_allclose(
        CrossEntropy(reduction="none")(LOGITS, LABELS).numpy(), reference(LOGITS, LABELS), rtol=1e-12
    )


def test_huge_logits_neither_overflow_nor_lose_the_gradient():
    x = lc.tensor([[1e4, 0.0], [-1e4, 0.0]], requires_grad=True)
    with np.errstate(over="raise", invalid="raise"):
        loss = CrossEntropy()(x, [1, 0])
        loss.backward()
    assert loss.item() == pytest.approx(1e4)
    np.testing.assert_allclose(x.grad.numpy(), [[0.5, -0.5], [-0.5, 0.5]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_the_logits(dtype):
    for loss in (CrossEntropy(), CrossEntropy(class_weights=(1, 2, 3, 4), label_smoothing=0.1, ignore_index=1)):
        assert loss(LOGITS.astype(dtype), LABELS).dtype == dtype
        assert loss(LOGITS.astype(dtype), np.eye(4)[LABELS]).dtype == dtype


def test_wrong_targets_are_one_clear_error_each():
    with pytest.raises(ShapeError, match=r"target of shape \(5,\) does not fit logits \(6, 4\)"):
        CrossEntropy()(LOGITS, LABELS[:5])
    with pytest.raises(ShapeError, match=r"\(6, 3\)"):
        CrossEntropy()(LOGITS, np.ones((6, 3)))
    with pytest.raises(DTypeError, match="must be integers, got float64"):
        CrossEntropy()(LOGITS, LABELS.astype(float))
    with pytest.raises(IndexingError, match="class 4 is out of range for 4 classes"):
        CrossEntropy()(LOGITS, [0, 1, 2, 3, 4, 0])
    with pytest.raises(ShapeError, match="CrossEntropy has 3 class weights, the logits .* have 4 classes"):
        CrossEntropy(class_weights=(1, 2, 3))(LOGITS, LABELS)
    with pytest.raises(ShapeError, match="sample weights"):
        CrossEntropy()(LOGITS, LABELS, np.ones(5))


def test_hyperparameters_are_checked():
    for options in ({"label_smoothing": 1.5}, {"class_weights": (1, -1)}, {"reduction": "avg"}, {"smoothing": 0.1}):
        with pytest.raises(HyperparameterError):
            CrossEntropy(**options)
    assert repr(CrossEntropy(label_smoothing=0.1)) == "CrossEntropy(label_smoothing=0.1)"
