"""AdaHessian and Sophia against pytorch_optimizer where the Hutchinson estimate is exact: a diagonal Hessian."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_optimizers.adahessian import AdaHessian
from lunar_optimizers.sophia import Sophia

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("pytorch_optimizer")

pytestmark = pytest.mark.parity


def separable(params):
    """Every element by itself, so that the Hessian is diagonal; of both signs."""
    return sum(((p**4).sum() * 0.3 - (p * p).sum() + (p * 0.1).sum()) for p in params)


CASES = [
    (AdaHessian, {"lr": 0.05, "eps": 1e-8}, "AdaHessian", {}),
    (
        AdaHessian,
        {"lr": 0.05, "betas": (0.8, 0.9), "power": 0.5, "every": 3, "weight_decay": 0.1, "eps": 1e-4},
        "AdaHessian",
        {"power": "hessian_power", "every": "update_period"},
    ),
    # Their clip p with a divisor h is our rho = p / gamma with gamma * h, at a rate smaller by gamma.
    (
        Sophia,
        {"lr": 0.05, "gamma": 1.0, "rho": 0.02, "every": 2, "weight_decay": 0.1},
        "SophiaH",
        {"rho": "p", "every": "update_period"},
    ),
]


@pytest.mark.parametrize(("cls", "kwargs", "name", "names"), CASES, ids=["AdaHessian", "AdaHessian-power", "Sophia"])
def test_thirty_steps_follow_the_oracle(cls, kwargs, name, names):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(4, 3)), rng.normal(size=7)]
    ours = [lc.Parameter(a.copy()) for a in arrays]
    twins = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    a = cls(ours, **kwargs)
    others = {names.get(k, k): v for k, v in kwargs.items() if k != "gamma"}
    b = getattr(theirs, name)(twins, hessian_distribution="rademacher", **others)
    for _ in range(30):
        a.step(lambda: separable(ours))
        b.zero_grad()
        separable(twins).backward(create_graph=True)
        b.step()
        for p, q in zip(ours, twins):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-8, atol=1e-8)
