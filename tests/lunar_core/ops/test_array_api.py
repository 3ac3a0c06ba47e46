"""The Python array API standard 2024.12: every name is there, and every function agrees with NumPy's main namespace.

NumPy 2 implements the standard, so it is the oracle; values are drawn by hypothesis over shapes, dtypes and axes.
"""

import functools
import inspect

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core.testing import strategies as lst

xp = lc.tensor(0.0).__array_namespace__()

# the index of the standard, https://data-apis.org/array-api/2024.12/API_specification/
CREATION = (
    "arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril triu zeros "
    "zeros_like"
)
DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128"
DTYPE_FUNCTIONS = "astype can_cast finfo iinfo isdtype result_type"
UNARY_REAL = "ceil floor trunc"
UNARY_FLOAT = (
    "acos acosh asin asinh atan atanh cos cosh exp expm1 log log1p log2 log10 sin sinh sqrt tan tanh reciprocal"
)
UNARY_NUMERIC = "abs negative positive round sign square isfinite isinf isnan real imag conj"
UNARY_OTHER = "signbit bitwise_invert logical_not"
BINARY_NUMERIC = "add subtract multiply equal not_equal pow"
BINARY_REAL = "floor_divide remainder maximum minimum less less_equal greater greater_equal"
BINARY_FLOAT = "atan2 copysign hypot logaddexp nextafter divide"
BINARY_BITS = "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift"
BINARY_LOGICAL = "logical_and logical_or logical_xor"
INDEXING = "take take_along_axis"
LINEAR = "matmul matrix_transpose tensordot vecdot"
MANIPULATION = (
    "broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile "
    "unstack"
)
SEARCHING = "argmax argmin count_nonzero nonzero searchsorted where"
SETS = "unique_all unique_counts unique_inverse unique_values"
SORTING = "argsort sort"
STATISTICAL = "cumulative_prod cumulative_sum max mean min prod std sum var"
UTILITY = "all any diff clip"
CONSTANTS = "e inf nan newaxis pi"
OTHER = "__array_api_version__ __array_namespace_info__ linalg fft"
NAMES = " ".join(
    [
        CREATION, DTYPES, DTYPE_FUNCTIONS, UNARY_REAL, UNARY_FLOAT, UNARY_NUMERIC, UNARY_OTHER, BINARY_NUMERIC, BINARY_REAL,
        BINARY_FLOAT, BINARY_BITS, BINARY_LOGICAL, INDEXING, LINEAR, MANIPULATION, SEARCHING, SETS, SORTING, STATISTICAL, UTILITY,
        CONSTANTS, OTHER,
    ]
).split()  # fmt: skip
LINALG = (
    "cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank matrix_transpose outer pinv qr "
    "slogdet solve svd svdvals tensordot trace vecdot vector_norm"
).split()
FFT = "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift".split()
ATTRIBUTES = "dtype device mT ndim shape size T".split()
METHODS = (
    "abs add and array_namespace bool complex dlpack dlpack_device eq float floordiv ge getitem gt index int invert le lshift "
    "lt matmul mod mul ne neg or pos pow rshift setitem sub truediv xor radd rsub rmul rtruediv rfloordiv rpow rmod rmatmul rand "
    "ror rxor rlshift rrshift"
).split()


@pytest.mark.parametrize("name", NAMES)
def test_the_namespace_has_every_name_of_the_standard(name):
    assert hasattr(xp, name)
    assert name in xp.__all__


def test_nothing_else_is_exported():
    assert set(xp.__all__) == set(NAMES)


@pytest.mark.parametrize(("extension", "names"), [("linalg", LINALG), ("fft", FFT)])
def test_the_extensions_are_complete(extension, names):
    assert [n for n in names if not callable(getattr(getattr(xp, extension), n, None))] == []


