"""Containers that hold modules and leave the computing to whoever holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lunar_core.contracts.layer import Layer
from lunar_core.errors import HyperparameterError, IndexingError
from lunar_core.module import Module


class Listing(Layer):
    """Base of layers made of a list of modules: indexing, slices, ``len``, iteration, ``append``, assignment.

    Takes modules as arguments, or one list of them. They are named ``0``, ``1``, ... as in PyTorch. A slice is a
    container of the same class that shares its modules with this one.
    """

    def __init__(self, *layers: Any) -> None:
        if len(layers) == 1 and isinstance(layers[0], (list, tuple)):
            layers = tuple(layers[0])
        for position, layer in enumerate(layers):
            setattr(self, str(position), as_module(layer, type(self).__name__, f"layer {position}"))

    def append(self, layer: Module) -> Any:
        """Add a module at the end; returns self."""
        position = len(self)
        setattr(self, str(position), as_module(layer, type(self).__name__, f"layer {position}"))
        return self

    def insert(self, index: int, layer: Module) -> None:
        """Put a module before a position, as ``list.insert`` does; those behind it move on, with their names."""
        layers = self.layers
        layers.insert(index, as_module(layer, type(self).__name__, f"layer {index}"))
        self._set_layers(layers)

    def __delitem__(self, index: int | slice) -> None:
        layers = self.layers
        del layers[index if isinstance(index, slice) else self._position(index)]
        self._set_layers(layers)

    def _set_layers(self, layers: list[Module]) -> None:
        for name in [name for name in vars(self) if name.isdigit()]:
            delattr(self, name)
        for position, layer in enumerate(layers):
            setattr(self, str(position), layer)

    @property
    def layers(self) -> list[Module]:
        """The modules in order, as a new list."""
        # They are kept as attributes, so that whoever replaces an attribute replaces a layer.
        return [value for name, value in vars(self).items() if name.isdigit()]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self.from_config_fields(**{**self.config(), "layers": self.layers[index]})
        return self.layers[self._position(index)]

    def __setitem__(self, index: int, layer: Module) -> None:
        position = self._position(index)
        setattr(self, str(position), as_module(layer, type(self).__name__, f"layer {position}"))

    def _position(self, index: int) -> int:
        size, name = len(self), type(self).__name__
        if isinstance(index, bool) or not hasattr(index, "__index__"):
            raise IndexingError(f"{name} is indexed by a position or a slice, got {index!r}")
        position = index.__index__()
        if not -size <= position < size:
            raise IndexingError(f"{name}: position {position} is out of range for {size} layers")
        return position % size

    def config(self) -> dict[str, Any]:
        return {"layers": self.layers}

    @classmethod
    def from_config_fields(cls, layers: list[Any]) -> Any:
        return cls(*layers)


class ModuleList(Listing):
    """A list of modules that belong to the model; calling it is an error.

    A plain Python list as an attribute is walked as well; this one also has a configuration, slices that are modules,
    and a place in the repr. Parameters are named ``blocks.0.weight``, as ``torch.nn.ModuleList``'s.
    """

    def extend(self, layers: Any) -> ModuleList:
        """Add several modules at the end; returns self."""
        for layer in layers:
            self.append(layer)
        return self

    def forward(self, *inputs: Any) -> Any:
        raise _uncallable("ModuleList", "for layer in self.blocks: x = layer(x), or take a Sequential")


class ModuleDict(Layer):
    """Modules by name that belong to the model; calling it is an error, so it has no shapes.

    Takes one mapping, or keyword arguments. ``d["key"]``, ``keys``, ``values``, ``items``, ``in``, ``len``, iteration
    over the names, assignment and ``del`` work as on a dict. Parameters are named ``parts.key.weight`` for a ModuleDict
    ``parts``, as ``torch.nn.ModuleDict``'s.

    Raises:
        HyperparameterError: keys that are no non-empty strings, contain a dot or name an attribute that every layer
            has, such as "training"; values that are no modules.
    """

    def __init__(self, layers: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        if layers is not None and not isinstance(layers, Mapping):
            raise HyperparameterError(
                f"ModuleDict: expected a mapping of names to modules, got {type(layers).__name__}",
                hint='ModuleDict({"left": Dense(3), "right": Dense(4)}), or keyword arguments',
            )
        for key, layer in {**(layers or {}), **named}.items():
            self[key] = layer

    def __setitem__(self, key: str, layer: Module) -> None:
        if not isinstance(key, str) or not key or "." in key:
            raise HyperparameterError(f"ModuleDict: keys are non-empty strings without a dot, got {key!r}")
        if key not in self and hasattr(self, key):
            raise HyperparameterError(
                f"ModuleDict: {key!r} is an attribute of every ModuleDict", hint="choose another key"
            )
        setattr(self, key, as_module(layer, "ModuleDict", f"the value of {key!r}"))

    def __getitem__(self, key: str) -> Module:
        if key not in self:
            raise IndexingError(f"ModuleDict has no {key!r}; it has {', '.join(self) or 'nothing'}")
        return getattr(self, key)

    def __delitem__(self, key: str) -> None:
        self[key]
        delattr(self, key)

    def __contains__(self, key: object) -> bool:
        return isinstance(vars(self).get(key), Module)  # type: ignore[call-overload]

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    @property
    def parts(self) -> dict[str, Module]:
        """The modules by name, as a new dict."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Module)}

    def keys(self) -> Any:
        """The names."""
        return self.parts.keys()

    def values(self) -> Any:
        """The modules."""
        return self.parts.values()

    def items(self) -> Any:
        """(name, module) pairs."""
        return self.parts.items()

    def forward(self, *inputs: Any) -> Any:
        raise _uncallable("ModuleDict", 'self.parts["key"](x)')

    def config(self) -> dict[str, Any]:
        return {"layers": self.parts}

    @classmethod
    def from_config_fields(cls, layers: dict[str, Any]) -> ModuleDict:
        return cls(layers)


def _uncallable(name: str, way: str) -> HyperparameterError:
    return HyperparameterError(f"{name} holds modules and computes nothing itself", hint=f"call what it holds: {way}")


def as_module(layer: Any, owner: str, place: str) -> Module:
    """``layer`` if it is a module; else the error of ``owner``, which was given it at ``place``."""
    if isinstance(layer, Module):
        return layer
    hint = None
    if isinstance(layer, type) and issubclass(layer, Module):
        hint = f"make an instance of the class: {layer.__name__}()"
    elif callable(layer):
        hint = "wrap a function: Lambda(function)"
    shown = layer.__name__ if isinstance(layer, type) else repr(layer)
    raise HyperparameterError(f"{owner}: {place} must be a module, got {shown}", hint=hint)
