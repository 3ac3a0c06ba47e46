"""L2 as a penalty equals weight decay in PyTorch's SGD."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_layers.dense import Dense
from lunar_regularizers.l2 import L2

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity


def test_ten_steps_of_gradient_descent_agree_with_weight_decay():
    rng = np.random.default_rng(0)
    x, strength, lr = rng.normal(size=(20, 4)), 0.3, 0.1
    twin = torch.nn.Linear(4, 2, dtype=torch.float64)
    layer = Dense(2)
    layer(x)
    layer.load_state_dict({k: v.numpy().copy() for k, v in twin.state_dict().items()})
    optimizer = torch.optim.SGD(
        [{"params": [twin.weight], "weight_decay": strength}, {"params": [twin.bias], "weight_decay": 0.0}], lr=lr
    )
    for _ in range(10):
        layer.zero_grad()
        (layer(x).square().mean() + L2(strength)(layer)).backward()
        with lc.no_grad():
            for parameter in layer.parameters():
                parameter.add_(-lr * parameter.grad.data)
        optimizer.zero_grad()
        twin(torch.from_numpy(x)).square().mean().backward()
        optimizer.step()
    np.testing.assert_allclose(layer.weight.detach().numpy(), twin.weight.detach().numpy(), rtol=1e-12)
