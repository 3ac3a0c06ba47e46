"""Layer: a module that is a component.

A layer is its hyperparameters, its parameters' shapes and its formula::

    class Dense(Layer):
        out_features: int = field(validator=positive)

        def build(self, x):
            self.weight = Parameter(he_normal((self.out_features, x.shape[-1])))   # (out, in)

        def forward(self, x):
            return ops.linear(x, self.weight)

``build`` runs once, at the first call, with the inputs of that call; it looks at shapes and dtypes only. A layer whose
input size is a hyperparameter returns it from ``input_spec``, and is then built at once.
"""

from __future__ import annotations

from typing import ClassVar

from ..component import Component
from ..module import Module
from ..op import Spec


class Layer(Component, Module):
    """Base of layers: hyperparameters as annotated fields, ``build`` for the parameters, ``forward`` for the formula."""

    kind: ClassVar[str] = "layer"

    def __attrs_post_init__(self) -> None:
        if type(self).build is not Module.build:
            self._missing_build = self._special = True
            spec = self.input_spec()
            if spec is not None:
                self.ensure_built(spec)

    def input_spec(self) -> Spec | None:
        """Shape and dtype of the inputs when the hyperparameters say them; axes that do not matter have size 1."""
        return None

    def _label(self) -> str:
        return Component.__repr__(self)

    __repr__ = Module.__repr__
