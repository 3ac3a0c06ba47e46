"""What the synthetic sets share: where their randomness comes from."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.dataset import ArrayDataset, DatasetCard, ExampleDataset
from lunar_core.random import Stream


class Drawn(ArrayDataset):
    """A set whose arrays are drawn at once from the generator of (seed, the set's name)."""

    n: int = field(default=1000, validator=positive, doc="number of examples")
    seed: int = field(default=0, validator=non_negative, doc="the set's own seed")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """The arrays, one per field."""
        raise NotImplementedError(f"{type(self).__name__} must define draw")

    def read(self) -> tuple[np.ndarray, ...]:
        return self.draw(Stream(f"dataset/{type(self).__name__}", self.seed).at(0))

    @property
    def card(self) -> DatasetCard:
        return card_of(self)


class Made(ExampleDataset):
    """A set whose examples are made when they are asked for: example i comes from the generator of (seed, name, i).

    So the first examples of a set do not depend on how many there are, and a large set takes no memory.
    """

    n: int = field(default=1000, validator=positive, doc="number of examples")
    seed: int = field(default=0, validator=non_negative, doc="the set's own seed")

    def make(self, rng: np.random.Generator) -> Any:
        """One example."""
        raise NotImplementedError(f"{type(self).__name__} must define make")

    def __len__(self) -> int:
        return self.n

    def generator(self, index: int) -> np.random.Generator:
        """What example ``index`` is made from."""
        return Stream(f"dataset/{type(self).__name__}", self.seed).at(index)

    def example(self, index: int) -> Any:
        return self.make(self.generator(index))

    @property
    def card(self) -> DatasetCard:
        return card_of(self)


def card_of(data: Any) -> DatasetCard:
    """The card of a set that is computed: nobody's property."""
    title = (type(data).__doc__ or type(data).__name__).partition("\n")[0].partition(":")[0].rstrip(".")
    return DatasetCard(title=title, size=len(data), source="computed", licence="CC0-1.0")
