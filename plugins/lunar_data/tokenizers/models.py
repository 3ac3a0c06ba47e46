"""The subword models: how one word becomes pieces of the vocabulary. Each gives (id, start, end) in the word."""

from __future__ import annotations

import heapq
import math
from typing import Any

from lunar_core.contracts.tokenizer import Piece
from lunar_core.errors import DataError

_CACHED = 1 << 16  # words whose pieces are remembered


class Model:
    """A vocabulary and a rule; ``word`` remembers what it found."""

    def __init__(self, vocab: dict[str, int]) -> None:
        self.vocab = vocab
        self.tokens = {id_: token for token, id_ in vocab.items()}
        self._cache: dict[str, list[Piece]] = {}

    def word(self, text: str) -> list[Piece]:
        found = self._cache.get(text)
        if found is None:
            found = self.split(text)
            if len(text) <= 256:
                if len(self._cache) >= _CACHED:
                    self._cache.clear()
                self._cache[text] = found
        return found

    def split(self, text: str) -> list[Piece]:
        raise NotImplementedError

    def fallback(self, char: str) -> list[int] | None:
        """The ids of a character's bytes, <0x00> to <0xFF>, where the vocabulary has all of them."""
        ids = [self.vocab.get(f"<0x{byte:02X}>") for byte in char.encode("utf-8", "surrogatepass")]
        return None if any(id_ is None for id_ in ids) else ids  # type: ignore[return-value]


class BPE(Model):
    """Byte-pair encoding: the merge of lowest rank, leftmost first, until none applies.

    Source: R. Sennrich, B. Haddow and A. Birch, arXiv:1508.07909; the options are those of the ``tokenizers`` library.
    """

    def __init__(
        self,
        vocab: dict[str, int],
        merges: list[tuple[str, str]],
        where: str,
        unk: str | None = None,
        fuse_unk: bool = False,
        prefix: str = "",
        suffix: str = "",
        byte_fallback: bool = False,
        ignore_merges: bool = False,
    ) -> None:
        super().__init__(vocab)
        self.unk = vocab.get(unk) if unk is not None else None
        self.fuse_unk, self.prefix, self.suffix = fuse_unk, prefix, suffix
        self.byte_fallback, self.ignore_merges = byte_fallback, ignore_merges
        self.ranks: dict[tuple[int, int], tuple[int, int]] = {}
        for rank, (left, right) in enumerate(merges):
            joined = left + right[len(prefix) :] if prefix and right.startswith(prefix) else left + right
            ids = [vocab.get(token) for token in (left, right, joined)]
            if None in ids:
                raise DataError(f"{where}, merge {rank}: {left!r} {right!r} is not made of tokens of the vocabulary")
            self.ranks[ids[0], ids[1]] = (rank, ids[2])  # type: ignore[index,assignment]

    def split(self, text: str) -> list[Piece]:
        if self.ignore_merges and text in self.vocab:
            return [(self.vocab[text], 0, len(text))]
        return self._merged(self._symbols(text))

    def _symbols(self, text: str) -> list[Piece]:
        symbols: list[Piece] = []
        unknown = False
        for k, char in enumerate(text):
            token = (self.prefix if k else "") + char + (self.suffix if k == len(text) - 1 else "")
            id_ = self.vocab.get(token)
            if id_ is None and self.byte_fallback and (parts := self.fallback(token)) is not None:
                symbols += [(part, k, k + 1) for part in parts]
                unknown = False
            elif id_ is not None:
                symbols.append((id_, k, k + 1))
                unknown = False
            elif self.unk is not None:
                if unknown and self.fuse_unk:
                    symbols[-1] = (self.unk, symbols[-1][1], k + 1)
                else:
                    symbols.append((self.unk, k, k + 1))
                unknown = True
        return symbols

    def _merged(self, symbols: list[Piece]) -> list[Piece]:
        n = len(symbols)
        ids: list[int] = [id_ for id_, _, _ in symbols]
        after = [*range(1, n), -1]
        before = list(range(-1, n - 1))
        ends = [end for _, _, end in symbols]
        ranks = self.ranks
        heap = [(*pair, k, ids[k], ids[k + 1]) for k in range(n - 1) if (pair := ranks.get((ids[k], ids[k + 1])))]
        heap = [(rank, k, new, left, right) for rank, new, k, left, right in heap]
        heapq.heapify(heap)
        while heap:
            _, k, new, left, right = heapq.heappop(heap)
            other = after[k]
            if ids[k] != left or other < 0 or ids[other] != right:
                continue  # one of the two was merged meanwhile
            ids[k], ids[other], ends[k] = new, -1, ends[other]
            after[k] = after[other]
            if after[k] >= 0:
                before[after[k]] = k
            for at in (before[k], k):
                if at >= 0 and after[at] >= 0 and (pair := ranks.get((ids[at], ids[after[at]]))):
                    heapq.heappush(heap, (pair[0], at, pair[1], ids[at], ids[after[at]]))
        return [(ids[k], symbols[k][1], ends[k]) for k in range(n) if ids[k] >= 0]


