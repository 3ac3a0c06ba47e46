"""Splits and class weights beside scikit-learn's."""

import numpy as np
import pytest

selection = pytest.importorskip("sklearn.model_selection")
from sklearn.utils.class_weight import compute_class_weight

from lunar_data import class_weights, fold_indices, split_indices

pytestmark = pytest.mark.parity


def cases(count=5):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(60, 200))
        yield seed, n, rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1]), rng.integers(0, 25, n)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_folds_without_shuffling_are_scikit_learns(k):
    for _, n, labels, _ in cases():
        x = np.zeros(n)
        for mine, (_, theirs) in zip(fold_indices(n, k, shuffle=False), selection.KFold(k).split(x)):
            np.testing.assert_array_equal(mine, theirs)
        peers = selection.StratifiedKFold(k).split(x, labels)
        for mine, (_, theirs) in zip(fold_indices(n, k, stratify=labels, shuffle=False), peers):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_folds_of_groups_are_as_even_as_scikit_learns(k):
    for _, n, _, groups in cases():
        mine = sorted(len(fold) for fold in fold_indices(n, k, groups=groups, shuffle=False))
        assert mine == sorted(len(fold) for _, fold in selection.GroupKFold(k).split(np.zeros(n), groups=groups))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_stratified_folds_of_groups_are_as_even_as_scikit_learns(k):
    # Choices that are equal but for rounding fall differently, so folds may change places, and rarely more than that.
    def unevenness(folds, labels):
        return np.std([np.bincount(labels[f], minlength=4) / np.bincount(labels) for f in folds], axis=0).mean()

    mine, theirs = [], []
    for _, n, labels, groups in cases(40):
        mine.append(unevenness(fold_indices(n, k, stratify=labels, groups=groups, shuffle=False), labels))
        peers = selection.StratifiedGroupKFold(k).split(np.zeros(n), labels, groups)
        theirs.append(unevenness([held for _, held in peers], labels))
    assert np.mean(np.isclose(mine, theirs, rtol=1e-9)) > 0.9
    np.testing.assert_allclose(np.mean(mine), np.mean(theirs), rtol=0.02)


def test_stratified_parts_have_the_counts_of_scikit_learns():
    for seed, n, labels, _ in cases():
        parts = split_indices(n, (n - n // 4, n // 4), stratify=labels, seed=seed)
        _, theirs = selection.train_test_split(np.arange(n), test_size=n // 4, stratify=labels, random_state=seed)
        exact = np.bincount(labels) * (n // 4) / n
        for held in (parts[1], theirs):
            assert np.abs(np.bincount(labels[held], minlength=4) - exact).max() < 1


def test_class_weights_are_scikit_learns():
    for _, _, labels, _ in cases():
        theirs = compute_class_weight("balanced", classes=np.arange(4), y=labels)
        np.testing.assert_allclose(class_weights(labels), theirs, rtol=1e-14)
