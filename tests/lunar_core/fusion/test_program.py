"""Programs: memory is reused without a hazard, and a compiler can take over."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_core import kernels
from lunar_core.fusion import Fused, FusedError, compilers, forget_all, fused, run
from lunar_core.fusion.source import compile_source

UNARY = [np.negative, np.sqrt, np.square, np.sign, np.exp, abs, lambda x: x**3]
BINARY = [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum, lambda a, b: np.where(a > b, a, b)]
TERNARY = [
    lambda c, a, b: np.where(c > 0, a, b),
    lambda c, a, b: np.where(c, b, a),
    lambda c, a, b: np.clip(c, a, b) + 0,
]


@st.composite
def functions(draw):
    """A random function of three arrays and two numbers: a list of operations, and which values it returns."""
    steps = []
    count = 5
    for _ in range(draw(st.integers(1, 14))):
        ops = draw(st.sampled_from([UNARY, BINARY, BINARY, TERNARY]))
        arity = {id(UNARY): 1, id(BINARY): 2, id(TERNARY): 3}[id(ops)]
        args = draw(st.lists(st.integers(0, count - 1), min_size=arity, max_size=arity))
        steps.append((draw(st.integers(0, len(ops) - 1)), arity, args))
        count += 1
    results = draw(st.lists(st.integers(0, count - 1), min_size=3, max_size=3))

    def function(a, b, c, k, n):
        values = [a, b, c, k, n]
        for op, arity, args in steps:
            values.append((UNARY, BINARY, TERNARY)[arity - 1][op](*[values[i] for i in args]))
        return tuple(values[i] for i in results)

    return function


def inputs(size, dtypes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=size).astype(d) for d in dtypes]


def expected(function, args, results):
    """What the function gives on copies, broadcast and cast as the fused call stores it."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [np.broadcast_to(r, out.shape).astype(out.dtype) for r, out in zip(function(*args), results)]


def check(got, want):
    for g, w in zip(got, want):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=0)


@settings(max_examples=300, deadline=None)
@given(functions(), st.permutations("abc"))
def test_results_written_over_inputs_in_any_order_are_those_of_the_pure_function(function, into):
    arrays = inputs(37, ["f8", "f8", "f8"])
    originals = [a.copy() for a in arrays]
    with small_chunks(10):
        got = Fused(function, into)(*arrays, 0.5, 2)
    check(got, expected(function, (*originals, 0.5, 2), got))
    assert got[0] is arrays["abc".index(into[0])]


@settings(max_examples=150, deadline=None)
@given(functions(), st.sampled_from(list(itertools.product(["f8", "f4"], ["f8", "f4"], ["f8", "i4"]))))
def test_new_results_of_mixed_dtypes_are_those_of_the_pure_function(function, dtypes):
    arrays = inputs(37, dtypes)
    originals = [a.copy() for a in arrays]
    with small_chunks(10):
        got = Fused(function)(*arrays, 0.5, 2)
    wanted = expected(function, (*arrays, 0.5, 2), got)
    for g, w in zip(got, wanted):  # float32 intermediates of a number and an array differ in the last bit
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6)
    for a, b in zip(arrays, originals):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=150, deadline=None)
@given(functions(), st.permutations("abc"))
def test_strided_operands_give_the_same_as_contiguous_ones(function, into):
    arrays = [np.repeat(a, 2)[::2] for a in inputs(37, ["f8", "f4", "f2"])]
    dense = [a.copy() for a in arrays]
    got, want = Fused(function, into)(*arrays, 0.5, 2), Fused(function, into)(*dense, 0.5, 2)
    for g, w in zip(got, want):
        np.testing.assert_array_equal(g, w)


@settings(max_examples=100, deadline=None)
@given(functions(), st.permutations("abc"))
def test_the_loop_over_elements_computes_the_same(function, into):
    arrays = inputs(11, ["f8", "f8", "f8"])
    wanted_of = [a.copy() for a in arrays]
    with using(loop_compiler):
        f = Fused(function, into)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = f(*arrays, 0.5, 2)
    check(got, expected(function, (*wanted_of, 0.5, 2), got))


class small_chunks:
    """Let the kernels run over chunks of so many elements, to see many of them on little data."""

    def __init__(self, elements):
        self.bytes = elements * 8

    def __enter__(self):
        self.before = run.CHUNK_BYTES
        run.CHUNK_BYTES = self.bytes

    def __exit__(self, *exc):
        run.CHUNK_BYTES = self.before


class using:
    """Put a compiler in use for a block."""

    def __init__(self, *functions):
        self.functions = functions

    def __enter__(self):
        compilers[:] = self.functions

    def __exit__(self, *exc):
        compilers.clear()


def loop_compiler(program):
    return compile_source(program.loop_source(), "kernel", {"np": np})


def adamw(p, g, m, v, *, lr, step):
    m = 0.9 * m + 0.1 * g
    v = 0.99 * v + 0.01 * g * g
    return p * (1 - lr) - lr / (1 - 0.9**step) * m / (np.sqrt(v) + 1e-8), m, v


# -- memory ------------------------------------------------------------------------------------------------------------


