"""Compares a module with its PyTorch twin: same state, same input, same cotangent; results and all gradients agree."""

from __future__ import annotations

from typing import Any

import numpy as np

import lunar_core as lc


def torch_state(twin: Any) -> dict[str, np.ndarray]:
    """The twin's state dict as copies in NumPy."""
    return {name: value.detach().numpy().copy() for name, value in twin.state_dict().items()}


def assert_twins(module: Any, twin: Any, x: np.ndarray, *, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """``module`` (built by this input if need be) takes the state of ``twin``; then both run forward and backward.

    The state dicts have the same names and shapes, so loading is strict.
    """
    import torch

    if not module.built:
        with lc.no_grad():
            module.eval()(x)
        module.train(twin.training)
    module.load_state_dict(torch_state(twin))
    differentiable = x.dtype.kind == "f"
    ours = lc.tensor(x, requires_grad=differentiable)
    theirs = torch.tensor(x, requires_grad=differentiable)
    y, t = module(ours), twin(theirs)
    assert y.dtype == x.dtype or not differentiable
    assert y.shape == tuple(t.shape)
    np.testing.assert_allclose(y.detach().numpy(), t.detach().numpy(), rtol=rtol, atol=atol)
    if not y.requires_grad:
        assert not t.requires_grad
        return
    cotangent = np.random.default_rng(99).normal(size=y.shape).astype(y.dtype)
    y.backward(lc.tensor(cotangent))
    t.backward(torch.from_numpy(cotangent))
    if differentiable:
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=rtol, atol=atol)
    expected = {name: p.grad for name, p in twin.named_parameters()}
    found = {name: p.grad for name, p in module.named_parameters()}
    assert found.keys() == expected.keys()
    for name, grad in expected.items():
        np.testing.assert_allclose(found[name].numpy(), grad.numpy(), rtol=rtol, atol=atol, err_msg=name)
    state = module.state_dict()
    for name, value in torch_state(twin).items():  # running statistics
        np.testing.assert_allclose(state[name], value, rtol=rtol, atol=atol, err_msg=name)
