"""The checks that every op passes over its own sample table."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import is_differentiable
from ..errors import GradientError, ShapeError
from ..op import Op, Spec
from ..tensor import Tensor
from .gradcheck import gradcheck, gradgradcheck


def _inputs(args: tuple[Any, ...], requires_grad: bool) -> list[Any]:
    """Fresh tensors of the sample's arrays; floating ones require a gradient where one is checked."""
    result = []
    for value in args:
        if isinstance(value, np.ndarray):
            needs = requires_grad and is_differentiable(value.dtype)
            value = Tensor(value, requires_grad=needs)
        result.append(value)
    return result


def check_op(op: Op, *, second_order: bool = True) -> int:
    """Run every sample of ``op`` and give their number.

    Checked are: the result matches the abstract rule in shape and dtype; raw arrays give the same values as Tensors; and,
    for samples with a gradient, float64 gradient checks of first and second order at rtol 1e-6.
    """
    samples = op.samples()
    if not samples:
        raise GradientError(f"op {op.name} has no samples")
    for number, sample in enumerate(samples):
        where = f"op {op.name}, sample {number}"
        tensors = _inputs(sample.args, False)
        out = op(*tensors, **sample.static)
        _check_abstract(op, tensors, sample.static, out, where)
        if any(isinstance(a, np.ndarray) for a in sample.args):
            raw = op(*sample.args, **sample.static)
            for a, b in zip(_as_list(out), _as_list(raw)):
                np.testing.assert_array_equal(a.data, b, err_msg=f"{where}: raw arrays give other values")
        inputs = _inputs(sample.args, True)
        if not sample.grad or op.vjp is None or not any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
            continue
        try:
            gradcheck(lambda *xs, op=op, s=sample: _own(op, op(*xs, **s.static)), inputs)
            if second_order:
                gradgradcheck(lambda *xs, op=op, s=sample: _own(op, op(*xs, **s.static)), inputs)
        except GradientError as exc:
            raise GradientError(f"{where}: {exc.message}") from exc
    return len(samples)


def _own(op: Op, out: Any) -> Any:
    """The results without those that are only kept for the rule."""
    return out if op.results is None else out[: op.results]


def _as_list(out: Any) -> list[Any]:
    return list(out) if isinstance(out, (tuple, list)) else [out]


def _check_abstract(op: Op, tensors: list[Any], static: dict[str, Any], out: Any, where: str) -> None:
    expected = op.infer(*tensors, **static)
    specs = [expected] if isinstance(expected, Spec) else list(expected)
    for spec, result in zip(specs, _as_list(out), strict=True):
        if (tuple(spec.shape), np.dtype(spec.dtype)) != (result.shape, result.dtype):
            raise ShapeError(
                f"{where}: the abstract rule says {tuple(spec.shape)} {spec.dtype}, the result is {result.shape} {result.dtype}"
            )
