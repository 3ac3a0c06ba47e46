"""What a fused function means: the same as the plain one, in every kind of call."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest

from lunar_core import backend
from lunar_core.errors import ShapeError
from lunar_core.fusion import Fused, FusedError, fused
from lunar_core.testing.fake_device import fake_device

F32, F64 = np.float32, np.float64


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def adam(p, g, m, v, *, lr, betas, eps, step):
    b1, b2 = betas
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    return p - lr / (1 - b1**step) * m / (np.sqrt(v / (1 - b2**step)) + eps), m, v


def arrays(count, size, dtype=F64, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=size).astype(dtype) for _ in range(count)]


# -- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 7, 16383, 16384, 16385, 100_001])
def test_a_call_returns_a_new_array_with_the_values_of_the_function(size):
    (x,) = arrays(1, size)
    before = x.copy()
    y = fused(gelu)(x)
    assert y.dtype == F64 and y is not x
    np.testing.assert_allclose(y, gelu(x), rtol=1e-14)
    np.testing.assert_array_equal(x, before)


def test_on_numbers_it_is_the_function_itself():
    assert fused(gelu)(0.3) == gelu(0.3)


def test_several_results_come_back_as_a_tuple_in_order():
    x, y = arrays(2, 50)
    total, difference = fused(lambda a, b: (a + b, a - b))(x, y)
    np.testing.assert_array_equal(total, x + y)
    np.testing.assert_array_equal(difference, x - y)
    assert isinstance(fused(lambda a: (a + 1,))(x), tuple)


def test_a_result_of_one_number_fills_an_array():
    (x,) = arrays(1, 5, F32)
    y = fused(lambda a, k: (a, k * 2, 7))(x, 0.5)
    assert [r.dtype for r in y] == [F32, F32, F32]
    np.testing.assert_array_equal(y[0], x)
    assert y[0] is not x
    assert y[1].tolist() == [1.0] * 5 and y[2].tolist() == [7.0] * 5


def test_keyword_and_default_arguments_are_bound_by_name():
    f = fused(lambda x, a=2.0, *, b=3: a * x + b)
    (x,) = arrays(1, 5)
    np.testing.assert_array_equal(f(x), 2 * x + 3)
    np.testing.assert_array_equal(f(x, b=1, a=5), 5 * x + 1)
    with pytest.raises(FusedError, match="unexpected keyword"):
        f(x, c=1)


def test_into_writes_the_results_over_the_named_inputs():
    p, g, m, v = arrays(4, 40_000)
    wanted = adam(p, g, m, abs(v), lr=0.1, betas=(0.9, 0.99), eps=1e-8, step=3)
    v[:] = abs(v)
    result = fused(adam, into=("p", "m", "v"))(p, g, m, v, lr=0.1, betas=(0.9, 0.99), eps=1e-8, step=3)
    assert result[0] is p and result[1] is m and result[2] is v
    for got, want in zip(result, wanted):
        np.testing.assert_allclose(got, want, rtol=1e-13)


def test_results_may_be_swapped_over_their_inputs():
    x, y, z = arrays(3, 30_000)
    f = fused(lambda a, b, c: (b, c, a), into=("a", "b", "c"))
    a, b, c = x.copy(), y.copy(), z.copy()
    f(a, b, c)
    for got, want in ((a, y), (b, z), (c, x)):
        np.testing.assert_array_equal(got, want)


def test_a_written_input_that_shares_memory_with_another_input_is_read_before():
    x = np.arange(10.0)
    shifted = x[1:]
    f = fused(lambda a, b: a + 2 * b, into="a")
    wanted = x[:-1] + 2 * x[1:]
    f(x[:-1], shifted)
    np.testing.assert_array_equal(x[:-1], wanted)


def test_two_targets_that_share_memory_and_a_read_only_target_are_errors():
    x = np.arange(10.0)
    with pytest.raises(FusedError, match="share memory"):
        fused(lambda a, b: (a + 1, b + 1), into=("a", "b"))(x[1:], x[:-1])
    x.flags.writeable = False
    with pytest.raises(FusedError, match="read-only"):
        fused(lambda a: a + 1, into="a")(x)


@pytest.mark.parametrize(
    "make", [np.asfortranarray, lambda x: x.transpose(0, 2, 1), lambda x: x[:, ::2], lambda x: x[::-1]]
)
def test_any_memory_layout_gives_the_same_values(make):
    x, y = (make(a) for a in arrays(2, (6, 8, 10)))
    got = fused(lambda a, b: a * b + np.sqrt(abs(a)))(x, y)
    np.testing.assert_array_equal(got, x * y + np.sqrt(abs(x)))
    target = make(arrays(1, (6, 8, 10))[0])
    fused(lambda a, b: a - b, into="a")(target, y)
    np.testing.assert_array_equal(target, make(arrays(1, (6, 8, 10))[0]) - y)


def test_a_dense_permuted_array_keeps_its_memory_order():
    x = np.ones((2, 5, 4, 3), F32).transpose(0, 3, 1, 2)
    assert fused(lambda a: a * 2)(x).strides == x.strides


def test_operands_broadcast_as_in_numpy():
    x, row = arrays(1, (4, 5))[0], arrays(1, 5, seed=1)[0]
    np.testing.assert_array_equal(fused(lambda a, b: a * b)(x, row), x * row)
    with pytest.raises(ShapeError, match=r"a \(4, 5\), b \(3,\)"):
        fused(lambda a, b: a * b)(x, np.ones(3))
    with pytest.raises(ShapeError, match="cannot hold"):
        fused(lambda a, b: a * b, into="b")(x, row)


def test_a_device_array_is_computed_by_its_own_library():
    with fake_device() as device:
        p, g, m, v = (backend.for_device("fake").from_numpy(abs(a), "fake") for a in arrays(4, (3, 5)))
        host = [device_array._a.copy() for device_array in (p, g, m, v)]
        f = fused(adam, into=("p", "m", "v"))
        result = f(p, g, m, v, lr=0.1, betas=(0.9, 0.99), eps=1e-8, step=3)
        y = fused(lambda x, k: (np.where(x > k, gelu(x), 0.0), k))(p, 0.5)
        assert device.synchronizations == 0
        assert result[0] is p
        wanted = adam(*host, lr=0.1, betas=(0.9, 0.99), eps=1e-8, step=3)
        for got, want in zip(result, wanted):
            np.testing.assert_allclose(got._a, want, rtol=1e-13)
        np.testing.assert_allclose(y[0]._a, np.where(wanted[0] > 0.5, gelu(wanted[0]), 0), rtol=1e-10)
        assert y[1]._a.tolist() == [[0.5] * 5] * 3
        with pytest.raises(TypeError):
            f(p, np.ones((3, 5)), m, v, lr=0.1, betas=(0.9, 0.99), eps=1e-8, step=3)


def test_an_array_without_axes_and_a_subclass_are_arrays():
    assert fused(lambda a: a + 1)(np.array(2.0)).shape == ()
    matrix = np.ones(3).view(type("Sub", (np.ndarray,), {}))
    assert fused(lambda a: a + 1)(matrix).tolist() == [2, 2, 2]


# -- dtypes -----------------------------------------------------------------------------------------------------------


def test_numbers_are_weak_and_float32_stays_float32():
    (x,) = arrays(1, 100, F32)
    f = fused(lambda a, k, n: np.where(a > 0, a * k, a / n) + 1e-8)
    assert f(x, 0.1, 3).dtype == F32
    assert f(x, np.float64(0.1), np.int64(3)).dtype == F32
    np.testing.assert_array_equal(f(x, 0.1, 3), np.where(x > 0, x * F32(0.1), x / F32(3)) + F32(1e-8))


def test_arrays_of_several_dtypes_promote_as_in_numpy():
    x, i = arrays(1, 100, F32)[0], np.arange(100, dtype=np.int32)

    def f(a, b):
        return a * b + b // 2

    got, want = fused(f)(x, i), f(x, i)
    assert got.dtype == want.dtype == F64
    np.testing.assert_array_equal(got, want)
    assert fused(lambda a: a > 20)(i).dtype == np.bool_
    assert fused(lambda a: a / 2)(i).dtype == F64
    assert fused(lambda a: a * 2)(i).dtype == np.int32


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32_and_rounded_once(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    x = np.linspace(0.001, 2, 1001).astype(dtype)

    def f(a):
        return np.sqrt(a * a + 1e-6) - 1e-3

    for got in (fused(f)(x), fused(f)(np.repeat(x, 2)[::2])):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, f(x.astype(F32)).astype(dtype))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_parameters_are_updated_beside_float32_state(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    p, g = (a.astype(dtype) for a in arrays(2, 50_000))
    m, v = np.zeros(50_000, F32), np.zeros(50_000, F32)
    kwargs = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-8, "step": 1}
    wanted = adam(p.astype(F32), g.astype(F32), m, v, **kwargs)
    fused(adam, into=("p", "m", "v"))(p, g, m, v, **kwargs)
    assert p.dtype == dtype and m.dtype == F32
    np.testing.assert_array_equal(p, wanted[0].astype(dtype))
    np.testing.assert_allclose(v, wanted[2], rtol=1e-6)


def test_a_dtype_that_an_operation_does_not_take_is_named():
    with pytest.raises(FusedError, match=r"np\.bitwise_and does not take"):
        fused(lambda a: a & 1)(np.ones(3))


# -- special values ---------------------------------------------------------------------------------------------------


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e300, 5e-324])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 0,
        lambda x: 0 / x,
        lambda x: np.maximum(x, 0.0) - np.minimum(x, 0),
        lambda x: np.clip(x, -1, 1),
        lambda x: np.where(x == x, x, 0.0),
        lambda x: np.sign(x) + np.sqrt(x),
        lambda x: x**3 - x**2 + x**-1 + x**0.5 + x**1.5,
        lambda x: np.exp(x) / (1 + np.exp(x)),
        lambda x: np.where(np.isfinite(x) & ~(x > 1), x, -x),
    ],
)
def test_nan_and_infinity_keep_their_meaning_and_warn_of_nothing(function):
    with np.errstate(all="ignore"):
        wanted = function(SPECIAL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = fused(function)(SPECIAL)
    np.testing.assert_array_equal(got, wanted)
    assert np.array_equal(np.signbit(got), np.signbit(wanted)) or np.isnan(wanted).any()


@pytest.mark.parametrize(
    ("function", "k", "wanted"),
    [
        (lambda x, k: x / (x * 0 + 1 / k), 0.0, 0.0),
        (lambda x, k: x * np.sqrt(k), -1.0, math.nan),
        (lambda x, k: x * k**0.5, -1.0, math.nan),
        (lambda x, k: x * k**0.5, 4.0, 2.0),
        (lambda x, k: x * 10.0**k, 400, math.inf),
        (lambda x, k: x * np.exp(k), 1000, math.inf),
        (lambda x, k: x * np.log(k), 0, -math.inf),
        (lambda x, k: x * (k / 0), 0, math.nan),
        (lambda x, k: x * 2**k, -1, 0.5),
        (lambda x, k: x * (k // 2 + k % 2), 7, 4.0),
        (lambda x, k: x * np.maximum(k, 3) * np.minimum(k, 1) * abs(-k), 2, 6.0),
        (lambda x, k: x * np.where(k > 1, k * 3, 5), 2, 6.0),
        (lambda x, k: x * np.where(k > 1, k * 3, 5.5), 1, 5.5),
        (lambda x, k: x * np.cbrt(k), 27, 3.0),
        (lambda x, k: x + 1 / k if k > 0 else x, 0.0, 1.0),
        (lambda x, k: x + 5 if 1 / k > 3 else x, 0.0, 6.0),
        (lambda x, k: np.where(k > 0, x, -x), 2.0, 1.0),
        (lambda x, k: np.where(k > 0, x, -x), -2.0, -1.0),
        (lambda x, k: np.where(~(k > 0), x, -x), -2.0, 1.0),
    ],
)
def test_what_depends_on_numbers_only_follows_numpys_rules(function, k, wanted):
    assert fused(function)(np.ones(3), k).tolist() == pytest.approx([wanted] * 3, nan_ok=True)


def test_negative_zero_and_equal_constants_of_different_types_stay_apart():
    f = fused(lambda x: (x * 0.0, x * -0.0, x * 1, x * 1.0))
    a, b, c, d = f(np.arange(1, 4))
    assert not np.signbit(a).any() and np.signbit(b).all()
    assert c.dtype == np.int64 and d.dtype == F64


# -- what it costs ----------------------------------------------------------------------------------------------------


def test_equal_expressions_are_computed_once_and_numbers_once_per_call():
    f = fused(lambda x, k: np.exp(x * (1 - k)) / (1 + np.exp(x * (1 - k))))
    source = f.source(np.ones(3), 0.5)
    assert source.count("np_exp(") == 1 and source.count("np_multiply(") == 1
    scalars, kernel = source.split("def kernel")
    assert "1 - k" in scalars and "1 - k" not in kernel


def test_steady_calls_allocate_nothing():
    p, g, m, v = arrays(4, 50_000, F32)
    v = abs(v)
    f = fused(adam, into=("p", "m", "v"))

    def run(first, last):
        for step in range(first, last):
            f(p, g, m, v, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, step=step)

    run(1, 4)
    tracemalloc.start()
    try:
        run(4, 6)
        gc.collect()  # also empties the interpreter's free lists, which grow for a while
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run(6, 60)
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2_000
    assert peak - before < 50_000  # one float32 temporary would be 200,000


def test_scratch_is_shared_by_all_functions_of_a_thread():
    from lunar_core.fusion.run import _workspace

    (x,) = arrays(1, 100_000)
    fused(lambda a: np.exp(a) * (a + 1) / (np.sin(a) + (a - 2) * (a + 3)))(x)
    before = {dtype: len(chunks) for dtype, chunks in _workspace.chunks.items()}
    for k in range(5):
        fused(lambda a, k=k: np.exp(a) * (a + k) / np.sin(a))(x)
    assert {dtype: len(chunks) for dtype, chunks in _workspace.chunks.items()} == before


# -- the object -------------------------------------------------------------------------------------------------------


def test_the_packages_name_is_the_decorator_also_when_optimizers_were_imported():
    code = "import lunar_core as lc, lunar_core.contracts.optimizer\nassert lc.fused(lambda x: x + 1)(1) == 2\nlc.fused.compilers"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_looks_like_the_function_and_can_be_copied_and_pickled():
    f = fused(into="x")(named)
    assert f.__name__ == "named" and f.__doc__ == "Add one."
    assert copy.deepcopy(f) is f
    again = pickle.loads(pickle.dumps(Fused(named, "x")))
    x = np.zeros(2)
    assert again(x) is x and x.tolist() == [1, 1]
    assert repr(f) == "<fused named(x)>"


def named(x):
    """Add one."""
    return x + 1


def test_parameter_names_never_collide_with_generated_ones():
    f = fused(
        lambda start, i, s0, k0, np_add, out0, v1, math: (start + i * s0, k0 - np_add * out0, v1 * start + 1 / math)
    )
    x = arrays(6, 10)
    got = f(*x, 2.0, 3.0)
    np.testing.assert_array_equal(got[0], x[0] + x[1] * x[2])
    np.testing.assert_array_equal(got[1], x[3] - x[4] * x[5])
    np.testing.assert_array_equal(got[2], 2.0 * x[0] + 1 / 3.0)
