"""The fused function itself: it looks at its arguments, finds or makes a plan, and runs it."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from .. import backend
from ..errors import ShapeError
from .plan import Plan, compilers
from .program import Program
from .run import interpret
from .trace import FusedError, trace

_MAX_KINDS = 256  # distinct kinds of calls kept per function
_MAX_VARIANTS = 64  # distinct outcomes of branches on numbers kept per kind of call
_NUMBERS = (int, float)
_STATIC = (bool, str, bytes, type(None))

_PLAIN_TUPLES: set[tuple[type, ...]] = set()  # the types of tuples that are known to hold ints and floats only

_live: weakref.WeakSet[Fused] = weakref.WeakSet()


class _Layout:
    """What the types of the arguments say: which are arrays, numbers, tuples, statics, and which need conversion."""

    __slots__ = ("arrays", "convert", "numpy", "scalars", "statics", "tuples")

    def __init__(self, name: str, names: Sequence[str], values: Sequence[Any]) -> None:
        self.arrays: list[int] = []
        self.scalars: list[int] = []
        self.tuples: list[int] = []
        self.statics: list[int] = []
        self.convert: list[int] = []
        self.numpy = True
        for i, value in enumerate(values):
            kind = type(value)
            if kind in _NUMBERS:
                self.scalars.append(i)
            elif isinstance(value, (np.bool_, np.number)):
                self.convert.append(i)
            elif kind is tuple or kind is list:
                self.tuples.append(i)
                self.scalars.append(i)
            elif isinstance(value, np.ndarray):
                self.arrays.append(i)
            elif isinstance(value, (*_STATIC, type)) or inspect.isroutine(value):
                self.statics.append(i)
            elif hasattr(value, "dtype") and hasattr(value, "ndim") and not hasattr(value, "requires_grad"):
                self.arrays.append(i)  # another library's
                self.numpy = False
            else:
                hint = "fused functions work on raw arrays: use x.data, or make an Op of the function"
                raise FusedError(
                    f"{name}: argument {names[i]!r} is a {kind.__name__}; expected an array, a number, a tuple of "
                    "numbers, or a bool, str or None",
                    hint=hint if hasattr(value, "requires_grad") else None,
                )


class Fused:
    """A fused elementwise function; see :mod:`lunar_core.fusion`. Made by :func:`fused`.

    Calling it returns new arrays, or with ``into`` the arrays that the results were written over.
    """

    def __init__(
        self, function: Callable[..., Any], into: Sequence[str] | None = None, name: str | None = None
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = str(name or getattr(function, "__name__", "fused function"))
        self.into = tuple([into] if isinstance(into, str) else into) if into is not None else None
        self.signature = inspect.signature(function)
        parameters = list(self.signature.parameters.values())
        for p in parameters:
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise FusedError(f"{self.name}: *{p.name} has no fixed number of arguments", hint="name each argument")
        self.names = tuple(p.name for p in parameters)
        self._keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        self._positions = {name: i for i, name in enumerate(self.names)}
        for target in self.into or ():
            if target not in self._positions:
                raise FusedError(f"{self.name}: into={target!r}, but the arguments are {', '.join(self.names)}")
        if self.into is not None and len(set(self.into)) < len(self.into):
            raise FusedError(f"{self.name}: into={self.into} names an argument twice")
        self._layouts: dict[tuple[type, ...], _Layout] = {}
        self._plans: dict[Any, list[Plan]] = {}
        _live.add(self)

    def __repr__(self) -> str:
        return f"<fused {self.name}({', '.join(self.names)})>"

    def __reduce__(self) -> Any:
        return Fused, (self.function, self.into, self.name)

    def __deepcopy__(self, memo: Any) -> Fused:
        return self

    # -- calling -----------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != len(self.names):
            try:
                bound = self.signature.bind(*args, **kwargs)
            except TypeError as exc:
                raise FusedError(f"{self.name}: {exc}", hint=f"it takes {', '.join(self.names)}") from None
            bound.apply_defaults()
            args = tuple(bound.arguments[name] for name in self.names)
        return self.call(args)

    def call(self, values: Sequence[Any]) -> Any:
        """Call it with the arguments in the order of ``names``, keyword-only ones included."""
        values, layout = self.prepare(values)
        if not layout.arrays:
            return self._call(values)
        with np.errstate(all="ignore"):
            plan, constants = self._plan(values, layout)
            shared = None
            if layout.numpy or plan.runner.compiled is not None:
                shared = _common_layout([values[i] for i in layout.arrays])
            if shared is None:
                return self._interpreted(plan, constants, values, layout)
            return self._planned(plan, constants, values, layout, shared)

    def prepare(self, args: Sequence[Any]) -> tuple[Sequence[Any], _Layout]:
        """The arguments with NumPy numbers as Python ones, and what their types say."""
        types = tuple(map(type, args))
        layout = self._layouts.get(types)
        if layout is None:
            if len(self._layouts) >= _MAX_KINDS:
                self._layouts.clear()
            layout = self._layouts[types] = _Layout(self.name, self.names, args)
        for i in layout.tuples:
            if type(args[i]) is not tuple or tuple(map(type, args[i])) not in _PLAIN_TUPLES:
                plain = tuple([v.item() if isinstance(v, (np.bool_, np.number)) else v for v in args[i]])
                args = [*args[:i], plain, *args[i + 1 :]]
        if layout.convert:
            return self.prepare([v.item() if i in layout.convert else v for i, v in enumerate(args)])
        return args, layout

    def lookup(self, values: Sequence[Any]) -> tuple[Plan, Sequence[Any]]:
        """The plan for a call with these arguments (in the order of ``names``) and the kernel's constants."""
        values, layout = self.prepare(values)
        return self._plan(values, layout)

    def _plan(self, values: Sequence[Any], layout: _Layout) -> tuple[Plan, Sequence[Any]]:
        key = (
            layout,
            *[values[i].dtype for i in layout.arrays],
            *[values[i] for i in layout.statics],
            *[_tuple_key(values[i]) for i in layout.tuples],
        )
        variants = self._plans.get(key)
        if variants is not None:
            for plan in variants:
                constants = plan.constants(values)
                if constants is not None:
                    return plan, constants
        plan = self._make_plan(values, layout)
        if variants is None or len(variants) >= _MAX_VARIANTS:
            if len(self._plans) >= _MAX_KINDS:
                self._plans.clear()
            variants = self._plans[key] = []
        variants.append(plan)
        constants = plan.constants(values)
        assert constants is not None
        return plan, constants

    def _make_plan(self, values: Sequence[Any], layout: _Layout) -> Plan:
        arrays = {self.names[i]: values[i] for i in layout.arrays}
        for target in self.into or ():
            if target not in arrays:
                got = type(values[self._positions[target]]).__name__
                raise FusedError(f"{self.name}: into={target!r} has to be an array, got {got}")
        arguments = dict(zip(self.names, values))
        traced = trace(self.name, self._call, arguments, frozenset(arrays))
        if self.into is not None and len(traced.outputs) != len(self.into):
            raise FusedError(
                f"{self.name}: returned {len(traced.outputs)} values for the {len(self.into)} targets "
                f"{', '.join(self.into)}"
            )
        dtypes = {name: array.dtype for name, array in arrays.items()}
        array_type = np.ndarray if layout.numpy else type(next(iter(arrays.values())))
        return Plan(traced, Program(traced, array_type, dtypes, self.into), self._positions, layout.scalars)

    def _call(self, values: Sequence[Any]) -> Any:
        """The function itself."""
        if not self._keywords:
            return self.function(*values)
        count = len(values) - len(self._keywords)
        return self.function(*values[:count], **dict(zip(self._keywords, values[count:])))

    def _planned(
        self, plan: Plan, constants: Sequence[Any], values: Sequence[Any], layout: _Layout, shared: Any
    ) -> Any:
        first = values[layout.arrays[0]]
        arrays = []
        results: list[Any] = []
        for slot in plan.program.arguments:
            if isinstance(slot.source, str):
                array = values[self._positions[slot.source]]
            else:
                xp = np if layout.numpy else backend.of(first).xp
                array = _empty(xp, first, slot.dtype, shared)
                results.append(array)
            arrays.append(_flat(array, shared))
        if self.into is not None:
            arrays = self._apart(arrays, plan)
            self._check_writable([values[self._positions[name]] for name in self.into])
            results = [values[self._positions[name]] for name in self.into]
        plan.runner(first.size, arrays, constants)
        return tuple(results) if plan.trace.returns_tuple else results[0]

    def _apart(self, arrays: list[Any], plan: Plan) -> list[Any]:
        """Copies of the inputs that share memory with an array that is written."""
        slots = plan.program.arguments
        written = [a for a, slot in zip(arrays, slots) if slot.writable]
        return [
            a.copy() if not slot.writable and any(_share_memory(a, w) for w in written) else a
            for a, slot in zip(arrays, slots)
        ]

    def _check_writable(self, targets: Sequence[Any]) -> None:
        for name, target in zip(self.into or (), targets):
            if isinstance(target, np.ndarray) and not target.flags.writeable:
                raise FusedError(f"{self.name}: {name!r} is read-only")
        for i, a in enumerate(targets):
            for b in targets[i + 1 :]:
                if _share_memory(a, b):
                    raise FusedError(f"{self.name}: two of the targets {', '.join(self.into or ())} share memory")

    def _interpreted(self, plan: Plan, constants: Sequence[Any], values: Sequence[Any], layout: _Layout) -> Any:
        """Step by step over whole arrays, for those that broadcast, are strided or of another library."""
        program = plan.program
        arrays = {self.names[i]: values[i] for i in layout.arrays}
        xp = np if layout.numpy else backend.of(values[layout.arrays[0]]).xp
        try:
            shape = np.broadcast_shapes(*[a.shape for a in arrays.values()])
            computed = interpret(program, xp, arrays, constants)
        except ValueError as exc:
            shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
            raise ShapeError(f"{self.name}: the arrays do not broadcast: {shapes}") from exc
        if self.into is None:
            results = [computed[slot] for slot in program.results]
            results = [
                r if hasattr(r, "shape") else xp.full(shape, r, s.dtype) for r, s in zip(results, program.results)
            ]
        else:
            results = [arrays[name] for name in self.into]
            self._check_writable(results)
            for slot, value in computed.items():
                target = arrays[str(slot.source)]
                if getattr(value, "shape", ()) not in ((), target.shape):
                    raise ShapeError(
                        f"{self.name}: {slot.source!r} of shape {target.shape} cannot hold a result of {value.shape}"
                    )
            for slot, value in computed.items():
                arrays[str(slot.source)][...] = value
        return tuple(results) if plan.trace.returns_tuple else results[0]

    # -- looking inside ----------------------------------------------------------------------------------------------

    def plan(self, *args: Any, **kwargs: Any) -> Plan:
        """The plan that a call with these arguments runs."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        plan, _ = self.lookup([bound.arguments[name] for name in self.names])
        return plan

    def source(self, *args: Any, **kwargs: Any) -> str:
        """The generated code that a call with these arguments runs: the numbers' part, then the kernel."""
        plan = self.plan(*args, **kwargs)
        return f"{plan.scalars_source}\n{plan.runner.source}"

    def forget(self) -> None:
        """Drop all traces, so that the next calls ask the compilers anew."""
        self._plans.clear()


