"""What only a CUDA device can show; everywhere else these tests skip, and the strict fake device stands in."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DeviceError
from lunar_core.op import OPS


def cuda_missing():
    """Why there is no CUDA device here, or None."""
    try:
        lc.zeros(1, device="cuda")
    except DeviceError as exc:
        return exc.message
    return None


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(cuda_missing() is not None, reason=f"no CUDA device: {cuda_missing()}"),
]


def to_cuda(value):
    if isinstance(value, np.ndarray):
        return lc.tensor(value, device="cuda").data
    return tuple(map(to_cuda, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", sorted(OPS))
def test_op_agrees_with_the_host(name):
    op = OPS[name]
    for sample in op.samples():
        if name == "to_device":
            continue
        wants = sample.grad and op.vjp is not None
        host, device = (
            [
                lc.tensor(a, device=where, requires_grad=wants and a.dtype.kind == "f")
                if isinstance(a, np.ndarray)
                else a
                for a in sample.args
            ]
            for where in ("cpu", "cuda")
        )
        expected = op(*host, **sample.static)
        got = op(*device, **{k: to_cuda(v) for k, v in sample.static.items()})
        for a, b in zip(*[r if isinstance(r, tuple) else (r,) for r in (got, expected)]):
            assert a.device.startswith("cuda")
            np.testing.assert_allclose(a.detach().to("cpu").numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-11)
        first, host_first = (r[0] if isinstance(r, tuple) else r for r in (got, expected))
        if not first.requires_grad:
            continue
        first.sum().backward()
        host_first.sum().backward()
        for x, y in zip(device, host):
            if isinstance(x, lc.Tensor) and x.grad is not None:
                np.testing.assert_allclose(x.grad.to("cpu").numpy(), y.grad.numpy(), rtol=1e-8, atol=1e-10)


def test_training_on_the_device_follows_training_on_the_host():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 8)), rng.integers(0, 3, 64)
    losses = []
    for where in ("cpu", "cuda"):
        lc.seed(0)
        model = lc.create("model", "mlp", hidden=(16,), num_classes=3)
        model(lc.tensor(x[:2]))
        model.to(where)
        optimizer = lc.optimizers.AdamW(model.parameters(), lr=1e-2)
        loss = lc.losses.CrossEntropy()
        xs, ys = lc.tensor(x, device=where), lc.tensor(y, device=where)
        track = []
        for _ in range(20):
            optimizer.zero_grad()
            value = loss(model(xs), ys)
            value.backward()
            optimizer.step()
            track.append(value.item())
        losses.append(track)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-8)
