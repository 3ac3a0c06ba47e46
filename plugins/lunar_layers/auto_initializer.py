"""The initializer that picks by the activation that follows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from lunar_core.component import field, one_of
from lunar_core.contracts.activation import Activation
from lunar_core.contracts.initializer import Initializer
from lunar_core.errors import LunarError
from lunar_layers.initializers import VarianceScaling, XavierNormal, XavierUniform

# By class name, so that nothing of theirs is imported: the ones that saturate on both sides, for which Xavier was
# derived, and the linear one.
_XAVIER = frozenset({"Tanh", "Sigmoid", "Softsign", "Hardtanh", "Hardsigmoid", "Linear"})
_NODES = np.linspace(-10.0, 10.0, 4001)
_DENSITY = np.exp(-(_NODES**2) / 2) * (_NODES[1] - _NODES[0]) / math.sqrt(2 * math.pi)


def as_activation(value: Any) -> Any:
    """The converter of fields that hold an activation: a registry name becomes that component, the rest stays."""
    if isinstance(value, str):
        from lunar_core.plugins import registry

        return registry.create("activation", value)
    return value


def second_moment(activation: Any) -> float | None:
    """``E[f(z)^2]`` for a standard normal ``z``; ``None`` for an activation that does not map each element by itself."""
    fields = activation.config()
    if "num_parameters" in fields:  # PReLU, which may be sized for its layer already
        fields["num_parameters"] = None
    f = type(activation).from_config_fields(**fields).eval()
    # Beside the nodes stands a column that a softmax or a gate along any axis would mix in.
    alike, other = np.stack([_NODES, _NODES], axis=1), np.stack([_NODES, 0 * _NODES], axis=1)
    try:
        values, beside, part = f(alike), f(other), f(alike[:7])
    except LunarError:
        return None
    values, beside, part = (getattr(v, "data", v) if hasattr(v, "node") else v for v in (values, beside, part))
    if values.shape != alike.shape or not np.array_equal(values[:, 0], beside[:, 0]):
        return None
    if not np.allclose(values[:7], part):
        return None
    return float((values[:, 0] ** 2 * _DENSITY).sum())


class Auto(Initializer):
    """The initializer that suits the activation after the layer.

    - Tanh, Sigmoid, Softsign, Hardtanh, Hardsigmoid, Linear, and everything that maps a whole vector (softmax, gates):
      Xavier, ``variance = 2 / (fan_in + fan_out)``.
    - Any other elementwise activation ``f``: ``variance = 1 / (E[f(z)^2] fan_in)`` for standard normal ``z``, which
      keeps a mean square of 1 from layer to layer. That is He's rule exactly for ReLU, LeakyReLU and PReLU, LeCun's
      for SELU, and fits GELU, SiLU, Mish and a stranger's activation as well; where ``f`` is not homogeneous, deep
      stacks without normalisation drift from 1 slowly, as they do under He's rule.

    ``activation`` is an activation or the registry name of one; ``None`` counts as linear until
    :func:`follow_activations` finds out. ``distribution`` is ``"normal"`` or ``"uniform"``.

    Source: X. Glorot and Y. Bengio, AISTATS 2010; K. He et al., arXiv:1502.01852, section 2.2, whose equation 7 is
    solved here for any ``f``.
    """

    activation: Activation | None = field(
        default=None, converter=as_activation, doc="the activation that follows, or its name"
    )
    distribution: str = field(default="normal", validator=one_of("normal", "uniform"), doc="shape of the density")

    @property
    def choice(self) -> Initializer:
        """The initializer that is used."""
        if self.activation is not None and type(self.activation).__name__ not in _XAVIER:
            moment = second_moment(self.activation)
            if moment is not None and moment > 1e-6:
                # past ten digits there is only the quadrature's rounding, which would hide that this is He's rule
                return VarianceScaling(round(1 / moment, 10), "fan_in", self.distribution)
        return XavierNormal() if self.distribution == "normal" else XavierUniform()

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return self.choice.sample(shape, rng)


def follow_activations(layers: Iterable[Any]) -> int:
    """Tell each :class:`Auto` among the ``weight_init`` of ``layers``, which run in order, what activation follows it.

    Layers without weights of their own to draw (dropout, pooling, normalisation) are passed over. An ``Auto`` that
    knows its activation keeps it; only layers that are not built yet are affected. Returns how many were told.
    """
    waiting, told = None, 0
    for layer in layers:
        if isinstance(layer, Activation):
            if waiting is not None:
                told += 1
                waiting.weight_init = Auto(layer, waiting.weight_init.distribution)
            waiting = None
        elif hasattr(layer, "weight_init"):
            start = layer.weight_init
            waiting = layer if isinstance(start, Auto) and start.activation is None and not layer.built else None
    return told
