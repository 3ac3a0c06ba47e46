"""Which examples an epoch takes, in which order.

A sampler is asked for the order of one epoch under one seed and gives something that is indexed by position, so that a
loader can begin anywhere. None keeps a state: the same (seed, epoch) gives the same order for ever.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from lunar_core.component import hyperparameter_error
from lunar_core.errors import DataError
from lunar_core.permutation import shuffled
from lunar_core.random import Stream


class Order(Protocol):
    """The ids of one epoch by position: an int64 array, or something that computes them when it is indexed."""

    def __len__(self) -> int: ...

    def __getitem__(self, where: Any) -> Any: ...


class Plan:
    """The batches of an epoch: ``plan[b]`` is the int64 ids of batch b. ``first(b)`` is its first position in the epoch."""

    def __init__(self, order: Order, batch_size: int, drop_last: bool) -> None:
        self.order, self.batch_size = order, batch_size
        n = len(order)
        self._count = n // batch_size if drop_last else -(-n // batch_size)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, batch: int) -> np.ndarray:
        start = batch * self.batch_size
        return np.asarray(self.order[slice(start, start + self.batch_size)], np.int64)

    def first(self, batch: int) -> int:
        return batch * self.batch_size


class BatchPlan(Plan):
    """Batches that were made beforehand: ``ids`` cut at ``ends``, taken in the order ``turns``."""

    def __init__(self, ids: np.ndarray, ends: np.ndarray, turns: np.ndarray) -> None:
        self.ids, self.turns = ids, turns
        self._starts, self._ends = np.concatenate([[0], ends[:-1]]).astype(np.int64), ends

    def __len__(self) -> int:
        return len(self.turns)

    def __getitem__(self, batch: int) -> np.ndarray:
        turn = self.turns[batch]
        return self.ids[self._starts[turn] : self._ends[turn]]

    def first(self, batch: int) -> int:
        return int(self._starts[self.turns[batch]])


class Sampler:
    """Base of samplers: a subclass gives :meth:`order`, or :meth:`plan` if it decides on the batches as well.

    ``n`` is the number of examples that there are, ``size`` how many an epoch takes.
    """

    #: Whether an epoch may take an example more than once. Augmentation is then keyed by the position in the epoch,
    #: so that each time looks different.
    repeats: bool = False

    def __init__(self, n: int, size: int | None = None) -> None:
        self.n = _count(type(self).__name__, "n", n)
        self.size = self.n if size is None else _count(type(self).__name__, "size", size)

    def order(self, epoch: int, seed: int) -> Order:
        """The ids of ``epoch``, of length ``size``."""
        raise NotImplementedError(f"{type(self).__name__} must define order")

    def plan(self, epoch: int, seed: int, batch_size: int, drop_last: bool) -> Plan:
        """The batches of ``epoch``."""
        return Plan(self.order(epoch, seed), batch_size, drop_last)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n={self.n}, size={self.size})"


class Sequential(Sampler):
    """All examples in their own order."""

    def order(self, epoch: int, seed: int) -> Order:
        return _Range(self.n)


class Random(Sampler):
    """All examples once, in the order of :func:`lunar_core.permutation.shuffled`; seeking to a place costs nothing."""

    def order(self, epoch: int, seed: int) -> Order:
        return shuffled(self.n, epoch, seed)


class Given(Sampler):
    """The examples ``ids``, shuffled anew each epoch unless ``shuffle=False``."""

    def __init__(self, ids: Any, shuffle: bool = True) -> None:
        array = np.asarray(ids)
        if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size or int(array.min()) < 0:
            raise hyperparameter_error(self.__class__, "ids", ids, "a list of indices >= 0")
        super().__init__(int(array.max()) + 1, array.size)
        self.ids, self.shuffle = array.astype(np.int64), shuffle
        self.repeats = len(np.unique(array)) < len(array)

    def order(self, epoch: int, seed: int) -> Order:
        return self.ids[shuffled(self.size, epoch, seed)[:]] if self.shuffle else self.ids


class Weighted(Sampler):
    """Examples by chance, each with a probability proportional to its weight.

    - ``weights`` (n,): >= 0, with a finite sum > 0.
    - ``size``: draws in an epoch; default n.
    - ``replacement``: with it (default), each draw is independent of the others, and any place of an epoch is found
      without the draws before it. Without it, examples are drawn one after the other from those that are left, by
      the exponential keys of P. Efraimidis and P. Spirakis, "Weighted random sampling with a reservoir", Information
      Processing Letters 97(5), 2006; ``size`` may then not exceed the number of weights > 0.
    """

    def __init__(self, weights: Any, size: int | None = None, replacement: bool = True) -> None:
        array = np.asarray(weights, np.float64)
        if array.ndim != 1 or not array.size or not (array >= 0).all() or not 0 < float(array.sum()) < math.inf:
            raise hyperparameter_error(self.__class__, "weights", weights, "one number >= 0 per example, not all zero")
        super().__init__(len(array), size)
        if not replacement:
            positive = int(np.count_nonzero(array))
            if size is None:
                self.size = positive
            elif size > positive:
                raise hyperparameter_error(
                    self.__class__, "size", size, f"at most {positive}, the number of positive weights"
                )
        self.weights, self.repeats = array, replacement
        self._sums = np.cumsum(array)

    def order(self, epoch: int, seed: int) -> Order:
        if self.repeats:
            return _Draws(self._sums, self.size, epoch, seed)
        generator = Stream("sample", seed).at(epoch << 64)
        with np.errstate(divide="ignore"):
            keys = generator.standard_exponential(self.n) / self.weights
        first = np.argpartition(keys, self.size - 1)[: self.size]
        return first[np.argsort(keys[first], kind="stable")]


class Stratified(Sampler):
    """All examples once, with the classes spread evenly: every run of examples has nearly the shares of the whole.

    ``labels`` (n,) are class indices or any values that can be told apart. Member j of the n_c of a class is due at
    (j + 1/2) / n_c of the epoch, equal times in random order, members of a class in random order. So among the first k
    examples the number of class c differs from k n_c / n by at most 1/2 + C n_c / (2 n) with C classes.
    """

    def __init__(self, labels: Any) -> None:
        self.labels, self._members = _by_class(type(self).__name__, labels)
        super().__init__(len(self.labels))

    def order(self, epoch: int, seed: int) -> Order:
        generator = Stream("sample", seed).at(epoch << 64)
        ids = np.concatenate([generator.permutation(members) for members in self._members])
        due = np.concatenate([(np.arange(len(m)) + 0.5) / len(m) for m in self._members])
        return ids[np.lexsort((generator.random(self.n), due))]


class ClassBalanced(Sampler):
    """Every class equally often, however rare it is.

    Classes take turns in rounds, in a new random order each round; a class hands out its members in random order and,
    when all had their turn, anew in another. ``size`` is how many examples an epoch takes; default n.
    """

    repeats = True

    def __init__(self, labels: Any, size: int | None = None) -> None:
        self.labels, self._members = _by_class(type(self).__name__, labels)
        super().__init__(len(self.labels), size)

    def order(self, epoch: int, seed: int) -> Order:
        generator = Stream("sample", seed).at(epoch << 64)
        classes = len(self._members)
        rounds = -(-self.size // classes)
        turns = generator.permuted(np.tile(np.arange(classes), (rounds, 1)), axis=1)
        table = np.empty((rounds, classes), np.int64)
        for c, members in enumerate(self._members):
            again = np.tile(members, (-(-rounds // len(members)), 1))
            table[:, c] = generator.permuted(again, axis=1).reshape(-1)[:rounds]
        return np.take_along_axis(table, turns, axis=1).reshape(-1)[: self.size]


class BucketByLength(Sampler):
    """Batches of examples of similar length, so that little is padded.

    The examples are shuffled and cut into pools of ``pool`` batches; each pool is sorted by length (equal lengths stay
    shuffled) and cut into batches, and all batches are taken in random order. With ``max_tokens``, a batch ends before its
    number of examples times its longest length would pass that number, or when it has ``batch_size`` examples.

    - ``lengths`` (n,): int >= 0.
    - ``pool``: batches per pool, default 100; 1 is no sorting across batches.
    - ``max_tokens``: default no limit. An example that is longer is a batch of its own.

    ``drop_last`` leaves out the batches with fewer than ``batch_size`` examples; with ``max_tokens`` it has no effect.
    """

    def __init__(self, lengths: Any, pool: int = 100, max_tokens: int | None = None) -> None:
        array = np.asarray(lengths)
        if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size or int(array.min()) < 0:
            raise hyperparameter_error(self.__class__, "lengths", lengths, "one int >= 0 per example")
        super().__init__(len(array))
        self.lengths = array.astype(np.int64)
        self.pool = _count("BucketByLength", "pool", pool)
        self.max_tokens = None if max_tokens is None else _count("BucketByLength", "max_tokens", max_tokens)

    def plan(self, epoch: int, seed: int, batch_size: int, drop_last: bool) -> Plan:
        order = shuffled(self.n, epoch, seed)[:]
        pools = np.arange(self.n) // (self.pool * batch_size)
        ids = order[np.lexsort((self.lengths[order], pools))]
        if self.max_tokens is None:
            full = np.arange(batch_size, self.n + 1, batch_size)
            ends = full if drop_last or self.n % batch_size == 0 else np.append(full, self.n)
        else:
            ends = self._ends(self.lengths[ids], pools, batch_size)
        return BatchPlan(ids, ends, shuffled(len(ends), epoch, seed)[:])

    def _ends(self, lengths: np.ndarray, pools: np.ndarray, batch_size: int) -> np.ndarray:
        ends, start, longest, limit = [], 0, 0, self.max_tokens or 0
        for i, (length, pool) in enumerate(zip(lengths.tolist(), pools.tolist())):
            longest = max(longest, length)
            if i > start and ((i - start + 1) * longest > limit or i - start == batch_size or pool != pools[start]):
                ends.append(i)
                start, longest = i, length
        return np.array([*ends, len(lengths)], np.int64)

    def __repr__(self) -> str:
        return f"BucketByLength(n={self.n}, pool={self.pool}, max_tokens={self.max_tokens})"


class Shard(Sampler):
    """The part of another sampler's epoch that process ``rank`` of ``world`` takes.

    Position p of the whole belongs to process p mod ``world``; of a sampler that makes batches itself, batch b belongs
    to process b mod ``world``. All processes take equally many: what is missing at the end is taken again from the
    beginning, or with ``drop=True`` what is left over is left out. All of them need the same seed.
    """

    def __init__(self, sampler: Sampler, rank: int, world: int, drop: bool = False) -> None:
        self.sampler, self.world, self.drop = sampler, _count("Shard", "world", world), drop
        if not isinstance(rank, int) or not 0 <= rank < world:
            raise hyperparameter_error("Shard", "rank", rank, f"in 0..{world - 1}")
        self.rank = rank
        super().__init__(sampler.n, self._share(sampler.size))
        self.repeats = sampler.repeats

    def _share(self, total: int) -> int:
        share = total // self.world if self.drop else -(-total // self.world)
        if not share:
            raise DataError(f"Shard: {total} parts for {self.world} processes leave some with nothing")
        return share

    def _places(self, total: int) -> np.ndarray:
        return (np.arange(self._share(total)) * self.world + self.rank) % total

    def order(self, epoch: int, seed: int) -> Order:
        return _Strided(self.sampler.order(epoch, seed), self.rank, self.world, self.size)

    def plan(self, epoch: int, seed: int, batch_size: int, drop_last: bool) -> Plan:
        whole = self.sampler.plan(epoch, seed, batch_size, drop_last)
        if not isinstance(whole, BatchPlan):
            return super().plan(epoch, seed, batch_size, drop_last)
        whole.turns = whole.turns[self._places(len(whole))]
        return whole

    def __repr__(self) -> str:
        return f"Shard({self.sampler!r}, rank={self.rank}, world={self.world}, drop={self.drop})"


# -- orders that are computed ------------------------------------------------------------------------------------------


class _Range:
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, where: Any) -> Any:
        return np.arange(*where.indices(self.n), dtype=np.int64) if isinstance(where, slice) else where


class _Strided:
    """Every ``world``-th entry of another order, from ``rank`` on; past its end it begins again."""

    def __init__(self, order: Order, rank: int, world: int, size: int) -> None:
        self.order, self.rank, self.world, self.size = order, rank, world, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, where: Any) -> Any:
        places = np.arange(*where.indices(self.size)) if isinstance(where, slice) else where
        return self.order[(places * self.world + self.rank) % len(self.order)]


class _Draws:
    """Independent draws; those of one block come from one generator, so any place is reached through one block."""

    BLOCK = 4096

    def __init__(self, sums: np.ndarray, size: int, epoch: int, seed: int) -> None:
        self.sums, self.size = sums, size
        self.stream, self.base = Stream("sample", seed), epoch << 64
        self._block, self._values = -1, np.empty(0)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, where: Any) -> Any:
        places = np.arange(*where.indices(self.size)) if isinstance(where, slice) else np.asarray(where)
        blocks, offsets = np.divmod(places, self.BLOCK)
        points = np.empty(places.shape)
        for block in np.unique(blocks):
            if block != self._block:
                self._block, self._values = int(block), self.stream.at(self.base + int(block)).random(self.BLOCK)
            here = blocks == block
            points[here] = self._values[offsets[here]]
        # side="right" never gives an example of weight 0; the product may round up to the sum itself
        found = np.searchsorted(self.sums, points * self.sums[-1], side="right")
        return np.minimum(found, np.searchsorted(self.sums, self.sums[-1]))


# -- checks ------------------------------------------------------------------------------------------------------------


def _count(owner: str, name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise hyperparameter_error(owner, name, value, "an int > 0")
    return int(value)


def _by_class(owner: str, labels: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """``labels`` and the indices of the members of each class."""
    array = np.asarray(labels)
    if array.ndim != 1 or not array.size:
        raise hyperparameter_error(owner, "labels", labels, "one class per example")
    _, where = np.unique(array, return_inverse=True)
    order = np.argsort(where, kind="stable")
    return array, np.split(order, np.flatnonzero(np.diff(where[order])) + 1)
