"""Activation: a layer without parameters that maps each element, or a vector along one axis."""

from __future__ import annotations

from typing import ClassVar

from .layer import Layer


class Activation(Layer):
    """Base of activations; write ``forward(x)``. The result has the shape of ``x``."""

    kind: ClassVar[str] = "activation"
