"""From a trace to a straight-line program over chunks of arrays: dtypes, order, and where each value lives.

A :class:`Program` is what a compiling provider gets: the arrays, the constants, the steps in order, and
:meth:`Program.loop_source`, the same computation as a plain loop over elements.

Results may be written over inputs. A step writes into an input's memory only when nothing reads the input's old
values after it, so the program computes what the pure function says, whatever the order of its results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dtypes import is_floating
from .trace import FusedError, Node, Trace

_FLOAT32 = np.dtype(np.float32)
_BOOL = np.dtype(np.bool_)
_WEAK = {"i": int, "f": float}  # how ufunc.resolve_dtypes is asked for a Python number
_RESERVED = re.compile(r"(start|stop|chunk|i|j|np|copyto|kernel|[skct]\d+|out\d+|array\d+|np_.*|.*_)\Z")


class Slot:
    """Memory of the kernel: an argument's chunk or a scratch chunk.

    ``source`` is the parameter whose array an argument is, or the index of the new result that it takes.
    """

    __slots__ = ("dtype", "holds", "name", "result", "source", "writable")

    def __init__(self, name: str, dtype: np.dtype, source: str | int | None, writable: bool) -> None:
        self.name = name
        self.dtype = dtype
        self.source = source
        self.writable = writable
        self.result: Value | None = None  # what has to be in it at the end
        self.holds: Value | None = None

    @property
    def argument(self) -> bool:
        return self.source is not None


class Value:
    """An array value of the program; ``slot`` is where it lives."""

    __slots__ = ("dtype", "made", "slot", "used")

    slot: Slot

    def __init__(self, dtype: np.dtype, slot: Slot | None = None) -> None:
        self.dtype = dtype
        self.made = -1  # index of the step that computes it
        self.used = -1  # index of the last step that reads it
        if slot is not None:
            self.slot = slot


class Constant:
    """A number that the kernel is handed, or a literal; ``dtype`` is the one that its step computes in."""

    __slots__ = ("dtype", "name", "node")

    def __init__(self, node: Node, dtype: np.dtype, name: str) -> None:
        self.node = node
        self.dtype = dtype
        self.name = name


class Step:
    """``out = func(*args)``. ``func`` is a ufunc, or ``None`` for ``"where"`` and ``"copy"`` (which also converts)."""

    __slots__ = ("args", "func", "op", "out")

    def __init__(self, op: str, func: Any, args: Sequence[Value | Constant], out: Value) -> None:
        self.op = op
        self.func = func
        self.args = list(args)
        self.out = out


class Program:
    """A traced function for arrays of known dtypes.

    name        the function's name
    array_type  the library of the arrays, as the type of one (``numpy.ndarray``)
    arguments   the kernel's array arguments: the inputs that it touches and the new results ``out0``, ...
    constants   the numbers that it is handed, in order, each with a name and the dtype to compute in
    literals    numbers that are the same in every call
    steps       what it computes, in order; ``moves`` are copies into arguments after the last step
    use         ``use(kernel)`` puts a compiled kernel in place; set when the program is in use
    after       ``after(seconds, callback)`` calls back once the program has run for so long in all; set likewise
    scratch     the memory that the reference needs besides its arguments
    inputs      the value of each parameter that is an array
    touched     names of the parameters whose arrays are read or written
    """

    def __init__(self, trace: Trace, array_type: type, dtypes: dict[str, np.dtype], into: Sequence[str] | None) -> None:
        self.name = trace.name
        self.array_type = array_type
        self.use: Callable[[Callable[..., None]], None]
        self.after: Callable[[float, Callable[[], None]], None]
        self.steps: list[Step] = []
        self.constants: list[Constant] = []
        self.literals: list[Constant] = []
        self.scratch: list[Slot] = []
        self.moves: list[tuple[Slot, Value | Constant]] = []
        self.results: list[Slot] = []  # new arrays, in the order of the function's results; empty with `into`
        self._values: dict[Node, Value] = {}
        self._constants: dict[tuple[Node, np.dtype], Constant] = {}
        floating = {d for d in dtypes.values() if is_floating(d)}
        self._half = floating.pop() if len(floating) == 1 and is_half(next(iter(floating))) else None

        self._slots: dict[str, Slot] = {}
        for name, dtype in dtypes.items():
            safe = f"array{len(self._slots)}" if _RESERVED.match(name) else name
            slot = self._slots[name] = Slot(safe, dtype, name, into is not None and name in into)
            slot.holds = Value(dtype, slot)
        self.inputs = {name: slot.holds for name, slot in self._slots.items() if slot.holds is not None}
        self._lower(trace)
        self._place_results(trace.outputs, into)
        self._count_uses()
        self._allocate()

        used = [a.slot for s in self.steps for a in (*s.args, s.out) if isinstance(a, Value)]
        used += [slot for slot, _ in self.moves]
        self.arguments = [slot for slot in self._all_slots() if slot in used]
        self.touched = frozenset(str(slot.source) for slot in self.arguments if isinstance(slot.source, str))

    def loop_source(self, name: str = "kernel") -> str:
        """The kernel as a loop over single elements, in Python that a compiler for loops takes.

        Its arguments are ``start``, ``stop``, the one-dimensional arrays of ``arguments`` and the numbers of
        ``constants``; it uses ``np`` (NumPy) and changes the arrays in place from ``start`` to ``stop``. Raises
        FusedError for a function with a ufunc that is not NumPy's own.
        """
        from .source import loop_source

        return loop_source(self, name)

    def result_slots(self) -> list[Slot]:
        """The arguments that a value is stored into."""
        return [slot for slot in self._all_slots() if slot.result is not None]

    def _all_slots(self) -> list[Slot]:
        return [*self._slots.values(), *self.results]

    # -- steps -------------------------------------------------------------------------------------------------------

    def _lower(self, trace: Trace) -> None:
        wanted: set[Node] = set()
        stack = [o for o in trace.outputs if o.array]
        while stack:
            node = stack.pop()
            if node.array and node not in wanted:
                wanted.add(node)
                stack.extend(node.args)
        for node in trace.nodes:
            if node in wanted and node.op != "input":
                self._values[node] = self._step(node)

    def _value(self, node: Node) -> Value:
        """The value of an array node; half-precision inputs are converted to float32 where they are first used."""
        value = self._values.get(node)
        if value is None:
            raw = self._slots[node.value[0]].holds
            assert raw is not None
            value = raw
            if is_half(raw.dtype):
                value = Value(_FLOAT32)
                self.steps.append(Step("copy", None, [raw], value))
            self._values[node] = value
        return value

    def _constant(self, node: Node, dtype: np.dtype) -> Constant:
        if is_half(dtype):
            dtype = _FLOAT32
        constant = self._constants.get((node, dtype))
        if constant is None:
            group, letter = (self.literals, "c") if node.op == "const" else (self.constants, "k")
            constant = self._constants[node, dtype] = Constant(node, dtype, f"{letter}{len(group)}")
            group.append(constant)
        return constant

    def _step(self, node: Node) -> Value:
        inputs = [self._value(a) if a.array else a for a in node.args]
        if node.op == "where":
            dtype = np.result_type(*[x.dtype if isinstance(x, Value) else _weak(x) for x in inputs[1:]])
            dtypes = [_BOOL, dtype, dtype]
            out = dtype
        else:
            asked = [x.dtype if isinstance(x, Value) else _WEAK.get(x.kind, _BOOL) for x in inputs]
            try:
                *dtypes, out = node.func.resolve_dtypes((*asked, None))
                if out.hasobject:
                    raise TypeError("its result would be an array of Python objects")
            except TypeError as exc:
                shown = ", ".join(getattr(d, "name", getattr(d, "__name__", "?")) for d in asked)
                raise FusedError(f"{self.name}: np.{node.op} does not take ({shown})") from exc
        args = [x if isinstance(x, Value) else self._constant(x, d) for x, d in zip(inputs, dtypes)]
        step = Step(node.op, node.func, args, Value(out))
        self.steps.append(step)
        return step.out

    def _place_results(self, outputs: Sequence[Node], into: Sequence[str] | None) -> None:
        """Say for each result which slot it has to be in at the end."""
        copies = []
        for index, node in enumerate(outputs):
            if into is not None and node.op == "input" and node.value == (into[index],):
                continue  # handed back unchanged
            value = self._value(node) if node.array else None
            if into is not None:
                slot = self._slots[into[index]]
            else:
                slot = Slot(f"out{index}", self._result_dtype(node, value), index, True)
                self.results.append(slot)
            if value is None:
                self.moves.append((slot, self._constant(node, slot.dtype)))
                continue
            if hasattr(value, "slot"):  # an input as it is
                value, source = Value(value.dtype), value
                copies.append(Step("copy", None, [source], value))
            slot.result = value
        self.steps += copies

    def _result_dtype(self, node: Node, value: Value | None) -> np.dtype:
        """What NumPy would give; float32 computed from inputs that are all of one half precision goes back to that."""
        if value is not None:
            dtype = value.dtype
        else:
            inputs = [_FLOAT32 if is_half(s.dtype) else s.dtype for s in self._slots.values()]
            dtype = np.result_type(*inputs, _weak(node))
        return self._half if self._half is not None and dtype == _FLOAT32 else dtype

    def _count_uses(self) -> None:
        for index, step in enumerate(self.steps):
            step.out.made = index
            for arg in step.args:
                if isinstance(arg, Value):
                    arg.used = index
        for slot in self._slots.values():
            if slot.holds is not None and slot.holds.used < 0:
                slot.holds = None

    # -- memory ------------------------------------------------------------------------------------------------------

    def _allocate(self) -> None:
        """Linear scan: a value takes over the memory of one that dies, its own target first."""
        arguments = self._all_slots()
        targets = {slot.result: slot for slot in arguments if slot.result is not None}
        final = [(slot, slot.result) for slot in arguments if slot.result is not None]
        for index, step in enumerate(self.steps):
            values = [a for a in step.args if isinstance(a, Value)]
            dying = [a.slot for a in values if a.used == index and a not in targets]
            reusable = dying
            if step.op == "where" and not isinstance(step.args[0], Constant):
                # Written in two goes, the third operand and then the second where the condition holds: only the third
                # operand's memory may be written.
                kept = [a.slot for a in step.args[:2] if isinstance(a, Value)]
                reusable = [slot for slot in dying if slot not in kept]
            target = targets.get(step.out)
            if target is not None and _fits(target, step.out, reusable):
                chosen = target
            else:
                pool = [*dying, *self.scratch, *arguments] if target is None else self.scratch
                chosen = next((s for s in pool if _fits(s, step.out, reusable) and _spare(s, step.out)), None)  # type: ignore[assignment]
                if chosen is None:
                    chosen = Slot(f"s{len(self.scratch)}", step.out.dtype, None, True)
                    self.scratch.append(chosen)
            for slot in dying:
                slot.holds = None
            chosen.holds = step.out
            step.out.slot = chosen
        self.moves = [(slot, value) for slot, value in final if value.slot is not slot] + self.moves


def _fits(slot: Slot, value: Value, reusable: Sequence[Slot]) -> bool:
    return slot.writable and slot.dtype == value.dtype and (slot.holds is None or slot in reusable)


def _spare(slot: Slot, value: Value) -> bool:
    """Whether ``slot`` may serve ``value``: scratch always, a result's slot until the result is computed."""
    return not slot.argument or (slot.result is not None and value.used <= slot.result.made)


def is_half(dtype: np.dtype) -> bool:
    """Floating types below float32: computed in float32, stored as they are."""
    return dtype.itemsize < 4 and is_floating(dtype)


def _weak(node: Node) -> Any:
    """A stand-in with which ``np.result_type`` treats a Python number as weak."""
    return {"i": 0, "f": 0.0}.get(node.kind, False)


Compiler = Callable[[Program], "Callable[..., None] | None"]
"""Given a program, ``kernel(start, stop, *arrays, *constants)`` that does what it says, or ``None``.

Parts of one call may run in several threads at a time.
"""
