"""What the metrics of generated text share: how examples become token sequences, and sequence comparisons."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError
from lunar_core.tensor import Tensor

Tokens = list[Hashable]


class TextMetric(Metric):
    """Base of metrics that compare predicted with true texts; a subclass defines :meth:`compare`.

    ``pred`` is a list with one text per example: a string, cut at white space, or a sequence of tokens (strings or
    integers), or an integer array (N, T) with one row per example. ``target`` is a list of the same length with the
    true text of each in the same form, or, where a metric takes several references, a list of those. Tokens from the
    first ``pad`` on are dropped. ``weight`` is one number per example and counts as that many copies of it.
    """

    references: ClassVar[bool] = False  # whether an example may have several true texts

    lowercase: bool = field(default=False, kw_only=True, doc="compare strings in lower case")
    pad: int | None = field(default=None, kw_only=True, doc="token index that ends a sequence, such as padding")

    def compare(self, pred: Tokens, targets: list[Tokens], weight: float) -> None:
        """Add one example to the totals."""
        raise NotImplementedError(f"{type(self).__name__} must define compare")

    def update(self, pred: Any, target: Any, weight: Any = None) -> None:
        """Add a batch of texts.

        Raises:
            DataError: the batch does not fit the metric; the totals stay as they were.
        """
        name = type(self).__name__
        preds, targets = _examples(name, pred), _examples(name, target)
        if len(preds) != len(targets):
            raise DataError(f"{name}: {len(preds)} predicted texts for {len(targets)} true ones")
        weights = [1.0] * len(preds) if weight is None else _host(weight).astype(np.float64).tolist()
        if not isinstance(weights, list) or len(weights) != len(preds) or any(isinstance(w, list) for w in weights):
            raise DataError(f"{name}: expected one weight for each of {len(preds)} examples")
        batch = [(self.tokens(p), self._references(p, t), w) for p, t, w in zip(preds, targets, weights)]
        for example in batch:
            self.compare(*example)
        self.seen += len(batch)

    def tokens(self, text: Any) -> Tokens:
        """A text as a list of tokens."""
        if isinstance(text, str):
            return list(self.split(text.lower() if self.lowercase else text))
        if not isinstance(text, (list, tuple)):
            raise DataError(f"{type(self).__name__}: expected a string or a sequence of tokens, got {text!r}")
        found: Tokens = []
        for token in text:
            if not isinstance(token, Hashable) or isinstance(token, (tuple, float)):
                raise DataError(f"{type(self).__name__}: a token is a string or an integer, got {token!r}")
            if self.pad is not None and token == self.pad:
                break
            found.append(token.lower() if self.lowercase and isinstance(token, str) else token)
        return found

    def split(self, text: str) -> Sequence[str]:
        """The tokens of a string."""
        return text.split()

    def _references(self, pred: Any, target: Any) -> list[Tokens]:
        inner = str if isinstance(pred, str) else (list, tuple)
        several = isinstance(target, (list, tuple)) and len(target) > 0 and all(isinstance(t, inner) for t in target)
        if not several:
            return [self.tokens(target)]
        if not self.references:
            raise DataError(f"{type(self).__name__}: takes one true text for each prediction, got {len(target)}")
        return [self.tokens(t) for t in target]


def _host(value: Any) -> np.ndarray:
    value = value.data if isinstance(value, Tensor) else value
    return np.asarray(backend.of(value).to_numpy(value) if backend.is_array(value) else value)


def _examples(name: str, texts: Any) -> list[Any]:
    if isinstance(texts, Tensor) or backend.is_array(texts):
        rows = _host(texts)
        if rows.ndim != (1 if rows.dtype.kind in "UO" else 2) or rows.dtype.kind not in "iuUO":
            raise DataError(f"{name}: expected token indices (N, T), got {rows.dtype} of shape {rows.shape}")
        return list(rows.tolist())
    if isinstance(texts, str):
        raise DataError(f"{name}: expected a list of texts, got one string", hint="wrap it: [text]")
    return [_host(t).tolist() if isinstance(t, Tensor) or backend.is_array(t) else t for t in texts]


def _codes(a: Tokens, b: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Tokens as numbers, equal where the tokens are."""
    known: dict[Hashable, int] = {}
    return tuple(np.array([known.setdefault(t, len(known)) for t in s], dtype=np.int64) for s in (a, b))  # type: ignore[return-value]


def edit_distance(a: Tokens, b: Tokens) -> int:
    """Levenshtein distance: the least number of insertions, deletions and substitutions that turn ``a`` into ``b``."""
    x, y = _codes(a, b)
    places = np.arange(len(y) + 1)
    row = places.copy()
    for i, token in enumerate(x):
        best = np.minimum(row[1:] + 1, row[:-1] + (y != token))  # delete, or keep and substitute
        row = np.concatenate([[i + 1], best])
        row = np.minimum.accumulate(row - places) + places  # insertions: a step to the right costs one
    return int(row[-1])


def common_length(a: Tokens, b: Tokens) -> int:
    """Length of the longest common subsequence."""
    x, y = _codes(a, b)
    row = np.zeros(len(y) + 1, dtype=np.int64)
    for token in x:
        row[1:] = np.maximum.accumulate(np.where(y == token, row[:-1] + 1, row[1:]))
    return int(row[-1])
