"""ctc_loss agrees with PyTorch in value and, behind a log_softmax, in its gradient (float64)."""

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
def test_ctc_loss(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    length, batch, classes = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 4)), data.draw(st.integers(2, 5))
    blank = data.draw(st.integers(0, classes - 1))
    counts = [data.draw(st.integers(0, 4)) for _ in range(batch)]
    lengths = [data.draw(st.integers(1, length)) for _ in range(batch)]
    labels = rng.choice([c for c in range(classes) if c != blank], (batch, max(*counts, 1)))
    if data.draw(st.booleans()):
        targets = np.concatenate([row[:n] for row, n in zip(labels, counts)])
    else:
        targets = labels
    reduction = data.draw(st.sampled_from(["none", "mean", "sum"]))
    logits = rng.normal(scale=2, size=(length, batch, classes))

    def ours(x, zero=True):
        return ops.ctc_loss(ops.log_softmax(x, -1), targets, lengths, counts, blank, reduction, zero)

    def theirs(x, zero=True):
        t = torch.from_numpy
        return torch.nn.functional.ctc_loss(
            torch.log_softmax(x, -1), t(targets), t(np.array(lengths)), t(np.array(counts)), blank, reduction, zero
        )

    assert_same(ours, theirs, logits, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(ours(logits, False), theirs(torch.from_numpy(logits), False).numpy(), rtol=1e-10)


def test_one_sequence_without_a_batch_axis():
    logits = np.random.default_rng(0).normal(size=(5, 4))
    assert_same(
        lambda x: ops.ctc_loss(ops.log_softmax(x, -1), np.array([1, 2]), 5, 2),
        lambda x: torch.nn.functional.ctc_loss(
            torch.log_softmax(x, -1), torch.tensor([1, 2]), torch.tensor(5), torch.tensor(2)
        ),
        logits,
    )
