"""Adas: the paper's recurrence, the gain of a weight, and a binding that reads it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, StateError
from lunar_optimizers.sgd import SGD
from lunar_schedulers.adas import Adas, knowledge_gain, low_rank_values
from lunar_training import Trainer


def test_it_is_the_papers_recurrence():
    gains = np.random.default_rng(0).random(1000).cumsum() / 1000
    scheduler = Adas(beta=0.9, zeta=2.0)
    scheduler.observe(gains)
    expected = [0.03]
    for t in range(1, 1000):
        expected.append(0.9 * expected[-1] + 2.0 * 0.03 * (gains[t] - gains[t - 1]))
    np.testing.assert_allclose(scheduler.simulate(1000, 0.03), expected, rtol=1e-12)


def test_a_loss_of_knowledge_stops_at_the_minimum():
    scheduler = Adas(minimum=0.1)
    scheduler.observe([0.9, 0.0])
    np.testing.assert_allclose(scheduler.simulate(4, 2.0), [2.0, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(Adas().simulate(5, 1.0), 0.8 ** np.arange(5), rtol=1e-14)


def reference_low_rank(matrix):
    """Nakajima's solution with SciPy's minimiser, written for short, wide matrices."""
    from scipy.optimize import minimize_scalar

    rows, columns = matrix.shape
    s = np.linalg.svd(matrix, compute_uv=False)
    alpha = rows / columns
    tau_bar = 2.5129 * np.sqrt(alpha)
    x_bar = (1 + tau_bar) * (1 + alpha / tau_bar)

    def objective(sigma2):
        total = 0.0
        for x in s**2 / (columns * sigma2):
            if x > x_bar:
                tau = 0.5 * (x - (1 + alpha) + np.sqrt((x - (1 + alpha)) ** 2 - 4 * alpha))
                total += x - tau + np.log((tau + 1) / x) + alpha * np.log(tau / alpha + 1)
            else:
                total += x - np.log(x)
        return total

    e = int(min(np.ceil(rows / (1 + alpha)) - 1, rows)) - 1
    low = max(s[e + 1] ** 2 / (columns * x_bar), np.mean(s[e + 1 :] ** 2) / columns)
    sigma2 = minimize_scalar(
        objective, bounds=(low, (s**2).sum() / (rows * columns)), method="bounded", options={"xatol": 1e-14}
    ).x
    kept = s[s > np.sqrt(columns * sigma2 * x_bar)]
    x = 1 - (rows + columns) * sigma2 / kept**2
    return kept / 2 * (x + np.sqrt(x**2 - 4 * rows * columns * sigma2**2 / kept**4))


def noisy(rows, columns, rank, noise, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns)) + noise * rng.normal(size=(rows, columns))


@pytest.mark.parity
@pytest.mark.parametrize(("rank", "noise"), [(1, 0.1), (3, 0.3), (5, 1.0), (0, 1.0)])
def test_the_values_above_the_noise_are_those_of_an_independent_solution(rank, noise):
    pytest.importorskip("scipy")
    matrix = noisy(12, 40, rank, noise)
    found = low_rank_values(matrix)
    np.testing.assert_allclose(found, reference_low_rank(matrix), rtol=1e-5)
    np.testing.assert_allclose(low_rank_values(matrix.T), found, rtol=1e-6)
    assert len(found) <= rank and (noise == 1.0 or len(found) == rank)


def test_noise_has_no_knowledge_and_structure_has_as_much_as_its_rank():
    assert knowledge_gain(np.zeros((4, 6))) == 0
    assert knowledge_gain(noisy(12, 40, 0, 1.0)) == 0
    assert knowledge_gain(noisy(12, 40, 1, 1e-3)) == pytest.approx(1 / 12, rel=1e-9)
    few, many = (knowledge_gain(noisy(12, 40, rank, 0.1)) for rank in (2, 6))
    assert 0 < few < many < 1
    kernel = noisy(12, 72, 3, 0.1).reshape(12, 8, 3, 3)
    assert knowledge_gain(lc.Parameter(kernel)) == pytest.approx(
        (low_rank_values(kernel.reshape(12, -1)).sum() / low_rank_values(kernel.reshape(12, -1))[0] / 12
         + low_rank_values(kernel.transpose(1, 0, 2, 3).reshape(8, -1)).sum()
         / low_rank_values(kernel.transpose(1, 0, 2, 3).reshape(8, -1))[0] / 8) / 2
    )  # fmt: skip
    with pytest.raises(HyperparameterError, match="two axes"):
        knowledge_gain(np.ones(3))


def two_layers():
    a, b = lc.Parameter(noisy(12, 40, 2, 0.1)), lc.Parameter(noisy(12, 40, 4, 0.1, seed=1))
    return a, b, SGD([{"params": [a]}, {"params": [b], "lr": 0.5}, {"params": [lc.Parameter(np.ones(3))]}], lr=0.1)


def test_each_group_follows_the_knowledge_of_its_own_weights():
    a, b, optimizer = two_layers()
    before = [knowledge_gain(a), knowledge_gain(b)]
    bound = Adas(zeta=3.0).bind(optimizer)
    assert [g.lr for g in optimizer.groups] == [0.1, 0.5, 0.1]
    a.detach().assign_(noisy(12, 40, 5, 0.1))
    bound.step()
    gained = knowledge_gain(a) - before[0]
    assert gained > 0
    assert optimizer.groups[0].lr == pytest.approx(0.1 * (0.8 + 3.0 * gained), rel=1e-12)
    assert optimizer.groups[1].lr == pytest.approx(0.5 * 0.8, rel=1e-12)
    assert optimizer.groups[2].lr == pytest.approx(0.1 * 0.8, rel=1e-12)
    values = bound.values
    bound.step(5)
    bound.seek(1)
    assert bound.values == values


def test_a_run_moves_each_rate_once_an_epoch():
    lc.seed(0)
    model = lc.layers.Sequential(lc.layers.Dense(12), lc.layers.ReLU(), lc.layers.Dense(10))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 20)), rng.integers(0, 10, 64)
    model(lc.zeros((1, 20)))
    optimizer = SGD(model.parameters(), lr=0.1, overrides={"*0.*": {}})
    next(iter(model.parameters())).detach().assign_(noisy(12, 20, 2, 0.1))
    start = [knowledge_gain(p) for p in model.parameters() if p.ndim > 1]
    scheduler = Adas(beta=0.5)
    Trainer(model, "cross_entropy", optimizer, scheduler=scheduler, progress="off").fit((x, y), epochs=1)
    weights = [p for p in model.parameters() if p.ndim > 1]
    expected = [0.1 * max(0.5 + knowledge_gain(w) - g, 1e-20) for w, g in zip(weights, start)]
    assert start[0] > 0 and expected[0] != 0.05
    assert sorted(g.lr for g in optimizer.groups) == pytest.approx(sorted(expected), rel=1e-9)


def test_a_state_is_taken_over_exactly():
    a, _, optimizer = two_layers()
    first = Adas().bind(optimizer)
    for rank in (3, 5, 4):
        a.detach().assign_(noisy(12, 40, rank, 0.1))
        first.step()
    state = json.loads(json.dumps(first.state_dict()))
    a2, _, other = two_layers()
    second = Adas().bind(other)
    second.load_state_dict(state)
    assert second.values == first.values and second.position == 3
    for bound, weight in ((first, a), (second, a2)):
        weight.detach().assign_(noisy(12, 40, 6, 0.1))
        bound.step()
    assert second.values == first.values
    for bad in ({"position": 0, "bases": [0.1]}, {"position": 0, "bases": [1.0, 1.0, 1.0]}, {**state, "bases": [1.0]}):
        with pytest.raises(StateError):
            second.load_state_dict(bad)
    assert second.values == first.values
