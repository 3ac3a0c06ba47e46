"""Bytes and characters, what every tokenizer has, and files that are no tokenizers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core.errors import DataError, HyperparameterError
from lunar_data.tokenizers import ByteLevelBPE, ByteTokenizer, CharTokenizer, SentencePiece, TokenizerFile


@given(text=st.text())
def test_bytes_give_any_unicode_back_with_offsets_of_characters(text):
    encoding = ByteTokenizer().encode(text)
    assert bytes(encoding.ids.tolist()) == text.encode("utf-8", "surrogatepass")
    assert ByteTokenizer().decode(encoding.ids) == text
    assert "".join(text[a] for a in dict.fromkeys(a for a, _ in encoding.offsets.tolist())) == text


@given(text=st.text(), size=st.integers(1, 5))
def test_a_stream_is_the_whole_text(text, size):
    tokenizer = ByteTokenizer(special_tokens=("<end>", "<e>"))
    text = text[:7] + "<end>" + text + "<e><en"
    parts = list(tokenizer.stream(text[k : k + size] for k in range(0, len(text), size)))
    assert np.concatenate(parts).tolist() == tokenizer.encode(text, special=False).ids.tolist()


def test_characters_special_tokens_truncation_and_padding():
    tokenizer = CharTokenizer.of("hello world", special_tokens=("<pad>", "<s>", "</s>", "<unk>"), unknown="<unk>")
    assert tokenizer.alphabet == " dehlorw" and tokenizer.vocab_size == 12
    plain = tokenizer.encode("hello!")
    assert plain.ids[-1] == tokenizer.token_id("<unk>") and tokenizer.decode(plain.ids) == "hello"
    assert tokenizer.decode(plain.ids, skip_special=False) == "hello<unk>"
    framed = CharTokenizer(tokenizer.alphabet, special_tokens=("<pad>", "<s>", "</s>"), bos="<s>", eos="</s>")
    short = framed.encode("hello world", max_length=5)
    assert framed.decode(short.ids, skip_special=False) == "<s>hel</s>"
    assert short.special.tolist() == [True, False, False, False, True]
    batch = framed.batch(["he", "world"], multiple=4)
    assert batch.ids.shape == (2, 8) and batch.lengths.tolist() == [4, 7]
    assert (batch.ids[~batch.mask] == framed.token_id("<pad>")).all()
    left = framed.batch(["he", "world"], pad_left=True)
    assert left.mask[0].tolist() == [False] * 3 + [True] * 4
    assert framed.encode("a<s>".replace("a", "h")).ids.tolist()[1:-1] == [3, framed.token_id("<s>")]


def test_mistakes_are_told():
    with pytest.raises(DataError, match="character 'z' at place 1"):
        CharTokenizer("ab").encode("az")
    with pytest.raises(HyperparameterError, match="no special token"):
        ByteTokenizer(bos="<s>").encode("a")
    with pytest.raises(DataError, match="id 256 at place 1"):
        ByteTokenizer().decode([1, 256])
    with pytest.raises(DataError, match="takes a string"):
        ByteTokenizer().encode(b"a")
    with pytest.raises(HyperparameterError, match="twice"):
        CharTokenizer("aa").encode("a")


def test_a_tokenizer_round_trips_through_its_configuration():
    tokenizer = CharTokenizer("abc", special_tokens=("<s>",), bos="<s>")
    again = lc.from_config(lc.to_config(tokenizer))
    assert again.encode("cab").ids.tolist() == [3, 2, 0, 1]


BPE = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
HOSTILE = {
    "no json": "{",
    "deep": "[" * 100_000,
    "no object": "[]",
    "no model": "{}",
    "unknown model": {"model": {"type": "Magic", "vocab": {"a": 0}}},
    "ids that are text": {"model": {**BPE, "vocab": {"a": "0"}}},
    "negative ids": {"model": {**BPE, "vocab": {"a": -1}}},
    "merges of nothing": {"model": {**BPE, "merges": ["a c"]}},
    "merges of three": {"model": {**BPE, "merges": ["a b c"]}},
    "no merges": {"model": {"type": "BPE", "vocab": {"a": 0}}},
    "unknown pre-tokenizer": {"model": BPE, "pre_tokenizer": {"type": "Magic"}},
    "unknown normalizer": {"model": BPE, "normalizer": {"type": "Magic"}},
    "unknown decoder": {"model": BPE, "decoder": {"type": "Magic"}},
    "broken pattern": {
        "model": BPE,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"},
    },
    "broken charsmap": {"model": BPE, "normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////w=="}},
    "broken template": {"model": BPE, "post_processor": {"type": "TemplateProcessing", "single": [{}]}},
    "scores that are infinite": {"model": {"type": "Unigram", "vocab": [["a", float("inf")]]}},
    "an unknown piece that is not there": {"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 7}},
    "broken added token": {"model": BPE, "added_tokens": [{"id": -1, "content": "x"}]},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tokenizer_file_is_one_error_that_names_it(name, tmp_path):
    path = tmp_path / "tokenizer.json"
    content = HOSTILE[name]
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        TokenizerFile(str(path)).encode("ab")


def test_the_smallest_bpe_file_works(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": BPE}))
    assert TokenizerFile(str(path)).encode("abba").ids.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "data", [b"", b"\x0a", b"\x0a\xff\xff\xff\xff\x0f", b"\x08\x01", b"\xff" * 40, b"<html>"], ids=repr
)
def test_a_hostile_sentencepiece_model_is_one_error_that_names_it(data, tmp_path):
    path = tmp_path / "spiece.model"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"spiece\.model"):
        SentencePiece(str(path)).encode("a")


def test_a_vocabulary_without_all_bytes_is_refused(tmp_path):
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(DataError, match="no token for byte 0"):
        ByteLevelBPE(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")).encode("a")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(DataError, match="line 2"):
        ByteLevelBPE(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")).encode("a")
