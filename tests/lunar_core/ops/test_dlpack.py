"""DLPack: memory changes hands with other libraries without a copy, and what cannot is refused."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DeviceError, GradientError
from lunar_core.testing import strategies as lst
from lunar_core.testing.fake_device import fake_device


def address(x):
    return x.data.__array_interface__["data"][0]


class Producer:
    """An array of a library that nobody here knows; it may speak an old version of the protocol."""

    def __init__(self, array, old=False, device=None):
        self.array, self.old, self.device, self.asked = array, old, device, []

    def __dlpack_device__(self):
        return self.device or self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        if self.old and set(options) - {"stream"}:
            raise TypeError("__dlpack__() got an unexpected keyword argument")
        self.asked.append(options)
        return self.array.__dlpack__(**options)


@pytest.mark.parametrize("dtype", lst.KINDS["numeric"])
def test_numpy_takes_a_tensor_and_gives_one_without_copying(dtype):
    x = lc.arange(6, dtype=dtype).reshape(2, 3)
    there = np.from_dlpack(x)
    assert there.ctypes.data == address(x) and there.dtype == x.dtype
    back = lc.from_dlpack(there)
    assert address(back) == address(x) and back.shape == (2, 3)
    there[0, 0] = 9
    assert x[0, 0].item() == back[0, 0].item() == 9


def test_strides_and_empty_arrays_travel():
    x = lc.arange(24).reshape(4, 6)[::2, ::-1].T
    np.testing.assert_array_equal(np.from_dlpack(x), x.numpy())
    assert np.from_dlpack(x).strides == x.data.strides
    assert np.from_dlpack(lc.zeros((0, 3))).shape == (0, 3) and np.from_dlpack(lc.tensor(2.5)).item() == 2.5


def test_a_tensor_that_requires_a_gradient_is_refused_with_a_hint():
    x = lc.tensor([1.0], requires_grad=True)
    for tensor in (x, x * 2):
        with pytest.raises(GradientError, match=r"detach\(\)"):
            np.from_dlpack(tensor)
    assert address(lc.from_dlpack(np.from_dlpack(x.detach()))) == address(x)


def test_a_read_only_array_is_marked_or_refused():
    x = lc.Tensor(np.broadcast_to(np.arange(3.0), (2, 3)))
    assert not np.from_dlpack(x).flags.writeable  # version 1 has a mark for it
    with pytest.raises(BufferError, match="read-only"):
        x.__dlpack__()
    with pytest.raises(BufferError, match="read-only"):
        x.__dlpack__(max_version=(0, 8))
    assert np.from_dlpack(x, copy=True).flags.writeable


def test_copies_are_made_on_request_only():
    x = lc.arange(3)
    for copied in (np.from_dlpack(x, copy=True), lc.from_dlpack(x.numpy(), copy=True).data):
        assert copied.ctypes.data != address(x) and copied.tolist() == [0, 1, 2]
    assert np.from_dlpack(x, copy=False).ctypes.data == address(x)
    assert address(lc.from_dlpack(x, copy=False)) == address(x)
    assert address(lc.from_dlpack(x, device="cpu")) == address(x)


def test_the_device_is_named_and_another_one_refused():
    x = lc.arange(3)
    assert x.__dlpack_device__() == (1, 0)
    assert '"dltensor"' in repr(x.__dlpack__(dl_device=(1, 0)))
    with pytest.raises(BufferError, match=r"DLPack device \(2, 0\)"):
        x.__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError, match="stream"):
        x.__dlpack__(stream=7)


def test_versions_are_negotiated():
    x = lc.arange(3)
    assert '"dltensor_versioned"' in repr(x.__dlpack__(max_version=(1, 0)))
    assert '"dltensor"' in repr(x.__dlpack__(max_version=(0, 5)))
    new, old = Producer(np.arange(3)), Producer(np.arange(3), old=True)
    assert lc.from_dlpack(new).tolist() == lc.from_dlpack(old).tolist() == [0, 1, 2]
    assert new.asked[0]["max_version"] >= (1, 0) and old.asked == [{}]


def test_what_does_not_speak_the_protocol_is_refused():
    with pytest.raises(DeviceError, match="expected an array with __dlpack__, got list"):
        lc.from_dlpack([1, 2])
    with pytest.raises(DeviceError, match="device type 8"):
        lc.from_dlpack(Producer(np.arange(2), device=(8, 0)))
    with fake_device(), pytest.raises(DeviceError, match="arrays of fake on fake do not speak DLPack"):
        lc.ones(2, device="fake").__dlpack_device__()


def test_bfloat16_makes_the_round_trip_through_the_protocol():
    x = lc.tensor([1.5, -2.0, 3.25], dtype="bfloat16")
    for version in ((1, 0), (0, 8)):
        y = lc.from_dlpack(Producer(x, old=version[0] < 1))
        assert y.dtype == x.dtype and address(y) == address(x) and y.tolist() == x.tolist()
    y = lc.from_dlpack(x, copy=True)
    assert y.dtype == x.dtype and address(y) != address(x)


@pytest.mark.parity
@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "bfloat16", "complex64", "int64", "int8", "uint8", "bool"]
)
def test_pytorch_and_tensors_share_memory_in_both_directions(dtype):
    torch = pytest.importorskip("torch")
    x = lc.tensor([[0, 1, 2], [3, 4, 5]], dtype=dtype)
    there = torch.from_dlpack(x)
    assert there.data_ptr() == address(x) and str(there.dtype) == f"torch.{dtype}"
    assert there.to(torch.complex64).tolist() == x.astype("complex64").tolist()
    back = lc.from_dlpack(there.T)
    assert address(back) == address(x) and back.dtype == x.dtype and back.tolist() == x.T.tolist()
    there[0, 0] = 1
    assert x[0, 0].item() == 1 == back[0, 0].item()


@pytest.mark.parity
def test_a_pytorch_tensor_that_requires_a_gradient_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(BufferError, match="require gradient"):
        lc.from_dlpack(torch.ones(2, requires_grad=True))


@pytest.mark.parity
def test_memory_outlives_the_library_that_made_it():
    torch = pytest.importorskip("torch")
    x = lc.from_dlpack(torch.arange(1000, dtype=torch.bfloat16))
    y = torch.from_dlpack(lc.arange(1000, dtype="bfloat16"))
    torch.zeros(100_000)
    assert x.astype("float32").sum().item() == y.float().sum().item()


@pytest.mark.gpu
def test_cupy_and_tensors_share_memory_in_both_directions():
    cupy = pytest.importorskip("cupy")
    try:
        x = lc.arange(6, dtype="float32", device="cuda")
    except DeviceError as exc:
        pytest.skip(f"no CUDA device: {exc.message}")
    assert x.__dlpack_device__() == (2, 0)
    there = cupy.from_dlpack(x)
    assert there.data.ptr == x.data.data.ptr == lc.from_dlpack(there).data.data.ptr
    half = lc.ones(3, dtype="bfloat16").cuda()
    assert lc.from_dlpack(half).dtype == half.dtype
