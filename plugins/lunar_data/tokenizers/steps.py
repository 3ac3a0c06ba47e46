"""The parts of a ``tokenizer.json`` around its model: normalizers, pre-tokenizers, decoders, each from its object.

The names and their meaning are those of the ``tokenizers`` library. What is not known is refused by name when the file is
read, never passed over.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from lunar_core.errors import DataError
from lunar_data.tokenizers.charsmap import Charsmap
from lunar_data.tokenizers.gpt2 import GPT2, as_letters, from_letters
from lunar_data.tokenizers.spans import SPACE, Span, category, is_space, pattern

Normalizer = Callable[[Span], Span]
Splitter = Callable[[list[Span]], list[Span]]
Decoder = Callable[[list[str]], list[str]]


def _kind(part: Any, where: str) -> str:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise DataError(f"{where}: expected an object with a type, got {str(part)[:60]}")
    return part["type"]


def _list(part: dict[str, Any], key: str, where: str) -> list[Any]:
    if not isinstance(part.get(key), list):
        raise DataError(f"{where}: {key!r} is no list")
    return part[key]


def _text(part: dict[str, Any], key: str, default: str | None, where: str) -> str:
    value = part.get(key, default)
    if not isinstance(value, str):
        raise DataError(f"{where}: {key!r} is no text")
    return value


def expression(part: Any, where: str) -> re.Pattern[str]:
    """{"String": ...} or {"Regex": ...}."""
    if isinstance(part, dict) and isinstance(part.get("String"), str):
        return re.compile(re.escape(part["String"]))
    if isinstance(part, dict) and isinstance(part.get("Regex"), str):
        return pattern(part["Regex"], where)
    raise DataError(f"{where}: the pattern is neither a String nor a Regex")


# -- normalizers -------------------------------------------------------------------------------------------------------


def normalizer(part: Any, where: str) -> Normalizer:
    """The function of a normalizer's object."""
    kind = _kind(part, where)
    where = f"{where}, {kind}"
    if kind == "Sequence":
        steps = [normalizer(one, where) for one in _list(part, "normalizers", where)]

        def all_of(span: Span) -> Span:
            for step in steps:
                span = step(span)
            return span

        return all_of
    if kind in ("NFC", "NFD", "NFKC", "NFKD"):
        return lambda span: span.normalized(kind)
    if kind == "Lowercase":
        return lambda span: Span(span.text.lower(), span.at) if span.text.isascii() else span.each(str.lower)
    if kind == "StripAccents":
        return lambda span: span.each(lambda c: "" if unicodedata.category(c).startswith("M") else c)
    if kind == "Replace":
        found, new = expression(part.get("pattern"), where), _text(part, "content", None, where)
        return lambda span: span.replaced(found, new)
    if kind == "Prepend":
        new = _text(part, "prepend", None, where)
        return lambda span: span.prefixed(new) if span.text else span
    if kind == "Strip":
        return lambda span: _stripped(span, bool(part.get("strip_left", True)), bool(part.get("strip_right", True)))
    if kind == "BertNormalizer":
        return _bert(part)
    if kind == "Precompiled":
        charsmap = Charsmap.from_base64(_text(part, "precompiled_charsmap", None, where), where)
        return charsmap.apply
    raise DataError(f"{where}: this normalizer is not known")


def _stripped(span: Span, left: bool, right: bool) -> Span:
    start, end = 0, len(span.text)
    while left and start < end and is_space(span.text[start]):
        start += 1
    while right and end > start and is_space(span.text[end - 1]):
        end -= 1
    return span.cut(start, end)


def _bert(part: dict[str, Any]) -> Normalizer:
    lower = bool(part.get("lowercase", True))
    accents = part.get("strip_accents")
    accents = lower if accents is None else bool(accents)

    def clean(char: str) -> str:
        if char in "\t\n\r":
            return " "
        if char in "\0\ufffd" or unicodedata.category(char).startswith("C"):
            return ""
        return " " if is_space(char) else char

    def run(span: Span) -> Span:
        if part.get("clean_text", True):
            span = span.each(clean)
        if part.get("handle_chinese_chars", True) and not span.text.isascii():
            span = span.each(lambda c: f" {c} " if _chinese(ord(c)) else c)
        if accents:
            span = span.normalized("NFD").each(lambda c: "" if unicodedata.category(c) == "Mn" else c)
        return span.each(str.lower) if lower else span

    return run


