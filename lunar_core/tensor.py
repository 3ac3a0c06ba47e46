"""Tensor: an array, and its place in the graph.

A tensor is two references: ``data``, a raw array of some array library, and ``node``, the graph node that made it
(``None`` when it needs no gradient, a :class:`~lunar_core.autograd.Leaf` when it is where gradients end). Operators and
methods such as ``x + y`` and ``x.sum()`` are the functions of :mod:`lunar_core.ops`, attached there.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend
from .autograd import Leaf, Node, note_write, run_backward, written_at
from .dtypes import as_dtype, is_differentiable
from .errors import DTypeError, GradientError, IndexingError, ShapeError
from .modes import modes

# of tensors that do not require a gradient for now: their hooks, which are theirs again when they do
_kept_hooks: dict[int, tuple[weakref.ref[Tensor], Any]] = {}


class Tensor:
    """An n-dimensional array that can be differentiated.

    Make one with :func:`lunar_core.tensor`; this constructor takes a raw array as it is, without a copy.

    ``data`` is the raw NumPy or CuPy array. ``requires_grad`` says whether gradients flow here; the gradient of a leaf
    is accumulated in ``grad``, a Tensor of the same shape and dtype.
    """

    __slots__ = ("__weakref__", "data", "node")
    __array_priority__ = 1000

    data: Any
    node: Node | Leaf | None

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.data = np.asarray(data) if isinstance(data, np.generic) else data
        self.node = None
        if requires_grad:
            self.requires_grad_()

    if TYPE_CHECKING:  # operators and methods are attached by lunar_core.ops.methods

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    @property
    def itemsize(self) -> int:
        return self.data.itemsize

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda:index"``."""
        return backend.of(self.data).device_of(self.data)

    @property
    def version(self) -> int:
        """Reading of the write clock when this tensor's memory was last written in place; 0 if it never was."""
        return written_at(self.data)

    def __len__(self) -> int:
        if not self.data.ndim:
            raise ShapeError("len() of a tensor without axes")
        return self.data.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.data.ndim:
            raise ShapeError("iteration over a tensor without axes", hint="use x.item() for its value")
        return (self[i] for i in range(self.data.shape[0]))

    def __repr__(self) -> str:
        array = backend.of(self.data).to_numpy(self.data)
        body = np.array2string(array, separator=", ", prefix="tensor(", threshold=200)
        notes = [] if array.dtype in (np.float32, np.int64, np.bool_) else [f"dtype={array.dtype}"]
        if self.device != "cpu":
            notes.append(f"device={self.device!r}")
        if self.node is not None:
            notes.append("requires_grad=True" if isinstance(self.node, Leaf) else f"op={self.node.name}")
        return f"tensor({', '.join([body, *notes])})"

    def __bool__(self) -> bool:
        return bool(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __complex__(self) -> complex:
        return complex(self.data)

    def __index__(self) -> int:
        return self.data.__index__()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.data.size == 1 else repr(self)

    __hash__ = object.__hash__

    # -- to plain values ---------------------------------------------------------------------------------------------

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number."""
        if self.data.size != 1:
            raise ShapeError(f"item() needs one element, got shape {self.shape}", hint="use x.tolist()")
        return self.data.item()

    def tolist(self) -> Any:
        """Nested Python lists of the values."""
        return self.data.tolist()

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array; on the host it shares memory with the tensor.

        A tensor that requires a gradient is refused, because what is done to the array is not recorded.
        """
        if self.node is not None:
            raise GradientError("numpy() of a tensor that requires a gradient", hint="use x.detach().numpy()")
        return backend.of(self.data).to_numpy(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.node is not None:
            raise GradientError(
                "conversion to a NumPy array of a tensor that requires a gradient",
                hint="use np.asarray(x.detach()), or a function of lunar_core.ops, which is differentiable",
            )
        if not isinstance(self.data, np.ndarray):
            raise DTypeError(
                f"conversion of a tensor on {self.device} to a NumPy array copies from the device",
                hint='say so: x.to("cpu").numpy()',
            )
        if copy is None:
            return np.asarray(self.data, dtype=dtype)
        return np.array(self.data, dtype=dtype, copy=copy)

    # -- gradients ---------------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, value: bool = True) -> Tensor:
        """Make this tensor a leaf of the graph that collects a gradient, or stop it from being one."""
        if value and self.node is None:
            if not is_differentiable(self.dtype):
                raise DTypeError(
                    f"a tensor of dtype {self.dtype} cannot require a gradient", hint='x.astype("float32") can'
                )
            self.node = Leaf(self)
            kept = _kept_hooks.pop(id(self), None)
            if kept is not None and kept[0]() is self:
                self.node.hooks = kept[1]
        elif not value and self.node is not None:
            if not isinstance(self.node, Leaf):
                raise GradientError(f"requires_grad=False on the result of {self.node.name}", hint="use y = x.detach()")
            if self.node.hooks:
                key = id(self)
                _kept_hooks[key] = (weakref.ref(self, lambda _: _kept_hooks.pop(key, None)), self.node.hooks)
            self.node = None
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self.node is None or isinstance(self.node, Leaf)

    @property
    def grad(self) -> Tensor | None:
        """The gradient that ``backward`` left here, or ``None``."""
        return None if self.node is None else getattr(self.node, "grad", None)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise GradientError(f"grad must be a Tensor or None, got {type(value).__name__}")
            if value.shape != self.shape:
                raise ShapeError(f"grad of shape {value.shape} for a tensor of shape {self.shape}")
        if self.node is None:
            if value is not None:
                raise GradientError("grad of a tensor that does not require one", hint="call x.requires_grad_() first")
            return
        if value is not None and isinstance(self.node, Leaf) and value is not self.node.last:
            self.node.grad = None  # one owner less to count
            self.node.spare()
        self.node.grad = value

    def zero_grad(self) -> None:
        """Forget the gradient; the next ``backward`` starts anew."""
        self.grad = None

    def retain_grad(self) -> Tensor:
        """Keep ``grad`` of this intermediate result too."""
        node = self.node
        if node is None:
            raise GradientError("retain_grad() of a tensor that does not require a gradient")
        if not isinstance(node, Leaf) and getattr(node, "grad", self) is self:
            node.grad = None

            def keep(grad: Tensor) -> None:
                node.grad = grad if node.grad is None else node.grad + grad

            node.add_hook(keep)
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call ``hook(grad)`` when the gradient of this tensor is known; a returned Tensor replaces it.

        Gives back a function that removes the hook.
        """
        if self.node is None:
            raise GradientError("register_hook() on a tensor that does not require a gradient")
        return self.node.add_hook(hook)

    def backward(
        self, grad: Tensor | None = None, *, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add the gradient of this tensor with respect to every leaf to that leaf's ``grad``.

        ``grad`` seeds the chain rule and has the shape of this tensor; it may be left out for one element. The graph
        is freed unless ``retain_graph``; ``create_graph`` records the gradients' own graph for higher orders.
        """
        run_backward([self], [grad], create_graph=create_graph, retain_graph=retain_graph)

    def detach(self) -> Tensor:
        """The same memory, outside of the graph."""
        return Tensor(self.data)

    # -- dtype and device --------------------------------------------------------------------------------------------

    def astype(self, dtype: Any) -> Tensor:
        """Differentiable conversion; the tensor itself when it already has ``dtype``."""
        dtype = as_dtype(dtype)
        if dtype == self.data.dtype:
            return self
        from .ops.elementwise import cast

        return cast(self, dtype=dtype)

    def to(self, target: Any) -> Tensor:
        """To a device (``"cuda:0"``) or a dtype (``"float64"``), differentiably; itself when already there."""
        if isinstance(target, str) and backend.looks_like_device(target):
            from .ops.elementwise import to_device

            return self if backend_matches(self.data, target) else to_device(self, device=target)
        return self.astype(target)

    def cpu(self) -> Tensor:
        return self.to("cpu")

    def cuda(self, index: int = 0) -> Tensor:
        return self.to(f"cuda:{index}")

    # -- in-place writes ---------------------------------------------------------------------------------------------

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write in place. Results recorded earlier that kept this memory notice it in their backward pass."""
        self._writable("x[...] = value")
        where = _raw(index)
        try:
            self.data[where] = _raw(value)
        except TypeError as exc:  # arrays of two devices, or no array at all
            from .ops.indexing import getitem

            raise getitem.explain((self.data, _raw(value)), {"index": where}, exc) from exc
        except (IndexError, ValueError) as exc:
            kind = IndexingError if isinstance(exc, IndexError) else ShapeError
            raise kind(f"writing into a tensor of shape {self.shape}: {exc}") from exc
        note_write(self.data)

    def assign_(self, value: Any) -> Tensor:
        """Overwrite the values in place; ``value`` broadcasts to this shape. Returns the tensor."""
        self._writable("assign_()")
        self.data[...] = _raw(value)
        note_write(self.data)
        return self

    copy_ = fill_ = assign_

    def zero_(self) -> Tensor:
        return self.assign_(0)

    def add_(self, value: Any) -> Tensor:
        """``x += value`` in place (the operator ``+=`` makes a new tensor instead)."""
        self._writable("add_()")
        self.data += _raw(value)
        note_write(self.data)
        return self

    def mul_(self, value: Any) -> Tensor:
        """``x *= value`` in place (the operator ``*=`` makes a new tensor instead)."""
        self._writable("mul_()")
        self.data *= _raw(value)
        note_write(self.data)
        return self

    def _writable(self, what: str) -> None:
        if self.node is not None and modes.grad:
            raise GradientError(
                f"{what} on a tensor of shape {self.shape} that requires a gradient: the write is not recorded",
                hint="write inside lc.no_grad(), or use the functional x.at[index].set(value)",
            )

    # -- copies ------------------------------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.node is not None and not isinstance(self.node, Leaf):
            raise GradientError("deepcopy of the result of a recorded operation", hint="copy x.detach() instead")
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        new.data = memo.get(id(self.data))
        if new.data is None:  # tensors that share an array share the copy
            new.data = memo[id(self.data)] = self.data.copy("K")
            memo.setdefault(id(memo), []).append(self.data)  # copy's list of what must live as long as the memo
        new.node = None
        if self.node is not None:
            new.node = Leaf(new)
            new.node.hooks = self.node.hooks and list(self.node.hooks)
            if self.node.grad is not None:
                new.node.grad = Tensor(self.node.grad.data.copy("K"))
        for name, value in _extras(self).items():
            setattr(new, name, copy.deepcopy(value, memo))
        return new

    def __reduce__(self) -> tuple[Any, ...]:
        """For transport between processes; never a file format here. Gradients and hooks stay behind."""
        if self.node is not None and not isinstance(self.node, Leaf):
            raise GradientError("pickling of the result of a recorded operation", hint="send x.detach() instead")
        host = backend.of(self.data).to_numpy(self.data)
        return _rebuild, (type(self), host, self.device, isinstance(self.node, Leaf)), (None, _extras(self))


def _extras(tensor: Tensor) -> dict[str, Any]:
    """What a subclass keeps beside the tensor itself."""
    own = vars(tensor) if hasattr(tensor, "__dict__") else {}
    slots = (n for c in type(tensor).__mro__ if c not in Tensor.__mro__ for n in getattr(c, "__slots__", ()))
    return {
        **own,
        **{n: getattr(tensor, n) for n in slots if n not in ("__dict__", "__weakref__") and hasattr(tensor, n)},
    }


def _rebuild(cls: type[Tensor], host: np.ndarray, device: str, requires_grad: bool) -> Tensor:
    new = cls.__new__(cls)
    new.data = backend.for_device(device).from_numpy(host, device)
    new.node = Leaf(new) if requires_grad else None
    return new


def backend_matches(array: Any, device: str) -> bool:
    """Whether ``array`` lies on ``device``; ``"cuda"`` stands for any CUDA device."""
    own = backend.of(array).device_of(array)
    return own == device or (":" not in device and own.partition(":")[0] == device)


def _raw(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.data
    if isinstance(value, tuple):
        return tuple(map(_raw, value))
    if isinstance(value, list) and any(isinstance(v, Tensor) for v in value):
        return list(map(_raw, value))
    return value


def tensor(data: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of ``data``: numbers, nested sequences, arrays or tensors.

    Python floats become the default dtype (float32), complex numbers the complex dtype of its precision (complex64), ints
    int64; arrays keep their dtype unless ``dtype`` is given, and lie in memory as they did. ``device`` is ``"cpu"``,
    ``"cuda"`` or ``"cuda:1"``; the default keeps an array where it is.
    """
    if isinstance(data, Tensor):
        data = data.data
    if backend.is_array(data):
        array = data.astype(as_dtype(dtype)) if dtype is not None else data.copy("K")
    else:
        array = _from_python(data, dtype)
        device = device or modes.device
    if device is not None and not backend_matches(array, device):
        host = backend.of(array).to_numpy(array)
        array = backend.for_device(device).from_numpy(host, device)
    return Tensor(array, requires_grad)


def _from_python(data: Any, dtype: Any) -> np.ndarray:
    if isinstance(data, Sequence) and any(isinstance(item, Tensor) for item in data):
        data = [item.data if isinstance(item, Tensor) else item for item in data]
    try:
        array = np.array(data)
    except ValueError as exc:
        raise ShapeError(f"tensor(): nested sequences of uneven length ({exc})") from exc
    if array.dtype.kind not in "biufc" and not is_differentiable(array.dtype):
        raise DTypeError(f"tensor(): expected numbers, got {type(data).__name__} that NumPy reads as {array.dtype}")
    if dtype is not None:
        return array.astype(as_dtype(dtype))
    return array if isinstance(data, np.generic) else by_default(array)


def by_default(array: np.ndarray) -> np.ndarray:
    """What NumPy made of Python numbers in the default precision."""
    if array.dtype == np.complex128:
        return array.astype(np.result_type(modes.dtype, np.complex64))
    return array.astype(modes.dtype) if array.dtype == np.float64 else array


def as_tensor(data: Any, like: Any = None) -> Tensor:
    """A tensor of ``data`` without a copy where that is possible; Python numbers take the dtype rules of ``tensor``."""
    if isinstance(data, Tensor):
        return data
    return Tensor(data) if backend.is_array(data) else tensor(data)
