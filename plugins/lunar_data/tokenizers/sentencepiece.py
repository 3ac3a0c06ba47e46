"""SentencePiece's unigram models: the ``.model`` file, read by a protobuf-wire reader with bounds, and its rule."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from lunar_core.component import field
from lunar_core.contracts.tokenizer import Piece, Tokenizer
from lunar_core.errors import DataError
from lunar_data.reading import read_bytes
from lunar_data.tokenizers.charsmap import Charsmap
from lunar_data.tokenizers.gpt2 import MOST_BYTES
from lunar_data.tokenizers.models import Unigram
from lunar_data.tokenizers.spans import Span
from lunar_data.tokenizers.steps import _byte_fallback

_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_MARK = "▁"


class SentencePiece(Tokenizer):
    """A SentencePiece unigram model (T5, ALBERT, XLM-R and others) from its ``.model`` file.

    Source: T. Kudo and J. Richardson, arXiv:1808.06226. Normalization, white space and byte fallback are the file's.
    Control pieces such as ``</s>`` are special tokens: not recognised in text (``split_special`` is False by default
    here, as in SentencePiece) and left out by ``decode``. ``bos`` and ``eos`` say which of them to add.

    Raises:
        DataError: no such file, no unigram model, or truncated or inconsistent; the message names file and byte.
    """

    path: str = field(doc="path of the .model file")
    split_special: bool = field(default=False, kw_only=True, doc="recognise control pieces inside of texts")

    def _parts(self) -> _Parts:
        held = self.__dict__.get("_held")
        if held is None:
            held = self.__dict__["_held"] = _Parts(read_bytes(self.path, MOST_BYTES), self.path)
        return held

    def size(self) -> int:
        return len(self._parts().pieces)

    def added(self) -> dict[str, int]:
        parts = self._parts()
        own = {piece: k for k, (piece, _, kind) in enumerate(parts.pieces) if kind == _CONTROL}
        free = self.size()
        for token in self.special_tokens:
            if token not in own:
                own[token] = free
                free += 1
        return own

    def pieces(self, text: str) -> list[Piece]:
        parts = self._parts()
        span = parts.normalize(Span(text, 0))
        return [(id_, *span.where(start, end)) for id_, start, end in parts.model.split(span.text)]

    def join(self, ids: Sequence[int]) -> str:
        parts = self._parts()
        tokens = [" \u2047 " if parts.pieces[i][2] == _UNKNOWN else parts.pieces[i][0] for i in ids]
        text = "".join(_byte_fallback(tokens)).replace(_MARK, " ")
        return text[1:] if parts.dummy_prefix and text.startswith(" ") and ids else text


class _Parts:
    def __init__(self, data: bytes, where: str) -> None:
        self.pieces: list[tuple[str, float, int]] = []
        self.where = where
        kind, blob, fallback = 1, b"", False
        self.dummy_prefix = self.collapse = self.escape = True
        for number, value, at in _fields(data, where, 0):
            if number == 1:
                self.pieces.append(_piece(_bytes(value, where, at), where, at))
            elif number == 2:
                for inner, what, _ in _fields(_bytes(value, where, at), where, at):
                    if inner == 3:
                        kind = what if isinstance(what, int) else 0
                    elif inner == 35:
                        fallback = bool(what)
            elif number == 3:
                for inner, what, place in _fields(_bytes(value, where, at), where, at):
                    if inner == 2:
                        blob = _bytes(what, where, place)
                    elif inner == 3:
                        self.dummy_prefix = bool(what)
                    elif inner == 4:
                        self.collapse = bool(what)
                    elif inner == 5:
                        self.escape = bool(what)
        if not self.pieces:
            raise DataError(f"{where}: no SentencePiece model: it holds no piece")
        if kind != 1:
            names = {2: "BPE", 3: "word", 4: "character"}
            raise DataError(f"{where}: a {names.get(kind, 'different')} model; unigram models are read")
        self.charsmap = Charsmap(blob, where) if blob else None
        unknown = [k for k, (_, _, type_) in enumerate(self.pieces) if type_ == _UNKNOWN]
        # Only normal and user pieces take part in the segmentation; the others keep their place and are never found.
        table = [
            (piece, score) if type_ in (_NORMAL, _USER) else (f"\0{k}", 0.0)
            for k, (piece, score, type_) in enumerate(self.pieces)
        ]
        self.model = Unigram(table, unknown[0] if unknown else None, False, where)
        scores = [score for _, score, type_ in self.pieces if type_ == _NORMAL]
        self.model.least = min(scores, default=0.0) - 10.0
        highest = max(scores, default=0.0)
        for piece, _, type_ in self.pieces:
            if type_ == _USER and piece:  # so that it always wins, as in SentencePiece's unigram_model.cc
                self.model.scores[piece] = len(piece.encode()) * highest - 0.1
        if fallback:
            self.model.byte_fallback = True
            self.model.vocab |= {piece: k for k, (piece, _, type_) in enumerate(self.pieces) if type_ == _BYTE}

    def normalize(self, span: Span) -> Span:
        if self.charsmap is not None:
            span = self.charsmap.apply(span)
        text, places = span.text, span.places()
        kept: list[int] = []
        for k, char in enumerate(text):
            if self.collapse and char == " " and (not kept or text[kept[-1]] == " "):
                continue
            kept.append(k)
        while self.collapse and kept and text[kept[-1]] == " ":
            kept.pop()
        result = Span("".join([text[k] for k in kept]), [places[k] for k in kept])
        if self.dummy_prefix and result.text:
            result = result.prefixed(" ")
        return Span(result.text.replace(" ", _MARK), result.at) if self.escape else result


def _piece(data: bytes, where: str, base: int) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, _NORMAL
    for number, value, at in _fields(data, where, base):
        if number == 1:
            try:
                text = _bytes(value, where, at).decode()
            except UnicodeDecodeError:
                raise DataError(f"{where}, byte {at}: a piece is not UTF-8") from None
        elif number == 2 and isinstance(value, float):
            score = value
        elif number == 3 and isinstance(value, int):
            kind = value
    return text, score, kind


def _bytes(value: int | float | bytes, where: str, at: int) -> bytes:
    if not isinstance(value, bytes):
        raise DataError(f"{where}, byte {at}: a number where a message was expected")
    return value


def _fields(data: bytes, where: str, base: int) -> Iterator[tuple[int, int | float | bytes, int]]:
    """Field number, value and place of each field of a protobuf message; nested ones come as bytes.

    Format: https://protobuf.dev/programming-guides/encoding/.
    """
    at = 0

    def varint() -> int:
        nonlocal at
        value = 0
        for shift in range(0, 70, 7):
            if at >= len(data):
                raise DataError(f"{where}, byte {base + at}: truncated")
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise DataError(f"{where}, byte {base + at}: a number of more than 64 bits")

    while at < len(data):
        start = at
        tag = varint()
        number, wire = tag >> 3, tag & 7
        value: int | float | bytes
        if wire == 0:
            value = varint()
        else:
            length = {1: 8, 5: 4}.get(wire, -1)
            if wire == 2:
                length = varint()
            if length < 0 or at + length > len(data) or not number:
                raise DataError(f"{where}, byte {base + start}: no SentencePiece model, truncated or corrupt")
            value = data[at : at + length]
            if wire == 5:
                value = struct.unpack("<f", value)[0]
            at += length
        yield number, value, base + start