def _chinese(code: int) -> bool:
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0x20000 <= code <= 0x2A6DF
        or 0x2A700 <= code <= 0x2CEAF
        or 0xF900 <= code <= 0xFAFF
        or 0x2F800 <= code <= 0x2FA1F
    )


# -- pre-tokenizers ----------------------------------------------------------------------------------------------------


def pre_tokenizer(part: Any, where: str) -> Splitter:
    """The function of a pre-tokenizer's object."""
    kind = _kind(part, where)
    where = f"{where}, {kind}"
    if kind == "Sequence":
        steps = [pre_tokenizer(one, where) for one in _list(part, "pretokenizers", where)]

        def all_of(spans: list[Span]) -> list[Span]:
            for step in steps:
                spans = step(spans)
            return spans

        return all_of
    if kind == "ByteLevel":
        words, prefix = pattern(GPT2), bool(part.get("add_prefix_space", True))
        use = bool(part.get("use_regex", True))

        def byte_level(spans: list[Span]) -> list[Span]:
            if prefix:
                spans = [span if span.text[:1] in (" ", "") else span.prefixed(" ") for span in spans]
            if use:
                spans = [span.cut(*match.span()) for span in spans for match in words.finditer(span.text)]
            return [as_letters(span) for span in spans]

        return byte_level
    if kind == "Metaspace":
        return _metaspace(part, where)
    if kind == "Whitespace":
        return _splitter(re.compile(rf"\w+|[^\w{SPACE}]+"), "Removed", True)
    if kind == "WhitespaceSplit":
        return _splitter(re.compile(f"[{SPACE}]"), "Removed", False)
    punctuation = "!-/:-@\\[-`{-~" + category("P")
    if kind == "BertPreTokenizer":
        spaces = _splitter(re.compile(f"[{SPACE}]"), "Removed", False)
        marks = _splitter(re.compile(f"[{punctuation}]"), "Isolated", False)
        return lambda spans: marks(spaces(spans))
    if kind == "Punctuation":
        return _splitter(re.compile(f"[{punctuation}]"), _text(part, "behavior", "Isolated", where), False, where)
    if kind == "Digits":
        single = bool(part.get("individual_digits", False))
        return _splitter(re.compile(f"[{category('N')}]"), "Isolated" if single else "Contiguous", False)
    if kind == "CharDelimiterSplit":
        return _splitter(re.compile(re.escape(_text(part, "delimiter", None, where))), "Removed", False)
    if kind == "Split":
        found = expression(part.get("pattern"), where)
        return _splitter(found, _text(part, "behavior", None, where), bool(part.get("invert", False)), where)
    raise DataError(f"{where}: this pre-tokenizer is not known")


_BEHAVIOURS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")


def _splitter(found: re.Pattern[str], behaviour: str, invert: bool, where: str = "") -> Splitter:
    if behaviour not in _BEHAVIOURS:
        raise DataError(f"{where}: behavior {behaviour!r} is not one of {', '.join(_BEHAVIOURS)}")
    return lambda spans: [part for span in spans for part in _split(span, found, behaviour, invert)]


def _split(span: Span, found: re.Pattern[str], behaviour: str, invert: bool) -> list[Span]:
    runs: list[tuple[int, int, bool]] = []  # start, end, whether it is a delimiter
    done = 0
    for match in found.finditer(span.text):
        start, end = match.span()
        if start > done:
            runs.append((done, start, invert))
        if end > start:
            runs.append((start, end, not invert))
        done = end
    if done < len(span.text):
        runs.append((done, len(span.text), invert))
    merged: list[tuple[int, int, bool]] = []
    for start, end, is_match in runs:
        last = merged[-1] if merged else None
        if behaviour == "Removed" and is_match:
            continue
        if last is not None and behaviour == "Contiguous" and last[2] == is_match:
            merged[-1] = (last[0], end, is_match)
        elif last is not None and behaviour == "MergedWithPrevious" and is_match and not last[2]:
            merged[-1] = (last[0], end, True)
        elif last is not None and behaviour == "MergedWithNext" and not is_match and last[2]:
            merged[-1] = (last[0], end, False)
        else:
            merged.append((start, end, is_match))
    return [span.cut(start, end) for start, end, _ in merged]


