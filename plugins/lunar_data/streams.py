"""What can be done to a stream of examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lunar_core.component import hyperparameter_error
from lunar_core.contracts.dataset import IterableDataset
from lunar_core.random import Stream


class ShuffleBuffer(IterableDataset):
    """The examples of ``data``, shuffled as far as a buffer of ``size`` examples allows.

    The buffer is filled, then each new example takes the place of one that is drawn from it and given; at the end the
    rest comes in random order. So an example comes at most ``size`` places before its own, and may come arbitrarily late.
    The order is a function of (``seed``, epoch) and ``size``.
    """

    def __init__(self, data: Any, size: int, seed: int = 0) -> None:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise hyperparameter_error("ShuffleBuffer", "size", size, "an int > 0")
        self.data, self.size, self.seed = data, size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        if hasattr(self.data, "set_epoch"):
            self.data.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        generator = Stream("shuffle", self.seed).at(self._epoch)
        buffer: list[Any] = []
        for example in self.data:
            if len(buffer) < self.size:
                buffer.append(example)
                continue
            place = int(generator.integers(self.size))
            given, buffer[place] = buffer[place], example
            yield given
        for place in generator.permutation(len(buffer)):
            yield buffer[place]
