"""Plans: what a kernel has prepared for one signature, so that a call sets addresses and runs.

A plan is made once for each signature (shapes, strides, static arguments) and thread; making one takes tenths of a
millisecond. It holds oneDNN's primitives in the order of their runs and the memory objects between them. Which
implementation a signature gets depends on nothing else, never on a measurement, so that a step that is run again gives the
same bits.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from ctypes import byref, c_size_t
from typing import Any

import numpy as np

from . import dnnl, threads
from .dnnl import API, Argument, Handle, Unsupported
from .library import DATA_OFFSET, library

FLOAT32 = np.dtype(np.float32)
LIMIT = 512
"""Plans that one thread keeps for one op; the oldest goes first."""

_ALIGNMENT = 64
_BRIEF = 1 << 15
"""Bytes of memory up to which a step takes a few microseconds, in which other threads of Python may wait."""
Run = Callable[..., Any]


def address(array: np.ndarray) -> int:
    """Where the data of an array begin."""
    return c_size_t.from_address(id(array) + DATA_OFFSET).value


def code_of(dtype: np.dtype) -> int | None:
    """oneDNN's number of a dtype that matrix products and convolutions take: float32 and bfloat16; ``None`` for others."""
    if dtype == FLOAT32:
        return dnnl.F32
    return dnnl.BF16 if dtype.itemsize == 2 and dtype.name == "bfloat16" else None


def dtype_of(code: int) -> np.dtype:
    """The dtype for one of oneDNN's numbers."""
    if code == dnnl.BF16:
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return FLOAT32


def unsupported(*_: Any) -> Any:
    """The plan of a signature that is left to the next provider."""
    return NotImplemented


class _Table(dict[Any, Run]):
    """The plans of one op in one thread."""

    __slots__ = ("__weakref__",)


class Plans(threading.local):
    """The plans of one op.

    ``make(api, key)`` prepares the function for a new key; it raises :class:`Unsupported` where oneDNN is no help. The
    function is called with the arrays of the kernel. ``table`` is that of the calling thread.
    """

    def __init__(self, make: Callable[[API, Any], Run]) -> None:
        self._make = make
        self.table = _Table()
        _tables.append(weakref.ref(self.table, _tables.remove))

    def add(self, key: Any) -> Run:
        """Make the plan for ``key`` and keep it."""
        api = library.load()
        if api is None:
            return unsupported
        threads.adopt()
        try:
            run = self._make(api, key)
        except Unsupported:
            run = unsupported
        table = self.table
        while len(table) >= LIMIT:
            table.pop(next(iter(table)), None)
        table[key] = run
        return run


_tables: list[weakref.ref[_Table]] = []


def clear() -> None:
    """Drop the plans of all threads, and the scratch memory that this thread keeps for them."""
    for reference in list(_tables):
        table = reference()
        if table is not None:
            table.clear()
    _thread.scratch = _aligned(1 << 16)


threads.forget_on_change(clear)


def _aligned(nbytes: int) -> np.ndarray:
    raw = np.empty(nbytes + _ALIGNMENT, np.uint8)
    return raw[-address(raw) % _ALIGNMENT :][:nbytes]


class _Thread(threading.local):
    """What belongs to a thread: a stream, and memory that its plans share because they run one after the other."""

    stream: Handle | None = None

    def __init__(self) -> None:
        self.scratch = _aligned(1 << 16)
        self.plans: weakref.WeakSet[Plan] = weakref.WeakSet()

    def place(self, plan: Plan) -> None:
        """Give a plan its temporaries; all plans move where it needs more than there is."""
        self.plans.add(plan)
        if plan.nbytes > self.scratch.size:
            self.scratch = _aligned(plan.nbytes)
            for each in list(self.plans):
                each.move(self.scratch)
        else:
            plan.move(self.scratch)


_thread = _Thread()


class Memory:
    """A memory object of a plan and its layout."""

    __slots__ = ("handle", "layout", "others", "pointer")

    def __init__(self, api: API, layout: Handle) -> None:
        self.layout = layout
        self.others: list[Memory] = []  # the same data seen in other layouts
        self.handle = api.memory(layout)
        self.pointer = self.handle.pointer


