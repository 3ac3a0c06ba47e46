"""Text: files cut into windows for language modelling, translation pairs, and token files that stay on disk."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from lunar_core.component import field, one_of, positive
from lunar_core.contracts.dataset import Dataset, DatasetCard, as_index
from lunar_core.contracts.tokenizer import Tokenizer
from lunar_core.errors import DataError
from lunar_data.reading import CHUNK, ExampleDataset, opened, text_lines

MAGIC = b"LUNARTOK"
_HEADER = struct.Struct("<8sIIQ")  # magic, version, bytes a token, tokens
_DTYPES = {1: np.uint8, 2: np.uint16, 4: np.uint32}


class _Windows(Dataset):
    """Runs of ``length`` tokens as input, the same run one further as target; what the sets below share."""

    fields = ("tokens", "next_tokens")

    def _tokens(self) -> np.ndarray:
        raise NotImplementedError

    def _cut(self) -> tuple[int, int]:
        """Length of a window, and how far the next one starts after it."""
        raise NotImplementedError

    def __len__(self) -> int:
        length, stride = self._cut()
        return max(0, (len(self._tokens()) - length - 1) // stride + 1)

    def __getitem__(self, index: Any) -> tuple[np.ndarray, ...]:
        tokens, (length, stride), n = self._tokens(), self._cut(), len(self)
        index = as_index(index, n)
        if isinstance(index, int):
            start = index % n * stride
            run = np.asarray(tokens[start : start + length + 1]).astype(np.int64)
            return run[:-1], run[1:]
        starts = np.arange(n)[index] * stride
        runs = np.asarray(tokens[starts[:, None] + np.arange(length + 1)]).astype(np.int64)
        return runs[:, :-1], runs[:, 1:]


class TextFile(_Windows):
    """A text file for language modelling: windows of ``length`` tokens, the target one token further.

    Gives ``tokens`` and ``next_tokens``, int64 (N, length). Windows start every ``stride`` tokens, by default every
    ``length``; ``stride=1`` gives every window there is. ``part`` takes a share of the text by place: (0, 0.9) for
    training and (0.9, 1) for validation is what nanoGPT does. The file is encoded as a stream, once.

    Raises:
        DataError: missing, not UTF-8 (with the line), or shorter than one window.
    """

    path: str = field(doc="the file, UTF-8, .gz or plain")
    tokenizer: Tokenizer = field(doc="what turns text into tokens")
    length: int = field(default=64, validator=positive, doc="tokens in a window")
    stride: int | None = field(default=None, validator=positive, doc="tokens from one window's start to the next")
    part: tuple[float, float] = field(default=(0.0, 1.0), doc="share of the text, by characters")

    def _cut(self) -> tuple[int, int]:
        return self.length, self.length if self.stride is None else self.stride

    def _tokens(self) -> np.ndarray:
        held = self.__dict__.get("_held")
        if held is None:
            text = read_text(self.path)
            low, high = self.part
            if not 0 <= low < high <= 1:
                raise DataError(f"TextFile: part is two numbers 0 <= low < high <= 1, got {self.part}")
            text = text[int(low * len(text)) : int(high * len(text))]
            pieces = list(self.tokenizer.stream(text[k : k + CHUNK] for k in range(0, len(text), CHUNK)))
            held = np.concatenate(pieces) if pieces else np.empty(0, np.int64)
            if len(held) <= self.length:
                raise DataError(f"{self.path}: {len(held)} tokens, a window and its target need {self.length + 1}")
            kind = next(kind for size, kind in _DTYPES.items() if self.tokenizer.vocab_size <= 1 << 8 * size)
            held = self.__dict__["_held"] = held.astype(kind)
        return held

    @property
    def card(self) -> DatasetCard:
        return DatasetCard(os.path.basename(self.path), len(self), source=self.path)


def read_text(path: str | os.PathLike[str]) -> str:
    """All of a UTF-8 file, line ends as they are. DataError names the byte that is not UTF-8."""
    with opened(path) as (file, where):
        data = file.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}, byte {error.start}: not UTF-8") from error


class TranslationPairs(ExampleDataset):
    """Sentences and their translations as ids: ``source`` int64 (S,) and ``target`` int64 (T,), of any length.

    One file with a tab between the two (``target_path`` not given; further columns are ignored), or two files whose
    lines belong together. Batches pad: use a loader's collate. ``max_length`` drops pairs with more tokens.

    Raises:
        DataError: a line without a tab, files of different length, not UTF-8; the message names file and line.
    """

    fields = ("source", "target")

    path: str = field(doc="file of the sources, or of tab-separated pairs")
    source_tokenizer: Tokenizer = field(doc="for the sources")
    target_tokenizer: Tokenizer = field(doc="for the targets")
    target_path: str | None = field(default=None, doc="file of the targets, line by line")
    max_length: int | None = field(default=None, validator=positive, doc="drop pairs with a side longer than this")

    def texts(self) -> list[tuple[str, str]]:
        """The pairs as text."""
        if self.target_path is not None:
            left = [text for _, text in text_lines(self.path)]
            right = [text for _, text in text_lines(self.target_path)]
            if len(left) != len(right):
                raise DataError(
                    f"{self.path} has {len(left)} lines and {self.target_path} has {len(right)}: they do not belong "
                    f"together"
                )
            return list(zip(left, right))
        pairs = []
        for number, line in text_lines(self.path):
            if not line:
                continue
            parts = line.split("\t")
            if len(parts) < 2:
                raise DataError(f"{self.path}, line {number}: no tab between the two sentences")
            pairs.append((parts[0], parts[1]))
        return pairs

    def _pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        held = self.__dict__.get("_held")
        if held is None:
            held = [(self.source_tokenizer.encode(a).ids, self.target_tokenizer.encode(b).ids) for a, b in self.texts()]
            if self.max_length is not None:
                held = [pair for pair in held if max(map(len, pair)) <= self.max_length]
            if not held:
                raise DataError(f"{self.path}: there is no pair")
            self.__dict__["_held"] = held
        return held

    def __len__(self) -> int:
        return len(self._pairs())

    def example(self, index: int) -> tuple[np.ndarray, ...]:
        return self._pairs()[index]


class TokenFile(_Windows):
    """Tokens in a file that stays on disk (memory-mapped): windows as :class:`TextFile` gives them.

    The file is one of :func:`write_tokens`, or with ``dtype`` bare little-endian integers as nanoGPT's ``train.bin``
    (uint16). Any window is reached in constant time and reads nothing else. ``offset`` and ``count`` choose a run of
    tokens.
    """

    path: str = field(doc="the file")
    length: int = field(default=1024, validator=positive, doc="tokens in a window")
    stride: int | None = field(default=None, validator=positive, doc="tokens from one window's start to the next")
    dtype: str | None = field(default=None, validator=one_of("uint8", "uint16", "uint32"), doc="of a bare file")
    part: tuple[float, float] = field(default=(0.0, 1.0), doc="share of the tokens")

    def _cut(self) -> tuple[int, int]:
        return self.length, self.length if self.stride is None else self.stride

    def _tokens(self) -> np.ndarray:
        held = self.__dict__.get("_held")
        if held is None:
            tokens = open_tokens(self.path, self.dtype)
            low, high = self.part
            if not 0 <= low < high <= 1:
                raise DataError(f"TokenFile: part is two numbers 0 <= low < high <= 1, got {self.part}")
            held = tokens[int(low * len(tokens)) : int(high * len(tokens))]
            if len(held) <= self.length:
                raise DataError(f"{self.path}: {len(held)} tokens, a window and its target need {self.length + 1}")
            self.__dict__["_held"] = held
        return held

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_held"}  # a worker maps it anew

    @property
    def card(self) -> DatasetCard:
        return DatasetCard(os.path.basename(self.path), len(self), source=self.path)


def open_tokens(path: str | os.PathLike[str], dtype: str | None = None) -> np.ndarray:
    """The tokens of a file as a memory-mapped array; ``dtype`` for a bare file.

    Raises DataError for a file that is missing, of another format, or shorter or longer than its header says.
    """
    where = os.fspath(path)
    try:
        size = os.stat(where).st_size
        if dtype is not None:
            kind = np.dtype(dtype).newbyteorder("<")
            if not size or size % kind.itemsize:
                raise DataError(f"{where}: {size} bytes are no whole number of {dtype} tokens")
            return np.memmap(where, kind, "r")
        with open(where, "rb") as file:
            head = file.read(_HEADER.size)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {where}") from error
    except OSError as error:
        raise DataError(f"cannot read {where}: {error.strerror or error}") from error
    if len(head) < _HEADER.size or head[:8] != MAGIC:
        raise DataError(f"{where}: no token file: it begins with {head[:8].hex(' ')}", hint='dtype="uint16" reads bare')
    _, version, width, count = _HEADER.unpack(head)
    if version != 1 or width not in _DTYPES:
        raise DataError(
            f"{where}: byte 8 announces version {version} and {width} bytes a token, of which none is known"
        )
    expected = _HEADER.size + width * count
    if size != expected:
        raise DataError(f"{where}: {'truncated' if size < expected else 'too long'}: {size} bytes, expected {expected}")
    if not count:
        raise DataError(f"{where}: holds no token")
    return np.memmap(where, np.dtype(_DTYPES[width]).newbyteorder("<"), "r", _HEADER.size, (count,))


def write_tokens(path: str | os.PathLike[str], pieces: Iterable[np.ndarray], vocab_size: int) -> int:
    """Write runs of ids to a token file and return how many there were; written beside its place and renamed.

    ``write_tokens("train.tok", tokenizer.stream(file), tokenizer.vocab_size)`` holds one run in memory at a time.
    """
    width = next((size for size in _DTYPES if vocab_size <= 1 << 8 * size), None)
    if width is None or vocab_size < 1:
        raise DataError(f"write_tokens: a vocabulary has 1 to 2^32 ids, got {vocab_size}")
    temporary = f"{os.fspath(path)}.{os.getpid()}.part"
    try:
        with open(temporary, "wb") as file:
            count = _write_runs(file, pieces, vocab_size, width)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return count


def _write_runs(file: BinaryIO, pieces: Iterable[np.ndarray], vocab_size: int, width: int) -> int:
    count = 0
    file.write(_HEADER.pack(MAGIC, 1, width, 0))
    for run in pieces:
        run = np.asarray(run)
        if run.size and not (int(run.min()) >= 0 and int(run.max()) < vocab_size):
            raise DataError(f"write_tokens: id {int(run.max())} or {int(run.min())} is not below {vocab_size}")
        file.write(run.astype(np.dtype(_DTYPES[width]).newbyteorder("<")).tobytes())
        count += run.size
    file.seek(0)
    file.write(_HEADER.pack(MAGIC, 1, width, count))
    file.flush()
    os.fsync(file.fileno())
    return count
