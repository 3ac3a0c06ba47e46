"""SentencePiece's table of replacements: a double-array trie over UTF-8 and the strings that it points to.

Format: sentencepiece's normalizer.cc and darts-clone's double-array unit layout.
"""

from __future__ import annotations

import base64
import binascii

import numpy as np

from lunar_core.errors import DataError
from lunar_data.tokenizers.spans import Span


class Charsmap:
    """Replaces, from the left, the longest run of bytes that the table knows."""

    def __init__(self, blob: bytes, where: str) -> None:
        size = int.from_bytes(blob[:4], "little") if len(blob) >= 4 else -1
        if size < 4 or size % 4 or 4 + size > len(blob):
            raise DataError(f"{where}: the table of replacements announces {size} bytes of {len(blob)}: corrupt")
        self.units: list[int] = np.frombuffer(blob, "<u4", size // 4, 4).tolist()
        self.strings = blob[4 + size :]
        self.where = where

    @classmethod
    def from_base64(cls, text: str, where: str) -> Charsmap:
        try:
            return cls(base64.b64decode(text, validate=True), where)
        except binascii.Error as error:
            raise DataError(f"{where}: the table of replacements is no base64: {error}") from error

    def longest(self, data: bytes, at: int) -> tuple[int, int] | None:
        """How many bytes from ``at`` on are replaced, and where the new text is; None if none are."""
        units = self.units
        place = _offset(units[0])
        found: tuple[int, int] | None = None
        for k in range(at, len(data)):
            place ^= data[k]
            if not 0 <= place < len(units):
                return found
            unit = units[place]
            if unit & 0x800000FF != data[k]:
                return found
            place ^= _offset(unit)
            if unit >> 8 & 1:
                if not 0 <= place < len(units):
                    raise DataError(f"{self.where}: the table of replacements points out of itself")
                found = (k + 1 - at, units[place] & 0x7FFFFFFF)
        return found

    def replacement(self, start: int) -> str:
        """The string at ``start``, up to its zero byte."""
        end = self.strings.find(b"\0", start)
        if start > len(self.strings) or end < 0:
            raise DataError(f"{self.where}: the table of replacements points at byte {start}, where no string is")
        return self.strings[start:end].decode("utf-8", "replace")

    def apply(self, span: Span) -> Span:
        """The span with everything replaced."""
        text, at, places = [], [], span.places()
        data = span.text.encode("utf-8", "surrogatepass")
        owners = [k for k, char in enumerate(span.text) for _ in char.encode("utf-8", "surrogatepass")]
        k = 0
        while k < len(data):
            found = self.longest(data, k)
            first = owners[k]
            if found is None:
                text.append(span.text[first])
                at.append(places[first])
                k += len(span.text[first].encode("utf-8", "surrogatepass"))
                continue
            length, start = found
            new = self.replacement(start)
            text.append(new)
            at += [(places[first][0], places[owners[k + length - 1]][1])] * len(new)
            k += length
        return Span("".join(text), at)


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 1 << 9) >> 6)
