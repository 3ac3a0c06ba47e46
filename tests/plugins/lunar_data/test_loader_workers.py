"""The loader's worker processes: the same bytes for any number of them, and nothing left behind."""

import gc
import os
import pickle
import signal
import sys
from multiprocessing import resource_tracker

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loader_parts import Broken, BrokenOddly, Counting, Deadly, GlobalDraws, Numbers, Ragged, Slow, jitter, noisy, swap

import lunar_core as lc
from lunar_core.errors import DataError
from lunar_data import ExampleError, Loader, Pad, Weighted, WorkerError
from lunar_data.workers import _packed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
linux = pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")

X, Y = np.arange(120, dtype=np.float32).reshape(40, 3), np.arange(40)


def left_behind():
    """Open descriptors, child processes and entries of /dev/shm."""
    gc.collect()
    resource_tracker.ensure_running()  # one process and pipe for all, which "spawn" starts when it is first used
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        children = len(file.read().split())
    return len(os.listdir("/proc/self/fd")), children, len(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else 0


def bytes_of(loader, epochs=1):
    """Ids and bytes of the next epochs, batch by batch."""
    made = []
    for _ in range(epochs):
        batches = loader.batches()
        for batch in batches:
            made.append((None if batches.ids is None else batches.ids.tolist(), pickle.dumps(batch)))
    return made


@pytest.fixture(scope="module")
def loaders():
    """One loader for each number of workers, whose processes live as long as the module's tests."""
    made = {
        w: Loader(Numbers(), 7, shuffle=True, transform=jitter, batch_transform=swap, workers=w) for w in (0, 1, 2, 4)
    }
    yield made
    for loader in made.values():
        loader.close()


@settings(max_examples=30)
@given(seed=st.integers(0, 100), epoch=st.integers(0, 5), stop=st.integers(0, 5), workers=st.permutations([0, 1, 2, 4]))
def test_workers_and_interruptions_change_no_byte(loaders, seed, epoch, stop, workers):
    lc.seed(seed)
    whole = []
    for w in workers:
        loaders[w].set_epoch(epoch)
        loaders[w].seed = None  # a state brings its own
        made = bytes_of(loaders[w], 2)
        assert len(made) == 12
        assert not whole or made == whole
        whole = made
    first, second = loaders[workers[0]], loaders[workers[1]]
    first.set_epoch(epoch)
    batches = first.batches()
    for _ in range(stop):
        next(batches)
    second.load_state(first.state())
    assert bytes_of(second, 2) == whole[stop:]


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["arrays", "ragged", "weighted", "stream"])
def test_every_kind_of_data_comes_through_every_kind_of_start(kind, start):
    arguments = {
        "arrays": {"data": {"x": X, "y": Y}, "shuffle": True},
        "ragged": {"data": Ragged(), "collate": Pad(-1, leaves=[0], mask=True)},
        "weighted": {"data": Numbers(), "sampler": Weighted(np.arange(1, 41)), "transform": jitter},
        "stream": {"data": Counting(), "transform": noisy},
    }[kind]
    here = bytes_of(Loader(batch_size=6, **arguments), 2)
    with Loader(batch_size=6, workers=2, start=start, **arguments) as loader:
        assert bytes_of(loader, 2) == here


def test_a_stream_resumes_with_workers():
    here = bytes_of(Loader(Counting(), 4, transform=noisy), 2)
    with Loader(Counting(), 4, transform=noisy, workers=3) as loader:
        loader.set_epoch(0, 2)
        assert bytes_of(loader, 2) == here[2:]


def test_batches_that_are_kept_keep_what_they_hold():
    with Loader((X, Y), 4, workers=2, shuffle=True) as loader:
        kept = [list(loader) for _ in range(3)]
    loader = Loader((X, Y), 4, shuffle=True)
    for batches in kept:
        for (x, y), (u, v) in zip(batches, loader, strict=True):
            np.testing.assert_array_equal(x.data, u.data)
            np.testing.assert_array_equal(y.data, v.data)


def test_batches_that_outgrow_their_memory_arrive_whole():
    sizes = np.array([1, 5, 500_000, 3, 1_000_000, 2, 7, 400_000])
    data = [(np.full(n, n, np.float64), "x" * n) for n in sizes]
    with Loader(data, 1, workers=2) as loader:
        for _ in range(2):
            for n, (numbers, text) in zip(sizes, loader, strict=True):
                assert numbers.shape == (1, n) and (numbers.data == n).all() and len(text[0]) == n


def test_a_batch_may_be_written_to():
    with Loader((X, Y), 4, workers=1) as loader:
        for x, _ in loader.batches():
            x += 1
        np.testing.assert_array_equal(next(loader.batches())[0], X[:4])


def test_two_passes_at_once_are_refused_only_where_they_cannot_be():
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(Loader((X, Y), 8).batches(), Loader((X, Y), 8).batches()))
    here = Loader((X, Y), 8)
    assert all(np.array_equal(a.data, b.data) for (a, _), (b, _) in zip(here, here, strict=True))
    with Loader((X, Y), 8, workers=1) as loader:
        first = iter(loader)
        next(first)
        assert len(next(iter(loader))[1]) == 8
        with pytest.raises(DataError, match="another pass over this loader has begun"):
            next(first)
        second = iter(loader)
    with pytest.raises(DataError, match="closed in the middle of this pass"):
        next(second)