def test_tensors_have_every_attribute_and_method_of_the_standard():
    x = lc.tensor([[1.0]])
    assert [n for n in [*ATTRIBUTES, *[f"__{m}__" for m in METHODS], "to_device"] if not hasattr(x, n)] == []
    assert x.__array_namespace__(api_version="2024.12") is xp and xp.__array_api_version__ == "2024.12"
    with pytest.raises(ValueError, match="1999"):
        x.__array_namespace__(api_version="1999.01")
    assert x.to_device("cpu") is x and x.to_device(x.device, stream=None) is x


def test_signatures_take_every_keyword_of_the_reference_implementation():
    strict = pytest.importorskip("array_api_strict")
    missing = []
    for part, names in (("", NAMES), ("linalg", LINALG), ("fft", FFT)):
        theirs, ours = (functools.reduce(getattr, filter(None, [part]), m) for m in (strict, xp))
        for name in names:
            function = getattr(theirs, name)
            if not inspect.isfunction(function):
                continue
            taken = inspect.signature(getattr(ours, name)).parameters
            wanted = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
            missing += [f"{part}.{name}({k}=)" for k in wanted if k not in taken]
    assert missing == []


def test_the_lists_of_names_are_those_of_the_reference_implementation():
    strict = pytest.importorskip("array_api_strict")
    with strict.ArrayAPIStrictFlags(api_version="2024.12"):
        own = {n for n in strict.__all__ if "lags" not in n and n not in ("Device", "__version__")}
    assert own - {"isin", "broadcast_shapes"} == set(NAMES)  # those two are of the version after
    assert set(strict.linalg.__all__) == set(LINALG) and set(strict.fft.__all__) == set(FFT)


# -- values ------------------------------------------------------------------------------------------------------------


def same(got, expected, rtol=None):
    """Equal in shape and dtype, and in value up to a few units in the last place."""
    if isinstance(expected, (tuple, list)):
        assert len(got) == len(expected)
        for a, b in zip(got, expected):
            same(a, b, rtol)
        return
    expected = np.asarray(expected)
    assert isinstance(got, lc.Tensor)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    if rtol is None:
        rtol = 1e-5 if expected.dtype in (np.float32, np.complex64) else 1e-12
    np.testing.assert_allclose(got.numpy(), expected, rtol=rtol, atol=rtol)


