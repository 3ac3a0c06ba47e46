"""The adding problem of length 50 is learned by those that remember, and not by the one that does not."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import adding_problem


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_it_is_learned(kind):
    error, _ = adding_problem.train(kind)
    assert adding_problem.LENGTH == 50
    assert error < 0.01


def test_a_plain_recurrent_network_stays_at_the_variance_of_the_target():
    error, _ = adding_problem.train("rnn", steps=500)
    assert 0.1 < error < 0.3
