"""Samplers: what an epoch takes, in which order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar_core.errors import DataError, HyperparameterError
from lunar_data import (
    BucketByLength,
    ClassBalanced,
    Given,
    Loader,
    Random,
    Sequential,
    Shard,
    Stratified,
    Weighted,
)

LABELS = np.repeat([0, 1, 2], [60, 30, 10])
LENGTHS = np.random.default_rng(0).integers(1, 50, 257)
SAMPLERS = {
    "sequential": Sequential(100),
    "random": Random(100),
    "random of many": Random(100_000),
    "given": Given([5, 3, 99, 7]),
    "weighted": Weighted(np.arange(1.0, 101)),
    "weighted without replacement": Weighted(np.arange(1.0, 101), 60, replacement=False),
    "stratified": Stratified(LABELS),
    "class balanced": ClassBalanced(LABELS, 95),
    "bucket": BucketByLength(LENGTHS, pool=4),
    "tokens": BucketByLength(LENGTHS, pool=4, max_tokens=200),
    "shard": Shard(Random(100), 1, 3),
    "shard of buckets": Shard(BucketByLength(LENGTHS, pool=4), 1, 3),
    "shard of draws": Shard(Weighted(np.ones(100), 5000), 2, 3),
}


def taken(sampler, epoch=0, seed=0, batch_size=8, drop_last=False):
    plan = sampler.plan(epoch, seed, batch_size, drop_last)
    return [plan[b] for b in range(len(plan))]


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_epoch_is_the_same_from_any_batch_on(name):
    sampler = SAMPLERS[name]
    whole = taken(sampler, 3, 7)
    again = sampler.plan(3, 7, 8, False)
    for b in np.random.default_rng(0).permutation(len(again))[:30]:
        np.testing.assert_array_equal(again[int(b)], whole[b])
        assert again[int(b)].dtype == np.int64
    positions = [again.first(b) for b in range(len(again))]
    assert len(set(positions)) == len(positions)
    if name not in ("sequential",):
        other = taken(sampler, 4, 7), taken(sampler, 3, 8)
        assert all(np.concatenate(o).tolist() != np.concatenate(whole).tolist() for o in other)


@pytest.mark.parametrize("name", ["sequential", "random", "stratified", "bucket", "tokens"])
def test_every_example_comes_once(name):
    sampler = SAMPLERS[name]
    np.testing.assert_array_equal(np.sort(np.concatenate(taken(sampler))), np.arange(sampler.n))


def test_weights_are_probabilities():
    weights = np.array([0, 1, 2, 0, 7, 0])
    draws = np.concatenate(taken(Weighted(weights, 100_000), batch_size=1000))
    counts = np.bincount(draws, minlength=6)
    assert counts[[0, 3, 5]].sum() == 0
    np.testing.assert_allclose(counts / 1e5, weights / 10, atol=5 * np.sqrt(0.25 / 1e5))


def test_without_replacement_the_first_draw_follows_the_weights_and_none_comes_twice():
    weights = np.array([1.0, 2, 3, 4, 0])
    firsts = []
    for epoch in range(4000):
        order = Weighted(weights, 4, replacement=False).order(epoch, 0)
        assert sorted(order) == [0, 1, 2, 3]
        firsts.append(order[0])
    np.testing.assert_allclose(np.bincount(firsts, minlength=5) / 4000, weights / 10, atol=5 * np.sqrt(0.25 / 4000))


@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=8), epoch=st.integers(0, 10))
def test_stratified_keeps_the_shares_in_every_beginning(counts, epoch):
    labels = np.repeat(np.arange(len(counts)), counts)
    order = Stratified(labels).order(epoch, 0)
    n = len(labels)
    seen = np.cumsum(labels[order][:, None] == np.arange(len(counts)), axis=0)
    due = np.arange(1, n + 1)[:, None] * np.array(counts) / n
    assert (np.abs(seen - due) <= 0.5 + len(counts) * np.array(counts) / (2 * n) + 1e-9).all()


def test_class_balanced_gives_each_class_its_turn_and_wears_no_member_out():
    order = ClassBalanced(LABELS, 600).order(0, 0)
    assert np.bincount(LABELS[order]).tolist() == [200, 200, 200]
    for k in range(0, 600, 3):
        assert sorted(LABELS[order[k : k + 3]]) == [0, 1, 2]
    rare = np.bincount(order)[90:]
    assert rare.tolist() == [20] * 10
    common = np.bincount(order, minlength=100)[:60]
    assert common.min() == 3 and common.max() == 4


def test_buckets_hold_similar_lengths():
    batches = taken(BucketByLength(LENGTHS, pool=100), batch_size=8)
    spread = np.mean([np.ptp(LENGTHS[ids]) for ids in batches])
    assert spread < np.mean([np.ptp(LENGTHS[ids]) for ids in taken(Random(len(LENGTHS)))]) / 10
    assert sorted(map(len, batches)) == [1, *[8] * 32]
    assert [len(b) for b in taken(BucketByLength(LENGTHS), drop_last=True)] == [8] * 32


def test_a_batch_of_tokens_does_not_pass_its_limit():
    lengths = np.append(LENGTHS, 500)
    for ids in taken(BucketByLength(lengths, max_tokens=200), batch_size=64):
        assert len(ids) * lengths[ids].max() <= 200 or len(ids) == 1


@given(n=st.integers(1, 200), world=st.integers(1, 7), drop=st.booleans(), batch_size=st.integers(1, 9))
def test_shards_are_the_whole(n, world, drop, batch_size):
    if drop and n < world:
        with pytest.raises(DataError, match="leave some with nothing"):
            Shard(Random(n), 0, world, drop=True)
        return
    whole = np.concatenate(taken(Random(n), batch_size=batch_size))
    parts = [np.concatenate(taken(Shard(Random(n), r, world, drop), batch_size=batch_size)) for r in range(world)]
    assert len({len(part) for part in parts}) == 1
    together = np.stack(parts, axis=1).reshape(-1)
    if drop:
        np.testing.assert_array_equal(together, whole[: n - n % world])
    else:
        np.testing.assert_array_equal(together, np.resize(whole, len(together)))


def test_shards_of_batches_are_batches():
    whole = taken(BucketByLength(LENGTHS, pool=4))
    parts = [taken(Shard(BucketByLength(LENGTHS, pool=4), r, 3, drop=True)) for r in range(3)]
    for i in range(len(whole) // 3 * 3):
        np.testing.assert_array_equal(parts[i % 3][i // 3], whole[i])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Weighted([0.0, 0.0]), "not all zero"),
        (lambda: Weighted([1.0, -1.0]), "one number >= 0 per example"),
        (lambda: Weighted([1.0, 0.0], 2, replacement=False), "at most 1"),
        (lambda: Given([]), "indices >= 0"),
        (lambda: Given([0.5]), "indices >= 0"),
        (lambda: Shard(Random(4), 4, 4), "in 0..3"),
        (lambda: BucketByLength([-1]), "one int >= 0"),
        (lambda: Stratified([]), "one class per example"),
        (lambda: Random(0), "an int > 0"),
        (lambda: ClassBalanced([1, 2], 0), "size must be an int > 0"),
    ],
    ids=["zero", "negative", "too many", "nothing", "fraction", "rank", "length", "labels", "empty", "size"],
)
def test_what_cannot_be_sampled_is_refused(make, message):
    with pytest.raises(HyperparameterError, match=message):
        make()


def test_an_order_that_asks_for_too_much_is_refused():
    with pytest.raises(DataError, match="is for 11 examples, the data has 5"):
        Loader(np.zeros(5), sampler=[0, 10])
