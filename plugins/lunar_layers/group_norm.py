"""Normalisation of each sample by groups of its channels, or by each of them."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from lunar_core import ops
from lunar_core.component import field, hyperparameter_error, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_core.tensor import Tensor
from lunar_layers.checks import require_floating
from lunar_layers.initializers import Ones, Zeros, as_initializer
from lunar_layers.normalization import ChannelNorm, track


class GroupNorm(Layer):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, by mean and biased variance of groups of each sample's channels.

    Shapes: x (N, C, ...) -> y of the same; ``weight`` and ``bias`` (C,). The C channels, learned from the first call
    unless ``num_channels`` says them, are cut into ``num_groups`` groups of neighbours; one group normalises a whole
    sample, C groups are :class:`InstanceNorm`. Training and evaluation do the same, and the size of the batch does not
    matter.

    Source: Y. Wu and K. He, Group Normalization, arXiv:1803.08494; ``torch.nn.GroupNorm``.

    Raises:
        ShapeError: inputs without a channel axis or with other channels.
        HyperparameterError: groups that do not divide the channels.
        DTypeError: integer inputs.
    """

    channel_axis: ClassVar[int] = 1  # a Transformer turns its tokens so that features stand there

    num_groups: int = field(default=32, validator=positive, doc="groups of channels; 32 is the paper's")
    num_channels: int | None = field(default=None, validator=positive, doc="channels of the input; None learns them")
    eps: float = field(default=1e-5, validator=positive, doc="added to the variance")
    affine: bool = field(default=True, kw_only=True, doc="learn weight and bias")
    weight_init: Initializer = field(factory=Ones, converter=as_initializer, kw_only=True, doc="initializer of weight")
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def input_spec(self) -> Spec | None:
        return None if self.num_channels is None else Spec((1, self.num_channels), modes.dtype)

    def build(self, x: Any) -> None:
        _check(self, x, self.num_channels, 2)
        channels = x.shape[1]
        if channels % self.num_groups or not channels:
            raise hyperparameter_error(self, "num_groups", self.num_groups, f"a divisor of the {channels} channels")
        self.num_channels = channels
        self.weight = Parameter(self.weight_init((channels,))) if self.affine else None  # (C,)
        self.bias = Parameter(self.bias_init((channels,))) if self.affine else None  # (C,)

    def forward(self, x: Any) -> Any:
        _check(self, x, self.num_channels, 2)
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class InstanceNorm(ChannelNorm):
    """``(x - mean) / sqrt(var + eps)``, by mean and biased variance of each channel of each sample.

    Shapes: x (N, C, ...) with a sequence, an image or a volume -> y of the same. With ``affine`` the result is
    multiplied by ``weight`` and moved by ``bias`` (C,); by default it is not, as in PyTorch. Training and evaluation do
    the same, unless ``track_running_stats`` is set: then evaluation uses running statistics, which training moves
    towards the samples' mean ones by ``momentum``, as in :class:`~lunar_layers.normalization.BatchNorm2D`.

    Source: D. Ulyanov, A. Vedaldi and V. Lempitsky, Instance Normalization, arXiv:1607.08022;
    ``torch.nn.InstanceNorm1d``, ``2d`` and ``3d``.

    Raises:
        ShapeError: inputs without axes after the channels or with other channels; a single value per channel, which
            has no variance.
        DTypeError: integer inputs.
    """

    affine: bool = field(default=False, kw_only=True, doc="learn weight and bias")
    track_running_stats: bool = field(default=False, kw_only=True, doc="keep running statistics for evaluation")

    def input_spec(self) -> Spec | None:
        return None if self.num_features is None else Spec((1, self.num_features, 1), modes.dtype)

    def _check(self, x: Any) -> None:
        _check(self, x, self.num_features, 3)

    def forward(self, x: Any) -> Any:
        self._check(x)
        if self.track_running_stats and not self.training:
            return ops.batch_norm_inference(x, self.running_mean, self.running_var, self.weight, self.bias, self.eps)
        count = math.prod(x.shape[2:])
        if count < 2:
            raise ShapeError(
                f"InstanceNorm needs more than one value per channel of a sample, got {tuple(x.shape)}",
                hint="GroupNorm(1) takes the statistics over all channels of a sample",
            )
        if self.track_running_stats:
            raw = x.data if isinstance(x, Tensor) else x
            axes = tuple(range(2, raw.ndim))
            wide = raw.astype(self.running_mean.dtype, copy=False)
            track(self, wide.mean(axes).mean(0), wide.var(axes).mean(0), count / (count - 1))
        return ops.instance_norm(x, self.weight, self.bias, self.eps)


def _check(layer: Any, x: Any, channels: int | None, least: int) -> None:
    name, shape = type(layer).__name__, tuple(getattr(x, "shape", ()))
    require_floating(name, x)
    if len(shape) < least:
        raise ShapeError(f"{name} expects inputs (batch, channels, {'sizes...' if least > 2 else '...'}), got {shape}")
    if channels is not None and shape[1] != channels:
        raise ShapeError(f"{name} expects {channels} channels on axis 1, got {shape}")
