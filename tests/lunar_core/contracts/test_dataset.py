"""The dataset contract: indexing, splitting, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_core.contracts.dataset import ArrayDataset, Dataset, ExampleDataset, IterableDataset, Subset
from lunar_core.errors import DataError, HyperparameterError, IndexingError


class Labelled(ArrayDataset):
    """Examples numbered 0, 1, ... whose labels the test gives."""

    def __init__(self, labels):
        self.labels = np.asarray(labels)
        self.reads = 0

    def read(self):
        self.reads += 1
        return np.arange(len(self.labels), dtype=np.float32)[:, None], self.labels


def test_an_integer_gives_one_example_and_anything_else_a_batch():
    data = Labelled([3, 1, 4, 1, 5])
    x, y = data[2]
    assert (x.shape, x.item(), y) == ((1,), 2, 4)
    assert data[-1][1] == 5
    assert data[np.int32(1)][1] == 1
    for index in (slice(1, 3), [1, 2], np.array([1, 2]), np.array([False, True, True, False, False]), (1, 2)):
        x, y = data[index]
        np.testing.assert_array_equal(x, [[1], [2]])
        np.testing.assert_array_equal(y, [1, 4])
    assert data[[]][0].shape == (0, 1)
    assert [int(y) for _, y in data] == [3, 1, 4, 1, 5]
    assert len(data.arrays()) == 2


@pytest.mark.parametrize("index", [5, -6, [0, 5], [[0, 1]], 1.0, "a", None, [True, False], [[1], [2, 3]]])
def test_an_index_that_does_not_fit_is_refused(index):
    with pytest.raises(IndexingError):
        Labelled([3, 1, 4, 1, 5])[index]


def test_data_is_read_once_and_at_the_first_use():
    data = Labelled([1, 2])
    assert data.reads == 0
    assert len(data) == 2
    data.arrays()
    assert data.reads == 1


def test_no_example_and_ragged_arrays_are_refused():
    with pytest.raises(DataError, match="no example"):
        len(Labelled([]))

    class Ragged(ArrayDataset):
        def read(self):
            return np.ones(3), np.ones(2)

    with pytest.raises(DataError, match=r"\[3, 2\]"):
        len(Ragged())


def test_a_class_that_leaves_a_method_out_is_told_which():
    class Nothing(Dataset):
        pass

    with pytest.raises(NotImplementedError, match="Nothing must define __len__"):
        len(Nothing())


@settings(deadline=None, max_examples=100)
@given(
    counts=st.lists(st.integers(2, 30), min_size=1, max_size=6),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 100),
)
def test_a_stratified_split_divides_every_class_in_proportion(counts, fraction, seed):
    labels = np.repeat(np.arange(len(counts)) * 7 - 3, counts)
    data = Labelled(np.random.default_rng(0).permutation(labels))
    n = len(labels)
    held_out = int(np.ceil(fraction * n - 1e-9))
    if not len(counts) <= held_out <= n - len(counts):
        with pytest.raises(DataError):
            data.split(fraction, seed=seed)
        return
    first, second = data.split(fraction, seed=seed)
    both = np.concatenate([first.indices, second.indices])
    np.testing.assert_array_equal(np.sort(both), np.arange(n))
    assert len(second) == held_out
    for label, count in zip(np.unique(labels), counts):
        quota = count * held_out / n
        got = int((second.arrays()[1] == label).sum())
        assert got == quota if quota == int(quota) else abs(got - quota) < 1


def test_a_split_depends_on_its_seed_alone():
    data = Labelled(np.arange(100) % 4)
    first = data.split(0.25, seed=1)
    np.random.seed(5)
    again = Labelled(np.arange(100) % 4).split(0.25, seed=1)
    other = data.split(0.25, seed=2)
    for a, b, c in zip(first, again, other):
        np.testing.assert_array_equal(a.indices, b.indices)
        assert not np.array_equal(a.indices, c.indices)
    assert not np.array_equal(np.sort(first[0].indices), first[0].indices)


def test_a_split_is_the_same_on_every_machine_and_version():
    train, test = Labelled(np.arange(12) % 3).split(0.25, seed=0)
    assert test.indices.tolist() == [8, 9, 10]
    assert train.indices.tolist() == [3, 6, 4, 0, 11, 1, 2, 7, 5]


def test_without_stratify_any_target_will_do():
    first, second = Labelled(np.random.default_rng(0).normal(size=10)).split(0.3, stratify=False)
    assert (len(first), len(second)) == (7, 3)
    assert sorted([*first.indices, *second.indices]) == list(range(10))


def test_seven_tenths_of_ten_is_seven():
    assert len(Labelled(np.arange(10)).split(0.7, stratify=False)[1]) == 7


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, float("nan"), "half"])
def test_a_fraction_outside_of_zero_and_one_is_refused(fraction):
    with pytest.raises(HyperparameterError, match="fraction"):
        Labelled([0, 0, 1, 1]).split(fraction)


@pytest.mark.parametrize(
    ("labels", "fraction", "words"),
    [
        ([0], 0.5, "1 example"),
        ([0, 0], 0.9, "one part would be empty"),
        ([0, 0, 0, 1], 0.5, r"class\(es\) \[1\] have one"),
        ([0, 0, 1, 1, 2, 2], 0.2, "fewer examples than the 3 classes"),
        ([0.5, 0.5, 1.0], 0.5, "stratify=False"),
    ],
)
def test_a_split_that_cannot_be_is_explained(labels, fraction, words):
    with pytest.raises(DataError, match=words):
        Labelled(labels).split(fraction)


def test_a_subset_is_a_dataset_and_can_be_split_again():
    data = Labelled(np.arange(20) % 2)
    part = Subset(data, [4, 5, 8, 9])
    np.testing.assert_array_equal(part[1:3][0], [[5], [8]])
    assert part[-1][0].item() == 9
    assert part.card.size == 4
    assert part.fields == data.fields
    a, b = part.split(0.5)
    assert sorted(a.arrays()[0].ravel().tolist() + b.arrays()[0].ravel().tolist()) == [4, 5, 8, 9]
    assert len(Subset(data, slice(3, 6))) == 3
    with pytest.raises(IndexingError):
        Subset(data, [20])
    with pytest.raises(IndexingError):
        part[4]


class Squares(ExampleDataset):
    """Example i is a vector and a dict that holds its square; the vectors of ``ragged`` ones differ in length."""

    ragged: bool = False

    def __len__(self):
        return 6

    def example(self, index):
        assert type(index) is int and 0 <= index < 6
        return np.full(index if self.ragged else 2, index), {"square": index**2}


def test_examples_that_are_read_one_by_one_are_stacked():
    data = Squares()
    x, y = data[-1]
    assert x.tolist() == [5, 5] and y == {"square": 25}
    for index in ([4, -6], np.array([4, 0]), slice(4, None, -4), np.array([True, False, False, False, True, False])):
        x, y = data[index]
        assert sorted(x[:, 0].tolist()) == [0, 4] and sorted(y["square"].tolist()) == [0, 16]
    assert data.arrays()[0].shape == (6, 2) and len(list(data)) == 6
    assert Subset(data, [3, 2])[:][1]["square"].tolist() == [9, 4]
    with pytest.raises(IndexingError):
        data[6]
    with pytest.raises(DataError, match="Pad"):
        Squares(ragged=True)[:]


def test_targets_are_the_last_field_and_follow_a_subset():
    data = Labelled([3, 1, 4, 1, 5])
    assert data.targets().tolist() == [3, 1, 4, 1, 5]
    assert Subset(data, [4, 0]).targets().tolist() == [5, 3]


def test_a_stream_is_begun_anew_by_each_pass():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([1, 2])

    stream = Stream()
    stream.set_epoch(3)
    assert list(stream) == list(stream) == [1, 2] and not hasattr(stream, "__len__")
    with pytest.raises(NotImplementedError, match="must define __iter__"):
        iter(IterableDataset())
