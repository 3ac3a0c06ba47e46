"""What a dataset is: a length, indexing into tuples of arrays, and a card that says where it comes from.

:class:`ArrayDataset` is for arrays in memory, :class:`ExampleDataset` for examples that are read one by one and
:class:`IterableDataset` for streams.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import attrs
import numpy as np

from ..collation import stack
from ..component import Component
from ..errors import DataError, HyperparameterError, IndexingError
from ..random import Stream


@attrs.frozen
class DatasetCard:
    """Where a dataset comes from and what one may do with it."""

    title: str
    size: int  # number of examples
    source: str = ""  # address of the original
    licence: str = "unknown"  # SPDX identifier where there is one
    attribution: str = ""  # what the licence or good manners ask to be said
    files: tuple[tuple[str, int, str], ...] = ()  # name, bytes and SHA-256 of each file it is read from
    classes: tuple[str, ...] | None = None  # where they are known without reading the data


class Dataset(Component):
    """Base of all datasets (kind ``"dataset"``, group ``lunar.datasets``).

    A subclass gives ``__len__`` and ``__getitem__``. Indexing by an integer gives the arrays of one example, without a
    batch axis; by a slice, an array of integers or a boolean mask, the arrays of a batch, whose first axis is the
    number of examples. There is one array for each name in ``fields``; the target comes last.

    Data that fits in memory is simplest as an :class:`ArrayDataset`.
    """

    kind: ClassVar[str] = "dataset"

    #: What each array of an example is, in order; the last is the target.
    fields: ClassVar[tuple[str, ...]] = ("x", "y")

    def __len__(self) -> int:
        """The number of examples."""
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __getitem__(self, index: Any) -> tuple[np.ndarray, ...]:
        """The arrays of one example or of a batch of examples."""
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes by index, or None when the target is no class."""
        return None

    @property
    def n_classes(self) -> int | None:
        """How many classes there are, or None when the target is no class."""
        classes = self.classes
        return None if classes is None else len(classes)

    @property
    def card(self) -> DatasetCard:
        """Title, size, source, licence and attribution."""
        return DatasetCard(type(self).__name__, len(self))

    def arrays(self) -> tuple[np.ndarray, ...]:
        """All examples at once: one array for each field, usually ``(x, y)``."""
        return self[:]

    def targets(self) -> np.ndarray:
        """The targets of all examples."""
        return np.asarray(self.arrays()[-1])

    def split(self, fraction: float, *, stratify: bool = True, seed: int = 0) -> tuple[Subset, Subset]:
        """Two disjoint parts; the second holds ``fraction`` of the examples (rounded up), as a hold-out.

        ``train, test = dataset.split(0.25)`` keeps three quarters for training. With ``stratify``, each class has in
        both parts the share that it has in the whole: its exact quota where that is a whole number, else rounded by
        largest remainder (as scikit-learn's ``StratifiedShuffleSplit``). Both parts are shuffled. The split depends on
        the number of examples, their labels, ``fraction`` and ``seed`` alone, never on ``lc.seed``.

        Raises:
            HyperparameterError: ``fraction`` outside of (0, 1).
            DataError: a part would be empty; with ``stratify``, the target is no class index, or a class has fewer
                than two examples, or a part is smaller than the number of classes.
        """
        n = len(self)
        if not (isinstance(fraction, (int, float)) and 0 < fraction < 1):
            raise HyperparameterError(f"split: fraction lies between 0 and 1, got {fraction!r}")
        held_out = math.ceil(fraction * n - 1e-9)  # 0.7 * 10 is a little more than 7
        if n < 2 or held_out >= n:
            raise DataError(f"split: {n} example(s) cannot be split at {fraction}: one part would be empty")
        generator = Stream("split", seed).at(0)
        if stratify:
            first, second = stratified_halves(self._labels(), held_out, generator)
        else:
            order = generator.permutation(n)
            first, second = order[held_out:], order[:held_out]
        return Subset(self, first), Subset(self, second)

    def _labels(self) -> np.ndarray:
        labels = self.targets()
        if labels.ndim != 1 or labels.dtype.kind not in "iub":
            raise DataError(
                f"split: stratify needs one class index per example, the target {self.fields[-1]!r} is "
                f"{labels.dtype} of shape {labels.shape}",
                hint="split(..., stratify=False) shuffles without regard to the target",
            )
        return labels


class ArrayDataset(Dataset):
    """A dataset whose arrays fit in memory: a subclass gives :meth:`read` and nothing else.

    ``read`` runs once, at the first use, so that making the component costs nothing.
    """

    _arrays: ClassVar[tuple[np.ndarray, ...] | None] = None  # shadowed on the instance after the first use

    def read(self) -> tuple[np.ndarray, ...]:
        """The arrays, one per field, of equal length along their first axis."""
        raise NotImplementedError(f"{type(self).__name__} must define read")

    def arrays(self) -> tuple[np.ndarray, ...]:
        if self._arrays is None:
            arrays = tuple(self.read())
            lengths = [len(array) for array in arrays]
            if len(arrays) != len(self.fields) or len(set(lengths)) != 1:
                raise DataError(
                    f"{type(self).__name__}: expected {len(self.fields)} arrays of one length for "
                    f"{', '.join(self.fields)}, got lengths {lengths}"
                )
            if not lengths[0]:
                raise DataError(f"{type(self).__name__} holds no example")
            self._arrays = arrays  # type: ignore[misc]
            return arrays
        return self._arrays

    def __len__(self) -> int:
        return len(self.arrays()[0])

    def __getitem__(self, index: Any) -> tuple[np.ndarray, ...]:
        arrays = self.arrays()
        index = as_index(index, len(arrays[0]))
        return tuple(array[index] for array in arrays)


