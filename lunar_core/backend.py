"""One record per array library, looked up by the type of the array.

The engine never keeps a module-level ``xp``: whoever needs the array library of an array asks :func:`of`. A library is
registered once with its array type; NumPy is, and CuPy is as soon as a CUDA device is first named. Tests register a
strict fake device by the same call.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .errors import DeviceError


class Backend(NamedTuple):
    """What the engine has to know of an array library."""

    name: str
    xp: Any  # the namespace with NumPy's function names
    array_type: type
    device_of: Callable[[Any], str]  # array -> "cpu", "cuda:0"
    from_numpy: Callable[[np.ndarray, str], Any]  # host array, device -> array there
    to_numpy: Callable[[Any], np.ndarray]  # array -> host array
    scatter_add: Callable[[Any, Any, Any], None]  # target, index, values: target[index] += values, repeats summed
    synchronize: Callable[[], None]


BACKENDS: dict[type, Backend] = {}
_DEVICES: dict[str, Backend] = {}  # device kind ("cpu", "cuda") -> backend


def register(backend: Backend, device_kind: str) -> None:
    """Make ``backend`` the one for its array type and for devices named ``device_kind`` or ``device_kind:index``."""
    BACKENDS[backend.array_type] = backend
    _DEVICES[device_kind] = backend


def unregister(array_type: type, device_kind: str) -> None:
    """Take a backend out again."""
    BACKENDS.pop(array_type, None)
    _DEVICES.pop(device_kind, None)


def of(array: Any) -> Backend:
    """The backend of a raw array.

    Raises :class:`DeviceError` for an object that is no array of a registered library.
    """
    backend = BACKENDS.get(type(array))
    if backend is not None:
        return backend
    for cls in type(array).__mro__:  # a subclass such as np.memmap
        if cls in BACKENDS:
            return BACKENDS[cls]
    raise DeviceError(
        f"expected an array of {', '.join(b.name for b in _DEVICES.values())}, got {type(array).__name__}",
        hint="wrap plain Python data with lc.tensor(...)",
    )


def names_device(text: str) -> bool:
    """Whether ``text`` is the name of a device rather than of a dtype."""
    kind = text.partition(":")[0]
    return kind in _DEVICES or kind == "cuda"


_MISNAMED = frozenset({"gpu", "mps", "xpu", "hip", "rocm", "tpu", "metal"})  # what other libraries call a device


def looks_like_device(text: str) -> bool:
    """Whether ``text`` was meant as a device: one that exists, or a name that other libraries use."""
    return names_device(text) or text.partition(":")[0].rstrip("0123456789").lower() in {*_DEVICES, *_MISNAMED, "cuda"}


def is_array(value: Any) -> bool:
    """Whether ``value`` is an array of a registered library."""
    return type(value) in BACKENDS or isinstance(value, tuple(BACKENDS))


def for_device(device: str) -> Backend:
    """The backend that holds arrays of ``device``; imports CuPy when the first CUDA device is named."""
    if not isinstance(device, str):
        raise DeviceError(f"a device is a string such as 'cpu' or 'cuda:0', got {device!r}")
    kind, _, index = device.partition(":")
    if index and not index.isdigit():
        raise DeviceError(f"device index must be a number, got {device!r}", hint="for example 'cuda:1'")
    if kind not in _DEVICES and kind == "cuda":
        _register_cupy()
    if kind not in _DEVICES:
        known = ", ".join(sorted({*_DEVICES, "cuda"}))
        gpu = looks_like_device(device) and kind != "cpu"
        raise DeviceError(
            f"unknown device {device!r}",
            hint='a GPU is "cuda", or "cuda:1" for the second' if gpu else f"known here: {known}",
        )
    return _DEVICES[kind]


def _register_numpy() -> None:
    def from_numpy(array: np.ndarray, device: str) -> np.ndarray:
        if device != "cpu":
            raise DeviceError(f"unknown device {device!r}", hint="the host has one device, 'cpu'")
        return array

    numpy = Backend(
        name="numpy",
        xp=np,
        array_type=np.ndarray,
        device_of=lambda array: "cpu",
        from_numpy=from_numpy,
        to_numpy=lambda array: array,
        scatter_add=np.add.at,
        synchronize=lambda: None,
    )
    register(numpy, "cpu")


def _register_cupy() -> None:
    try:
        cupy = importlib.import_module("cupy")
        count = cupy.cuda.runtime.getDeviceCount()
    except ImportError as exc:
        raise DeviceError(
            "device 'cuda' needs CuPy, which is not installed",
            hint='pip install "lunarlearn[cuda12]" or "lunarlearn[cuda13]", whichever matches your driver',
        ) from exc
    except Exception as exc:  # CuPy reports a missing driver by errors of its own
        raise DeviceError(f"device 'cuda': CuPy is installed but found no usable CUDA device ({exc})") from exc

    def from_numpy(array: np.ndarray, device: str) -> Any:
        index = int(device.partition(":")[2] or 0)
        if index >= count:
            raise DeviceError(f"device {device!r}: this machine has {count} CUDA device(s)")
        with cupy.cuda.Device(index):
            return cupy.asarray(array)

    register(
        Backend(
            name="cupy",
            xp=cupy,
            array_type=cupy.ndarray,
            device_of=lambda array: f"cuda:{array.device.id}",
            from_numpy=from_numpy,
            to_numpy=cupy.asnumpy,
            scatter_add=cupy.add.at,
            synchronize=lambda: cupy.cuda.get_current_stream().synchronize(),
        ),
        "cuda",
    )


_register_numpy()
