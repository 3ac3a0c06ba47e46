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


def as_tuple(out):
    return tuple(out) if isinstance(out, (tuple, list)) else (out,)


def weighed(total, part, seed):
    """The sum so far, with one result's values weighed by ``seed``; a complex one's parts differently."""
    values = (part.real * seed + part.imag * (2 - seed) if "complex" in str(part.dtype) else part * seed).sum()
    return values if total is None else total + values


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
        ours = [
            lc.tensor(a, requires_grad=wants_grad and a.dtype.kind in "fc") if isinstance(a, np.ndarray) else a
            for a in sample.args
        ]
        theirs = [
            to_torch(np.float64(a) if name in TENSORS_ONLY and isinstance(a, float) else a, wants_grad)
            for a in sample.args
        ]
        got = as_tuple(op(*ours, **sample.static))
        expected = as_tuple(call(*[t for t in theirs if t is not None]))
        where = f"{name} sample {number}"
        seeds = [np.random.default_rng(number + i).uniform(0.5, 1.5, a.shape) for i, a in enumerate(got)]
        ours_total, theirs_total = None, None
        for a, b, seed in zip(
            got, expected, seeds
        ):  # PyTorch's side may give fewer results, and None for one to leave out
            if b is None or (a is not got[0] and a.dtype.kind in "iu"):  # positions are counted in ways of their own
                continue
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12, err_msg=where)
            if a.requires_grad and b.requires_grad:
                ours_total = weighed(ours_total, a, lc.tensor(seed))
                theirs_total = weighed(theirs_total, b, torch.from_numpy(seed).reshape(b.shape))
        compared += 1
        if not wants_grad or ours_total is None:
            continue
        ours_total.backward()
        theirs_total.backward()
        for x, t in zip(ours, theirs):
            if isinstance(x, lc.Tensor) and x.requires_grad and t.grad is not None:
                np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=where)
    assert compared, f"{name} was compared on no sample: give Sample(torch=...) or list it with a reason"
