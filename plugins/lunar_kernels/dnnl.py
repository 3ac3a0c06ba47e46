"""oneDNN's C API (``dnnl.h``, version 3) as far as the kernels use it, through ctypes.

The names of the constants are those of the header without their prefix. Every object of the library that Python holds is
a :class:`Handle`, which destroys it. Functions that fail return a status, which becomes an exception here; while a
primitive is being described, "not implemented" is an answer and becomes :class:`Unsupported`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char, c_char_p, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from typing import Any

from lunar_core.errors import LunarError

MAX_NDIMS = 12
Dims = c_int64 * MAX_NDIMS

# dnnl_status_t
SUCCESS, OUT_OF_MEMORY, INVALID_ARGUMENTS, UNIMPLEMENTED = 0, 1, 2, 3
_STATUS = {1: "out of memory", 2: "invalid arguments", 3: "not implemented", 5: "runtime error"}

# dnnl_data_type_t
BF16, F32, U8 = 2, 3, 6
SIZES = {BF16: 2, F32: 4, U8: 1}

# dnnl_engine_kind_t, dnnl_stream_flags_t, dnnl_scratchpad_mode_t, dnnl_format_tag_t
CPU_ENGINE, STREAM_IN_ORDER, SCRATCHPAD_USER, FORMAT_ANY = 1, 1, 1, 1

# the bits of dnnl_version_t.cpu_runtime
RUNTIME_SEQUENTIAL, RUNTIME_OMP = 1, 2

# dnnl_prop_kind_t
FORWARD_TRAINING, FORWARD_INFERENCE, BACKWARD = 64, 96, 128

# dnnl_alg_kind_t
CONVOLUTION_DIRECT = 0x1
ELTWISE_GELU_TANH, ELTWISE_GELU_ERF = 0x2B, 0x31
POOLING_MAX, POOLING_AVG_INCLUDE_PADDING, POOLING_AVG_EXCLUDE_PADDING = 0x1FF, 0x2FF, 0x3FF
REDUCTION_SUM = 0x2FFF4
SOFTMAX_ACCURATE = 0x30000

# dnnl_rnn_direction_t
LEFT_TO_RIGHT, RIGHT_TO_LEFT = 1, 2

# dnnl_normalization_flags_t
USE_GLOBAL_STATS, USE_SCALE, USE_SHIFT = 1, 2, 4

# dnnl_query_t: the implementation's name and the descriptors of a primitive's memory
_QUERY_IMPLEMENTATION = 8
SRC_MD, DIFF_SRC_MD, WEIGHTS_MD, DIFF_WEIGHTS_MD, DST_MD, DIFF_DST_MD, WORKSPACE_MD, SCRATCHPAD_MD = range(129, 137)

# DNNL_ARG_*: which role a memory plays in an execution
SRC, DST, WEIGHTS, BIAS, MEAN, VARIANCE, SCALE, SHIFT = 1, 17, 33, 41, 49, 50, 51, 52
WORKSPACE, SCRATCHPAD = 64, 80
SRC_ITER, SRC_ITER_C, DST_ITER, DST_ITER_C, WEIGHTS_ITER = 2, 3, 18, 19, 34
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS, DIFF_SCALE, DIFF_SHIFT = 129, 145, 161, 255, 256


class Version(ctypes.Structure):
    """``dnnl_version_t``."""

    _fields_ = (
        ("major", c_int), ("minor", c_int), ("patch", c_int), ("hash", c_char_p), ("cpu_runtime", c_uint),
        ("gpu_runtime", c_uint),
    )  # fmt: skip


class Argument(ctypes.Structure):
    """``dnnl_exec_arg_t``."""

    _fields_ = (("role", c_int), ("memory", c_void_p))


class Unsupported(Exception):
    """oneDNN has no fast implementation of what was described."""


class KernelError(LunarError, RuntimeError):
    """A call of oneDNN failed that had no reason to."""


_P, _I, _D = c_void_p, c_int, POINTER(c_int64)
_OUT = POINTER(c_void_p)
# name after "dnnl_": argument types; every one of them returns a status
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "engine_create": (_OUT, _I, c_size_t),
    "stream_create": (_OUT, _P, c_uint),
    "primitive_attr_create": (_OUT,),
    "primitive_attr_set_scratchpad_mode": (_P, _I),
    "memory_desc_create_with_strides": (_OUT, _I, _D, _I, _D),
    "memory_desc_create_with_tag": (_OUT, _I, _D, _I, _I),
    "memory_desc_clone": (_OUT, _P),
    "memory_create": (_OUT, _P, _P, _P),
    "primitive_desc_query": (_P, _I, _I, _P),
    "primitive_create": (_OUT, _P),
    "primitive_execute": (_P, _P, _I, _P),
    "sgemm": (c_char, c_char, c_int64, c_int64, c_int64, c_float, _P, c_int64, _P, c_int64, c_float, _P, c_int64),
    "reorder_primitive_desc_create": (_OUT, _P, _P, _P, _P, _P),
    "matmul_primitive_desc_create": (_OUT, _P, _P, _P, _P, _P, _P),
    "convolution_forward_primitive_desc_create": (_OUT, _P, _I, _I, _P, _P, _P, _P, _D, _D, _D, _D, _P),
    "convolution_backward_data_primitive_desc_create": (_OUT, _P, _I, _P, _P, _P, _D, _D, _D, _D, _P, _P),
    "convolution_backward_weights_primitive_desc_create": (_OUT, _P, _I, _P, _P, _P, _P, _D, _D, _D, _D, _P, _P),
    "pooling_forward_primitive_desc_create": (_OUT, _P, _I, _I, _P, _P, _D, _D, _D, _D, _D, _P),
    "pooling_backward_primitive_desc_create": (_OUT, _P, _I, _P, _P, _D, _D, _D, _D, _D, _P, _P),
    "reduction_primitive_desc_create": (_OUT, _P, _I, _P, _P, c_float, c_float, _P),
    "softmax_forward_primitive_desc_create": (_OUT, _P, _I, _I, _P, _P, _I, _P),
    "eltwise_forward_primitive_desc_create": (_OUT, _P, _I, _I, _P, _P, c_float, c_float, _P),
    "eltwise_backward_primitive_desc_create": (_OUT, _P, _I, _P, _P, _P, c_float, c_float, _P, _P),
    "lstm_forward_primitive_desc_create": (_OUT, _P, _I, _I, *[_P] * 11, c_uint, _P),
    "batch_normalization_forward_primitive_desc_create": (_OUT, _P, _I, _P, _P, c_float, c_uint, _P),
    "batch_normalization_backward_primitive_desc_create": (_OUT, _P, _I, _P, _P, _P, c_float, c_uint, _P, _P),
    "layer_normalization_forward_primitive_desc_create": (_OUT, _P, _I, _P, _P, _P, c_float, c_uint, _P),
    "layer_normalization_backward_primitive_desc_create": (_OUT, _P, _I, _P, _P, _P, _P, c_float, c_uint, _P, _P),
}
_DESTROY = ("memory_desc", "memory", "primitive_desc", "primitive", "stream")


def dims(values: Sequence[int]) -> Any:
    """``dnnl_dims_t``."""
    return Dims(*values)


class Handle:
    """Owns one object of the library."""

    __slots__ = ("_destroy", "pointer")

    def __init__(self, pointer: int, destroy: Any) -> None:
        self.pointer = pointer
        self._destroy = destroy

    def __del__(self) -> None:
        self._destroy(self.pointer)


class API:
    """The functions of a loaded library, with an engine and the attributes that all primitives share.

    ``shared`` is the ctypes library. Primitives use memory of the caller for their scratchpads, so that a primitive holds
    none between its runs.
    """

    def __init__(self, shared: Any) -> None:
        shared.dnnl_version.restype = POINTER(Version)
        self.version: Version = shared.dnnl_version().contents
        self._functions: dict[str, Any] = {}
        for name, types in _SIGNATURES.items():
            self._functions[name] = self._bind(shared, name, types, c_int)
        for name in _DESTROY:
            self._functions[f"{name}_destroy"] = self._bind(shared, f"{name}_destroy", (_P,), c_int)
        self._query_md = self._bind(shared, "primitive_desc_query_md", (_P, _I, _I), _P)
        self._size = self._bind(shared, "memory_desc_get_size", (_P,), c_size_t)
        self._equal = self._bind(shared, "memory_desc_equal", (_P, _P), _I)
        self.execute = self._functions["primitive_execute"]
        self.sgemm = self._functions["sgemm"]
        # through PyDLL a call keeps the interpreter's lock: right for what takes less than passing the lock on and back
        held = ctypes.PyDLL(None, handle=shared._handle)
        self.execute_briefly = self._bind(held, "primitive_execute", _SIGNATURES["primitive_execute"], c_int)
        self.set_data_handle = self._bind(held, "memory_set_data_handle", (_P, _P), _I)
        self.engine = self._create("engine_create", CPU_ENGINE, 0)
        self.attributes = self._create("primitive_attr_create")
        self.call("primitive_attr_set_scratchpad_mode", self.attributes, SCRATCHPAD_USER)

    @staticmethod
    def _bind(shared: Any, name: str, types: tuple[Any, ...], result: Any) -> Any:
        function = getattr(shared, f"dnnl_{name}")
        function.argtypes = types
        function.restype = result
        return function

    def call(self, name: str, *args: Any) -> None:
        """Call a function that returns a status; what it complains about is an exception."""
        status = self._functions[name](*args)
        if status:
            raise failure(name, status)

    def _create(self, name: str, *args: Any) -> int:
        out = c_void_p()
        self.call(name, byref(out), *args)
        assert out.value is not None
        return out.value

    def _owned(self, kind: str, pointer: int) -> Handle:
        return Handle(pointer, self._functions[f"{kind}_destroy"])

    def stream(self) -> Handle:
        return self._owned("stream", self._create("stream_create", self.engine, STREAM_IN_ORDER))

    # -- descriptors of memory -----------------------------------------------------------------------------------------

    def strided(self, shape: Sequence[int], strides: Sequence[int], dtype: int = F32) -> Handle:
        """A plain layout; strides in elements."""
        pointer = self._create("memory_desc_create_with_strides", len(shape), dims(shape), dtype, dims(strides))
        return self._owned("memory_desc", pointer)

    def any(self, shape: Sequence[int], dtype: int = F32) -> Handle:
        """A layout that the primitive may choose."""
        pointer = self._create("memory_desc_create_with_tag", len(shape), dims(shape), dtype, FORMAT_ANY)
        return self._owned("memory_desc", pointer)

    def size(self, descriptor: Handle) -> int:
        """Bytes."""
        return self._size(descriptor.pointer)

    def same(self, one: Handle, other: Handle) -> bool:
        return bool(self._equal(one.pointer, other.pointer))

    # -- primitives ----------------------------------------------------------------------------------------------------

    def describe(self, kind: str, *args: Any) -> Handle:
        """The descriptor of a primitive, its attributes excluded, which come last: ``describe("matmul", x, w, None, y)``.

        Raises :class:`Unsupported` where oneDNN has nothing but its slow reference implementation.
        """
        out = c_void_p()
        plain = [a.pointer if isinstance(a, Handle) else a for a in args]
        if kind == "reorder":  # has an engine after each of its two descriptors
            plain = [plain[0], self.engine, plain[1], self.engine]
        else:
            plain = [self.engine, *plain]
        status = self._functions[f"{kind}_primitive_desc_create"](byref(out), *plain, self.attributes)
        if status in (INVALID_ARGUMENTS, UNIMPLEMENTED):
            raise Unsupported(kind)
        if status:
            raise failure(kind, status)
        assert out.value is not None
        result = self._owned("primitive_desc", out.value)
        if self.implementation(result).startswith("ref"):
            raise Unsupported(kind)
        return result

    def require(self, primitive_descriptor: Handle, dtype: int) -> None:
        """Raise :class:`Unsupported` for bfloat16 that this processor has no instructions for: it would be emulated."""
        if dtype == BF16 and not any(part in self.implementation(primitive_descriptor) for part in ("bf16", "amx")):
            raise Unsupported("bfloat16")

    def implementation(self, primitive_descriptor: Handle) -> str:
        """Name of the implementation that was chosen, such as ``jit:avx512_core``."""
        name = c_char_p()
        self.call("primitive_desc_query", primitive_descriptor.pointer, _QUERY_IMPLEMENTATION, 0, byref(name))
        return (name.value or b"").decode()

    def layout(self, primitive_descriptor: Handle, which: int, index: int = 0) -> Handle | None:
        """The descriptor of one of its memories, ``None`` where it has no such memory; ``index`` among several weights."""
        pointer = self._query_md(primitive_descriptor.pointer, which, index)
        if not pointer:
            return None
        copy = self._owned("memory_desc", self._create("memory_desc_clone", pointer))
        return copy if self.size(copy) else None

    def primitive(self, primitive_descriptor: Handle) -> Handle:
        return self._owned("primitive", self._create("primitive_create", primitive_descriptor.pointer))

    def memory(self, descriptor: Handle) -> Handle:
        """A memory without data, which :attr:`set_data_handle` gives it."""
        return self._owned("memory", self._create("memory_create", descriptor.pointer, self.engine, None))


def failure(what: str, status: int) -> KernelError:
    """The exception for a call that failed."""
    return KernelError(
        f"oneDNN: {what} failed: {_STATUS.get(status, f'status {status}')}",
        hint='lunar_core.kernels.disable("onednn") computes with NumPy instead',
    )
