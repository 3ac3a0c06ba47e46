"""SGD on numbers that one can check by hand."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError
from lunar_optimizers.sgd import SGD


def run(gradients, start=1.0, **kwargs):
    p = lc.Parameter(np.array([start]))
    opt = SGD([p], **kwargs)
    path = []
    for g in gradients:
        p.grad = lc.tensor([g], dtype="float64")
        opt.step()
        path.append(float(p.data[0]))
    return path, opt


def test_plain_descent_subtracts_the_scaled_gradient():
    assert run([1.0, 2.0], lr=0.25)[0] == [0.75, 0.25]


def test_momentum_adds_what_is_left_of_the_velocity():
    assert run([1.0, 1.0, 0.0], lr=0.5, momentum=0.5)[0] == [0.5, -0.25, -0.625]


def test_nesterov_looks_ahead():
    assert run([1.0, 1.0], lr=0.5, momentum=0.5, nesterov=True)[0] == [0.25, -0.625]


def test_dampening_spares_the_first_gradient():
    assert run([1.0, 1.0], lr=0.5, momentum=0.5, dampening=0.5)[0] == [0.5, 0.0]


def test_weight_decay_is_part_of_the_gradient():
    assert run([0.0], lr=0.5, weight_decay=0.5, start=2.0)[0] == [1.5]


def test_without_momentum_there_is_no_velocity_in_memory():
    _, opt = run([1.0], lr=0.1)
    assert "m" not in opt.state_dict()["state"]["0"]


def test_without_decay_infinite_parameters_do_not_spoil_the_gradient():
    assert run([1.0], lr=0.1, start=np.inf)[0] == [np.inf]


@pytest.mark.parametrize("kwargs", [{}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_needs_momentum_without_dampening(kwargs):
    with pytest.raises(HyperparameterError, match="nesterov needs momentum > 0 and dampening 0"):
        SGD([lc.Parameter(np.ones(1))], nesterov=True, **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"lr": float("nan")}, "lr must be a finite number"),
        ({"lr": -1.0}, "lr must be >= 0"),
        ({"lr": "0.1"}, "lr must be a finite number"),
        ({"momentum": -0.1}, "momentum must be >= 0"),
        ({"nesterov": 1}, "nesterov must be True or False"),
    ],
)
def test_bad_hyperparameters_are_named(kwargs, words):
    with pytest.raises(HyperparameterError, match=words):
        SGD([lc.Parameter(np.ones(1))], **kwargs)
