"""Rules without an oracle worked out by hand, and what single optimizers do besides stepping."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, StateError
from lunar_optimizers.adahessian import AdaHessian
from lunar_optimizers.asgd import ASGD
from lunar_optimizers.galore import GaLore
from lunar_optimizers.lbfgs import LBFGS
from lunar_optimizers.madgrad import MADGRAD
from lunar_optimizers.muon import Muon, orthogonalized
from lunar_optimizers.nadam import NAdam
from lunar_optimizers.novograd import NovoGrad
from lunar_optimizers.rprop import Rprop
from lunar_optimizers.schedule_free_adamw import ScheduleFreeAdamW
from lunar_optimizers.schedule_free_sgd import ScheduleFreeSGD
from lunar_optimizers.shampoo import inverse_root
from lunar_optimizers.soap import SOAP
from lunar_optimizers.sophia import Sophia
from lunar_optimizers.swats import SWATS


def gradient(*params, factor=1.0):
    for p in params:
        p.grad = lc.Tensor(factor * np.sin(3 * p.data) + 0.1)


def swats(p, steps, lr, betas, eps, tolerance):
    """Algorithm 1 of arXiv:1712.07628 on one vector; also the step at which it switched."""
    m = v = r = buffer = 0.0
    rate, switch = None, None
    for t in range(1, steps + 1):
        g = np.sin(3 * p) + 0.1
        if rate is not None:
            buffer = betas[0] * buffer + g
            p = p - (1 - betas[0]) * rate * buffer
            continue
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        d = -lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        p = p + d
        if d @ g < 0:
            gamma = d @ d / -(d @ g)
            r = betas[1] * r + (1 - betas[1]) * gamma
            if t > 1 and abs(r / (1 - betas[1] ** t) - gamma) < tolerance:
                rate, switch = r / (1 - betas[1] ** t), t
    return p, switch


@pytest.mark.parametrize("tolerance", [1e-9, 3e-3])
def test_swats_follows_the_paper_over_all_parameters_as_one_vector(tolerance):
    start = np.random.default_rng(0).normal(size=7)
    a, b = lc.Parameter(start[:3].copy()), lc.Parameter(start[3:].copy())
    optimizer = SWATS([a, b], lr=0.05, betas=(0.9, 0.95), tolerance=tolerance)
    for _ in range(40):
        gradient(a, b)
        optimizer.step()
    expected, switch = swats(start, 40, 0.05, (0.9, 0.95), 1e-9, tolerance)
    assert optimizer.switched == (switch is not None) == (tolerance == 3e-3)
    np.testing.assert_allclose(np.concatenate([a.data, b.data]), expected, rtol=1e-10)


@pytest.mark.parametrize("cls", [ScheduleFreeSGD, ScheduleFreeAdamW])
def test_schedule_free_parameters_are_the_average_while_it_evaluates(cls):
    p = lc.Parameter(np.array([1.0, -2.0, 0.5]))
    optimizer = cls([p], lr=0.1)
    x = None
    beta, zs = 0.9, []
    for _ in range(5):
        gradient(p)
        optimizer.step()
        zs.append(optimizer.state_dict()["state"]["0"]["z"].copy())
        x = zs[-1] if x is None else x + (zs[-1] - x) / len(zs)  # a constant rate weighs all z alike
        np.testing.assert_allclose(p.data, (1 - beta) * zs[-1] + beta * x, rtol=1e-12)
    y = p.data.copy()
    optimizer.eval()
    optimizer.eval()
    np.testing.assert_allclose(p.data, np.mean(zs, axis=0), rtol=1e-12)
    with pytest.raises(StateError, match="train"):
        optimizer.step()
    optimizer.train()
    optimizer.train()
    np.testing.assert_allclose(p.data, y, rtol=1e-12)


def test_asgd_exchanges_parameters_and_averages():
    p = lc.Parameter(np.array([1.0, -2.0]))
    optimizer = ASGD([p], lr=0.1, t0=1)
    path = []
    for _ in range(6):
        gradient(p)
        optimizer.step()
        path.append(p.data.copy())
    last = path[-1]
    optimizer.swap_averages()
    np.testing.assert_allclose(p.data, np.mean(path[2:], axis=0), rtol=1e-12)
    optimizer.swap_averages()
    np.testing.assert_array_equal(p.data, last)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_newton_schulz_brings_singular_values_near_one_and_keeps_directions(shape):
    x = np.random.default_rng(0).normal(size=shape)
    u, _, vt = np.linalg.svd(x, full_matrices=False)
    y = orthogonalized(x, (3.4445, -4.7750, 2.0315), 5, 1e-8)
    inner = u.T @ y @ vt.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-10)
    assert ((np.diag(inner) > 0.6) & (np.diag(inner) < 1.3)).all()


def test_muon_gives_vectors_and_numbers_to_adam():
    vector, number = lc.Parameter(np.ones(3)), lc.Parameter(np.ones(()))
    optimizer = Muon([vector, number], lr=0.1, eps=0.0)
    gradient(vector, number)
    optimizer.step()
    np.testing.assert_allclose(vector.data, 0.9, rtol=1e-12)
    np.testing.assert_allclose(number.data, 0.9, rtol=1e-12)


def test_muon_takes_kernels_as_matrices():
    rng = np.random.default_rng(1)
    kernel, matrix = lc.Parameter(rng.normal(size=(4, 3, 2, 2))), lc.Parameter(np.zeros((4, 12)))
    matrix.data[...] = kernel.data.reshape(4, 12)
    optimizer = Muon([kernel, matrix])
    for _ in range(3):
        gradient(kernel, matrix)
        optimizer.step()
    np.testing.assert_allclose(kernel.data.reshape(4, 12), matrix.data, rtol=1e-12)


def test_the_inverse_root_is_one():
    a = np.random.default_rng(0).normal(size=(4, 6))
    h = a @ a.T
    root = inverse_root(h, 4)
    np.testing.assert_allclose(root @ root @ root @ root @ h, np.eye(4), atol=1e-9)


def test_soap_follows_the_eigenbasis_of_its_statistics():
    rng = np.random.default_rng(0)
    p = lc.Parameter(rng.normal(size=(4, 3)))
    scales = np.array([4.0, 2.0, 1.0, 0.3])[:, None]
    optimizer = SOAP([p], lr=1e-3, every=1, shampoo_beta=0.5)
    mixing = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    for _ in range(60):
        p.grad = lc.Tensor(mixing @ (scales * np.eye(4, 3)))
        optimizer.step()
    record = optimizer.state_dict()["state"]["0"]
    q, h = record["bases"][:16].reshape(4, 4), record["statistics"][:16].reshape(4, 4)
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=1e-12)
    turned = q.T @ h @ q
    np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=1e-8)
    assert (np.diff(np.diag(turned)) <= 1e-12).all()


def test_soap_and_galore_are_adam_for_vectors():
    p, q = lc.Parameter(np.ones(3)), lc.Parameter(np.ones(3))
    optimizer = GaLore([q], lr=0.1, weight_decay=0.0, eps=0.0)
    gradient(q)
    optimizer.step()
    np.testing.assert_allclose(q.data, 0.9, rtol=1e-12)
    soap = SOAP([p], lr=0.1, weight_decay=0.0, eps=0.0)
    gradient(p)
    soap.step()
    np.testing.assert_array_equal(p.data, 1.0)  # the first gradient only sets it up
    gradient(p)
    soap.step()
    np.testing.assert_allclose(p.data, 0.9, rtol=1e-12)


def test_galore_moves_within_the_subspace_and_keeps_small_state():
    p = lc.Parameter(np.zeros((6, 4)))
    optimizer = GaLore([p], lr=0.1, rank=2)
    gradient(p)
    p.grad = lc.Tensor(np.random.default_rng(0).normal(size=(6, 4)))
    optimizer.step()
    assert np.linalg.matrix_rank(p.data, tol=1e-10) == 2
    record = optimizer.state_dict()["state"]["0"]
    assert record["m"].shape == record["v"].shape == (6, 2) and record["projection"].shape == (4, 2)


def test_novograd_keeps_one_number_for_each_array():
    p = lc.Parameter(np.array([3.0, 4.0]))
    optimizer = NovoGrad([p], lr=0.1, betas=(0.5, 0.5), eps=0.0)
    p.grad = lc.Tensor(np.array([3.0, 4.0]))
    optimizer.step()
    np.testing.assert_allclose(p.data, [3 - 0.06, 4 - 0.08])
    assert optimizer.state_dict()["state"]["0"]["v"].tolist() == [25.0]


def test_madgrad_without_momentum_keeps_no_start():
    p = lc.Parameter(np.ones(3))
    for momentum, arrays in ((0.0, ["s", "v"]), (0.5, ["s", "v", "x0"])):
        optimizer = MADGRAD([p], momentum=momentum)
        gradient(p)
        optimizer.step()
        assert optimizer.state_dict()["groups"][0]["arrays"] == arrays


def test_nadam_counts_the_steps_of_each_parameter():
    a, b = lc.Parameter(np.ones(3)), lc.Parameter(np.ones(3))
    optimizer = NAdam([a, b], lr=0.1)
    for p in (a, b):
        a.grad = b.grad = None
        gradient(p)
        optimizer.step()
    np.testing.assert_array_equal(a.data, b.data)


def test_rprop_refuses_factors_and_bounds_out_of_order():
    for kwargs, words in (({"etas": (1.1, 1.2)}, "etas"), ({"step_sizes": (2.0, 1.0)}, "step_sizes")):
        with pytest.raises(HyperparameterError, match=words):
            Rprop([lc.Parameter(np.ones(1))], **kwargs)


def test_lbfgs_needs_a_closure_and_one_group():
    p, q = lc.Parameter(np.ones(2)), lc.Parameter(np.ones(2))
    with pytest.raises(HyperparameterError, match="closure"):
        LBFGS([p]).step()
    with pytest.raises(HyperparameterError, match="one group"):
        LBFGS([{"params": [p]}, {"params": [q]}]).step(lambda: (p * q).sum() * 2)


def test_lbfgs_solves_a_quadratic_in_a_few_iterations():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 6))
    h, x = a @ a.T + np.eye(6), lc.Parameter(rng.normal(size=6))
    optimizer = LBFGS([x], line_search="strong_wolfe", max_iter=30)

    def closure():
        optimizer.zero_grad()
        loss = (x * (lc.Tensor(h) @ x)).sum() - 2 * x.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(x.data, np.linalg.solve(h, np.ones(6)), atol=1e-5)


@pytest.mark.parametrize("cls", [AdaHessian, Sophia])
def test_second_order_optimizers_need_a_closure(cls):
    with pytest.raises(HyperparameterError, match="closure"):
        cls([lc.Parameter(np.ones(2))]).step()


def test_the_hutchinson_estimate_approaches_the_diagonal():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 5))
    h, x = a @ a.T, lc.Parameter(rng.normal(size=5))
    optimizer = AdaHessian([x], lr=0.0, samples=4000)
    optimizer.step(lambda: 0.5 * (x * (lc.Tensor(h) @ x)).sum())
    estimate = optimizer.state_dict()["state"]["0"]["hessian"]
    np.testing.assert_allclose(estimate, np.diag(h), atol=0.06 * np.abs(h).max())


def test_adahessian_averages_over_the_positions_of_a_kernel():
    k = lc.Parameter(np.random.default_rng(0).normal(size=(2, 3, 2, 2)))
    kept = copy.deepcopy(k)
    optimizer = AdaHessian([k])
    optimizer.step(lambda: (k**4).sum() * 0.5)
    diagonal = (6 * kept.data**2).mean(axis=(2, 3), keepdims=True)
    estimate = optimizer.state_dict()["state"]["0"]["hessian"]
    np.testing.assert_allclose(estimate, np.broadcast_to(diagonal, estimate.shape), rtol=1e-12)
