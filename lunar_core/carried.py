"""What function transforms put in the place of an array.

``jvp`` and ``vmap`` run a function on tensors whose ``data`` is no array of a library but a :class:`Carried`: a value
and its tangent, or the values of many examples. An op that meets one is applied by the transform's rule to the tensors
inside, which may be carried by a transform further out, hang in a graph, or be plain. The graph of such a tensor works
as any other: its nodes keep carried arrays. Transforms therefore nest with each other and with gradients in any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from . import backend
from .errors import GradientError
from .modes import modes
from .tensor import Tensor
from .trees import tree_map

L = TypeVar("L", bound="Level")


class Carried:
    """Stands where a raw array would: it has the shape and dtype that the user's function sees."""

    __slots__ = ("__weakref__", "level")
    level: Any
    base = None  # it owns its memory, as far as the write clock is concerned
    strides: tuple[int, ...] = ()

    @classmethod
    def apply(cls, op: Any, *arrays: Any, **static: Any) -> Any:
        """The op on arrays of which all are of this class and level; numbers and ``None`` may be among them."""
        level = next(a.level for a in arrays if type(a) is cls)
        before = modes.level, modes.grad
        modes.level, modes.grad = level.outer, before[1] and level.depth > modes.closed
        try:
            return cls.compute(level, op, arrays, static)
        finally:
            modes.level, modes.grad = before

    @classmethod
    def compute(cls, level: Any, op: Any, arrays: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """:meth:`apply`, further out: on the tensors inside."""
        raise NotImplementedError

    def inner(self) -> Tensor:
        """The tensor inside that holds the values."""
        raise NotImplementedError

    @property
    def dtype(self) -> Any:
        return self.inner().data.dtype

    @property
    def shape(self) -> Any:
        return self.inner().data.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    def _refuse(self, *args: Any) -> Any:
        raise GradientError(
            f"a value inside {self.level.name} was written in place or asked for its number",
            hint="compute a new tensor; choose with lc.ops.where instead of if",
        )

    __bool__ = __float__ = __int__ = __index__ = __complex__ = __array__ = __setitem__ = item = tolist = _refuse  # type: ignore[assignment]
    __iadd__ = __imul__ = _refuse

    # Code that computes with raw arrays, such as the weights of a loss, computes with the tensors' methods here.

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in _method_names():
            raise AttributeError(f"a value inside {type(self).__name__.lower()} transforms has no attribute {name!r}")
        found = getattr(Tensor(self), name)
        return _raw(found) if not callable(found) else lambda *args, **kwargs: _raw(found(*args, **_tensors(kwargs)))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _raw(getattr(ufunc, method)(*_tensors(inputs), **_tensors(kwargs)))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return _raw(function(*_tensors(args), **_tensors(kwargs)))

    def __repr__(self) -> str:
        return f"<{self.level.name} {tuple(self.shape)} {self.dtype} of {self.inner()!r}>"


def _raw(value: Any) -> Any:
    return tree_map(lambda x: x.data if isinstance(x, Tensor) else x, value)


def _tensors(value: Any) -> Any:
    return tree_map(lambda x: Tensor(x) if isinstance(x, Carried) else x, value)


@functools.cache
def _method_names() -> frozenset[str]:
    from .ops import methods

    for name in methods.OPERATORS:  # Python looks for these on the class
        setattr(Carried, name, lambda self, *others, name=name: _raw(getattr(Tensor(self), name)(*others)))
    Carried.__hash__ = object.__hash__  # type: ignore[method-assign]
    return frozenset([*methods.METHODS, *methods.PROPERTIES, "astype", "to"])


class Level:
    """One call of a transform, while its function runs; levels of one thread lie inside each other."""

    name = ""

    def __enter__(self: L) -> L:
        from .op import slot

        _method_names()
        self.outer: Level | None = modes.level
        self.depth: int = 1 if self.outer is None else self.outer.depth + 1
        modes.level = self
        slot.enter()
        return self

    def __exit__(self, *exc: object) -> None:
        from .op import slot

        modes.level = self.outer
        slot.leave()

    def constant(self, x: Tensor) -> Carried:
        """``x`` as a value of this level that does not move, or is the same for all examples."""
        raise NotImplementedError

    def drawn(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], Callable[[Any], Any]]:
        """See :func:`lunar_core.random.drawn`."""
        return (shape, lambda array: array) if self.outer is None else self.outer.drawn(shape)

    def owns(self, x: Any) -> bool:
        return isinstance(x, Tensor) and isinstance(x.data, Carried) and x.data.level is self

    def lift(self, x: Tensor) -> Tensor:
        """``x`` as a tensor of this level. What hangs in the graph further out stays there, inside."""
        return x if self.owns(x) else Tensor(self.constant(alias(x)))

    def lifted(self, op: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs of an op as tensors of this level; numbers stay numbers, except in the first place."""
        like = innermost(next((x for x in inputs if self.owns(x)), inputs[0]))
        normal = [x if isinstance(x, Tensor) else op._normalize(x, like, first=not i) for i, x in enumerate(inputs)]
        return tuple([self.lift(x) if isinstance(x, Tensor) else x for x in normal])


def level_of(inputs: Any) -> Level | None:
    """The innermost transform whose values are among the inputs of an op."""
    level: Level | None = None
    for x in inputs:
        data = x.data if isinstance(x, Tensor) else None
        if isinstance(data, Carried) and (level is None or data.level.depth > level.depth):
            level = data.level
    return level


def alias(x: Tensor) -> Tensor:
    """A tensor of the same data and place in the graph: ``x`` itself may be given other ones meanwhile."""
    new = Tensor(x.data)
    new.node = x.node
    return new


def innermost(x: Any) -> Any:
    """The raw array that holds the values, below all transforms."""
    while isinstance(x, Tensor):
        x = x.data.inner() if isinstance(x.data, Carried) else x.data
    return x


def hangs(x: Tensor) -> bool:
    """Whether ``x`` was computed in a graph, its own one or one further out."""
    while x.is_leaf and isinstance(x.data, Carried):
        x = x.data.inner()
    return not x.is_leaf


def leaf(x: Tensor) -> Tensor:
    """A leaf with the values of ``x``, at the level of the running transform; gradients flow on into its own graph."""
    if modes.level is not None and not modes.level.owns(x):
        x = modes.level.lift(x)
    elif x.node is not None:
        return x
    new = Tensor(x.data)
    return new.requires_grad_()


def _record(kind: type[Carried]) -> None:
    """Make the engine know ``kind`` as an array type; where its values lie, the arrays inside know."""

    def host(value: Any) -> Any:
        raw = innermost(Tensor(value))
        return backend.of(raw).to_numpy(raw)

    def device_of(value: Any) -> str:
        raw = innermost(Tensor(value))
        return backend.of(raw).device_of(raw)

    plain = backend.for_device("cpu")
    backend.BACKENDS[kind] = plain._replace(
        name=kind.__name__.lower(),
        xp=_Namespace(),
        array_type=kind,
        device_of=device_of,
        to_numpy=host,
        from_numpy=lambda array, device: backend.for_device(device).from_numpy(array, device),
    )


class _Namespace:
    """The functions of an array library, for code that computes with raw arrays."""

    def __getattr__(self, name: str) -> Any:
        def like(value: Any, *args: Any, **kwargs: Any) -> Any:
            raw = innermost(Tensor(value))
            return getattr(backend.of(raw).xp, name)(raw, *args, **{"shape": value.shape, **kwargs})

        def call(*args: Any, **kwargs: Any) -> Any:
            from . import ops

            return _raw(getattr(ops, name)(*_tensors(args), **_tensors(kwargs)))

        return like if name.endswith("_like") else call
