"""The public names of lunar_core.testing, and what its hypothesis strategies make."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import testing
from lunar_core.errors import DTypeError, GradientError
from lunar_core.op import OPS
from lunar_core.testing import strategies as lst


def test_the_public_names_are_documented_and_there():
    assert testing.__all__ == sorted(testing.__all__)
    for name in testing.__all__:
        assert getattr(testing, name).__doc__, name
    for name in lst.__all__:
        if callable(getattr(lst, name)):
            assert getattr(lst, name).__doc__, name


def test_the_package_is_imported_without_hypothesis():
    code = (
        "import sys; sys.modules['hypothesis'] = None; import lunar_core.testing as t; t.gradcheck, t.check_op\n"
        "try: t.strategies\nexcept ImportError as exc: assert 'pip install hypothesis' in str(exc), exc\n"
        "else: raise SystemExit('no error')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_gradient_checks_accept_a_right_rule_and_name_a_wrong_one():
    x = lc.tensor(np.array([0.4, 1.3]), requires_grad=True)
    assert testing.gradcheck(lambda x: x * x, [x]) and testing.gradgradcheck(lambda x: x**3, [x])
    assert testing.check_op(OPS["exp"]) == len(OPS["exp"].samples())

    def wrong(x):
        return x * x.detach()

    with pytest.raises(GradientError, match="input 0"):
        testing.gradcheck(wrong, [x])
    with pytest.raises(DTypeError, match="float32"):
        testing.gradcheck(lambda x: x, [lc.tensor([1.0], requires_grad=True)])


@given(lst.shapes(1, 3, min_side=2, max_side=4))
def test_shapes_keep_their_limits(shape):
    assert 1 <= len(shape) <= 3 and all(2 <= n <= 4 for n in shape)


@given(lst.broadcastable_shapes(3))
def test_broadcastable_shapes_broadcast(shapes):
    assert len(shapes) == 3
    np.broadcast_shapes(*shapes)


@given(lst.dtypes("half", "unsigned"))
def test_dtypes_are_of_the_kinds_named(dtype):
    assert dtype.name in {*lst.KINDS["half"], *lst.KINDS["unsigned"]}


def test_an_unknown_kind_of_dtype_is_refused():
    with pytest.raises(DTypeError, match="unknown kind 'float'"):
        lst.dtypes("float")


@given(st.data())
def test_axes_and_indices_fit_the_array(data):
    x = data.draw(lst.arrays("int64", lst.shapes(min_side=1)))
    np.sum(x, axis=data.draw(lst.axes(x.ndim)))
    x[data.draw(lst.indices(x.shape))]
    x[data.draw(lst.indices(x.shape, advanced=False))]


@given(lst.arrays(lst.dtypes("numeric", "half"), low=0, high=3))
def test_arrays_keep_their_limits(x):
    for part in (x.real, x.imag) if x.dtype.kind == "c" else (x,):
        assert ((part >= 0) & (part <= 3)).all()


@given(lst.arrays("int8", (200,), low=None, high=None))
def test_integers_without_limits_are_all_that_the_dtype_holds(x):
    assert x.dtype == np.int8 and x.shape == (200,)


@given(lst.arrays("float32", (3,), unique=True))
def test_elements_may_be_asked_to_differ(x):
    assert len(set(x.tolist())) == 3


@given(lst.tensors("bfloat16", (2, 2), requires_grad=True))
def test_tensors_may_be_leaves(x):
    assert isinstance(x, lc.Tensor) and x.requires_grad and x.dtype.name == "bfloat16"


def test_special_values_are_drawn_on_request():
    from hypothesis import find

    assert np.isnan(find(lst.arrays("float64", (1,), special=True), lambda a: np.isnan(a).any())).all()
