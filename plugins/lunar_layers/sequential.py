"""Layers one after the other."""

from __future__ import annotations

from typing import Any

from lunar_core.module import Module

from .auto_initializer import follow_activations
from .module_list import Listing


class Sequential(Listing):
    """``layers[-1](... layers[1](layers[0](x)))``.

    Takes modules as arguments, or one list of them. Indexing by a position or a slice, ``len``, iteration, ``append``
    and assignment to a position work as on a list; a slice is a Sequential that shares its modules with this one.

    The modules are named ``0``, ``1``, ... as in PyTorch, so parameters are ``0.weight``, ``3.bias`` and state dicts
    of equal architectures fit each other.
    """

    def __init__(self, *layers: Any) -> None:
        super().__init__(*layers)
        follow_activations(self.layers)

    def append(self, layer: Module) -> Sequential:
        """Add a module at the end; returns self."""
        super().append(layer)
        follow_activations(self.layers)
        return self

    def insert(self, index: int, layer: Module) -> None:
        super().insert(index, layer)
        follow_activations(self.layers)

    def _parts_changed(self) -> None:
        follow_activations(self.layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x
