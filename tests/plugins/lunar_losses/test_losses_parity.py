"""MSE and BCEWithLogits against PyTorch: value and gradient."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_losses.bce_with_logits import BCEWithLogits
from lunar_losses.mse import MSE

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.parity

WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 4.0], dtype=torch.float64)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "ours, theirs",
    [
        (MSE, nn.MSELoss),
        (BCEWithLogits, nn.BCEWithLogitsLoss),
        (
            lambda **k: BCEWithLogits(pos_weight=2.5, **k),
            lambda **k: nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.5), **k),
        ),
        (
            lambda **k: BCEWithLogits(pos_weight=(0.5, 2.0, 1.0, 4.0), **k),
            lambda **k: nn.BCEWithLogitsLoss(pos_weight=WEIGHTS, **k),
        ),
    ],
)
@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4)])
def test_value_and_gradient_agree(ours, theirs, reduction, shape):
    rng = np.random.default_rng(0)
    pred, target = rng.normal(0, 3, shape), rng.random(shape)
    x, t = lc.tensor(pred, requires_grad=True), torch.tensor(pred, requires_grad=True)
    y, e = ours(reduction=reduction)(x, target), theirs(reduction=reduction)(t, torch.from_numpy(target))
    y.sum().backward()
    e.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), e.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-10)
