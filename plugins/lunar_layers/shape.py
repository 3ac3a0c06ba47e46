"""Layers that only rearrange, join or pass on: no parameters, any dtype."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

from lunar_core import ops
from lunar_core.component import Check, field, hyperparameter_error
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError

_one_free = Check(
    lambda v: v.count(-1) <= 1 and all(n > 0 or n == -1 for n in v), "sizes > 0, of which one may be -1", each=False
)


class Identity(Layer):
    """The input itself, of any shape: what stands where a layer was taken out."""

    def forward(self, x: Any) -> Any:
        return x


class Lambda(Layer):
    """A function in the place of a layer: ``function(*inputs)``, of arrays of whatever shapes it takes.

    It has no parameters that the model would know of; a function with weights of its own belongs in a Module. A model
    that holds one has no configuration, because a function is no plain data: ``lc.to_config`` says where it is.
    """

    function: Callable[..., Any] = field(
        validator=Check(callable, "a function of the inputs"), doc="what is computed from the inputs"
    )

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class Unflatten(Layer):
    """One axis split into several: the opposite of :class:`~lunar_layers.flatten.Flatten`.

    Shapes: x (N, A * B, C) -> y (N, A, B, C) for ``Unflatten(1, (A, B))``; one size may be -1. As
    ``torch.nn.Unflatten``.

    Raises:
        ShapeError: an axis that the input does not have, or whose size is not the product of the sizes.
    """

    axis: int = field(doc="the axis to split")
    sizes: tuple[int, ...] = field(validator=_one_free, doc="what it is split into; one may be -1")

    def forward(self, x: Any) -> Any:
        shape = tuple(x.shape)
        if not -len(shape) <= self.axis < len(shape):
            raise ShapeError(f"Unflatten splits axis {self.axis}, which inputs of shape {shape} do not have")
        axis = self.axis % len(shape)
        known = math.prod(n for n in self.sizes if n != -1)
        if shape[axis] != known and (-1 not in self.sizes or shape[axis] % known):
            raise ShapeError(
                f"Unflatten splits axis {self.axis} into {self.sizes}, whose product is not its size in {shape}"
            )
        sizes = [shape[axis] // known if n == -1 else n for n in self.sizes]
        return ops.reshape(x, (*shape[:axis], *sizes, *shape[axis + 1 :]))


class Reshape(Layer):
    """Each example in another shape: x (N, ...) -> y (N, *shape), in C order; one size may be -1.

    The batch axis stays as it is, as in Keras. :class:`Unflatten` splits one axis.

    Raises:
        ShapeError: the sizes do not fit.
    """

    shape: tuple[int, ...] = field(validator=_one_free, doc="shape of one example; one size may be -1")

    def forward(self, x: Any) -> Any:
        if not x.shape:
            raise ShapeError("Reshape expects inputs with a batch axis, got ()")
        shape, each = self.shape, math.prod(x.shape[1:])
        if -1 in shape:  # solved here, since the whole's could not be for an empty batch
            known = math.prod(n for n in shape if n != -1)
            shape = tuple(each // known if n == -1 else n for n in shape)
        if math.prod(shape) != each:
            raise ShapeError(f"Reshape makes examples of shape {self.shape}, which {tuple(x.shape)} does not fit into")
        return ops.reshape(x, (x.shape[0], *shape))


class Permute(Layer):
    """Axes in another order: axis ``i`` of the result is axis ``axes[i]`` of the input, the batch axis included.

    Shapes: x (N, C, H, W) -> y (N, H, W, C) for ``Permute((0, 2, 3, 1))``. A view, as ``torch.permute``.

    Raises:
        ShapeError: inputs with another number of axes.
    """

    axes: tuple[int, ...] = field(doc="for each axis of the result the axis of the input; a permutation")

    def __attrs_post_init__(self) -> None:
        n = len(self.axes)
        if sorted(a % n if -n <= a < n else a for a in self.axes) != list(range(n)):
            raise hyperparameter_error(self, "axes", self.axes, f"a permutation of 0..{n - 1}")
        super().__attrs_post_init__()

    def forward(self, x: Any) -> Any:
        if len(x.shape) != len(self.axes):
            raise ShapeError(f"Permute orders {len(self.axes)} axes {self.axes}, got inputs of shape {tuple(x.shape)}")
        return ops.transpose(x, self.axes)


class Concat(Layer):
    """Several inputs joined along one axis: ``concat(a, b, ...)``, or one list of them.

    Shapes: (N, A, ...), (N, B, ...), ... -> (N, A + B + ..., ...) on the default axis 1, the channels.

    Raises:
        ShapeError: inputs whose other sizes differ.
    """

    axis: int = field(default=1, doc="the axis along which they are joined")

    def forward(self, *inputs: Any) -> Any:
        return joined("Concat", listed("Concat", inputs), self.axis)


class Add(Layer):
    """The sum of several inputs of one shape: ``add(a, b, ...)``, or one list of them.

    Raises:
        ShapeError: inputs of different shapes; nothing is broadcast, since in a network that is mostly a mistake.
    """

    def forward(self, *inputs: Any) -> Any:
        return summed("Add", listed("Add", inputs))


def listed(layer: str, inputs: tuple[Any, ...]) -> list[Any]:
    """Several inputs, or the one list of them, as a list that is not empty."""
    parts = list(inputs[0]) if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)) else list(inputs)
    if not parts:
        raise ShapeError(f"{layer} expects at least one input, got none")
    return parts


def joined(layer: str, parts: list[Any], axis: int) -> Any:
    """``parts`` joined along ``axis``; shapes that differ elsewhere are the ShapeError of ``layer``."""
    shapes = [tuple(p.shape) for p in parts]
    first = shapes[0]
    if not -len(first) <= axis < len(first):
        raise ShapeError(f"{layer} joins along axis {axis}, which inputs of shape {first} do not have")
    axis %= len(first)
    rest = (*first[:axis], *first[axis + 1 :])
    if any(len(s) != len(first) or (*s[:axis], *s[axis + 1 :]) != rest for s in shapes):
        raise ShapeError(f"{layer}: shapes may differ on axis {axis} alone, got {', '.join(map(str, shapes))}")
    return parts[0] if len(parts) == 1 else ops.concat(parts, axis=axis)


def summed(layer: str, parts: list[Any]) -> Any:
    """The sum of ``parts``; different shapes are the ShapeError of ``layer``."""
    shapes = [tuple(p.shape) for p in parts]
    if any(shape != shapes[0] for shape in shapes):
        raise ShapeError(f"{layer} adds what is of one shape, got {', '.join(map(str, shapes))}")
    return functools.reduce(operator.add, parts)
