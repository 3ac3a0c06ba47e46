"""Tokenizer: text to integers and back.

::

    class Letters(Tokenizer):
        alphabet: str = "abcdefghijklmnopqrstuvwxyz "

        def size(self): return len(self.alphabet)
        def pieces(self, text): return [(self.alphabet.index(c), k, k + 1) for k, c in enumerate(text)]
        def join(self, ids): return "".join(self.alphabet[i] for i in ids)

    Letters().encode("moon").ids                    # array([12, 14, 14, 13])
    Letters(special_tokens=("<pad>",)).batch(["moon", "sun"])    # ids (2, 4), mask, lengths

Special tokens, truncation, padding, offsets and streaming are the base class's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from ..component import Component, field
from ..errors import DataError, HyperparameterError
from ..validators import positive

Piece = tuple[int, int, int]
"""A token: its id and the characters start..end of the text that it stands for."""


@attrs.frozen(eq=False)
class Encoding:
    """The tokens of one text."""

    ids: np.ndarray  # (n,) int64
    offsets: np.ndarray  # (n, 2) int64: start and end in characters; (0, 0) for an added token
    special: np.ndarray  # (n,) bool: added by the tokenizer, no part of the text

    def __len__(self) -> int:
        return len(self.ids)


@attrs.frozen(eq=False)
class EncodingBatch:
    """The tokens of several texts, padded to one length."""

    ids: np.ndarray  # (b, t) int64
    mask: np.ndarray  # (b, t) bool: True where there is a token and no padding
    lengths: np.ndarray  # (b,) int64
    offsets: np.ndarray  # (b, t, 2) int64

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer(Component):
    """Base of all tokenizers (kind ``"tokenizer"``, group ``lunar.tokenizers``).

    A subclass gives ``size()``, ``pieces(text)`` and ``join(ids)``. Special tokens that its vocabulary lacks get the
    next free ids, in order. A special token that occurs in a text is recognised there unless ``split_special=False``.
    """

    kind: ClassVar[str] = "tokenizer"

    special_tokens: tuple[str, ...] = field(default=(), kw_only=True, doc="added after the vocabulary, in order")
    bos: str | None = field(default=None, kw_only=True, doc="special token that encode() puts first")
    eos: str | None = field(default=None, kw_only=True, doc="special token that encode() puts last")
    pad: str | None = field(default=None, kw_only=True, doc="special token for padding; <pad> where it is one, else 0")
    max_length: int | None = field(default=None, kw_only=True, validator=positive, doc="truncate to so many tokens")
    split_special: bool = field(default=True, kw_only=True, doc="recognise special tokens inside of texts")

    # -- what a subclass gives -----------------------------------------------------------------------------------------

    def size(self) -> int:
        """Size of the vocabulary without ``special_tokens``."""
        raise NotImplementedError(f"{type(self).__name__} must define size")

    def pieces(self, text: str) -> list[Piece]:
        """The tokens of a text without special tokens: (id, start, end) each."""
        raise NotImplementedError(f"{type(self).__name__} must define pieces")

    def join(self, ids: Sequence[int]) -> str:
        """The text of a run of ids without special tokens."""
        raise NotImplementedError(f"{type(self).__name__} must define join")

    def boundary(self, text: str) -> int:
        """A place k such that text[:k] and text[k:] can be encoded apart, whatever follows; 0 if none is known.

        Streaming keeps in memory what comes after it. The base class says 0, so a whole stream is encoded at its end.
        """
        return 0

    def added(self) -> dict[str, int]:
        """Special tokens by name; those of the vocabulary's own file belong here too."""
        first = self.size()
        return {token: first + k for k, token in enumerate(self.special_tokens)}

    def kept(self) -> frozenset[str]:
        """Those of :meth:`added` that are text and stay in what ``decode`` gives; :meth:`join` knows them."""
        return frozenset()

    def surround(self, pieces: list[Piece]) -> tuple[list[Piece], list[bool]]:
        """``pieces`` with the tokens that stand before and after a text, and which of them were added."""
        before = [(self.token_id(self.bos), 0, 0)] if self.bos is not None else []
        after = [(self.token_id(self.eos), 0, 0)] if self.eos is not None else []
        return before + pieces + after, [True] * len(before) + [False] * len(pieces) + [True] * len(after)

    # -- what every tokenizer has --------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included: what an embedding needs."""
        return max(self.size(), 1 + max(self.added().values(), default=-1))

    def token_id(self, token: str) -> int:
        """The id of a special token. Raises HyperparameterError for one that is none."""
        found = self.added().get(token)
        if found is None:
            raise HyperparameterError(
                f"{type(self).__name__}: {token!r} is no special token; they are {list(self.added())}",
                hint=f"give it: special_tokens=({token!r},)",
            )
        return found

    def encode(self, text: str, *, special: bool = True, max_length: int | None = None) -> Encoding:
        """The tokens of ``text``; with ``special`` also those that surround it, which truncation keeps."""
        if not isinstance(text, str):
            raise DataError(f"{type(self).__name__}: encode takes a string, got {type(text).__name__}")
        pieces = self._pieces(text)
        limit = self.max_length if max_length is None else max_length
        if special:
            around = len(self.surround([])[0])
            if limit is not None:
                pieces = pieces[: max(limit - around, 0)]
            pieces, added = self.surround(pieces)
        else:
            pieces = pieces if limit is None else pieces[:limit]
            added = [False] * len(pieces)
        table = np.array(pieces, np.int64).reshape(-1, 3)
        return Encoding(table[:, 0].copy(), table[:, 1:].copy(), np.array(added, bool))

    def batch(
        self,
        texts: Iterable[str],
        *,
        special: bool = True,
        max_length: int | None = None,
        pad_to: int | None = None,
        pad_left: bool = False,
        multiple: int = 1,
    ) -> EncodingBatch:
        """Texts encoded and padded to the longest, to at least ``pad_to`` and to a multiple of ``multiple``."""
        encoded = [self.encode(text, special=special, max_length=max_length) for text in texts]
        lengths = np.array([len(e) for e in encoded], np.int64)
        width = max([int(lengths.max(initial=0)), pad_to or 0])
        width = -(-width // multiple) * multiple
        ids = np.full((len(encoded), width), self.pad_id, np.int64)
        mask = np.zeros(ids.shape, bool)
        offsets = np.zeros((*ids.shape, 2), np.int64)
        for row, one in enumerate(encoded):
            where = slice(width - len(one), width) if pad_left else slice(0, len(one))
            ids[row, where], mask[row, where], offsets[row, where] = one.ids, True, one.offsets
        return EncodingBatch(ids, mask, lengths, offsets)

    @property
    def pad_id(self) -> int:
        """The id that stands for padding."""
        return self.token_id(self.pad) if self.pad is not None else self.added().get("<pad>", 0)

    def decode(self, ids: Any, *, skip_special: bool = True) -> str:
        """The text of ``ids``; special tokens are left out, or written by name.

        Raises DataError for an id that is not in the vocabulary.
        """
        array = np.asarray(ids)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise DataError(f"{type(self).__name__}: decode takes a run of ids, got {array.dtype} {array.shape}")
        names = {id_: token for token, id_ in self.added().items() if token not in self.kept()}
        parts: list[str] = []
        run: list[int] = []
        for place, id_ in enumerate(array.tolist()):
            if not 0 <= id_ < self.vocab_size:
                raise DataError(
                    f"{type(self).__name__}: id {id_} at place {place} is not in the vocabulary of {self.vocab_size}"
                )
            if id_ not in names:
                run.append(id_)
            elif not skip_special:
                parts += [self.join(run), names[id_]]
                run = []
        return "".join([*parts, self.join(run)])

    def stream(self, chunks: Iterable[str]) -> Iterator[np.ndarray]:
        """The ids of a long text that comes in chunks, without the tokens that surround a text.

        Together they are what ``encode(text, special=False)`` gives; only what lies after the last
        :meth:`boundary` is kept.
        """
        held = ""
        longest = max((len(token) for token in self.added()), default=0) if self.split_special else 0
        for chunk in chunks:
            held += chunk
            # A special token that has only begun must not be cut.
            cut = self.boundary(held[: max(len(held) - longest, 0)])
            cut = self._before_special(held, cut)
            if cut > 0:
                yield np.array([id_ for id_, _, _ in self._pieces(held[:cut])], np.int64)
                held = held[cut:]
        if held:
            yield np.array([id_ for id_, _, _ in self._pieces(held)], np.int64)

    def _special_pattern(self) -> re.Pattern[str] | None:
        tokens = tuple(self.added()) if self.split_special else ()
        cached = self.__dict__.get("_pattern")
        if cached is None or cached[0] != tokens:
            longest_first = sorted(filter(None, tokens), key=len, reverse=True)
            pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
            self.__dict__["_pattern"] = cached = (tokens, pattern)
        return cached[1]

    def _before_special(self, text: str, cut: int) -> int:
        pattern = self._special_pattern()
        if pattern is not None:
            for match in pattern.finditer(text):
                if match.start() < cut < match.end():
                    return match.start()
        return cut

    def _pieces(self, text: str) -> list[Piece]:
        pattern = self._special_pattern()
        if pattern is None:
            return self.pieces(text)
        result: list[Piece] = []
        names, at = self.added(), 0
        for match in pattern.finditer(text):
            result += _shifted(self.pieces(text[at : match.start()]), at) if match.start() > at else []
            result.append((names[match.group()], match.start(), match.end()))
            at = match.end()
        return result + (_shifted(self.pieces(text[at:]), at) if at < len(text) else [])


def _shifted(pieces: list[Piece], by: int) -> list[Piece]:
    return [(id_, start + by, end + by) for id_, start, end in pieces] if by else pieces
