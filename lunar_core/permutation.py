"""Permutations that are computed by index: the millionth entry costs no more than the first."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from .errors import HyperparameterError, IndexingError
from .random import Stream, current_seed

TABLE = 1 << 16
"""Up to this size a permutation is drawn at once, uniformly from all; that takes under a millisecond."""

_ROUNDS = 8
_BLOCK = 1 << 14  # entries computed together, so that the scratch arrays stay in the cache
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Permutation:
    """0..n-1 in an order that ``generator`` decides; indexing gives entries as int64 (an int for an int).

    Sets of up to :data:`TABLE` examples get a uniformly drawn permutation, ``generator.permutation(n)``. Larger ones get a
    keyed bijection that needs no table: a Feistel network of eight rounds over the smallest power of two that holds n,
    and entries that fall outside of 0..n-1 walk on through it until they are inside (fewer than two walks on average).
    The rounds' keys are the generator's first draws; their function is the finaliser of SplitMix64.

    Source: M. Luby and C. Rackoff, "How to construct pseudorandom permutations from pseudorandom functions", SIAM J.
    Comput. 17(2), 1988; the walk is that of J. Black and P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA
    2002. This is no cipher: nobody is kept from guessing the order.

    Raises:
        HyperparameterError: n is negative or not below 2^62.
        IndexingError: an index outside of -n..n-1.
    """

    __slots__ = ("_keys", "_low", "_table", "_top", "n")

    def __init__(self, n: int, generator: np.random.Generator) -> None:
        if not 0 <= n < 1 << 62:
            raise HyperparameterError(f"a permutation has 0 to 2^62 entries, got {n}")
        self.n = n
        self._table = generator.permutation(n) if n <= TABLE else None
        bits = max(n - 1, 1).bit_length()
        self._low = bits // 2
        self._top = bits - self._low
        self._keys = (
            generator.integers(0, 1 << 64, _ROUNDS, np.uint64) if self._table is None else np.empty(0, np.uint64)
        )

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, where: int) -> int: ...
    @overload
    def __getitem__(self, where: slice | np.ndarray) -> np.ndarray: ...
    def __getitem__(self, where: Any) -> Any:
        if self._table is not None:
            try:
                entries = self._table[where]
            except IndexError as exc:
                raise IndexingError(f"a permutation of {self.n}: {exc}") from exc
            return entries if isinstance(entries, np.ndarray) else int(entries)
        if isinstance(where, slice):
            return self._entries(np.arange(*where.indices(self.n), dtype=np.int64))
        places = np.asarray(where, np.int64)
        if places.size and (int(places.min()) < -self.n or int(places.max()) >= self.n):
            raise IndexingError(f"a permutation of {self.n}: index {where!r} is out of range")
        places = np.where(places < 0, places + self.n, places)
        return self._entries(places) if places.ndim else int(self._entries(places.reshape(1))[0])

    def _entries(self, places: np.ndarray) -> np.ndarray:
        flat = places.reshape(-1)
        made = np.empty(flat.shape, np.int64)
        for start in range(0, flat.size, _BLOCK):
            block = self._network(flat[start : start + _BLOCK].astype(np.uint64))
            outside = np.flatnonzero(block >= self.n)
            while outside.size:
                block[outside] = walked = self._network(block[outside])
                outside = outside[walked >= self.n]
            made[start : start + _BLOCK] = block
        return made.reshape(places.shape)

    def _network(self, x: np.ndarray) -> np.ndarray:
        """The bijection on 0..2^bits-1; the two halves take turns in being changed by a function of the other."""
        low, top = np.uint64(self._low), np.uint64(self._top)
        sixty_four = np.uint64(64)
        left, right = x >> low, x & ((np.uint64(1) << low) - np.uint64(1))
        for i, key in enumerate(self._keys):
            changed, by, width = (left, right, top) if i % 2 == 0 else (right, left, low)
            z = by + key
            z *= _MIX[0]
            z ^= z >> np.uint64(29)
            z *= _MIX[1]
            z >>= sixty_four - width
            changed ^= z
        return (left << low) | right


def shuffled(n: int, epoch: int, seed: int | None = None) -> Permutation:
    """The order in which ``n`` examples are taken in ``epoch``: a function of (seed, "shuffle", epoch) and n alone.

    ``seed`` is by default the one in force. Everything that shuffles examples does it by this rule.
    """
    return Permutation(n, Stream("shuffle", current_seed() if seed is None else seed).at(epoch))
