"""From the ids of a batch to the batch: read, augment, collate. The same code runs in this process and in the workers."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lunar_core.collation import Empty
from lunar_core.contracts.dataset import Dataset, ExampleDataset, Subset
from lunar_core.contracts.transform import Transform, example_generator, example_generators
from lunar_core.errors import DataError, IndexingError, LunarError
from lunar_core.tensor import Tensor

from .collate import Stack
from .errors import ExampleError


class Task(NamedTuple):
    """One batch that is to be made. ``keys`` is what augmentation is keyed by in the place of the ids, if not by them."""

    epoch: int
    number: int
    seed: int
    ids: np.ndarray | None  # None: the next ``size`` examples of a stream, from ``number * size`` on
    first: int | None = None  # of the positions that are the keys
    size: int = 0
    least: int = 1  # fewer examples than that make no batch


class Arrays:
    """Examples that lie in arrays of one length: a tuple or dict of arrays, or one array."""

    def __init__(self, parts: Any) -> None:
        self.parts = parts
        named = (
            parts if isinstance(parts, Mapping) else dict(enumerate(parts)) if isinstance(parts, tuple) else {0: parts}
        )
        self._arrays = {key: _host(key, part) for key, part in named.items()}
        lengths = {key: len(array) for key, array in self._arrays.items()}
        if len(set(lengths.values())) != 1:
            raise DataError(
                "the arrays of a data set have one length, got "
                + ", ".join(f"{n} at {k!r}" for k, n in lengths.items())
            )
        self.n = next(iter(lengths.values()))

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: Any) -> Any:
        return self._packed([array[index] for array in self._arrays.values()])

    def take(self, ids: np.ndarray, empty: Empty) -> Any:
        """The batch of the examples ``ids``, which are known to be in range, written to memory from ``empty``."""
        taken = []
        for array in self._arrays.values():
            out = empty((len(ids), *array.shape[1:]), array.dtype)
            # mode="clip" since "raise" would go through a copy; a memory map is read through its plain array
            np.asarray(array).take(ids, 0, out=out, mode="clip")
            taken.append(out)
        return self._packed(taken)

    def _packed(self, values: list[Any]) -> Any:
        if isinstance(self.parts, Mapping):
            return dict(zip(self._arrays, values))
        if not isinstance(self.parts, tuple):
            return values[0]
        return type(self.parts)(*values) if hasattr(self.parts, "_fields") else tuple(values)


def _host(key: Any, part: Any) -> np.ndarray:
    part = part.data if isinstance(part, Tensor) else part
    if not isinstance(part, np.ndarray) or not part.ndim:
        raise DataError(
            f"the data at {key!r} is {'a single number' if isinstance(part, np.ndarray) else type(part).__name__}, expected "
            f"an array on the host with one entry per example",
            hint="Loader((x, y)) or Loader({'x': x, 'y': y}) takes arrays, Loader([...]) a list of examples",
        )
    return part


def as_data(data: Any) -> Any:
    """``data`` as something with a length and indexing, or as an iterable; arrays become :class:`Arrays`."""
    if isinstance(data, (tuple, np.ndarray, Tensor)) or (isinstance(data, Mapping) and data):
        return Arrays(data)
    if (hasattr(data, "__getitem__") and hasattr(data, "__len__")) or hasattr(data, "__iter__"):
        return data
    raise DataError(
        f"a loader takes arrays, a Dataset, something with a length and indexing, or an iterable; got {type(data).__name__}"
    )


class Fetcher:
    """Makes the batches of ``data``.

    ``transform(example, rng)`` or ``transform(example)`` is applied to each example, ``batch_transform`` to the batch
    after collation; ``rng`` is the NumPy generator of (seed, epoch, index of the example), which is that of
    :func:`~lunar_core.contracts.transform.example_generator`, or that of (seed, epoch, batch). A
    :class:`~lunar_core.contracts.transform.Transform` is applied to whole batches where they are read at once: same bytes.
    """

    def __init__(self, data: Any, transform: Any, batch_transform: Any, collate: Any) -> None:
        self.data = data
        self.indexed = hasattr(data, "__getitem__")
        self.transform, self._draws = transform, _wants_generator(transform)
        self.batch_transform, self._batch_draws = batch_transform, _wants_generator(batch_transform)
        self.collate = collate
        self._streaming: _Streaming | None = None
        at_once = (transform is None or isinstance(transform, Transform)) and type(collate) is Stack
        self._take = at_once and isinstance(data, Arrays)
        self._index_many = at_once and _indexes_many(data)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_streaming": None}

    def batch(self, task: Task, empty: Empty = np.empty) -> Any:
        """The batch of ``task``, or None where a stream has no more examples."""
        if task.ids is None:
            examples = self._next_examples(task)
            if len(examples) < task.least:
                return None
            ids: Any = range(task.number * task.size, task.number * task.size + len(examples))
            batch = self._collated(self._transformed(examples, ids, ids, task), ids, task, empty)
        elif self._take:
            batch = self._transformed_at_once(self.data.take(task.ids, empty), task)
        elif self._index_many:
            try:
                batch = self.data[task.ids]
            except Exception as exc:
                raise self._culprit(task, exc) from exc
            batch = self._transformed_at_once(batch, task)
        else:
            ids = task.ids.tolist()
            examples = self._transformed(self._examples(ids, task), ids, self._keys(task), task)
            batch = self._collated(examples, ids, task, empty)
        if self.batch_transform is not None:
            try:
                if self._batch_draws:
                    rng = example_generator(task.epoch, task.number, seed=task.seed, purpose="batch_transform")
                    batch = self.batch_transform(batch, rng)
                else:
                    batch = self.batch_transform(batch)
            except Exception as exc:
                raise failed("batch_transform", exc, _plain(task.ids), task) from exc
        return batch

    def _keys(self, task: Task) -> Sequence[int]:
        """What the augmentation of each example is keyed by."""
        ids: list[int] = _plain(task.ids)
        return ids if task.first is None else range(task.first, task.first + len(ids))

    def _transformed_at_once(self, batch: Any, task: Task) -> Any:
        if self.transform is None:
            return batch
        generators = example_generators(task.epoch, self._keys(task), seed=task.seed)
        try:
            return self.transform.batch(batch, generators)
        except Exception as exc:
            ids = _plain(task.ids)
            self._transformed(self._examples(ids, task), ids, self._keys(task), task)  # names the one that fails alone
            raise failed("transform", exc, ids, task) from exc

    def _examples(self, ids: list[int], task: Task) -> Iterator[Any]:
        data = self.data
        for i in ids:
            try:
                example = data[i]
            except Exception as exc:
                raise failed("reading", exc, i, task) from exc
            yield example

    def _transformed(self, examples: Any, ids: Sequence[int], keys: Sequence[int], task: Task) -> list[Any]:
        transform = self.transform
        if transform is None:
            return list(examples)
        generators = example_generators(task.epoch, keys, seed=task.seed) if self._draws else None
        made = []
        for k, (i, example) in enumerate(zip(ids, examples)):
            try:
                made.append(transform(example) if generators is None else transform(example, generators[k]))
            except Exception as exc:
                raise failed("transform", exc, i, task) from exc
        return made

    def _collated(self, examples: list[Any], ids: Sequence[int], task: Task, empty: Empty) -> Any:
        try:
            return self.collate(examples, empty) if isinstance(self.collate, Stack) else self.collate(examples)
        except Exception as exc:
            raise failed("collating", exc, list(ids), task) from exc

    def _culprit(self, task: Task, exc: Exception) -> ExampleError:
        """The error for a batch that could not be read at once: it names the example if one of them fails alone."""
        for _ in self._examples(_plain(task.ids), task):
            pass
        return failed("reading", exc, _plain(task.ids), task)

    # -- streams -------------------------------------------------------------------------------------------------------

    def _next_examples(self, task: Task) -> list[Any]:
        start = task.number * task.size
        streaming = self._streaming
        if streaming is None or streaming.epoch != task.epoch or streaming.position > start or task.number == 0:
            streaming = self._streaming = _Streaming(self.data, task.epoch)
        try:
            return streaming.take(start, task.size)
        except Exception as exc:
            self._streaming = None
            raise failed("reading", exc, streaming.position, task) from exc


class _Streaming:
    """A walk over an iterable: where it is, and the examples from a place on."""

    def __init__(self, data: Any, epoch: int) -> None:
        self.epoch, self.position, self._over = epoch, 0, False
        if hasattr(data, "set_epoch"):
            data.set_epoch(epoch)
        self._iterator = iter(data)

    def take(self, start: int, size: int) -> list[Any]:
        if self._over:
            return []
        skip = getattr(self._iterator, "skip", None)
        if skip is not None and start > self.position:
            skip(start - self.position)
            self.position = start
        examples: list[Any] = []
        for example in self._iterator:
            self.position += 1
            if self.position > start:
                examples.append(example)
                if len(examples) == size:
                    return examples
        self._over = True
        return examples


def failed(doing: str, exc: BaseException, index: Any, task: Task) -> ExampleError:
    """The error to raise for ``exc``, which ``doing`` something with example(s) ``index`` has raised."""
    shown = f"example {index}" if isinstance(index, int) else f"examples {_brief(index)}"
    what = f"{type(exc).__name__}: {exc.message if isinstance(exc, LunarError) else exc}"
    message = f"{shown} (batch {task.number} of epoch {task.epoch}): {doing} failed with {what}"
    trace = "".join(traceback.format_exception(exc))
    error = ExampleError(message, index=index, epoch=task.epoch, batch=task.number, trace=trace)
    error.hint = getattr(exc, "hint", None)
    error.original = exc
    return error


def _brief(index: Any) -> str:
    if index is None:
        return "of a stream"
    listed = [str(i) for i in index[:4]]
    return ", ".join(listed) + (f", ... ({len(index)} of them)" if len(index) > 4 else "")


def _plain(ids: np.ndarray | None) -> Any:
    return None if ids is None else ids.tolist()


def _indexes_many(data: Any) -> bool:
    while isinstance(data, Subset):
        data = data.dataset
    return isinstance(data, Dataset) and not isinstance(data, ExampleDataset)


def _wants_generator(transform: Callable[..., Any] | None) -> bool:
    """Whether ``transform`` has a second positional parameter that must be given or is called ``rng``."""
    if transform is None:
        return False
    try:
        parameters = list(inspect.signature(transform).parameters.values())
    except (TypeError, ValueError):
        return False
    placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(placed) > 1 and (placed[1].default is placed[1].empty or placed[1].name == "rng")


def check_ids(ids: np.ndarray, n: int) -> None:
    """Whether the ids of a batch are those of examples; :class:`IndexingError` if not."""
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= n):
        wrong = ids[(ids < 0) | (ids >= n)]
        raise IndexingError(f"the sampler asks for example {int(wrong[0])}, the data has 0..{n - 1}")
