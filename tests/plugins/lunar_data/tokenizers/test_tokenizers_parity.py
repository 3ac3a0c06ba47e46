"""Encoding and decoding against the ``tokenizers`` library and SentencePiece, trained on tinyshakespeare."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar_data.tokenizers import ByteLevelBPE, SentencePiece, TokenizerFile, train_tokenizer

library = pytest.importorskip("tokenizers")

pytestmark = pytest.mark.parity

TEXT = next(
    Path(os.environ.get("LUNAR_DATA", "no such folder")).rglob("tinyshakespeare.txt"), Path("tinyshakespeare.txt")
)
KINDS = ("byte_bpe", "bpe", "wordpiece", "unigram")
ODD = [
    "Héllo wörld  \n\n  ½ 日本語 ’s don't I'll 123abc __ \u200b \U0001f600 e\u0301 \x1c x",
    " lead",
    "a<s>b </s> c",
    "",
    "   ",
    "tab\there\r\n",
]


@pytest.fixture(scope="module")
def text() -> str:
    if not TEXT.exists():
        pytest.skip("tinyshakespeare is not here")
    return TEXT.read_text()


@pytest.fixture(scope="module")
def folder(text, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizers")
    for kind in KINDS:
        train_tokenizer(
            kind, text.splitlines(True), folder / f"{kind}.json", vocab_size=800, special_tokens=["<s>", "</s>"]
        )
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_tinyshakespeare_is_encoded_and_decoded_as_by_the_library(kind, folder, text):
    mine, theirs = (
        TokenizerFile(str(folder / f"{kind}.json")),
        library.Tokenizer.from_file(str(folder / f"{kind}.json")),
    )
    got, expected = mine.encode(text), theirs.encode(text)
    assert got.ids.tolist() == expected.ids
    assert [tuple(pair) for pair in got.offsets.tolist()] == expected.offsets
    assert mine.decode(got.ids) == theirs.decode(expected.ids)
    assert mine.vocab_size == theirs.get_vocab_size()
    chunks = (text[k : k + 4099] for k in range(0, len(text), 4099))
    np.testing.assert_array_equal(np.concatenate(list(mine.stream(chunks))), got.ids)


@pytest.mark.parametrize("kind", KINDS)
def test_odd_text_and_special_tokens_are_treated_as_by_the_library(kind, folder):
    mine, theirs = (
        TokenizerFile(str(folder / f"{kind}.json")),
        library.Tokenizer.from_file(str(folder / f"{kind}.json")),
    )
    for odd in ODD:
        got, expected = mine.encode(odd), theirs.encode(odd)
        assert got.ids.tolist() == expected.ids, odd
        assert [tuple(pair) for pair in got.offsets.tolist()] == expected.offsets, odd
        for skip in (True, False):
            assert mine.decode(got.ids, skip_special=skip) == theirs.decode(expected.ids, skip_special_tokens=skip), odd


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(max_codepoint=0x2FFF, exclude_categories=("Cs", "Cn", "Co"))))
@pytest.mark.parametrize("kind", KINDS)
def test_any_text_has_the_library_s_ids(kind, folder, text):
    mine, theirs = (
        TokenizerFile(str(folder / f"{kind}.json")),
        library.Tokenizer.from_file(str(folder / f"{kind}.json")),
    )
    assert mine.encode(text).ids.tolist() == theirs.encode(text).ids


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text())
def test_byte_level_bpe_gives_any_unicode_back(folder, text):
    mine = TokenizerFile(str(folder / "byte_bpe.json"), split_special=False)
    encoding = mine.encode(text)
    assert mine.decode(encoding.ids) == text


def test_gpt2_s_two_files_are_the_same_tokenizer(folder, text, tmp_path):
    root = json.loads((folder / "byte_bpe.json").read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(root["vocab"]))
    merges = [m if isinstance(m, str) else " ".join(m) for m in root["merges"]]
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    mine = ByteLevelBPE(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), special_tokens=("<s>",))
    assert mine.token_id("<s>") == root["vocab"]["<s>"]
    sample = text[:20_000]
    expected = library.ByteLevelBPETokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")).encode(sample)
    got = mine.encode(sample)
    assert got.ids.tolist() == expected.ids
    assert mine.decode(got.ids) == sample
    assert np.concatenate(list(mine.stream(sample[k : k + 7] for k in range(0, 2000, 7)))).tolist() == (
        mine.encode(sample[:2002]).ids.tolist()
    )


@pytest.mark.parametrize("byte_fallback", [False, True], ids=["plain", "bytes"])
def test_sentencepiece_unigram_is_sentencepiece(text, tmp_path, byte_fallback):
    theirs_ = pytest.importorskip("sentencepiece")
    theirs_.SentencePieceTrainer.train(
        input=str(TEXT),
        model_prefix=str(tmp_path / "m"),
        vocab_size=1300,
        byte_fallback=byte_fallback,
        user_defined_symbols=["<user>"],
        minloglevel=2,
    )
    theirs = theirs_.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    mine = SentencePiece(str(tmp_path / "m.model"), bos="<s>", eos="</s>")
    for line in [*text.splitlines()[:3000], *ODD, "a <user>b", "ﬁ Ａ", "  two  spaces "]:
        ids = theirs.encode(line)
        assert mine.encode(line, special=False).ids.tolist() == ids, line
        assert mine.decode(ids) == theirs.decode(ids), line
    assert mine.encode("a").ids.tolist() == [theirs.bos_id(), *theirs.encode("a"), theirs.eos_id()]
    whole = (tmp_path / "m.model").read_bytes()
    from lunar_core.errors import DataError

    for cut in (0, 1, 10, 1000, len(whole) - 1):
        (tmp_path / "cut.model").write_bytes(whole[:cut])
        with pytest.raises(DataError, match="cut.model"):
            SentencePiece(str(tmp_path / "cut.model")).encode("a")
