"""Model: an architecture as a component.

Hyperparameters are fields, ``setup`` makes the parts, ``forward`` joins them::

    class Classifier(Model):
        width: int = 64

        def setup(self):
            self.hidden, self.head = Dense(self.width), Dense(10)

        def forward(self, x):
            return self.head(ops.relu(self.hidden(x)))

The parts may learn their input sizes from the first call. ``input_shape``, the shape of one example without the batch
axis, makes a model build itself at once; one that was built by a call notes it there, so that its configuration always
gives back a model whose parameters exist.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

from ..component import Component, field, positive
from ..errors import HyperparameterError
from ..modes import no_grad
from ..module import Module
from ..ops.creation import zeros


class Template:
    """A part as a hyperparameter: not a part of the model itself, which puts copies of it where they belong.

    ``template()`` gives a copy.
    """

    __slots__ = ("part",)

    def __init__(self, part: Module) -> None:
        self.part = part

    def __call__(self) -> Any:
        return copy.deepcopy(self.part)

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.part)


def template_of(kind: str) -> Callable[[Any], Template]:
    """The converter of a field that holds a template: takes a component of ``kind``, or the registry name of one.

    ``activation: Any = field(factory=ReLU, converter=template_of("activation"))``
    """

    def convert(value: Any) -> Template:
        if isinstance(value, Template):
            return value
        if isinstance(value, str):
            from ..plugins import registry

            value = registry.create(kind, value)
        if not (isinstance(value, Module) and getattr(value, "kind", None) == kind):
            raise HyperparameterError(f"expected a component of kind {kind!r} or the name of one, got {value!r}")
        return Template(value)

    return convert


class Model(Component, Module):
    """Base of architectures: write ``setup`` and ``forward``."""

    kind: ClassVar[str] = "model"

    input_shape: tuple[int, ...] | None = field(
        default=None, validator=positive, kw_only=True, doc="shape of one example; None learns it from the first call"
    )

    def __attrs_post_init__(self) -> None:
        self.setup()
        if self.built:
            return
        self._missing_build = self._special = True
        if self.input_shape is not None:
            self.eval()  # no statistics are updated and no dropout mask is drawn
            with no_grad():
                self(*self.example())
            self.train()

    def setup(self) -> None:
        """Make the parts as attributes, from the hyperparameters."""

    def example(self) -> tuple[Any, ...]:
        """Inputs of ``forward`` for one example of ``input_shape``: zeros of the default dtype, on the default device.

        A model of other inputs, such as token indices, overrides it.
        """
        assert self.input_shape is not None
        return (zeros((1, *self.input_shape)),)

    def build(self, *inputs: Any) -> None:
        """Note the shape of one example; a model whose parameters are its own, not its parts', extends it."""
        shape = getattr(inputs[0], "shape", None) if inputs else None
        if shape and min(shape[1:], default=1):
            self.input_shape = tuple(shape[1:])

    def config(self) -> dict[str, Any]:
        values = super().config().items()
        return {name: value.part if isinstance(value, Template) else value for name, value in values}

    def _call_special(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._missing_build:
            return super()._call_special(args, kwargs)
        # A first call that fails, such as one with the axes in the wrong order, leaves no part built for its inputs.
        before = [(module, dict(vars(module))) for module in self.modules() if module._missing_build]
        try:
            return super()._call_special(args, kwargs)
        except BaseException:
            for module, attributes in before:
                vars(module).clear()
                vars(module).update(attributes)
            raise

    def _label(self) -> str:
        return Component.__repr__(self)

    __repr__ = Module.__repr__
