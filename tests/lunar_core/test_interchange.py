"""Tensors, parameters and modules are copied, sent to another process, and stay what they were."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import GradientError
from lunar_core.testing.fake_device import fake_device


class Tied(lc.Module):
    """Two names for one parameter, a buffer outside of the state, and a tensor that shares its memory."""

    def __init__(self):
        self.weight = lc.Parameter(np.arange(6.0).reshape(2, 3))
        self.parts = [self.weight, lc.Parameter(np.ones(3, np.float32))]
        self.steps = lc.Buffer(np.zeros(1), persistent=False)
        self.view = self.weight.detach()

    def forward(self, x):
        return x @ self.weight


class Marked(lc.Tensor):
    """A subclass with an attribute of its own."""


def test_a_copy_is_a_leaf_of_its_own_with_gradient_and_hooks():
    x = lc.tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: g * 10)
    (x * x).sum().backward()
    twin = copy.deepcopy(x)
    assert twin.is_leaf and twin.requires_grad and twin.data is not x.data
    assert twin.grad.tolist() == [20, 40] and twin.grad.data is not x.grad.data
    twin.zero_grad()
    (twin * 3).sum().backward()
    assert twin.grad.tolist() == [30, 30] and x.grad.tolist() == [20, 40]


def test_a_hook_removed_from_the_original_stays_on_the_copy():
    x = lc.tensor([1.0], requires_grad=True)
    remove = x.register_hook(lambda g: g * 10)
    twin = copy.deepcopy(x)
    remove()
    for tensor, expected in ((x, 1), (twin, 10)):
        tensor.sum().backward()
        assert tensor.grad.tolist() == [expected]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_tied_parameters_of_a_module_stay_tied(clone):
    net = Tied()
    twin = clone(net)
    assert twin.parts[0] is twin.weight and twin.weight is not net.weight and isinstance(twin.weight, lc.Parameter)
    assert len(list(twin.parameters())) == 2 and twin.weight.requires_grad
    assert twin.steps.persistent is False and set(twin.state_dict()) == set(net.state_dict())
    with lc.no_grad():
        twin.weight[0, 0] = 9.0
    assert net.weight[0, 0].item() == 0 and twin.parts[0][0, 0].item() == 9


def test_a_copied_module_keeps_tensors_that_share_memory_together():
    twin = copy.deepcopy(Tied())
    assert twin.view.data is twin.weight.data


def test_a_subclass_keeps_its_attributes():
    x = Marked(np.ones(2))
    x.label = ["left"]
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert type(twin) is Marked and twin.label == ["left"] and twin.label is not x.label


def test_results_of_recorded_operations_are_neither_copied_nor_sent():
    y = lc.tensor([1.0], requires_grad=True) * 2
    with pytest.raises(GradientError, match=r"deepcopy of the result.*\n.*detach"):
        copy.deepcopy(y)
    with pytest.raises(GradientError, match=r"pickling of the result.*\n.*detach"):
        pickle.dumps(y)
    assert pickle.loads(pickle.dumps(y.detach())).tolist() == [2]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64", "int8", "bool"])
def test_every_dtype_is_sent_exactly(dtype):
    x = lc.tensor([[0, 1, 2], [3, 4, 5]], dtype=dtype).T
    again = pickle.loads(pickle.dumps(x, protocol=5))
    assert again.dtype == x.dtype and again.tolist() == x.tolist() and not again.requires_grad


def test_an_array_on_a_device_comes_back_there():
    with fake_device():
        x = lc.tensor([1.0, 2.0], device="fake", requires_grad=True)
        again = pickle.loads(pickle.dumps(x))
        assert again.device == "fake" and again.requires_grad and again.detach().to("cpu").tolist() == [1, 2]
        assert copy.deepcopy(x).device == "fake"


def step(net, x):
    """What the other process does: a forward and backward pass."""
    net(x).sum().backward()
    with lc.no_grad():
        net.weight.add_(1.0)
    return net, net.weight.grad, lc.tensor([1.5], dtype="bfloat16")


def test_modules_and_tensors_travel_to_a_spawned_process_and_back():
    net, x = Tied(), lc.tensor(np.ones((1, 2)))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there, gradient, half = pool.apply(step, (net, x))
    assert there.parts[0] is there.weight and net.weight[0, 0].item() == 0
    np.testing.assert_array_equal(there.weight.detach(), net.weight.detach() + 1)
    assert gradient.tolist() == [[1, 1, 1], [1, 1, 1]] and half.dtype.name == "bfloat16"


def test_files_keep_bfloat16_strides_and_ties(tmp_path):
    shared = lc.tensor([1.5, -2.0], dtype="bfloat16")
    strided = lc.tensor(np.arange(24.0).reshape(4, 6))[::2, ::-3].T
    state = {"a": shared, "b": shared, "c": strided, "d": lc.tensor(2.0)}
    lc.save(state, tmp_path / "state.safetensors")
    again = lc.load(tmp_path / "state.safetensors")
    for name, value in state.items():
        assert np.asarray(again[name]).dtype == value.dtype
        np.testing.assert_array_equal(np.asarray(again[name]), value.numpy())
    assert np.shares_memory(np.asarray(again["a"]), np.asarray(again["b"]))
    header = (tmp_path / "state.safetensors").read_bytes()
    assert header.count(b"BF16") == 1  # stored once
