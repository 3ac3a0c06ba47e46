"""What a run takes as data, checked once, and the loaders that cut it into batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from lunar_core import backend
from lunar_core import random as streams
from lunar_core.contracts.dataset import ArrayDataset, Dataset
from lunar_core.dtypes import is_floating
from lunar_core.errors import DataError, HookError, IndexingError
from lunar_core.permutation import shuffled
from lunar_core.tensor import Tensor, backend_matches

NAMES = ("inputs", "targets", "weights")


class ArraySource:
    """Examples that lie in arrays of one length: ``(inputs, targets)`` or ``(inputs, targets, weights)``."""

    def __init__(self, arrays: tuple[Any, ...]) -> None:
        self.arrays = arrays
        self.on_host = all(type(array) is np.ndarray for array in arrays)

    def __len__(self) -> int:
        return len(self.arrays[0])

    def targets(self) -> Any:
        """All targets, where they can be had without reading the examples one by one; else ``None``."""
        return self.arrays[1] if len(self.arrays) > 1 else None

    def take(self, index: Any) -> tuple[Any, ...]:
        """The batch of the examples ``index`` (int64 array or slice)."""
        if isinstance(index, slice):
            return tuple(array[index] for array in self.arrays)
        if self.on_host:
            return tuple([array.take(index, 0) for array in self.arrays])
        return tuple([array.take(_on(index, array), axis=0) for array in self.arrays])


class DatasetSource:
    """Examples of a :class:`~lunar_core.contracts.dataset.Dataset`, asked for a batch at a time."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def targets(self) -> Any:
        return self.dataset.arrays()[1] if isinstance(self.dataset, ArrayDataset) else None

    def take(self, index: Any) -> tuple[Any, ...]:
        return tuple(_as_array(part, "batch") for part in self.dataset[index])


def _on(index: np.ndarray, array: Any) -> Any:
    """``index`` where ``array`` lies."""
    return (
        index
        if isinstance(array, np.ndarray)
        else backend.of(array).from_numpy(index, backend.of(array).device_of(array))
    )


def as_source(data: Any, what: str, targets: bool = True) -> ArraySource | DatasetSource | LoaderSource:
    """``data`` as something to take batches from; ``what`` names it in errors ("training data").

    Takes ``(inputs, targets)`` or ``(inputs, targets, weights)`` of arrays, Tensors or lists, a Dataset, or a loader,
    which is told by its methods ``batches`` and ``set_epoch``. With ``targets=False``, inputs alone will do, and what comes
    with them is dropped.

    Raises :class:`DataError` when it is empty, when lengths differ, or when it is something else.
    """
    if isinstance(data, Dataset):
        if targets and len(data.fields) != 2 and data.fields[2:] not in (("weight",), ("weights",)):
            raise DataError(
                f"{what}: expected a dataset of inputs and targets, {type(data).__name__} has {', '.join(data.fields)}"
            )
        source: ArraySource | DatasetSource | LoaderSource = DatasetSource(data)
    elif callable(getattr(data, "batches", None)) and callable(getattr(data, "set_epoch", None)):
        source = LoaderSource(data, what, targets)
    else:
        if not targets and not isinstance(data, tuple):
            data = (data,)
        if not isinstance(data, (tuple, list)) or not (1 if not targets else 2) <= len(data) <= 3:
            got = f"a {type(data).__name__} of {len(data)}" if isinstance(data, (tuple, list)) else type(data).__name__
            raise DataError(
                f"{what}: expected a pair (inputs, targets), a triple with weights, or a Dataset, got {got}",
                hint="for example trainer.fit((x, y), epochs=5)",
            )
        arrays = tuple(_as_array(part, f"{what}, {name}") for part, name in zip(data, NAMES))
        if any(array.ndim == 0 for array in arrays):
            raise DataError(f"{what}: expected one entry per example along the first axis, got a single number")
        if len({len(array) for array in arrays}) > 1:
            lengths = ", ".join(f"{len(array)} {name}" for array, name in zip(arrays, NAMES))
            raise DataError(f"{what}: the numbers of examples differ: {lengths}")
        if len(arrays) == 3:
            _check_weights(arrays[2], what)
        source = ArraySource(arrays)
    if not len(source):
        raise DataError(f"{what}: there are no examples")
    return source


