"""Activation: a layer that maps each element, or a vector along one axis, without looking at its neighbours."""

from __future__ import annotations

from typing import ClassVar

from .layer import Layer


class Activation(Layer):
    """Base of activations; write ``forward(x)``. The result has the shape of ``x`` unless the docstring says otherwise, as
    for gates, which halve an axis."""

    kind: ClassVar[str] = "activation"