def forget_all() -> None:
    """Let every fused function trace anew, after the set of compilers or kernel providers changed."""
    for function in list(_live):
        function.forget()


def _tuple_key(value: tuple[Any, ...]) -> Any:
    types = tuple(map(type, value))
    if types in _PLAIN_TUPLES:
        return types
    if not all(t in _NUMBERS for t in types):
        return value
    if len(_PLAIN_TUPLES) < _MAX_KINDS:
        _PLAIN_TUPLES.add(types)
    return types


def _common_layout(arrays: Sequence[Any]) -> tuple[int, ...] | None:
    """The order of axes in which all arrays are dense in memory, so that they become vectors; ``None`` if there is
    none.

    ``()`` stands for the axes' own order.
    """
    shape = arrays[0].shape
    contiguous = True
    for a in arrays:
        if a.shape != shape:
            return None
        contiguous = contiguous and a.flags.c_contiguous
    if contiguous:
        return ()
    strides = arrays[0].strides
    axes = tuple(sorted(range(len(shape)), key=lambda i: -strides[i]))
    return axes if all(a.transpose(axes).flags.c_contiguous for a in arrays) else None


def _flat(array: Any, axes: tuple[int, ...]) -> Any:
    if array.ndim == 1:
        return array
    return (array.transpose(axes) if axes else array).reshape(-1)


