"""The distributions are those of torch.nn.init: two-sample Kolmogorov-Smirnov tests."""

from __future__ import annotations

import pytest

from lunar_layers.initializers import HeNormal, HeUniform, Normal, XavierNormal, XavierUniform

torch = pytest.importorskip("torch")
stats = pytest.importorskip("scipy.stats")
init = torch.nn.init

pytestmark = pytest.mark.parity

PAIRS = [
    (HeNormal(), init.kaiming_normal_),
    (HeNormal("fan_out", negative_slope=0.3), lambda w: init.kaiming_normal_(w, 0.3, "fan_out", "leaky_relu")),
    (HeUniform(), lambda w: init.kaiming_uniform_(w, 0)),
    (HeUniform(negative_slope=5**0.5), lambda w: init.kaiming_uniform_(w, 5**0.5)),
    (XavierNormal(1.5), lambda w: init.xavier_normal_(w, 1.5)),
    (XavierUniform(), init.xavier_uniform_),
    (Normal(0.1, 0.2), lambda w: init.normal_(w, 0.1, 0.2)),
]


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=lambda p: repr(p) if hasattr(p, "kind") else "")
@pytest.mark.parametrize("shape", [(200, 300), (32, 16, 5, 5)])
def test_samples_come_from_the_same_distribution(ours, theirs, shape):
    torch.manual_seed(0)
    result = stats.ks_2samp(ours(shape).ravel(), theirs(torch.empty(shape)).numpy().ravel())
    assert result.pvalue > 1e-3
