"""One step of recurrent networks: RNNCell, LSTMCell, GRUCell."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core import backend, ops
from lunar_core.component import field, one_of, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_layers.checks import require_floating
from lunar_layers.initializers import Orthogonal, XavierUniform, Zeros, as_initializer


class RecurrentWeights(Layer):
    """Base of recurrent layers: the weights of one layer in one direction, gate by gate one below the other."""

    gates: ClassVar[int] = 1

    hidden_size: int = field(validator=positive, doc="size of the state")
    input_size: int | None = field(
        default=None,
        validator=positive,
        kw_only=True,
        doc="features of the input; None learns them from the first call",
    )
    use_bias: bool = field(default=True, kw_only=True, doc="learned offsets, one for the input and one for the state")
    weight_init: Initializer = field(
        factory=XavierUniform, converter=as_initializer, kw_only=True, doc="initializer of each gate's input weights"
    )
    recurrent_init: Initializer = field(
        factory=Orthogonal, converter=as_initializer, kw_only=True, doc="initializer of each gate's state weights"
    )
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of offsets")

    def _make(self, features: int, state: int, suffix: str = "") -> None:
        """Make weight_ih, weight_hh, bias_ih and bias_hh, named with ``suffix``."""
        rows = self.gates * self.hidden_size

        def stacked(draw: Initializer, width: int) -> Any:
            return _below([draw((self.hidden_size, width)) for _ in range(self.gates)])

        self._set("weight_ih", suffix, stacked(self.weight_init, features))  # (gates * hidden, features)
        self._set("weight_hh", suffix, stacked(self.recurrent_init, state))  # (gates * hidden, state)
        if self.use_bias:
            self._set("bias_ih", suffix, self._input_bias(rows))  # (gates * hidden,)
            self._set("bias_hh", suffix, self.bias_init((rows,)))  # (gates * hidden,)

    def _set(self, name: str, suffix: str, values: Any) -> None:
        setattr(self, name + suffix, Parameter(values))

    def _input_bias(self, rows: int) -> Any:
        return self.bias_init((rows,))

    def _weights(self, suffix: str = "") -> tuple[Any, ...]:
        """What the ops take."""
        names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.use_bias else [])]
        return tuple([getattr(self, name + suffix) for name in names])


def _below(blocks: list[Any]) -> Any:
    """Blocks of rows as one array."""
    return blocks[0] if len(blocks) == 1 else backend.of(blocks[0]).xp.concatenate(blocks)


class Cell(RecurrentWeights):
    """Base of cells."""

    def input_spec(self) -> Spec | None:
        return None if self.input_size is None else Spec((1, self.input_size), modes.dtype)

    def build(self, x: Any, state: Any = None) -> None:
        self._check(x)
        self.input_size = x.shape[-1]
        self._make(self.input_size, self.hidden_size)

    def _check(self, x: Any, **states: Any) -> None:
        name = type(self).__name__
        require_floating(name, x)
        if len(x.shape) != 2 or not x.shape[1] or self.input_size not in (None, x.shape[1]):
            expected = "features" if self.input_size is None else self.input_size
            raise ShapeError(f"{name} expects inputs of one step, (batch, {expected}), got {tuple(x.shape)}")
        for label, state in states.items():
            if state is not None and tuple(state.shape) != (x.shape[0], self.hidden_size):
                raise ShapeError(
                    f"{name}: the state {label} must be (batch, hidden_size) = {(x.shape[0], self.hidden_size)}, "
                    f"got {tuple(state.shape)}"
                )


class RNNCell(Cell):
    """One step of an Elman network: ``h' = act(W_ih x + b_ih + W_hh h + b_hh)``.

    Shapes: x (batch, features), h (batch, hidden_size) or ``None`` for zeros -> h' (batch, hidden_size); ``weight_ih``
    (hidden_size, features), ``weight_hh`` (hidden_size, hidden_size), ``bias_ih`` and ``bias_hh`` (hidden_size,), as in
    ``torch.nn.RNNCell``. ``nonlinearity`` is ``"tanh"`` or ``"relu"``. Input weights start Xavier uniform, state weights
    orthogonal, offsets at zero; PyTorch starts all uniform within ``1 / sqrt(hidden_size)``.

    Source: J. L. Elman, Finding Structure in Time, Cognitive Science 14, 1990.

    Raises:
        ShapeError: inputs or states of other sizes.
        DTypeError: integer inputs.
    """

    nonlinearity: str = field(default="tanh", validator=one_of("tanh", "relu"), kw_only=True, doc="tanh or relu")

    def forward(self, x: Any, state: Any = None) -> Any:
        self._check(x, h=state)
        return ops.rnn_cell(x, state, self._weights(), nonlinearity=self.nonlinearity)


class LSTMWeights(RecurrentWeights):
    """The forget gate starts open: what LSTM and LSTMCell share."""

    gates: ClassVar[int] = 4

    forget_bias: float = field(
        default=1.0, kw_only=True, doc="what the offset of the forget gate starts with in addition"
    )

    def _input_bias(self, rows: int) -> Any:
        bias = self.bias_init((rows,))
        bias[self.hidden_size : 2 * self.hidden_size] += self.forget_bias
        return bias


class LSTMCell(LSTMWeights, Cell):
    """One step of an LSTM.

    ``i, f, g, o = W_ih x + b_ih + W_hh h + b_hh`` in this order, ``c' = sigmoid(f) c + sigmoid(i) tanh(g)``,
    ``h' = sigmoid(o) tanh(c')``.

    Shapes: x (batch, features), state (h, c) of (batch, hidden_size) each or ``None`` for zeros -> (h', c');
    ``weight_ih`` (4 hidden_size, features), ``weight_hh`` (4 hidden_size, hidden_size), ``bias_ih`` and ``bias_hh``
    (4 hidden_size,), as in ``torch.nn.LSTMCell``. The forget gate's offset starts at ``forget_bias``
    (R. Jozefowicz et al., ICML 2015), the rest as in :class:`RNNCell`.

    Source: S. Hochreiter and J. Schmidhuber, Long Short-Term Memory, 1997, with the forget gate of F. Gers et al., 2000.

    Raises:
        ShapeError: inputs or states of other sizes.
        DTypeError: integer inputs.
    """

    def forward(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        h, c = pair_of("LSTMCell", state)
        self._check(x, h=h, c=c)
        return ops.lstm_cell(x, h, c, self._weights())


class GRUCell(Cell):
    """One step of a gated recurrent unit.

    ``r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)``, ``z`` likewise, ``n = tanh(W_in x + b_in + r (W_hn h + b_hn))``,
    ``h' = (1 - z) n + z h``.

    Shapes: x (batch, features), h (batch, hidden_size) or ``None`` for zeros -> h' (batch, hidden_size); ``weight_ih``
    (3 hidden_size, features) with the rows of r, z and n, ``weight_hh`` (3 hidden_size, hidden_size), ``bias_ih`` and
    ``bias_hh`` (3 hidden_size,), as in ``torch.nn.GRUCell``; they start as in :class:`RNNCell`.

    Source: K. Cho et al., arXiv:1406.1078; this is PyTorch's and cuDNN's variant, where r acts after the product.

    Raises:
        ShapeError: inputs or states of other sizes.
        DTypeError: integer inputs.
    """

    gates: ClassVar[int] = 3

    def forward(self, x: Any, state: Any = None) -> Any:
        self._check(x, h=state)
        return ops.gru_cell(x, state, self._weights())


def pair_of(layer: str, state: Any) -> tuple[Any, Any]:
    """The two states of an LSTM; ``None`` stands for both."""
    if state is None:
        return None, None
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        got = f"{len(state)} values" if isinstance(state, (tuple, list)) else type(state).__name__
        raise ShapeError(f"{layer} expects a state (h, c), got {got}")
    return state[0], state[1]