def _empty(xp: Any, like: Any, dtype: np.dtype, axes: tuple[int, ...]) -> Any:
    """A new array whose axes lie in memory as those of ``like``."""
    if not axes:
        return xp.empty(like.shape, dtype)
    dense = xp.empty([like.shape[i] for i in axes], dtype)
    return dense.transpose(sorted(range(len(axes)), key=axes.__getitem__))


def _share_memory(a: Any, b: Any) -> bool:
    return bool(backend.of(a).xp.may_share_memory(a, b))


@overload
def fused(function: Callable[..., Any], *, into: Sequence[str] | str | None = None) -> Fused: ...
@overload
def fused(*, into: Sequence[str] | str | None = None) -> Callable[[Callable[..., Any]], Fused]: ...
def fused(function: Callable[..., Any] | None = None, *, into: Sequence[str] | str | None = None) -> Any:
    """Make a pure elementwise function fast; a decorator, or a call on the function. See :mod:`lunar_core.fusion`.

    ``into`` names the array arguments that the results are written over, one for each result, in order; without it
    every call returns new arrays.

    ``fused.compilers`` is the list of compilers: functions that are given a :class:`Program` and return a kernel
    ``kernel(start, stop, *arrays, *constants)`` or ``None``. They are asked in order when a call of a new kind is
    traced, and after them the method ``fused(program)`` of the kernel providers (:mod:`lunar_core.kernels`) that have
    one; the NumPy reference runs when none answers. A compiler that takes its time returns ``None`` and calls
    ``program.use(kernel)`` later, from any thread; ``program.after(seconds, callback)`` tells it when the program has
    run for so long that compiling pays.

    Raises :class:`FusedError` at the first call of a kind if the function is not elementwise or not pure or an
    operation does not take the dtypes, :class:`~lunar_core.errors.ShapeError` for arrays that do not broadcast.
    """
    if function is None:
        return lambda f: Fused(f, into)
    return Fused(function, into)


fused.compilers = compilers  # type: ignore[attr-defined]
