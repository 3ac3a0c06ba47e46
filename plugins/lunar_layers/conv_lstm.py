"""LSTM whose gates are convolutions: ConvLSTMCell and ConvLSTM."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import Check, field, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_layers.checks import require_floating, require_images
from lunar_layers.initializers import XavierUniform, Zeros, as_initializer
from lunar_layers.recurrent_cells import pair_of

odd = Check(lambda v: v > 0 and v % 2 == 1, "odd, so that states keep their size")


class ConvLSTMCell(Layer):
    """One step of a convolutional LSTM.

    ``i, f, g, o = W_x * x + W_h * h + b`` in this order, ``*`` a convolution that keeps height and width, then

        i = sigmoid(i + w_ci c)    f = sigmoid(f + w_cf c)    c' = f c + i tanh(g)
        o = sigmoid(o + w_co c')   h' = o tanh(c')

    with the peephole weights w of a place each, which are left out unless ``peephole=True``, as in most
    implementations; with them the layer is bound to one height and width.

    Shapes: x (N, C, H, W), state (h, c) of (N, hidden_channels, H, W) each or ``None`` for zeros -> (h', c');
    ``weight_ih`` (4 hidden_channels, C, kernel height, kernel width), ``weight_hh`` (4 hidden_channels,
    hidden_channels, ...), ``bias`` (4 hidden_channels,), ``weight_c`` (3, hidden_channels, H, W) for i, f and o. The
    forget gate's bias starts at ``forget_bias``, weights Xavier uniform, peepholes at zero.

    Source: X. Shi et al., Convolutional LSTM Network, arXiv:1506.04214, equation 3.

    Raises:
        ShapeError: inputs or states of other shapes.
        DTypeError: integer inputs.
    """

    hidden_channels: int = field(validator=positive, doc="channels of the state")
    kernel_size: int | tuple[int, int] = field(default=3, validator=odd, doc="height and width of the window")
    peephole: bool = field(default=False, kw_only=True, doc="let gates see the cell state")
    in_channels: int | None = field(
        default=None, validator=positive, kw_only=True, doc="channels of the input; None learns them"
    )
    use_bias: bool = field(default=True, kw_only=True, doc="learned offsets of the gates")
    forget_bias: float = field(default=1.0, kw_only=True, doc="what the forget gate's bias starts with in addition")
    weight_init: Initializer = field(
        factory=XavierUniform, converter=as_initializer, kw_only=True, doc="initializer of the convolutions"
    )
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def input_spec(self) -> Spec | None:
        fixed = self.in_channels is not None and not self.peephole
        return Spec((1, self.in_channels, 1, 1), modes.dtype) if fixed else None  # type: ignore[arg-type]

    def build(self, x: Any, state: Any = None) -> None:
        require_floating("ConvLSTMCell", x)
        require_images("ConvLSTMCell", x, self.in_channels)
        self.in_channels, hidden = x.shape[1], self.hidden_channels
        kernel = self.kernel_size if isinstance(self.kernel_size, tuple) else (self.kernel_size,) * 2
        self.weight_ih = Parameter(self.weight_init((4 * hidden, self.in_channels, *kernel)))
        self.weight_hh = Parameter(self.weight_init((4 * hidden, hidden, *kernel)))
        self.bias = None
        if self.use_bias:
            bias = self.bias_init((4 * hidden,))
            bias[hidden : 2 * hidden] += self.forget_bias
            self.bias = Parameter(bias)
        self.weight_c = Parameter(Zeros()((3, hidden, *x.shape[2:]))) if self.peephole else None

    def forward(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        require_floating("ConvLSTMCell", x)
        require_images("ConvLSTMCell", x, self.in_channels, f" (weight_ih is {self.weight_ih.shape})")
        self.check_places(x)
        return self.step(self.of_input(x), *self.states(x, state))

    def check_places(self, x: Any) -> None:
        """Refuse images of another size than the peepholes have."""
        if self.weight_c is not None and tuple(self.weight_c.shape[2:]) != tuple(x.shape[-2:]):
            raise ShapeError(
                f"ConvLSTMCell has peepholes for images of {tuple(self.weight_c.shape[2:])}, got {tuple(x.shape)}",
                hint="peephole=False works for any size",
            )

    def of_input(self, x: Any) -> Any:
        """``W_x * x + b``, which does not depend on the state."""
        return ops.conv2d(x, self.weight_ih, self.bias, padding="same")

    def states(self, x: Any, state: Any) -> tuple[Any, Any]:
        """The given states, or zeros."""
        shape = (x.shape[0], self.hidden_channels, *x.shape[-2:])
        h, c = pair_of("ConvLSTMCell", state)
        for label, value in (("h", h), ("c", c)):
            if value is not None and tuple(value.shape) != shape:
                raise ShapeError(f"ConvLSTMCell: the state {label} must be {shape}, got {tuple(value.shape)}")
        return h, c

    def step(self, gates: Any, h: Any, c: Any) -> tuple[Any, Any]:
        """The next states, from what the input gives to the gates; states that are ``None`` are zeros."""
        if h is not None:
            gates = gates + ops.conv2d(h, self.weight_hh, None, padding="same")
        i, f, g, o = ops.split(gates, 4, axis=1)
        peep = self.weight_c
        if c is not None and peep is not None:
            i, f = i + peep[0] * c, f + peep[1] * c
        new = ops.sigmoid(i) * ops.tanh(g)
        if c is not None:
            new = ops.sigmoid(f) * c + new
        if peep is not None:
            o = o + peep[2] * new
        return ops.sigmoid(o) * ops.tanh(new), new


class ConvLSTM(Layer):
    """Convolutional LSTM over sequences of images.

    Shapes: x (batch, time, C, H, W) -> outputs (batch, time, hidden_channels, H, W), or the last one (batch,
    hidden_channels, H, W) with ``return_sequences=False``; with ``return_state`` a pair of these and the last states, a
    list of pairs (h, c), one for each layer, which is also what ``state`` takes. A step is that of
    :class:`ConvLSTMCell`; ``num_layers`` of them run over each other's outputs, ``cells.0``, ``cells.1`` and so on. The
    convolution of the inputs is done for all steps at once.

    Source: X. Shi et al., Convolutional LSTM Network, arXiv:1506.04214.

    Raises:
        ShapeError: inputs that are not (batch, time, channels, height, width); states of other shapes.
        DTypeError: integer inputs.
    """

    hidden_channels: int = field(validator=positive, doc="channels of the state")
    kernel_size: int | tuple[int, int] = field(default=3, validator=odd, doc="height and width of the window")
    num_layers: int = field(
        default=1, validator=positive, kw_only=True, doc="layers, each over the outputs of the last"
    )
    peephole: bool = field(default=False, kw_only=True, doc="let gates see the cell state")
    in_channels: int | None = field(
        default=None, validator=positive, kw_only=True, doc="channels of the input; None learns them"
    )
    use_bias: bool = field(default=True, kw_only=True, doc="learned offsets of the gates")
    forget_bias: float = field(default=1.0, kw_only=True, doc="what the forget gate's bias starts with in addition")
    return_sequences: bool = field(default=True, kw_only=True, doc="the outputs of all steps; else the last one only")
    return_state: bool = field(default=False, kw_only=True, doc="give back (outputs, states)")
    weight_init: Initializer = field(
        factory=XavierUniform, converter=as_initializer, kw_only=True, doc="initializer of the convolutions"
    )
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def __attrs_post_init__(self) -> None:
        names = ConvLSTMCell.config_names()
        shared = {name: getattr(self, name) for name in names if name != "in_channels"}
        self.cells = [
            ConvLSTMCell(in_channels=self.hidden_channels if i and self.in_channels else self.in_channels, **shared)
            for i in range(self.num_layers)
        ]
        super().__attrs_post_init__()

    def forward(self, x: Any, state: Any = None) -> Any:
        require_floating("ConvLSTM", x)
        shape = tuple(x.shape)
        if len(shape) != 5 or not shape[1] or self.cells[0].in_channels not in (None, shape[2]):
            channels = self.cells[0].in_channels or "channels"
            raise ShapeError(
                f"ConvLSTM expects sequences of images (batch, time, {channels}, height, width), got {shape}"
            )
        if state is not None and len(state) != self.num_layers:
            raise ShapeError(f"ConvLSTM expects a state (h, c) for each of {self.num_layers} layers, got {len(state)}")
        batch, time = shape[:2]
        ends = []
        for number, cell in enumerate(self.cells):
            flat = x.reshape((batch * time, *x.shape[2:]))
            cell.ensure_built(flat)
            cell.check_places(flat)
            gates = cell.of_input(flat)
            gates = gates.reshape((batch, time, *gates.shape[1:]))
            h, c = cell.states(x[:, 0], None if state is None else state[number])
            outputs = []
            for t in range(time):
                h, c = cell.step(gates[:, t], h, c)
                outputs.append(h)
            ends.append((h, c))
            x = ops.stack(outputs, axis=1)
        y = x if self.return_sequences else h
        return (y, ends) if self.return_state else y