class Plan:
    """Collects the operands and steps of a plan; :meth:`finish` makes the function that runs them.

    Operands are the arrays that a call brings, in the order of :meth:`operand`. Temporaries lie in the scratch memory of
    the thread and hold nothing between calls.
    """

    def __init__(self, api: API) -> None:
        self.api = api
        self._operands: list[Memory] = []
        self._temporaries: list[Memory] = []
        self._constants: list[np.ndarray] = []
        self._steps: list[tuple[Any, Handle, Any, Any]] = []

    def operand(self, layout: Handle) -> Memory:
        memory = Memory(self.api, layout)
        self._operands.append(memory)
        return memory

    def temporary(self, layout: Handle) -> Memory:
        memory = Memory(self.api, layout)
        self._temporaries.append(memory)
        return memory

    def view(self, memory: Memory, layout: Handle) -> Memory:
        """The same data in another layout: no copy."""
        other = Memory(self.api, layout)
        memory.others.append(other)
        return other

    def constant(self, layout: Handle, values: np.ndarray) -> Memory:
        """A memory whose contents every call shares."""
        memory = Memory(self.api, layout)
        self.api.set_data_handle(memory.pointer, address(values))
        self._constants.append(values)
        return memory

    def step(self, described: Handle, arguments: Mapping[int, Memory]) -> None:
        """Run a primitive with the memories in their roles; its scratchpad is added."""
        roles = dict(arguments)
        scratchpad = self.api.layout(described, dnnl.SCRATCHPAD_MD)
        if scratchpad is not None:
            roles[dnnl.SCRATCHPAD] = self.temporary(scratchpad)
        array = (Argument * len(roles))(*[Argument(role, memory.pointer) for role, memory in roles.items()])
        brief = sum(self.api.size(memory.layout) for memory in roles.values()) <= _BRIEF
        execute = self.api.execute_briefly if brief else self.api.execute
        self._steps.append((execute, self.api.primitive(described), array, list(roles.values())))

    def as_layout(self, memory: Memory, layout: Handle) -> Memory:
        """``memory`` in another layout: itself, or a copy that a step before the next one makes."""
        if self.api.same(memory.layout, layout):
            return memory
        copy = self.temporary(layout)
        self.copy(memory, copy)
        return copy

    def copy(self, source: Memory, target: Memory) -> None:
        """A step that copies between layouts."""
        described = self.api.describe("reorder", source.layout, target.layout)
        self.step(described, {dnnl.SRC: source, dnnl.DST: target})

    @property
    def nbytes(self) -> int:
        """What the temporaries take."""
        return sum(map(self._room, self._temporaries))

    def _room(self, memory: Memory) -> int:
        return -(-self.api.size(memory.layout) // _ALIGNMENT) * _ALIGNMENT

    def move(self, scratch: np.ndarray) -> None:
        """Let the temporaries lie in ``scratch``, which the plan keeps alive."""
        self._scratch = scratch
        start = address(scratch)
        for memory in self._temporaries:
            for each in (memory, *memory.others):
                self.api.set_data_handle(each.pointer, start)
            start += self._room(memory)

    def sums(self, rows: Memory, count: int) -> np.ndarray:
        """A step that sums each row of a matrix (count, width); the array that holds the sums after every run.

        A sum is NaN where a number of its row is. Reading the sums is cheaper than reading the rows by far where other
        cores wrote them.
        """
        sums = np.zeros(count, FLOAT32)
        target = self.constant(self.api.strided((count, 1), (1, 1)), sums)
        described = self.api.describe("reduction", dnnl.REDUCTION_SUM, rows.layout, target.layout, 0.0, 0.0)
        self.step(described, {dnnl.SRC: rows, dnnl.DST: target})
        return sums

    def finish(self) -> Run:
        """The function that takes the operands' arrays and runs the steps."""
        api = self.api
        _thread.place(self)
        if _thread.stream is None:
            _thread.stream = api.stream()
        stream = _thread.stream.pointer
        memories = [memory.pointer for memory in self._operands]
        views = [(other.pointer, i) for i, memory in enumerate(self._operands) for other in memory.others]
        steps = [(execute, primitive.pointer, len(array), byref(array)) for execute, primitive, array, _ in self._steps]
        set_data, at = api.set_data_handle, c_size_t.from_address
        kept = (self, _thread.stream)  # what the pointers below point to

        def run(*arrays: np.ndarray, _kept: Any = kept) -> None:
            for memory, array in zip(memories, arrays):
                set_data(memory, at(id(array) + DATA_OFFSET).value)
            for memory, number in views:
                set_data(memory, at(id(arrays[number]) + DATA_OFFSET).value)
            for execute, primitive, count, arguments in steps:
                status = execute(primitive, stream, count, arguments)
                if status:
                    raise dnnl.failure("a primitive", status)

        return run


# -- layouts -----------------------------------------------------------------------------------------------------------


def strides_of(strides: Sequence[int], itemsize: int = 4) -> tuple[int, ...]:
    """Byte strides in elements. Raises :class:`Unsupported` for those that no plain layout has."""
    result = []
    for stride in strides:
        if stride % itemsize or stride < 0:
            raise Unsupported("strides")
        result.append(stride // itemsize)
    return tuple(result)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of an array whose last axis is densest."""
    return packed(shape, range(len(shape)))


def packed(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a dense array whose axes lie in ``order``, the densest last."""
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(order):
        strides[axis] = step
        step *= max(1, shape[axis])
    return tuple(strides)


def lies(shape: Sequence[int], strides: Sequence[int], expected: Sequence[int]) -> bool:
    """Whether strides address the same elements as the expected ones: those of axes of length 1 do not matter."""
    return all(n == 1 or a == b for n, a, b in zip(shape, strides, expected))


def channels_last(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of a dense (N, C, ...) array whose channels lie densest."""
    return packed(shape, (0, *range(2, len(shape)), 1))


def separate(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether no two elements share memory, so that a layout with these strides is a permutation with gaps."""
    extent = 1
    for stride, n in sorted((s, n) for s, n in zip(strides, shape) if n > 1):
        if stride < extent:
            return False
        extent = stride * n
    return True


# -- images ------------------------------------------------------------------------------------------------------------

_NHWC_TO_NCHW = (0, 3, 1, 2)


def images_like(shape: tuple[int, ...], dtype: np.dtype = FLOAT32) -> np.ndarray:
    """A new (N, C, H, W) array that lies channels-last."""
    n, c, h, w = shape
    return np.empty((n, h, w, c), dtype).transpose(_NHWC_TO_NCHW)


def image_operand(plan: Plan, shape: tuple[int, ...], byte_strides: Sequence[int], dtype: int = dnnl.F32) -> Memory:
    """Images as an operand, in any plain layout."""
    strides = strides_of(byte_strides, dnnl.SIZES[dtype])
    wanted = channels_last(shape)
    if lies(shape, strides, wanted):
        strides = wanted
    elif not separate(shape, strides):
        raise Unsupported("overlapping images")
    return plan.operand(plan.api.strided(shape, strides, dtype))
