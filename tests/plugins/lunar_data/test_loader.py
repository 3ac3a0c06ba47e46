"""The loader in one process: structures, order, state, augmentation, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loader_parts import Broken, Counting, Gain, Numbers, Ragged, jitter, swap

import lunar_core as lc
from lunar_core.contracts.dataset import ArrayDataset, Subset
from lunar_core.contracts.transform import example_generator
from lunar_core.errors import DataError, HyperparameterError, IndexingError, StateError
from lunar_core.permutation import shuffled
from lunar_core.tensor import Tensor
from lunar_data import Digits, ExampleError, Given, Loader, Pad, ShuffleBuffer, Weighted

X, Y = np.arange(60, dtype=np.float32).reshape(20, 3), np.arange(20)


def test_arrays_come_as_tensors_in_their_structure():
    first = next(iter(Loader((X, Y), 8)))
    assert isinstance(first, tuple) and all(isinstance(part, Tensor) for part in first)
    np.testing.assert_array_equal(first[0].data, X[:8])
    named = next(iter(Loader({"image": X, "label": Y}, 8)))
    assert named["label"].tolist() == list(range(8))
    assert next(iter(Loader(X, 8))).shape == (8, 3)
    assert next(iter(Loader(lc.tensor(X), 8))).shape == (8, 3)


def test_a_list_holds_examples():
    batch = next(iter(Loader([(1.0, {"t": "a", "n": 2})] * 5, 3)))
    assert batch[0].dtype == np.float32 and batch[1]["t"] == ["a"] * 3 and batch[1]["n"].tolist() == [2] * 3


@pytest.mark.parametrize("drop_last", [False, True], ids=["kept", "dropped"])
def test_the_last_batch_may_be_left_out(drop_last):
    loader = Loader((X, Y), 8, drop_last=drop_last)
    sizes = [len(y) for _, y in loader]
    assert sizes == ([8, 8] if drop_last else [8, 8, 4]) and len(loader) == len(sizes)


def test_the_order_is_that_of_the_trainer():
    lc.seed(11)
    loader = Loader((X, Y), 8, shuffle=True)
    for epoch in range(3):
        ids = np.concatenate([y.data for _, y in loader])
        np.testing.assert_array_equal(ids, shuffled(20, epoch)[:])


def test_an_epoch_that_was_left_is_run_again_and_a_complete_one_counts():
    loader = Loader((X, Y), 8, shuffle=True)
    first = next(iter(loader))[1].tolist()
    assert loader.epoch == 0
    assert next(iter(loader))[1].tolist() == first
    assert len(list(loader)) == 3 and loader.epoch == 1
    assert next(iter(loader))[1].tolist() != first


def test_reading_whole_batches_and_single_examples_give_the_same():
    digits = Digits()
    whole = Loader(digits, 100, shuffle=True)
    single = Loader(digits, 100, shuffle=True, transform=lambda example: example)
    for (x, y), (u, v) in zip(whole, single, strict=True):
        np.testing.assert_array_equal(x.data, u.data)
        np.testing.assert_array_equal(y.data, v.data)


def test_a_subset_and_an_example_dataset_load():
    part = Subset(Numbers(), [5, 3, 1])
    x, y = next(iter(Loader(part, 3)))
    assert y.tolist() == [5, 3, 1] and x[:, 0].tolist() == [50, 30, 10]


def test_ragged_examples_are_padded():
    tokens, texts, numbers = next(iter(Loader(Ragged(), 4, collate=Pad(-1))))
    assert tokens.tolist()[0] == [0, -1, -1, -1] and texts[1] == "text 1" and numbers.tolist() == [0, 1, 2, 3]


def test_any_function_collates():
    assert next(iter(Loader(Numbers(), 4, collate=len))) == 4


@given(
    n=st.integers(1, 60),
    batch_size=st.integers(1, 17),
    drop_last=st.booleans(),
    stop=st.integers(0, 200),
    seed=st.integers(0, 1000),
    weighted=st.booleans(),
)
def test_a_run_that_was_stopped_goes_on_with_the_same_bytes(n, batch_size, drop_last, stop, seed, weighted):
    def make():
        sampler = {"sampler": Weighted(np.arange(1, n + 1))} if weighted else {"shuffle": True}
        return Loader(Numbers(n), batch_size, **sampler, drop_last=drop_last, transform=jitter, batch_transform=swap)

    def run(loader, epochs, ids):
        made = []
        while loader.epoch < epochs:
            batches = loader.batches()
            for x, y in batches:
                made.append((x.tobytes(), y.tobytes()))
                ids.append(batches.ids.tolist())
                yield made, loader

    lc.seed(seed)
    ids: list[list[int]] = []
    whole = []
    for made, _ in run(make(), 3, ids):
        whole.append(made[-1])
    if not whole:
        assert drop_last and n < batch_size
        return
    stop %= len(whole)
    loader, seen = make(), []
    state = loader.state()
    if stop:
        for _ in run(loader, 3, seen):
            if len(seen) == stop:
                state = loader.state()
                break
    lc.seed(seed + 1)  # the state carries the seed
    other = make()
    other.load_state(state)
    rest_ids: list[list[int]] = []
    rest = [made[-1] for made, _ in run(other, 3, rest_ids)]
    assert rest == whole[stop:] and rest_ids == ids[stop:]


def test_seeking_reads_nothing_before():
    data = Numbers(10_000)
    loader = Loader(data, 10, shuffle=True)
    whole = [y.tolist() for _, y in Loader(Numbers(10_000), 10, shuffle=True)]
    loader.set_epoch(0, 900)
    assert next(iter(loader))[1].tolist() == whole[900]
    assert data.read == 10


def test_augmentation_belongs_to_the_example_not_to_its_place():
    def views(**order):
        loader = Loader(Numbers(), 7, transform=jitter, **order)
        return {int(i): x.tobytes() for xs, ys in loader.batches() for x, i in zip(xs, ys)}

    assert views() == views(shuffle=True) == views(sampler=list(range(39, -1, -1)))
    loader = Loader(Numbers(), 40, transform=jitter)
    first, second = next(loader.batches())[0].tobytes(), None
    loader.set_epoch(1)
    second = next(loader.batches())[0].tobytes()
    assert first != second


def test_an_example_that_comes_twice_looks_different():
    loader = Loader(Numbers(), 4, sampler=Given([3, 3, 3, 3], shuffle=False), transform=jitter)
    (x, _) = next(loader.batches())
    assert len({row.tobytes() for row in x}) == 4


def test_what_is_drawn_elsewhere_changes_nothing():
    def bytes_of_epoch():
        return [x.tobytes() for x, _ in Loader(Numbers(), 8, shuffle=True, transform=jitter).batches()]

    first = bytes_of_epoch()
    lc.random.normal((3,))
    np.random.random(3)
    assert bytes_of_epoch() == first
    lc.seed(1)
    assert bytes_of_epoch() != first


@pytest.mark.parametrize("sampler", [None, Weighted(np.arange(1, 21))], ids=["sequential", "weighted"])
def test_a_transform_of_whole_batches_gives_the_bytes_of_single_ones(sampler):
    gain = Gain()

    def one_by_one(example, rng):
        return gain(example, rng)

    class Whole(ArrayDataset):
        def read(self):
            return X, Y

    made = [
        [(x.tobytes(), y.tobytes()) for x, y in Loader(data, 8, sampler=sampler, transform=transform).batches()]
        for data in ((X, Y), Whole())
        for transform in (gain, one_by_one)
    ]
    assert made[0] == made[1] == made[2] == made[3]
    if sampler is None:
        x, _ = next(Loader((X, Y), 8, transform=gain).batches())
        np.testing.assert_array_equal(x[3], gain(X[3], example_generator(0, 3)))
    with pytest.raises(
        ExampleError, match=r"example 10 \(batch 1 of epoch 0\): transform failed with ValueError: too bright"
    ):
        list(Loader((X, Y), 8, transform=Gain(limit=31.0)))


def test_a_transform_may_do_without_a_generator():
    x, _ = next(iter(Loader((X, Y), 4, transform=lambda example: (example[0] * 2, example[1]))))
    np.testing.assert_array_equal(x.data, X[:4] * 2)
    x, _ = next(iter(Loader((X, Y), 4, batch_transform=lambda batch: (batch[0] * 2, batch[1]))))
    np.testing.assert_array_equal(x.data, X[:4] * 2)


def test_an_error_names_the_example():
    with pytest.raises(
        ExampleError, match=r"example 17 \(batch 2 of epoch 0\): reading failed with OSError: the file"
    ) as e:
        list(Loader(Broken(), 8))
    assert e.value.index == 17 and isinstance(e.value.__cause__, OSError) and e.value.original is e.value.__cause__

    def fails(example):
        return 1 / (int(example[1]) - 5)

    with pytest.raises(
        ExampleError, match=r"example 5 \(batch 1 of epoch 0\): transform failed with ZeroDivision"
    ) as e:
        list(Loader(Numbers(), 4, transform=fails))
    assert "in fails" in e.value.trace
    with pytest.raises(ExampleError, match=r"examples 0, 1, 2 \(batch 0 of epoch 0\): collating failed") as e:
        list(Loader(Ragged(), 3))
    assert e.value.index == [0, 1, 2] and "lunar_data.Pad()" in str(e.value)


def test_an_error_in_a_batch_that_is_read_at_once_names_the_example():
    class Table(ArrayDataset):
        def read(self):
            return X, Y

        def __getitem__(self, index):
            if 13 in np.atleast_1d(index):
                raise ValueError("row 13 is damaged")
            return super().__getitem__(index)

    with pytest.raises(ExampleError, match=r"example 13 \(batch 1"):
        list(Loader(Table(), 8))


def test_a_stream_comes_in_its_order_and_can_be_resumed():
    loader = Loader(Counting(23), 5)
    assert [len(x) for x in loader] == [5, 5, 5, 5, 3]
    second = [x.tolist() for x in loader]
    assert second[0] == [100, 101, 102, 103, 104]
    assert [len(x) for x in Loader(Counting(23), 5, drop_last=True)] == [5] * 4
    loader.set_epoch(1, 3)
    assert [x.tolist() for x in loader] == second[3:]
    with pytest.raises(TypeError):
        len(loader)


def test_a_stream_is_skipped_through_where_it_can_be():
    class Skipping(Counting):
        def __iter__(self):
            return Walk()

    class Walk:
        place, skipped = 0, 0

        def __iter__(self):
            return self

        def __next__(self):
            if self.place == 23:
                raise StopIteration
            self.place += 1
            return np.float32(self.place - 1)

        def skip(self, n):
            assert n == 15
            self.place += n

    loader = Loader(Skipping(), 5)
    loader.set_epoch(0, 3)
    assert [x.tolist() for x in loader] == [[15, 16, 17, 18, 19], [20, 21, 22]]


def test_a_shuffle_buffer_gives_everything_once_and_another_order_each_epoch():
    stream = ShuffleBuffer(list(range(100)), 10, seed=3)
    loader = Loader(stream, 100)
    first, second = next(iter(loader)).tolist(), None
    loader.set_epoch(1)
    second = next(iter(loader)).tolist()
    assert sorted(first) == sorted(second) == list(range(100)) and first != second
    assert all(number <= place + 10 for place, number in enumerate(first))
    assert list(stream) == second


def test_the_state_of_another_loader_is_refused():
    state = Loader((X, Y), 8, shuffle=True).state()
    assert state["batch"] == 0 and state["epoch"] == 0
    for other in (Loader((X, Y), 7, shuffle=True), Loader((X, Y), 8), Loader((X[:9], Y[:9]), 8, shuffle=True)):
        with pytest.raises(StateError, match="that of another loader"):
            other.load_state(state)
    with pytest.raises(StateError, match="not a loader's state"):
        Loader((X, Y)).load_state({})


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Loader((X, Y[:3])), DataError, "20 at 0, 3 at 1"),
        (lambda: Loader((X, 3)), DataError, "the data at 1 is int"),
        (lambda: Loader(7), DataError, "got int"),
        (lambda: Loader([]), DataError, "no examples"),
        (lambda: Loader((X, Y), 0), HyperparameterError, "batch_size must be an int >= 1"),
        (lambda: Loader((X, Y), workers=-1), HyperparameterError, "workers must be an int >= 0"),
        (lambda: Loader((X, Y), start="thread"), HyperparameterError, "'fork', 'spawn' or 'forkserver'"),
        (lambda: Loader((X, Y), shuffle=True, sampler=[1]), DataError, "both decide on the order"),
        (lambda: Loader(Counting(), shuffle=True), DataError, "order of an iterable is its own"),
        (lambda: Loader(iter([1]), workers=1), DataError, "walked only once"),
        (lambda: Loader((X, Y)).set_epoch(-1), HyperparameterError, "must be >= 0"),
    ],
    ids=["lengths", "number", "int", "empty", "size", "workers", "start", "order", "stream", "generator", "epoch"],
)
def test_what_cannot_be_loaded_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_sampler_of_ones_own_is_checked():
    class Wrong(Given):
        def order(self, epoch, seed):
            return np.array([3, 20])

    with pytest.raises(IndexingError, match=r"asks for example 20, the data has 0\.\.19"):
        list(Loader((X, Y), 8, sampler=Wrong(np.arange(20))))
