"""Branches of residual networks that are dropped or mixed at random."""

from __future__ import annotations

from typing import Any

from lunar_core import backend, ops, random
from lunar_core.component import field, hyperparameter_error, in_range, one_of
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor
from lunar_layers.building import run_once
from lunar_layers.checks import require_floating
from lunar_layers.module_list import Listing
from lunar_layers.noise import uniform_beside

_LEVELS = {"batch": 0, "image": 1, "channel": 2}


class DropPath(Layer):
    """Stochastic depth: in training, a residual branch is 0 with probability ``p``, else divided by ``1 - p``.

    It goes at the end of the branch: ``x + DropPath(0.1)(branch(x))``. Each example is drawn by itself;
    ``mode="batch"`` draws once for the whole batch, as in the paper, where the branch need not be computed. In
    evaluation the input is returned as it is; the paper multiplies by ``1 - p`` there instead, which is the same network.

    Shapes: x (N, ...) -> y of the same. The masks come from the stream "drop_path". ``p`` usually grows linearly from
    0 at the first block to its value at the last one (the paper's linear decay rule).

    Source: G. Huang et al., Deep Networks with Stochastic Depth, arXiv:1603.09382; with a mask for each example it is
    torchvision's ``StochasticDepth(p, "row")`` and timm's ``DropPath``.
    """

    p: float = field(default=0.1, validator=in_range(0, 1), doc="probability that the branch is dropped")
    mode: str = field(default="row", validator=one_of("row", "batch"), doc="drawn for each example, or for the batch")

    def forward(self, x: Any) -> Any:
        require_floating("DropPath", x)
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0
        shape = ((x.shape[0] if self.mode == "row" else 1),) + (1,) * (len(x.shape) - 1)
        mask, scale = ops.draw_mask(x, self.p, random.stream("drop_path").next(), shape)
        return ops.masked(x, mask, scale=scale)


