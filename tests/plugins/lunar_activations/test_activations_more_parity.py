"""The remaining activations against PyTorch: values, gradients, parameters' gradients, slopes at kinks."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

from lunar_activations.exponential import CELU, SELU
from lunar_activations.gated import GLU
from lunar_activations.linear import Linear
from lunar_activations.piecewise import Hardsigmoid, Hardswish, Hardtanh, ReLU6, Threshold
from lunar_activations.prelu import PReLU, RReLU
from lunar_activations.shrink import Hardshrink, Softshrink, Tanhshrink
from lunar_activations.simplex import LogSoftmax, Softmin
from lunar_activations.smooth import LogSigmoid, Mish, SiLU, Softplus, Softsign

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.parity

# PyTorch's gradients of hardsigmoid and of celu round 1/6 and 1/alpha to float32, also in float64: the alphas here are
# powers of two, and hardsigmoid is compared with its formula.
PAIRS = [
    (Linear(), nn.Identity()),
    (ReLU6(), nn.ReLU6()),
    (Hardtanh(), nn.Hardtanh()),
    (Hardtanh(-2.0, 0.5), nn.Hardtanh(-2.0, 0.5)),
    (Hardswish(), nn.Hardswish()),
    (Threshold(0.3, -1.0), nn.Threshold(0.3, -1.0)),
    (SELU(), nn.SELU()),
    (CELU(), nn.CELU()),
    (CELU(0.5), nn.CELU(0.5)),
    (SiLU(), nn.SiLU()),
    (Mish(), nn.Mish()),
    (Softplus(), nn.Softplus(threshold=1e9)),
    (Softplus(2.5), nn.Softplus(2.5, threshold=1e9)),
    (Softsign(), nn.Softsign()),
    (LogSigmoid(), nn.LogSigmoid()),
    (Tanhshrink(), nn.Tanhshrink()),
    (Softshrink(), nn.Softshrink()),
    (Softshrink(1.5), nn.Softshrink(1.5)),
    (Hardshrink(), nn.Hardshrink()),
    (LogSoftmax(), nn.LogSoftmax(-1)),
    (LogSoftmax(1), nn.LogSoftmax(1)),
    (Softmin(), nn.Softmin(-1)),
    (Softmin(1), nn.Softmin(1)),
    (GLU(), nn.GLU()),
    (GLU(1), nn.GLU(1)),
    (RReLU().eval(), nn.RReLU().eval()),
    (RReLU(0.1, 0.4).eval(), nn.RReLU(0.1, 0.4).eval()),
]


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_values_and_gradients_agree_in_float64(ours, theirs):
    rng = np.random.default_rng(0)
    for shape in [(8,), (4, 6), (2, 4, 3, 6)]:
        if ours.config().get("axis", -1) < len(shape):
            assert_twins(ours, theirs, rng.normal(0, 3, shape), rtol=1e-10)


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_values_and_gradients_agree_in_float32(ours, theirs):
    x = np.random.default_rng(1).normal(0, 3, (6, 8)).astype(np.float32)
    assert_twins(ours, theirs, x, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    "ours, theirs, kinks",
    [
        (ReLU6(), nn.ReLU6(), [0, 6]),
        (Hardtanh(), nn.Hardtanh(), [-1, 1]),
        (Hardsigmoid(), nn.Hardsigmoid(), [-3, 3]),
        (Hardswish(), nn.Hardswish(), [-3, 3]),
        (Threshold(0.3, -1.0), nn.Threshold(0.3, -1.0), [0.3]),
        (SELU(), nn.SELU(), [0]),
        (CELU(0.5), nn.CELU(0.5), [0]),
        (Softsign(), nn.Softsign(), [0]),
        (Softshrink(), nn.Softshrink(), [-0.5, 0.5]),
        (Hardshrink(), nn.Hardshrink(), [-0.5, 0.5]),
        (RReLU().eval(), nn.RReLU().eval(), [0]),
        (PReLU(1).astype("float64"), nn.PReLU(), [0]),
    ],
    ids=lambda v: getattr(v, "__name__", repr(v)),
)
def test_slopes_at_kinks_are_pytorchs(ours, theirs, kinks):
    assert_twins(ours, theirs.double(), np.array(kinks, float))


def test_hardsigmoid_agrees_in_value_and_its_gradient_with_the_formula():
    class Spelled(nn.Module):
        def forward(self, x):
            return nn.functional.relu6(x + 3) / 6

    x = np.random.default_rng(2).normal(0, 3, (5, 7))
    assert_twins(Hardsigmoid(), Spelled(), x, rtol=1e-10)
    np.testing.assert_allclose(Hardsigmoid()(x), nn.Hardsigmoid()(torch.tensor(x)).numpy(), rtol=1e-10)


@pytest.mark.parametrize("count", [1, 4])
def test_prelu_and_its_weights_agree(count):
    rng = np.random.default_rng(3)
    twin = nn.PReLU(count).double()
    with torch.no_grad():
        twin.weight.copy_(torch.tensor(rng.normal(size=count)))
    for shape in [(3, 4), (2, 4, 3), (2, 4, 3, 5)]:
        twin.zero_grad()
        assert_twins(PReLU(count, init=0.7).astype("float64"), twin, rng.normal(size=shape), rtol=1e-10)
    assert PReLU(count).weight.tolist() == nn.PReLU(count).weight.tolist()