class WordPiece(Model):
    """BERT's greedy rule: the longest piece that fits, from the left; a word that cannot be covered is unknown.

    Source: Y. Wu et al., arXiv:1609.08144; the rule is that of BERT's tokenization.py.
    """

    def __init__(self, vocab: dict[str, int], where: str, unk: str, prefix: str, longest: int) -> None:
        super().__init__(vocab)
        if unk not in vocab:
            raise DataError(f"{where}: the unknown token {unk!r} is not in the vocabulary")
        self.unk, self.prefix, self.longest = vocab[unk], prefix, longest
        self.most = max(map(len, vocab), default=1)

    def split(self, text: str) -> list[Piece]:
        unknown = [(self.unk, 0, len(text))]
        if len(text) > self.longest:
            return unknown
        result: list[Piece] = []
        at = 0
        while at < len(text):
            head = self.prefix if at else ""
            for end in range(min(len(text), at + self.most), at, -1):
                id_ = self.vocab.get(head + text[at:end])
                if id_ is not None:
                    result.append((id_, at, end))
                    at = end
                    break
            else:
                return unknown
        return result


class WordLevel(Model):
    """Whole words, and one token for all others."""

    def __init__(self, vocab: dict[str, int], where: str, unk: str) -> None:
        super().__init__(vocab)
        self.unk = vocab.get(unk)

    def split(self, text: str) -> list[Piece]:
        id_ = self.vocab.get(text, self.unk)
        return [] if id_ is None else [(id_, 0, len(text))]


class Unigram(Model):
    """The segmentation of highest probability under a unigram model of pieces (Viterbi).

    A character that no piece covers costs 10 more than the least likely piece; runs of such are one unknown token.
    Source: T. Kudo, arXiv:1804.10959; the rule is that of SentencePiece's EncodeOptimized.
    """

    def __init__(self, pieces: list[tuple[str, float]], unk: int | None, byte_fallback: bool, where: str) -> None:
        super().__init__({token: k for k, (token, _) in enumerate(pieces)})
        self.tokens = {k: token for k, (token, _) in enumerate(pieces)}
        self.scores: dict[str, float] = {}
        for k, (token, score) in enumerate(pieces):
            if not math.isfinite(score):
                raise DataError(f"{where}, piece {k}: the score of {token!r} is {score}")
            self.scores[token] = score
        self.unk, self.byte_fallback = unk, byte_fallback
        self.least = min(self.scores.values(), default=0.0) - 10.0
        self.most = max(map(len, self.scores), default=1)
        # Which lengths occur after a first character: few, so that most look-ups are not made.
        lengths: dict[str, set[int]] = {}
        for token in self.scores:
            if token:
                lengths.setdefault(token[0], set()).add(len(token))
        self.lengths = {char: sorted(found) for char, found in lengths.items()}

    def split(self, text: str) -> list[Piece]:
        n = len(text)
        best = [-math.inf] * (n + 1)
        best[0] = 0.0
        came: list[tuple[int, int | None]] = [(0, None)] * (n + 1)
        for at in range(n):
            here, single = best[at], False
            for length in self.lengths.get(text[at], ()):
                end = at + length
                if end > n:
                    break
                piece = text[at:end]
                score = self.scores.get(piece)
                if score is None:
                    continue
                single = single or length == 1
                if here + score > best[end]:
                    best[end], came[end] = here + score, (at, self.vocab[piece])
            if not single and here + self.least > best[at + 1]:
                best[at + 1], came[at + 1] = here + self.least, (at, None)
        path: list[tuple[int | None, int, int]] = []
        end = n
        while end > 0:
            start, id_ = came[end]
            if id_ is None and path and path[-1][0] is None:
                path[-1] = (None, start, path[-1][2])  # runs of unknown characters are one
            else:
                path.append((id_, start, end))
            end = start
        result: list[Piece] = []
        for id_, start, end in reversed(path):
            if id_ is not None:
                result.append((id_, start, end))
                continue
            parts = self.fallback(text[start:end]) if self.byte_fallback else None
            if parts is not None:
                spans = [k for k in range(start, end) for _ in text[k].encode("utf-8", "surrogatepass")]
                result += [(part, k, k + 1) for part, k in zip(parts, spans)]
            elif self.unk is not None:
                result.append((self.unk, start, end))
        return result


def checked_vocab(vocab: Any, where: str) -> dict[str, int]:
    """A mapping of tokens to ids >= 0, or DataError."""
    if not isinstance(vocab, dict) or not vocab:
        raise DataError(f"{where}: the vocabulary is no object of token: id")
    for token, id_ in vocab.items():
        if type(id_) is not int or not 0 <= id_ < 1 << 31:
            raise DataError(f"{where}: the id of token {token[:40]!r} is {str(id_)[:40]}")
    return vocab