class LayerDrop(Listing):
    """Layers one after the other, of which each is left out with probability ``p`` in training.

    Takes modules as arguments, or one list of them; each keeps the shape of its input. In evaluation all of them run.
    A slice is a shallower network that needs no further training, ``layers[::2]`` for every other layer, as the paper
    prunes. Parameters are named ``0.weight``, ..., as in a Sequential. What is left out gets no gradient. Drawn from
    the stream "layer_drop".

    Source: A. Fan, E. Grave and A. Joulin, Reducing Transformer Depth on Demand with Structured Dropout,
    arXiv:1909.11556; as in fairseq, the others are not scaled.
    """

    def __init__(self, *layers: Any, p: float = 0.2) -> None:
        super().__init__(*layers)
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise hyperparameter_error(self, "p", p, "in [0, 1]")
        self.p = float(p)
        Layer.__attrs_post_init__(self)

    def build(self, x: Any) -> None:
        run_once(self.layers, self._all, x)  # what is left out at the first call needs its parameters as well

    def forward(self, x: Any) -> Any:
        if not self.training or self.p == 0:
            return self._all(x)
        layers = self.layers
        kept = random.stream("layer_drop").next().random(len(layers)) >= self.p
        for layer, keep in zip(layers, kept):
            if keep:
                x = layer(x)
        return x

    def _all(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def fields_repr(self) -> str:
        return f"p={self.p}"

    def config(self) -> dict[str, Any]:
        return {"layers": self.layers, "p": self.p}

    @classmethod
    def from_config_fields(cls, layers: list[Any], p: float = 0.2) -> LayerDrop:
        return cls(*layers, p=p)


class ShakeDrop(Layer):
    """A residual branch with a random factor that is another one in the backward pass.

    ``y = (b + alpha - b * alpha) * x`` in the forward pass, ``(b + beta - b * beta)`` times the gradient in the backward
    pass, and ``y = (1 - p) * x`` in evaluation. ``b`` is 1 with probability ``1 - p``, once for the batch; ``alpha`` is
    uniform on ``alpha_range``, ``beta`` on ``beta_range``, drawn for the whole ``"batch"``, for each ``"image"``, each
    ``"channel"`` of each image, or each ``"pixel"`` of it (``level``). It goes at the end of the branch:
    ``x + ShakeDrop(0.5)(branch(x))``. Drawn from the stream "shake_drop".

    Shapes: x (N, ...) -> y of the same. ``p`` usually grows linearly with depth to 0.5.

    Source: Y. Yamada et al., ShakeDrop Regularization for Deep Residual Learning, arXiv:1802.02375, whose p_l is
    ``1 - p`` here; the ranges are those that it settles on. The evaluation is the expectation.
    """

    p: float = field(default=0.5, validator=in_range(0, 1), doc="probability that the branch is shaken")
    alpha_range: tuple[float, float] = field(default=(-1.0, 1.0), doc="bounds of the forward factor")
    beta_range: tuple[float, float] = field(default=(0.0, 1.0), doc="bounds of the backward factor")
    level: str = field(
        default="image", validator=one_of("batch", "image", "channel", "pixel"), doc="what has factors of its own"
    )

    def forward(self, x: Any) -> Any:
        require_floating("ShakeDrop", x)
        if self.p == 0:
            return x
        mean_alpha = sum(self.alpha_range) / 2
        if not self.training:
            return x * (1 - self.p + self.p * mean_alpha)
        if random.stream("shake_drop").next().random() >= self.p:
            return x
        shape = _level_shape(x, self.level)
        alpha, beta = (
            _between(uniform_beside(x, "shake_drop", shape), bounds, x.dtype)
            for bounds in (self.alpha_range, self.beta_range)
        )
        return _two_faced(x, alpha, beta)


class ShakeShake(Layer):
    """Two residual branches mixed at random: ``y = alpha * a + (1 - alpha) * b``, with another mixture backward.

    In the forward pass of training, ``alpha`` is uniform on [0, 1) (``forward_mode="shake"``) or 1/2 (``"even"``). The
    gradient flows as if it had been ``beta``: drawn anew (``backward_mode="shake"``), 1/2 (``"even"``) or alpha itself
    (``"keep"``). The numbers belong to each ``"image"`` or to the ``"batch"`` (``level``). In evaluation
    ``y = (a + b) / 2``. Drawn from the stream "shake_shake".

    Shapes: a and b (N, ...) -> y of the same: ``x + ShakeShake()(branch1(x), branch2(x))``. The defaults are
    "Shake-Shake-Image", the paper's best for CIFAR-10.

    Source: X. Gastaldi, Shake-Shake regularization, arXiv:1705.07485.

    Raises:
        ShapeError: branches of different shapes.
    """

    forward_mode: str = field(default="shake", validator=one_of("shake", "even"), doc="the mixture forward")
    backward_mode: str = field(
        default="shake", validator=one_of("shake", "even", "keep"), doc="the mixture that the gradient sees"
    )
    level: str = field(default="image", validator=one_of("batch", "image"), doc="what has numbers of its own")

    def forward(self, a: Any, b: Any) -> Any:
        require_floating("ShakeShake", a)
        if tuple(a.shape) != tuple(b.shape):
            raise ShapeError(f"ShakeShake mixes branches of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
        if not self.training:
            return (a + b) * 0.5
        shape = _level_shape(a, self.level)
        alpha = self._drawn(a, self.forward_mode, shape)
        if self.backward_mode == "keep":
            return a * alpha + b * (1 - alpha)
        beta = self._drawn(a, self.backward_mode, shape)
        return _two_faced(a, alpha, beta) + _two_faced(b, 1 - alpha, 1 - beta)

    @staticmethod
    def _drawn(x: Any, mode: str, shape: tuple[int, ...]) -> Any:
        if mode == "shake":
            return uniform_beside(x, "shake_shake", shape).astype(x.dtype, copy=False)
        raw = x.data if isinstance(x, Tensor) else x
        return backend.of(raw).xp.full(shape, 0.5, dtype=x.dtype)


def _level_shape(x: Any, level: str) -> tuple[int, ...]:
    """The shape of numbers that broadcast to ``x``, one for each of what ``level`` says."""
    ndim = len(x.shape)
    own = _LEVELS.get(level, ndim)
    return tuple(x.shape[:own]) + (1,) * (ndim - own)


def _between(uniform: Any, bounds: tuple[float, float], dtype: Any) -> Any:
    low, high = bounds
    return (uniform * (high - low) + low).astype(dtype, copy=False)


def _two_faced(x: Any, forward: Any, backward: Any) -> Any:
    """``forward * x``, whose gradient is ``backward`` times that of the result."""
    if not isinstance(x, Tensor):
        return x * forward
    return x * backward + x.detach() * (forward - backward)
