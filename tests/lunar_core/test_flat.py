"""Flat buffers: what users do to parameters between two steps is noticed."""

from __future__ import annotations

import numpy as np
import pytest
from optimizer_parts import Momentum, Net, backward, parameters, reference, trained

import lunar_core as lc
from lunar_core.autograd import note_write
from lunar_core.errors import InPlaceError


def test_an_assigned_array_is_taken_in():
    params, opt = trained()
    params[0].data = np.full((3, 2), 5.0)
    params[1].data[...] = 7.0
    note_write(params[1].data)
    opt.zero_grad()
    params[0].grad = lc.zeros((3, 2), dtype="float64")
    opt.groups[0].beta = 0.0
    opt.step()
    assert params[0].tolist() == [[5.0] * 2] * 3
    assert params[1].tolist() == [7.0] * 4
    assert np.shares_memory(params[0].data, opt.groups[0].buffers[0].data)


def test_an_assigned_gradient_counts():
    params, opt = trained()
    m = opt.state_dict()["state"]["0"]["m"].copy()
    value = params[0].data.copy()
    opt.zero_grad()
    params[0].grad = lc.full((3, 2), 2.0, dtype="float64")
    opt.step()
    np.testing.assert_allclose(params[0].data, reference(value, np.full((3, 2), 2.0), m, 3)[0])


def test_a_loaded_model_keeps_its_place():
    net = Net()
    opt = Momentum(net)
    opt.bind()
    net.load_state_dict({"first": np.ones((4, 3)), "bias": np.ones(4), "last": np.ones((2, 4))})
    backward([net.first])
    opt.step()
    np.testing.assert_allclose(net.first.data, 0.9)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_converted_model_takes_its_state_along(dtype):
    net = Net()
    opt = Momentum(net)
    backward([net.first, net.bias])
    opt.step()
    m = opt.state_dict()["state"]["first"]["m"].copy()
    value = net.first.data.copy()
    net.astype(dtype)
    opt.zero_grad()
    backward([net.first])
    opt.step()
    assert net.first.dtype == dtype
    record = opt.state_dict()["state"]["first"]
    assert record["step"] == 2 and record["m"].dtype == np.float32
    np.testing.assert_allclose(record["m"], 0.9 * m + value, rtol=2e-3)


def test_frozen_parameters_are_skipped_and_thawed_ones_go_on():
    net = Net()
    net.freeze("last")
    opt = Momentum(net)
    everything = [net.first, net.bias, net.last]
    backward(everything[:2])
    opt.step()
    assert opt.groups[0].buffers[0].size < 12 + 4 + 8 + 16
    net.unfreeze("last")
    net.freeze("first")
    frozen, thawed = net.first.data.copy(), net.last.data.copy()
    opt.zero_grad()
    backward(everything[1:])
    opt.step()
    np.testing.assert_array_equal(net.first.data, frozen)
    np.testing.assert_allclose(net.last.data, 0.9 * thawed)
    net.unfreeze("first")
    opt.zero_grad()
    backward([net.first])
    opt.step()
    steps = {name: record["step"] for name, record in opt.state_dict()["state"].items()}
    assert steps == {"first": 2, "bias": 2, "last": 1}
    np.testing.assert_allclose(net.first.data, frozen - 0.1 / 2 * (frozen / 0.9 * 0.9 + frozen))


def test_two_optimizers_may_share_parameters():
    (p,) = parameters((3,))
    value = p.data.copy()
    a, b = Momentum([p], beta=0.0), Momentum([p], beta=0.0, lr=0.5)
    for _ in range(2):
        for opt in (a, b):
            opt.zero_grad()
            backward([p])
            opt.step()
    np.testing.assert_allclose(p.data, value * 0.9 * 0.5 * 0.95 * 0.75)


def test_a_graph_from_before_the_step_refuses_its_overwritten_arrays():
    params, opt = trained()
    loss = (params[0] * params[0]).sum()
    opt.step()
    with pytest.raises(InPlaceError):
        loss.backward()


def test_a_graph_from_before_refuses_an_array_that_was_assigned_over_it():
    params, opt = trained()
    loss = (params[0] * params[0]).sum()
    params[0].data = np.zeros((3, 2))
    opt.zero_grad()
    opt.step()  # no gradient, so nothing moves, but the array was taken in
    with pytest.raises(InPlaceError):
        loss.backward()
