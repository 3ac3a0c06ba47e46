"""PReLU and RReLU: sizes, learning, the drawn slopes, errors."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations import functional as A
from lunar_activations.prelu import PReLU, RReLU
from lunar_core.errors import DTypeError, HyperparameterError, NotBuiltError, ShapeError
from lunar_core.testing import gradcheck
from lunar_core.testing.fake_device import FakeArray, fake_device

X = np.random.default_rng(0).normal(size=(4, 3, 2))


def test_there_is_one_weight_a_channel_counted_at_the_first_call():
    layer = PReLU()
    with pytest.raises(NotBuiltError):
        layer.state_dict()
    y = layer(lc.tensor(X, dtype="float64"))
    assert layer.weight.shape == (3,) and layer.weight.dtype == np.float64 and layer.num_parameters == 3
    np.testing.assert_allclose(y.detach().numpy(), np.where(X > 0, X, 0.25 * X))
    assert repr(layer) == "PReLU(num_parameters=3)"


def test_one_weight_may_be_shared_and_a_given_number_builds_at_once():
    shared = PReLU(1, init=0.1)
    assert shared.built and shared.weight.shape == (1,)
    for shape in [(), (5,), (2, 3, 4)]:
        assert shared(lc.tensor(-np.ones(shape))).detach().numpy() == pytest.approx(-0.1)
    last = PReLU(2, axis=-1)
    assert last.built and last(lc.tensor(X)).shape == X.shape
    assert PReLU(3, axis=0).weight.shape == (3,)


def test_weights_and_inputs_get_gradients():
    x = lc.tensor(X, dtype="float64", requires_grad=True)
    weight = lc.tensor([0.3, -0.2, 1.5], dtype="float64", requires_grad=True)
    gradcheck(A.prelu, [x, weight])
    layer = PReLU()
    layer(lc.tensor(X, dtype="float64")).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), np.minimum(X, 0).sum(axis=(0, 2)))


def test_an_infinite_input_does_not_spoil_the_weight():
    layer = PReLU()
    layer(lc.tensor([[np.inf, -1.0], [2.0, -3.0]])).sum().backward()
    assert layer.weight.grad.tolist() == [0, -4]


def test_what_does_not_fit_is_an_error():
    layer = PReLU()
    layer(lc.tensor(X))
    with pytest.raises(ShapeError, match="3 weights for axis 1 of size 5"):
        layer(lc.zeros((2, 5)))
    with pytest.raises(ShapeError, match="counts its weights on axis 1"):
        PReLU()(lc.zeros((5,)))
    with pytest.raises(DTypeError, match="PReLU"):
        PReLU()(lc.tensor([[1, 2]]))
    with pytest.raises(ShapeError, match="one axis"):
        A.prelu(X, np.ones((1, 3)))
    with pytest.raises(HyperparameterError, match="num_parameters"):
        PReLU(0)


def test_a_state_round_trips():
    layer, other = PReLU(), PReLU(3)
    layer(lc.tensor(X))
    layer.weight.data[...] = [0.1, 0.2, 0.3]
    other.load_state_dict(layer.state_dict())
    assert other.weight.tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_rrelu_draws_a_slope_for_each_element_in_training():
    layer = RReLU(0.2, 0.5)
    x = lc.tensor(np.full((200, 50), -2.0), dtype="float64", requires_grad=True)
    y = layer(x)
    slopes = y.detach().numpy() / -2
    assert slopes.min() >= 0.2 and slopes.max() < 0.5
    assert slopes.mean() == pytest.approx(0.35, abs=0.005) and slopes.std() == pytest.approx(0.3 / 12**0.5, abs=0.005)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), slopes)
    assert not np.array_equal(layer(x).detach().numpy(), y.detach().numpy())
    assert layer(lc.tensor([1.0, 3.0])).tolist() == [1, 3]


def test_rrelus_draws_depend_on_the_seed_and_their_number_alone():
    first = RReLU()(lc.tensor(X)).numpy()
    lc.seed(0)
    lc.random.uniform((7,))  # another stream
    np.testing.assert_array_equal(RReLU()(lc.tensor(X)).numpy(), first)
    np.testing.assert_array_equal(
        A.rrelu(lc.tensor(X), training=True, generator=lc.random.stream("rrelu").at(0)).numpy(), first
    )


def test_rrelu_uses_the_mean_slope_in_evaluation():
    layer = RReLU(0.2, 0.6).eval()
    np.testing.assert_allclose(layer(X), np.where(X > 0, X, 0.4 * X))
    np.testing.assert_array_equal(layer(X), layer(X))
    assert RReLU(0.5, 0.5)(np.array([-2.0])) == -1
    with pytest.raises(HyperparameterError, match="lower must be <= upper = 0.1"):
        RReLU(0.5, 0.1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_dtype_is_kept(dtype):
    assert RReLU()(lc.tensor(X, dtype=dtype)).dtype == dtype
    assert PReLU()(lc.tensor(X, dtype=dtype)).dtype == dtype


def test_both_work_on_a_device_and_draw_what_the_host_draws():
    host = RReLU()(lc.tensor(X.astype(np.float32))).numpy()
    lc.seed(0)
    with fake_device() as device:
        x = lc.Tensor(FakeArray(X.astype(np.float32)), requires_grad=True)
        y = RReLU()(x)
        np.testing.assert_array_equal(y.data._a, host)
        layer = PReLU()
        layer(x).sum().backward()
        assert layer.weight.device == "fake" and isinstance(layer.weight.grad.data, FakeArray)
        assert device.synchronizations == 0
