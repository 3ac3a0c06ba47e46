"""L-BFGS against PyTorch's, in float64."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_optimizers.lbfgs import LBFGS

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity

CASES = [
    {"lr": 0.2},
    {"lr": 0.1, "max_iter": 4, "history": 3},
    {"line_search": "strong_wolfe"},
    {"lr": 0.7, "line_search": "strong_wolfe", "max_iter": 7, "max_eval": 9, "history": 4},
]


def rosenbrock(x, y):
    """Three valleys: coupled pairs of the two tensors."""
    return ((1 - x) ** 2).sum() + (20 * (y - x * x) ** 2).sum() + (0.1 * (x * y) ** 4).sum()


@pytest.mark.parametrize("kwargs", CASES, ids=lambda kwargs: ",".join(f"{k}={v}" for k, v in kwargs.items()))
def test_the_path_is_that_of_pytorch(kwargs):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 2)), rng.normal(size=(3, 2))]
    ours = [lc.Parameter(a.copy()) for a in arrays]
    twins = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    names = {"history": "history_size", "line_search": "line_search_fn"}
    a = LBFGS(ours, **kwargs)
    b = torch.optim.LBFGS(twins, **{names.get(k, k): v for k, v in kwargs.items()})

    def closure(optimizer, params):
        def call():
            optimizer.zero_grad()
            loss = rosenbrock(*params)
            loss.backward()
            return loss

        return call

    for _ in range(6):
        x, y = a.step(closure(a, ours)), b.step(closure(b, twins))
        assert float(x) == pytest.approx(float(y.detach()), rel=1e-8)
        for p, q in zip(ours, twins):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-8, atol=1e-8)
