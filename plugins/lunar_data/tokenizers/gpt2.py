"""Byte-level BPE as GPT-2 publishes it: vocab.json and merges.txt."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from typing import Any

from lunar_core.component import field
from lunar_core.contracts.tokenizer import Piece, Tokenizer
from lunar_core.errors import DataError
from lunar_data.reading import read_bytes, text_lines
from lunar_data.tokenizers.models import BPE, checked_vocab
from lunar_data.tokenizers.spans import Span, pattern

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
MOST_BYTES = 1 << 28


@functools.lru_cache(maxsize=1)
def byte_letters() -> tuple[str, ...]:
    """The printable character that stands for each byte in GPT-2's vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + len(letters) - len(plain))
    return tuple(letters[byte] for byte in range(256))


@functools.lru_cache(maxsize=1)
def letter_bytes() -> dict[str, int]:
    """The inverse of :func:`byte_letters`."""
    return {letter: byte for byte, letter in enumerate(byte_letters())}


@functools.lru_cache(maxsize=1 << 16)
def _in_letters(text: str) -> str:
    letters = byte_letters()
    return "".join([letters[byte] for byte in text.encode("utf-8", "surrogatepass")])


def as_letters(span: Span) -> Span:
    """The bytes of a span as letters, each at the character that it belongs to."""
    text = _in_letters(span.text)
    if len(text) == len(span.text):
        return Span(text, span.at)
    at = [p for c, p in zip(span.text, span.places()) for _ in c.encode("utf-8", "surrogatepass")]
    return Span(text, at)


def from_letters(tokens: Sequence[str]) -> str:
    """The text of tokens whose letters are bytes; what is no UTF-8 becomes U+FFFD."""
    table = letter_bytes()
    data = bytearray()
    for token in tokens:
        try:
            data += bytes([table[letter] for letter in token])
        except KeyError:
            data += token.encode("utf-8", "surrogatepass")  # an added token that is plain text
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def second_last(expression: Any, text: str) -> int:
    """Where the match before the last one begins: what comes later in a stream cannot change what stands before."""
    starts = [0, 0]
    for match in expression.finditer(text):
        starts = [starts[1], match.start()]
    return starts[0]


class ByteLevelBPE(Tokenizer):
    """Byte-level BPE from ``vocab.json`` and ``merges.txt``, as published for GPT-2, RoBERTa and others.

    Any text goes in and comes back as it was. Source: A. Radford et al., Language Models are Unsupervised Multitask
    Learners, 2019, and its encoder.py; the pattern that cuts text into words is GPT-2's. Special tokens that the
    vocabulary holds, such as ``<|endoftext|>``, keep their id.
    """

    vocab: str = field(doc="path of vocab.json")
    merges: str = field(doc="path of merges.txt")

    def _model(self) -> BPE:
        held = self.__dict__.get("_held")
        if held is None:
            table = checked_vocab(read_json(self.vocab), self.vocab)
            held = self.__dict__["_held"] = BPE(table, read_merges(self.merges), self.merges)
            for byte, letter in enumerate(byte_letters()):
                if letter not in table:
                    raise DataError(f"{self.vocab}: there is no token for byte {byte}: no byte-level vocabulary")
        return held

    def size(self) -> int:
        return max(self._model().vocab.values()) + 1

    def added(self) -> dict[str, int]:
        vocab, free = self._model().vocab, self.size()
        found: dict[str, int] = {}
        for token in self.special_tokens:
            found[token] = vocab.get(token, free)
            free += token not in vocab
        return found

    def pieces(self, text: str) -> list[Piece]:
        model, result = self._model(), []
        for match in pattern(GPT2).finditer(text):
            span = as_letters(Span(match.group(), match.start()))
            result += [(id_, *span.where(start, end)) for id_, start, end in model.word(span.text)]
        return result

    def join(self, ids: Sequence[int]) -> str:
        tokens = self._model().tokens
        return from_letters([tokens.get(id_, "") for id_ in ids])

    def boundary(self, text: str) -> int:
        return second_last(pattern(GPT2), text)


def read_json(path: str | os.PathLike[str]) -> Any:
    """A JSON file of at most 256 MiB, or DataError with the place of what is wrong."""
    try:
        return json.loads(read_bytes(path, MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{os.fspath(path)}: no JSON: {error}") from error


def read_merges(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """The pairs of a merges.txt, in order of rank."""
    merges = []
    for number, line in text_lines(path, 1 << 16):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise DataError(f"{os.fspath(path)}, line {number}: expected two tokens, got {line[:60]!r}")
        merges.append((parts[0], parts[1]))
    return merges
