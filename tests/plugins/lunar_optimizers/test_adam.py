"""Adam and AdamW against the paper's formulas."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError
from lunar_optimizers.adam import Adam
from lunar_optimizers.adamw import AdamW


def paper(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, decay=0.0, decoupled=False):
    """Algorithm 1 of arXiv:1412.6980, and algorithm 2 of arXiv:1711.05101, as they are written."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        if decoupled:
            p = p - lr * decay * p
        else:
            g = g + decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


@pytest.mark.parametrize(("cls", "decoupled"), [(Adam, False), (AdamW, True)])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("eps", [1e-8, 1e-2, 0.0])
def test_it_follows_the_paper(cls, decoupled, decay, eps):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=5), rng.normal(size=(20, 5))
    p = lc.Parameter(start.copy())
    opt = cls([p], lr=0.05, betas=(0.8, 0.9), eps=eps, weight_decay=decay)
    for g in gradients:
        p.grad = lc.Tensor(g)
        opt.step()
    expected = paper(start, gradients, 0.05, (0.8, 0.9), eps, decay, decoupled)
    np.testing.assert_allclose(p.data, expected, rtol=1e-12)


@pytest.mark.parametrize("cls", [Adam, AdamW])
def test_the_first_step_has_the_size_of_the_rate(cls):
    p = lc.Parameter(np.zeros(3))
    p.grad = lc.tensor([1e-3, -5.0, 1e4], dtype="float64")
    cls([p], lr=0.1).step()
    np.testing.assert_allclose(p.data, [-0.1, 0.1, -0.1], rtol=1e-4)


@pytest.mark.parametrize("cls", [Adam, AdamW])
def test_amsgrad_alone_keeps_a_third_array(cls):
    p = lc.Parameter(np.zeros(3))
    p.grad = lc.ones(3, dtype="float64")
    for amsgrad, arrays in ((False, ["m", "v"]), (True, ["m", "v", "v_max"])):
        opt = cls([p], amsgrad=amsgrad)
        opt.step()
        assert opt.state_dict()["groups"][0]["arrays"] == arrays


def test_the_rules_need_two_scratch_chunks():
    for cls in (Adam, AdamW):
        p = lc.Parameter(np.zeros(3, np.float32))
        p.grad = lc.ones(3)
        opt = cls([p])
        opt.step()
        assert len(opt.groups[0].buffers[0].plan.program.scratch) <= 2


@pytest.mark.parametrize("cls", [Adam, AdamW])
def test_a_nan_gradient_spoils_its_own_element_only(cls):
    p = lc.Parameter(np.zeros(3))
    p.grad = lc.tensor([1.0, np.nan, 1.0], dtype="float64")
    cls([p]).step()
    assert np.isnan(p.data).tolist() == [False, True, False]


@pytest.mark.parametrize("cls", [Adam, AdamW])
@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"betas": (0.9, 1.0)}, r"betas must be .*in \[0, 1\)"),
        ({"betas": (0.9,)}, "betas must be"),
        ({"betas": (0.9, float("nan"))}, "betas must be"),
        ({"eps": -1e-8}, "eps must be >= 0"),
        ({"lr": float("inf")}, "lr must be a finite number"),
        ({"amsgrad": "yes"}, "amsgrad must be"),
    ],
)
def test_bad_hyperparameters_are_named(cls, kwargs, words):
    with pytest.raises(HyperparameterError, match=words):
        cls([lc.Parameter(np.ones(1))], **kwargs)
