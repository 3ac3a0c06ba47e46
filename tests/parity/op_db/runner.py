"""Runs PyTorch's own operator table, ``op_db``, through our operators.

Each sample goes through PyTorch's function and through the spelling of ours, with the same random cotangent behind both;
results, dtypes and the gradients of every input are compared. Ours runs inside of a ``torch.autograd.Function``, so
that what a sample's table entry does to a result before it is compared (for a factorization, what makes it unique)
is done to both.
"""

import functools
import random
import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.testing._internal import common_methods_invocations
from torch.testing._internal.opinfo.core import BinaryUfuncInfo
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

import lunar_core as lc
from lunar_core.errors import DTypeError, LunarError

from . import added, creating, elementwise, indexing, linear_algebra, neural, reducing, shaping, spectral, windowed
from .spelling import Differs, Leading

FAMILIES = {
    module.__name__.rpartition(".")[2]: module.SPELLINGS
    for module in (
        elementwise,
        shaping,
        indexing,
        reducing,
        linear_algebra,
        spectral,
        neural,
        windowed,
        creating,
        added,
    )
}
SPELLINGS = {key: spelled for family in FAMILIES.values() for key, spelled in family.items()}

RTOL, ATOL = 1e-9, 1e-10
LOOSER = {"nn.functional.hardsigmoid": 1e-7}  # PyTorch's gradient in double precision has 1/6 rounded to single
DTYPES = {
    torch.float64: np.float64, torch.float32: np.float32, torch.float16: np.float16, torch.complex64: np.complex64,
    torch.complex128: np.complex128, torch.int8: np.int8, torch.int16: np.int16, torch.int32: np.int32,
    torch.int64: np.int64, torch.uint8: np.uint8, torch.bool: np.bool_,
}  # fmt: skip
PLACEMENT = {"device", "layout", "pin_memory", "requires_grad", "memory_format", "non_blocking", "copy"}


@functools.cache
def table():
    """PyTorch's entries by name, with the name of the variant behind a slash."""
    return {
        op.name + (f"/{op.variant_test_name}" if op.variant_test_name else ""): op
        for op in common_methods_invocations.op_db
    }


@dataclass
class Outcome:
    """What became of the samples of one operator in one dtype."""

    passed: int = 0
    reasons: list = field(default_factory=list)
    failures: list = field(default_factory=list)

    @property
    def samples(self):
        return self.passed + len(self.reasons) + len(self.failures)


def dtypes(op):
    """The dtypes in which an operator is compared: double precision, or integers or bools where it has no other."""
    known = op.supported_dtypes("cpu")
    chosen = [d for d in (torch.float64, torch.complex128) if d in known]
    return chosen or [d for d in (torch.int64, torch.bool) if d in known][:1]


def has_gradient(op, dtype):
    return op.supports_autograd and (dtype.is_floating_point or dtype.is_complex)


def seeded(items):
    """The items of a generator, the random state set anew for each, as PyTorch's own iterator does.

    That one also looks the running test up in the call stack, which under pytest takes longer than the samples.
    """
    items = iter(items)
    while True:
        torch.manual_seed(1234)
        np.random.seed(1234)
        random.seed(1234)
        try:
            item = next(items)
        except StopIteration:
            return
        yield item


def samples(op, dtype):
    return seeded(op.sample_inputs_func(op, "cpu", dtype, has_gradient(op, dtype)))


def count(key, dtype):
    """How many samples an operator has, without running them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sum(1 for _ in samples(table()[key], dtype))


def run(key, dtype):
    """The :class:`Outcome` of an operator's samples in one dtype."""
    op, outcome = table()[key], Outcome()
    differentiable = has_gradient(op, dtype)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for number, sample in enumerate(samples(op, dtype)):
            try:
                compare(op, SPELLINGS[key], sample, differentiable, LOOSER.get(key, RTOL))
            except Differs as exc:
                outcome.reasons.append(str(exc))
            except DTypeError as exc:
                kept = outcome.reasons if dtype.is_complex else outcome.failures
                kept.append("complex numbers are refused" if dtype.is_complex else f"{key} sample {number}: {exc}")
            except Exception as exc:
                text = f"{type(exc).__name__}: {exc}".strip().replace("\n", " ")[:600]
                outcome.failures.append(f"{key} {dtype} sample {number} {described(sample)}: {text}")
            else:
                outcome.passed += 1
    return outcome


