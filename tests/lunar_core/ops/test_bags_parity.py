"""embedding_bag agrees with PyTorch, forward and gradient, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st
from same_function import assert_same

from lunar_core import ops

pytestmark = pytest.mark.parity


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_embedding_bag(data):
    mode = data.draw(st.sampled_from(["sum", "mean", "max"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rows, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 3))
    weight = rng.normal(size=(rows, width))
    last = False
    if data.draw(st.booleans()):
        indices, offsets = rng.integers(0, rows, (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5)))), None
    else:
        lengths = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
        indices = rng.integers(0, rows, sum(lengths))
        ends = np.cumsum(lengths)
        last = data.draw(st.booleans())
        offsets = np.concatenate([[0], ends if last else ends[:-1]])
    scale = rng.normal(size=indices.shape) if mode == "sum" and data.draw(st.booleans()) else None
    padding = data.draw(st.none() | st.integers(0, rows - 1))
    assert_same(
        lambda w, s: ops.embedding_bag(indices, w, offsets, mode, s, padding, last),
        lambda w, s: torch.nn.functional.embedding_bag(
            torch.from_numpy(indices), w, None if offsets is None else torch.from_numpy(offsets), mode=mode,
            per_sample_weights=s, padding_idx=padding, include_last_offset=last,
        ),
        weight, scale,
    )  # fmt: skip