class ExampleDataset(Dataset):
    """A dataset whose examples are read or made one at a time: a subclass gives ``__len__`` and :meth:`example`.

    Indexing by many stacks them, which asks for equal shapes; a loader takes them one by one and may pad. An example is
    usually a tuple with one entry per field; entries may be dicts or tuples of arrays themselves.
    """

    def example(self, index: int) -> Any:
        """Example ``index``, which lies in 0..len-1."""
        raise NotImplementedError(f"{type(self).__name__} must define example")

    def __getitem__(self, index: Any) -> Any:
        n = len(self)
        index = as_index(index, n)
        if isinstance(index, int):
            return self.example(index % n)
        many = range(n)[index] if isinstance(index, slice) else [int(i) % n for i in index]
        return stack([self.example(i) for i in many])


class IterableDataset(Component):
    """A dataset that can only be walked from its start: a subclass gives ``__iter__``, and ``__len__`` if it knows.

    Each ``iter`` begins the stream anew with the same examples; :meth:`set_epoch` is told which pass comes next, for
    those whose order changes. An iterator that has a method ``skip(n)`` is asked to pass over examples by it, which saves
    the reading of those that another worker takes.
    """

    kind: ClassVar[str] = "dataset"
    fields: ClassVar[tuple[str, ...]] = ("x", "y")

    def __iter__(self) -> Iterator[Any]:
        """The examples, from the first on."""
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")

    def set_epoch(self, epoch: int) -> None:
        """The next ``iter`` is for pass ``epoch``, counted from 0. Does nothing unless a subclass does."""


class Subset(Dataset):
    """Some examples of another dataset, by index and in that order; what ``Dataset.split`` gives."""

    def __init__(self, dataset: Dataset, indices: Any) -> None:
        n = len(dataset)
        indices = as_index(indices, n)
        self.dataset = dataset
        self.indices = np.arange(n)[indices] if isinstance(indices, slice) else np.atleast_1d(indices)

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.dataset.fields

    @property
    def classes(self) -> tuple[str, ...] | None:
        return self.dataset.classes

    @property
    def card(self) -> DatasetCard:
        return attrs.evolve(self.dataset.card, size=len(self))

    def __len__(self) -> int:
        return len(self.indices)

    def targets(self) -> np.ndarray:
        return self.dataset.targets()[self.indices]

    def __getitem__(self, index: Any) -> tuple[np.ndarray, ...]:
        chosen = self.indices[as_index(index, len(self.indices))]
        return self.dataset[int(chosen) if chosen.ndim == 0 else chosen]

    def __repr__(self) -> str:
        return f"Subset({self.dataset!r}, {len(self)} of {len(self.dataset)} examples)"


def as_index(index: Any, n: int) -> int | slice | np.ndarray:
    """``index`` as an integer, a slice or an integer array that is known to fit ``n`` examples.

    Raises :class:`IndexingError` for anything else; it is an ``IndexError``, so iteration by index ends properly.
    """
    if isinstance(index, slice):
        return index
    try:
        array = np.asarray(index)
    except ValueError:
        array = np.empty((), object)
    if array.dtype == np.bool_ and array.shape == (n,):
        return np.flatnonzero(array)
    if array.size == 0 and array.ndim == 1:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise IndexingError(
            f"a dataset is indexed by an integer, a slice, a list of integers or a mask of its length {n}, "
            f"got {index!r}"
        )
    lowest, highest = int(array.min()), int(array.max())
    if lowest < -n or highest >= n:
        raise IndexingError(f"index {highest if highest >= n else lowest} is out of range for {n} examples")
    return array.astype(np.int64) if array.ndim else int(array)


def stratified_halves(
    labels: np.ndarray, held_out: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Shuffled indices of the two parts, with each class divided in proportion."""
    classes, where, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        rare = classes[counts < 2].tolist()
        raise DataError(f"split: stratify needs two examples of each class, class(es) {rare} have one")
    if min(held_out, len(labels) - held_out) < len(classes):
        raise DataError(
            f"split: {held_out} of {len(labels)} examples held out, which leaves a part with fewer examples than the "
            f"{len(classes)} classes"
        )
    # Quotas by largest remainder, equal remainders in random order. Integers throughout: a share of exactly one half
    # must not depend on rounding.
    quota, remainder = np.divmod(counts * held_out, len(labels))
    short = held_out - int(quota.sum())
    tie = generator.permutation(len(classes))
    quota[np.lexsort((tie, -remainder))[:short]] += 1
    first, second = [], []
    for k in range(len(classes)):
        members = generator.permutation(np.flatnonzero(where == k))
        second.append(members[: quota[k]])
        first.append(members[quota[k] :])
    return generator.permutation(np.concatenate(first)), generator.permutation(np.concatenate(second))
