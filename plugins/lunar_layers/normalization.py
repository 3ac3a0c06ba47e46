"""Normalisation layers: by the statistics of the batch, or of each sample."""

from __future__ import annotations

from typing import Any

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
from lunar_layers.checks import require_floating, require_images
from lunar_layers.initializers import Ones, Zeros, as_initializer


class BatchNorm2D(Layer):
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

    num_features: int | None = field(default=None, validator=positive, doc="channels of the input; None learns them")
    eps: float = field(default=1e-5, validator=positive, doc="added to the variance")
    momentum: float | None = field(
        default=0.1, validator=in_range(0, 1), doc="share of the new value in the running statistics; None averages"
    )
    affine: bool = field(default=True, kw_only=True, doc="learn weight and bias")
    track_running_stats: bool = field(default=True, kw_only=True, doc="keep running statistics for evaluation")
    weight_init: Initializer = field(factory=Ones, converter=as_initializer, kw_only=True, doc="initializer of weight")
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def input_spec(self) -> Spec | None:
        return None if self.num_features is None else Spec((1, self.num_features, 1, 1), modes.dtype)

    def build(self, x: Any) -> None:
        self._check(x)
        size = (x.shape[1],)
        self.num_features = x.shape[1]
        self.weight = Parameter(self.weight_init(size)) if self.affine else None  # (C,)
        self.bias = Parameter(self.bias_init(size)) if self.affine else None  # (C,)
        if self.track_running_stats:
            dtype = np.float32 if modes.dtype.itemsize < 4 else None  # half precision would not resolve the updates
            self.running_mean = Buffer(zeros(size, dtype=dtype))
            self.running_var = Buffer(ones(size, dtype=dtype))
            self.num_batches_tracked = Buffer(zeros((), dtype="int64"))

    def forward(self, x: Any) -> Any:
        self._check(x)
        if not self.training and self.track_running_stats:
            return ops.batch_norm_inference(x, self.running_mean, self.running_var, self.weight, self.bias, self.eps)
        n, _, h, w = x.shape
        if n * h * w < 2:
            raise ShapeError(
                f"BatchNorm2D needs more than one value per channel in training, got {tuple(x.shape)}",
                hint="use a larger batch, or model.eval() for prediction",
            )
        y, mean, var = ops.batch_norm(x, self.weight, self.bias, self.eps)
        if self.training and self.track_running_stats:
            self._track(mean.data, var.data, n * h * w)
        return y

    def _track(self, mean: Any, var: Any, count: int) -> None:
        seen = self.num_batches_tracked.data
        seen += 1
        note_write(seen)
        momentum = 1 / int(seen) if self.momentum is None else self.momentum
        unbiased = count / (count - 1)
        for running, batch, share in (
            (self.running_mean.data, mean, momentum),
            (self.running_var.data, var, momentum * unbiased),
        ):
            running *= 1 - momentum
            running += batch * share
            note_write(running)

    def _check(self, x: Any) -> None:
        require_floating("BatchNorm2D", x)
        if len(x.shape) != 4 or (self.num_features is not None and x.shape[1] != self.num_features):
            require_images("BatchNorm2D", x, self.num_features)


class LayerNorm(Layer):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, by mean and biased variance of each sample over its last axes.

    Shapes: x (..., *normalized_shape) -> y of the same; ``weight`` and ``bias`` normalized_shape. By default the last
    axis is normalised, whose size is learned from the first call. Training and evaluation do the same.

    Source: J. L. Ba, J. R. Kiros and G. E. Hinton, Layer Normalization, arXiv:1607.06450; ``torch.nn.LayerNorm``.

    Raises:
        ShapeError: inputs whose last axes have other sizes.
        DTypeError: integer inputs.
    """

    normalized_shape: int | tuple[int, ...] | None = field(
        default=None, validator=positive, doc="sizes of the last axes; None is the last one, whatever its size"
    )
    eps: float = field(default=1e-5, validator=positive, doc="added to the variance")
    affine: bool = field(default=True, kw_only=True, doc="learn a weight")
    use_bias: bool = field(default=True, kw_only=True, doc="learn a bias too")
    weight_init: Initializer = field(factory=Ones, converter=as_initializer, kw_only=True, doc="initializer of weight")
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def input_spec(self) -> Spec | None:
        return None if self.normalized_shape is None else Spec(self._tail(), modes.dtype)

    def build(self, x: Any) -> None:
        require_floating("LayerNorm", x)
        if self.normalized_shape is None and x.shape and x.shape[-1]:
            self.normalized_shape = x.shape[-1]
        self._check(x)
        tail = self._tail()
        self.weight = Parameter(self.weight_init(tail)) if self.affine else None  # normalized_shape
        self.bias = Parameter(self.bias_init(tail)) if self.affine and self.use_bias else None  # normalized_shape

    def forward(self, x: Any) -> Any:
        require_floating("LayerNorm", x)
        self._check(x)
        return ops.layer_norm(x, self.weight, self.bias, self.eps, axes=len(self._tail()))

    def _tail(self) -> tuple[int, ...]:
        shape = self.normalized_shape
        return shape if isinstance(shape, tuple) else () if shape is None else (shape,)

    def _check(self, x: Any) -> None:
        tail = self._tail()
        if not tail or tuple(x.shape[-len(tail) :]) != tail:
            expected = f"end with {tail}" if tail else "have a last axis that is not empty"
            raise ShapeError(f"LayerNorm expects inputs whose shapes {expected}, got {tuple(x.shape)}")
