"""What the building blocks of convolutional networks share."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.contracts.model import Template
from lunar_core.modes import modes
from lunar_core.op import Spec
from lunar_layers.building import run_once
from lunar_layers.checks import require_floating, require_images
from lunar_layers.conv import Conv2D
from lunar_layers.initializers import HeNormal, as_initializer
from lunar_layers.parts import make_part, part
from lunar_layers.sequential import Sequential
from lunar_layers.shape import Identity
from lunar_layers.stochastic_depth import DropPath


class Block(Layer):
    """Base of blocks of images: write ``setup``, which makes the parts for ``self.in_channels``, and ``forward``.

    ``norm`` and ``activation`` are the layers used throughout the block: a registry name, or an instance of which
    copies are made; ``norm=None`` uses none and gives the convolutions a bias instead. The channels of the input are
    learned from the first call unless ``in_channels`` says them; then the block is built at once.
    """

    norm: Any = field(
        default="batch_norm2d", converter=part("layer"), kw_only=True, doc="normalisation, or its name; None for none"
    )
    activation: Any = field(default="relu", converter=part("activation"), kw_only=True, doc="activation, or its name")
    weight_init: Initializer = field(
        factory=lambda: HeNormal("fan_out"),
        converter=as_initializer,
        kw_only=True,
        doc="initializer of the convolutions' weights",
    )
    in_channels: int | None = field(
        default=None, validator=positive, kw_only=True, doc="channels of the input; None learns them"
    )

    def input_spec(self) -> Spec | None:
        return None if self.in_channels is None else Spec((1, self.in_channels, 4, 4), modes.dtype)

    def build(self, x: Any) -> None:
        self.check(x)
        self.in_channels = x.shape[1]
        self.setup()
        if isinstance(x, Spec):
            run_once([self], self.forward, x)

    def setup(self) -> None:
        """Make the parts as attributes; ``self.in_channels`` is known."""
        raise NotImplementedError(f"{type(self).__name__} defines no setup()")

    def check(self, x: Any) -> None:
        """Refuse inputs that are no images of these channels."""
        name = type(self).__name__
        require_floating(name, x)
        require_images(name, x, self.in_channels)

    def config(self) -> dict[str, Any]:
        values = super().config().items()
        return {name: value.part if isinstance(value, Template) else value for name, value in values}

    # -- parts -------------------------------------------------------------------------------------------------------

    def conv(self, out: int, kernel: int | tuple[int, int] = 1, stride: int = 1, **options: Any) -> Conv2D:
        """A convolution that keeps height and width at stride 1; without a bias where a normalisation follows."""
        k, dilation = kernel if isinstance(kernel, tuple) else (kernel, kernel), options.get("dilation", 1)
        options = {"use_bias": self.norm is None, "weight_init": self.weight_init, **options}
        return Conv2D(out, kernel, stride=stride, padding=tuple(dilation * (size - 1) // 2 for size in k), **options)

    def make_norm(self, channels: int, **options: Any) -> Any:
        """A normalisation of ``channels``."""
        if self.norm is None:
            return Identity()
        return make_part("layer", self.norm, **{"num_features": channels, "num_channels": channels, **options})

    def make_activation(self) -> Any:
        """An activation."""
        return Identity() if self.activation is None else make_part("activation", self.activation)

    def conv_norm(self, out: int, kernel: Any = 1, stride: int = 1, active: bool = True, **options: Any) -> Sequential:
        """Convolution, normalisation and, if ``active``, activation."""
        parts = [self.conv(out, kernel, stride, **options), self.make_norm(out)]
        return Sequential(*parts, self.make_activation()) if active else Sequential(*parts)


def make_drop_path(rate: float) -> Any:
    """Stochastic depth at ``rate``; nothing at 0."""
    return DropPath(rate) if rate else Identity()
