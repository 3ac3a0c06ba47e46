"""CrossEntropy against torch.nn.CrossEntropyLoss: every combination of its parts, value and gradient."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import lunar_core as lc
from lunar_losses.cross_entropy import CrossEntropy

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity

WEIGHTS = (0.5, 2.0, 1.0, 0.0, 3.0)


def both(ours, theirs, logits, target):
    x = lc.tensor(logits, requires_grad=True)
    t = torch.tensor(logits, requires_grad=True)
    y, e = ours(x, target), theirs(t, torch.from_numpy(target))
    y.sum().backward()
    e.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), e.detach().numpy(), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("shape", [(7, 5), (3, 5, 4), (2, 5, 3, 3)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing, weighted, ignore", list(itertools.product([0.0, 0.3], [False, True], [-100, 2])))
def test_classes_as_targets(shape, reduction, smoothing, weighted, ignore):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=shape)
    labels = rng.integers(0, 5, (shape[0], *shape[2:]))
    weights = WEIGHTS if weighted else None
    both(
        CrossEntropy(label_smoothing=smoothing, class_weights=weights, ignore_index=ignore, reduction=reduction),
        torch.nn.CrossEntropyLoss(
            None if weights is None else torch.tensor(weights, dtype=torch.float64),
            label_smoothing=smoothing, ignore_index=ignore, reduction=reduction,
        ),
        logits, labels,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(7, 5), (2, 5, 3, 3)])
@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("smoothing, weighted", list(itertools.product([0.0, 0.3], [False, True])))
def test_probabilities_as_targets(shape, reduction, smoothing, weighted):
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=shape), rng.random(shape)
    weights = WEIGHTS if weighted else None
    both(
        CrossEntropy(label_smoothing=smoothing, class_weights=weights, reduction=reduction),
        torch.nn.CrossEntropyLoss(
            None if weights is None else torch.tensor(weights, dtype=torch.float64),
            label_smoothing=smoothing, reduction=reduction,
        ),
        logits, target,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(7, 5), (2, 5, 3, 3)])
@pytest.mark.parametrize("smoothing, weighted", list(itertools.product([0.0, 0.3], [False, True])))
def test_the_mean_over_probabilities(shape, smoothing, weighted):
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=shape), rng.random(shape)
    weights = WEIGHTS if weighted else None
    both(
        CrossEntropy(label_smoothing=smoothing, class_weights=weights),
        torch.nn.CrossEntropyLoss(
            None if weights is None else torch.tensor(weights, dtype=torch.float64), label_smoothing=smoothing
        ),
        logits, target,
    )  # fmt: skip


def test_a_mean_over_nothing_is_nan_in_both():
    logits, labels = np.zeros((2, 5)), np.full(2, -100)
    with np.errstate(invalid="ignore"):
        assert np.isnan(CrossEntropy()(logits, labels).item())
    assert torch.nn.CrossEntropyLoss()(torch.from_numpy(logits), torch.from_numpy(labels)).isnan()
