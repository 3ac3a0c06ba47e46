"""Module, Parameter, Buffer: what a model is made of.

A module's parameters, buffers and submodules are its attributes: nothing is registered, the attributes are walked when
somebody asks. Lists, tuples and dicts of modules or parameters count, a part that is shared counts once, and
``super().__init__()`` is not needed::

    class Net(lc.Module):
        def __init__(self):
            self.blocks = [Dense(64), Dense(64)]
            self.scale = lc.Parameter(np.ones(1, np.float32))

        def forward(self, x):
            for block in self.blocks:
                x = block(x).relu()
            return x * self.scale

A layer that learns its input size from the first call defines ``build``; until then its parameters do not exist, and
asking for them raises :class:`~lunar_core.errors.NotBuiltError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from . import backend
from .autograd import Leaf, note_write
from .dtypes import as_dtype, is_floating
from .errors import DeviceError, LunarError, NotBuiltError, StateError
from .modes import default_device, default_dtype, modes
from .tensor import Tensor, backend_matches
from .tensor import tensor as make_tensor

if TYPE_CHECKING:
    from .surgery import Report
    from .training_options import Rules

M = TypeVar("M", bound="Module")


class Parameter(Tensor):
    """A tensor that is learned: it requires a gradient and belongs to the state of the module that holds it."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(_raw_of(data), requires_grad)


class Buffer(Tensor):
    """A tensor that is kept but not learned, such as running statistics.

    ``persistent=False`` leaves it out of the state dict.
    """

    __slots__ = ("persistent",)

    def __init__(self, data: Any, persistent: bool = True) -> None:
        super().__init__(_raw_of(data))
        self.persistent = persistent


