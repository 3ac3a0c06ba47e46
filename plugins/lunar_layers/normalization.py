"""Normalisation layers: by the statistics of the batch, or of each sample."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from lunar_core import ops
from lunar_core.autograd import note_write
from lunar_core.component import field, in_range, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_core.modes import modes
from lunar_core.module import Buffer, Parameter
from lunar_core.op import Spec
from lunar_core.ops.creation import ones, zeros
from lunar_layers.checks import require_floating, require_grid
from lunar_layers.initializers import Ones, Zeros, as_initializer


def make_statistics(layer: Any, size: tuple[int, ...]) -> None:
    """Give ``layer`` its buffers of running statistics."""
    dtype = np.float32 if modes.dtype.itemsize < 4 else None  # half precision would not resolve the updates
    layer.running_mean = Buffer(zeros(size, dtype=dtype))
    layer.running_var = Buffer(ones(size, dtype=dtype))
    layer.num_batches_tracked = Buffer(zeros((), dtype="int64"))


def track(layer: Any, mean: Any, var: Any, correction: float) -> None:
    """Move the running statistics of ``layer`` towards raw ``mean`` and ``var``, which is multiplied by ``correction``.

    The correction makes the biased variance that normalises an unbiased one.
    """
    seen = layer.num_batches_tracked.data
    seen += 1
    note_write(seen)
    momentum = 1 / int(seen) if layer.momentum is None else layer.momentum
    for running, batch, share in (
        (layer.running_mean.data, mean, momentum),
        (layer.running_var.data, var, momentum * correction),
    ):
        running *= 1 - momentum
        running += batch * share
        note_write(running)


class ChannelNorm(Layer):
    """Base of norms of inputs (N, C, ...) that scale and shift each channel and may keep running statistics of it."""

    channel_axis: ClassVar[int] = 1  # a Transformer turns its tokens so that features stand there

    num_features: int | None = field(default=None, validator=positive, doc="channels of the input; None learns them")
    eps: float = field(default=1e-5, validator=positive, doc="added to the variance")
    momentum: float | None = field(
        default=0.1, validator=in_range(0, 1), doc="share of the new value in the running statistics; None averages"
    )
    affine: bool = field(default=True, kw_only=True, doc="learn weight and bias")
    track_running_stats: bool = field(default=True, kw_only=True, doc="keep running statistics for evaluation")
    weight_init: Initializer = field(factory=Ones, converter=as_initializer, kw_only=True, doc="initializer of weight")
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def build(self, x: Any) -> None:
        self._check(x)
        size = (x.shape[1],)
        self.num_features = x.shape[1]
        self.weight = Parameter(self.weight_init(size)) if self.affine else None  # (C,)
        self.bias = Parameter(self.bias_init(size)) if self.affine else None  # (C,)
        if self.track_running_stats:
            make_statistics(self, size)

    def _check(self, x: Any) -> None:
        """Refuse inputs of another dtype, rank or number of channels."""
        raise NotImplementedError


class BatchNorm(ChannelNorm):
    """Base of batch normalisation of inputs (N, C, ...) with as many axes after the channels as ``ranks`` says."""

    ranks: ClassVar[tuple[int, ...]]

    def input_spec(self) -> Spec | None:
        return None if self.num_features is None else Spec((1, self.num_features, *(1,) * min(self.ranks)), modes.dtype)

    def forward(self, x: Any) -> Any:
        self._check(x)
        if not self.training and self.track_running_stats:
            return ops.batch_norm_inference(x, self.running_mean, self.running_var, self.weight, self.bias, self.eps)
        count = x.shape[0] * math.prod(x.shape[2:])
        if count < 2:
            raise ShapeError(
                f"{type(self).__name__} needs more than one value per channel in training, got {tuple(x.shape)}",
                hint="use a larger batch, or model.eval() for prediction",
            )
        y, mean, var = ops.batch_norm(x, self.weight, self.bias, self.eps)
        if self.training and self.track_running_stats:
            track(self, getattr(mean, "data", mean), getattr(var, "data", var), count / (count - 1))
        return y

    def _check(self, x: Any) -> None:
        name = type(self).__name__
        require_floating(name, x)
        if len(x.shape) - 2 not in self.ranks or (self.num_features is not None and x.shape[1] != self.num_features):
            if len(x.shape) == 2 and 0 in self.ranks:
                raise ShapeError(f"{name} expects {self.num_features} features on axis 1, got {tuple(x.shape)}")
            require_grid(name, x, max(self.ranks), self.num_features)


class BatchNorm1D(BatchNorm):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` for each feature, or each channel of sequences.

    Shapes: x (N, C) or (N, C, L) -> y of the same; ``weight``, ``bias``, ``running_mean``, ``running_var`` (C,). The
    statistics run over N and L. Everything else is as in :class:`BatchNorm2D`; parameters, buffers and their updates
    are those of ``torch.nn.BatchNorm1d``.

    Raises:
        ShapeError: inputs of another rank or with other channels; in training, a single value per channel, which has
            no variance.
        DTypeError: integer inputs.
    """

    ranks: ClassVar[tuple[int, ...]] = (0, 1)


