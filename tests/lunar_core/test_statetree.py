"""Nested state as plain data and arrays: everything comes back, and nothing else is accepted."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core.errors import SerializationError
from lunar_core.statetree import MAX_DEPTH, pack, unpack

ARRAYS = st.sampled_from(
    [
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.array(3.5),
        np.zeros((0, 2), np.float32),
        np.array([1 + 2j, np.nan]),
        np.array([True, False]),
        np.array([1.5, 2.5], ml_dtypes.bfloat16),
    ]
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers() | ARRAYS
)
KEYS = st.text() | st.integers() | st.tuples(st.integers(), st.text())
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


def same(a, b):
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


@given(TREES)
def test_a_tree_comes_back_through_json_and_safetensors(tmp_path_factory, tree):
    plain, arrays = pack(tree)
    path = tmp_path_factory.mktemp("tree") / "arrays.safetensors"
    lc.save(arrays, path)
    text = json.dumps(plain, allow_nan=False)
    assert same(unpack(json.loads(text), lc.load(path)), tree)


def test_arrays_are_named_by_their_place_and_not_copied():
    weight = np.ones(3)
    plain, arrays = pack({"a": [weight, lc.tensor([1.0])], "b": {"c": weight}}, "opt")
    assert list(arrays) == ["opt.a.0", "opt.a.1", "opt.b.c"]
    assert arrays["opt.a.0"] is weight
    assert plain == {"a": [{"@array": "opt.a.0"}, {"@array": "opt.a.1"}], "b": {"c": {"@array": "opt.b.c"}}}


def test_names_that_meet_are_told_apart():
    tree = {"a.b": np.zeros(1), "a": {"b": np.ones(1)}}
    plain, arrays = pack(tree)
    assert len(arrays) == 2
    assert same(unpack(plain, arrays), tree)


def test_numpy_scalars_become_numbers():
    plain, arrays = pack([np.float32(0.5), np.int64(3), np.bool_(True), np.complex64(1j)])
    assert unpack(plain, arrays) == [0.5, 3, True, 1j]


@pytest.mark.parametrize(
    "value", [print, object(), {1, 2}, np.array([print], object)], ids=["function", "object", "set", "objects"]
)
def test_what_is_no_data_is_refused_with_its_place(value):
    with pytest.raises(SerializationError, match=r"at x\.1"):
        pack({"x": [0, value]})


def test_nesting_has_a_limit():
    tree = []
    for _ in range(MAX_DEPTH + 1):
        tree = [tree]
    with pytest.raises(SerializationError, match="nested"):
        pack(tree)
    for _ in range(3 * MAX_DEPTH):
        tree = [tree]
    with pytest.raises(SerializationError, match="malformed"):
        unpack(tree, {})


@pytest.mark.parametrize(
    "plain",
    [
        {"@array": "missing"},
        {"@array": 3},
        {"@array": "a", "@tuple": []},
        {"@tuple": {}},
        {"@float": "1e400"},
        {"@float": 1},
        {"@complex": [1]},
        {"@complex": ["1", "2"]},
        {"@bytes": "not base64!"},
        {"@dict": [[1]]},
        {"@dict": [[[], 1]]},
        {"@unknown": 1},
        {"@array": "a", "complex128": [3]},
        {"@array": "a", "complex128": "x"},
        {"x": 1, "@float": "nan"},
    ],
    ids=str,
)
def test_a_malformed_tree_is_refused(plain):
    with pytest.raises(SerializationError, match="the file is malformed"):
        unpack({"x": plain}, {"a": np.zeros(4)}, "the file")
