"""DLPack: arrays change hands between libraries without a copy (https://dmlc.github.io/dlpack).

``lc.from_dlpack(x)`` takes a NumPy, PyTorch, CuPy or JAX array; ``torch.from_dlpack(tensor)`` and
``np.from_dlpack(tensor)`` take a Tensor. NumPy and CuPy have no bfloat16 of their own in the protocol, so its bits travel as
16-bit integers and the type code in the descriptor is exchanged on the way.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from .. import backend
from ..dtypes import as_dtype
from ..errors import DeviceError, GradientError
from ..tensor import Tensor

_CPU, _CUDA, _HOSTS = 1, 2, (1, 3, 11)  # kDLCPU; kDLCUDA; host memory, pinned by CUDA or ROCm or not
_UINT, _BFLOAT = 1, 4  # type codes
_CODE_AT = (
    20 if ctypes.sizeof(ctypes.c_void_p) == 8 else 16
)  # DLTensor: data, device (2 x int32), ndim (int32), dtype.code
_HEAD = 8 + 2 * ctypes.sizeof(ctypes.c_void_p) + 8  # DLManagedTensorVersioned: version, context, deleter, flags, tensor


def _descriptor(capsule: Any) -> Any:
    """The bytes (code, bits) of the dtype in a capsule, writable."""
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    name = api.PyCapsule_GetName(capsule)
    start = api.PyCapsule_GetPointer(capsule, name) + (_HEAD if name == b"dltensor_versioned" else 0)
    return (ctypes.c_uint8 * 2).from_address(start + _CODE_AT)


def _is_bfloat16(dtype: np.dtype) -> bool:
    return dtype.name == "bfloat16"


def dlpack(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """The DLPack capsule of this tensor, which shares its memory; for ``from_dlpack`` of another library.

    ``copy=True`` gives a copy, ``copy=False`` refuses one, ``dl_device`` asks for a device, ``max_version`` is the
    protocol's version that the consumer knows. A read-only array, such as a broadcast one, needs version 1 or ``copy=True``.

    Raises :class:`GradientError` if the tensor requires a gradient, and BufferError where the protocol has no way.
    """
    if self.node is not None:
        raise GradientError("DLPack export of a tensor that requires a gradient", hint="use x.detach()")
    raw = self.data
    _library_of(raw)
    if dl_device is not None and tuple(dl_device) != dlpack_device(self):
        if copy is False or next(iter(dl_device)) != _CPU:
            raise BufferError(f"a tensor on {self.device} cannot be exported to DLPack device {tuple(dl_device)}")
        raw, copy, dl_device = backend.of(raw).to_numpy(raw), None, None
    half = _is_bfloat16(raw.dtype)
    if copy:
        raw, copy = raw.copy(), None
    elif isinstance(raw, np.ndarray) and not raw.flags.writeable and (max_version is None or max_version[0] < 1):
        raise BufferError(
            f"a read-only array of shape {raw.shape} cannot be exported by DLPack before version 1, which has no mark "
            "for it; ask for copy=True"
        )
    if half:
        raw = raw.view(np.uint16)
    options: dict[str, Any] = {"stream": stream, "max_version": max_version}
    if isinstance(raw, np.ndarray):
        if stream is not None:
            raise BufferError(f"stream={stream!r} for a tensor on the host, which has none")
        options.pop("stream")
    capsule = raw.__dlpack__(**{k: v for k, v in options.items() if v is not None})
    if half:
        _descriptor(capsule)[0] = _BFLOAT
    return capsule


def _library_of(raw: Any) -> None:
    if not hasattr(raw, "__dlpack__"):
        owner = backend.of(raw)
        raise DeviceError(
            f"arrays of {owner.name} on {owner.device_of(raw)} do not speak DLPack", hint='x.to("cpu") does'
        )


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """DLPack's numbers for the device: (1, 0) is the host, (2, i) the i-th CUDA device."""
    _library_of(self.data)
    kind, index = self.data.__dlpack_device__()
    return int(kind), int(index)


class _Exchanged:
    """A producer of bfloat16 that shows itself as one of 16-bit integers once that was found out."""

    def __init__(self, producer: Any) -> None:
        self.producer = producer
        self.half = False

    def __dlpack_device__(self) -> Any:
        return self.producer.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        try:
            capsule = self.producer.__dlpack__(**options)
        except TypeError:  # a producer of before version 1 knows no other argument than the stream
            if options.get("copy"):
                raise
            stream = options.get("stream")
            capsule = self.producer.__dlpack__(**({} if stream is None else {"stream": stream}))
        descriptor = _descriptor(capsule)
        if tuple(descriptor) == (_BFLOAT, 16):
            descriptor[0] = _UINT
            self.half = True
        return capsule


def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor over the memory of ``x``, an array of any library with ``__dlpack__``; writes are seen on both sides.

    ``device`` names where the result shall lie, by default where ``x`` is. ``copy=True`` gives memory of its own, ``False``
    refuses a copy (BufferError or ValueError), ``None`` copies only to reach ``device``. bfloat16 is taken.

        lc.from_dlpack(torch.ones(3)) * 2
    """
    if not hasattr(x, "__dlpack__") or not hasattr(x, "__dlpack_device__"):
        raise DeviceError(
            f"from_dlpack: expected an array with __dlpack__, got {type(x).__name__}", hint="lc.tensor(x)"
        )
    kind = int(x.__dlpack_device__()[0])
    if kind in _HOSTS:
        xp: Any = np
    elif kind == _CUDA:
        xp = backend.for_device("cuda").xp
    else:
        raise DeviceError(f"from_dlpack: no library here takes arrays of DLPack device type {kind}")
    source = _Exchanged(x)
    array = xp.from_dlpack(source, copy=copy) if copy is not None else xp.from_dlpack(source)
    if source.half:
        array = array.view(as_dtype("bfloat16"))
    result = Tensor(array)
    if device is None or result.to(device) is result:
        return result
    if copy is False:
        raise BufferError(f"from_dlpack: {result.device} to {device} needs a copy; copy=None allows one")
    return result.to(device)


def array_namespace(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """The module of the Python array API standard for this tensor: :mod:`lunar_core.ops.array_api`."""
    from . import array_api

    if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        raise ValueError(f"array API version {api_version!r} is not supported; {array_api.__array_api_version__} is")
    return array_api


def to_device(self: Tensor, device: str, /, *, stream: Any = None) -> Tensor:
    """This tensor on ``device``, differentiably; itself when it lies there already."""
    if stream is not None:
        raise BufferError("to_device: streams are chosen by the array library; leave stream=None")
    result: Tensor = self.to(device)
    return result


PROTOCOL = {
    "__dlpack__": dlpack,
    "__dlpack_device__": dlpack_device,
    "__array_namespace__": array_namespace,
    "to_device": to_device,
}
