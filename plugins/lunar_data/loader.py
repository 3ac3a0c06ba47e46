"""The loader: batches of a data set, in an order that can be entered anywhere, made by any number of processes."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lunar_core.component import hyperparameter_error
from lunar_core.errors import DataError, StateError
from lunar_core.random import current_seed

from .collate import Stack
from .device import Raw, way_to
from .fetch import Fetcher, Task, as_data, check_ids
from .samplers import Given, Plan, Random, Sampler, Sequential
from .workers import CLOSED, Pool


class Loader:
    """Iterates over a data set in batches: each ``for batch in loader`` is one epoch.

    ::

        loader = Loader((x, y), batch_size=64, shuffle=True, workers=2)
        for x, y in loader: ...

    A batch has the structure of an example (tuples, lists, dicts) with Tensors as leaves, whose first axis counts the
    examples; text and other objects become lists. What an epoch gives depends on the seed, the epoch's number and the
    arguments below ``workers`` do not touch, never on how many workers there are or where it was entered.

    - ``data``: arrays of one length (a tuple or dict of them, or one), a Dataset, anything with a length and indexing,
      or an iterable, which is taken in its own order.
    - ``shuffle``: the order of :func:`lunar_core.permutation.shuffled`, new in each epoch. Short for
      ``sampler=Random(len(data))``.
    - ``sampler``: a :class:`~lunar_data.samplers.Sampler`, or a list of indices, taken in that order.
    - ``drop_last``: leave out a last batch that is not full.
    - ``transform``: applied to each example: ``transform(example, rng)`` or ``transform(example)``, where ``rng`` is the
      NumPy generator of (seed, epoch, index of the example), that of
      :func:`~lunar_core.contracts.transform.example_generator`; for samplers that repeat examples the position in the
      epoch takes the place of the index. A :class:`~lunar_core.contracts.transform.Transform` works on whole batches where
      it can.
    - ``batch_transform``: the same for a whole batch after collation; ``rng`` is that of (seed, epoch, batch).
    - ``collate``: makes a batch of a list of examples; default :class:`~lunar_data.collate.Stack`, for uneven shapes
      :class:`~lunar_data.collate.Pad`.
    - ``seed``: default, the seed in force when an epoch begins.
    - ``workers``: processes that read, transform and collate; 0 (default) does it here. They are started by the first
      epoch and live until :meth:`close`, the end of a ``with`` block or of the loader. Batches come through memory that
      both sides see. Each worker computes with one thread. What draws from NumPy's, Python's or LunarLearn's own generators
      instead of from ``rng`` finds them seeded by (seed, epoch, batch) in a worker; with ``workers=0`` they are left alone.
    - ``prefetch``: batches that each worker makes ahead, default 2.
    - ``start``: how workers are started, ``"fork"``, ``"spawn"`` or ``"forkserver"``. Default: fork on Linux, where data
      sets and transforms need not be picklable, else spawn.
    - ``timeout``: seconds to wait for a batch before :class:`~lunar_data.errors.WorkerError`; default for ever.
    - ``device``: where the Tensors are to be, ``"cuda:0"`` for example: copies to a GPU go on beside the computation, one
      batch ahead. Default: the host.

    A data set that is indexed by many at once (``Dataset``, arrays) is asked for whole batches when ``transform`` is none or
    a Transform and there is no ``collate``.

    Raises:
        ExampleError: an example could not be read, transformed or collated; it names the index and carries the original
            exception and, from a worker, its traceback. The workers are ended.
        WorkerError: a worker was killed or timed out. The other workers are ended.
        DataError: the data or the arguments cannot be used.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        sampler: Any = None,
        drop_last: bool = False,
        transform: Callable[..., Any] | None = None,
        batch_transform: Callable[..., Any] | None = None,
        collate: Callable[..., Any] | None = None,
        seed: int | None = None,
        workers: int = 0,
        prefetch: int = 2,
        start: str | None = None,
        timeout: float | None = None,
        device: str | None = None,
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("workers", workers, 0), ("prefetch", prefetch, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise hyperparameter_error("Loader", name, value, f"an int >= {least}")
        if start not in (None, "fork", "spawn", "forkserver"):
            raise hyperparameter_error("Loader", "start", start, "'fork', 'spawn' or 'forkserver'")
        self.data = as_data(data)
        self.batch_size, self.drop_last, self.seed, self.device = batch_size, drop_last, seed, device
        self.workers, self.prefetch, self.timeout = workers, prefetch, timeout
        self.start = start or ("fork" if sys.platform == "linux" else "spawn")
        self._fetcher = Fetcher(self.data, transform, batch_transform, collate or Stack())
        self.sampler = self._sampler(shuffle, sampler)
        self._way: Raw | None = None
        self._pool: Pool | None = None
        self._stop: Callable[[], Any] = lambda: None
        self._place: _Place | None = None  # of the latest pass, while that goes on
        self._epoch = self._start = 0  # where the next pass begins

    def _sampler(self, shuffle: bool, sampler: Any) -> Sampler | None:
        if not self._fetcher.indexed:
            if shuffle or sampler is not None:
                raise DataError(
                    "the order of an iterable is its own: shuffle and sampler need data with a length and indexing",
                    hint="lunar_data.ShuffleBuffer(data, 1000) shuffles a stream",
                )
            if self.workers and iter(self.data) is self.data:
                raise DataError(
                    f"a {type(self.data).__name__} can be walked only once, and each worker walks by itself",
                    hint="an object whose __iter__ begins anew (lunar_core's IterableDataset), or workers=0",
                )
            return None
        n = len(self.data)
        if not n:
            raise DataError("there are no examples to load")
        if sampler is None:
            return Random(n) if shuffle else Sequential(n)
        if shuffle:
            raise DataError("shuffle=True and a sampler both decide on the order", hint="leave shuffle out")
        made = sampler if isinstance(sampler, Sampler) else Given(sampler, shuffle=False)
        if made.n > n:
            raise DataError(f"{made!r} is for {made.n} examples, the data has {n}")
        return made

    # -- iteration -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Batches in an epoch. For an iterable without a length, TypeError."""
        if self.sampler is not None:
            return len(self.plan(self.epoch))
        n = len(self.data)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    @property
    def examples(self) -> int:
        """Examples in an epoch, the incomplete batch included. For an iterable without a length, TypeError."""
        return len(self.data) if self.sampler is None else self.sampler.size

    @property
    def epoch(self) -> int:
        """The epoch that the next ``for`` runs; it grows by one when an epoch has been run to its end."""
        return self._epoch

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """Let the next ``for`` run ``epoch``, from ``batch`` on; nothing before it is read."""
        if epoch < 0 or batch < 0:
            raise hyperparameter_error("Loader", "epoch and batch", (epoch, batch), ">= 0")
        self._epoch, self._start, self._place = epoch, batch, None

    def plan(self, epoch: int) -> Plan:
        """Which examples make up which batch of ``epoch``: ``loader.plan(3)[10]`` is the ids of a batch."""
        if self.sampler is None:
            raise DataError("an iterable has no plan: its order is its own")
        return self.sampler.plan(epoch, self._seed(), self.batch_size, self.drop_last)

    def _seed(self) -> int:
        return current_seed() if self.seed is None else self.seed

    def __iter__(self) -> Iterator[Any]:
        """The batches of epoch :attr:`epoch` as Tensors, from its start, or from where ``load_state`` has put it.

        An epoch that was left before its end is run again.
        """
        if self._way is None:
            self._way = way_to(self.device)
        return self._begun(self._way, None)

    def batches(self, order: Any = None) -> Batches:
        """What ``iter(loader)`` gives, with raw arrays on the host.

        ``order``: indices to take in this pass instead of those of the sampler, cut in batches of ``batch_size``.
        """
        return self._begun(Raw(), order)

    def _begun(self, way: Raw, order: Any) -> Batches:
        self._place = _Place(self._epoch, self._start, self._seed())
        self._start = 0
        return Batches(self, self._place, way, order)

    # -- state ---------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Where the loader is, as plain data: the batches given so far of the current epoch, and what they depend on."""
        place = self._place or _Place(self._epoch, self._start, self._seed())
        return {"epoch": place.epoch, "batch": place.number, "seed": place.seed, "plan": self._described()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on behind the last batch that was given when :meth:`state` was asked; any number of workers will do.

        If the seed in force is not that of the state, the latter becomes ``seed``.

        Raises :class:`StateError` if the data's size, the sampler or the batches are others.
        """
        try:
            epoch, batch, seed, plan = int(state["epoch"]), int(state["batch"]), int(state["seed"]), state["plan"]
        except (KeyError, TypeError, ValueError) as exc:
            raise StateError(f"not a loader's state: {state!r}", hint="expected what Loader.state() gives") from exc
        if plan != self._described():
            raise StateError(f"the state is that of another loader: {plan}; this one has {self._described()}")
        self.set_epoch(epoch, batch)
        if seed != self._seed():
            self.seed = seed

    def _described(self) -> str:
        order = "its own order" if self.sampler is None else repr(self.sampler)
        return f"{order}, batch_size={self.batch_size}, drop_last={self.drop_last}"

    # -- workers -------------------------------------------------------------------------------------------------------

    def _workers(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(self._fetcher, self.workers, self.prefetch, self.start, self.timeout)
            self._stop = weakref.finalize(self, self._pool.close)
        return self._pool

    def close(self) -> None:
        """End the workers. The next epoch starts new ones."""
        self._pool = None
        self._stop()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"Loader({type(self.data).__name__}, batch_size={self.batch_size}, "
            f"{'' if self.sampler is None else f'sampler={self.sampler!r}, '}workers={self.workers})"
        )


class _Place:
    """Where a pass is. The loader knows this and not the pass itself, so that neither keeps the other alive."""

    __slots__ = ("epoch", "number", "seed")

    def __init__(self, epoch: int, number: int, seed: int) -> None:
        self.epoch, self.number, self.seed = epoch, number, seed


class Batches:
    """One pass over the batches of an epoch.

    ``ids`` (int64) are the examples of the batch that was given last; for an iterable, whose examples have no ids, None.
    With workers, a loader serves one pass at a time.
    """

    def __init__(self, loader: Loader, place: _Place, way: Raw, order: Any) -> None:
        self.ids: np.ndarray | None = None
        self._place = place
        self._loader: Loader | None = loader
        self._way = way
        self._ahead: tuple[Task, Any] | None = None  # the next batch, where it is on its way to the device
        self._plan = loader.plan(place.epoch) if loader.sampler is not None else None
        if order is not None and self._plan is not None:
            self._plan = Plan(np.asarray(order, np.int64), loader.batch_size, loader.drop_last)
        self._last = sys.maxsize if self._plan is None else len(self._plan)
        self._offered = place.number
        self._tasks: dict[int, Task] = {}
        self._pool = loader._workers() if loader.workers else None
        if self._pool is not None:
            self._generation = self._pool.begin()

    @property
    def number(self) -> int:
        """How many of the epoch's batches are behind it."""
        return self._place.number

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Any:
        loader = self._loader
        if loader is None:
            raise StopIteration
        if self._pool is not None and self._generation != self._pool.generation:
            if self._pool.generation == CLOSED:
                raise DataError("the loader was closed in the middle of this pass")
            raise DataError(
                "another pass over this loader has begun, and its workers serve one at a time",
                hint="a loader for each of two passes that go on side by side",
            )
        try:
            found = self._ahead or self._begin(loader, self.number)
            if found is None:
                self._end(loader)
                raise StopIteration
            self._ahead = None
            task, moving = found
            batch = self._way.end(moving)
            self._place.number += 1
            self.ids = task.ids
            if self._way.ahead and self._pool is not None and self._pool.ready(self._tasks.get(self.number)):
                self._ahead = self._begin(loader, self.number)
        except StopIteration:
            raise
        except BaseException:
            self._loader = None
            loader.close()
            raise
        return batch

    def _begin(self, loader: Loader, number: int) -> tuple[Task, Any] | None:
        """Batch ``number``, on its way to the device; None if there is none."""
        if number >= self._last:
            return None
        if self._pool is None:
            task = self._task(loader, number)
            batch = loader._fetcher.batch(task)
        else:
            self._offer(loader, self._pool)
            task = self._tasks.pop(number)
            batch = self._pool.result(task)
            self._offer(loader, self._pool)  # before the consumer goes to work, so that the worker has some
        return None if batch is None else (task, self._way.begin(batch))

    def _offer(self, loader: Loader, pool: Pool) -> None:
        while self._offered < self._last:
            task = self._tasks.get(self._offered) or self._task(loader, self._offered)
            self._tasks[self._offered] = task
            if not pool.offer(task):
                return
            self._offered += 1

    def _task(self, loader: Loader, number: int) -> Task:
        if self._plan is None or loader.sampler is None:
            least = loader.batch_size if loader.drop_last else 1
            return Task(self._place.epoch, number, self._place.seed, None, size=loader.batch_size, least=least)
        ids = self._plan[number]
        check_ids(ids, loader.sampler.n)
        first = self._plan.first(number) if loader.sampler.repeats else None
        return Task(self._place.epoch, number, self._place.seed, ids, first)

    def _end(self, loader: Loader) -> None:
        """The epoch is over: the next pass is that of the next epoch."""
        self._loader = None
        if loader._place is self._place:
            loader._epoch, loader._start, loader._place = self._place.epoch + 1, 0, None

    def close(self) -> None:
        """Give no more batches."""
        self._loader = self._ahead = None
