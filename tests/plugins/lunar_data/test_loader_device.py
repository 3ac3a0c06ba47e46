"""Batches on a device: on the strict fake one, by a double of CuPy that records its calls, and on a GPU where there is one."""

import contextlib
import types

import numpy as np
import pytest
from loader_parts import Numbers, Ragged

import lunar_core as lc
from lunar_core import backend
from lunar_core.errors import DeviceError
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_data import Loader, Pad
from lunar_data.device import Copied

X, Y = np.arange(120, dtype=np.float32).reshape(40, 3), np.arange(40)


def cuda_missing():
    try:
        lc.zeros(1, device="cuda")
    except DeviceError as exc:
        return exc.message
    return None


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_arrive_on_the_device(workers):
    with fake_device() as device, Loader(Ragged(), 8, collate=Pad(), device="fake", workers=workers) as loader:
        for (tokens, texts, numbers), (t, s, n) in zip(loader, Loader(Ragged(), 8, collate=Pad()), strict=True):
            assert type(tokens.data) is FakeArray and type(numbers.data) is FakeArray and texts == s
            np.testing.assert_array_equal(backend.of(tokens.data).to_numpy(tokens.data), t.data)
            assert numbers.tolist() == n.tolist()
        assert device is not None


class Recorded:
    """As much of CuPy as the loader uses: streams that note what they are asked for, and copies that happen only when
    somebody waits for their event."""

    def __init__(self):
        self.calls = calls = []

        class Event:
            done = False

            def __init__(self, work):
                self.work = work

            def happen(self):
                for step in self.work:
                    step()
                self.done = True

        class Stream:
            def __init__(self, name="side", non_blocking=True):
                self.name, self.queued = name, []

            def record(self):
                calls.append(f"{self.name} records")
                event, self.queued = Event(self.queued), []
                return event

            def wait_event(self, event):
                calls.append(f"{self.name} waits")
                event.happen()

        class Array(np.ndarray):
            def set(self, array, stream):
                calls.append("copy")
                stream.queued.append(lambda: self.__setitem__(..., array))

        main = Stream("main")
        self.array_type = Array
        self.empty = lambda shape, dtype: np.full(shape, 77, dtype).view(Array)
        self.cuda = types.SimpleNamespace(
            Device=lambda index: contextlib.nullcontext(),
            Stream=Stream,
            get_current_stream=lambda: main,
            alloc_pinned_memory=bytearray,
        )


@pytest.mark.parametrize("workers", [0, 2])
def test_copies_run_beside_the_computation_and_are_waited_for(monkeypatch, workers):
    library = Recorded()
    record = types.SimpleNamespace(xp=library, device_of=lambda array: "cuda:0", name="cupy")
    monkeypatch.setattr(backend, "for_device", lambda name: record)
    monkeypatch.setitem(backend.BACKENDS, library.array_type, record)
    with Loader((X, Y), 8, device="cuda:0", workers=workers) as loader:
        batches = iter(loader)
        for k, (x, y) in enumerate(batches):
            np.testing.assert_array_equal(np.asarray(x.data), X[8 * k : 8 * k + 8])
            assert type(y.data) is library.array_type and np.asarray(y.data).tolist() == Y[8 * k : 8 * k + 8].tolist()
            assert loader.state()["batch"] == k + 1  # a batch that is on its way does not count
    assert k == 4 and loader.epoch == 1
    first = library.calls[:6]
    assert first == ["main records", "side waits", "copy", "copy", "side records", "main waits"]
    assert library.calls.count("copy") == 10 and isinstance(loader._way, Copied)


@pytest.mark.gpu
@pytest.mark.skipif(cuda_missing() is not None, reason=f"no CUDA device: {cuda_missing()}")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_gpu_gets_the_same_numbers(workers):
    with Loader(Numbers(200, 5000), 16, shuffle=True, device="cuda", workers=workers) as loader:
        for _ in range(3):
            expected = Loader(Numbers(200, 5000), 16, shuffle=True)
            expected.set_epoch(loader.epoch)
            for (x, y), (u, v) in zip(loader, expected, strict=True):
                total = (x * 2).sum(axis=1)
                np.testing.assert_allclose(total.numpy(), (u * 2).sum(axis=1).numpy(), rtol=1e-6)
                assert y.tolist() == v.tolist() and x.device.startswith("cuda")
