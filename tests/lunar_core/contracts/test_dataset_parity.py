"""The stratified split against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from lunar_core.contracts.dataset import ArrayDataset

selection = pytest.importorskip("sklearn.model_selection")

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_each_class_is_divided_as_scikit_learn_divides_it(seed, fraction):
    labels = np.random.default_rng(seed).choice(5, p=[0.5, 0.2, 0.15, 0.1, 0.05], size=503)

    class Data(ArrayDataset):
        def read(self):
            return labels[:, None], labels

    ours = [np.bincount(part.arrays()[1]) for part in Data().split(fraction, seed=seed)]
    theirs = selection.train_test_split(labels, test_size=fraction, stratify=labels, random_state=seed)
    for mine, other in zip(ours, theirs):
        assert mine.sum() == len(other)
        assert np.abs(mine - np.bincount(other)).max() <= 1  # equal remainders may fall to another class
