"""Transform: what is done to examples between reading and training.

::

    class Gain(Transform):
        high: float = field(default=2.0, validator=positive)

        def draw(self, rng, shape):                 # the random numbers of one example
            return {"gain": rng.uniform(1, self.high)}

        def apply(self, values, drawn):             # a batch: (n, ...) and one drawn number for each example
            return values * drawn["gain"].reshape(-1, 1, 1, 1).astype(values.dtype)

    gain = Gain()
    image = gain(image)                                          # one image, from the stream "transform"
    image = gain(image, example_generator(epoch, index))         # the same numbers whoever computes it, and when
    images = gain.batch(images, generators)                      # the same results, vectorised

``apply`` is written once, for a batch; a single example is a batch of one. Each example's numbers come from a generator
of its own, so batches and singles, one worker and eight, give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import random as streams
from ..component import Component
from ..errors import DataError, ShapeError

Drawn = dict[str, np.ndarray]

MASKS = ("mask", "masks")
BOXES = ("boxes",)
"""Fields of an example that follow the first one: label images (H, W) or (K, H, W), and boxes (K, 4) as
``x0, y0, x1, y1`` in pixels, where x1 and y1 lie one past the last pixel."""


class Transform(Component):
    """Base of all transforms (kind ``"transform"``, group ``lunar.transforms``).

    A subclass writes ``apply(values, drawn)`` and, if it is random, ``draw(rng, shape)``. A geometric one also writes
    ``apply_mask`` and ``apply_boxes``. Images are channels first, (C, H, W): uint8 in 0..255, or floating in 0..1.

    What is transformed is an array, or a dict or tuple whose first entry is the array. In a dict, ``mask``, ``masks``
    and ``boxes`` follow their image; everything else passes unchanged.
    """

    kind: ClassVar[str] = "transform"

    #: How many axes one example has; None takes any number. Checked before ``apply``.
    example_ndim: ClassVar[int | None] = None

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        """The random numbers for one example of ``shape``: name -> number or array of fixed shape."""
        return {}

    def apply(self, values: np.ndarray, drawn: Drawn) -> Any:
        """The transformed batch of ``values`` (n, ...); ``drawn`` holds :meth:`draw`'s numbers stacked, (n, ...).

        ``values`` is not to be written to.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply")

    def apply_mask(self, masks: np.ndarray, drawn: Drawn) -> np.ndarray:
        """The masks (n, ..., H, W) of the images; unchanged by default, right for what moves no pixel."""
        return masks

    def apply_boxes(self, boxes: np.ndarray, drawn: Drawn, size: tuple[int, int]) -> np.ndarray:
        """The boxes (K, 4) of ONE image of ``size`` (H, W); ``drawn`` holds its numbers alone, without an axis n."""
        return boxes

    def __call__(self, example: Any, rng: np.random.Generator | None = None) -> Any:
        """One transformed example; what is random comes from ``rng``, by default the next of stream "transform"."""
        rng = streams.stream("transform").next() if rng is None else rng
        fields, form = _fields(example)
        batch = {name: [value] if name in BOXES else np.asarray(value)[None] for name, value in fields.items()}
        given = {name: value for name, value in fields.items() if not _follows(name, fields)}
        result = self.run(batch, [rng])
        return form({name: given[name] if name in given else value[0] for name, value in result.items()})

    def batch(self, examples: Any, generators: np.random.Generator | Iterable[np.random.Generator]) -> Any:
        """A batch, whose arrays have a first axis n; ``boxes`` is a list of n arrays.

        ``generators`` is one for each example, as :func:`example_generators` makes them.

        Raises:
            DataError: the number of generators is not the number of examples.
        """
        fields, form = _fields(examples)
        each = [generators] if isinstance(generators, np.random.Generator) else list(generators)
        first = next(iter(fields.values()))
        if len(each) != len(first):
            raise DataError(f"{type(self).__name__}: {len(first)} examples need as many generators, got {len(each)}")
        held = {
            name: value if name in BOXES or not _follows(name, fields) else np.asarray(value)
            for name, value in fields.items()
        }
        return form(self.run(held, each))

    def run(self, fields: dict[str, Any], generators: Sequence[np.random.Generator]) -> dict[str, Any]:
        """Transform a batch held as name -> array; what ``__call__`` and ``batch`` share."""
        name, values = next(iter(fields.items()))
        self.check(values)
        shape = values.shape[1:]
        each = [self.draw(rng, shape) for rng in generators]
        drawn = {key: np.stack([np.asarray(one[key]) for one in each]) for key in (each[0] if each else ())}
        result = dict(fields)
        result[name] = self.apply(values, drawn)
        for other, value in fields.items():
            if other in MASKS and other != name:
                result[other] = self.apply_mask(value, drawn)
            elif other in BOXES:
                result[other] = [
                    self.apply_boxes(np.asarray(b).reshape(-1, 4), {k: v[i] for k, v in drawn.items()}, shape[-2:])
                    for i, b in enumerate(value)
                ]
        return result

    def check(self, values: np.ndarray) -> None:
        """Raise ShapeError for a batch whose examples have the wrong number of axes."""
        if self.example_ndim is not None and values.ndim != self.example_ndim + 1:
            raise ShapeError(
                f"{type(self).__name__} takes examples of {self.example_ndim} axes, got one of shape {values.shape[1:]}",
                hint="images are channels first: (C, H, W), or (n, C, H, W) in batch()",
            )


def example_generator(
    epoch: int, index: int, *, seed: int | None = None, purpose: str = "transform"
) -> np.random.Generator:
    """The generator of example ``index`` in ``epoch``: a function of (seed, purpose, epoch, index) alone."""
    seed = streams.current_seed() if seed is None else seed
    return streams.Stream(f"{purpose}/{epoch}", seed).at(index)


def example_generators(
    epoch: int, indices: Iterable[int], *, seed: int | None = None, purpose: str = "transform"
) -> list[np.random.Generator]:
    """:func:`example_generator` for each of ``indices``."""
    stream = streams.Stream(f"{purpose}/{epoch}", streams.current_seed() if seed is None else seed)
    return [stream.at(int(index)) for index in indices]


def _follows(name: str, fields: Mapping[str, Any]) -> bool:
    return name in MASKS or name in BOXES or name == next(iter(fields))


def _fields(example: Any) -> tuple[dict[str, Any], Any]:
    """``example`` as name -> value, and what makes the result look as the example did."""
    if isinstance(example, Mapping):
        if not example:
            raise DataError("a transform got an empty dict: its first entry is what is transformed")
        return dict(example), lambda fields: fields
    if isinstance(example, tuple):
        if not example:
            raise DataError("a transform got an empty tuple: its first entry is what is transformed")
        names = [f"#{k}" for k in range(len(example))]
        return dict(zip(names, example)), lambda fields: tuple(fields.values())
    return {"#0": example}, lambda fields: fields["#0"]
