"""Tracing: code that is chosen at the call, branches on numbers, and what cannot be fused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lunar_core.errors import LunarError
from lunar_core.fusion import FusedError, fused
from lunar_core.tensor import Tensor

F32, F64 = np.float32, np.float64


# -- static arguments and branches ------------------------------------------------------------------------------------


def test_a_bool_a_string_and_none_choose_code():
    f = fused(lambda x, flag, mode, extra: (x + 1 if flag else x - 1) * (2 if mode == "double" else 1) + (extra or 0))
    x = np.zeros(3)
    assert f(x, True, "double", None)[0] == 2
    assert f(x, False, "double", 0.5)[0] == -1.5
    assert f(x, False, "single", None)[0] == -1


def test_a_branch_on_a_number_is_followed_for_each_value():
    f = fused(
        lambda x, decay, step: (x if step == 1 else 2 * x) * (1 - decay) if decay else (x if step == 1 else 2 * x)
    )
    x = np.ones(3)
    assert [f(x, d, s)[0] for d, s in ((0.0, 1), (0.0, 2), (0.5, 2), (0.5, 1), (0.0, 3), (0.25, 5))] == [
        1,
        2,
        1,
        0.5,
        2,
        1.5,
    ]
    assert "weight" not in f.source(x, 0.0, 1)
    assert len(f._plans) == 1 and sum(map(len, f._plans.values())) == 4


def test_python_loops_over_tuples_are_unrolled():
    f = fused(lambda x, coefficients: sum(c * x**i for i, c in enumerate(coefficients)))
    np.testing.assert_allclose(f(np.arange(5.0), (1.0, 2.0, 3)), 1 + 2 * np.arange(5.0) + 3 * np.arange(5.0) ** 2)
    np.testing.assert_allclose(f(np.arange(5.0), [np.float32(1), 2]), 1 + 2 * np.arange(5.0))


def test_the_number_of_kept_plans_is_bounded():
    f = fused(lambda x, mode: x)
    for i in range(600):
        f(np.ones(1), str(i))
    assert len(f._plans) <= 256
    g = fused(lambda x, k: x if k == 3 or k == 5 or not k % 7 else -x)
    for i in range(600):
        g(np.ones(1), i)
    assert sum(map(len, g._plans.values())) <= 64


# -- what is refused --------------------------------------------------------------------------------------------------


def branches(x):
    if x > 0:
        return x
    return -x


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (branches, r"test_trace.py:\d+ branches on the values of an array.*\n.*np.where"),
        (lambda x: max(x, 0.0), "np.maximum"),
        (lambda x: x and 1, "np.where"),
        (lambda x: 0 < x < 1, "branches"),
        (lambda x: math.sqrt(x) + 1, "np.sqrt"),
        (lambda x: x.sum(), r"\.sum of a value"),
        (lambda x: np.sum(x) + 1, "np.sum is not elementwise"),
        (lambda x: np.add.reduce(x) + 1, "np.add.reduce is not elementwise"),
        (lambda x: x @ x, "@ is not elementwise"),
        (lambda x: x[0], "indexed"),
        (lambda x: next(iter(x)), "iterated"),
        (lambda x: np.modf(x)[0], "np.modf is not an elementwise function with one result"),
        (lambda x: np.add(x, 1, where=True), "where="),
        (lambda x: np.where(x)[0], "one argument"),
        (lambda x: np.clip(x, 0, 1, dtype=F32), "dtype="),
        (lambda x: x + np.ones(3), "not an argument"),
        (lambda x: x + "a", "cannot take 'a'"),
        (lambda x: None, "returned None"),
        (lambda x: (), "empty tuple"),
        (lambda x: {"y": x}, "the result cannot take"),
    ],
)
def test_what_is_not_elementwise_and_pure_is_one_clear_error(function, words):
    with pytest.raises(FusedError, match=words) as info:
        fused(function)(np.ones(3))
    assert isinstance(info.value, LunarError)


def test_in_place_operators_are_refused_because_they_differ_on_numbers():
    def f(x):
        x += 1
        return x

    with pytest.raises(FusedError, match=r"\+="):
        fused(f)(np.ones(3))


def test_an_endless_loop_on_a_number_ends_in_an_error():
    def f(x, k):
        while k < k + 1:
            k = k + 1
        return x

    with pytest.raises(FusedError, match="operations were traced"):
        fused(f)(np.ones(3), 1)


def test_a_wrong_argument_or_target_is_named():
    with pytest.raises(FusedError, match="into='q', but the arguments are p, g"):
        fused(lambda p, g: p, into="q")
    with pytest.raises(FusedError, match="twice"):
        fused(lambda p, g: (p, g), into=("p", "p"))
    with pytest.raises(FusedError, match="no fixed number"):
        fused(lambda *p: p)
    with pytest.raises(FusedError, match="returned 1 values for the 2 targets"):
        fused(lambda p, g: p, into=("p", "g"))(np.ones(3), np.ones(3))
    with pytest.raises(FusedError, match="'k' has to be an array, got float"):
        fused(lambda p, k: (p, k), into=("p", "k"))(np.ones(3), 1.0)
    with pytest.raises(FusedError, match="'k' is a dict"):
        fused(lambda p, k: p)(np.ones(3), {})
    with pytest.raises(FusedError, match="raw arrays"):
        fused(lambda p: p)(Tensor(np.ones(3)))


def test_a_symbol_that_leaks_into_another_call_is_refused():
    leaked = []
    fused(lambda x: leaked.append(x) or x)(np.ones(3))
    with pytest.raises(FusedError, match="another call"):
        fused(lambda x: x + leaked[0])(np.ones(3))
