"""The TemplateClass tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from lunar_core.component import field
from lunar_core.contracts.tokenizer import Piece, Tokenizer


class TemplateClass(Tokenizer):
    """One token for each character of ``alphabet``; any other character is that of the last id, and read back as ``?``."""

    alphabet: str = field(default="abcdefghijklmnopqrstuvwxyz .,'", doc="the characters that have an id, in order")

    def size(self) -> int:
        return len(self.alphabet) + 1

    def pieces(self, text: str) -> list[Piece]:
        ids = {character: k for k, character in enumerate(self.alphabet)}
        return [(ids.get(character, len(self.alphabet)), k, k + 1) for k, character in enumerate(text)]

    def join(self, ids: Sequence[int]) -> str:
        return "".join((self.alphabet + "?")[k] for k in ids)

    def boundary(self, text: str) -> int:
        return len(text)
