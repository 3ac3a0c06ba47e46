"""What an op is, and the one place where an op is applied.

An :class:`Op` is data: a forward on raw arrays, a gradient rule, which arrays the rule needs, the shape rule and samples.
``op(*inputs, **static)`` applies it. Inputs may be Tensors, raw arrays and Python numbers; with at least one Tensor the
result is a Tensor and is recorded when a gradient is due, with none the result is a raw array. Third parties add ops with
the same constructor.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import autograd, backend
from .autograd import Node, Pick, Result, clock, counter
from .carried import Carried, level_of
from .errors import DeviceError, DTypeError, IndexingError, LunarError, ShapeError
from .modes import modes
from .tensor import Tensor, by_default

OUTPUT = -1  # in `save`: keep the result itself
INPUTS = "inputs"  # as `save`: keep every input, for ops that take any number of them
SHAPES = "shapes"  # as `save`: keep the shape of every input, for ops that take any number of them
_new = object.__new__
_PLAIN = frozenset({int, float, bool, complex, type(None)})  # handed to the array library as they are


class Shape(NamedTuple):
    """In ``save``: keep only the shape of input ``index``, not the array."""

    index: int  # type: ignore[assignment]  # a tuple has a method of that name


class Spec(NamedTuple):
    """Shape and dtype of an array without its data: what abstract rules take and give."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)


class Sample(NamedTuple):
    """One line of an op's sample table: positional inputs (arrays or numbers) and keyword arguments.

    ``grad`` says whether the gradient checks apply (a kink or an integer input has none); ``torch`` may hold a call for
    PyTorch when its spelling differs: ``torch(torch_module, *tensors)``.
    """

    args: tuple[Any, ...]
    static: dict[str, Any] = {}  # noqa: RUF012 (read only)
    grad: bool = True
    torch: Any = None


OPS: dict[str, Op] = {}
Tracer = Callable[["Op", tuple[Any, ...], dict[str, Any]], Any]


class _Slot:
    """The one slot for whoever wants to see every applied op: a tracer, function transforms, autocast.

    ``busy`` is the one thing that an application looks at. It is set while there is a tracer, and while any thread is in
    a block that :meth:`enter` announced; what such a block does to an op is found from the op's inputs (a transform) or
    from the thread's modes (autocast).
    """

    __slots__ = ("_blocks", "_lock", "_tracer", "busy")

    def __init__(self) -> None:
        self._blocks = 0
        self._lock = threading.Lock()
        self._tracer: Tracer | None = None
        self.busy = False

    @property
    def tracer(self) -> Tracer | None:
        return self._tracer

    @tracer.setter
    def tracer(self, tracer: Tracer | None) -> None:
        with self._lock:
            self._tracer = tracer
            self.busy = tracer is not None or self._blocks > 0

    def enter(self, change: int = 1) -> None:
        """A block begins in which applications are to be looked at."""
        with self._lock:
            self._blocks += change
            self.busy = self._tracer is not None or self._blocks > 0

    def leave(self) -> None:
        self.enter(-1)


slot = _Slot()


