"""Permutations by index: bijective, seekable, and as random as an order of examples has to be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core.errors import HyperparameterError, IndexingError
from lunar_core.permutation import TABLE, Permutation, shuffled

LARGE = 100_003


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1000, TABLE, TABLE + 1, LARGE, 1 << 17, (1 << 17) + 1])
def test_every_number_comes_once(n):
    order = shuffled(n, 5)[:]
    assert order.dtype == np.int64 and len(order) == n
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


@given(n=st.integers(1, 1 << 61), seed=st.integers(0, 1 << 40), epoch=st.integers(0, 1 << 40), data=st.data())
def test_any_place_is_found_without_the_others(n, seed, epoch, data):
    order = shuffled(n, epoch, seed) if n > TABLE else shuffled(n % 1000 + 1, epoch, seed)
    places = data.draw(st.lists(st.integers(0, len(order) - 1), min_size=1, max_size=20, unique=True))
    entries = order[np.array(places)]
    assert len(set(entries.tolist())) == len(places) and entries.min() >= 0 and entries.max() < len(order)
    assert [order[p] for p in places] == entries.tolist()
    assert order[places[0] : places[0] + 1].tolist() == [entries[0]]


def test_it_depends_on_seed_and_epoch_and_on_nothing_else():
    lc.seed(3)
    for n in (50, LARGE):
        first = shuffled(n, 7)[:]
        lc.random.permutation(10)
        np.testing.assert_array_equal(shuffled(n, 7)[:], first)
        np.testing.assert_array_equal(shuffled(n, 7, 3)[:], first)
        assert (shuffled(n, 8)[:] != first).any() and (shuffled(n, 7, 4)[:] != first).any()


def test_a_small_one_is_numpys():
    generator = lc.random.generator("shuffle", 2)
    np.testing.assert_array_equal(shuffled(1000, 2)[:], generator.permutation(1000))


def test_a_large_one_looks_random():
    # 64 x 64 table of (place, entry), 63^2 degrees of freedom: mean 3969, standard deviation 89
    for epoch in range(8):
        order = shuffled(LARGE, epoch)[:]
        table = np.histogram2d(np.arange(LARGE), order, bins=64)[0]
        expected = LARGE / 64**2
        assert abs(((table - expected) ** 2 / expected).sum() - 3969) < 5 * 89
        steps = np.diff(order) % LARGE  # uniform for a random order
        assert abs(np.histogram(steps, bins=64)[0] - LARGE / 64).max() < 6 * np.sqrt(LARGE / 64)
        assert (order == np.arange(LARGE)).sum() < 8  # fixed points: one on average


def test_epochs_are_unrelated():
    first = shuffled(LARGE, 0)[:]
    for epoch in range(1, 9):
        assert abs(np.corrcoef(first, shuffled(LARGE, epoch)[:])[0, 1]) < 5 / np.sqrt(LARGE)


def test_indices_follow_numpy():
    for n in (40, LARGE):
        order = shuffled(n, 0)
        whole = order[:]
        assert order[-1] == whole[-1] and isinstance(order[3], int)
        np.testing.assert_array_equal(order[5:30:3], whole[5:30:3])
        np.testing.assert_array_equal(order[np.array([[1, -2], [0, 4]])], whole[[[1, -2], [0, 4]]])
        with pytest.raises(IndexingError):
            order[n]
        with pytest.raises(IndexingError):
            order[np.array([-n - 1])]


def test_a_negative_size_is_refused():
    with pytest.raises(HyperparameterError, match="0 to 2\\^62"):
        Permutation(-1, np.random.default_rng(0))