def _as_array(part: Any, what: str) -> Any:
    if isinstance(part, Tensor):
        part = part.data
    if isinstance(part, np.ndarray):
        array: Any = np.asarray(part)  # a memmap stays on disk and becomes a plain array to index
    elif backend.is_array(part):
        return part
    else:
        try:
            array = np.asarray(part)
        except ValueError as exc:
            raise DataError(f"{what}: examples of uneven shape ({exc})") from exc
    if array.dtype.kind not in "biufc" and not is_floating(array.dtype):
        raise DataError(f"{what}: expected numbers, got dtype {array.dtype}")
    return array


def _check_weights(weights: Any, what: str) -> None:
    if weights.ndim != 1:
        raise DataError(f"{what}: expected one weight per example, got weights of shape {weights.shape}")
    if not bool((weights >= 0).all()) or not math.isfinite(float(weights.sum())):
        raise DataError(f"{what}: weights must be finite and >= 0")


def split_off(source: Any, fraction: float) -> tuple[Any, Any]:
    """(training part, validation part): the last ``fraction`` of the examples in an order drawn once from the seed.

    The draw is that of (seed, "split", 0), so it does not depend on anything drawn before.
    """
    if isinstance(source, LoaderSource):
        raise DataError(
            f"val={fraction!r}: a loader's examples cannot be divided",
            hint="divide the data set (lunar_data.splits) and make a loader for each part",
        )
    n = len(source)
    held_out = round(n * fraction)
    if not 0 < fraction < 1 or not 0 < held_out < n:
        raise DataError(
            f"val={fraction!r}: {held_out if 0 < fraction < 1 else 'no'} of {n} examples would be held out",
            hint="a fraction between 0 and 1 that leaves examples on both sides, or a pair (x, y)",
        )
    order = streams.generator("split", 0).permutation(n)
    train, held = np.sort(order[: n - held_out]), np.sort(order[n - held_out :])
    return Picked(source, train), Picked(source, held)


class Picked:
    """Some examples of another source, by index; nothing is copied."""

    def __init__(self, source: Any, indices: np.ndarray) -> None:
        self.source = source
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def targets(self) -> Any:
        return self.source.targets()

    def take(self, index: Any) -> tuple[Any, ...]:
        return self.source.take(self.indices[index])


class Loader:
    """The batches of a source: tuples of raw arrays, in the order that was set last.

    - ``order``: int64 indices of the examples, or ``None`` for their own order.
    - ``drop_last``: leave out a last batch that is smaller than ``batch_size``.
    """

    def __init__(self, source: Any, batch_size: int, drop_last: bool = False) -> None:
        self.source = source
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.order: np.ndarray | None = None
        self.batch = 0  # where the next pass begins

    def __len__(self) -> int:
        n = len(self.source) if self.order is None else len(self.order)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        take, order, size = self.source.take, self.order, self.batch_size
        first, self.batch = self.batch, 0
        for i in range(first, len(self)):
            span = slice(i * size, (i + 1) * size)
            yield take(span if order is None else order[span])


class LoaderSource:
    """The examples of a loader that the user made (``lunar_data.Loader``), which decides on batches and order itself."""

    def __init__(self, loader: Any, what: str, targets: bool) -> None:
        self.loader = loader
        self.what = what
        self.least = 2 if targets else 1
        try:
            self.examples = loader.examples
            len(loader)
        except TypeError as exc:
            raise DataError(
                f"{what}: a run has to know how many batches there are, and the data of {loader!r} has no length",
                hint="give the iterable a __len__",
            ) from exc

    def __len__(self) -> int:
        return int(self.examples)

    def targets(self) -> Any:
        return None

    def take(self, index: Any) -> tuple[Any, ...]:
        """The first examples of the first batch; for the rest, a loader is walked."""
        self.loader.set_epoch(0)
        batches = self.loader.batches()
        try:
            return tuple([part[index] for part in self.checked(next(batches))])
        finally:
            batches.close()

    def checked(self, batch: Any) -> tuple[Any, ...]:
        """``batch`` if the loop can use it."""
        if self.least == 1 and not isinstance(batch, (tuple, list)):
            batch = (batch,)
        if not isinstance(batch, (tuple, list)) or not self.least <= len(batch) <= 3:
            got = f"a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, (tuple, list, dict)) else "")
            raise DataError(f"{self.what}: expected batches (inputs, targets) or (inputs, targets, weights), got {got}")
        return tuple([_as_array(part, f"{self.what}, {name}") for part, name in zip(batch, NAMES)])