def quiet(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return inner


EXAMPLES = settings(max_examples=25, deadline=None)
T = lc.tensor
UNARY = (
    [(n, ("real", "integer")) for n in UNARY_REAL.split()]
    + [(n, ("real", "complex")) for n in UNARY_FLOAT.split()]
    + [(n, ("numeric",)) for n in UNARY_NUMERIC.split()]
    + [("signbit", ("real",)), ("bitwise_invert", ("integer", "bool")), ("logical_not", ("bool",))]
)
BINARY = (
    [(n, ("numeric",)) for n in BINARY_NUMERIC.split()]
    + [(n, ("integer", "real")) for n in BINARY_REAL.split()]
    + [(n, ("real",)) for n in BINARY_FLOAT.split()]
    + [("divide", ("complex",))]
    + [(n, ("integer",)) for n in BINARY_BITS.split()]
    + [(n, ("bool",)) for n in BINARY_LOGICAL.split()]
)


@pytest.mark.parametrize(("name", "kinds"), UNARY, ids=[n for n, _ in UNARY])
@EXAMPLES
@given(data=st.data())
@quiet
def test_functions_of_one_array_agree(name, kinds, data):
    x = data.draw(lst.arrays(lst.dtypes(*kinds), low=-4, high=4, special=kinds == ("real",)))
    same(getattr(xp, name)(T(x)), getattr(np, name)(x), rtol=2e-6 if x.dtype.itemsize <= 8 else 1e-12)


@pytest.mark.parametrize(("name", "kinds"), BINARY, ids=[f"{n}-{k[0]}" for n, k in BINARY])
@EXAMPLES
@given(data=st.data())
@quiet
def test_functions_of_two_arrays_broadcast_and_agree(name, kinds, data):
    dtype = data.draw(lst.dtypes(*kinds))
    low = 0 if name in ("pow", "bitwise_left_shift", "bitwise_right_shift") else -5
    a, b = data.draw(lst.broadcastable_shapes(2))
    x, y = (data.draw(lst.arrays(dtype, s, low=low, high=5)) for s in (a, b))
    if dtype.kind in "iu" and name in ("floor_divide", "remainder"):
        y = np.where(y == 0, np.ones_like(y), y)
    assume(
        not (dtype.kind == "c" and name in ("pow", "divide") and not (np.abs(x) > 0.1).all() & (np.abs(y) > 0.1).all())
    )
    same(getattr(xp, name)(T(x), T(y)), getattr(np, name)(x, y), rtol=1e-5 if dtype.kind in "fc" else None)
    if x.dtype.kind == "f" and name != "nextafter":  # numbers are weak
        same(getattr(xp, name)(T(x), 2.0), getattr(np, name)(x, 2.0), rtol=1e-5)
        same(getattr(xp, name)(2.0, T(x)), getattr(np, name)(2.0, x), rtol=1e-5)


OPERATORS = {
    "numeric": ["__add__", "__sub__", "__mul__", "__eq__", "__ne__", "__radd__", "__rsub__", "__rmul__"],
    "real": [
        "__truediv__",
        "__floordiv__",
        "__mod__",
        "__lt__",
        "__le__",
        "__gt__",
        "__ge__",
        "__rtruediv__",
        "__pow__",
    ],
    "integer": ["__and__", "__or__", "__xor__", "__lshift__", "__rshift__", "__rand__", "__ror__", "__rxor__"],
}


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, ns in OPERATORS.items() for n in ns])
@EXAMPLES
@given(data=st.data())
@quiet
def test_operators_agree_also_with_python_numbers(kind, name, data):
    dtype = data.draw(lst.dtypes(kind))
    a, b = data.draw(lst.broadcastable_shapes(2))
    x, y = (data.draw(lst.arrays(dtype, s, low=0 if "shift" in name else 1, high=5)) for s in (a, b))
    same(getattr(T(x), name)(T(y)), getattr(x, name)(y))
    number = 2 if dtype.kind in "iu" else 2.0
    same(getattr(T(x), name)(number), getattr(x, name)(number))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float32", "float64"])
