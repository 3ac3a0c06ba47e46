"""Text that remembers which characters of the original it came from, and regular expressions over Unicode categories."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Callable

from lunar_core.errors import DataError


class Span:
    """A piece of changed text. ``at`` is where it begins in the original, or for each character (start, end)."""

    __slots__ = ("at", "text")

    def __init__(self, text: str, at: int | list[tuple[int, int]]) -> None:
        self.text, self.at = text, at

    def cut(self, start: int, end: int) -> Span:
        return Span(self.text[start:end], self.at + start if isinstance(self.at, int) else self.at[start:end])

    def where(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the original that start..end came from."""
        if isinstance(self.at, int):
            return self.at + start, self.at + end
        if start >= end or not self.at:
            return (0, 0)
        return self.at[start][0], self.at[end - 1][1]

    def places(self) -> list[tuple[int, int]]:
        if isinstance(self.at, int):
            return [(self.at + k, self.at + k + 1) for k in range(len(self.text))]
        return self.at

    def each(self, change: Callable[[str], str]) -> Span:
        """Every character replaced by what ``change`` makes of it: none, one or several."""
        text: list[str] = []
        at: list[tuple[int, int]] = []
        for char, place in zip(self.text, self.places()):
            new = change(char)
            text.append(new)
            at += [place] * len(new)
        return Span("".join(text), at)

    def replaced(self, pattern: re.Pattern[str], new: str) -> Span:
        places, text, at, done = self.places(), [], [], 0
        for match in pattern.finditer(self.text):
            start, end = match.span()
            text += [self.text[done:start], new]
            whole = (places[start][0], places[end - 1][1]) if end > start else (0, 0)
            at += [*places[done:start], *[whole] * len(new)]
            done = end
        return Span("".join([*text, self.text[done:]]), at + places[done:]) if text else self

    def prefixed(self, new: str) -> Span:
        first = self.where(0, 1) if self.text else (0, 0)
        return Span(new + self.text, [(first[0], first[0] + 1 if self.text else first[0])] * len(new) + self.places())

    def normalized(self, form: str) -> Span:
        """Unicode normalization; a character stands for the run of characters, from one starter to the next, it came of."""
        if unicodedata.is_normalized(form, self.text):  # type: ignore[arg-type]
            return self
        whole = unicodedata.normalize(form, self.text)  # type: ignore[arg-type]
        places, text, at, start = self.places(), [], [], 0
        for end in range(1, len(self.text) + 1):
            if end < len(self.text) and unicodedata.combining(self.text[end]):
                continue
            run = unicodedata.normalize(form, self.text[start:end])  # type: ignore[arg-type]
            text.append(run)
            at += places[start:end] if len(run) == end - start else [(places[start][0], places[end - 1][1])] * len(run)
            start = end
        if "".join(text) != whole:  # starters that compose with what stands before them
            at = [(places[0][0], places[-1][1])] * len(whole)
        return Span(whole, at)


SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
"""White_Space of Unicode, for inside of a character class; Python's own has four control characters more."""


def is_space(char: str) -> bool:
    """Whether a character is White_Space of Unicode."""
    return char.isspace() and char not in "\x1c\x1d\x1e\x1f"


@functools.lru_cache(maxsize=64)
def category(name: str) -> str:
    """The characters whose general category begins with ``name``, for inside of a character class."""
    ranges: list[str] = []
    start = -1
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(name)
        if inside and start < 0:
            start = code
        elif not inside and start >= 0:
            ranges.append(f"\\U{start:08x}" + (f"-\\U{code - 1:08x}" if code - 1 > start else ""))
            start = -1
    return "".join(ranges)


@functools.lru_cache(maxsize=64)
def pattern(source: str, where: str = "pattern") -> re.Pattern[str]:
    """A regular expression as the ``tokenizers`` library writes them: with \\p{L}, and Unicode's white space as \\s.

    Raises:
        DataError: it does not compile, or uses what Python's expressions cannot say.
    """
    out, k, inside = [], 0, False
    while k < len(source):
        char = source[k]
        if char == "\\" and k + 1 < len(source):
            letter = source[k + 1]
            property_ = re.match(r"\\([pP])(?:\{(\^?)([A-Za-z]{1,2})\}|([A-Z]))", source[k:])
            if letter in "pP":
                if property_ is None:
                    raise DataError(
                        f"{where}: {source[k : k + 20]!r} is no general category, which is all that is known"
                    )
                negated = (letter == "P") != bool(property_[2])
                text, step = category(property_[3] or property_[4]), property_.end()
            elif letter in "sS":
                negated, text, step = letter == "S", SPACE, 2
            else:
                out.append(source[k : k + 2])
                k += 2
                continue
            if inside and negated:
                raise DataError(f"{where}: a negated property inside of [...] is not known: {source[:60]!r}")
            out.append(text if inside else f"[{'^' if negated else ''}{text}]")
            k += step
            continue
        if char == "[" and not inside:
            inside = True
        elif char == "]" and inside:
            inside = False
        out.append(char)
        k += 1
    try:
        return re.compile("".join(out))
    except (re.error, RecursionError, OverflowError) as error:
        raise DataError(f"{where}: the pattern {source[:60]!r} is not understood: {error}") from error
