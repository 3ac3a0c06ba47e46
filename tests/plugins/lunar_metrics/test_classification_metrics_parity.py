"""Metrics of classes and scores against scikit-learn, merged from uneven shards, over inputs made by hypothesis."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_shards import sharded

from lunar_metrics.agreement import BalancedAccuracy, CohenKappa, MatthewsCorrCoef
from lunar_metrics.calibration import CalibrationError
from lunar_metrics.class_scores import F1, Dice, FBeta, IoU, Precision, Recall
from lunar_metrics.confusion import ConfusionMatrix
from lunar_metrics.ranking import AUROC, AveragePrecision
from lunar_metrics.top_k_accuracy import TopKAccuracy

sk = pytest.importorskip("sklearn.metrics")
calibration = pytest.importorskip("sklearn.calibration")

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
RTOL = 1e-12


@st.composite
def problems(draw, classes=(2, 6), least=1):
    """(scores (n, classes), labels, weights or None, seed); few distinct labels, so that some classes are missing."""
    n, c = draw(st.integers(least, 60)), draw(st.integers(*classes))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    used = rng.integers(0, c, rng.integers(1, c + 1)) if draw(st.booleans()) else np.arange(c)
    labels = rng.choice(used, n)
    scores = rng.normal(size=(n, c)) + draw(st.sampled_from([0, 1, 3])) * np.eye(c)[labels]
    weight = draw(st.sampled_from([None, "whole", "real"]))
    weight = {"whole": rng.integers(1, 5, n) * 1.0, "real": rng.uniform(0.1, 3, n)}.get(weight)
    return scores, labels, weight, seed


def binary(problem):
    """The same as one logit per example with ties."""
    scores, labels, weight, seed = problem
    return np.round(scores[:, 1] - scores[:, 0], 1), (labels == 1).astype(int), weight, seed


PER_CLASS = [
    (Precision, sk.precision_score, {}),
    (Recall, sk.recall_score, {}),
    (F1, sk.f1_score, {}),
    (FBeta, sk.fbeta_score, {"beta": 2.0}),
    (FBeta, sk.fbeta_score, {"beta": 0.3}),
    (IoU, sk.jaccard_score, {}),
]


@pytest.mark.parametrize("cls, reference, options", PER_CLASS)
@pytest.mark.parametrize("average", ["macro", "weighted", "micro", "none"])
@settings(deadline=None, max_examples=25)
@given(problems(), st.sampled_from([0.0, 1.0]))
def test_scores_of_classes(cls, reference, options, average, problem, zero):
    scores, labels, weight, seed = problem
    value = sharded(cls(average=average, zero_division=zero, **options), scores, labels, weight, seed)
    everything = {"labels": range(scores.shape[1])} if average == "none" else {}
    expected = reference(
        labels, scores.argmax(1), average=None if average == "none" else average, sample_weight=weight,
        zero_division=zero, **everything, **options,
    )  # fmt: skip
    value = list(value.values()) if average == "none" else value
    np.testing.assert_allclose(value, expected, rtol=RTOL, atol=1e-15)


@pytest.mark.parametrize("cls, reference, options", PER_CLASS)
@settings(deadline=None, max_examples=25)
@given(problems())
def test_scores_of_two_classes(cls, reference, options, problem):
    scores, labels, weight, seed = binary(problem)
    value = sharded(cls(**options), scores, labels, weight, seed)
    expected = reference(labels, scores > 0, sample_weight=weight, zero_division=0.0, **options)
    assert value == pytest.approx(expected, rel=RTOL)


@settings(deadline=None, max_examples=40)
@given(problems(), st.sampled_from([None, "true", "pred", "all"]))
def test_confusion_matrix(problem, normalize):
    scores, labels, weight, seed = problem
    value = sharded(ConfusionMatrix(normalize), scores, labels, weight, seed)["matrix"]
    expected = sk.confusion_matrix(
        labels, scores.argmax(1), labels=range(scores.shape[1]), sample_weight=weight, normalize=normalize
    )
    np.testing.assert_allclose(value, expected, rtol=RTOL)


@settings(deadline=None, max_examples=40)
@given(problems())
def test_balanced_accuracy(problem):
    scores, labels, weight, seed = problem
    guess = scores.argmax(1)
    assert sharded(BalancedAccuracy(), scores, labels, weight, seed) == pytest.approx(
        sk.balanced_accuracy_score(labels, guess, sample_weight=weight), rel=RTOL
    )
    if len(set(labels)) > 1:
        assert sharded(BalancedAccuracy(adjusted=True), scores, labels, weight, seed) == pytest.approx(
            sk.balanced_accuracy_score(labels, guess, sample_weight=weight, adjusted=True), rel=1e-11, abs=1e-14
        )


@settings(deadline=None, max_examples=40)
@given(problems())
def test_matthews_correlation(problem):
    scores, labels, weight, seed = problem
    expected = sk.matthews_corrcoef(labels, scores.argmax(1), sample_weight=weight)
    assert sharded(MatthewsCorrCoef(), scores, labels, weight, seed) == pytest.approx(expected, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
@settings(deadline=None, max_examples=30)
@given(problems())
def test_cohens_kappa(weights, problem):
    scores, labels, weight, seed = problem
    guess = scores.argmax(1)
    value = sharded(CohenKappa(weights), scores, labels, weight, seed)
    if len({*labels, *guess}) == 1:
        assert math.isnan(value)
        return
    expected = sk.cohen_kappa_score(labels, guess, labels=range(scores.shape[1]), weights=weights, sample_weight=weight)
    assert value == pytest.approx(expected, rel=RTOL, abs=1e-14)


@settings(deadline=None, max_examples=40)
@given(problems(classes=(3, 7)), st.integers(1, 7))
def test_top_k_accuracy(problem, k):
    scores, labels, weight, seed = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # k that covers every class
        expected = sk.top_k_accuracy_score(labels, scores, k=k, labels=range(scores.shape[1]), sample_weight=weight)
    assert sharded(TopKAccuracy(k), scores, labels, weight, seed) == pytest.approx(expected, rel=RTOL)


@settings(deadline=None, max_examples=40)
@given(problems(least=4))
def test_rankings_of_two_classes(problem):
    scores, labels, weight, seed = binary(problem)
    labels[:2] = [0, 1]
    assert sharded(AUROC(), scores, labels, weight, seed) == pytest.approx(
        sk.roc_auc_score(labels, scores, sample_weight=weight), rel=RTOL
    )
    assert sharded(AveragePrecision(), scores[:, None], labels, weight, seed) == pytest.approx(
        sk.average_precision_score(labels, scores, sample_weight=weight), rel=RTOL
    )


@pytest.mark.parametrize("average", ["macro", "weighted", "micro", "none"])
@settings(deadline=None, max_examples=25)
@given(problems(classes=(3, 5), least=12))
def test_rankings_of_several_classes(average, problem):
    scores, labels, weight, seed = problem
    c = scores.shape[1]
    labels[:c] = np.arange(c)
    p = np.exp(scores)
    p /= p.sum(axis=1, keepdims=True)
    options = {"average": None if average == "none" else average, "sample_weight": weight}
    for cls, reference in [
        (AUROC, lambda: sk.roc_auc_score(labels, p, multi_class="ovr", **options)),
        (AveragePrecision, lambda: sk.average_precision_score(np.eye(c)[labels], p, **options)),
    ]:
        value = sharded(cls(average), scores, labels, weight, seed)
        value = list(value.values()) if average == "none" else value
        np.testing.assert_allclose(value, reference(), rtol=RTOL)
        probabilities = sharded(cls(average, from_logits=False), p, labels, weight, seed)
        np.testing.assert_allclose(
            list(probabilities.values()) if average == "none" else probabilities, reference(), rtol=RTOL
        )


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
@settings(deadline=None, max_examples=25)
@given(problems(classes=(2, 5), least=4))
def test_rankings_of_several_labels(average, problem):
    scores, _, weight, seed = problem
    truth = np.random.default_rng(seed).integers(0, 2, scores.shape)
    truth[0], truth[1] = 0, 1
    scores = np.round(scores, 1)
    for cls, reference in [(AUROC, sk.roc_auc_score), (AveragePrecision, sk.average_precision_score)]:
        value = sharded(cls(average), scores, truth, weight, seed)
        assert value == pytest.approx(reference(truth, scores, average=average, sample_weight=weight), rel=RTOL)


@settings(deadline=None, max_examples=30)
@given(problems(), st.integers(1, 12))
def test_calibration_error_of_two_classes(problem, bins):
    scores, labels, _, seed = binary(problem)
    p = 1 / (1 + np.exp(-scores))
    frequency, confidence = calibration.calibration_curve(labels, p, n_bins=bins)
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p)
    share = np.bincount(place, minlength=bins)
    share = share[share > 0] / len(p)
    gap = np.abs(frequency - confidence)
    for norm, expected in [("l1", share @ gap), ("l2", math.sqrt(share @ gap**2)), ("max", gap.max())]:
        for logits, options in [(scores, {}), (p, {"from_logits": False})]:
            value = sharded(CalibrationError(bins, norm, **options), logits, labels, None, seed)
            assert value == pytest.approx(expected, rel=1e-11, abs=1e-14)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["macro", "binary", "weighted"]))
def test_dice_is_the_mean_of_the_images_f1(seed, weighted, average):
    rng = np.random.default_rng(seed)
    n, c = rng.integers(1, 7), 2 if average == "binary" else 3
    logits, truth = rng.normal(size=(n, c, 3, 4)), rng.integers(0, c, (n, 3, 4))
    truth[0] = 1
    weight = rng.uniform(0.1, 2, n) if weighted else None
    each = [
        sk.f1_score(t.ravel(), p.argmax(0).ravel(), average=average, zero_division=0.0) for t, p in zip(truth, logits)
    ]
    value = sharded(Dice(average), logits, truth, weight, seed)
    assert value == pytest.approx(np.average(each, weights=weight), rel=RTOL)
    together = sk.f1_score(truth.ravel(), logits.argmax(1).ravel(), average=average)
    assert sharded(Dice(average, per_sample=False), logits, truth, None, seed) == pytest.approx(together, rel=RTOL)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_iou_counts_the_pixels_of_all_images(seed):
    rng = np.random.default_rng(seed)
    logits, truth = rng.normal(size=(5, 4, 3, 3)), rng.integers(0, 4, (5, 3, 3))
    guess = logits.argmax(1)
    assert sharded(IoU(), logits, truth, None, seed) == pytest.approx(
        sk.jaccard_score(truth.ravel(), guess.ravel(), average="macro"), rel=RTOL
    )
    assert sharded(IoU(include_background=False), logits, truth, None, seed) == pytest.approx(
        sk.jaccard_score(truth.ravel(), guess.ravel(), average="macro", labels=[1, 2, 3]), rel=RTOL
    )
    weight = rng.uniform(0.1, 2, truth.shape)
    assert sharded(IoU("micro"), logits, truth, weight, seed) == pytest.approx(
        sk.jaccard_score(truth.ravel(), guess.ravel(), average="micro", sample_weight=weight.ravel()), rel=RTOL
    )