class Feed:
    """The batches of a loader that the user made, for the epoch ``epoch`` from ``batch`` on.

    ``order``: indices to take instead of the loader's own, or ``None``.
    """

    def __init__(self, source: LoaderSource) -> None:
        self.source = source
        self.epoch = self.batch = 0
        self.order: np.ndarray | None = None

    def own_order(self) -> np.ndarray | None:
        """The indices that the loader takes in ``epoch``; ``None`` for a stream, whose order is its own."""
        loader = self.source.loader
        if loader.sampler is None:
            return None
        plan = loader.plan(self.epoch)
        return np.concatenate([plan[b] for b in range(len(plan))])

    def __len__(self) -> int:
        return len(self.source.loader)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        self.source.loader.set_epoch(self.epoch, self.batch)
        for batch in self.source.loader.batches(self.order):
            yield self.source.checked(batch)


def loader_of(source: Any, batch_size: int, drop_last: bool = False) -> Loader | Feed:
    """The batches of ``source``; a loader that the user made gives its own."""
    return Feed(source) if isinstance(source, LoaderSource) else Loader(source, batch_size, drop_last)


def epoch_order(n: int, epoch: int) -> np.ndarray:
    """The permutation of ``n`` examples for ``epoch`` under the current seed; a function of those three alone."""
    return shuffled(n, epoch)[:]


def check_classes(loss: Any, outputs: Any, targets: Any) -> None:
    """Whether all class indices in ``targets`` (raw, of the whole data) fit the classes of ``outputs``.

    Raises :class:`DataError` before the first step instead of in the batch that holds the bad one. Asked only of losses
    that take class indices, which are those with an ``ignore_index``.
    """
    if not hasattr(loss, "ignore_index") or getattr(outputs, "ndim", 0) != targets.ndim + 1:
        return
    if targets.dtype.kind not in "iu" or not isinstance(targets, np.ndarray):
        return
    classes = outputs.shape[getattr(loss, "axis", 1)]
    bad = (targets < 0) | (targets >= classes)
    if loss.ignore_index is not None:
        bad &= targets != loss.ignore_index
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"training data, targets: example {where[0]} is of class {int(targets[where])}, but the model gives "
            f"{classes} classes (0..{classes - 1}); {int(bad.sum())} target(s) are out of range",
            hint="give the model as many outputs as there are classes, and count classes from 0",
        )


def loss_terms(loss: Any, outputs: Any, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, float]:
    """``loss.terms``, with the fault put where it is when a target names a class that the outputs do not have."""
    try:
        return loss.terms(outputs, targets, weights)
    except IndexingError as exc:
        if targets.dtype.kind not in "iu" or not targets.size:
            raise
        axis = getattr(loss, "axis", 1)
        raise DataError(
            f"targets hold classes {int(targets.data.min())}..{int(targets.data.max())}, but the model gives "
            f"{outputs.shape[axis]} classes (0..{outputs.shape[axis] - 1})",
            hint="give the model as many outputs as there are classes, and count classes from 0",
        ) from exc


class Placer:
    """Puts raw batches where and how the model wants them: device and floating dtype."""

    def __init__(self, device: str | None, dtype: np.dtype) -> None:
        self.device = device
        self.dtype = dtype
        # Host arrays of these dtypes are right as they are, which is every batch of an ordinary run.
        self._as_they_are = {dtype, np.dtype(np.int64)} if device in (None, "cpu") else set()

    def __call__(self, array: Any) -> Any:
        if type(array) is np.ndarray and array.dtype in self._as_they_are:
            return array
        if array.dtype != self.dtype and is_floating(array.dtype):
            array = array.astype(self.dtype)
        if self.device is not None and not backend_matches(array, self.device):
            array = backend.for_device(self.device).from_numpy(backend.of(array).to_numpy(array), self.device)
        return array


def one_loss(loss: Any, hook: str) -> Tensor:
    """What ``hook`` answered, if it can be a loss; else HookError."""
    if not isinstance(loss, Tensor) or loss.size != 1:
        got = f"a Tensor of shape {loss.shape}" if isinstance(loss, Tensor) else repr(loss)
        raise HookError(f"{hook} returned {got}, expected the loss, a Tensor with one element")
    return loss