class BatchNorm2D(BatchNorm):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel.

    Shapes: x (N, C, H, W) -> y of the same; ``weight``, ``bias``, ``running_mean``, ``running_var`` (C,). The channels
    are learned from the first call, whose dtype and device the parameters take, unless ``num_features`` says them.

    In training, mean and variance are those of the batch over N, H and W, and the running ones move towards them:
    ``running = (1 - momentum) * running + momentum * batch``, with the unbiased variance of the batch. In evaluation
    the running ones are used, so a result depends on its own image alone. ``momentum`` is PyTorch's, the share of the
    new value (Keras' ``momentum=0.99`` is 0.01 here); ``None`` averages over all batches seen. Without
    ``track_running_stats`` the batch's statistics are used always.

    Source: S. Ioffe and C. Szegedy, Batch Normalization, ICML 2015; parameters, buffers and their updates are those of
    ``torch.nn.BatchNorm2d``.

    Raises:
        ShapeError: inputs that are not NCHW or have other channels; in training, a single value per channel, which
            has no variance.
        DTypeError: integer inputs.
    """

    ranks: ClassVar[tuple[int, ...]] = (2,)


class BatchNorm3D(BatchNorm):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel of volumes.

    Shapes: x (N, C, D, H, W) -> y of the same; ``weight``, ``bias``, ``running_mean``, ``running_var`` (C,). The
    statistics run over N and the volume. Everything else is as in :class:`BatchNorm2D`; parameters, buffers and their
    updates are those of ``torch.nn.BatchNorm3d``.

    Raises:
        ShapeError: inputs that are not NCDHW or have other channels; in training, a single value per channel, which
            has no variance.
        DTypeError: integer inputs.
    """

    ranks: ClassVar[tuple[int, ...]] = (3,)


class TrailingNorm(Layer):
    """Base of normalisation of each sample over its last axes, whose sizes the first call may say."""

    normalized_shape: int | tuple[int, ...] | None = field(
        default=None, validator=positive, doc="sizes of the last axes; None is the last one, whatever its size"
    )

    def input_spec(self) -> Spec | None:
        return None if self.normalized_shape is None else Spec(self.tail(), modes.dtype)

    def learn(self, x: Any) -> None:
        """Note the size of the last axis, if none was given, and refuse inputs that do not fit."""
        require_floating(type(self).__name__, x)
        if self.normalized_shape is None and x.shape and x.shape[-1]:
            self.normalized_shape = x.shape[-1]
        self.check(x)

    def tail(self) -> tuple[int, ...]:
        """The sizes of the axes that are normalised."""
        shape = self.normalized_shape
        return shape if isinstance(shape, tuple) else () if shape is None else (shape,)

    def check(self, x: Any) -> None:
        """Refuse inputs that do not fit."""
        name, tail = type(self).__name__, self.tail()
        require_floating(name, x)
        if not tail or tuple(x.shape[-len(tail) :]) != tail:
            expected = f"end with {tail}" if tail else "have a last axis that is not empty"
            raise ShapeError(f"{name} expects inputs whose shapes {expected}, got {tuple(x.shape)}")


class LayerNorm(TrailingNorm):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, by mean and biased variance of each sample over its last axes.

    Shapes: x (..., *normalized_shape) -> y of the same; ``weight`` and ``bias`` normalized_shape. By default the last
    axis is normalised, whose size is learned from the first call. Training and evaluation do the same.

    Source: J. L. Ba, J. R. Kiros and G. E. Hinton, Layer Normalization, arXiv:1607.06450; ``torch.nn.LayerNorm``.

    Raises:
        ShapeError: inputs whose last axes have other sizes.
        DTypeError: integer inputs.
    """

    eps: float = field(default=1e-5, validator=positive, doc="added to the variance")
    affine: bool = field(default=True, kw_only=True, doc="learn a weight")
    use_bias: bool = field(default=True, kw_only=True, doc="learn a bias too")
    weight_init: Initializer = field(factory=Ones, converter=as_initializer, kw_only=True, doc="initializer of weight")
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def build(self, x: Any) -> None:
        self.learn(x)
        tail = self.tail()
        self.weight = Parameter(self.weight_init(tail)) if self.affine else None  # normalized_shape
        self.bias = Parameter(self.bias_init(tail)) if self.affine and self.use_bias else None  # normalized_shape

    def forward(self, x: Any) -> Any:
        self.check(x)
        return ops.layer_norm(x, self.weight, self.bias, self.eps, axes=len(self.tail()))
