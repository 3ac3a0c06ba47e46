"""Parametrization: a parameter that is computed from others.

::

    class Symmetric(Parametrization):
        def forward(self, original):
            return ops.triu(original) + ops.triu(original, 1).mT

    parametrize(layer, "weight", Symmetric())
    layer.weight                                  # symmetric, whatever the optimizer does to the original
    remove_parametrization(layer, "weight")       # a plain parameter again, with the value that it has now

What is trained are the parts, parameters of the parametrization: ``parametrizations.weight.original`` among the
layer's names and in its state dict. The attribute itself is computed whenever it is read and is in the graph. Writing
to it sets the parts so that it becomes what was written, as nearly as the parametrization can.

Give the parameters to the optimizer after this, since there may be new ones.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from ..component import Component
from ..errors import ShapeError, StateError
from ..modes import no_grad
from ..module import Module, Parameter
from ..tensor import Tensor

M = TypeVar("M", bound=Module)


class Parametrization(Component, Module):
    """Base of parametrizations: write ``forward``, and ``right_inverse`` where the parts are not the parameter itself.

    One instance serves one parameter. ``prepare`` may keep buffers on ``self``; ``self.training`` follows the layer.
    """

    kind: ClassVar[str] = "parametrization"

    #: Names of the parts, in the order in which ``forward`` takes and ``right_inverse`` gives them.
    parts: ClassVar[tuple[str, ...]] = ("original",)

    def prepare(self, value: Tensor) -> None:
        """Look at the parameter before its first ``right_inverse``: check the shape, make buffers."""

    def forward(self, *parts: Tensor) -> Tensor:
        """The parameter from its parts."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def right_inverse(self, value: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Parts from which ``forward`` makes ``value``, or what is nearest to it. Called without a graph."""
        return value

    def compute(self) -> Tensor:
        """The parameter as it is now."""
        result = self(*[getattr(self, name) for name in self.parts])
        assert isinstance(result, Tensor)
        return result

    def parts_of(self, value: Tensor) -> dict[str, Any]:
        """Name -> raw array of the parts for ``value``. The arrays are new ones."""
        with no_grad():
            found = self.right_inverse(value)
        found = found if isinstance(found, tuple) else (found,)
        if len(found) != len(self.parts):
            raise StateError(
                f"{type(self).__name__}.right_inverse gave {len(found)} parts, expected {', '.join(self.parts)}"
            )
        return {name: part.data.copy() for name, part in zip(self.parts, found)}

    def _label(self) -> str:
        return Component.__repr__(self)

    __repr__ = Module.__repr__


_classes: dict[tuple[type, frozenset[str]], type] = {}


def parametrize(module: M, name: str, parametrization: Parametrization) -> M:
    """Compute the parameter ``name`` of ``module`` by ``parametrization`` from now on; returns ``module``.

    Its value stays what it was, as nearly as the parametrization can. The first part of the parameter's own shape
    takes the place of the parameter itself, and stays the same object.

    Raises StateError for a parameter that is not there, is parametrized already or has a parametrization that serves
    another one, :class:`~lunar_core.errors.NotBuiltError` for a layer that does not know its sizes yet.
    """
    own = dict(module._require_built() or vars(module))
    if name in own.get("parametrizations", {}):
        raise StateError(
            f"{type(module).__name__}.{name} is parametrized already, by {own['parametrizations'][name]!r}",
            hint=f'remove_parametrization(module, "{name}")',
        )
    parameter = own.get(name)
    if not isinstance(parameter, Parameter):
        names = [n for n, value in own.items() if isinstance(value, Parameter)]
        raise StateError(
            f"{type(module).__name__} has no parameter {name!r} of its own", hint=f"it has {', '.join(names) or 'none'}"
        )
    if any(part in vars(parametrization) for part in parametrization.parts):
        raise StateError(f"{parametrization!r} serves another parameter already", hint="make one for each")

    value = parameter.detach()
    parametrization.prepare(value)
    arrays = parametrization.parts_of(value)
    parametrization.training = module.training
    taken = False
    for part, array in arrays.items():
        if not taken and array.shape == parameter.shape and array.dtype == parameter.dtype:
            parameter.data = array
            setattr(parametrization, part, parameter)
            taken = True
        else:
            setattr(parametrization, part, Parameter(array, requires_grad=parameter.requires_grad))
    if "parametrizations" not in own:
        module.parametrizations = {}  # type: ignore[attr-defined]
    delattr(module, name)
    module.parametrizations[name] = parametrization  # type: ignore[attr-defined]
    _set_class(module)
    return module


def remove_parametrization(module: M, name: str) -> M:
    """Make ``name`` a plain parameter again, with the value that it has now; returns ``module``.

    A part that took the parameter's place becomes the parameter again, so that an optimizer that knows it goes on.
    """
    held = vars(module).get("parametrizations", {})
    if name not in held:
        raise StateError(
            f"{type(module).__name__}.{name} is not parametrized", hint=f"parametrized: {', '.join(held) or 'nothing'}"
        )
    parametrization = held[name]
    training = parametrization.training
    parametrization.training = False  # reading must not move any state
    try:
        with no_grad():
            value = parametrization.compute()
    finally:
        parametrization.training = training
    del held[name]
    if not held:
        del module.parametrizations  # type: ignore[attr-defined]
    _set_class(module)
    parts = [getattr(parametrization, part) for part in parametrization.parts]
    parameter = next((p for p in parts if p.shape == value.shape), None)
    for part in parametrization.parts:
        delattr(parametrization, part)
    if parameter is None:
        parameter = Parameter(value.data.copy(), requires_grad=parts[0].requires_grad)
    else:
        parameter.data = value.data.copy()
        parameter.grad = None
    setattr(module, name, parameter)
    return module


def is_parametrized(module: Module, name: str | None = None) -> bool:
    """Whether the parameter ``name`` (default: any) of ``module`` is computed by a parametrization."""
    held = vars(module).get("parametrizations", {})
    return bool(held) if name is None else name in held


def _set_class(module: Module) -> None:
    """Give the module the class on which its parametrized names are properties, or its own one back."""
    cls = getattr(type(module), "__lunar_plain__", type(module))
    names = frozenset(vars(module).get("parametrizations", {}))
    if names:
        key = (cls, names)
        if key not in _classes:
            members: dict[str, Any] = {name: _property(name) for name in names}
            # Under a name of its own, so that no configuration is written that would lose the parametrization.
            named = f"Parametrized{cls.__name__}"
            members |= {"__lunar_plain__": cls, "__module__": cls.__module__, "__qualname__": named}
            _classes[key] = type(named, (cls,), {**members, "__doc__": cls.__doc__})
        cls = _classes[key]
    module.__class__ = cls


def _property(name: str) -> property:
    def get(module: Any) -> Tensor:
        return module.parametrizations[name].compute()

    def set_(module: Any, value: Any) -> None:
        parametrization = module.parametrizations[name]
        value = value.detach() if isinstance(value, Tensor) else Tensor(value)
        arrays = parametrization.parts_of(value)
        for part, array in arrays.items():
            held = getattr(parametrization, part)
            if array.shape != held.shape:
                raise ShapeError(
                    f"{type(module).__name__}.{name}: part {part!r} has shape {held.shape}, got {array.shape}"
                )
        for part, array in arrays.items():
            held = getattr(parametrization, part)
            held.data = array.astype(held.dtype, copy=False)

    return property(get, set_)
