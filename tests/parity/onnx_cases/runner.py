"""Runs the node test cases of ONNX through our operators and compares with the results that come with them."""

import functools
import inspect
import warnings

import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases

import lunar_core as lc
from lunar_core.errors import DTypeError

from . import neural, shaped, simple
from .spelling import Differs, NotHere

OPERATORS = {**simple.OPERATORS, **shaped.OPERATORS, **neural.OPERATORS}
DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex64 complex128".split()


@functools.cache
def cases():
    """The cases of one operator each, by the operator's name; those that spell an operator out are left aside."""
    found = {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    for case in collected:
        nodes = case.model.graph.node
        if len(nodes) == 1 and not case.name.endswith("_expanded") and "_expanded_" not in case.name:
            found.setdefault(nodes[0].op_type, []).append(case)
    return found


def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def array_of(value):
    """Some values come as ONNX's own record."""
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def foreign(case):
    """The dtype of a case that no array here has, or nothing."""
    for inputs, outputs in case.data_sets:
        for value in map(array_of, (*inputs, *outputs)):
            if value is None or not isinstance(value, (np.ndarray, np.generic)):
                return type(value).__name__
            if value.dtype.name not in DTYPES:
                return str(value.dtype)
    return None


def run(case):
    """Raise unless ours gives the results of the case."""
    node = case.model.graph.node[0]
    function = OPERATORS[node.op_type]
    extra = {"outputs": len(node.output)} if "outputs" in inspect.signature(function).parameters else {}
    for inputs, expected in case.data_sets:
        given = iter(inputs)
        tensors = [lc.Tensor(np.array(array_of(next(given)))) if name else None for name in node.input]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            out = function(*tensors, **attributes(node), **extra)
        results = out if isinstance(out, (tuple, list)) else (out,)
        named = [r for r, name in zip(results, node.output) if name]
        if len(named) < len(expected):
            raise AssertionError(f"{len(named)} results, expected {len(expected)}")
        for got, want in zip(named, expected):
            compare(np.asarray(got.data), np.asarray(array_of(want)), case)


def compare(got, want, case):
    if got.shape != want.shape or got.dtype != want.dtype:
        raise AssertionError(f"{got.shape} {got.dtype}, expected {want.shape} {want.dtype}")
    rtol = case.rtol
    if want.dtype.name == "bfloat16":  # whose last place is coarser than the tolerance: ours rounds once, at the end
        got, want, rtol = got.astype(np.float32), want.astype(np.float32), max(rtol, 2.0**-6)
    if want.dtype.kind in "fc":
        np.testing.assert_allclose(got, want, rtol=rtol, atol=case.atol)
    else:
        np.testing.assert_array_equal(got, want)


def outcome(case):
    """``""`` when ours agrees, ``"not here: ..."`` for what we have none of, ``"differs: ..."``, or what went wrong."""
    unknown = foreign(case)
    if unknown:
        return f"not here: {unknown}"
    try:
        run(case)
    except NotHere as exc:
        return f"not here: {exc}"
    except Differs as exc:
        return f"differs: {exc}"
    except DTypeError as exc:
        return f"wrong: {exc}"
    except Exception as exc:
        return f"wrong: {type(exc).__name__}: {exc}"
    return ""
