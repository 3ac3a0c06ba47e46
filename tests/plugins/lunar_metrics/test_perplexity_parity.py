"""Perplexity against PyTorch's cross-entropy."""

from __future__ import annotations

import numpy as np
import pytest
from metric_shards import sharded

from lunar_metrics.perplexity import Perplexity

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("seed", range(3))
def test_perplexity_is_the_exponential_of_the_cross_entropy(seed):
    rng = np.random.default_rng(seed)
    logits, target = rng.normal(size=(7, 11, 13)), rng.integers(0, 11, (7, 13))
    target[rng.random(target.shape) < 0.3] = -100
    expected = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(target)).exp().item()
    assert sharded(Perplexity(), logits, target, None, seed) == pytest.approx(expected, rel=1e-12)