def _metaspace(part: dict[str, Any], where: str) -> Splitter:
    mark = _text(part, "replacement", "▁", where)
    scheme = part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never")
    split = bool(part.get("split", True))
    words = re.compile(f"{re.escape(mark)}?[^{re.escape(mark)}]+|{re.escape(mark)}")

    def run(spans: list[Span]) -> list[Span]:
        result: list[Span] = []
        for span in spans:
            first = span.where(0, 1)[0] == 0
            span = Span(span.text.replace(" ", mark), span.at)
            if span.text and not span.text.startswith(mark) and (scheme == "always" or (scheme == "first" and first)):
                span = span.prefixed(mark)
            result += [span.cut(*match.span()) for match in words.finditer(span.text)] if split else [span]
        return result

    return run


# -- decoders ----------------------------------------------------------------------------------------------------------


def decoder(part: Any, where: str) -> Decoder:
    """The function of a decoder's object, from tokens to parts of text."""
    kind = _kind(part, where)
    where = f"{where}, {kind}"
    if kind == "Sequence":
        steps = [decoder(one, where) for one in _list(part, "decoders", where)]

        def all_of(tokens: list[str]) -> list[str]:
            for step in steps:
                tokens = step(tokens)
            return tokens

        return all_of
    if kind == "ByteLevel":
        return lambda tokens: [from_letters(tokens)]
    if kind == "Fuse":
        return lambda tokens: ["".join(tokens)]
    if kind == "ByteFallback":
        return _byte_fallback
    if kind == "Metaspace":
        mark = _text(part, "replacement", "▁", where)
        keep = part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never") == "never"
        return lambda tokens: [t.replace(mark, " " if k or keep else "") for k, t in enumerate(tokens)]
    if kind == "WordPiece":
        prefix, cleanup = _text(part, "prefix", "##", where), bool(part.get("cleanup", True))

        def word_piece(tokens: list[str]) -> list[str]:
            joined = [
                t if not k else t[len(prefix) :] if prefix and t.startswith(prefix) else " " + t
                for k, t in enumerate(tokens)
            ]
            return [_cleaned(t) for t in joined] if cleanup else joined

        return word_piece
    if kind == "BPEDecoder":
        suffix = _text(part, "suffix", "</w>", where)
        return lambda tokens: [t.replace(suffix, " " if k < len(tokens) - 1 else "") for k, t in enumerate(tokens)]
    if kind == "Replace":
        found, new = expression(part.get("pattern"), where), _text(part, "content", None, where)
        return lambda tokens: [found.sub(lambda _: new, t) for t in tokens]
    if kind == "Strip":
        char, start, stop = _text(part, "content", None, where), int(part.get("start", 0)), int(part.get("stop", 0))

        def strip(token: str) -> str:
            for _ in range(min(start, len(token))):
                token = token.removeprefix(char)
            for _ in range(min(stop, len(token))):
                token = token.removesuffix(char)
            return token

        return lambda tokens: [strip(t) for t in tokens]
    raise DataError(f"{where}: this decoder is not known")


_CONTRACTIONS = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def _cleaned(text: str) -> str:
    for old, new in _CONTRACTIONS:
        text = text.replace(old, new)
    return text


def _byte_fallback(tokens: list[str]) -> list[str]:
    result: list[str] = []
    held = bytearray()
    for token in [*tokens, None]:
        if token is not None and re.fullmatch("<0x[0-9A-Fa-f]{2}>", token):
            held.append(int(token[3:5], 16))
            continue
        if held:
            try:
                result.append(held.decode())
            except UnicodeDecodeError:
                result.append("\ufffd" * len(held))
            held = bytearray()
        if token is not None:
            result.append(token)
    return result
