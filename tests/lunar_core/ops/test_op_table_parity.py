"""Every op with a counterpart in PyTorch agrees with it, forward and gradient, over its sample table (float64)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lunar_core as lc
from lunar_core.op import OPS

pytestmark = pytest.mark.parity

# ops that exist only as the gradient of another one, or whose samples' oracle is the pair of ops that they belong to
WITHOUT_COUNTERPART = {
    "index_scatter": "adjoint of getitem, checked through it",
    "scatter_along_axis": "adjoint of take_along_axis, checked through it",
    "embedding_grad": "adjoint of embedding, checked through it",
    "index_put": "checked against NumPy assignment in test_indexing",
}
TORCH_NAMES = {
    "conjugate": "conj_physical", "absolute": "abs", "power": "pow", "equal": "eq", "invert": "bitwise_not",
    "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift",
}  # fmt: skip
TENSORS_ONLY = {"arctan2", "hypot", "logical_and", "logical_or", "logical_xor", "maximum", "minimum", "logaddexp"}


def torch_call(op, sample):
    if sample.torch is not None:
        return lambda *xs: sample.torch(torch, *xs)
    name = TORCH_NAMES.get(op.name, op.name)
    return getattr(torch, name, None) or getattr(torch.nn.functional, name, None)


def to_torch(value, requires_grad):
    if not isinstance(value, (np.ndarray, np.float64)):
        return value
    tensor = torch.from_numpy(np.array(value))
    return tensor.requires_grad_(requires_grad and (tensor.is_floating_point() or tensor.is_complex()))


@pytest.mark.parametrize("name", sorted(OPS))
def test_op_agrees_with_pytorch(name):
    op = OPS[name]
    if name in WITHOUT_COUNTERPART:
        return
    if name.endswith(("_grad", "_grad_grad")) or "_grad_" in name:
        return  # an op that another op's rule is made of; the other one is compared
    compared = 0
    for number, sample in enumerate(op.samples()):
        call = torch_call(op, sample)
        if call is None:
            continue
        wants_grad = sample.grad and op.vjp is not None
        ours = [lc.tensor(a, requires_grad=wants_grad and a.dtype.kind in "fc") if isinstance(a, np.ndarray) else a for a in sample.args]
        theirs = [to_torch(np.float64(a) if name in TENSORS_ONLY and isinstance(a, float) else a, wants_grad) for a in sample.args]
        got = op(*ours, **sample.static)
        expected = call(*[t for t in theirs if t is not None])
        if isinstance(got, tuple):
            got, expected = got[0], expected[0] if isinstance(expected, tuple) else expected
        where = f"{name} sample {number}"
        np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12, err_msg=where)
        compared += 1
        if not wants_grad or not got.requires_grad:
            continue
        seed = np.random.default_rng(number).uniform(0.5, 1.5, got.shape)
        if got.dtype.kind == "c":
            seed = seed + 1j * np.random.default_rng(number + 1).uniform(0.5, 1.5, got.shape)
        got.backward(lc.tensor(seed))
        expected.backward(torch.from_numpy(seed).reshape(expected.shape))
        for x, t in zip(ours, theirs):
            if isinstance(x, lc.Tensor) and x.requires_grad and t.grad is not None:
                np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=where)
    assert compared, f"{name} was compared on no sample: give Sample(torch=...) or list it with a reason"
