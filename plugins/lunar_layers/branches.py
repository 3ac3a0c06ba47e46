"""Layers around other layers: side by side, with a shortcut, the same one again and again."""

from __future__ import annotations

from typing import Any

from lunar_core.component import Check, field, hyperparameter_error, positive
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_core.module import Module
from lunar_layers.module_list import Listing
from lunar_layers.shape import joined, summed

is_module = Check(lambda v: isinstance(v, Module), "a module", each=False)
_MERGES = ("concat", "add", "mean", "none")


class Parallel(Listing):
    """The same input through several layers, and their results merged: ``merge(layers[0](x), layers[1](x), ...)``.

    ``merge`` is ``"concat"`` (default, along ``axis``, 1), ``"add"``, ``"mean"`` or ``"none"``, which gives a tuple.
    Takes modules as arguments, or one list of them, and is indexed like a Sequential; parameters are named
    ``0.weight``, ``1.weight``, ...

    Raises:
        ShapeError: results whose shapes cannot be merged.
    """

    def __init__(self, *layers: Any, merge: str = "concat", axis: int = 1) -> None:
        super().__init__(*layers)
        if merge not in _MERGES:
            raise hyperparameter_error(self, "merge", merge, f"one of {', '.join(map(repr, _MERGES))}")
        self.merge, self.axis = merge, axis

    def forward(self, x: Any) -> Any:
        results = [layer(x) for layer in self.layers]
        if self.merge == "none":
            return tuple(results)
        if not results:
            raise ShapeError("Parallel has no layers, so there is nothing to merge")
        if self.merge == "concat":
            return joined("Parallel", results, self.axis)
        total = summed("Parallel", results)
        return total / len(results) if self.merge == "mean" else total

    def fields_repr(self) -> str:
        return f"merge={self.merge!r}, axis={self.axis}"

    def config(self) -> dict[str, Any]:
        return {"layers": self.layers, "merge": self.merge, "axis": self.axis}

    @classmethod
    def from_config_fields(cls, layers: list[Any], merge: str = "concat", axis: int = 1) -> Parallel:
        return cls(*layers, merge=merge, axis=axis)


class Residual(Layer):
    """A layer and a way around it: ``y = shortcut(x) + scale * body(x)``.

    Shapes: the results of ``body`` and ``shortcut`` are of one shape; ``shortcut=None``, the default, is the input
    itself. ``scale`` 0.1 to 0.3 steadies very deep or wide ones (Inception-ResNet, section 3.3).

    Source: K. He et al., Deep Residual Learning for Image Recognition, arXiv:1512.03385, equations 1 and 2; the scale is
    from C. Szegedy et al., arXiv:1602.07261.

    Raises:
        ShapeError: ``body`` changes the shape and ``shortcut`` does not do the same.
    """

    body: Any = field(validator=is_module, repr=False, doc="the layer that learns the difference")
    shortcut: Any = field(default=None, repr=False, doc="the way around it; None is the input itself")
    scale: float = field(default=1.0, kw_only=True, doc="what the result of the body is multiplied by")

    def __attrs_post_init__(self) -> None:
        if self.shortcut is not None and not isinstance(self.shortcut, Module):
            raise hyperparameter_error(self, "shortcut", self.shortcut, "a module or None")
        super().__attrs_post_init__()

    def forward(self, x: Any) -> Any:
        y = self.body(x)
        short = x if self.shortcut is None else self.shortcut(x)
        if tuple(short.shape) != tuple(y.shape):
            hint = "shortcut=Conv2D(channels, 1, stride=...) brings the input into the shape of the result"
            raise ShapeError(
                f"Residual adds a shortcut of shape {tuple(short.shape)} to a result of shape {tuple(y.shape)}",
                hint=hint if self.shortcut is None else None,
            )
        return short + (y if self.scale == 1 else y * self.scale)


class SharedBlock(Layer):
    """One block applied ``times`` times with the same weights: ``y = block(... block(block(x)))``.

    The block's result has the shape of its input. The gradient of the weights is the sum over the applications.

    Source: sharing weights across depth as in Z. Lan et al., ALBERT, arXiv:1909.11942, section 3.1, and M. Dehghani et
    al., Universal Transformers, arXiv:1807.03819 (with a fixed number of steps).

    Raises:
        ShapeError: a block that changes the shape, if it is applied more than once.
    """

    block: Any = field(validator=is_module, repr=False, doc="what is applied")
    times: int = field(default=2, validator=positive, doc="how many times")

    def forward(self, x: Any) -> Any:
        shape = tuple(x.shape)
        for _ in range(self.times):
            if tuple(x.shape) != shape:
                raise ShapeError(
                    f"SharedBlock applies one block {self.times} times, but it turns {shape} into {tuple(x.shape)}"
                )
            x = self.block(x)
        return x