def described(sample):
    def short(value):
        return f"{tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)

    args = [tree_map(short, a) for a in (sample.input, *sample.args)]
    return f"{args} {tree_map(short, sample.kwargs)}"[:300]


def compare(op, spelling, sample, differentiable, rtol=RTOL):
    """Raise unless ours agrees with PyTorch on one sample."""
    process = sample.output_process_fn_grad
    ours = ours_of(spelling, sample)  # first: the spelling may say that it differs
    theirs = op.op(sample.input, *sample.args, **sample.kwargs)
    flat, spec = tree_flatten(theirs)
    if isinstance(ours, Leading):
        ours = ours.results
        flat = flat[: len(ours)]
        theirs, spec = flat, tree_flatten(flat)[1]
    if len(flat) != len(ours):
        raise AssertionError(f"{len(ours)} results, expected {len(flat)}")
    theirs = [t for t in tree_flatten(process(theirs))[0] if t is not None]
    ours = [t for t in tree_flatten(process(tree_unflatten(ours, spec)))[0] if t is not None]
    for position, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        agree(a, b, f"result {position}", rtol)
    if differentiable:
        compare_gradients(sample, ours, theirs, rtol)


def compare_gradients(sample, ours, theirs, rtol):
    inputs = [t for t in leaves(sample) if isinstance(t, torch.Tensor) and t.requires_grad]
    live = [i for i, t in enumerate(theirs) if isinstance(t, torch.Tensor) and t.requires_grad]
    if not inputs or not live:
        return
    cotangents = [torch.randn_like(theirs[i]) for i in live]
    expected = torch.autograd.grad([theirs[i] for i in live], inputs, cotangents, allow_unused=True)
    got = torch.autograd.grad([ours[i] for i in live], inputs, cotangents, allow_unused=True)
    for position, (a, b, x) in enumerate(zip(got, expected, inputs)):
        zero = torch.zeros_like(x)
        agree(zero if a is None else a, zero if b is None else b, f"gradient of input {position}", rtol)


def leaves(sample):
    return tree_flatten((sample.input, sample.args, sample.kwargs))[0]


def agree(got, expected, what, rtol):
    """Equal shapes and dtypes; floating values within ``rtol`` and ATOL, NaN and infinities in the same places."""
    if not isinstance(expected, torch.Tensor):
        if got != expected:
            raise AssertionError(f"{what}: {got!r}, expected {expected!r}")
        return
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise AssertionError(
            f"{what}: {tuple(got.shape)} {got.dtype}, expected {tuple(expected.shape)} {expected.dtype}"
        )
    a, b = (plain(t) for t in (got, expected))
    if a.dtype.kind not in "fc":
        if not (a == b).all():
            raise AssertionError(f"{what}: {a.ravel()[:6]}, expected {b.ravel()[:6]}")
        return
    close = (np.abs(a - b) <= ATOL + rtol * np.abs(b)) | (a == b) | (np.isnan(a) & np.isnan(b))
    if not close.all():
        places = np.flatnonzero(~close.ravel())
        shown = [(a.ravel()[i], b.ravel()[i]) for i in places[:3]]
        raise AssertionError(f"{what}: {len(places)} of {a.size} values differ, (got, expected) {shown}")


def converted(value, tensors):
    """PyTorch's argument as ours; ``tensors`` holds the replacements of its tensors by identity."""
    if isinstance(value, torch.Tensor):
        return tensors[id(value)]
    if isinstance(value, torch.dtype):
        return np.dtype(DTYPES[value])
    if isinstance(value, (list, tuple)):
        return type(value)(converted(v, tensors) for v in value) if type(value) in (list, tuple) else tuple(value)
    return value


