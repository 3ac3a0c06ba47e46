"""Dividing a data set: into parts of given shares, or into folds; by classes, by groups, or both. And weights of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lunar_core.component import hyperparameter_error
from lunar_core.contracts.dataset import Dataset, Subset, stratified_halves
from lunar_core.errors import DataError
from lunar_core.random import Stream


def split(
    data: Dataset,
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    stratify: Any = False,
    groups: Any = None,
    seed: int = 0,
) -> tuple[Subset, ...]:
    """``data`` in disjoint parts that together are the whole: ``train, val, test = split(data)``.

    See :func:`split_indices`; ``stratify=True`` takes the targets of ``data`` for the labels.
    """
    parts = split_indices(len(data), shares, stratify=_labels(data, stratify), groups=groups, seed=seed)
    return tuple(Subset(data, part) for part in parts)


def split_indices(
    n: int, shares: Sequence[float] = (0.8, 0.1, 0.1), *, stratify: Any = None, groups: Any = None, seed: int = 0
) -> list[np.ndarray]:
    """The indices 0..n-1 in disjoint shuffled parts.

    - ``shares``: of the whole, with the sum 1; or the numbers of examples, ints with the sum n. Sizes are rounded by
      largest remainder.
    - ``stratify`` (n,): labels; each label has in each part the share that it has in the whole, to within rounding. Each
      needs two members, each part an example for each label.
    - ``groups`` (n,): examples of one group are never divided among parts. Sizes (and with ``stratify`` the shares of
      labels) are then as near as the greedy rule of :func:`fold_indices` brings them.
    - ``seed``: the split's own; ``lc.seed`` has no part in it.

    Raises:
        HyperparameterError: shares that do not add up.
        DataError: a part would be empty, or labels or groups do not fit.
    """
    sizes = _sizes(n, shares)
    generator = Stream("split", seed).at(0)
    if groups is not None:
        members, counts = _grouped(n, groups, stratify)
        order = generator.permutation(len(members))
        parts = _distribute([members[g] for g in order], counts[order], np.array(sizes) / n)
        if not all(len(part) for part in parts):
            raise DataError(f"{len(members)} groups cannot fill {len(parts)} parts of shares {tuple(shares)}")
        return [generator.permutation(part) for part in parts]
    labels = None if stratify is None else _one_each(n, stratify, "stratify")
    left, parts = np.arange(n), []
    for size in reversed(sizes[1:]):
        if labels is None:
            left = generator.permutation(left)
            first, second = np.arange(len(left) - size), np.arange(len(left) - size, len(left))
        else:
            first, second = stratified_halves(labels[left], size, generator)
        parts.append(left[second])
        left = left[first]
    return [generator.permutation(left), *reversed(parts)]


def k_fold(
    data: Dataset, k: int = 5, *, stratify: Any = False, groups: Any = None, shuffle: bool = True, seed: int = 0
) -> list[tuple[Subset, Subset]]:
    """``k`` pairs (training part, held-out part) of ``data``; each example is held out once. See :func:`fold_indices`."""
    folds = fold_indices(len(data), k, stratify=_labels(data, stratify), groups=groups, shuffle=shuffle, seed=seed)
    rest = [np.sort(np.concatenate(folds[:i] + folds[i + 1 :])) for i in range(k)]
    return [(Subset(data, others), Subset(data, fold)) for others, fold in zip(rest, folds)]


def fold_indices(
    n: int, k: int = 5, *, stratify: Any = None, groups: Any = None, shuffle: bool = True, seed: int = 0
) -> list[np.ndarray]:
    """The indices 0..n-1 in ``k`` disjoint folds, each in ascending order.

    With ``shuffle=False`` they are those of scikit-learn: ``KFold`` (runs of equal length, the first n mod k one longer),
    with ``stratify`` ``StratifiedKFold``, with ``groups`` the rule of ``GroupKFold``, with both that of
    ``StratifiedGroupKFold``: groups are dealt out one by one, those with the most uneven labels (without labels, the
    largest) first, each to the fold that leaves the shares of the labels most even, among equals the smallest. With
    ``shuffle`` (default) members of a class, or groups of equal rank, come in random order. ``k=n`` leaves one out.

    Raises :class:`DataError` if there are fewer than k examples, groups or members of a class.
    """
    if not isinstance(k, int) or isinstance(k, bool) or k < 2:
        raise hyperparameter_error("k_fold", "k", k, "an int > 1")
    if n < k:
        raise DataError(f"{n} examples cannot make {k} folds")
    generator = Stream("folds", seed).at(0)
    if groups is not None:
        members, counts = _grouped(n, groups, stratify)
        if len(members) < k:
            raise DataError(f"{len(members)} groups cannot make {k} folds")
        if shuffle:
            order = generator.permutation(len(members))
            members, counts = [members[g] for g in order], counts[order]
        return _distribute(members, counts, np.full(k, 1 / k))
    if stratify is None:
        order = generator.permutation(n) if shuffle else np.arange(n)
        return [np.sort(fold) for fold in np.array_split(order, k)]
    labels = _one_each(n, stratify, "stratify")
    _, first, where = np.unique(labels, return_index=True, return_inverse=True)
    codes = np.argsort(np.argsort(first))[where]  # classes in the order in which they appear
    counts = np.bincount(codes)
    if counts.min() < k:
        raise DataError(
            f"the rarest of {len(counts)} classes has {counts.min()} member(s), which cannot make {k} folds"
        )
    in_order = np.sort(codes)
    quota = np.stack([np.bincount(in_order[i::k], minlength=len(counts)) for i in range(k)])  # (k, classes)
    fold_of = np.empty(n, np.int64)
    for c in range(len(counts)):
        folds = np.repeat(np.arange(k), quota[:, c])
        fold_of[codes == c] = generator.permutation(folds) if shuffle else folds
    return [np.flatnonzero(fold_of == i) for i in range(k)]


def class_weights(labels: Any, n_classes: int | None = None, *, beta: float | None = None) -> np.ndarray:
    """A weight for each class, float64 (n_classes,), that makes rare classes count as much as others.

    By default n / (n_classes n_c), scikit-learn's ``"balanced"``: the mean weight over the examples is 1. With ``beta`` in
    [0, 1) proportional to (1 - beta) / (1 - beta^n_c), the inverse effective number of samples of Y. Cui et al.,
    arXiv:1901.05555, with sum ``n_classes``. ``labels`` (n,) are class indices.

    Raises :class:`DataError` for a class without examples, which has no weight, and for labels that are no indices.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iub" or not array.size or int(array.min()) < 0:
        raise DataError(
            f"class weights need class indices >= 0, one per example, got {array.dtype} of shape {array.shape}"
        )
    counts = np.bincount(array.astype(np.int64), minlength=n_classes or 0)
    if n_classes is not None and len(counts) > n_classes:
        raise DataError(f"there is a class {len(counts) - 1}, but n_classes={n_classes}")
    if not counts.all():
        raise DataError(f"class(es) {np.flatnonzero(counts == 0).tolist()} have no example and so no weight")
    if beta is None:
        return array.size / (len(counts) * counts)
    if not 0 <= beta < 1:
        raise hyperparameter_error("class_weights", "beta", beta, "in [0, 1)")
    weights = (1 - beta) / -np.expm1(counts * math.log(beta)) if beta else np.ones(len(counts))
    return weights * len(counts) / weights.sum()


