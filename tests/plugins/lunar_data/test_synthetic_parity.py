"""Synthetic sets beside scikit-learn's generators: the same points where they are not random, the same laws where they are."""

import numpy as np
import pytest

datasets = pytest.importorskip("sklearn.datasets")

from lunar_data.synthetic.linear import Regression, SparseRegression
from lunar_data.synthetic.planar import Blobs, Circles, Moons

pytestmark = pytest.mark.parity


def in_order(x, y):
    rows = np.c_[np.round(x.astype(np.float64), 5), y]
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("n", [100, 101])
def test_without_noise_the_points_are_scikit_learns(n):
    mine, theirs = Moons(n=n, noise=0.0).arrays(), datasets.make_moons(n, noise=None, shuffle=False)
    np.testing.assert_allclose(in_order(*mine), in_order(*theirs), atol=2e-5)
    mine, theirs = Circles(n=n, noise=0.0, factor=0.3).arrays(), datasets.make_circles(n, factor=0.3, shuffle=False)
    np.testing.assert_allclose(in_order(*mine), in_order(*theirs), atol=2e-5)


def test_noise_and_clouds_have_the_same_moments():
    n = 20_000
    (x, y), (u, v) = Moons(n=n, noise=0.2).arrays(), datasets.make_moons(n, noise=0.2, random_state=0)
    for c in (0, 1):
        np.testing.assert_allclose(x[y == c].mean(axis=0), u[v == c].mean(axis=0), atol=0.03)
        np.testing.assert_allclose(np.cov(x[y == c].T), np.cov(u[v == c].T), atol=0.03)
    data = Blobs(n=n, clusters=4, std=0.7)
    x, y = data.arrays()
    u, v = datasets.make_blobs(n, centers=data.centers(), cluster_std=0.7, random_state=0)
    assert np.bincount(y).tolist() == np.bincount(v).tolist()
    for c in range(4):
        np.testing.assert_allclose(x[y == c].mean(axis=0), u[v == c].mean(axis=0), atol=0.06)
        np.testing.assert_allclose(np.cov(x[y == c].T), np.cov(u[v == c].T), atol=0.06)


def test_regressions_have_the_same_law():
    mine, theirs = [], []
    for seed in range(60):
        data = Regression(n=200, seed=seed, noise=2.0)
        x, y = data.arrays()
        mine.append([data.coefficients().sum(), y.var(), (y - x @ data.coefficients()).std()])
        u, v, w = datasets.make_regression(200, 10, n_informative=5, noise=2.0, coef=True, random_state=seed)
        theirs.append([w.sum(), v.var(), (v - u @ w).std()])
    a, b = np.array(mine), np.array(theirs)
    error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 60)
    assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4 * error).all()
    x, y = SparseRegression(n=20_000).arrays()
    u, v = datasets.make_sparse_uncorrelated(20_000, 10, random_state=0)
    np.testing.assert_allclose(
        np.linalg.lstsq(x, y[:, 0], rcond=None)[0], np.linalg.lstsq(u, v, rcond=None)[0], atol=0.06
    )
    assert abs(y.var() - v.var()) < 0.5
