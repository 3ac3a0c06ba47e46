"""The ``tokenizer.json`` of Hugging Face's ``tokenizers`` library, read and carried out without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lunar_core.component import field
from lunar_core.contracts.tokenizer import Piece, Tokenizer
from lunar_core.errors import DataError
from lunar_data.tokenizers import steps
from lunar_data.tokenizers.gpt2 import GPT2, read_json, second_last
from lunar_data.tokenizers.models import BPE, Model, Unigram, WordLevel, WordPiece, checked_vocab
from lunar_data.tokenizers.spans import Span, is_space, pattern


class TokenizerFile(Tokenizer):
    """BPE, byte-level BPE, WordPiece, Unigram or whole words from a ``tokenizer.json``.

    Encodes and decodes as the ``tokenizers`` library does: normalizers, pre-tokenizers, model, special tokens and decoder
    are the file's. ``special_tokens`` adds to the file's own. Truncation and padding are arguments here, not the file's.

    Raises:
        DataError: no such file, no JSON, or a part that is unknown or inconsistent; the message names it.
    """

    path: str = field(doc="path of tokenizer.json")

    def _parts(self) -> _Parts:
        held = self.__dict__.get("_held")
        if held is None:
            held = self.__dict__["_held"] = _Parts(read_json(self.path), self.path)
        return held

    def size(self) -> int:
        parts = self._parts()
        return 1 + max([*parts.model.tokens, *parts.added.values()])

    def added(self) -> dict[str, int]:
        found, free = dict(self._parts().added), self.size()
        for token in self.special_tokens:
            known = self._parts().model.vocab.get(token)
            if token not in found:
                found[token] = free if known is None else known
                free += known is None
        return found

    def kept(self) -> frozenset[str]:
        return self._parts().plain - frozenset(self.special_tokens)

    def pieces(self, text: str) -> list[Piece]:
        parts = self._parts()
        spans = [Span(text, 0)]
        if parts.normalizer is not None:
            spans = [parts.normalizer(span) for span in spans]
        if parts.splitter is not None:
            spans = parts.splitter(spans)
        result: list[Piece] = []
        for span in spans:
            if span.text:
                result += [(id_, *span.where(start, end)) for id_, start, end in parts.model.word(span.text)]
        return result

    def encode(self, text: str, *, special: bool = True, max_length: int | None = None) -> Any:
        encoding = super().encode(text, special=special, max_length=max_length)
        if self._parts().trim:
            _trim(encoding.offsets, encoding.special, text)
        return encoding

    def surround(self, pieces: list[Piece]) -> tuple[list[Piece], list[bool]]:
        parts = self._parts()
        before = [(id_, 0, 0) for id_ in parts.before]
        after = [(id_, 0, 0) for id_ in parts.after]
        inner, marks = super().surround(pieces)
        return before + inner + after, [True] * len(before) + marks + [True] * len(after)

    def join(self, ids: Sequence[int]) -> str:
        parts = self._parts()
        names = {id_: token for token, id_ in self.added().items()}
        tokens = [parts.model.tokens[id_] if id_ in parts.model.tokens else names.get(id_, "") for id_ in ids]
        return "".join(parts.decoder(tokens)) if parts.decoder is not None else " ".join(tokens)

    def decode(self, ids: Any, *, skip_special: bool = True) -> str:
        text = super().decode(ids)  # checks the ids
        return text if skip_special else self.join(np.asarray(ids).tolist())

    def boundary(self, text: str) -> int:
        kind = self._parts().cuts
        if kind == "gpt2":
            return second_last(pattern(GPT2), text)
        if kind == "space":
            cut = text.rfind(" ")
            while cut > 0 and is_space(text[cut - 1]):
                cut -= 1
            return max(cut, 0)
        return 0


class _Parts:
    """A file's contents, checked."""

    def __init__(self, root: Any, where: str) -> None:
        if not isinstance(root, dict) or not isinstance(root.get("model"), dict):
            raise DataError(f"{where}: no tokenizer.json: it has no object 'model'")
        self.model = _model(root["model"], f"{where}, model")
        self.normalizer = _made(root, "normalizer", steps.normalizer, where)
        self.splitter = _made(root, "pre_tokenizer", steps.pre_tokenizer, where)
        self.decoder = _made(root, "decoder", steps.decoder, where)
        self.added: dict[str, int] = {}
        plain = set()
        for k, token in enumerate(root.get("added_tokens") or []):
            if (
                not isinstance(token, dict)
                or type(token.get("id")) is not int
                or not isinstance(token.get("content"), str)
            ):
                raise DataError(f"{where}, added_tokens[{k}]: expected an object with id and content")
            if not 0 <= token["id"] < 1 << 31 or not token["content"]:
                raise DataError(f"{where}, added_tokens[{k}]: id {token['id']} for {token['content'][:40]!r}")
            self.added[token["content"]] = token["id"]
            if not token.get("special", False):
                plain.add(token["content"])
        self.plain = frozenset(plain)
        self.before: list[int] = []
        self.after: list[int] = []
        self.trim = False
        if root.get("post_processor") is not None:
            self._post(root["post_processor"], f"{where}, post_processor")
        self.cuts = self._cuts(root)

    def _post(self, part: Any, where: str) -> None:
        kind = part.get("type") if isinstance(part, dict) else None
        try:
            if kind == "Sequence":
                for one in part["processors"]:
                    self._post(one, where)
            elif kind == "ByteLevel":
                self.trim = bool(part.get("trim_offsets", True))
            elif kind in ("BertProcessing", "RobertaProcessing"):
                self.before, self.after = [int(part["cls"][1])], [int(part["sep"][1])]
                self.trim = kind == "RobertaProcessing" and bool(part.get("trim_offsets", True))
            elif kind == "TemplateProcessing":
                side = self.before
                for one in part["single"]:
                    if "Sequence" in one:
                        side = self.after
                    else:
                        side += [int(id_) for id_ in part["special_tokens"][one["SpecialToken"]["id"]]["ids"]]
            else:
                raise DataError(f"{where}: {kind!r} is not known")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{where}, {kind}: incomplete or of wrong type: {error}") from error

    def _cuts(self, root: dict[str, Any]) -> str:
        """Where a stream may be cut: see ``boundary``."""
        part, normal = root.get("pre_tokenizer") or {}, root.get("normalizer")
        kind = part.get("type")
        if kind == "ByteLevel" and normal is None and part.get("use_regex", True) and not part.get("add_prefix_space"):
            return "gpt2"
        by_character = normal is None or normal.get("type") in ("Lowercase", "BertNormalizer")
        spaced = kind in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")
        return "space" if by_character and (spaced or (kind == "Metaspace" and part.get("split", True))) else ""


