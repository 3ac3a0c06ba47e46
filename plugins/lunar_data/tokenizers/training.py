"""Learning a vocabulary, by the ``tokenizers`` library (extra ``tokenizers``)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from lunar_core.errors import DataError, HyperparameterError
from lunar_data.reading import need
from lunar_data.tokenizers.jsonfile import TokenizerFile

KINDS = ("byte_bpe", "bpe", "wordpiece", "unigram")


def train_tokenizer(
    kind: str,
    texts: Iterable[str],
    path: str | os.PathLike[str],
    *,
    vocab_size: int = 8192,
    special_tokens: Iterable[str] = (),
    min_frequency: int = 2,
    lowercase: bool = False,
) -> TokenizerFile:
    """Learn a vocabulary from ``texts``, write it to ``path`` as ``tokenizer.json``, and give the tokenizer that reads it.

    ``kind`` is byte_bpe (GPT-2's), bpe (on words, spaces kept as in SentencePiece), wordpiece (BERT's) or unigram
    (SentencePiece's). ``texts`` is an iterable of any length, read once; a file open for reading is one of lines. The
    library is needed here only, not for using the result.

    Raises:
        HyperparameterError: an unknown kind.
        PluginLoadError: the ``tokenizers`` package is not installed.
    """
    if kind not in KINDS:
        raise HyperparameterError(f"train_tokenizer: kind is one of {', '.join(KINDS)}, got {kind!r}")
    library: Any = need("tokenizers", "tokenizers", "training a tokenizer")
    models, trainers, pre, decoders = library.models, library.trainers, library.pre_tokenizers, library.decoders
    special = list(special_tokens)
    common = {"vocab_size": vocab_size, "special_tokens": special, "show_progress": False}
    if kind == "byte_bpe":
        made = library.Tokenizer(models.BPE())
        made.pre_tokenizer, made.decoder = pre.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(min_frequency=min_frequency, initial_alphabet=alphabet, **common)
    elif kind == "wordpiece":
        common["special_tokens"] = special if "[UNK]" in special else ["[UNK]", *special]
        made = library.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer = library.normalizers.BertNormalizer(lowercase=lowercase)
        made.pre_tokenizer, made.decoder = pre.BertPreTokenizer(), decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(min_frequency=min_frequency, **common)
    else:
        common["special_tokens"] = special if "<unk>" in special else ["<unk>", *special]
        made = library.Tokenizer(models.BPE(unk_token="<unk>") if kind == "bpe" else models.Unigram())
        made.pre_tokenizer, made.decoder = pre.Metaspace(), decoders.Metaspace()
        trainer = (
            trainers.BpeTrainer(min_frequency=min_frequency, **common)
            if kind == "bpe"
            else trainers.UnigramTrainer(unk_token="<unk>", **common)
        )
    if lowercase and kind != "wordpiece":
        made.normalizer = library.normalizers.Lowercase()
    made.train_from_iterator(texts, trainer)
    temporary = f"{os.fspath(path)}.{os.getpid()}.part"
    try:
        made.save(temporary)
        os.replace(temporary, path)
    except Exception as error:  # the library raises bare Exceptions
        raise DataError(f"cannot write {os.fspath(path)}: {error}") from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return TokenizerFile(os.fspath(path))
