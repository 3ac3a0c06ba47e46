"""Accuracy against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from lunar_metrics import Accuracy

metrics = pytest.importorskip("sklearn.metrics")

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_uneven_batches_give_what_scikit_learn_gives_on_the_whole(seed, weighted):
    rng = np.random.default_rng(seed)
    logits, labels, weight = rng.normal(size=(1003, 7)), rng.integers(0, 7, 1003), rng.random(1003)
    metric = Accuracy()
    for a in range(0, 1003, 64):
        b = slice(a, a + 64)
        metric.update(logits[b], labels[b], weight[b] if weighted else None)
    expected = metrics.accuracy_score(labels, logits.argmax(1), sample_weight=weight if weighted else None)
    assert metric.compute() == pytest.approx(expected, rel=1e-12)
