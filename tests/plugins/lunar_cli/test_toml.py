"""The TOML writer against the standard library's reader."""

from __future__ import annotations

import math
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_cli.toml import dumps

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=12)


@settings(deadline=None)
@given(st.dictionaries(text, values))
def test_what_is_written_reads_back_equal(data):
    assert tomllib.loads(dumps(data)) == data


def test_a_run_looks_as_one_would_write_it():
    data = {"epochs": 3, "metrics": ["accuracy"], "optimizer": {"@optimizer": "adam", "lr": 1e-3, "betas": (0.9, 0.99)}}
    assert dumps(data) == (
        'epochs = 3\nmetrics = ["accuracy"]\n\n[optimizer]\n"@optimizer" = "adam"\nlr = 0.001\nbetas = [0.9, 0.99]\n'
    )


def test_none_is_left_out_and_nan_is_kept():
    back = tomllib.loads(dumps({"a": None, "b": float("nan"), "c": {"d": None}}))
    assert back.keys() == {"b", "c"}
    assert math.isnan(back["b"])
    assert back["c"] == {}


@pytest.mark.parametrize("data", [{"a": object()}, {"a": [None]}, {3: "x"}, {"a": b"x"}])
def test_what_toml_cannot_say_is_refused(data):
    with pytest.raises(TypeError):
        dumps(data)
