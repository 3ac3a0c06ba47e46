"""Norms agree with PyTorch, forward, gradient and gradient of the gradient."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lunar_core as lc
from lunar_core import ops

pytestmark = pytest.mark.parity
functional = torch.nn.functional


def pairs(dtype, *shapes, last=False):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(1, 2, s).astype(dtype) for s in shapes]
    theirs = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    if last:
        arrays[0] = np.moveaxis(np.ascontiguousarray(np.moveaxis(arrays[0], 1, -1)), -1, 1)
    return [lc.Tensor(a, requires_grad=True) for a in arrays], theirs


def check(ours, theirs, out, expected, tolerance):
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    seed = np.random.default_rng(1).normal(size=out.shape).astype(out.dtype)
    out.backward(lc.Tensor(seed))
    expected.backward(torch.from_numpy(seed))
    for x, t in zip(ours, theirs):
        scale = max(1.0, float(t.grad.abs().max()))
        np.testing.assert_allclose(x.grad.data, t.grad.numpy(), rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 2e-5)])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(16, 5), (4, 6, 9), (8, 16, 14, 14), (2, 3, 4, 5, 6)])
def test_batch_norm_agrees(shape, last, dtype, tolerance):
    ours, theirs = pairs(dtype, shape, shape[1:2], shape[1:2], last=last)
    out = ops.batch_norm(*ours, eps=1e-3)[0]
    expected = functional.batch_norm(theirs[0], None, None, *theirs[1:], training=True, eps=1e-3)
    check(ours, theirs, out, expected, tolerance)


@pytest.mark.parametrize("last", [False, True])
def test_batch_norm_inference_agrees(last):
    ours, theirs = pairs(np.float64, (4, 6, 5, 5), (6,), (6,), last=last)
    mean, var = np.linspace(-1, 1, 6), np.linspace(0.5, 2, 6)
    out = ops.batch_norm_inference(ours[0], mean, var, *ours[1:])
    expected = functional.batch_norm(theirs[0], torch.from_numpy(mean), torch.from_numpy(var), *theirs[1:])
    check(ours, theirs, out, expected, 1e-10)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 2e-5)])
@pytest.mark.parametrize("shape, axes", [((7, 33), 1), ((3, 5, 16), 1), ((3, 4, 6), 2), ((2, 5000), 1)])
def test_layer_norm_agrees(shape, axes, dtype, tolerance):
    ours, theirs = pairs(dtype, shape, shape[-axes:], shape[-axes:])
    out = ops.layer_norm(*ours)
    check(ours, theirs, out, functional.layer_norm(theirs[0], shape[-axes:], *theirs[1:]), tolerance)


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm"])
def test_gradient_penalties_agree(name):
    ours, theirs = pairs(np.float64, (6, 4), (4,), (4,))
    if name == "batch_norm":
        out = ops.batch_norm(*ours)[0]
        expected = functional.batch_norm(theirs[0], None, None, *theirs[1:], training=True)
    else:
        out, expected = ops.layer_norm(*ours), functional.layer_norm(theirs[0], (4,), *theirs[1:])
    (g,) = lc.grad((out**3).sum(), [ours[0]], create_graph=True)
    (tg,) = torch.autograd.grad((expected**3).sum(), [theirs[0]], create_graph=True)
    (g * g).sum().backward()
    (tg * tg).sum().backward()
    for x, t in zip(ours, theirs):
        np.testing.assert_allclose(x.grad.data, t.grad.numpy(), rtol=1e-7, atol=1e-7)
