"""Any recurrent layer in both directions."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, one_of
from lunar_core.config import from_config, to_config
from lunar_core.contracts.layer import Layer
from lunar_core.contracts.model import Template
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_layers.checks import require_floating
from lunar_layers.parts import make_part, part
from lunar_layers.ragged import lengths_of, reversed_in_time


class Bidirectional(Layer):
    """Runs a layer over sequences and a second one of its kind over the reversed sequences, and joins both outputs.

    Shapes: x (batch, time, ...) -> outputs (batch, time, features of the joined ones, ...). ``layer`` is a layer, its
    configuration or registry name, of which two with weights of their own are made: ``forward_layer`` and
    ``backward_layer``; the backward outputs are turned round again, so that both speak of the same step. ``merge`` is
    ``"concat"`` (on axis 2), ``"sum"``, ``"mean"`` or ``"mul"``. A layer with ``return_sequences=False`` gives the last
    output of each direction, joined on axis 1.

    ``lengths`` (batch,) says how many steps of each row count; a row is turned round within them. They are handed on
    to the layer. :class:`~lunar_layers.recurrent.LSTM` and its kin have ``bidirectional=True``, where each layer sees
    both directions of the one before; here the directions meet at the end only.

    Source: M. Schuster and K. Paliwal, Bidirectional Recurrent Neural Networks, 1997.

    Raises:
        HyperparameterError: a layer that gives back its state as well.
        ShapeError: lengths that do not fit.
    """

    layer: Any = field(converter=part("layer"), doc="a layer over (batch, time, ...), or its registry name")
    merge: str = field(default="concat", validator=one_of("concat", "sum", "mean", "mul"), doc="how outputs are joined")

    def __attrs_post_init__(self) -> None:
        if self.layer is None:
            raise HyperparameterError("Bidirectional: layer is missing", hint="Bidirectional(LSTM(64))")
        self.forward_layer, self.backward_layer = self._fresh(), self._fresh()
        if getattr(self.forward_layer, "return_state", False):
            raise HyperparameterError(
                "Bidirectional joins outputs, but the layer has return_state=True",
                hint="LSTM(..., bidirectional=True, return_state=True) gives the states of both directions",
            )
        super().__attrs_post_init__()

    def _fresh(self) -> Any:
        """A new layer; one that is built already is made again, since its copies would share their first weights."""
        made = make_part("layer", self.layer)
        if isinstance(self.layer, Template) and made.built and next(iter(made.parameters()), None) is not None:
            return from_config(to_config(made))
        return made

    def forward(self, x: Any, *, lengths: Any = None) -> Any:
        require_floating("Bidirectional", x)
        if x.ndim < 3:
            raise ShapeError(f"Bidirectional expects sequences (batch, time, ...), got {tuple(x.shape)}")
        lengths, _ = lengths_of("Bidirectional", x, lengths, None)
        given = {} if lengths is None else {"lengths": lengths}
        a = self.forward_layer(x, **given)
        b = self.backward_layer(reversed_in_time(x, lengths), **given)
        sequences = getattr(self.forward_layer, "return_sequences", True)
        if sequences:
            b = reversed_in_time(b, lengths)
        if self.merge == "concat":
            return ops.concat([a, b], axis=2 if sequences else 1)
        if self.merge == "mul":
            return a * b
        return a + b if self.merge == "sum" else (a + b) * 0.5
