"""Recurrent networks over whole sequences: RNN, LSTM, GRU."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lunar_core import ops
from lunar_core.component import field, hyperparameter_error, in_range, one_of, positive
from lunar_core.errors import ShapeError
from lunar_core.modes import modes
from lunar_core.op import Spec
from lunar_layers.checks import require_sequences
from lunar_layers.dropout import Dropout
from lunar_layers.ragged import lengths_of, reordered
from lunar_layers.recurrent_cells import LSTMWeights, RecurrentWeights, pair_of


class Recurrent(RecurrentWeights):
    """Base of recurrent layers: what runs over time, layers and directions; a subclass runs one layer one way."""

    num_layers: int = field(
        default=1, validator=positive, kw_only=True, doc="layers, each over the outputs of the last"
    )
    bidirectional: bool = field(default=False, kw_only=True, doc="run each layer backwards too and join both outputs")
    dropout: float = field(
        default=0.0, validator=in_range(0, 1, include_high=False), kw_only=True, doc="dropout between layers"
    )
    return_sequences: bool = field(default=True, kw_only=True, doc="the outputs of all steps; else the last ones only")
    return_state: bool = field(default=False, kw_only=True, doc="give back (outputs, state)")

    def __attrs_post_init__(self) -> None:
        self.drop = Dropout(self.dropout) if self.dropout else None
        super().__attrs_post_init__()

    def input_spec(self) -> Spec | None:
        return None if self.input_size is None else Spec((1, 1, self.input_size), modes.dtype)

    @property
    def output_size(self) -> int:
        """Features of the outputs of one direction."""
        return self.hidden_size

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def build(self, x: Any, state: Any = None, **_: Any) -> None:
        require_sequences(type(self).__name__, x, self.input_size)
        self.input_size = features = x.shape[2]
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                self._make(features, self.output_size, suffix)
            features = self.output_size * (1 + self.bidirectional)

    def forward(self, x: Any, state: Any = None, *, lengths: Any = None, mask: Any = None) -> Any:
        name = type(self).__name__
        require_sequences(name, x, self.input_size, f" (weight_ih_l0 is {self.weight_ih_l0.shape})")
        lengths, order = lengths_of(name, x, lengths, mask)
        if order is not None:
            x = reordered(x, order)
        starts = self._starts(x, state)
        ends: list[tuple[Any, ...]] = []
        last: list[Any] = []
        for layer in range(self.num_layers):
            if layer and self.drop is not None:
                x = self.drop(x)
            outputs, last = [], []
            for backwards, suffix in enumerate(self._suffixes(layer)):
                y, *states = self._run(x, starts[len(ends)], suffix, lengths, bool(backwards))
                outputs.append(y)
                last.append(states[0])
                ends.append(tuple(states))
            x = outputs[0] if len(outputs) == 1 else ops.concat(outputs, axis=2)
        if not self.return_sequences:
            x = last[0] if len(last) == 1 else ops.concat(last, axis=1)
        elif order is not None:
            x = reordered(x, np.argsort(order, axis=1))
        if not self.return_state:
            return x
        joined = tuple(ops.stack(states) for states in zip(*ends))
        return x, joined if len(joined) > 1 else joined[0]

    def _starts(self, x: Any, state: Any) -> list[tuple[Any, ...]]:
        """The first states of each layer and direction."""
        count = self.num_layers * (1 + self.bidirectional)
        whole = self._states(state)
        for label, values, size in zip("hc", whole, (self.output_size, self.hidden_size)):
            if values is not None and tuple(values.shape) != (count, x.shape[0], size):
                raise ShapeError(
                    f"{type(self).__name__}: the state {label} must be (layers * directions, batch, size) = "
                    f"{(count, x.shape[0], size)}, got {tuple(values.shape)}"
                )
        return [tuple(None if s is None else s[i] for s in whole) for i in range(count)]

    def _states(self, state: Any) -> tuple[Any, ...]:
        return (state,)

    def _run(self, x: Any, states: tuple[Any, ...], suffix: str, lengths: Any, backwards: bool) -> tuple[Any, ...]:
        """Outputs and last states of one layer in one direction."""
        raise NotImplementedError


class RNN(Recurrent):
    """Elman network: ``h_t = act(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    Shapes: x (batch, time, features) -> outputs (batch, time, directions * hidden_size), or (batch, directions *
    hidden_size) of each sequence's last step with ``return_sequences=False``; with ``return_state`` a pair of these and
    the last state (layers * directions, batch, hidden_size), which is also the shape of ``state``. Parameters are
    ``weight_ih_l0`` (hidden_size, features), ``weight_hh_l0`` (hidden_size, hidden_size), ``bias_ih_l0``, ``bias_hh_l0``
    (hidden_size,), then ``..._l1`` and so on, ``..._reverse`` those of the other direction, named and laid out as those
    of ``torch.nn.RNN(batch_first=True)``.

    Rows of different lengths: ``lengths`` (batch,) counts the steps of each, or ``mask`` (batch, time) is True where
    there is one, at any place; other steps are passed over, their outputs are zero, and the last state is that of the
    last step that counts. ``dropout`` applies to the outputs of all layers but the last, in training.

    Input weights start Xavier uniform, state weights orthogonal, offsets at zero.

    Source: J. L. Elman, Finding Structure in Time, Cognitive Science 14, 1990; bidirectional: M. Schuster and K. Paliwal,
    1997.

    Raises:
        ShapeError: inputs, states, lengths or masks of other shapes.
        DTypeError: integer inputs.
    """

    nonlinearity: str = field(default="tanh", validator=one_of("tanh", "relu"), kw_only=True, doc="tanh or relu")

    def _run(self, x: Any, states: tuple[Any, ...], suffix: str, lengths: Any, backwards: bool) -> tuple[Any, ...]:
        return ops.rnn(
            x, *states, self._weights(suffix), lengths=lengths, reverse=backwards, nonlinearity=self.nonlinearity
        )


class LSTM(LSTMWeights, Recurrent):
    """LSTM over sequences; one step is that of :class:`~lunar_layers.recurrent_cells.LSTMCell`.

    Shapes: x (batch, time, features) -> outputs (batch, time, directions * size), where size is ``hidden_size``, or
    ``proj_size`` if there is one; states are pairs (h, c) of (layers * directions, batch, size) and (layers *
    directions, batch, hidden_size). Parameters are those of ``torch.nn.LSTM(batch_first=True)``: ``weight_ih_l0``
    (4 hidden_size, features) with the rows of the gates i, f, g, o, ``weight_hh_l0`` (4 hidden_size, size),
    ``bias_ih_l0``, ``bias_hh_l0`` (4 hidden_size,), and ``weight_hr_l0`` (proj_size, hidden_size) if there is a projection.

    ``return_sequences``, ``return_state``, ``lengths``, ``mask``, ``dropout`` and the start of the weights are as in
    :class:`RNN`; the offset of the forget gate starts at ``forget_bias``.

    Source: S. Hochreiter and J. Schmidhuber, Long Short-Term Memory, 1997, with the forget gate of F. Gers et al., 2000;
    the projection is that of H. Sak et al., arXiv:1402.1128.

    Raises:
        HyperparameterError: ``proj_size`` that is not below ``hidden_size``.
        ShapeError: inputs, states, lengths or masks of other shapes.
        DTypeError: integer inputs.
    """

    proj_size: int | None = field(
        default=None, validator=positive, kw_only=True, doc="size to which outputs are projected; None projects nothing"
    )

    def __attrs_post_init__(self) -> None:
        if self.proj_size is not None and self.proj_size >= self.hidden_size:
            raise hyperparameter_error(self, "proj_size", self.proj_size, f"below hidden_size, {self.hidden_size}")
        super().__attrs_post_init__()

    @property
    def output_size(self) -> int:
        return self.hidden_size if self.proj_size is None else self.proj_size

    def _make(self, features: int, state: int, suffix: str = "") -> None:
        super()._make(features, state, suffix)
        if self.proj_size is not None:
            self._set("weight_hr", suffix, self.weight_init((self.proj_size, self.hidden_size)))

    def _weights(self, suffix: str = "") -> tuple[Any, ...]:
        weights = super()._weights(suffix)
        return weights if self.proj_size is None else (*weights, getattr(self, "weight_hr" + suffix))

    def _states(self, state: Any) -> tuple[Any, ...]:
        return pair_of("LSTM", state)

    def _run(self, x: Any, states: tuple[Any, ...], suffix: str, lengths: Any, backwards: bool) -> tuple[Any, ...]:
        return ops.lstm(x, *states, self._weights(suffix), lengths=lengths, reverse=backwards)


class GRU(Recurrent):
    """Gated recurrent units over sequences; one step is that of :class:`~lunar_layers.recurrent_cells.GRUCell`.

    Shapes, states, ``lengths``, ``mask`` and options are those of :class:`RNN`; ``weight_ih_l0`` (3 hidden_size, features)
    has the rows of the gates r, z, n, as in ``torch.nn.GRU(batch_first=True)``, and so have the others.

    Source: K. Cho et al., arXiv:1406.1078; this is PyTorch's and cuDNN's variant, where r acts after the product.

    Raises:
        ShapeError: inputs, states, lengths or masks of other shapes.
        DTypeError: integer inputs.
    """

    gates: ClassVar[int] = 3

    def _run(self, x: Any, states: tuple[Any, ...], suffix: str, lengths: Any, backwards: bool) -> tuple[Any, ...]:
        return ops.gru(x, *states, self._weights(suffix), lengths=lengths, reverse=backwards)