def called(spelling, sample, tensors):
    keywords = {k: converted(v, tensors) for k, v in sample.kwargs.items() if k not in PLACEMENT}
    return spelling(converted(sample.input, tensors), *[converted(a, tensors) for a in sample.args], **keywords)


def plain(t):
    return t.detach().resolve_conj().resolve_neg().numpy(force=True)


def tensor_of(t):
    return lc.Tensor(plain(t), requires_grad=t.requires_grad)


def ours_of(spelling, sample):
    """The results of ours as PyTorch tensors whose backward pass is ours."""
    tensors = [t for t in leaves(sample) if isinstance(t, torch.Tensor)]
    if not tensors:
        return [torch_of(out) for out in tree_flatten(called(spelling, sample, {}))[0]]
    others, partial = {}, []

    class Ours(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.inputs = [tensor_of(t) for t in tensors]
            outs = called(spelling, sample, {id(t): own for t, own in zip(tensors, ctx.inputs)})
            if isinstance(outs, Leading):
                outs = outs.results
                partial.append(True)
            ctx.outs = tree_flatten(outs)[0]
            others.update({i: out for i, out in enumerate(ctx.outs) if not hasattr(out, "shape")})
            return tuple(torch_of(out) for i, out in enumerate(ctx.outs) if i not in others)

        @staticmethod
        def backward(ctx, *cotangents):
            outs = [out for i, out in enumerate(ctx.outs) if i not in others]
            live = [
                (out, lc.Tensor(plain(g)))
                for out, g in zip(outs, cotangents)
                if g is not None and getattr(out, "node", None) is not None
            ]
            wanted = [t for t in ctx.inputs if t.node is not None]
            if not live or not wanted:
                return (None,) * len(ctx.inputs)
            found = iter(
                lc.grad([o for o, _ in live], wanted, [g for _, g in live], allow_unused=True, retain_graph=True)
            )
            grads = [next(found) if t.node is not None else None for t in ctx.inputs]
            return tuple(g if g is None else torch_of(g) for g in grads)

    results = list(Ours.apply(*tensors))
    for place in sorted(others):
        results.insert(place, others[place])
    return Leading(tuple(results)) if partial else results


def torch_of(value):
    if isinstance(value, lc.Tensor):
        return torch.from_numpy(np.array(value.data))
    return torch.from_numpy(np.array(value)) if isinstance(value, (np.ndarray, np.generic)) else value


# -- bad input ---------------------------------------------------------------------------------------------------------


def run_errors(key):
    """What ours does with the inputs that PyTorch refuses: (samples, those that did not raise one of our errors)."""
    op, count, wrong = table()[key], 0, []
    if op.error_inputs_func is None:
        return 0, []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for number, case in enumerate(seeded(op.error_inputs_func(op, "cpu"))):
            sample = case.sample_input
            if not applies(op, case):
                continue
            count += 1
            about = f"{key} error sample {number} {described(sample)} ({str(case.error_regex)[:100]})"
            tensors = {id(t): tensor_of(t) for t in leaves(sample) if isinstance(t, torch.Tensor)}
            try:
                called(SPELLINGS[key], sample, tensors)
            except (LunarError, Differs):
                continue
            except Exception as exc:
                wrong.append((about, f"{type(exc).__name__}: {exc}"[:300]))
            else:
                wrong.append((about, "nothing was raised"))
    return count, wrong


def applies(op, case):
    """Whether a refused input can be one here: no ``out=``, no number among tensors, at most NumPy's 64 axes."""
    sample = case.sample_input
    if "out" in sample.kwargs or any(isinstance(t, torch.Tensor) and t.ndim > 64 for t in leaves(sample)):
        return False
    numbers = [isinstance(a, (int, float, complex)) for a in (sample.input, *sample.args[:1])]
    return not (any(numbers) and (isinstance(op, BinaryUfuncInfo) or not case.error_regex))