@linux
def test_a_loader_that_is_dropped_takes_its_workers_along():
    before = left_behind()
    gc.disable()
    try:
        loader = Loader((X, Y), 8, workers=2)
        batches = iter(loader)
        next(batches)
        pids = [member.process.pid for member in loader._pool._members]
        del loader, batches
        assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    finally:
        gc.enable()
    assert left_behind() == before


def test_old_code_that_draws_globally_draws_anew_in_each_worker_and_batch():
    epochs = []
    for workers in (1, 2, 3):
        with Loader(GlobalDraws(), 5, workers=workers) as loader:
            epochs.append([[part.tolist() for part in batch] for _ in range(2) for batch in loader])
    assert epochs[0] == epochs[1] == epochs[2]
    for part in range(3):
        values = [v for batch in epochs[0] for v in batch[part]]
        assert len(set(values)) == len(values) == 80


def test_leaving_an_epoch_early_confuses_nothing():
    with Loader(Numbers(), 3, shuffle=True, transform=jitter, workers=2, prefetch=3) as loader:
        whole = bytes_of(Loader(Numbers(), 3, shuffle=True, transform=jitter))
        for k in range(6):
            batches = loader.batches()
            kept = [next(batches) for _ in range(k)]
            assert [pickle.dumps(b) for b in kept] == [b for _, b in whole[:k]]
        assert bytes_of(loader) == whole


@linux
def test_an_error_crosses_over_with_index_and_traceback():
    before = left_behind()
    with pytest.raises(
        ExampleError, match=r"example 17 \(batch 2 of epoch 0\): reading failed with OSError: the file"
    ) as e:
        list(Loader(Broken(), 8, workers=2))
    assert e.value.index == 17 and (e.value.epoch, e.value.batch) == (0, 2)
    assert isinstance(e.value.__cause__, OSError)
    assert "loader_parts.py" in e.value.trace and "in example" in e.value.__notes__[0]
    with pytest.raises(ExampleError, match="example 17 .* Unpicklable: odd") as e:
        list(Loader(BrokenOddly(), 8, workers=2))
    assert e.value.original is None and "Unpicklable: odd" in e.value.trace
    del e
    assert left_behind() == before


@linux
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_killed_worker_is_reported_and_the_others_end(start):
    before = left_behind()
    with pytest.raises(WorkerError, match=r"killed by SIGKILL while batch 2 of epoch 0 was due, examples 16, 17, 18"):
        list(Loader(Deadly(), 8, workers=2, start=start))
    assert left_behind() == before


@linux
def test_killing_idle_workers_is_noticed_and_a_new_epoch_starts_anew():
    before = left_behind()
    loader = Loader((X, Y), 8, workers=2, shuffle=True)
    whole = bytes_of(loader)
    for member in loader._pool._members:
        os.kill(member.process.pid, signal.SIGKILL)
        member.process.join()
    with pytest.raises(WorkerError, match="killed by SIGKILL"):
        list(loader)
    loader.set_epoch(0)
    assert bytes_of(loader) == whole
    loader.close()
    assert left_behind() == before


@linux
def test_a_worker_that_takes_too_long_is_given_up():
    before = left_behind()
    with pytest.raises(WorkerError, match=r"no answer for batch 0 of epoch 0 within timeout=0\.2 s"):
        list(Loader(Slow(), 8, workers=2, timeout=0.2))
    assert left_behind() == before


@linux
def test_opening_and_closing_leaves_nothing_behind():
    def once(k):
        loader = Loader((X, Y), 8, workers=1 + k % 2, shuffle=True)
        batches = iter(loader)
        next(batches)
        if k % 3 == 0:
            list(batches)
        if k % 2:
            loader.close()

    once(0)
    before = left_behind()
    for k in range(30):
        once(k)
    assert left_behind() == before


@linux
def test_workers_end_when_their_loaders_process_is_killed():
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        loader = Loader((X, Y), 8, workers=2)
        second = Loader((X, Y), 8, workers=1)  # a later fork holds no end of the first loader's pipes
        next(iter(loader)), next(iter(second))
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b""  # ends only when every process that inherited the other end has


def test_a_forked_child_leaves_the_workers_alone():
    with Loader((X, Y), 8, workers=2) as loader:
        whole = bytes_of(loader)
        pid = os.fork()
        if not pid:
            loader.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        loader.set_epoch(0)
        assert bytes_of(loader) == whole


def test_a_memory_map_is_sent_by_name(tmp_path):
    big = np.memmap(tmp_path / "tokens.bin", np.int32, "w+", shape=(500_000, 4))
    big[:] = np.arange(2_000_000).reshape(500_000, 4)
    big.flush()
    for view in (
        np.memmap(tmp_path / "tokens.bin", np.int32, "r", shape=(500_000, 4)),
        np.memmap(tmp_path / "tokens.bin", np.int32, "r", offset=160_008, shape=(1000, 4))[10:500:3, 1:3],
    ):
        loader = Loader(view, 16, shuffle=True)
        packed = _packed(loader._fetcher, "spawn")
        assert len(packed) < 2000
        again = pickle.loads(packed)
        np.testing.assert_array_equal(again.data[5], view[5])
        whole = bytes_of(Loader(view[:100], 16, shuffle=True))
        with Loader(view[:100], 16, shuffle=True, workers=1, start="spawn") as there:
            assert bytes_of(there) == whole


def test_what_cannot_be_pickled_is_explained():
    with pytest.raises(DataError, match=r"get data set and transforms by pickle.*(?s:.)*start='fork'"):
        list(Loader((X, Y), transform=lambda example: example, workers=1, start="spawn"))