def _made(root: dict[str, Any], key: str, make: Any, where: str) -> Any:
    return None if root.get(key) is None else make(root[key], f"{where}, {key}")


def _model(part: dict[str, Any], where: str) -> Model:
    kind = part.get("type") or ("Unigram" if isinstance(part.get("vocab"), list) else "BPE" if "merges" in part else "")
    try:
        if kind == "Unigram":
            pieces = [(str(token), float(score)) for token, score in part["vocab"]]
            unk = part.get("unk_id")
            if unk is not None and not (type(unk) is int and 0 <= unk < len(pieces)):
                raise DataError(f"{where}: unk_id {unk} is not one of {len(pieces)} pieces")
            return Unigram(pieces, unk, bool(part.get("byte_fallback", False)), where)
        vocab = checked_vocab(part.get("vocab"), where)
        if kind == "BPE":
            merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in part["merges"]]
            for k, merge in enumerate(merges):
                if len(merge) != 2 or not all(isinstance(t, str) for t in merge):
                    raise DataError(f"{where}, merges[{k}]: expected two tokens, got {str(merge)[:60]}")
            return BPE(
                vocab,
                merges,
                where,
                unk=part.get("unk_token"),
                fuse_unk=bool(part.get("fuse_unk")),
                prefix=part.get("continuing_subword_prefix") or "",
                suffix=part.get("end_of_word_suffix") or "",
                byte_fallback=bool(part.get("byte_fallback")),
                ignore_merges=bool(part.get("ignore_merges")),
            )
        if kind == "WordPiece":
            longest = int(part.get("max_input_chars_per_word", 100))
            return WordPiece(
                vocab, where, part.get("unk_token", "[UNK]"), part.get("continuing_subword_prefix", "##"), longest
            )
        if kind == "WordLevel":
            return WordLevel(vocab, where, part.get("unk_token", "<unk>"))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}, {kind}: incomplete or of wrong type: {error}") from error
    raise DataError(f"{where}: {kind!r} is not known; BPE, WordPiece, Unigram and WordLevel are")


def _trim(offsets: np.ndarray, special: np.ndarray, text: str) -> None:
    """Take white space off both ends of what a byte-level token stands for."""
    for row in np.flatnonzero(~special):
        start, end = offsets[row].tolist()
        while start < end and is_space(text[start]):
            start += 1
        while end > start and is_space(text[end - 1]):
            end -= 1
        offsets[row] = start, end
