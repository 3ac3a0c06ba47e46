"""Counter-based randomness: a draw depends on seed, purpose and index only."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import random
from lunar_core.errors import HyperparameterError, StateError


def test_the_same_seed_gives_the_same_numbers_and_another_one_others():
    lc.seed(3)
    first = random.normal((4,)).numpy()
    lc.seed(3)
    np.testing.assert_array_equal(random.normal((4,)).numpy(), first)
    lc.seed(4)
    assert not np.array_equal(random.normal((4,)).numpy(), first)


def test_the_nth_draw_does_not_depend_on_those_before_it_or_on_other_purposes():
    lc.seed(1)
    stream = random.stream("dropout")
    drawn = [stream.next().random(3) for _ in range(5)]
    lc.seed(1)
    random.stream("shuffle").next().random(1000)
    np.testing.assert_array_equal(random.stream("dropout").at(4).random(3), drawn[4])
    random.stream("dropout").index = 2
    np.testing.assert_array_equal(random.stream("dropout").next().random(3), drawn[2])


def test_neighbouring_indices_and_purposes_do_not_overlap():
    a = random.stream("a").at(0).random(10_000)
    b = random.stream("a").at(1).random(10_000)
    c = random.stream("b").at(0).random(10_000)
    assert len(np.intersect1d(a, b)) == len(np.intersect1d(a, c)) == 0
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.04


def test_the_state_is_plain_data_and_restores_the_future():
    lc.seed(9)
    random.normal((2,))
    saved = random.state()
    future = [random.normal((3,)).numpy(), random.permutation(5).numpy()]
    lc.seed(1)
    random.load_state(saved)
    np.testing.assert_array_equal(random.normal((3,)).numpy(), future[0])
    np.testing.assert_array_equal(random.permutation(5).numpy(), future[1])


def test_preserved_undoes_what_its_block_drew():
    before = random.normal(()).item()
    lc.seed(0)
    with random.preserved():
        random.normal((10,))
    assert random.normal(()).item() == before


@pytest.mark.parametrize("bad", [-1, 1.5, "7", None, True])
def test_a_bad_seed_is_refused(bad):
    with pytest.raises(HyperparameterError, match="non-negative int"):
        lc.seed(bad)


def test_a_state_that_is_none_is_refused_and_nothing_changes():
    lc.seed(5)
    with pytest.raises(StateError, match="not a random state"):
        random.load_state({"seed": 1})
    assert random.current_seed() == 5


def test_distributions_have_their_moments():
    lc.seed(0)
    u, n = random.uniform((100_000,), -1, 3).numpy(), random.normal((100_000,), 2.0, 0.5).numpy()
    assert u.dtype == np.float32 and u.min() >= -1 and u.max() < 3 and abs(u.mean() - 1) < 0.02
    assert abs(n.mean() - 2) < 0.01 and abs(n.std() - 0.5) < 0.01
    assert set(random.integers(0, 3, (1000,)).tolist()) == {0, 1, 2}
