"""Creation, conversion and dtypes of the array API namespace agree with NumPy, or keep the promises of the standard."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core.errors import DTypeError, ShapeError
from lunar_core.testing import strategies as lst

xp = lc.tensor(0.0).__array_namespace__()
T = lc.tensor
DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128"


def same(got, expected):
    """Equal in shape, dtype and value."""
    if isinstance(expected, (tuple, list)):
        for a, b in zip(got, expected, strict=True):
            same(a, b)
        return
    assert isinstance(got, lc.Tensor) and (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-15)


def test_creation_takes_the_default_dtype_of_each_kind():
    defaults = xp.__array_namespace_info__().default_dtypes()
    assert (
        xp.asarray(1.5).dtype
        == xp.linspace(0, 1, 3).dtype
        == xp.zeros(2).dtype
        == defaults["real floating"]
        == xp.float32
    )
    assert xp.asarray([1, 2]).dtype == xp.arange(3).dtype == xp.full(2, 3).dtype == defaults["integral"] == xp.int64
    assert xp.asarray(1j).dtype == xp.full((), 1j).dtype == defaults["complex floating"] == xp.complex64
    assert xp.asarray([True]).dtype == xp.full((), False).dtype == xp.bool
    with lc.default_dtype("float64"):
        assert xp.asarray(1j).dtype == xp.complex128 and xp.eye(2).dtype == xp.float64


def test_creation_agrees():
    same(xp.arange(1, 9, 3), np.arange(1, 9, 3))
    same(xp.arange(0.0, 1.0, 0.25, dtype=xp.float64), np.arange(0, 1, 0.25))
    same(xp.linspace(0, 1, 4, endpoint=False, dtype=xp.float64), np.linspace(0, 1, 4, endpoint=False))
    same(xp.linspace(0, 1j, 3, dtype=xp.complex128), np.linspace(0, 1j, 3))
    same(xp.eye(2, 3, k=1, dtype=xp.int32), np.eye(2, 3, 1, dtype="int32"))
    same(xp.full((2,), fill_value=3.0, dtype=xp.float64), np.full(2, 3.0))
    x = T(np.ones((2, 3)))
    same(xp.full_like(x, fill_value=2, dtype=xp.int8), np.full((2, 3), 2, "int8"))
    same(xp.ones_like(x, device="cpu"), np.ones((2, 3)))
    same(xp.zeros_like(x), np.zeros((2, 3)))
    assert xp.empty_like(x, dtype=xp.int16).dtype == xp.int16 and xp.empty((2, 1), device="cpu").shape == (2, 1)
    same(xp.meshgrid(xp.arange(2), xp.arange(3), indexing="ij"), np.meshgrid(np.arange(2), np.arange(3), indexing="ij"))
    same(xp.tril(x, k=-1), np.tril(np.ones((2, 3)), -1))
    same(xp.triu(x, k=1), np.triu(np.ones((2, 3)), 1))


def test_asarray_copies_only_when_asked_or_needed():
    a = np.arange(3.0)
    x = xp.asarray(a)
    assert x.data is a and xp.asarray(x) is x and xp.asarray(x, copy=False) is x
    assert xp.asarray(x, copy=True).data is not a and xp.asarray(a, dtype=xp.int32).dtype == xp.int32
    same(xp.asarray(memoryview(a)), a)
    with pytest.raises(ValueError, match="needs a copy"):
        xp.asarray(x, dtype=xp.float32, copy=False)
    with pytest.raises(ValueError, match="list"):
        xp.asarray([1.0], copy=False)
    w = T([1.0], requires_grad=True)
    assert xp.asarray(w) is w and xp.asarray(w, dtype=xp.float64).requires_grad


def test_astype_converts_and_copies_by_default():
    x = T([1.5, -2.0])
    assert xp.astype(x, xp.int32).tolist() == [1, -2] and xp.astype(x, x.dtype).data is not x.data
    assert xp.astype(x, x.dtype, copy=False) is x and xp.astype(x, xp.float64, device="cpu").dtype == xp.float64
    with pytest.raises(DTypeError, match="complex"):
        xp.astype(T([1j]), xp.float32)
    w = T([1.0, 2.0], requires_grad=True)
    xp.astype(w, xp.float64).sum().backward()
    assert w.grad.tolist() == [1, 1]


def test_reshape_says_when_it_would_copy():
    x = xp.reshape(xp.arange(6), (2, 3))
    assert xp.reshape(x, (3, 2), copy=False).shape == (3, 2) and xp.reshape(x, (6,), copy=True).data.base is None
    with pytest.raises(ShapeError, match="needs a copy"):
        xp.reshape(x.T, (6,), copy=False)


@given(lst.dtypes(), lst.dtypes())
def test_promotion_and_casting_agree(a, b):
    assert xp.result_type(a, b) == np.result_type(a, b) and xp.can_cast(a, b) == np.can_cast(a, b)
    assert xp.result_type(xp.zeros(2, dtype=a), b) == np.result_type(a, b)
    assert xp.can_cast(xp.zeros(2, dtype=a), b) == np.can_cast(a, b)


def test_numbers_are_weak_in_promotion():
    assert xp.result_type(xp.float32, 1.0) == xp.float32 and xp.result_type(xp.zeros((), dtype=xp.int8), 1) == xp.int8


KIND_WORDS = ["bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric"]


@given(lst.dtypes(), st.sampled_from(KIND_WORDS))
def test_kinds_of_dtypes_agree(dtype, kind):
    assert xp.isdtype(dtype, kind) == np.isdtype(dtype, kind)
    assert xp.isdtype(dtype, (kind, dtype)) and xp.isdtype(dtype, dtype)


def test_bfloat16_is_a_real_floating_dtype():
    dtype = lc.zeros(1, dtype="bfloat16").dtype
    assert xp.isdtype(dtype, "real floating") and xp.isdtype(dtype, "numeric") and not xp.isdtype(dtype, "integral")
    assert xp.finfo(dtype).bits == 16 and xp.finfo(dtype).eps == 2**-7
    with pytest.raises(DTypeError, match="unknown kind"):
        xp.isdtype(dtype, "float")


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_limits_of_floating_dtypes_agree(dtype):
    own, numpy = xp.finfo(xp.zeros(1, dtype=dtype)), np.finfo(dtype)
    assert [own.bits, own.eps, own.max, own.min, own.smallest_normal, own.dtype] == [
        numpy.bits, numpy.eps, numpy.max, numpy.min, numpy.smallest_normal, numpy.dtype
    ]  # fmt: skip
    assert type(own.eps) is float
    with pytest.raises(DTypeError, match="int8"):
        xp.finfo(xp.int8)


def test_limits_of_integer_dtypes_agree():
    for dtype in lst.KINDS["integer"]:
        own = xp.iinfo(dtype)
        assert (own.bits, own.max, own.min) == (np.iinfo(dtype).bits, np.iinfo(dtype).max, np.iinfo(dtype).min)
    with pytest.raises(DTypeError, match="float32"):
        xp.iinfo(xp.float32)


def test_the_namespace_says_what_it_can_do():
    info = xp.__array_namespace_info__()
    assert info.capabilities() == {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}
    assert info.default_device() in info.devices()
    assert set(info.dtypes()) == set(DTYPES.split()) and info.dtypes()["int8"] == xp.int8
    assert set(info.dtypes(kind="real floating")) == {"float32", "float64"}
    assert set(info.dtypes(kind=("bool", "complex floating"))) == {"bool", "complex64", "complex128"}


def test_constants_are_those_of_mathematics():
    assert (xp.e, xp.pi, xp.inf, xp.newaxis) == (math.e, math.pi, math.inf, None) and math.isnan(xp.nan)