def test_a_python_number_never_widens_an_array_without_axes(dtype):
    x = T(3, dtype=dtype)
    assert {(x + 1).dtype, (1 - x).dtype, (2 * x).dtype, (2**x).dtype, (x // 2).dtype} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "all", "any", "count_nonzero", "std", "var"])
@EXAMPLES
@given(data=st.data())
def test_reductions_agree(name, data):
    kinds = {
        "sum": ("numeric",),
        "prod": ("numeric",),
        "all": ("all",),
        "any": ("all",),
        "count_nonzero": ("all",),
    }.get(name)
    kinds = kinds or (("real",) if name in ("mean", "std", "var") else ("real", "integer"))
    x = data.draw(lst.arrays(lst.dtypes(*kinds), lst.shapes(min_side=1), low=-2, high=3))
    how = {"axis": data.draw(lst.axes(x.ndim)), "keepdims": data.draw(st.booleans())}
    if name in ("std", "var"):
        how["correction"] = 0.0
    same(getattr(xp, name)(T(x), **how), getattr(np, name)(x, **how), rtol=1e-4)
    if name in ("sum", "prod"):
        same(getattr(xp, name)(T(x), dtype=xp.complex128), getattr(np, name)(x, dtype="complex128"))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@EXAMPLES
@given(data=st.data())
def test_positions_of_extrema_agree(name, data):
    x = data.draw(lst.arrays(lst.dtypes("real", "integer"), lst.shapes(1, min_side=1)))
    how = {"axis": data.draw(lst.axes(x.ndim, tuples=False)), "keepdims": data.draw(st.booleans())}
    same(getattr(xp, name)(T(x), **how), getattr(np, name)(x, **how))


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod", "diff", "sort", "argsort", "roll", "flip"])
@EXAMPLES
@given(data=st.data())
def test_functions_along_an_axis_agree(name, data):
    x = data.draw(lst.arrays(lst.dtypes("real", "integer"), lst.shapes(1, min_side=1), low=-3, high=3))
    how = {"axis": data.draw(st.integers(-x.ndim, x.ndim - 1))}
    theirs = dict(how)
    if name.startswith("cum"):
        how["include_initial"] = theirs["include_initial"] = data.draw(st.booleans())
    elif name == "diff":
        how["n"] = theirs["n"] = data.draw(st.integers(0, 3))
        theirs["prepend"] = how["prepend"] = x[(slice(None),) * (how["axis"] % x.ndim) + (slice(0, 1),)]
        how["prepend"] = T(how["prepend"])
    elif name == "roll":
        how["shift"] = theirs["shift"] = data.draw(st.integers(-5, 5))
    elif "sort" in name:
        theirs["stable"] = True
        if data.draw(st.booleans()):
            how["descending"] = True
            order = x.shape[how["axis"]] - 1 - np.flip(np.argsort(np.flip(x, how["axis"]), **theirs), how["axis"])
            expected = order if name == "argsort" else np.take_along_axis(x, order, how["axis"])
            return same(getattr(xp, name)(T(x), **how), expected)
    same(getattr(xp, name)(T(x), **how), getattr(np, name)(x, **theirs), rtol=1e-5)


@EXAMPLES
@given(data=st.data())
def test_reading_by_index_agrees_and_writing_too(data):
    x = data.draw(lst.arrays("float64", lst.shapes(min_side=1, max_dims=3)))
    index = data.draw(lst.indices(x.shape))
    same(T(x)[index], x[index])
    own, other = T(x), x.copy()
    own[index] = 7.0
    other[index] = 7.0
    same(own, other)


@EXAMPLES
@given(data=st.data())
def test_manipulations_agree(data):
    x = data.draw(lst.arrays(lst.dtypes("all"), lst.shapes(1, min_side=1, max_dims=3)))
    order = data.draw(st.permutations(range(x.ndim)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    t = T(x)
    same(xp.permute_dims(t, tuple(order)), np.permute_dims(x, tuple(order)))
    same(xp.moveaxis(t, axis, 0), np.moveaxis(x, axis, 0))
    same(xp.expand_dims(t, axis=axis), np.expand_dims(x, axis))
    same(xp.squeeze(xp.expand_dims(t, axis=axis), axis), x)
    same(xp.concat([t, t], axis=axis), np.concat([x, x], axis=axis))
    same(xp.concat([t, t], axis=None), np.concat([x, x], axis=None))
    same(xp.stack([t, t], axis=axis), np.stack([x, x], axis=axis))
    same(xp.unstack(t, axis=axis), np.unstack(x, axis=axis))
    same(xp.reshape(t, (-1,)), x.reshape(-1))
    same(xp.repeat(t, 2, axis=axis), np.repeat(x, 2, axis))
    counts = np.arange(x.shape[axis])
    same(xp.repeat(t, T(counts), axis=axis), np.repeat(x, counts, axis))
    same(xp.tile(t, (2, 1)), np.tile(x, (2, 1)))
    same(xp.broadcast_to(t, (2, *x.shape)), np.broadcast_to(x, (2, *x.shape)))
    same(xp.flip(t), np.flip(x))
    places = np.array([0, -1])
    same(xp.take(t, T(places), axis=axis), np.take(x, places, axis=axis))
    along = np.zeros(tuple(1 if i == axis % x.ndim else n for i, n in enumerate(x.shape)), np.int64)
    same(xp.take_along_axis(t, T(along), axis=axis), np.take_along_axis(x, along, axis))
    same(xp.nonzero(t), np.nonzero(x))
    same(xp.where(t == t, t, xp.zeros_like(t)), x)


@EXAMPLES
@given(data=st.data())
def test_broadcasting_arrays_agrees(data):
    arrays = [data.draw(lst.arrays("int64", s)) for s in data.draw(lst.broadcastable_shapes(3))]
    same(xp.broadcast_arrays(*map(T, arrays)), np.broadcast_arrays(*arrays))


@pytest.mark.parametrize("name", SETS.split())
@EXAMPLES
@given(data=st.data())
def test_sets_agree_and_tell_nans_apart(name, data):
    x = data.draw(lst.arrays(lst.dtypes("real", "integer"), low=-2, high=2, special=True))
    got, expected = getattr(xp, name)(T(x)), getattr(np, name)(x)
    if name == "unique_values":
        expected = np.sort(expected)  # the standard leaves the order open, and ours is the ascending one
    same(got, tuple(expected) if isinstance(expected, tuple) else expected)
    if name != "unique_values":
        assert got._fields == expected._fields
        assert name == "unique_counts" or got.inverse_indices.shape == x.shape


@EXAMPLES
@given(data=st.data())
def test_searching_in_order_agrees(data):
    ordered = np.sort(data.draw(lst.arrays("float64", lst.shapes(1, 1))))
    values = data.draw(lst.arrays("float64"))
    for side in ("left", "right"):
        same(xp.searchsorted(T(ordered), T(values), side=side), np.searchsorted(ordered, values, side=side))
    places = np.argsort(-ordered)
    shuffled = ordered[places]
    sorter = np.argsort(shuffled)
    same(xp.searchsorted(T(shuffled), T(values), sorter=T(sorter)), np.searchsorted(shuffled, values, sorter=sorter))


@EXAMPLES
@given(data=st.data())
def test_clipping_takes_numbers_and_arrays(data):
    a, b, c = data.draw(lst.broadcastable_shapes(3))
    shape = np.broadcast_shapes(a, b, c)
    x = data.draw(lst.arrays("float64", shape))
    low, high = data.draw(lst.arrays("float64", b)), data.draw(lst.arrays("float64", c)) + 11
    same(xp.clip(T(x), T(low), T(high)), np.clip(x, low, high))
    same(xp.clip(T(x), min=-1.0), np.clip(x, -1.0, None))
    same(xp.clip(T(x), max=T(high)), np.clip(x, None, high))
    same(xp.clip(T(x), -1.0, 1), np.clip(x, -1.0, 1))


# -- gradients ---------------------------------------------------------------------------------------------------------

DIFFERENTIABLE = {
    "clip": lambda x: xp.clip(x, min=0.0, max=xp.asarray(1.4, dtype=xp.float64)),
    "cumulative_prod": lambda x: xp.cumulative_prod(x, axis=0, include_initial=True),
    "cumulative_sum": lambda x: xp.cumulative_sum(x, axis=1, include_initial=True),
    "diff": lambda x: xp.diff(x, n=2, prepend=1.0),
    "sort": lambda x: xp.sort(x, descending=True),
    "take_along_axis": lambda x: xp.take_along_axis(x, xp.argsort(x)),
    "std": lambda x: xp.std(x, axis=0, correction=1.0),
    "nextafter": lambda x: xp.nextafter(x, xp.asarray(9.0, dtype=xp.float64)),
    "concat": lambda x: xp.concat([x, x * x], axis=None),
    "broadcast_arrays": lambda x: xp.broadcast_arrays(x, xp.zeros((2, 1, 1)))[0],
    "unstack": lambda x: xp.unstack(x, axis=1)[1],
    "trace": lambda x: xp.linalg.trace(x[:, :3], dtype=xp.float64),
    "vector_norm": lambda x: xp.linalg.vector_norm(x, ord=3),
    "pinv": lambda x: xp.linalg.pinv(x, rtol=xp.asarray(1e-12, dtype=xp.float64)),
    "matrix_norm": lambda x: xp.linalg.matrix_norm(x, ord="nuc"),
    "rfft": lambda x: xp.abs(xp.fft.rfft(x)),
    "astype": lambda x: xp.astype(x, xp.complex128),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_pass_through_the_standard_functions(name):
    x = T(np.array([[0.3, 1.9, -0.7, 2.2], [1.1, 0.4, 2.6, -1.3], [0.9, -2.1, 1.7, 0.6]]), requires_grad=True)
    assert lc.testing.gradcheck(DIFFERENTIABLE[name], [x]) and lc.testing.gradgradcheck(DIFFERENTIABLE[name], [x])