def _raw_of(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data.data
    return data if backend.is_array(data) else make_tensor(data).data


class LoadReport(NamedTuple):
    """What :meth:`Module.load_state_dict` could not match, by name."""

    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

    @property
    def clean(self) -> bool:
        return not (self.missing or self.unexpected or self.misshapen)


class _Slot:
    """The one slot for hooks that see every module call; compiled from the plugins that ask for it."""

    __slots__ = ("hook",)

    def __init__(self) -> None:
        self.hook: Callable[[Module, tuple[Any, ...], dict[str, Any], Callable[..., Any]], Any] | None = None


slot = _Slot()


class Module:
    """Base of models and layers. Write ``forward``; call the module itself.

    ``training`` is True until :meth:`eval` is called; layers such as dropout look at it.
    """

    training: bool = True
    _special: bool = False  # the next call is no plain one: hooks are registered, or the module is still to be built
    _pre_hooks: tuple[Callable[..., Any], ...] = ()
    _post_hooks: tuple[Callable[..., Any], ...] = ()
    _missing_build: bool = False
    _rules: Rules | None = None  # what train_with was told
    _changed: bool = False  # surgery took place among the direct parts

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._special or slot.hook is not None:
                return self._call_special(args, kwargs)
            return self.forward(*args, **kwargs)
        except LunarError as exc:
            _locate(exc, self)
            raise

    def _call_special(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._missing_build:
            self.ensure_built(*args)
        hook = slot.hook
        return self._call_hooked(*args, **kwargs) if hook is None else hook(self, args, kwargs, self._call_hooked)

    def _call_hooked(self, *args: Any, **kwargs: Any) -> Any:
        for pre in self._pre_hooks:
            replaced = pre(self, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
        output = self.forward(*args, **kwargs)
        for post in self._post_hooks:
            replaced = post(self, args, output)
            if replaced is not None:
                output = replaced
        return output

    # -- building ----------------------------------------------------------------------------------------------------

    def ensure_built(self, *inputs: Any) -> None:
        """Create this module's own parameters from the first inputs, in their dtype and on their device."""
        if not self._missing_build:
            return
        x = next((v for v in inputs if isinstance(v, Tensor)), inputs[0] if inputs else None)
        dtype = getattr(x, "dtype", None)
        if isinstance(x, Tensor):
            device = x.device
        else:  # a shape given as a hyperparameter, or a raw array
            device = backend.of(x).device_of(x) if backend.is_array(x) else modes.device
        traced, modes.traced = modes.traced, False  # what initializers compute is no part of what the module does
        try:
            with default_device(device):
                if dtype is not None and is_floating(dtype):
                    with default_dtype(dtype):
                        self.build(*inputs)
                else:
                    self.build(*inputs)
        finally:
            modes.traced = traced
        self._missing_build = False
        self._special = bool(self._pre_hooks or self._post_hooks)
        if not self.training:
            for module in self.modules():
                module.training = False

    def build(self, *inputs: Any) -> None:
        """Create the parameters that depend on the shape of the first inputs; layers override it."""

    @property
    def built(self) -> bool:
        """Whether all parameters exist, here and in every submodule."""
        return not any(module._missing_build for module in self.modules())

    def _require_built(self) -> None:
        for name, module in self.named_modules():
            if module._missing_build:
                label = f" {name!r}" if name else ""
                raise NotBuiltError(
                    f"{type(module).__name__}{label} does not know its input size yet, so it has no parameters",
                    hint="call the model once on a batch, or give the size, for example Dense(10, in_features=64)",
                )

    # -- walking -----------------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules with their names; those in containers are named ``list.0`` or ``dict.key``."""
        for name, value in _parts(vars(self)):
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """Direct submodules."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module (named ``prefix``) and all below it, parents first, each once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            stack.extend([(_join(name, n), child) for n, child in module.named_children()][::-1])

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def _named_tensors(self, kind: type, repeats: bool = False) -> Iterator[tuple[str, Any]]:
        """Tensors of ``kind`` with their dotted names; a shared one under its first name, or under all of them."""
        seen: set[int] = set()

        def walk(prefix: str, module: Module, above: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
            if id(module) in above:  # a module that refers back to its parent
                return
            for name, value in _parts(vars(module)):
                if isinstance(value, kind):
                    if repeats or id(value) not in seen:
                        seen.add(id(value))
                        yield _join(prefix, name), value
                elif isinstance(value, Module):
                    yield from walk(_join(prefix, name), value, (*above, id(module)))

        return walk("", self, ())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their dotted names, each once."""
        self._require_built()
        return self._named_tensors(Parameter)

    def parameters(self) -> Parameters:
        """The parameters, each once, as an iterable that is walked anew each time.

        It may be taken before the model is built, as for an optimizer; iterating needs the parameters to exist.
        """
        return Parameters(self)

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Buffers with their dotted names, each once."""
        return self._named_tensors(Buffer)

    def buffers(self) -> Iterator[Buffer]:
        """Buffers, each once."""
        return (buffer for _, buffer in self.named_buffers())

    def num_parameters(self, trainable_only: bool = False) -> int:
        """How many numbers the parameters hold."""
        return sum(p.size for p in self.parameters() if p.requires_grad or not trainable_only)

    # -- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Name -> raw array of all parameters and persistent buffers; the arrays are the live ones, not copies."""
        self._require_built()
        return {
            name: tensor.data
            for name, tensor in self._named_tensors(Tensor, repeats=True)
            if isinstance(tensor, Parameter) or getattr(tensor, "persistent", False)
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadReport:
        """Copy ``state`` (name -> array or Tensor) into the parameters and buffers, converting the dtype.

        All names and shapes are checked before anything is written. ``strict`` raises :class:`StateError` on any
        difference; otherwise what matches is loaded. The report names the rest either way.
        """
        own = {
            name: tensor
            for name, tensor in self._named_tensors(Tensor, repeats=True)
            if isinstance(tensor, Parameter) or getattr(tensor, "persistent", False)
        }
        self._require_built()
        fits = {n for n in own.keys() & state.keys() if tuple(np.shape(_raw_of(state[n]))) == own[n].shape}
        report = LoadReport(
            missing=sorted(own.keys() - state.keys()),
            unexpected=sorted(state.keys() - own.keys()),
            misshapen=sorted((own.keys() & state.keys()) - fits),
        )
        if strict and not report.clean:
            raise StateError(_describe(report, own, state), hint="strict=False loads what matches")
        values = {name: _converted(name, _raw_of(state[name]), own[name].data) for name in sorted(fits)}
        for name, value in values.items():
            target = own[name].data
            target[...] = value
            note_write(target)
        return report

    # -- modes and conversions ---------------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Switch this module and all below it to training mode, or out of it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Switch to evaluation mode."""
        return self.train(False)

    def to(self: M, device: str) -> M:
        """Move all parameters and buffers to ``device``, in place."""
        if not (isinstance(device, str) and backend.looks_like_device(device)):
            raise DeviceError(
                f"{type(self).__name__}.to() takes a device such as 'cpu' or 'cuda:0', got {device!r}",
                hint=f"for a dtype: model.astype({device!r})",
            )
        owner = backend.for_device(device)

        def move(array: Any) -> Any:
            if backend_matches(array, device):
                return array
            return owner.from_numpy(backend.of(array).to_numpy(array), device)

        return self._convert(move)

    def astype(self: M, dtype: Any) -> M:
        """Convert all floating parameters and buffers to ``dtype``, in place."""
        target = as_dtype(dtype)
        return self._convert(
            lambda array: array.astype(target) if is_floating(array.dtype) and array.dtype != target else array
        )

    def _convert(self: M, convert: Callable[[Any], Any]) -> M:
        self._require_built()
        for _, tensor in self._named_tensors(Tensor):
            new = convert(tensor.data)
            if new is tensor.data:
                continue
            grad = tensor.grad
            tensor.data = new
            if isinstance(tensor.node, Leaf):
                hooks, tensor.node = tensor.node.hooks, Leaf(tensor)
                tensor.node.hooks = hooks
                if grad is not None:
                    tensor.node.grad = Tensor(convert(grad.data))
        return self

    def freeze(self, *what: Any) -> Report:
        """Exclude parameters from training: all, or those that ``what`` means; gives their names as a report.

        ``what`` is a glob over dotted names (``"encoder"`` is ``"encoder.*"`` too), a registry name (``"batch_norm2d"``)
        or class of modules, whose parameters and those below they are, or a function of (name, parameter). Buffers, such
        as running statistics, follow the mode of their module, not this. One that means nothing is an error, and nothing
        is changed by it. Optimizers leave frozen parameters as they are, and take them up again when they are unfrozen.
        """
        return self._set_trainable(what, False)

    def unfreeze(self, *what: Any) -> Report:
        """The opposite of :meth:`freeze`."""
        return self._set_trainable(what, True)

    def _set_trainable(self, what: tuple[Any, ...], value: bool) -> Report:
        from .selecting import chosen_parameters
        from .surgery import Change, Report

        action = "unfreeze" if value else "freeze"
        chosen: dict[str, Parameter] = {}
        for one in what or ("*",):
            chosen.update(chosen_parameters(self, one, action))
        words = {True: "trained", False: "frozen"}
        changes = [Change(n, f"{p.shape} {words[p.requires_grad]}", words[value]) for n, p in chosen.items()]
        for parameter in chosen.values():
            parameter.requires_grad_(value)
        return Report("unfrozen" if value else "frozen", changes)

    # -- surgery -----------------------------------------------------------------------------------------------------

    def replace(self, what: Any, by: Any) -> Report:
        """``model.replace("relu", "gelu")``; see :func:`lunar_core.surgery.replace`."""
        from .surgery import replace

        return replace(self, what, by)

    def insert_after(self, what: Any, new: Any) -> Report:
        """``model.insert_after("conv2d", "batch_norm2d")``; see :func:`lunar_core.surgery.insert_after`."""
        from .surgery import insert_after

        return insert_after(self, what, new)

    def insert_before(self, what: Any, new: Any) -> Report:
        """See :func:`lunar_core.surgery.insert_before`."""
        from .surgery import insert_before

        return insert_before(self, what, new)

    def remove(self, what: Any) -> Report:
        """``model.remove("dropout")``; see :func:`lunar_core.surgery.remove`."""
        from .surgery import remove

        return remove(self, what)

    def train_with(self: M, pattern: str = "", /, **options: Any) -> M:
        """Say how this module, or what ``pattern`` means below it, is trained; returns the module.

        ::

            Sequential(Dense(64), Dense(10).train_with(lr=1e-3))
            model.train_with("head.*", optimizer="sgd", lr=0.1, schedule="cosine", regularizer="l2")

        ``pattern`` is a glob over dotted names of parameters; ``"head"`` is all below ``head``. Options are

        - hyperparameters of the optimizer by their names (``lr``, ``weight_decay``, ...);
        - ``optimizer``: another one for these parameters, as a name or configuration (a Hybrid; the Trainer makes it);
        - ``schedule``: a scheduler of the learning rate, which no other moves then;
        - ``regularizer``: a penalty on these weights or on what these modules give, or a constraint;
        - ``hooks``: forward hooks, ``f(module, args, output)``, registered at once on the modules that ``pattern`` names;
        - ``norm``: a layer that normalises what these modules give, put in at once as their part ``output_norm``.

        :mod:`lunar_core.training_options` says which counts where several are given. A pattern that matches nothing
        raises StateError, for a model that is not built yet when the options are used.
        """
        from .training_options import train_with

        return train_with(self, pattern, **options)

    def _parts_changed(self) -> None:
        """Called after surgery among the direct parts."""

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for _, parameter in self._named_tensors(Parameter):
            parameter.grad = None

    # -- hooks -------------------------------------------------------------------------------------------------------

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple[Any, ...]], Any]) -> Callable[[], None]:
        """Call ``hook(module, args)`` before ``forward``; a returned value replaces the arguments.

        Gives back a function that removes the hook.
        """
        return self._add_hook("_pre_hooks", hook)

    def register_forward_hook(self, hook: Callable[[Module, tuple[Any, ...], Any], Any]) -> Callable[[], None]:
        """Call ``hook(module, args, output)`` after ``forward``; a returned value replaces the output."""
        return self._add_hook("_post_hooks", hook)

    def _add_hook(self, where: str, hook: Callable[..., Any]) -> Callable[[], None]:
        entry = _HookEntry(hook)
        setattr(self, where, (*getattr(self, where), entry))
        self._special = True

        def remove() -> None:
            setattr(self, where, tuple(h for h in getattr(self, where) if h is not entry))
            self._special = bool(self._missing_build or self._pre_hooks or self._post_hooks)

        return remove

    # -- picture -----------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What the repr shows in the parentheses of a module that is no component."""
        return ""

    def _label(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def __repr__(self) -> str:
        children = list(self.named_children())
        head = self._label()
        if not children:
            return head
        lines = [f"  ({name}): {line}" for name, child in children for line in [repr(child).replace("\n", "\n  ")]]
        return "\n".join([head.removesuffix("()") + "(" if head.endswith("()") else head + " (", *lines, ")"])


class _HookEntry:
    """One registration of a hook; the same function may be registered twice."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class Parameters(Iterable[Parameter]):
    """The parameters of a module, walked anew at each iteration."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def __iter__(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named())

    def named(self) -> Iterator[tuple[str, Parameter]]:
        """With their dotted names."""
        return self.module.named_parameters()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Parameters({type(self.module).__name__})"


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _parts(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Tensors and modules among the attributes and, in containers, below them."""
    for name, value in values.items():
        if isinstance(value, (Tensor, Module)):
            yield name, value
        elif isinstance(value, (list, tuple, dict)):
            yield from _container_parts(name, value)


def _container_parts(prefix: str, container: Any) -> Iterator[tuple[str, Any]]:
    items = container.items() if isinstance(container, dict) else enumerate(container)
    for key, value in items:
        if isinstance(value, (Tensor, Module)):
            yield f"{prefix}.{key}", value
        elif isinstance(value, (list, tuple, dict)):
            yield from _container_parts(f"{prefix}.{key}", value)


def _locate(exc: LunarError, module: Module) -> None:
    """Extend the path in the model that an error carries, on its way up through the calls."""
    inner: Any = getattr(exc, "_inner", None)
    if inner is None:
        exc._label = type(module).__name__  # type: ignore[attr-defined]
        exc._path = ""  # type: ignore[attr-defined]
    elif inner is not module:
        name = next((n for n, child in module.named_children() if child is inner), type(inner).__name__)
        path = exc._path  # type: ignore[attr-defined]
        exc._path = _join(name, path) if path else name  # type: ignore[attr-defined]
    exc._inner = module  # type: ignore[attr-defined]
    path = exc._path  # type: ignore[attr-defined]
    exc.where = f'"{path}" ({exc._label})' if path else exc._label  # type: ignore[attr-defined]


def _describe(report: LoadReport, own: Mapping[str, Tensor], state: Mapping[str, Any]) -> str:
    lines = ["the state does not fit this module:"]
    if report.missing:
        lines.append(f"  missing: {_shortened(report.missing)}")
    if report.unexpected:
        lines.append(f"  unexpected: {_shortened(report.unexpected)}")
    for name in report.misshapen[:8]:
        lines.append(f"  {name}: expected shape {own[name].shape}, got {tuple(np.shape(_raw_of(state[name])))}")
    if len(report.misshapen) > 8:
        lines.append(f"  and {len(report.misshapen) - 8} more of another shape")
    return "\n".join(lines)


def _shortened(names: list[str], count: int = 8) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def _converted(name: str, value: Any, like: Any) -> Any:
    """``value`` in the library and the dtype of ``like``; an error before anything is written if it cannot be that."""
    if value.dtype.kind not in "biufcV" or (value.dtype.kind == "c" and like.dtype.kind != "c"):
        raise StateError(f"{name}: cannot load values of dtype {value.dtype} into {like.dtype}")
    if type(value) is not type(like):
        value = _to_backend(value, like)
    return value.astype(like.dtype, copy=False)


def _to_backend(value: Any, like: Any) -> Any:
    owner = backend.of(like)
    return owner.from_numpy(backend.of(value).to_numpy(value), owner.device_of(like))
