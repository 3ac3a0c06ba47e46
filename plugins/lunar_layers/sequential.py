"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lunar_core.contracts.layer import Layer
from lunar_core.errors import HyperparameterError, IndexingError
from lunar_core.module import Module

from .auto_initializer import follow_activations


class Sequential(Layer):
    """``layers[-1](... layers[1](layers[0](x)))``.

    Takes modules as arguments, or one list of them. Indexing by a position or a slice, ``len``, iteration, ``append``
    and assignment to a position work as on a list; a slice is a Sequential that shares its modules with this one.

    The modules are named ``0``, ``1``, ... as in PyTorch, so parameters are ``0.weight``, ``3.bias`` and state dicts
    of equal architectures fit each other.
    """

    def __init__(self, *layers: Any) -> None:
        if len(layers) == 1 and isinstance(layers[0], (list, tuple)):
            layers = tuple(layers[0])
        for position, layer in enumerate(layers):
            setattr(self, str(position), _checked(layer, position))
        follow_activations(self.layers)

    def append(self, layer: Module) -> Sequential:
        """Add a module at the end; returns self."""
        position = len(self)
        setattr(self, str(position), _checked(layer, position))
        follow_activations(self.layers)
        return self

    @property
    def layers(self) -> list[Module]:
        """The modules in order, as a new list."""
        # They are kept as attributes, so that whoever replaces an attribute replaces a layer.
        return [value for name, value in vars(self).items() if name.isdigit()]

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        return self.layers[self._position(index)]

    def __setitem__(self, index: int, layer: Module) -> None:
        position = self._position(index)
        setattr(self, str(position), _checked(layer, position))

    def _position(self, index: int) -> int:
        size = len(self)
        if isinstance(index, bool) or not hasattr(index, "__index__"):
            raise IndexingError(f"Sequential is indexed by a position or a slice, got {index!r}")
        position = index.__index__()
        if not -size <= position < size:
            raise IndexingError(f"Sequential: position {position} is out of range for {size} layers")
        return position % size

    def config(self) -> dict[str, Any]:
        return {"layers": self.layers}

    @classmethod
    def from_config_fields(cls, layers: list[Any]) -> Sequential:
        return cls(*layers)


def _checked(layer: Any, position: int) -> Module:
    if isinstance(layer, Module):
        return layer
    hint = None
    if isinstance(layer, type) and issubclass(layer, Module):
        hint = f"make an instance of the class: {layer.__name__}()"
    elif callable(layer):
        hint = "wrap a function in a Module whose forward calls it"
    shown = layer.__name__ if isinstance(layer, type) else repr(layer)
    raise HyperparameterError(f"Sequential: layer {position} must be a module, got {shown}", hint=hint)