# -- inside ------------------------------------------------------------------------------------------------------------


def _labels(data: Dataset, stratify: Any) -> Any:
    if isinstance(stratify, bool) or stratify is None:
        return data.targets() if stratify else None
    return stratify


def _one_each(n: int, values: Any, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.shape != (n,) or array.dtype.kind not in "iubUS":
        raise DataError(
            f"{name}: expected one label for each of {n} examples, got {array.dtype} of shape {array.shape}"
        )
    return array


def _sizes(n: int, shares: Sequence[float]) -> list[int]:
    whole = all(isinstance(s, (int, np.integer)) and not isinstance(s, bool) for s in shares)
    if len(shares) < 2 or any(not s > 0 for s in shares) or abs(sum(shares) - (n if whole else 1)) > 1e-6:
        raise hyperparameter_error(
            "split", "shares", tuple(shares), f"two or more numbers > 0 with the sum 1, or ints with the sum {n}"
        )
    if whole:
        return [int(s) for s in shares]
    exact = [round(s * n, 9) for s in shares]
    sizes = [math.floor(e) for e in exact]
    for i in sorted(range(len(sizes)), key=lambda i: sizes[i] - exact[i])[: n - sum(sizes)]:
        sizes[i] += 1
    if not all(sizes):
        raise DataError(f"{n} examples in shares {tuple(shares)} leave a part with nothing")
    return sizes


def _grouped(n: int, groups: Any, stratify: Any) -> tuple[list[np.ndarray], np.ndarray]:
    """The members of each group, and how many of them have each label (groups, labels)."""
    _, which = np.unique(_one_each(n, groups, "groups"), return_inverse=True)
    codes = np.zeros(n, np.int64)
    if stratify is not None:
        _, codes = np.unique(_one_each(n, stratify, "stratify"), return_inverse=True)
    counts = np.zeros((which.max() + 1, codes.max() + 1), np.int64)
    np.add.at(counts, (which, codes), 1)
    order = np.argsort(which, kind="stable")
    return np.split(order, np.cumsum(counts.sum(axis=1))[:-1]), counts


def _distribute(members: list[np.ndarray], counts: np.ndarray, shares: np.ndarray) -> list[np.ndarray]:
    """Whole groups dealt out to parts of the given shares."""
    totals = counts.sum(axis=0)
    rank = np.std(counts, axis=1) if counts.shape[1] > 1 else counts[:, 0]
    filled = np.zeros((len(shares), len(totals)))
    part_of = np.empty(len(members), np.int64)
    for g in np.argsort(-rank, kind="stable"):
        best, best_score, best_size = -1, math.inf, math.inf
        for p in range(len(shares)):
            filled[p] += counts[g]
            scaled = filled / totals
            off = scaled - shares[:, None] * scaled.sum(axis=0)
            score = float(np.sqrt((off * off).mean(axis=0)).mean())
            filled[p] -= counts[g]
            size = float(filled[p].sum() / shares[p])
            # equal but for rounding: the smaller part, then the first
            tied = math.isclose(score, best_score, rel_tol=1e-5)
            if (score < best_score and not tied) or (tied and size < best_size):
                best, best_score, best_size = p, score, size
        part_of[g] = best
        filled[best] += counts[g]
    return [
        np.sort(np.concatenate([m for m, p in zip(members, part_of) if p == i] or [np.empty(0, np.int64)]))
        for i in range(len(shares))
    ]