def test_an_update_rule_needs_two_scratch_chunks_and_writes_its_state_where_it_lies():
    plan = fused(adamw, into=("p", "m", "v")).plan(*[np.ones(4, np.float32)] * 4, lr=0.1, step=1)
    assert len(plan.program.scratch) == 2
    assert not plan.program.moves
    assert plan.touched == {"p", "g", "m", "v"}


def test_a_new_result_serves_as_scratch_until_it_is_computed():
    plan = fused(lambda x: 1 / (1 + np.exp(-x))).plan(np.ones(4))
    assert not plan.program.scratch and not plan.program.moves


def test_arrays_that_the_rule_leaves_alone_are_not_touched():
    def sgd(p, g, m, *, lr, momentum):
        if momentum:
            m = momentum * m + g
            return p - lr * m, m
        return p - lr * g, m

    f = fused(sgd, into=("p", "m"))
    one = np.ones(4)
    assert f.plan(one, one, one, lr=0.1, momentum=0.9).touched == {"p", "g", "m"}
    assert f.plan(one, one, one, lr=0.1, momentum=0.0).touched == {"p", "g"}
    (p, m) = f(np.ones(3), np.ones(3), np.full(3, 7.0), lr=0.5, momentum=0.0)
    assert p.tolist() == [0.5] * 3 and m.tolist() == [7] * 3


# -- compilers ---------------------------------------------------------------------------------------------------------


def test_a_compiler_gets_the_program_and_its_kernel_runs():
    calls = []

    def compiler(program):
        assert program.array_type is np.ndarray
        assert [slot.name for slot in program.arguments] == ["p", "g", "m", "v"]
        assert all(c.dtype == np.float32 for c in program.constants)
        kernel = loop_compiler(program)

        def run(start, stop, *args):
            calls.append((start, stop, len(args)))
            kernel(start, stop, *args)

        return run

    def arrays():
        return [*inputs(50, ["f4"] * 2), np.zeros(50, np.float32), np.ones(50, np.float32)]

    reference = fused(adamw, into=("p", "m", "v"))(*arrays(), lr=0.1, step=2)
    with using(lambda program: None, compiler):
        f = fused(adamw, into=("p", "m", "v"))
        got = f(*arrays(), lr=0.1, step=2)
        f(*arrays(), lr=0.2, step=3)
        assert f.plan(*arrays(), lr=0.1, step=2).compiled_by == "compiler"
    assert calls == [(0, 50, 4 + 2)] * 2  # four arrays; 1 - lr and the step size
    for a, b in zip(got, reference):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_compiler_may_answer_later():
    pending = []

    def later(program):
        pending.append(program)

    f = fused(lambda x: x + 1)
    with using(later):
        assert f(np.zeros(3)).tolist() == [1, 1, 1]
    assert f.plan(np.zeros(3)).compiled_by is None
    kernel = loop_compiler(pending[0])
    pending[0].use(kernel)
    assert f.plan(np.zeros(3)).runner.compiled is kernel
    assert f(np.zeros(3)).tolist() == [1, 1, 1]


def test_a_kernel_provider_may_compile_fused_functions():
    class Provider:
        name, priority = "loops", 5

        def kernel(self, op, array_type):
            return None

        def fused(self, program):
            return loop_compiler(program)

    f = fused(lambda x: x * 2)
    f(np.ones(3))
    try:
        kernels.add(Provider())
        forget_all()
        assert f(np.ones(3)).tolist() == [2, 2, 2]
        assert f.plan(np.ones(3)).compiled_by == "loops"
        kernels.disable("loops")
        forget_all()
        assert f.plan(np.ones(3)).compiled_by is None
    finally:
        kernels.reset()
        forget_all()


def test_a_compiler_that_fails_is_passed_over_with_a_warning():
    def broken(program):
        raise RuntimeError("no such instruction")

    with using(broken), pytest.warns(RuntimeWarning, match="compiler broken failed.*no such instruction"):
        assert fused(lambda x: x + 1)(np.zeros(3)).tolist() == [1, 1, 1]


def test_forget_asks_the_compilers_anew():
    f = fused(lambda x: x + 1)
    f(np.zeros(3))
    with using(loop_compiler):
        assert f.plan(np.zeros(3)).compiled_by is None
        f.forget()
        assert f.plan(np.zeros(3)).compiled_by == "loop_compiler"


def test_a_foreign_ufunc_runs_but_has_no_loop():
    cube = np.frompyfunc(lambda v: v**3, 1, 1)
    special = pytest.importorskip("scipy.special")
    f = fused(lambda x: special.erf(x) * 2)
    np.testing.assert_allclose(f(np.ones(3, np.float32)), 2 * special.erf(np.ones(3, np.float32)))
    with pytest.raises(FusedError, match="erf is not a function of NumPy"):
        f.plan(np.ones(3)).program.loop_source()
    with pytest.raises(FusedError, match="does not take"):
        fused(lambda x: cube(x) + 1)(np.ones(3))


def test_the_generated_code_shows_in_tracebacks():
    import linecache

    plan = fused(lambda x: x + 1).plan(np.ones(3))
    filename = plan.runner.kernel.__code__.co_filename
    assert any("np_add" in line for line in linecache.getlines(filename))
