"""Every op runs, forward and backward, on arrays that refuse NumPy: no host array slips in and nothing is copied."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DeviceError
from lunar_core.op import OPS
from lunar_core.testing.fake_device import FakeArray, fake_device


def on_device(value, requires_grad):
    if not isinstance(value, np.ndarray):
        return value
    return lc.Tensor(FakeArray(value.copy()), requires_grad=requires_grad and value.dtype.kind in "fc")


def static_on_device(value):
    if isinstance(value, np.ndarray):
        return FakeArray(value.copy())
    return tuple(map(static_on_device, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", sorted(OPS))
def test_op_runs_on_a_device_that_refuses_numpy(name):
    op = OPS[name]
    with fake_device() as device:
        for sample in op.samples():
            if name == "to_device":
                continue  # copies by its very meaning
            static = {k: static_on_device(v) for k, v in sample.static.items()}
            wants = sample.grad and op.vjp is not None
            inputs = [on_device(a, wants) for a in sample.args]
            out = op(*inputs, **static)
            first = out[0] if isinstance(out, tuple) else out
            host = op(*[lc.tensor(a) if isinstance(a, np.ndarray) else a for a in sample.args], **sample.static)
            host = host[0] if isinstance(host, tuple) else host
            np.testing.assert_allclose(first.data._a, host.data, rtol=1e-12, atol=1e-14)
            if first.requires_grad:
                first.backward(lc.Tensor(FakeArray(np.ones(first.shape, first.dtype))))
                for x in inputs:
                    if isinstance(x, lc.Tensor) and x.requires_grad and x.grad is not None:
                        assert isinstance(x.grad.data, FakeArray)
        # embedding reads the extreme indices to check them, matrix_exp the norm that decides how often it squares
        allowed = {"embedding", "embedding_grad", "matrix_exp"}
        assert device.synchronizations == 0 or name in allowed


def test_mixing_host_and_device_names_both():
    with fake_device():
        x = lc.tensor([1.0, 2.0], device="fake")
        with pytest.raises(DeviceError, match="different devices: cpu, fake"):
            x + lc.tensor([1.0, 2.0])
        with pytest.raises(DeviceError, match="different devices: cpu, fake"):
            lc.tensor([1.0, 2.0]) * x


def test_tensors_travel_to_the_device_and_back_with_their_gradients():
    with fake_device() as device:
        x = lc.tensor([1.0, 2.0], requires_grad=True)
        y = x.to("fake")
        assert y.device == "fake" and device.synchronizations == 0
        (y * 3).sum().backward()
        assert x.grad.device == "cpu" and x.grad.tolist() == [3, 3]
        assert (y * 1).detach().to("cpu").tolist() == [1, 2]
