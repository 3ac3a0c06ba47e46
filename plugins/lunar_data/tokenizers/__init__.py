"""Tokenizers: bytes, characters, and the files of the ``tokenizers`` library, GPT-2 and SentencePiece."""

from lunar_data.tokenizers.gpt2 import ByteLevelBPE
from lunar_data.tokenizers.jsonfile import TokenizerFile
from lunar_data.tokenizers.plain import ByteTokenizer, CharTokenizer
from lunar_data.tokenizers.sentencepiece import SentencePiece
from lunar_data.tokenizers.training import train_tokenizer

__all__ = ["ByteLevelBPE", "ByteTokenizer", "CharTokenizer", "SentencePiece", "TokenizerFile", "train_tokenizer"]
