"""Tokenizers that need no vocabulary file: one id a byte, one id a character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lunar_core.component import field
from lunar_core.contracts.tokenizer import Piece, Tokenizer
from lunar_core.errors import DataError, HyperparameterError


class ByteTokenizer(Tokenizer):
    """The bytes of the UTF-8 form: 256 ids, special tokens from 256 on.

    Any text goes in and comes back as it was. A lone surrogate is encoded as UTF-8 would encode it ("surrogatepass").
    Bytes that are no UTF-8 are decoded to U+FFFD. An offset is the character that a byte belongs to.
    """

    def size(self) -> int:
        return 256

    def pieces(self, text: str) -> list[Piece]:
        if text.isascii():
            return [(byte, k, k + 1) for k, byte in enumerate(text.encode())]
        return [(byte, k, k + 1) for k, char in enumerate(text) for byte in char.encode("utf-8", "surrogatepass")]

    def join(self, ids: Sequence[int]) -> str:
        data = bytes(ids)
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return data.decode("utf-8", "replace")

    def boundary(self, text: str) -> int:
        return len(text)


class CharTokenizer(Tokenizer):
    """One id for each character of ``alphabet``, in its order; :meth:`of` takes the alphabet from a text.

    A character outside of the alphabet becomes ``unknown``, a special token, or is an error where there is none.
    """

    alphabet: str = field(doc="the characters, each once")
    unknown: str | None = field(default=None, kw_only=True, doc="special token for other characters")

    @classmethod
    def of(cls, texts: str | Iterable[str], **options: object) -> CharTokenizer:
        """The tokenizer for the characters of a text, or of several, in the order of their code points."""
        found: set[str] = set()
        for text in [texts] if isinstance(texts, str) else texts:
            found.update(text)
        return cls("".join(sorted(found)), **options)  # type: ignore[arg-type]

    def size(self) -> int:
        return len(self.alphabet)

    def _ids(self) -> dict[str, int]:
        held = self.__dict__.get("_table")
        if held is None or held[0] != self.alphabet:
            table = {char: k for k, char in enumerate(self.alphabet)}
            if len(table) != len(self.alphabet):
                raise HyperparameterError("CharTokenizer: alphabet holds a character twice")
            held = self.__dict__["_table"] = (self.alphabet, table)
        return held[1]

    def pieces(self, text: str) -> list[Piece]:
        table = self._ids()
        other = None if self.unknown is None else self.token_id(self.unknown)
        result = []
        for k, char in enumerate(text):
            id_ = table.get(char, other)
            if id_ is None:
                raise DataError(
                    f"CharTokenizer: character {char!r} at place {k} is not in the alphabet of {len(self.alphabet)}",
                    hint='special_tokens=("<unk>",), unknown="<unk>" stands for all others',
                )
            result.append((id_, k, k + 1))
        return result

    def join(self, ids: Sequence[int]) -> str:
        return "".join([self.alphabet[id_] for id_ in ids])

    def boundary(self, text: str) -> int:
        return len(text)
