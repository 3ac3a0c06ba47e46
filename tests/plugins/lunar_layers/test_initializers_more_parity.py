"""The distributions are those of torch.nn.init, and its deterministic initializers are equal."""

from __future__ import annotations

import numpy as np
import pytest

from lunar_layers.initializers import Dirac, Identity, Orthogonal, Sparse, TruncatedNormal, Uniform, VarianceScaling

torch = pytest.importorskip("torch")
stats = pytest.importorskip("scipy.stats")
init = torch.nn.init

pytestmark = pytest.mark.parity

PAIRS = [
    (TruncatedNormal(), init.trunc_normal_),
    (TruncatedNormal(0.5, 2.0, -1.0, 1.0), lambda w: init.trunc_normal_(w, 0.5, 2.0, -1.0, 1.0)),
    (TruncatedNormal(0.0, 1.0, 1.0, 2.0), lambda w: init.trunc_normal_(w, 0.0, 1.0, 1.0, 2.0)),
    (Uniform(), init.uniform_),
    (Uniform(-2.0, 0.5), lambda w: init.uniform_(w, -2.0, 0.5)),
    (Orthogonal(1.7), lambda w: init.orthogonal_(w, 1.7)),
    (Sparse(0.0, std=0.3), lambda w: init.sparse_(w, 0.0, 0.3)),
    (VarianceScaling(2.0, "fan_in", "normal"), init.kaiming_normal_),
]


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_samples_come_from_the_same_distribution(ours, theirs):
    torch.manual_seed(0)
    result = stats.ks_2samp(ours((200, 300)).ravel(), theirs(torch.empty((200, 300))).numpy().ravel())
    assert result.pvalue > 1e-3


@pytest.mark.parametrize("low, high", [(-2, 2), (0.3, 0.8), (1.5, 30), (-60, -4), (0.01, 30)])
def test_truncated_values_have_scipys_distribution(low, high):
    values = TruncatedNormal(low=low, high=high).sample((50_000,), np.random.default_rng(1))
    assert stats.kstest(values, stats.truncnorm(low, high).cdf).pvalue > 1e-3


def test_sparse_columns_have_as_many_zeros():
    for sparsity in (0.1, 0.35, 0.5, 0.99):
        theirs = init.sparse_(torch.empty(17, 9), sparsity).numpy()
        np.testing.assert_array_equal((Sparse(sparsity)((17, 9)) == 0).sum(axis=0), (theirs == 0).sum(axis=0))


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (4, 1)])
def test_identities_are_equal(shape):
    np.testing.assert_array_equal(Identity()(shape), init.eye_(torch.empty(shape)).numpy())


@pytest.mark.parametrize(
    "shape, groups", [((4, 4, 3), 1), ((6, 2, 3, 4), 3), ((2, 5, 1, 2), 2), ((8, 3, 2, 3, 5), 4), ((5, 2, 3, 3), 1)]
)
def test_dirac_kernels_are_equal(shape, groups):
    np.testing.assert_array_equal(Dirac(groups)(shape), init.dirac_(torch.empty(shape), groups).numpy())