class Op:
    """A primitive operation.

    name      registry name; the gradient errors and hooks speak of it
    forward   ``forward(xp, *arrays, **static)``: raw arrays in and out; ``xp`` is the array library of the inputs.
              Or the name of a ufunc, which every array library has.
    vjp       ``vjp(F, g, saved, need, **static)``: gradients of the inputs, ``None`` where ``need`` is false. ``F`` is the
              namespace of ops over what the rule got: raw arrays in plain backward, Tensors under ``create_graph``. An
              op without a derivative has ``None``.
    save      what ``saved`` holds: input indices, ``OUTPUT``, ``Result(i)`` (of several results the i-th), ``Shape(i)``,
              or ``INPUTS`` or ``SHAPES`` of all; a single one is handed over bare, a tuple as a tuple; nothing else is
              kept
    abstract  ``abstract(*specs, **static)``: the :class:`Spec` of the result (a tuple of them for several results)
    samples   the op's table, a list of :class:`Sample` or a function that makes it; it drives gradient checks, parity,
              the abstract check and the docs. An op without samples does not register.
    broadcasts  the inputs broadcast, so gradients are summed back to each input's shape by the engine
    heavy     dispatched through :mod:`lunar_core.kernels`, where providers may take it over
    results   how many of several results are the op's; those behind them are kept for the rule and have no gradient
    overwrites  ``vjp`` takes ``into=``, memory of the incoming gradient that nobody else sees: the result may lie there
    cast      under :func:`lunar_core.autocast`: ``"low"`` (in the low precision), ``"float32"``, ``"promote"`` (the widest
              floating dtype among the inputs), or ``None`` (as the inputs come)

    What forward mode and ``vmap`` take beyond that; both work without, only slower:

    elementwise  each element of the result depends on the same element of the inputs, which broadcast: says both
    jvp       the rule of forward mode. ``"linear"``: the op itself on the tangents. ``"symmetric"``: the Jacobian is its
              own transpose, so the vjp serves (elementwise functions). ``"bilinear"``: linear in each of the first two
              inputs, the others are added. ``"multilinear"``: linear in each. Or ``jvp(F, tangents, saved, **static)``,
              with ``None`` for an input that does not move. Without a rule the vjp is transposed.
    batch     the rule of ``vmap``: the name of a scheme or a function, see :mod:`lunar_core.batched`
    """

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any] | str,
        vjp: Callable[..., Sequence[Any]] | None = None,
        *,
        save: Any = (),
        abstract: Callable[..., Any],
        samples: Callable[[], Iterable[Sample]] | Iterable[Sample],
        broadcasts: bool = False,
        elementwise: bool = False,
        jvp: Callable[..., Any] | str | None = None,
        batch: Callable[..., Any] | str | None = None,
        cast: str | None = None,
        heavy: bool = False,
        results: int | None = None,
        overwrites: bool = False,
        doc: str = "",
    ) -> None:
        if name in OPS:
            raise LunarError(f"an op named {name!r} exists already", hint="choose another name, such as 'mylib_relu'")
        self.name = name
        self.__name__ = self.__qualname__ = name
        self.__doc__ = doc
        self.forward = forward
        self.vjp = vjp
        self.jvp = jvp or ("symmetric" if elementwise else None)
        self.batch = batch or ("elementwise" if elementwise else None)
        self.cast = cast
        self.save = save
        self.abstract = abstract
        self.broadcasts = broadcasts
        self.heavy = heavy
        self.results = results
        self.overwrites = overwrites
        self._samples = samples
        self._bound: dict[type, Callable[..., Any]] = {}
        self._appliers: dict[int, Callable[..., Any]] = {}
        self._direct: dict[int, Callable[..., Any]] = {}  # those that skip the tracer
        if not callable(samples) and not list(samples):
            raise LunarError(f"op {name!r} has no samples", hint="give samples=[Sample((array,))]: they are its tests")
        OPS[name] = self

    def __repr__(self) -> str:
        return f"<Op {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return OPS.__getitem__, (self.name,)

    def samples(self) -> list[Sample]:
        """The sample table."""
        return list(self._samples() if callable(self._samples) else self._samples)

    def bound(self, array_type: type) -> Callable[..., Any]:
        """The raw function for arrays of ``array_type``, with its array library filled in."""
        function = self._bound.get(array_type)
        return self._bind(array_type) if function is None else function

    def _bind(self, array_type: type) -> Callable[..., Any]:
        if issubclass(array_type, Carried):
            return self._bound.setdefault(array_type, functools.partial(array_type.apply, self))
        for cls in array_type.__mro__:
            if cls in backend.BACKENDS:
                xp = backend.BACKENDS[cls].xp
                break
        else:
            raise DTypeError(f"{self.name}: expected tensors or arrays, got {array_type.__name__}")
        function: Callable[..., Any]
        function = getattr(xp, self.forward) if isinstance(self.forward, str) else functools.partial(self.forward, xp)
        if self.heavy:
            from . import kernels

            function = kernels.dispatcher(self, array_type, function)
        self._bound[array_type] = function
        return function

    def unbind(self) -> None:
        """Forget the bound functions, after the set of kernel providers changed."""
        self._bound.clear()
        _RAW.clear()

    # -- application -------------------------------------------------------------------------------------------------

    def __call__(self, *inputs: Any, **static: Any) -> Any:
        applier = self._appliers.get(len(inputs))
        if applier is None:
            applier = self.applier(len(inputs))
        return applier(*inputs, **static)

    def applier(self, count: int) -> Callable[..., Any]:
        """The function that applies this op to ``count`` inputs; what ``op(...)`` calls, without its detour."""
        if count not in self._appliers:
            self._appliers[count] = _compile_applier(self, count)
        return self._appliers[count]

    def reflected(self) -> Callable[..., Any]:
        """``f(y, x)`` that is ``self(x, y)``, as fast where y is a Tensor and x a number: the operators ``1 - y``."""
        return _compile_applier(self, 2, lead=1)

    def apply(self, inputs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """Apply without the tracer: what a tracer calls to go on. Other threads are traced meanwhile."""
        before, modes.traced = modes.traced, False
        try:
            return self._untraced(inputs, static)
        finally:
            modes.traced = before

    def _untraced(self, inputs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        count = len(inputs)
        applier = self._direct.get(count)
        if applier is None:
            applier = self._direct[count] = _compile_applier(self, count, traced=False)
        return applier(*inputs, **static)

    def _general(self, inputs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """An application that is looked at, or whose inputs have to become arrays first."""
        if not slot.busy:
            return self._settle(inputs, static, self.__call__)
        if modes.level is not None:
            level = level_of((*inputs, *_carried_index(static)))
            if level is not None:
                return self._untraced(level.lifted(self, inputs), static)
        if modes.autocast is not None and self.cast is not None:
            inputs = modes.autocast(self.cast, inputs)
        tracer = slot.tracer if modes.traced else None
        out = self._untraced(inputs, static) if tracer is None else tracer(self, inputs, static)
        if modes.saving is not None:
            from .saving import pack_saved

            pack_saved(out, *modes.saving)
        return out

    def _settle(self, inputs: tuple[Any, ...], static: dict[str, Any], again: Callable[..., Any]) -> Any:
        """Apply to inputs of which the first is no Tensor, or of which one has to become an array first."""
        like = next((v.data if isinstance(v, Tensor) else v for v in inputs if _is_array(v)), None)
        if like is None and any(isinstance(v, np.generic) for v in inputs):
            return self._settle(tuple(np.asarray(v) if isinstance(v, np.generic) else v for v in inputs), static, again)
        if like is None:
            number = not inputs or isinstance(inputs[0], (int, float, complex))
            like = np.zeros((), modes.dtype) if number else np.asarray(inputs[0])
        elif not any(isinstance(v, Tensor) for v in inputs):
            return self._raw(inputs, static, like)
        self.bound(type(like))
        return again(*[self._normalize(v, like, first=not i) for i, v in enumerate(inputs)], **static)

    def _raw(self, inputs: tuple[Any, ...], static: dict[str, Any], like: Any) -> Any:
        """Raw arrays in, raw arrays out."""
        inputs = tuple(np.asarray(v) if isinstance(v, np.generic) else v for v in inputs)
        try:
            out = self.bound(type(like))(*inputs, **static)
        except LunarError:
            raise
        except Exception as exc:
            raise self.explain(inputs, static, exc) from exc
        return out if type(out) in backend.BACKENDS or type(out) in (tuple, list) else _as_array(type(like), out)

    def _normalize(self, value: Any, like: Any, first: bool) -> Any:
        """A Tensor, or a number for any but the first input, on the device of ``like``."""
        if isinstance(value, Tensor) or (type(value) in _PLAIN and not first):
            return value
        if type(value) in backend.BACKENDS:
            return _wrap(value)
        owner = backend.of(like)
        array = np.asarray(value)
        if array.dtype.kind not in "biufcV":
            raise DTypeError(f"{self.name}: expected tensors, arrays or numbers, got {value!r}")
        if isinstance(value, (int, float, complex)):  # weak: the number takes the dtype of the array beside it
            array = array.astype(like.dtype if like.dtype.kind == "V" else np.result_type(like.dtype, value))
        elif isinstance(value, (list, tuple)):
            array = by_default(array)
        return _wrap(owner.from_numpy(array, owner.device_of(like)))

    def several(
        self, outs: Any, arrays: tuple[Any, ...], parents: tuple[Any, ...], static: dict[str, Any]
    ) -> tuple[Tensor, ...] | Tensor:
        """Results that are no single array: one node for the op and a Pick for each differentiable result."""
        if not isinstance(outs, (tuple, list)):
            result = _wrap(outs if type(outs) in backend.BACKENDS else _as_array(type(arrays[0]), outs))
            if modes.grad and self._records(result, parents):
                result.node = _record(self, result.data, arrays, parents, static)
            return result
        results = tuple(_wrap(out) for out in outs)
        if modes.grad and any(self._records(result, parents) for result in results):
            node = _record(self, tuple(outs), arrays, parents, static)
            for index, result in enumerate(results):
                if result.data.dtype.kind not in "biu" and (self.results is None or index < self.results):
                    result.node = Pick(node, index, result.data)  # type: ignore[assignment]
        return results

    def _records(self, result: Tensor, parents: tuple[Any, ...]) -> bool:
        """Whether a result goes into the graph: integers and truth values of an op without a rule do not."""
        return any(p is not None for p in parents) and (self.vjp is not None or result.data.dtype.kind not in "biu")

    def count_of(self, node: Node) -> int:
        """How many results the application that ``node`` stands for had."""
        return len(node.shape)

    def infer(self, *inputs: Any, **static: Any) -> Any:
        """The :class:`Spec` of the result of ``self(*inputs, **static)``, without computing it."""
        return self.abstract(*[as_spec(v) for v in inputs], **static)

    def explain(self, arrays: Sequence[Any], static: dict[str, Any], exc: Exception) -> Exception:
        """The clear error for a forward that failed: shapes and dtypes instead of a library's own words."""
        known = [a for a in arrays if hasattr(a, "dtype")]
        placed = [a for a in _flat((arrays, tuple(static.values()))) if backend.is_array(a)]
        kinds = {type(a) for a in placed}
        shown = ", ".join(f"{tuple(a.shape)} {a.dtype}" if hasattr(a, "dtype") else repr(a) for a in arrays)
        options = "".join(f", {key}={value!r}" for key, value in static.items())
        if len(kinds) > 1:
            devices = sorted({backend.of(a).device_of(a) for a in placed})
            return DeviceError(
                f"{self.name}: inputs lie on different devices: {', '.join(devices)}",
                hint=f'move one first: x.to("{devices[-1]}")',
            )
        bad = [a for a in known if a.dtype.kind not in "biufcV"]
        if bad:
            return DTypeError(f"{self.name}: cannot compute with dtype {bad[0].dtype}")
        if isinstance(exc, ValueError):
            try:
                self.infer(*arrays, **static)  # the shape rule often says it better than the array library
            except ShapeError as better:
                return better
            except Exception:
                if self.broadcasts:
                    shapes = " and ".join(str(tuple(a.shape)) for a in known)
                    return ShapeError(f"{self.name}: shapes {shapes} do not broadcast together")
        if isinstance(exc, TypeError) and str(exc).startswith("ufunc") and known:
            dtypes = " and ".join(dict.fromkeys(str(a.dtype) for a in known))
            return DTypeError(
                f"{self.name}: cannot compute with dtype {dtypes}, called as {self.name}({shown}{options})"
            )
        text = f"{self.name}({shown}{options}): {exc}"
        if isinstance(exc, TypeError):
            return DTypeError(text)
        if isinstance(exc, ValueError):
            return ShapeError(text)
        return IndexingError(text) if isinstance(exc, IndexError) else exc


def _flat(value: Any) -> Iterator[Any]:
    """The values in nested tuples and lists."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def as_spec(value: Any) -> Any:
    """The Spec of a tensor or array; other values as they are."""
    if isinstance(value, Tensor):
        value = value.data
    return Spec(tuple(value.shape), value.dtype) if backend.is_array(value) else value


def _record(op: Op, out: Any, arrays: Sequence[Any], parents: tuple[Any, ...], static: dict[str, Any]) -> Node:
    node = _new(Node)
    node.op = op
    node.parents = parents
    node.static = static
    several = type(out) is tuple
    node.shape = tuple([o.shape for o in out]) if several else out.shape
    node.dtype = out[0].dtype if several else out.dtype
    node.saved = _keep(op.save, arrays, out)
    node.hooks = None
    node.clock = clock.now
    node.age = counter()
    return node


def _keep(save: Any, arrays: Sequence[Any], out: Any) -> Any:
    """What ``save`` names; the compiled appliers do the same inline."""
    if save == SHAPES:
        return tuple(getattr(a, "shape", ()) for a in arrays)
    if save == INPUTS:
        return tuple(arrays)
    if type(save) is tuple:
        return tuple(_keep(i, arrays, out) for i in save)
    if isinstance(save, Shape):
        return getattr(arrays[save.index], "shape", ())
    if isinstance(save, Result):
        return out[save.index]
    return out if save == OUTPUT else arrays[save]


def _carried_index(static: dict[str, Any]) -> list[Tensor]:
    """The parts of an index that a function transform carries."""
    index = static.get("index")
    parts = index if isinstance(index, tuple) else (index,)
    return [_wrap(part) for part in parts if isinstance(part, Carried)]


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or backend.is_array(value)


def _as_array(kind: Any, out: Any) -> Any:
    """An array from what a reduction or a 0-d computation gives (NumPy returns scalars there)."""
    return backend.BACKENDS.get(kind, backend.BACKENDS[np.ndarray]).xp.asarray(out)


# -- namespaces of gradient rules --------------------------------------------------------------------------------------


class RawNamespace:
    """The ops over raw arrays of one library: an op's raw function directly, other functions of the namespace as they are."""

    def __init__(self, array_type: type) -> None:
        self._array_type = array_type

    def __getattr__(self, name: str) -> Any:
        from . import ops

        function = getattr(ops, name)
        if isinstance(function, Op):
            function = function.bound(self._array_type)
        setattr(self, name, function)
        return function


_RAW: dict[type, RawNamespace] = {}


def raw_namespace(array: Any) -> RawNamespace:
    """The namespace ``F`` that gradient rules get in a plain backward pass over arrays of this type."""
    kind = type(array)
    namespace = _RAW.get(kind)
    if namespace is None:  # NumPy's arithmetic on arrays without axes gives scalars
        namespace = _RAW[kind] = RawNamespace(np.ndarray if isinstance(array, np.generic) else kind)
    return namespace


def _wrap(array: Any) -> Tensor:
    tensor = _new(Tensor)
    tensor.data = array
    tensor.node = None
    return tensor


# -- compiled appliers -------------------------------------------------------------------------------------------------

# One text says how an op is applied; it is compiled for each number of inputs and each `save`, so that a call allocates
# no list and takes no decision that is known when the op is defined.
_APPLIER = """
def make(op, bound, general, several, explain, keep, grads):
    def {name}({order}, **static):
        if {untraced}isinstance(x{lead}, Tensor):
            a{lead} = x{lead}.data
            p{lead} = x{lead}.node
{unpack}
            function = bound.get(type(a{lead}))
            if function is not None:
                try:
                    out = function({arrays}, **static)
                except LunarError:
                    raise
                except Exception as exc:
                    raise explain(({arrays},), static, exc) from exc
                if type(out) is not type(a{lead}):
                    return several(out, ({arrays},), ({parents},), static)
                result = new(Tensor)
                result.data = out
                if {no_parent} or not modes.grad or (not grads and out.dtype.kind in "biu"):
                    result.node = None
                    return result
                node = result.node = new(Node)
                node.op = op
                node.parents = ({parents},)
                node.static = static
                node.shape = out.shape
                node.dtype = out.dtype
                node.saved = {saved}
                node.hooks = None
                node.clock = clock.now
                node.age = counter()
                return result
        return general(({xs},), static)
    return {name}
"""
# A Python float beside bfloat16, which is of kind "V" to NumPy, is made one: the result would be float32.
_UNPACK = """\
            if isinstance(x{i}, Tensor):
                a{i} = x{i}.data
                p{i} = x{i}.node
            elif type(x{i}) is float:
                a{i} = x{i} if a{lead}.itemsize != 2 or a{lead}.dtype.kind != "V" else a{lead}.dtype.type(x{i})
                p{i} = None
            elif type(x{i}) in PLAIN:
                a{i} = x{i}
                p{i} = None
            else:
                return general(({xs},), static)"""
_GLOBALS = {
    "slot": slot, "Tensor": Tensor, "Node": Node, "PLAIN": _PLAIN, "LunarError": LunarError, "modes": modes,
    "clock": clock, "counter": counter, "new": _new,
}  # fmt: skip
_MAKERS: dict[tuple[int, str, bool, int], Any] = {}


def _compile_applier(op: Op, count: int, traced: bool = True, lead: int = 0) -> Callable[..., Any]:
    """``lead`` is the input that comes first in the call and has to be a Tensor."""
    if count == 0:
        raise ShapeError(f"{op.name}: no inputs given")
    for kept in op.save if type(op.save) is tuple else (op.save,):
        index = kept.index if isinstance(kept, Shape) else kept
        if type(index) is int and not OUTPUT <= index < count:
            raise LunarError(
                f"op {op.name!r} saves input {index}, but it was applied to {count} inputs, 0..{count - 1}"
            )
    saved = _saved_source(op.save)
    make = _MAKERS.get((count, saved, traced, lead))
    if make is None:
        numbers = range(count)
        xs = ", ".join(f"x{i}" for i in numbers)
        source = _APPLIER.format(
            name="apply",
            xs=xs,
            order=", ".join(f"x{i}" for i in sorted(numbers, key=lambda i: i != lead)),
            lead=lead,
            untraced="not slot.busy and " if traced else "",
            arrays=", ".join(f"a{i}" for i in numbers),
            parents=", ".join(f"p{i}" for i in numbers),
            unpack="\n".join(_UNPACK.format(i=i, xs=xs, lead=lead) for i in numbers if i != lead),
            no_parent=" and ".join(f"p{i} is None" for i in numbers),
            saved=saved.replace("__arrays__", "(" + "".join(f"a{i}, " for i in numbers) + ")"),
        )
        namespace: dict[str, Any] = {**_GLOBALS, "__name__": __name__}
        exec(compile(source, f"<lunar_core.op applier of {count} inputs>", "exec"), namespace)
        make = _MAKERS[count, saved, traced, lead] = namespace["make"]

    def direct(xs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        return op._settle(xs, static, applier)

    def general(xs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        return op._general(xs, static)

    applier: Callable[..., Any] = make(
        op, op._bound, general if traced else direct, op.several, op.explain, _keep, op.vjp is not None
    )
    applier.__name__ = op.name
    applier.__doc__ = op.__doc__
    return applier


def _saved_source(save: Any) -> str:
    """The expression that makes ``node.saved``."""
    if type(save) is tuple:
        return f"({''.join(_saved_source(i) + ', ' for i in save)})"
    if isinstance(save, Shape):
        return f"getattr(a{save.index}, 'shape', ())"
    if save == INPUTS:
        return "__arrays__"
    if save == SHAPES:
        return "keep(op.save, __arrays__, out)"
    return "out" if save == OUTPUT or isinstance(save, Result) else f"a{save}"


autograd._wrap = _wrap
autograd._tensor_type = Tensor
autograd._raw_namespace = raw_namespace
